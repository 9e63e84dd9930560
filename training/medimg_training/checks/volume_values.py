"""VOLUME_VALUES: files that cannot be read, values that are not finite, and images without any contrast."""

from __future__ import annotations

from collections import Counter

import numpy as np

from .model import CheckInput, CheckResult, Offence

CODE = "VOLUME_VALUES"
MOST_EMPTY = 0.5
"""Share of a sample's slices without contrast from which on it is named; a few at the ends of a volume are usual."""


def check(data: CheckInput) -> CheckResult:
    """Which samples cannot be read, are not finite, or are empty? One such sample makes it fire."""
    rows = [
        Offence(row.sample, f"cannot be used: {data.headers[row.sample].problem}", row.group)
        for row in data.manifest.rows
        if row.label and data.headers[row.sample].problem
    ]
    unreadable = len(rows)
    slices: Counter[str] = Counter(data.prepared.samples)
    empty: Counter[str] = Counter()
    not_finite: Counter[str] = Counter()
    for image, sample in zip(data.prepared.images, data.prepared.samples, strict=True):
        low, high = float(np.min(image)), float(np.max(image))  # either is NaN where a value is
        not_finite[sample] += not np.isfinite(high - low)
        empty[sample] += low == high
    for sample, count in slices.items():
        group = data.by_sample[sample].group
        if not_finite[sample]:
            reason = f"{not_finite[sample]} of {count} slices have values that are not finite"
            rows.append(Offence(sample, reason, group))
        elif empty[sample] >= MOST_EMPTY * count:
            rows.append(Offence(sample, f"{empty[sample]} of {count} slices have no contrast", group))
    facts = {"samples": len(rows), "unreadable": unreadable, "empty": empty.total(), "slices": slices.total()}
    numbers = {"statistic": "samples", "threshold": 1, "share_of_slices": MOST_EMPTY, **facts}
    return CheckResult.of(CODE, bool(rows), facts, numbers, rows)
