"""Slicer packages only what CMakeLists.txt lists: a forgotten file works in the source tree and is missing later."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MODULE = ROOT / "MedImgClassifier"


def listed(cmake: str, variable: str) -> list[str]:
    """Entries of `set(<variable> ...)` with ${MODULE_NAME} filled in."""
    name = re.search(r"set\(MODULE_NAME (\w+)\)", cmake)
    body = re.search(rf"set\({variable}\s([^)]*)\)", cmake)
    assert name and body, f"no set({variable} ...) found"
    return body[1].replace("${MODULE_NAME}", name[1]).split()


def present(pattern: str) -> list[str]:
    """Files of the module folder that match, as CMake writes them."""
    files = (path for path in MODULE.glob(pattern) if path.is_file() and "__pycache__" not in path.parts)
    return sorted(path.relative_to(MODULE).as_posix() for path in files)


@pytest.mark.parametrize(
    ("variable", "patterns"),
    [
        ("MODULE_PYTHON_SCRIPTS", ("*.py", "MedImgClassifierLib/**/*.py")),
        ("MODULE_PYTHON_RESOURCES", ("Resources/**/*",)),
    ],
)
def test_list_equals_the_folder(variable: str, patterns: tuple[str, ...]) -> None:
    entries = listed((MODULE / "CMakeLists.txt").read_text(encoding="utf-8"), variable)
    files = [path for pattern in patterns for path in present(pattern)]
    assert len(entries) == len(set(entries)), "an entry stands twice"
    missing, gone = sorted(set(files) - set(entries)), sorted(set(entries) - set(files))
    assert not missing, f"add to MedImgClassifier/CMakeLists.txt: {missing}"
    assert not gone, f"remove from MedImgClassifier/CMakeLists.txt: {gone}"


def test_extension_is_described_as_the_index_asks() -> None:
    cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert "project(MedImgClassifier)" in cmake
    for field in ("HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS"):
        assert re.search(rf'^set\(EXTENSION_{field} "[^"\n]+"\)', cmake, re.MULTILINE), field
    pictures = re.findall(r"https://\S+?/main/(\S+?\.png)", cmake)
    assert pictures and all((ROOT / picture).is_file() for picture in pictures), pictures
