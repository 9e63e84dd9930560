"""Strong 2-D augmentation in the raw domain: after geometry, before the intensity code that inference also runs.

Every image is brought to 0..1 of its own range, changed, and brought back, so that nothing here depends on units or
on the label. It answers the ways in which images of one class can give themselves away by their source: grey offset
and window (`_tone`), sharpness and sampling (`_resolution`), compression (`_degrade`), framing (`_affine`).

What an image may look like elsewhere depends on its modality: CT values are calibrated, so that only the window
varies; MR contrast is arbitrary, so that tissues may swap their greys (`remap`) and coils brighten or darken the
surface (`surface`).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

Images = NDArray[np.float32]


@dataclass(frozen=True)
class StrongAugment:
    """Ranges of the changes; probabilities are per image. Call: images [B, 1, H, W], their DICOM modalities (''
    where unknown: treated as MR, the least certain) and a generator -> images."""

    rotation_degrees: float = 25.0
    zoom: tuple[float, float] = (0.65, 1.5)
    stretch: float = 0.12
    shift: float = 0.12
    flip: float = 0.5
    gamma: float = 2.5
    remap: float = 0.5
    surface: tuple[float, float] = (-4.0, 3.0)
    noise: float = 0.06
    offset: float = 0.5
    jpeg_quality: tuple[int, int] = (50, 96)
    size: tuple[float, float] = (0.6, 1.0)

    def __call__(self, images: Images, modalities: Sequence[str], rng: np.random.Generator) -> Images:
        low = images.min(axis=(2, 3), keepdims=True)
        span = np.maximum(images.max(axis=(2, 3), keepdims=True) - low, 1e-6)
        unit = (images - low) / span
        unit = np.stack([remove_background(image) if rng.random() < 0.5 else image for image in unit])
        x = torch.from_numpy(unit)
        x = self._affine(x, rng)
        x = self._tone(x, np.array([modality in ("MR", "") for modality in modalities]), rng)
        x = self._resolution(x, rng)
        x = x + torch.from_numpy(rng.normal(size=x.shape).astype(np.float32)) * _each(rng, x, 0, self.noise, 0.5)
        x = self._cut(x, rng)
        out = self._degrade(x.clamp(0, 1).numpy(), rng)
        return np.asarray(out * span + low, np.float32)

    def _affine(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        count = len(x)
        angle = np.radians(rng.uniform(-self.rotation_degrees, self.rotation_degrees, count))
        zoom = np.exp(rng.uniform(np.log(self.zoom[0]), np.log(self.zoom[1]), count))
        stretch = np.exp(rng.uniform(-self.stretch, self.stretch, count))
        mirror = np.where(rng.random(count) < self.flip, -1.0, 1.0)
        theta = np.zeros((count, 2, 3), np.float32)
        theta[:, 0, 0], theta[:, 0, 1] = np.cos(angle) / (zoom * stretch) * mirror, -np.sin(angle) / zoom
        theta[:, 1, 0], theta[:, 1, 1] = np.sin(angle) / (zoom * stretch) * mirror, np.cos(angle) / zoom
        theta[:, :, 2] = rng.uniform(-2 * self.shift, 2 * self.shift, (count, 2))
        grid = F.affine_grid(torch.from_numpy(theta), list(x.shape), align_corners=False)
        fill = x.flatten(2).median(dim=2).values[..., None, None]  # most images are mostly background
        border = torch.cat([x[..., 0, :], x[..., -1, :], x[..., 0], x[..., -1]], dim=-1)
        fill = torch.where(_each(rng, x, 0, 1, 1.0) < 0.5, border.median(dim=-1).values[..., None, None], fill * 0)
        return F.grid_sample(x - fill, grid, align_corners=False) + fill

    def _tone(self, x: Tensor, is_mr: NDArray[np.bool_], rng: np.random.Generator) -> Tensor:
        """Window, gamma, a slow bias field, for MR another contrast and a coil's surface gain, and a grey offset."""
        cut_low, cut_high = _each(rng, x, 0, 0.12, 0.3), 1 - _each(rng, x, 0, 0.35, 0.3)
        x = ((x - cut_low) / (cut_high - cut_low)).clamp(0, 1)
        gamma = torch.exp(_each(rng, x, -np.log(self.gamma), np.log(self.gamma), 1.0))
        x = x**gamma
        field = torch.from_numpy(rng.normal(size=(len(x), 1, 3, 3)).astype(np.float32))
        field = F.interpolate(field, x.shape[2:], mode="bicubic", align_corners=True)
        x = x * torch.exp(0.35 * field * (_each(rng, x, 0, 1, 1.0) < 0.4))
        x = self._surface(x, is_mr, rng)
        curve = np.concatenate([np.zeros((len(x), 1)), rng.random((len(x), 5))], axis=1).astype(np.float32)
        remapped = _piecewise(x.clamp(0, 1), torch.from_numpy(curve))
        x = torch.where(_each(rng, x, 1, 1, self.remap * is_mr) > 0, remapped, x)
        offset = _each(rng, x, 0, self.offset, 0.4)
        return offset + (1 - offset) * x.clamp(0, 1)

    def _surface(self, x: Tensor, is_mr: NDArray[np.bool_], rng: np.random.Generator) -> Tensor:
        """A gain that depends on how much of the neighbourhood is air: receive coils brighten what is near the surface,
        fat suppression and masks darken it."""
        inside = F.avg_pool2d((x > 0.1).float(), 13, stride=1, padding=6, count_include_pad=False)
        gained = x * torch.exp(_each(rng, x, *self.surface, 0.5 * is_mr) * (1 - inside))
        return gained / gained.amax(dim=(2, 3), keepdim=True).clamp(min=1)

    def _resolution(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        """Some images blurred, some sharpened: x + a * (x - smooth), a in -1..1.5."""
        smooth = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        return x + _each(rng, x, -1, 1.5, 0.5) * (x - smooth)

    def _cut(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        """Every fifth image loses a rectangle to one grey."""
        for image in x:
            if rng.random() < 0.2:
                height, width = (int(n * rng.uniform(0.1, 0.35)) for n in image.shape[1:])
                top, left = rng.integers(image.shape[1] - height), rng.integers(image.shape[2] - width)
                image[:, top : top + height, left : left + width] = float(rng.random())
        return x

    def _degrade(self, images: Images, rng: np.random.Generator) -> Images:
        """One path for every source: smaller and back, eight bits, JPEG."""
        out = np.empty_like(images)
        for image, target in zip(images.reshape(-1, *images.shape[2:]), out.reshape(-1, *out.shape[2:]), strict=True):
            picture = Image.fromarray(np.round(image * 255).astype(np.uint8))
            factor = rng.uniform(*self.size)
            small = picture.resize([max(8, round(n * factor)) for n in picture.size], Image.Resampling.BILINEAR)
            picture = small.resize(picture.size, rng.choice([Image.Resampling.BILINEAR, Image.Resampling.BICUBIC]))
            stream = io.BytesIO()
            picture.save(stream, "JPEG", quality=int(rng.integers(*self.jpeg_quality)))
            target[:] = np.asarray(Image.open(stream), np.float32) / 255
        return out


def remove_background(image: Images) -> Images:
    """An image [..., H, W] without its grey offset: the modal border grey becomes the image's smallest value.

    Applies where at least half of the border has (nearly) one grey and most of the rest is brighter; other images,
    such as a hand on a white ground, come back unchanged. What is darker than the background becomes background.
    """
    border = np.concatenate([image[..., 0, :], image[..., -1, :], image[..., 0], image[..., -1]], axis=-1).ravel()
    low, high = float(image.min()), float(image.max())
    counts, edges = np.histogram(border, bins=64, range=(low, max(high, low + 1e-6)))
    mode = (edges[counts.argmax()] + edges[counts.argmax() + 1]) / 2
    near = 3 * (edges[1] - edges[0])
    is_background = (np.abs(border - mode) <= near).mean() >= 0.5
    brighter, darker = (image > mode + near).sum(), (image < mode - near).sum()
    if not is_background or darker >= brighter:
        return image
    return np.asarray(np.where(image > mode + near / 3, image - mode, 0) + low, np.float32)


def _each(
    rng: np.random.Generator, x: Tensor, low: float, high: float, probability: float | NDArray[np.floating[Any]]
) -> Tensor:
    """[B, 1, 1, 1] uniform in low..high for a share of the images, 0 for the others."""
    values = rng.uniform(low, high, len(x)) * (rng.random(len(x)) < probability)
    return torch.from_numpy(values.astype(np.float32))[:, None, None, None]


def _piecewise(x: Tensor, curve: Tensor) -> Tensor:
    """x in 0..1 through a piecewise linear curve [B, K] of equidistant knots."""
    steps = curve.shape[1] - 1
    place = x * steps
    knot = place.long().clamp(max=steps - 1)
    flat = knot.flatten(1)
    before, after = curve.gather(1, flat).view_as(x), curve.gather(1, flat + 1).view_as(x)
    return before + (after - before) * (place - knot)
