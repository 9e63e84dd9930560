"""A copy of the extension to break, for tests that must find the fault."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAME = "MedImgClassifier"
FILES = ("CMakeLists.txt", "LICENSE", "README.md", "Testing/CMakeLists.txt")
FOLDERS = (NAME, "Resources", "Testing/Python/slicer")

Fault = Callable[[Path], object]


def copy_extension(target: Path) -> Path:
    """What CMake and the extension index read of the repository, in `target`; models are links to the originals."""
    for name in FILES:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target / name)
    for name in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, target / name, copy_function=_copy_or_link, ignore=ignored)
    return target


def _copy_or_link(source: str, target: str) -> None:
    if source.endswith((".onnx", ".safetensors")):
        os.symlink(source, target)
    else:
        shutil.copy(source, target)


def edit(file: str, old: str, new: str) -> Fault:
    """A fault: `old`, which must stand once in a file of the copy, becomes `new`."""

    def seed(extension: Path) -> None:
        text = (extension / file).read_bytes()
        assert text.count(old.encode()) == 1, f"{old!r} does not stand once in {file}"
        (extension / file).write_bytes(text.replace(old.encode(), new.encode()))

    return seed
