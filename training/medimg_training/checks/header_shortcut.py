"""HEADER_SHORTCUT: size, spacing, orientation, modality, format or scanner alone tell the classes apart.

No network sees a header, but it sees what goes with it: a box that was cropped around the organ, the blur of a
resampling, the margin of a padding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .headers import known_modalities
from .model import CheckInput, CheckResult
from .shortcut import judged

CODE = "HEADER_SHORTCUT"
_MOST_VALUES = 20  # of a column of texts: the most frequent ones
_AXES = ("slices", "rows", "columns")


def check(data: CheckInput) -> CheckResult:
    """Are the classes told apart by the headers of their samples' files? Needs 10 groups in two classes."""
    names, features = header_features(data)
    return judged(CODE, names, features, [row.group for row in data.rows], data)


def header_features(data: CheckInput) -> tuple[list[str], NDArray[np.float64]]:
    """Names [d] and values [n, d]: voxels, spacing and extent along each axis, and of each text 0 or 1."""
    headers = [data.headers[row.sample] for row in data.rows]
    shape = np.array([header.shape for header in headers], np.float64).reshape(-1, 3)
    spacing = np.array([header.spacing_mm for header in headers], np.float64).reshape(-1, 3)
    names = [f"{what} ({axis})" for what in ("voxels", "spacing", "extent") for axis in _AXES]
    columns = [*shape.T, *spacing.T, *(shape * spacing).T, shape[:, 1] / shape[:, 2]]
    names.append("rows / columns")
    texts = {
        "modality": known_modalities(data.rows, data.headers),
        "units": [header.units for header in headers],
        "orientation": [header.axes for header in headers],
        "format": [header.format for header in headers],
        "scanner": [row.scanner for row in data.rows],
    }
    for name, values in texts.items():
        for value in _frequent(values):
            names.append(f"{name} '{value}'")
            columns.append(np.array([own == value for own in values], np.float64))
    return names, np.stack(columns, axis=1)


def _frequent(values: Sequence[str]) -> list[str]:
    counts = Counter(values)
    return [value for value, _ in counts.most_common(_MOST_VALUES)] if len(counts) > 1 else []
