"""NEAR_DUPLICATES: the same image, or nearly the same, in two groups.

With a split it fires where the two groups are in different roles of a fold: what was learned by heart is then counted
as understood. Without one it fires for any two groups: they are not what groups should be.
"""

from __future__ import annotations

from .model import CheckInput, CheckResult, Offence

CODE = "NEAR_DUPLICATES"


def check(data: CheckInput) -> CheckResult:
    """Which samples of different groups show the same image?"""
    rows, crossing = [], 0
    for twin in data.twins:
        if twin.group == twin.other_group:
            continue
        roles = data.crosses_roles(twin.group, twin.other_group)
        crossing += bool(roles)
        reason = twin.how + (f"; in {roles}" if roles else "")
        rows.append(Offence(twin.sample, reason, twin.group, twin.other, twin.other_group))
    groups = len({group for row in rows for group in (row.group, row.other_group)})
    facts = {"pairs": len(rows), "groups": groups, "crossing": crossing}
    numbers = {"statistic": "pairs of samples in different groups", "threshold": 1, **facts}
    kind = "silent" if not rows else "groups" if data.split is None else "roles" if crossing else "within"
    return CheckResult.of(CODE, kind in ("groups", "roles"), facts, numbers, rows, f"{CODE}.{kind}")
