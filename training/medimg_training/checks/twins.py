"""Images that are the same, or nearly: found by a hash of a few bits, confirmed by two correlations.

1. Identical images are found by their bytes and counted once from there on.
2. A perceptual hash: 63 signs of the lowest frequencies (discrete cosine transform) of a 32 x 32 thumbnail; two images
   are compared further where at most 10 bits differ (Zauner 2010, Implementation and benchmarking of perceptual image
   hash functions). All pairs are compared in blocks of bit operations: 10,000 images take seconds.
3. Thumbnails must correlate by 0.98, which slices of other patients at the same height may do, and what remains of them
   without their low frequencies by 0.85, which those do not.

It survives scaling, another contrast or window, compression and mild blur, not flips, turns or crops.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from MedImgClassifierLib.engine.resize import resize

from ..cache import Images, PreparedSet

SIDE, BITS_APART, CORRELATION, DETAIL = 32, 10, 0.98, 0.85
_BLOCK, _PAIRS = 256, 1 << 14


@dataclass(frozen=True)
class Twin:
    """Two samples with the same images. identical: pairs of images that are equal bit for bit; near: pairs that are
    nearly so; share: of the images (that have contrast) of the smaller sample, those that have a twin in the other."""

    sample: str
    other: str
    group: str
    other_group: str
    identical: int
    near: int
    share: float

    @property
    def how(self) -> str:
        """In words, for a row of the report."""
        kind = "identical" if self.identical else "near-identical"
        return f"{kind} images ({self.identical} identical, {self.near} nearly; {self.share:.0%} of the smaller sample)"


def find_twins(prepared: PreparedSet, *, progress: bool = False) -> tuple[Twin, ...]:
    """Pairs of samples of different groups, or of the same group with different labels, of which an image is identical
    or at least half of the smaller one's images are nearly so. Images without contrast count for none.

    Within a group only identical images count: neighbouring slices of a volume may differ in their label.
    """
    first, copies, contrast = _identical(prepared.images)
    kept = np.array(sorted(set(first[contrast].tolist())), np.int64)
    groups = np.unique(np.asarray(prepared.groups), return_inverse=True)[1].reshape(-1)
    thumbnails, hashes = _thumbnails(prepared.images, kept)
    near = _near(thumbnails, hashes, groups[kept], progress)
    pairs = [(a, b, True) for a, b in copies] + [(int(kept[a]), int(kept[b]), False) for a, b in near]
    return tuple(_by_sample(prepared, pairs, contrast))


def _identical(images: Images) -> tuple[NDArray[np.int64], list[tuple[int, int]], NDArray[np.bool_]]:
    """first [n]: the first image with the same bytes; the pairs (first, later copy); contrast [n]: it varies."""
    first, contrast = np.arange(len(images)), np.zeros(len(images), bool)
    seen: dict[bytes, int] = {}
    for n, image in enumerate(images):
        content = np.ascontiguousarray(image)
        contrast[n] = bool(content.min() < content.max())
        first[n] = seen.setdefault(hashlib.sha256(content.data).digest(), n)
    return first, [(int(a), n) for n, a in enumerate(first) if a != n and contrast[n]], contrast


def _thumbnails(images: Images, kept: NDArray[np.int64]) -> tuple[Images, NDArray[np.uint64]]:
    """[m, 32, 32] thumbnails of some images, channels averaged, and their hashes [m]."""
    from scipy.fft import dctn

    small = np.empty((len(kept), SIDE, SIDE), np.float32)
    for at in range(0, len(kept), _BLOCK):
        block = np.asarray(images[kept[at : at + _BLOCK]], np.float32).mean(axis=1, keepdims=True)
        small[at : at + _BLOCK] = resize(block, SIDE, SIDE)[:, 0]
    low = dctn(small, axes=(1, 2))[:, :8, :8].reshape(-1, 64)[:, 1:]
    bits = np.concatenate([low > np.median(low, axis=1, keepdims=True), np.zeros((len(low), 1), bool)], axis=1)
    return small, np.packbits(bits, axis=1).view(np.uint64).reshape(-1)


def _near(
    thumbnails: Images, hashes: NDArray[np.uint64], groups: NDArray[np.int64], progress: bool
) -> list[tuple[int, int]]:
    """Pairs of positions of thumbnails of different groups that are nearly the same."""
    whole, detail = _normalised(thumbnails), _normalised(thumbnails - _smooth(thumbnails))
    found: list[tuple[int, int]] = []
    for at in tqdm(range(0, len(hashes), _BLOCK), "near duplicates", disable=not progress, unit="block"):
        apart = np.bitwise_count(hashes[at : at + _BLOCK, None] ^ hashes[None, at:])
        alike = (apart <= BITS_APART) & (groups[at : at + _BLOCK, None] != groups[None, at:])
        a, b = np.nonzero(np.triu(alike, 1))
        for k in range(0, len(a), _PAIRS):
            one, two = a[k : k + _PAIRS] + at, b[k : k + _PAIRS] + at
            close = np.einsum("nd,nd->n", whole[one], whole[two]) >= CORRELATION
            one, two = one[close], two[close]
            close = np.einsum("nd,nd->n", detail[one], detail[two]) >= DETAIL
            found += zip(one[close].tolist(), two[close].tolist(), strict=True)
    return found


def _smooth(images: Images) -> Images:
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(images, sigma=(0, 2, 2), mode="nearest"), np.float32)


def _normalised(images: Images) -> NDArray[np.float32]:
    """[m, 1024] of mean 0 and length 1, so that a product is a correlation; 0 where there is nothing."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(np.divide(flat, length, out=np.zeros_like(flat), where=length > 0), np.float32)


def _by_sample(
    prepared: PreparedSet, pairs: Sequence[tuple[int, int, bool]], contrast: NDArray[np.bool_]
) -> Iterator[Twin]:
    images: dict[str, int] = defaultdict(int)
    for n in np.flatnonzero(contrast):
        images[prepared.samples[n]] += 1
    met: dict[tuple[str, str], list[tuple[int, int, bool]]] = defaultdict(list)
    for a, b, identical in pairs:
        one, two = prepared.samples[a], prepared.samples[b]
        apart = prepared.groups[a] != prepared.groups[b] or prepared.labels[a] != prepared.labels[b]
        if one != two and apart:
            met[min(one, two), max(one, two)].append((a, b, identical) if one < two else (b, a, identical))
    group = dict(zip(prepared.samples, prepared.groups, strict=True))
    for (one, two), found in sorted(met.items()):
        covered = min(len({a for a, _, _ in found}), len({b for _, b, _ in found}))
        same = sum(identical for _, _, identical in found)
        share = covered / min(images[one], images[two])
        if same or share >= 0.5:
            yield Twin(one, two, group[one], group[two], same, len(found) - same, share)
