"""MIXED_MODALITIES: more than one modality, or more than one unit of values, in one manifest.

A window in HU means nothing for a MR. Where the modality goes with the label it is the first thing a network learns.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from .cells import Cells
from .headers import known_modalities
from .model import CheckInput, CheckResult, Offence
from .site_confounding import STRONG, corrected_v, counted

CODE = "MIXED_MODALITIES"


def check(data: CheckInput) -> CheckResult:
    """Which modalities and units are there? Files that state no modality are counted as none."""
    modalities = known_modalities(data.rows, data.headers)
    units = [data.headers[row.sample].units for row in data.rows]
    stated = Counter(value for value in modalities if value)
    kinds = Counter(units)
    facts: dict[str, object] = {"modalities": _listed(stated), "units": _listed(kinds)}
    numbers: dict[str, object] = {"modalities": dict(stated), "units": dict(kinds), "unknown": modalities.count("")}
    if len(stated) < 2 and len(kinds) < 2:
        return CheckResult.of(CODE, False, facts, numbers)
    both = [f"{modality or 'unknown modality'} in {unit}" for modality, unit in zip(modalities, units, strict=True)]
    v = _association(data, both)
    usual = Counter(both).most_common(1)[0][0]
    rows = [
        Offence(row.sample, f"{own}, most are {usual}", row.group)
        for row, own in zip(data.rows, both, strict=True)
        if own != usual
    ]
    text = f"{CODE}.labels" if v >= STRONG else ""
    numbers |= {"statistic": "Cramer's V of modality and label, bias-corrected", "v": round(v, 4), "threshold": STRONG}
    return CheckResult.of(CODE, True, facts | {"v": f"{v:.2f}"}, numbers, rows, text)


def _association(data: CheckInput, kinds: list[str]) -> float:
    """Cramer's V over the cells of group, label and kind, so that a patient counts once of each."""
    _, of_row = np.unique(kinds, return_inverse=True)
    cells = Cells.of([f"{row.group} {kind}" for row, kind in zip(data.rows, kinds, strict=True)], data.labels)
    own = np.zeros(len(cells), np.int64)
    own[cells.of_row] = of_row
    return corrected_v(counted(cells.labels, own))


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name or 'unknown'} ({count})" for name, count in counts.most_common()) or "unknown"
