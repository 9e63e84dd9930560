"""What classification needs beyond what Slicer brings, read from the metadata of libraries: nothing is imported."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from email import message_from_string
from importlib.machinery import PathFinder
from importlib.metadata import MetadataPathFinder
from typing import NamedTuple

from .. import resources

PROTECTED = ("numpy", "SimpleITK", "pydicom", "scipy")
"""Slicer's own, which other modules were built on: an installation must not replace them."""

TORCH = {"torch": ">=2.6,!=2.13.*", "torchvision": ">=0.18"}
"""What classification on a GPU needs, as pyproject.toml has it; Slicer's PyTorch extension installs it."""

_MODULE = {"protobuf": "google"}  # import names that are not those of the distributions


class Needs(NamedTuple):
    """What is to be installed; false where nothing is.

    missing: requirements, e.g. 'onnxruntime>=1.20'; unfinished: those of them of which an installation that was broken
    off has left parts, which pip would take for the whole.
    """

    missing: tuple[str, ...]
    unfinished: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.missing)


def requirements() -> list[str]:
    """Lines of Resources/requirements.txt. Raises Refusal(RESOURCE_NOT_INSTALLED)."""
    lines = resources.path("requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def needed(path: Sequence[str] | None = None) -> Needs:
    """What is missing to classify, with all that the requirements ask for in turn. Milliseconds, no import.

    path: folders to look in; those of this Python if not given. The worker runs on the same (PythonSlicer in Slicer).
    Raises Refusal(RESOURCE_NOT_INSTALLED).
    """
    return _lacking(requirements(), path)


def torch_needed(path: Sequence[str] | None = None) -> Needs:
    """The same for torch and torchvision."""
    return _lacking([name + versions for name, versions in TORCH.items()], path)


def versions(names: Iterable[str] = PROTECTED, path: Sequence[str] | None = None) -> dict[str, str]:
    """Installed versions by name; a library that is not there or does not say is left out."""
    importlib.invalidate_caches()  # pip has worked in another process
    found = {name: next((there.version for there in _installed(name, path) if there.version), "") for name in names}
    return {name: version for name, version in found.items() if version}


def constraints(installed: Mapping[str, str]) -> str:
    """Text of a pip constraints file that keeps these versions."""
    return "".join(f"{name}=={version}\n" for name, version in installed.items())


class _Installed(NamedTuple):
    """A distribution. version: '' where it does not say; finished: its installation came to its end."""

    version: str
    requires: list[str]
    finished: bool


def _lacking(wanted: Iterable[str], path: Sequence[str] | None) -> Needs:
    from packaging.requirements import Requirement

    importlib.invalidate_caches()
    missing, unfinished, seen = [], [], set()
    waiting = [Requirement(text) for text in wanted]
    imported_by_us = {requirement.name for requirement in waiting}
    while waiting:
        requirement = waiting.pop(0)
        plain = f"{requirement.name}{requirement.specifier}"
        if plain in seen or not (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            continue
        seen.add(plain)
        there = list(_installed(requirement.name, path))
        whole = [found for found in there if found.finished]
        if requirement.name in imported_by_us and not _can_be_imported(requirement.name, path):
            whole = []
        fitting = next((f for f in whole if requirement.specifier.contains(f.version, prereleases=True)), None)
        if fitting is not None:
            waiting += [Requirement(text) for text in fitting.requires]
            continue
        missing.append(plain)
        if there and not whole:
            unfinished.append(plain)
    return Needs(tuple(missing), tuple(unfinished))


def _installed(name: str, path: Sequence[str] | None) -> Iterator[_Installed]:
    """Every distribution of that name, in the order in which an import would see them."""
    context = MetadataPathFinder.Context(name=name, path=list(sys.path if path is None else path))
    for found in MetadataPathFinder.find_distributions(context):
        modern = found.read_text("METADATA")
        text = modern or found.read_text("PKG-INFO") or ""
        stated = message_from_string(text.partition("\n\n")[0])  # without the description
        requires = [line for line in stated.get_all("Requires-Dist", []) if "extra" not in line.partition(";")[2]]
        # pip writes its name after everything else but the list of files; setuptools' older form has none
        finished = bool(stated["Version"]) and (not modern or found.read_text("INSTALLER") is not None)
        yield _Installed(stated["Version"] or "", requires, finished)


def _can_be_imported(name: str, path: Sequence[str] | None) -> bool:
    """Whether there is anything under its import name."""
    return PathFinder.find_spec(_MODULE.get(name, name), path) is not None
