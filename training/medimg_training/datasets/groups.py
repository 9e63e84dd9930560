"""Which images belong together: one patient, one scene, one source image. Nobody but the researcher knows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from MedImgClassifierLib.engine.errors import Refusal

from .delimited import read_table


class GroupRule(Protocol):
    """Tells the group of an image."""

    def group(self, path: PurePosixPath, folders: Sequence[str]) -> str:
        """Group of the image at `path`, relative to the root. folders: names of those between its class and its files.

        Raises ValueError: why it has none.
        """
        ...


@dataclass(frozen=True)
class ByPattern:
    """What a regular expression finds in the path, relative to the root and written with '/'."""

    pattern: re.Pattern[str]

    @classmethod
    def of(cls, text: str, root: Path) -> ByPattern:
        """Raises Refusal DATA_GROUPS for an expression that is none, or has not one capture group."""
        try:
            pattern = re.compile(text)
            if pattern.groups != 1:
                raise re.error(f"it has {pattern.groups} capture groups ( ), not one")
        except re.error as error:
            options = "a regular expression whose one capture group ( ) is the group, such as '(P[0-9]+)_'"
            raise Refusal("DATA_GROUPS", path=root, reason=f"'{text}': {error}", options=options) from error
        return cls(pattern)

    def group(self, path: PurePosixPath, folders: Sequence[str]) -> str:
        found = self.pattern.search(path.as_posix())
        if found is None or not found[1]:
            raise ValueError(f"'{self.pattern.pattern}' finds no group in '{path}'")
        return found[1]


@dataclass(frozen=True)
class ByFolder:
    """The first folder below the class: class/patient/image, class/patient/study/image."""

    def group(self, path: PurePosixPath, folders: Sequence[str]) -> str:
        if not folders:
            raise ValueError(f"'{path}' lies in no folder below its class")
        return folders[0]


@dataclass(frozen=True)
class ByTable:
    """A table of files (relative to the root, written with '/') and their groups."""

    groups: dict[str, str]
    name: str

    @classmethod
    def read(cls, path: Path) -> ByTable:
        """Of a CSV file with columns `file` and `group`. Raises Refusal DATA_SOURCE; a file with two groups, too."""
        table = read_table(path)
        file, group = table.column("file", "the images"), table.column("group", "their groups")
        groups: dict[str, str] = {}
        for line, record in table.rows:
            name, own = PurePosixPath(record[file].strip()).as_posix(), record[group].strip()
            if groups.setdefault(name, own) != own:
                reason = f"'{name}' has group '{own}' here and '{groups[name]}' above"
                raise Refusal("DATA_SOURCE", path=path, where=f"line {line}", reason=reason)
        return cls(groups, path.name)

    def group(self, path: PurePosixPath, folders: Sequence[str]) -> str:
        own = self.groups.get(path.as_posix(), "")
        if not own:
            raise ValueError(f"'{path}' has no group in {self.name}")
        return own


@dataclass(frozen=True)
class Ungrouped:
    """Every image stands for itself. reason: why that is right, which is recorded."""

    reason: str

    def group(self, path: PurePosixPath, folders: Sequence[str]) -> str:
        return ""
