"""Rules of the repository as a whole: what it says, what it must not carry, and one place for the version."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import MedImgClassifierLib
from MedImgClassifierLib.engine.result import NOTICE

ROOT = Path(__file__).resolve().parents[3]
SHARED_DATA = ROOT.parent / "shared" / "data"
NOT_OURS = {".git", ".venv", ".venv-light", ".cache", "build", "dist", "out", "__pycache__"}
# Where packages are fetched from is each user's and hospital's own setting. (Joined, so that this file passes.)
REGISTRIES = (
    *map("".join, (("pypi", ".org"), ("python", "hosted.org"), ("pytorch", ".org/whl"), ("ana", "conda.org"))),
    *map("".join, (("tuna.", "tsinghua"), ("mirrors.", "aliyun"), ("registry.", "npmjs"), ("-index", "-url"))),
)


def files(folder: Path = ROOT) -> Iterator[Path]:
    """Every file of the repository, without what git ignores."""
    for path in sorted(folder.iterdir()):
        if path.name in NOT_OURS or path.name.endswith((".egg-info", "_cache")):
            continue
        if path.is_dir():
            yield from files(path)
        else:
            yield path


def texts() -> Iterator[tuple[str, str]]:
    """Path and content of every file that is text."""
    for path in files():
        try:
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def test_no_package_registry_is_named() -> None:
    assert [(name, host) for name, text in texts() for host in REGISTRIES if host in text] == []


def test_no_path_of_one_machine_is_named() -> None:
    """Neither the folder of this checkout nor its neighbours; tests may look for ../shared/data."""
    parent = f"{ROOT.parent}/"
    beside = re.compile(r"\bshared/(?!data\b)\w+")
    assert [name for name, text in texts() if len(parent) > 2 and (str(ROOT) in text or parent in text)] == []
    assert [(name, beside.findall(text)) for name, text in texts() if beside.search(text)] == []


def test_no_file_of_the_shared_data_is_carried() -> None:
    if not SHARED_DATA.is_dir():
        pytest.skip("../shared/data is not here to compare with")
    shared = {path.name for path in SHARED_DATA.iterdir()}
    digests = {line.split()[0] for line in (SHARED_DATA / "SHA256SUMS").read_text().splitlines() if line.strip()}
    assert [path for path in files() if path.name in shared] == []
    assert [path for path in files() if hashlib.sha256(path.read_bytes()).hexdigest() in digests] == []


def test_no_large_file_is_carried() -> None:
    """The extension index takes repositories up to 100 MB; a bundle is at most 10 MB in all."""
    assert [path for path in files() if path.stat().st_size > 8_000_000] == []


def test_licence_is_apache_2_in_full() -> None:
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in licence and "Version 2.0, January 2004" in licence
    assert "9. Accepting Warranty or Additional Liability." in licence and "APPENDIX" in licence


def test_version_stands_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["version"] and "version" not in project["project"]
    assigned = re.compile(r"""^\s*(?:__version__|VERSION)\s*(?::\s*str\s*)?=\s*["']\d+\.\d+""", re.MULTILINE)
    assert [name for name, text in texts() if name.endswith(".py") and assigned.search(text)] == [
        "MedImgClassifier/MedImgClassifierLib/__init__.py"
    ]
    assert f"## {MedImgClassifierLib.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_face_says_what_it_is_not_for() -> None:
    cards = sorted((ROOT / "MedImgClassifier" / "Resources" / "Models").glob("*/model_card.md"))
    for path in [ROOT / "README.md", *cards]:
        assert NOTICE.rstrip(".").lower() in " ".join(path.read_text(encoding="utf-8").lower().split()), path


def test_constraints_hold_what_is_asked_for() -> None:
    """Every dependency is constrained, so that a fresh install is the environment that was tested."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)]
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    names = {re.match(r"[\w.-]+", item)[0].lower().replace("_", "-") for item in asked} - {"medimgclassifier"}  # type: ignore[index]
    assert names <= pinned, names - pinned


def test_links_between_documents_lead_somewhere() -> None:
    link = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")
    broken = [
        (name, target)
        for name, text in texts()
        if name.endswith(".md")
        for target in link.findall(text)
        if not (ROOT / name).parent.joinpath(target).exists()
    ]
    assert broken == []


def test_few_tests_are_left_out_where_torch_is_not_installed() -> None:
    """`make test-light` runs these folders; what asks there for more than the plain install stands in this list."""
    heavy = re.compile(r"""(importorskip|needs)\(\s*["'](torch|torchvision|openvino|medimg_training)""")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    light, full = (rooms.split() for rooms in re.findall(r"addprefix Testing/Python/,([a-z ]+)", makefile))
    assert light == ["engine", "presenter", "cli", "worker", "slicer", "host", "panel", "viewer"]
    everywhere = {path.name for path in (ROOT / "Testing" / "Python").iterdir() if any(path.glob("test_*.py"))}
    assert {*light, *full} == everywhere
    paths = [path for room in light for path in (ROOT / "Testing" / "Python" / room).glob("*.py")]
    found = {f"{path.parent.name}/{path.name}" for path in paths if heavy.search(path.read_text(encoding="utf-8"))}
    assert found == {
        "engine/test_networks.py",
        "engine/test_runtimes.py",
        "engine/test_torch_runtime.py",
        "cli/test_classify.py",
    }
