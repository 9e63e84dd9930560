"""`resources.path` finds shipped files in each layout, and nothing outside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from MedImgClassifierLib import resources
from MedImgClassifierLib.engine.errors import Refusal


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The two places a package may have its resources in, both empty."""
    roots = {"wheel": tmp_path / "Lib" / "_resources", "slicer": tmp_path / "Resources"}
    monkeypatch.setattr(resources, "_ROOTS", tuple(roots.values()))
    return roots


def _ship(root: Path, bundle: str) -> Path:
    folder = root / "Models" / bundle
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    return folder


def test_source_tree_schemas_are_found() -> None:
    assert resources.path("Schemas").is_dir()


@pytest.mark.parametrize("layout", ["wheel", "slicer"])
def test_bundle_is_found_in_either_layout(installed: dict[str, Path], layout: str) -> None:
    folder = _ship(installed[layout], "body-region")
    assert resources.path("Models/body-region") == folder
    assert resources.bundles() == {"body-region": folder}


def test_folder_without_manifest_is_no_bundle(installed: dict[str, Path]) -> None:
    _ship(installed["wheel"], "b")
    _ship(installed["wheel"], "a")
    (installed["wheel"] / "Models" / "notes").mkdir()
    assert list(resources.bundles()) == ["a", "b"]


def test_missing_file_is_named_with_the_places_searched(installed: dict[str, Path]) -> None:
    with pytest.raises(Refusal, match=r"Schemas/none\.json.*_resources"):
        resources.path("Schemas/none.json")
    with pytest.raises(Refusal, match="Models"):
        resources.bundles()


@pytest.mark.parametrize("name", ["../secret", "Models/../../secret", "/etc/passwd", "..\\secret"])
def test_path_outside_the_resources_is_refused(installed: dict[str, Path], name: str) -> None:
    with pytest.raises(ValueError, match="not a path below"):
        resources.path(name)
