"""What a door found: the rows of a manifest to be, what was left out, and what a researcher should know of both."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from MedImgClassifierLib.engine.errors import Refusal

from ..durable import write_durably
from .manifest import about_problem, write_manifest
from .problems import RowsRefusal
from .rows import REQUIRED, alike, checked_rows

LEFT_OUT = "left_out.csv"
_SHOWN = 12


@dataclass(frozen=True)
class LeftOut:
    """A file, series or row that is not in the manifest, and why. The reasons of like cases are the same text."""

    what: str
    reason: str


@dataclass(frozen=True)
class Companion:
    """A file that is written with the manifest. content: made when it is needed; private: for its owner's eyes."""

    path: Path
    content: Callable[[], bytes]
    private: bool = False


@dataclass(frozen=True)
class Draft:
    """A manifest that is not written yet.

    source      what it was made from;  lines  of that table, for each record; () where it is none: then problems
                name the lines that the manifest would have
    records     one mapping a row, its keys columns; `path` relative to `root`
    companions  files that are written first, and taken away again where the manifest is refused
    """

    source: Path
    root: Path
    records: tuple[Mapping[str, object], ...]
    classes: tuple[str, ...]
    task: str
    lines: tuple[int, ...] = ()
    group_waiver: str = ""
    sha256: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    companions: tuple[Companion, ...] = ()

    def check(self) -> None:
        """Raises Refusal DATA_SOURCE, as RowsRefusal with all problems where rows are wrong. Hashes of files are
        compared when the manifest is written."""
        about: dict[str, Any] = {"task": self.task, "classes": list(self.classes), "group_waiver": self.group_waiver}
        reason = about_problem(about) or ("" if self.records else "there is no image")
        if reason:
            raise Refusal("DATA_SOURCE", path=self.source, where="content", reason=reason)
        coming = {companion.path for companion in self.companions}
        texts = [
            dict.fromkeys(REQUIRED, "") | {key: "" if value is None else str(value) for key, value in record.items()}
            for record in self.records
        ]
        numbered = zip(self.lines or range(2, len(texts) + 2), texts, strict=True)
        _, problems = checked_rows(numbered, self.root, about, lambda file: file in coming or os.path.exists(file))
        if problems:
            raise RowsRefusal("DATA_SOURCE", self.source, problems)

    def write(self, folder: Path) -> Path:
        """Write manifest.csv and manifest.json, and left_out.csv where something was left out, into a folder; return
        the path of manifest.csv.

        Raises Refusal DATA_SOURCE or DATA_MANIFEST, USAGE_OUTPUT_NOT_WRITABLE where a manifest is there already, and
        OSError; nothing that was made stays then.
        """
        refuse_existing(folder)
        self.check()
        made: list[Path] = []
        try:
            for companion in self.companions:
                _write(companion, made)
            _make_folder(folder, made)
            if self.left_out:
                made.append(folder / LEFT_OUT)
                write_durably(folder / LEFT_OUT, left_out_csv(self.left_out))
            made += [folder / "manifest.json", folder / "manifest.csv"]
            return write_manifest(
                folder,
                self.records,
                self.classes,
                task=self.task,
                root=_relative(self.root, folder),
                group_waiver=self.group_waiver,
                sha256=self.sha256,
            )
        except BaseException:
            for path in reversed(made):
                with suppress(OSError):
                    path.rmdir() if path.is_dir() else path.unlink()
            raise

    def summary(self) -> str:
        """Classes, samples, groups of each class, and what was left out, as lines of text."""
        groups = {str(record["group"] or record["sample"]) for record in self.records}
        kinds = Counter(str(record["group_kind"]) for record in self.records)
        lines = [
            f"task {self.task}, {len(self.classes)} classes, {len(self.records)} samples in {len(groups)} groups"
            f" ({', '.join(kinds)})"
        ]
        width = max([len("unlabelled"), *(len(name) for name in self.classes)])
        lines.append(f"{'class':{width}}  samples  groups")
        for name in (*self.classes, ""):
            own = [record for record in self.records if record["label"] == name]
            if own or name:
                count = len({record["group"] or record["sample"] for record in own})
                lines.append(f"{name or 'unlabelled':{width}}  {len(own):7}  {count:6}")
        splits = Counter(str(record["split"]) for record in self.records if record.get("split"))
        if splits:
            lines.append("split: " + ", ".join(f"{name} {count}" for name, count in splits.items()))
        if self.group_waiver:
            lines.append(f"no groups: {self.group_waiver}")
        reasons = Counter(item.reason for item in self.left_out).most_common()
        lines.append(f"left out: {len(self.left_out)}")
        lines += [f"  {count:6}  {reason}" for reason, count in reasons[:_SHOWN]]
        if len(reasons) > _SHOWN:
            lines.append(f"  {sum(count for _, count in reasons[_SHOWN:]):6}  for other reasons")
        return "\n".join(lines)


def refuse_existing(folder: Path) -> None:
    """Raises Refusal USAGE_OUTPUT_NOT_WRITABLE where a manifest stands: splits and results may depend on it."""
    if (folder / "manifest.csv").exists():
        raise Refusal("USAGE_OUTPUT_NOT_WRITABLE", path=folder, reason="a manifest.csv is there already")


def classes_and_task(
    source: Path, labels: Iterable[str], classes: Sequence[str] = (), task: str = ""
) -> tuple[tuple[str, ...], str]:
    """The classes in their order, and the task: as given, else in the order of the alphabet, and binary for two.

    Labels that differ only in case or spaces are one class, in its most frequent spelling, so that the rows of the
    others are found. Raises Refusal DATA_SOURCE for an ordinal task whose order nobody gave.
    """
    if task == "ordinal" and not classes:
        reason = "an ordinal task needs its classes in their order: --classes"
        raise Refusal("DATA_SOURCE", path=source, where="task", reason=reason)
    spellings: dict[str, Counter[str]] = {}
    for label in labels:
        if label.strip():
            spellings.setdefault(alike(label), Counter())[label.strip()] += 1
    found = tuple(sorted(counter.most_common(1)[0][0] for counter in spellings.values()))
    chosen = tuple(classes) or found
    return chosen, task or ("binary" if len(chosen) == 2 else "multiclass")


def left_out_csv(items: Iterable[LeftOut]) -> bytes:
    """The table `left_out.csv`."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["what", "reason"])
    table.writerows((item.what, item.reason) for item in items)
    return text.getvalue().encode()


def _write(companion: Companion, made: list[Path]) -> None:
    """Written beside its place and renamed. No flush to the disk: the manifest, which comes last, has one."""
    path = companion.path
    _make_folder(path.parent, made, 0o700 if companion.private else 0o777)
    temporary = path.with_name(path.name + ".part")
    made.append(temporary)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if companion.private else 0o666)
    with os.fdopen(descriptor, "wb") as file:
        file.write(companion.content())
    new = not path.exists()
    os.replace(temporary, path)
    made[-1:] = [path] if new else []


def _make_folder(folder: Path, made: list[Path], mode: int = 0o777) -> None:
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    for place in reversed(missing):
        place.mkdir(mode, exist_ok=True)
        made.append(place)


def _relative(root: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(root.resolve(), folder.resolve())).as_posix()
    except ValueError:  # on another drive
        return root.resolve().as_posix()
