"""`medimg kit`: what it packs for which computer, and what is refused of a kit before anything is installed from it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tiny_wheels
from MedImgClassifierLib import __version__, cli, kit
from MedImgClassifierLib.engine import bundle_files
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.installation import kit_file, libraries

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
WIN = "cp312-cp312-win_amd64"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the real pip takes wheels from; requirements are tinyrun."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr(libraries, "requirements", lambda: ["tinyrun>=1.5"])
    return folder


def names(made: Path) -> set[str]:
    with zipfile.ZipFile(made) as archive:
        return set(archive.namelist())


def test_a_kit_holds_the_wheels_of_that_platform_and_not_what_slicer_brings(
    wheels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_wheels.write(wheels, "tinyrun", "1.6", ["numpy>=1", "tinypart"], tag=WIN)
    tiny_wheels.write(wheels, "tinyrun", "1.7", tag="cp312-cp312-macosx_14_0_arm64")
    tiny_wheels.write(wheels, "tinypart", "1.0")
    for version in ("2.4.6", "2.9"):
        tiny_wheels.write(wheels, "numpy", version)
    out = tmp_path / "kit.zip"
    assert cli.main(["kit", "--platform", "win_amd64", "--python", "3.12", "--out", str(out)]) == 0
    assert names(out) == {"kit.json", f"wheels/tinyrun-1.6-{WIN}.whl", "wheels/tinypart-1.0-py3-none-any.whl"}
    made = kit_file.read(out)
    assert (made.platform, made.python, made.tool_version) == ("win_amd64", "3.12", __version__)
    assert "2 files" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index", "kit.zip"]


def test_a_release_that_needs_more_than_slicer_has_is_passed_over_for_an_older_one(
    wheels: Path, tmp_path: Path
) -> None:
    tiny_wheels.write(wheels, "tinyrun", "1.6", ["numpy>=1"])
    tiny_wheels.write(wheels, "tinyrun", "1.7", ["numpy>=2.8"])
    for version in ("2.4.6", "2.9"):
        tiny_wheels.write(wheels, "numpy", version)
    made = kit.make("win_amd64", "3.12", tmp_path / "kit.zip", [], lambda line: None)
    assert set(made.files) == {"wheels/tinyrun-1.6-py3-none-any.whl"}


def test_what_conditions_of_this_computer_hide_from_pip_is_fetched_for_the_other(wheels: Path, tmp_path: Path) -> None:
    conditions = ["tinywin>=2; sys_platform == 'win32'", "tinymac; sys_platform == 'darwin'", "no; extra == 'more'"]
    tiny_wheels.write(wheels, "tinyrun", "1.6", conditions)
    tiny_wheels.write(wheels, "tinywin", "2.0", ["tinydeep; platform_machine == 'AMD64' and os_name == 'nt'"])
    tiny_wheels.write(wheels, "tinydeep", "1.0")
    made = kit.make("win_amd64", "3.12", tmp_path / "kit.zip", [], lambda line: None)
    assert {name.split("-")[0] for name in made.files} == {"wheels/tinyrun", "wheels/tinywin", "wheels/tinydeep"}


@pytest.mark.parametrize("tag", ["manylinux_2_28_x86_64", "manylinux_2_17_x86_64.manylinux2014_x86_64"])
def test_wheels_of_older_linuxes_are_taken_too(wheels: Path, tmp_path: Path, tag: str) -> None:
    tiny_wheels.write(wheels, "tinyrun", "1.5", tag=f"cp312-cp312-{tag}")
    made = kit.make("manylinux_2_28_x86_64", "3.12", tmp_path / "kit.zip", [], lambda line: None)
    assert len(made.files) == 1


def test_what_is_not_offered_for_a_platform_is_refused_and_leaves_nothing(wheels: Path, tmp_path: Path) -> None:
    tiny_wheels.write(wheels, "tinyrun", "1.6", tag=WIN)
    (tmp_path / "kit.zip").write_bytes(b"an older kit")
    with pytest.raises(Refusal, match="INSTALL_NO_WHEEL"):
        kit.make("macosx_14_0_arm64", "3.12", tmp_path / "kit.zip", [], lambda line: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index", "kit.zip"]
    assert (tmp_path / "kit.zip").read_bytes() == b"an older kit"


def test_cancelled_midway_leaves_nothing(wheels: Path, tmp_path: Path) -> None:
    tiny_wheels.write(wheels, "tinyrun", "1.6")

    def stop(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kit.make("win_amd64", "3.12", tmp_path / "kit.zip", [], stop)
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_a_bundle_travels_with_it_and_is_checked_before(wheels: Path, tmp_path: Path, spot_bundle: Path) -> None:
    tiny_wheels.write(wheels, "tinyrun", "1.6")
    made = kit.make("win_amd64", "3.12", tmp_path / "kit.zip", [spot_bundle], lambda line: None)
    (name,) = (name for name in made.files if name.startswith("bundles/"))
    (tmp_path / "out").mkdir()
    kit_file.unpack(made, tmp_path / "out", lambda fraction: None)
    assert bundle_files.read(tmp_path / "out" / name) == bundle_files.read(spot_bundle)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "manifest.json").write_text("{}", encoding="utf-8")
    with pytest.raises(Refusal, match="BUNDLE_"):
        kit.make("win_amd64", "3.12", tmp_path / "other.zip", [broken], lambda line: None)
    assert not (tmp_path / "other.zip").exists()


@pytest.mark.parametrize(
    ("platform", "python"), [("linux", "3.12"), ("win_amd64; rm", "3.12"), ("win_amd64", "3.9"), ("win_amd64", "four")]
)
def test_a_platform_that_nobody_has_is_a_usage_error(
    platform: str, python: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["kit", "--platform", platform, "--python", python, "--out", str(tmp_path / "kit.zip")]) == 2
    assert "error[USAGE_KIT_TARGET]" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_told(wheels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["kit", "--platform", "win_amd64", "--out", str(tmp_path / "no" / "kit.zip")]) == 2
    assert "error[USAGE_OUTPUT_NOT_WRITABLE]" in capsys.readouterr().err


def test_what_slicer_brings_is_what_its_requirements_say() -> None:
    """None of what a kit leaves out may be asked for by us in a newer version than Slicer has."""
    from packaging.requirements import Requirement

    for text in libraries.requirements():
        assert Requirement(text).name not in kit.SLICER_BRINGS
    assert {name.lower() for name in libraries.PROTECTED} <= kit.SLICER_BRINGS.keys()


# --- reading a kit that somebody brings


@pytest.fixture
def good(tmp_path: Path) -> Path:
    wheel = tiny_wheels.write(tmp_path / "w", "tinyrun", "1.6")
    bundle = tmp_path / "spot-1.0.0.zip"
    bundle.write_bytes(b"b" * 3000)
    kit_file.write(
        tmp_path / "kit.zip", "any", HERE, "1", {f"wheels/{wheel.name}": wheel, f"bundles/{bundle.name}": bundle}
    )
    return tmp_path / "kit.zip"


def test_what_was_packed_is_unpacked_with_progress_into_a_private_folder(good: Path, tmp_path: Path) -> None:
    made = kit_file.read(good)
    kit_file.check_fits(made)
    target, fractions = tmp_path / "target", []
    target.mkdir()
    kit_file.unpack(made, target, fractions.append)
    for name in made.files:
        original = tmp_path / "w" / Path(name).name if name.startswith("wheels/") else tmp_path / Path(name).name
        assert (target / name).read_bytes() == original.read_bytes()
    assert fractions == sorted(fractions) and fractions[-1] == 1.0


def test_the_same_content_is_the_same_kit(good: Path, tmp_path: Path) -> None:
    made = kit_file.read(good)
    (tmp_path / "t").mkdir()
    kit_file.unpack(made, tmp_path / "t", lambda fraction: None)
    again = {name: tmp_path / "t" / name for name in reversed(list(made.files))}
    kit_file.write(tmp_path / "again.zip", "any", HERE, "1", again)
    assert (tmp_path / "again.zip").read_bytes() == good.read_bytes()


def altered(good: Path, change: Callable[[dict[str, bytes], dict[str, Any]], None], **attributes: int) -> Path:
    """A copy of the kit with other files or another manifest. attributes: external_attr of 'wheel'."""
    with zipfile.ZipFile(good) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if name != "kit.json"}
        manifest = json.loads(archive.read("kit.json"))
    change(files, manifest)
    path = good.with_name("altered.zip")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = attributes.get("link", 0) if name.endswith(".whl") else 0
            info.compress_type = zipfile.ZIP_DEFLATED if name.endswith("bomb.whl") else zipfile.ZIP_STORED
            archive.writestr(info, content)
        if manifest:
            archive.writestr("kit.json", json.dumps(manifest))
    return path


WHEEL = "wheels/tinyrun-1.6-py3-none-any.whl"


def add(name: str, content: bytes = b"x") -> Callable[[dict[str, bytes], dict[str, Any]], None]:
    def change(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
        files[name] = content
        manifest["files"][name] = bundle_files.describe(content)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (add("wheels/../../evil.whl"), "may not be in a kit"),
        (add("/etc/evil.whl"), "may not be in a kit"),
        (add("wheels/sub/evil-1.0-py3-none-any.whl"), "may not be in a kit"),
        (add("wheels/setup.py"), "may not be in a kit"),
        (add("wheels/tinyrun-1.6.tar.gz"), "may not be in a kit"),
        (add("wheels/TINYRUN-1.6-py3-none-any.whl"), "may not be in a kit"),
        (add("wheels/bomb.whl", bytes(10_000_000)), "may not be in a kit"),
        (lambda files, manifest: manifest.clear(), "holds no kit.json"),
        (lambda files, manifest: manifest["files"].pop("bundles/spot-1.0.0.zip"), "is not in kit.json"),
        (lambda files, manifest: files.pop(WHEEL), "is missing"),
        (lambda files, manifest: files.update({WHEEL: b"short"}), "has 5 bytes instead of"),
        (lambda files, manifest: manifest.update(kit=2), "number 2, is not known"),
        (lambda files, manifest: manifest.update(platform=["win"]), "does not say what a kit's must"),
        (lambda files, manifest: manifest["files"][WHEEL].pop("sha256"), "cannot be understood"),
        (lambda files, manifest: manifest.update(files=[]), "cannot be understood"),
    ],
)
def test_a_kit_that_is_not_sound_is_refused(good: Path, change: Any, words: str) -> None:
    with pytest.raises(Refusal, match="INPUT_KIT") as refused:
        kit_file.read(altered(good, change))
    assert words in str(refused.value)


def test_a_link_in_a_kit_is_refused(good: Path) -> None:
    link = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(Refusal, match="may not be in a kit"):
        kit_file.read(altered(good, lambda files, manifest: None, link=link))


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip"])
def test_a_file_that_is_no_zip_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "kit.zip").write_bytes(content)
    with pytest.raises(Refusal, match="INPUT_KIT"):
        kit_file.read(tmp_path / "kit.zip")
    with pytest.raises(Refusal, match="INPUT_NOT_FOUND"):
        kit_file.read(tmp_path / "nothing.zip")


def test_a_changed_byte_is_found_before_anything_is_installed(good: Path, tmp_path: Path) -> None:
    def swap(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
        files[WHEEL] = files[WHEEL][:-1] + bytes([files[WHEEL][-1] ^ 1])

    made = kit_file.read(altered(good, swap))
    (tmp_path / "target").mkdir()
    with pytest.raises(Refusal, match="its SHA-256 differs"):
        kit_file.unpack(made, tmp_path / "target", lambda fraction: None)


def test_a_damaged_download_is_found(good: Path, tmp_path: Path) -> None:
    content = bytearray(good.read_bytes())
    content[content.index(b"b" * 100) + 50] ^= 255
    good.write_bytes(content)
    (tmp_path / "target").mkdir()
    with pytest.raises(Refusal, match="INPUT_KIT"):
        kit_file.unpack(kit_file.read(good), tmp_path / "target", lambda fraction: None)


@pytest.mark.parametrize(
    ("name", "python"),
    [
        ("tinyrun-1.6-cp312-cp312-win_amd64", HERE),
        ("tinyrun-1.6-cp27-cp27m-any", HERE),
        ("tinyrun-1.6-py3-none-any", "3.99"),
    ],
)
def test_a_kit_for_another_computer_says_for_which(tmp_path: Path, name: str, python: str) -> None:
    wheel = tiny_wheels.write(tmp_path, "tinyrun", "1.6", tag="-".join(name.split("-")[2:]))
    kit_file.write(tmp_path / "kit.zip", "win_amd64", python, "1", {f"wheels/{wheel.name}": wheel})
    with pytest.raises(Refusal, match="INPUT_KIT_MISFIT") as refused:
        kit_file.check_fits(kit_file.read(tmp_path / "kit.zip"))
    assert f"Python {python} on win_amd64" in str(refused.value) and f"here is Python {HERE}" in str(refused.value)


def test_a_wheel_of_no_proper_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.whl").write_bytes(b"x")
    kit_file.write(tmp_path / "kit.zip", "any", HERE, "1", {"wheels/x.whl": tmp_path / "x.whl"})
    with pytest.raises(Refusal, match="is not the name of a wheel"):
        kit_file.check_fits(kit_file.read(tmp_path / "kit.zip"))


def test_a_full_disk_while_writing_leaves_the_old_kit(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = good.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kit_file, "_copied", full)
    with pytest.raises(Refusal, match="No space left"):
        kit_file.write(good, "any", HERE, "1", {WHEEL: good})
    assert good.read_bytes() == before and not list(good.parent.glob(".kit*"))


def test_pip_that_is_not_there_is_told(wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import venv

    venv.create(tmp_path / "bare", with_pip=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    assert subprocess.run([sys.executable, "-m", "pip"], capture_output=True, check=False).returncode
    with pytest.raises(Refusal, match="No module named pip"):
        kit.make("win_amd64", "3.12", tmp_path / "kit.zip", [], lambda line: None)
