"""SAME_GROUP_ACROSS_ROLES: one patient, study, series or file in two groups.

Groups are never divided between roles, so what can leak is what was put into two groups by mistake. Looked at: the
manifest's columns of such names, the UIDs of the files, and the files' paths. With a split it fires where the two
groups are in different roles; without one for any two groups.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from ..datasets.manifest import Row
from .headers import Header
from .model import CheckInput, CheckResult, Offence

CODE = "SAME_GROUP_ACROSS_ROLES"
COLUMNS = ("patient", "patient_id", "patientid", "subject", "study", "study_uid", "series", "series_uid")
"""Names of columns, whatever their case, whose values belong to one group each."""


def check(data: CheckInput) -> CheckResult:
    """Which samples of different groups are of one patient, study, series or file?"""
    seen: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)  # what, which -> group -> its first sample
    for row in data.rows:
        for key in _belongs_to(row, data.headers[row.sample]):
            seen[key].setdefault(row.group, row.sample)
    rows, crossing = [], 0
    for (what, which), found in seen.items():
        (group, sample), *others = found.items()
        for other_group, other in others:
            roles = data.crosses_roles(group, other_group) or _crosses(data, other_group, found)
            crossing += bool(roles)
            reason = f"same {what} '{which}'" + (f"; in {roles}" if roles else "")
            rows.append(Offence(sample, reason, group, other, other_group))
    fires = bool(crossing if data.split else rows)
    facts = {"pairs": len(rows), "crossing": crossing, "what": ", ".join(sorted({_what(row) for row in rows}))}
    kind = "silent" if not rows else "roles" if fires and data.split else "groups"
    numbers = {"statistic": "pairs of groups", "threshold": 1, **facts}
    return CheckResult.of(CODE, fires, facts, numbers, rows, f"{CODE}.{kind}")


def _belongs_to(row: Row, header: Header) -> Iterator[tuple[str, str]]:
    """What a sample is of, as (what, which): each may stand in one group only."""
    texts = {**row.covariates, "study": row.study, "series_uid": row.series_uid}
    columns = {name.lower(): value for name, value in texts.items() if value}
    yield from ((name, columns[name]) for name in COLUMNS if name in columns)
    if header.study_uid:
        yield "study of the file", header.study_uid
    if header.series_uid:
        yield "series of the file", header.series_uid
    yield "path", str(row.path)


def _crosses(data: CheckInput, group: str, found: Mapping[str, str]) -> str:
    """As CheckInput.crosses_roles, against any of the groups in which one thing was found."""
    return next((roles for other in found if (roles := data.crosses_roles(group, other))), "")


def _what(row: Offence) -> str:
    return row.reason.removeprefix("same ").partition(" '")[0]
