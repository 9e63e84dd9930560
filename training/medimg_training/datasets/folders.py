"""Class folders: `root/<class>/<image>`, or `root/{train,val,calibrate,test}/<class>/<image>`.

An image is a file (PNG, JPEG, NIfTI, NRRD, MetaImage, DICOM) at any depth below its class, or a folder with one
DICOM series.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from MedImgClassifierLib.engine.dicom_headers import read_header
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.reading import list_series

from .draft import Draft, LeftOut, classes_and_task
from .groups import GroupRule, Ungrouped
from .problems import RowProblem, RowsRefusal
from .rows import GroupKind

SPLITS = ("train", "val", "calibrate", "test")
ENDINGS = (".png", ".jpg", ".jpeg", ".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")
_OPTIONS = "one of --group-by-pattern, --group-by-folder and --group-table"


def draft_of_folders(
    root: Path,
    rule: GroupRule | None,
    *,
    group_kind: GroupKind = "patient",
    classes: Sequence[str] = (),
    task: str = "",
    progress: bool = False,
) -> Draft:
    """The manifest of a tree of class folders. Sample names are paths relative to the root.

    rule: which images belong together; classes: their order, else the alphabet's.
    Raises Refusal DATA_GROUPS without a rule, DATA_SOURCE for a tree that is not of this form; as RowsRefusal with all
    of them where images have no group or folders hold several series.
    """
    if not root.is_dir():
        raise Refusal("DATA_SOURCE", path=root, where="folder", reason="there is no such folder")
    if rule is None:
        raise Refusal("DATA_GROUPS", path=root, reason="no rule was given", options=_OPTIONS)
    waiver = rule.reason if isinstance(rule, Ungrouped) else ""
    tree = _Tree(root, progress)
    records: list[dict[str, object]] = []
    for split, label, folder in tree.class_folders():
        before = len(records)
        for path in tree.images(folder, folder):
            try:
                below = path.relative_to(folder).parts
                group = rule.group(path, below if (root / path).is_dir() else below[:-1])
            except ValueError as error:
                tree.problem(path, "group", str(error))
                continue
            kind = "none" if waiver else group_kind
            name = path.as_posix()
            record: dict[str, object] = {
                "sample": name,
                "group": group,
                "group_kind": kind,
                "path": name,
                "label": label,
            }
            records.append(record | ({"split": split} if split else {}))
        if len(records) == before and not tree.problems:
            tree.problem(folder, "label", f"class folder '{folder}' holds no image")
    if tree.problems:
        raise RowsRefusal("DATA_SOURCE", root, tree.problems)
    classes, task = classes_and_task(root, (str(record["label"]) for record in records), classes, task)
    return Draft(root, root, tuple(records), classes, task, group_waiver=waiver, left_out=tuple(tree.left_out))


class _Tree:
    """A walk through a tree that notes what it passes over and what is wrong. Paths are relative to the root."""

    def __init__(self, root: Path, progress: bool) -> None:
        self.root = root
        self.left_out: list[LeftOut] = []
        self.problems: list[RowProblem] = []
        self._bar = tqdm(desc="folders", disable=not progress, unit="file")

    def problem(self, path: PurePosixPath, column: str, reason: str) -> None:
        self.problems.append(RowProblem(0, path.as_posix(), column, reason))

    def class_folders(self) -> Iterator[tuple[str, str, PurePosixPath]]:
        """Split ('' where the tree has none), class and folder of each class folder."""
        top = self._folders(PurePosixPath())
        names = {folder.name for folder in top}
        if "train" in names and names <= set(SPLITS):
            for split in top:
                for folder in self._folders(split):
                    yield split.name, folder.name, folder
        else:
            for folder in top:
                yield "", folder.name, folder

    def _folders(self, place: PurePosixPath) -> list[PurePosixPath]:
        """The folders in a place whose files are in no class."""
        folders, files = self._listed(place)
        self.left_out += [LeftOut(file.as_posix(), "it lies in no class folder") for file in files]
        return folders

    def images(self, place: PurePosixPath, class_folder: PurePosixPath) -> Iterator[PurePosixPath]:
        """The images in a folder and below."""
        folders, files = self._listed(place)
        dicom: dict[str, list[PurePosixPath]] = {}
        for file in files:
            if file.name.lower().endswith(ENDINGS):
                yield file
                continue
            header = read_header(self.root / file)
            if header is None:
                self.left_out.append(LeftOut(file.as_posix(), f"it is no image that can be read ({_ending(file)})"))
            else:
                dicom.setdefault(header.series_uid, []).append(file)
        if len(dicom) == 1 and place != class_folder:
            if len(list_series(self.root / place)) > 1:
                self.problem(place, "path", f"'{place}' holds several DICOM series; use `medimg prepare dicom`")
            yield place
            return  # what lies below is part of the series, or was refused
        if all(len(series) == 1 for series in dicom.values()):
            for (file,) in dicom.values():
                yield file
        else:
            self.problem(place, "path", f"'{place}' holds several DICOM images that are not each a series of their own;"
                         " put each series into a folder, or use `medimg prepare dicom`")  # fmt: skip
        for folder in folders:
            yield from self.images(folder, class_folder)

    def _listed(self, place: PurePosixPath) -> tuple[list[PurePosixPath], list[PurePosixPath]]:
        """Folders and files in a place, in order of name, but what is hidden or empty. Links to folders are left."""
        folders, files = [], []
        with os.scandir(self.root / place) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            path = place / entry.name
            self._bar.update()
            if entry.name.startswith("."):
                self.left_out.append(LeftOut(path.as_posix(), "it is hidden"))
            elif entry.is_dir(follow_symlinks=False):
                folders.append(path)
            elif not entry.is_file():
                self.left_out.append(LeftOut(path.as_posix(), "it is neither a file nor a folder"))
            elif entry.stat().st_size == 0:
                self.left_out.append(LeftOut(path.as_posix(), "it is empty"))
            else:
                files.append(path)
        return folders, files


def _ending(path: PurePosixPath) -> str:
    return path.suffix.lower() or "without ending"
