"""All changes of a policy on a batch of images, in the order in which a scanner and a display make them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from . import disturbance, sharpness, spatial, tone
from .draws import Draws, Keys, Mask, Rows
from .kinds import Kinds, Selection
from .policy import Chance, Policy

Operation = Callable[[Selection], Tensor]


def augment(images: Tensor, policy: Policy, keys: Keys, modalities: Sequence[str], units: Sequence[str]) -> Tensor:
    """Changed copies of images, in the units and within the range of each image (channel).

    images      float32 [B, C, H, W] after geometry, on any device; keys [B] of `draws.image_keys`
    modalities  DICOM modality of each, '' unknown; units of each: 'HU', 'SUVbw', 'RGB', anything else is arbitrary

    The result of an image depends on the policy and its key only. An image that nothing was drawn for comes back with
    the same bits.
    """
    if not len(images) == len(keys) == len(modalities) == len(units):
        raise ValueError("images, keys, modalities and units must be as many")
    draws, kinds = Draws(keys), Kinds.of(modalities, units)
    out = spatial.moved(images, policy, draws)
    low, span = _range(images, kinds.rgb)
    unit = ((out - low) / torch.where(span > 0, span, 1)).clamp_(0, 1)
    changed = np.zeros(len(images), bool)
    for name, chance, allowed, operation in _operations(policy, kinds):
        chosen = draws.choose(name, chance, allowed)
        if len(chosen.rows):
            changed[chosen.rows] = True
            _put(unit, chosen.rows, operation(Selection.of(chosen, unit, low, span, kinds)))
    if changed.any():
        rows = torch.from_numpy(np.flatnonzero(changed)).to(out.device)
        out[rows] = unit.mul_(span).add_(low)[rows]
    return out


def _operations(policy: Policy, kinds: Kinds) -> Iterator[tuple[str, Chance, Mask | None, Operation]]:
    """First what a scanner does, then what a display does, last what covers the picture."""
    arbitrary = ~kinds.calibrated
    yield "bias field", policy.bias_field, kinds.perhaps_mr, tone.bias_field
    yield "blur", policy.blur, None, sharpness.blurred
    yield "low resolution", policy.low_resolution, None, sharpness.coarser
    yield "noise", policy.noise, ~kinds.mr, disturbance.gaussian_noise
    yield "noise", policy.noise, kinds.mr, disturbance.rician_noise
    yield "window", policy.window, arbitrary, tone.window
    yield "calibrated window", policy.calibrated_window, kinds.calibrated, tone.calibrated_window
    yield "gamma", policy.gamma, arbitrary, tone.gamma
    yield "colour", policy.colour, kinds.rgb, tone.colour
    yield "cutout", policy.cutout, None, disturbance.cutout


def _range(images: Tensor, rgb: Mask) -> tuple[Tensor, Tensor]:
    """[B, C, 1, 1] smallest value and range of each channel; RGB channels share them, or colours would change."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    if rgb.any():
        shared = torch.from_numpy(rgb).to(images.device)[:, None, None, None]
        low = torch.where(shared, low.amin(1, keepdim=True), low)
        high = torch.where(shared, high.amax(1, keepdim=True), high)
    return low, high - low


def _put(x: Tensor, rows: Rows, values: Tensor) -> None:
    """x[rows] = values, without an index where that is all of x."""
    if len(rows) == len(x):
        x.copy_(values)
    else:
        x[torch.from_numpy(rows).to(x.device)] = values
