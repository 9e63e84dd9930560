"""`medimg bundles`, `install` and `remove`, and the user's folder behind them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from MedImgClassifierLib import resources
from MedImgClassifierLib.cli import bundle_path, main
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.result import NOTICE

NAME = "bright-spot-1.0.0"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(resources.USER_FOLDER, str(tmp_path / "bundles"))
    return tmp_path / "bundles"


def test_a_bundle_is_installed_listed_found_by_name_and_removed(
    spot_bundle: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["install", str(spot_bundle)]) == 0
    assert NAME in capsys.readouterr().out and (folder / NAME / "manifest.json").is_file()
    assert main(["install", str(spot_bundle)]) == 0
    assert "already installed" in capsys.readouterr().out
    assert main(["bundles"]) == 0
    listed = capsys.readouterr().out
    assert listed.index("body-region") < listed.index(NAME) and "(imported)" in listed and NOTICE in listed
    assert "95 % interval" in " ".join(listed.split()) and "Not for: anything else" in listed
    assert bundle_path(NAME) == folder / NAME
    assert main(["remove", NAME]) == 0
    assert list(folder.iterdir()) == []
    assert main(["remove", NAME]) == 2
    assert "error[USAGE_BUNDLE_UNKNOWN]" in capsys.readouterr().err


def test_a_bundle_that_cannot_be_read_is_listed_with_the_reason(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken-1.0.0").mkdir(parents=True)
    assert main(["bundles"]) == 0
    listed = capsys.readouterr().out
    assert "broken-1.0.0" in listed and "not readable: it holds no manifest.json" in listed
    assert main(["remove", "broken-1.0.0"]) == 0


def test_refusals_have_their_exit_status(
    spot_bundle: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["install", str(tmp_path / "none")]) == 4
    assert main(["remove", "body-region"]) == 2
    assert "error[USAGE_BUNDLE_SHIPPED]" in capsys.readouterr().err
    folder.write_text("a file in the way")
    assert main(["install", str(spot_bundle)]) == 5
    for arguments in (["install"], ["install", ""], ["remove", ""]):
        with pytest.raises(SystemExit):
            main(arguments)


@pytest.mark.parametrize("name", ["..", "../bundles", ".", "x/y", "", "bright-spot"])
def test_only_an_imported_bundle_can_be_removed(name: str, spot_bundle: Path, folder: Path) -> None:
    assert main(["install", str(spot_bundle)]) == 0
    with pytest.raises(Refusal):
        resources.remove(name)
    assert (folder / NAME).is_dir()


def test_a_bundle_that_cannot_be_moved_stays_whole(
    spot_bundle: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["install", str(spot_bundle)]) == 0
    before = sorted(folder.rglob("*"))

    def held(self: Path, target: Path) -> None:
        raise PermissionError(13, "in use by another program")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", held)
        with pytest.raises(Refusal, match="RESOURCE_BUNDLE_FOLDER"):
            resources.remove(NAME)
    assert sorted(folder.rglob("*")) == before


def test_other_folders_there_are_no_bundles(folder: Path) -> None:
    for name in ("notes", ".spot-1.0.0.partial-x", "Spot-1.0.0", "spot-1.0", "spot-1.0.0"):
        (folder / name).mkdir(parents=True)
    (folder / "file-1.0.0").write_text("")
    assert list(resources.imported_bundles()) == ["spot-1.0.0"]


@pytest.mark.parametrize(
    "platform, variables, place",
    [
        ("linux", {}, ".local/share/MedImgClassifier/Bundles"),
        ("linux", {"XDG_DATA_HOME": "{home}/data"}, "data/MedImgClassifier/Bundles"),
        ("darwin", {}, "Library/Application Support/MedImgClassifier/Bundles"),
        ("win32", {}, "AppData/Local/MedImgClassifier/Bundles"),
        ("win32", {"LOCALAPPDATA": "{home}/local"}, "local/MedImgClassifier/Bundles"),
        ("linux", {"MEDIMG_BUNDLES": "{home}/mine"}, "mine"),
        ("linux", {"MEDIMG_BUNDLES": "~/mine"}, "mine"),
    ],
)
def test_the_users_folder_is_where_the_platform_keeps_data(
    platform: str, variables: dict[str, str], place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MEDIMG_BUNDLES", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", platform)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(home=tmp_path))
    assert resources.user_folder() == tmp_path / place


def test_a_user_without_a_home_has_no_imported_bundles_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("MEDIMG_BUNDLES", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert list(resources.bundles()) == ["body-region"]
    with pytest.raises(Refusal, match="RESOURCE_BUNDLE_FOLDER"):
        resources.user_folder()
