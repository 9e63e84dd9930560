"""`medimg doctor` never raises: what is missing is a line of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from MedImgClassifierLib import doctor


@pytest.mark.parametrize("module", ["no_such_module", "no_such_package.part", "json.no_such_part"])
def test_a_library_that_is_not_there_is_a_line(module: str) -> None:
    line = doctor._library("no-such-distribution", module, "nothing", "train")
    assert line.startswith("  missing  no-such-distribution") and "medimgclassifier[train]" in line


def test_a_library_without_metadata_is_there() -> None:
    assert doctor._library("no-such-distribution", "json", "nothing", "") == (
        "  ok       no-such-distribution (version unknown)"
    )


def test_the_text_can_be_sent_to_anybody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Bundles lie below the user's folder where Slicer's extensions do, and errors of libraries name paths in it."""
    home = tmp_path / "anna.example"
    home.mkdir()
    (tmp_path / "link").symlink_to(home)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "link")
    monkeypatch.setattr(doctor.resources, "bundles", lambda: {"mine": home / "Slicer 5.12" / "mine"})
    monkeypatch.setattr(doctor, "_devices", lambda: [f"  broken   torch (OSError: {tmp_path / 'link'}/lib/x.so)"])
    text = doctor.report()
    assert "anna" not in text and str(tmp_path) not in text
    assert "~/Slicer 5.12/mine" in text and "OSError: ~/lib/x.so" in text


def test_a_folder_of_another_user_with_a_longer_name_stays_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/no/anna"))
    assert doctor.without_home("/no/annabel/x /no/anna") == "/no/annabel/x ~"
    monkeypatch.setattr(Path, "home", lambda: Path("/"))
    assert doctor.without_home("/usr/lib") == "/usr/lib"


def test_it_speaks_for_slicers_python_which_has_no_medimg_command() -> None:
    library = Path(doctor.__file__).parents[1]
    command = [sys.executable, "-m", "MedImgClassifierLib.doctor"]
    done = subprocess.run(command, cwd=library, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("MedImgClassifier ") and "bundles:" in done.stdout
