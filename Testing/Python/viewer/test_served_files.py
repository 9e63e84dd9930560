"""What the page may open of this computer: files below one folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.viewer.served_files import ServedFiles


@pytest.fixture
def files(tmp_path: Path) -> ServedFiles:
    root = tmp_path / "root"
    (root / "b study" / "inner").mkdir(parents=True)
    (root / "头.nii.gz").touch()
    (root / "IM0001").touch()
    (root / "notes.txt").touch()
    (root / ".hidden.nii").touch()
    (tmp_path / "secret.nii.gz").touch()
    (root / "link.nii.gz").symlink_to(tmp_path / "secret.nii.gz")
    (root / "way out").symlink_to(tmp_path)
    return ServedFiles(root)


def test_folders_come_first_then_what_may_be_an_image(files: ServedFiles) -> None:
    assert [entry["name"] for entry in files.listing("")["entries"]] == ["b study", "IM0001", "头.nii.gz"]


def test_folder_knows_where_it_is(files: ServedFiles) -> None:
    inner = files.listing("b study")
    assert (inner["path"], inner["up"]) == ("b study", "")
    assert inner["entries"] == [{"name": "inner", "path": str(Path("b study/inner")), "folder": True}]
    assert files.listing("b study/inner")["up"] == "b study"


@pytest.mark.parametrize(
    "path",
    ["..", "../secret.nii.gz", "b study/../../secret.nii.gz", "/etc/passwd", "link.nii.gz", "way out", "none", "a\0b"],
)
def test_nothing_else_can_be_named(files: ServedFiles, path: str) -> None:
    with pytest.raises(Refusal) as refused:
        files.place(path)
    assert refused.value.code == "INPUT_NOT_FOUND"


def test_file_inside_is_found(files: ServedFiles, tmp_path: Path) -> None:
    assert files.place("头.nii.gz") == (tmp_path / "root" / "头.nii.gz").resolve()


def test_root_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal):
        ServedFiles(tmp_path / "none")


def test_file_is_no_folder(files: ServedFiles) -> None:
    with pytest.raises(Refusal):
        files.listing("IM0001")
