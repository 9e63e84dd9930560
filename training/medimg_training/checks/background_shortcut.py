"""BACKGROUND_SHORTCUT: corners, border and noise of the images alone tell the classes apart.

They are taken after geometry, in the units of the source: what a network sees before the intensity operations. A
window or a percentile may hide the shortcut from it, and may not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .cells import Cells
from .model import CheckInput, CheckResult
from .shortcut import judged

CODE = "BACKGROUND_SHORTCUT"
NAMES = (
    *("upper left corner", "upper right corner", "lower left corner", "lower right corner"),
    *("mean of the border", "spread of the border", "lowest tenth of the border", "highest tenth of the border"),
    *("high-frequency energy", "high-frequency energy of the border"),
)
_PART = 16  # a corner is 1/16 of the side, the border as thick
_AT_ONCE = 512


def check(data: CheckInput) -> CheckResult:
    """Are the classes told apart by corners, border and high frequencies? Needs 10 groups in two classes."""
    samples = Cells.of(data.prepared.samples, np.zeros(len(data.prepared), np.int64))
    means = samples.means(background_features(data.prepared.images))
    number = {sample: n for n, sample in enumerate(np.unique(np.asarray(data.prepared.samples)))}
    features = means[[number[row.sample] for row in data.rows]]
    channels = features.shape[1] // len(NAMES)
    names = [name + (f" (channel {c})" if channels > 1 else "") for c in range(channels) for name in NAMES]
    return judged(CODE, names, features, [row.group for row in data.rows], data)


def background_features(images: NDArray[np.float32]) -> NDArray[np.float64]:
    """[n, C * 10] of images [n, C, H, W], in the order of NAMES for each channel.

    High-frequency energy: log of the median absolute diagonal detail of neighbouring pixels, which is the noise of an
    image whatever its content (Donoho & Johnstone 1994, Biometrika 81:425).
    """
    blocks = [images[n : n + _AT_ONCE] for n in range(0, len(images), _AT_ONCE)]
    return np.concatenate([_of_block(np.asarray(block, np.float64)) for block in blocks])


def _of_block(images: NDArray[np.float64]) -> NDArray[np.float64]:
    count, channels, height, width = images.shape
    size = max(1, min(height, width) // _PART)
    frame = np.ones((height, width), bool)
    frame[size:-size, size:-size] = False
    border = images[..., frame]
    # two columns more than the corners, so that the border has detail at all
    detail = np.abs(images[..., :-1, :-1] + images[..., 1:, 1:] - images[..., 1:, :-1] - images[..., :-1, 1:]) / 2
    low, high = np.percentile(border, (10, 90), axis=2)
    features = [images[..., rows, columns].mean(axis=(2, 3)) for rows in _ends(size) for columns in _ends(size)]
    features += [border.mean(axis=2), border.std(axis=2), low, high]
    features.append(_log(np.median(detail.reshape(count, channels, -1), axis=2)))
    features.append(_log(np.median(detail[..., frame[:-1, :-1]], axis=2)))
    return np.stack(features, axis=2).reshape(count, -1)


def _ends(size: int) -> tuple[slice, slice]:
    return slice(None, size), slice(-size, None)


def _log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.log(values + 1e-6))
