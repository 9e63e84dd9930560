"""CONTRADICTORY_LABELS: the same image, or nearly the same, with different labels."""

from __future__ import annotations

from .model import CheckInput, CheckResult, Offence

CODE = "CONTRADICTORY_LABELS"


def check(data: CheckInput) -> CheckResult:
    """Which samples show the same image under different labels? Within a group only identical images count."""
    rows = []
    for twin in data.twins:
        labels = data.by_sample[twin.sample].label, data.by_sample[twin.other].label
        if labels[0] != labels[1]:
            reason = f"{twin.how}; labelled '{labels[0]}' and '{labels[1]}'"
            rows.append(Offence(twin.sample, reason, twin.group, twin.other, twin.other_group))
    facts = {"pairs": len(rows)}
    numbers = {"statistic": "pairs of samples", "threshold": 1, **facts}
    return CheckResult.of(CODE, bool(rows), facts, numbers, rows)
