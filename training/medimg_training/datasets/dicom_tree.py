"""A tree of DICOM files: series chosen by a rule, labels from a table, pseudonyms for everything that names somebody.

What is written into the manifest's folder holds no name, id, UID, folder or file of the tree. What leads back lies in
a private folder: the key, a series file for each sample (see `series_file`), and the left-out series with their UIDs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Literal

from MedImgClassifierLib.engine.errors import Refusal

from .delimited import read_table
from .dicom_headers import Series, series_in
from .draft import LEFT_OUT, Companion, Draft, LeftOut, classes_and_task, left_out_csv
from .problems import RowProblem, RowsRefusal
from .pseudonyms import Pseudonyms
from .series_file import SUFFIX, series_file

LabelsBy = Literal["PatientID", "StudyInstanceUID", "SeriesInstanceUID"]
Several = Literal["refuse", "largest", "all"]
Acquired = Literal["day", "month", "none"]
FOLDER = "series"
_LOST = "it is damaged, or does not say of which series it is"


@dataclass(frozen=True)
class SeriesRule:
    """Which series of a study is the sample.

    modality     '' any;  least_images  fewer are left out
    description  regular expression found in SeriesDescription, case ignored; '' any
    several      where several series of a study are left: refuse, take the one with most images, or take all
    """

    modality: str = ""
    least_images: int = 1
    description: str = ""
    several: Several = "refuse"

    def __post_init__(self) -> None:
        try:
            re.compile(self.description)
        except re.error as error:
            reason = f"'{self.description}' is no regular expression: {error}"
            raise Refusal("DATA_SOURCE", path="SeriesDescription", where="rule", reason=reason) from error

    def why_not(self, series: Series) -> str:
        """Why a series is no candidate, '' where it is one."""
        if self.modality and series.modality != self.modality:
            return f"its modality is not {self.modality}"
        if series.count < self.least_images:
            return f"it has fewer than {self.least_images} images"
        if self.description and not re.search(self.description, series.description, re.IGNORECASE):
            return "its description does not match"
        return ""


@dataclass(frozen=True)
class Labels:
    """Labels by id. by: what the ids are, an attribute of DICOM."""

    path: Path
    by: LabelsBy
    labels: dict[str, str]

    @classmethod
    def read(cls, path: Path, by: LabelsBy, column: str = "", label_column: str = "label") -> Labels:
        """Of a CSV file. column: where the ids are, else the column named as `by`.

        Raises Refusal DATA_SOURCE; as RowsRefusal for ids that stand twice and labels with spaces around them.
        """
        table = read_table(path)
        ids, label = table.column(column or by, "ids"), table.column(label_column, "labels")
        labels: dict[str, str] = {}
        lines: dict[str, int] = {}
        problems = []
        for line, row in table.rows:
            name, own = " ".join(row[ids].split()), row[label]
            first = lines.setdefault(name, line)
            if not name:
                problems.append(RowProblem(line, "", ids, f"'{ids}' is empty"))
            elif first != line:
                other = "" if labels[name] == own else f" with label '{labels[name]}', here '{own}'"
                problems.append(RowProblem(line, name, ids, f"'{name}' stands already in line {first}{other}"))
            elif own != own.strip():
                problems.append(RowProblem(line, name, label, f"label '{own}' begins or ends with a space"))
            else:
                labels[name] = own
            labels.setdefault(name, own)
        if problems:
            raise RowsRefusal("DATA_SOURCE", path, problems)
        return cls(path, by, labels)

    def id_of(self, series: Series) -> str:
        """The id of a series by which its label is looked up."""
        return series.uid if self.by == "SeriesInstanceUID" else series.value(self.by)


def draft_of_dicom(
    root: Path,
    labels: Labels,
    rule: SeriesRule,
    pseudonyms: Pseudonyms,
    private: Path,
    *,
    acquired: Acquired = "month",
    classes: Sequence[str] = (),
    task: str = "",
    progress: bool = False,
) -> Draft:
    """The manifest of a tree of DICOM files.

    private: folder outside the manifest's, for series files. acquired: how exactly the day of the study is told; of a
    month its first day. Raises Refusal DATA_SOURCE for a tree without a series that fits rule and labels; as
    RowsRefusal with all studies where several series fit and the rule refuses that.
    """
    found, lost = series_in(root, progress=progress)
    left_out = [LeftOut(f"file {pseudonyms.of('file', str(path))}", _LOST) for path in lost]
    known = [LeftOut(str(path), _LOST) for path in lost]

    def leave(series: Series, reason: str) -> None:
        left_out.append(LeftOut(f"series {pseudonyms.of('series', series.uid)}", reason))
        known.append(LeftOut(f"{series.uid} ({series.files[0].parent})", reason))

    candidates = []
    for series in found:
        reason = series.unusable or rule.why_not(series)
        if not reason and labels.id_of(series) not in labels.labels:
            reason = f"its {labels.by} has no label in the table"
        leave(series, reason) if reason else candidates.append(series)
    chosen = _chosen(root, candidates, rule.several)
    for series in candidates:
        if series not in chosen:
            leave(series, "another series of its study has more images")
    used = {labels.id_of(series) for series in chosen}
    for name in labels.labels:
        if name not in used:
            reason = f"a label whose {labels.by} has no series"
            left_out.append(LeftOut(f"label {pseudonyms.of('label', name)}", reason))
            known.append(LeftOut(name, reason))
    if not chosen:
        reason = f"none of its {len(found)} series fits rule and labels ({_reasons(left_out)})"
        raise Refusal("DATA_SOURCE", path=root, where="series", reason=reason)
    folder = private / FOLDER
    records = tuple(_record(series, labels, pseudonyms, acquired) for series in chosen)
    companions = [
        Companion(folder / str(record["path"]), partial(series_file, series.uid, series.files), private=True)
        for series, record in zip(chosen, records, strict=True)
    ]
    if known:
        companions.append(Companion(private / LEFT_OUT, partial(left_out_csv, known), private=True))
    classes, task = classes_and_task(labels.path, (str(r["label"]) for r in records), classes, task)
    gone = tuple(left_out)
    return Draft(root, folder, records, classes, task, left_out=gone, companions=tuple(companions))


def _chosen(root: Path, candidates: Iterable[Series], several: Several) -> list[Series]:
    """The series to take, by study."""
    studies: dict[str, list[Series]] = {}
    for series in candidates:
        studies.setdefault(series.value("StudyInstanceUID"), []).append(series)
    chosen = []
    problems = []
    for study, members in studies.items():
        most = max(series.count for series in members)
        kept = [series for series in members if series.count == most] if several == "largest" else members
        if len(kept) > 1 and several != "all":
            listing = "; ".join(f"{series.description or 'no description'}, {series.count} images" for series in kept)
            why = "fit the rule" if several == "refuse" else "are the largest"
            problems.append(RowProblem(0, study, "series_uid", f"{len(kept)} series of this study {why}: {listing}"))
        chosen += kept
    if problems:
        raise RowsRefusal("DATA_SOURCE", root, problems)
    return chosen


def _reasons(left_out: Iterable[LeftOut]) -> str:
    counts: dict[str, int] = {}
    for item in left_out:
        counts[item.reason] = counts.get(item.reason, 0) + 1
    return "; ".join(f"{count} x {reason}" for reason, count in counts.items())


def _record(series: Series, labels: Labels, pseudonyms: Pseudonyms, acquired: Acquired) -> dict[str, object]:
    name = pseudonyms.of("series", series.uid)
    return {
        "sample": name,
        "group": pseudonyms.of("patient", series.value("PatientID")),
        "group_kind": "patient",
        "path": f"{name}{SUFFIX}",
        "label": labels.labels[labels.id_of(series)],
        "study": pseudonyms.of("study", series.value("StudyInstanceUID")),
        "series_uid": name,
        "site": pseudonyms.of("site", series.value("InstitutionName")),
        "scanner": series.scanner,
        "acquired": _day(series.value("StudyDate"), acquired),
        "modality": series.modality,
    }


def _day(text: str, acquired: Acquired) -> str:
    """StudyDate (20240331, in old files 2024.03.31) as an ISO date; '' where there is none."""
    try:
        day = datetime.strptime(text.replace(".", ""), "%Y%m%d").date()
    except ValueError:
        return ""
    if acquired == "none":
        return ""
    return (day.replace(day=1) if acquired == "month" else day).isoformat()
