"""Importing a bundle: whole and verified, or nothing at all."""

from __future__ import annotations

import errno
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import spot_bundle as maker
from MedImgClassifierLib import resources
from MedImgClassifierLib.engine import bundle, bundle_install
from MedImgClassifierLib.engine.bundle_install import install
from MedImgClassifierLib.engine.errors import Refusal

NAME = "bright-spot-1.0.0"


def quiet(stage: str, fraction: float) -> None: ...


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where bundles are imported to; it does not exist yet."""
    monkeypatch.setenv(resources.USER_FOLDER, str(tmp_path / "data" / "bundles"))
    return tmp_path / "data" / "bundles"


@pytest.fixture
def zipped(spot_bundle: Path, tmp_path: Path) -> Path:
    with zipfile.ZipFile(tmp_path / "包.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in contents(spot_bundle):
            archive.write(spot_bundle / file, file)
    return tmp_path / "包.zip"


def contents(path: Path) -> dict[str, bytes]:
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def everything(tmp_path: Path) -> list[str]:
    return sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))


def refusal(source: Path) -> Refusal:
    with pytest.raises(Refusal) as refused:
        install(source, quiet)
    return refused.value


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_bundle_is_copied_byte_by_byte_and_loads(kind: str, spot_bundle: Path, zipped: Path, folder: Path) -> None:
    stages: list[str] = []
    done = install(spot_bundle if kind == "folder" else zipped, lambda stage, _: stages.append(stage))
    assert done == (NAME, folder / NAME, False)
    assert contents(done.path) == contents(spot_bundle)
    assert list(dict.fromkeys(stages)) == ["read", "check", "self-test", "copy"]
    assert [path.name for path in folder.iterdir()] == [NAME]
    assert resources.bundles()[NAME] == done.path and next(iter(resources.bundles())) == "body-region"
    assert bundle.load(done.path).id == "bright-spot"


def test_the_same_bundle_again_is_already_installed(spot_bundle: Path, zipped: Path, folder: Path) -> None:
    install(spot_bundle, quiet)
    before = (folder / NAME / "manifest.json").stat().st_ino
    assert install(zipped, quiet) == (NAME, folder / NAME, True)
    assert (folder / NAME / "manifest.json").stat().st_ino == before


def test_a_shipped_bundle_is_already_installed(folder: Path) -> None:
    shipped = resources.shipped_bundles()["body-region"]
    assert install(shipped, quiet) == ("body-region", shipped, True)
    assert not folder.parent.exists()


def test_another_bundle_of_the_same_id_and_version_is_refused(spot_bundle: Path, folder: Path, tmp_path: Path) -> None:
    install(spot_bundle, quiet)
    before = contents(folder)
    other = maker.write(tmp_path / "bright-spot", title="Another")
    refused = refusal(other)
    assert refused.code == "BUNDLE_INSTALLED" and NAME in refused.message() and str(other) in refused.message("zh")
    assert contents(folder) == before
    newer = maker.write(tmp_path / "newer", id="bright-spot", version="1.0.1")
    assert install(newer, quiet).name == "bright-spot-1.0.1"
    assert list(resources.imported_bundles()) == [NAME, "bright-spot-1.0.1"]


def test_a_clash_with_a_shipped_bundle_is_refused(tmp_path: Path, folder: Path) -> None:
    version = bundle.load(resources.shipped_bundles()["body-region"]).manifest["version"]
    pretender = maker.write(tmp_path / "x", id="body-region", version=version)
    assert refusal(pretender).code == "BUNDLE_INSTALLED"
    assert not folder.exists()


@pytest.mark.parametrize("what", ["weights.safetensors", "manifest.json", "gone", "more"])
def test_a_copy_that_was_changed_is_not_taken_for_installed(what: str, spot_bundle: Path, folder: Path) -> None:
    place = install(spot_bundle, quiet).path
    if what == "gone":
        shutil.rmtree(place / "selftest")
    elif what == "more":
        (place / "more.txt").write_text("x")
    else:
        (place / what).write_bytes(b"damaged")
    assert refusal(spot_bundle).code == "BUNDLE_INSTALLED"
    resources.remove(NAME)
    assert not install(spot_bundle, quiet).already


def flipped(path: Path) -> None:
    content = bytearray((path / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (path / "weights.safetensors").write_bytes(content)


def added(path: Path) -> None:
    (path / "run.py").write_text("print()")


def linked(path: Path) -> None:
    (path / "model_card.md").unlink()
    (path / "model_card.md").symlink_to("/etc/passwd")


def unmanifested(path: Path) -> None:
    (path / "manifest.json").write_text("{}")


@pytest.mark.parametrize(
    "spoil, code",
    [
        (flipped, "BUNDLE_CHANGED"),
        (added, "BUNDLE_CHANGED"),
        (linked, "BUNDLE_CHANGED"),
        (unmanifested, "BUNDLE_MANIFEST"),
    ],
)
def test_a_bundle_that_fails_a_check_leaves_nothing(
    spoil: Callable[[Path], None], code: str, spot_bundle: Path, tmp_path: Path, folder: Path
) -> None:
    copy = Path(shutil.copytree(spot_bundle, tmp_path / "copy"))
    spoil(copy)
    before = everything(tmp_path)
    assert refusal(copy).code == code
    assert everything(tmp_path) == before


@pytest.mark.parametrize("name", ["../evil.txt", "/no/evil.txt", "a/../../evil.txt", "C:\\evil", "manifest.json"])
def test_a_zip_that_leads_out_of_itself_or_holds_a_name_twice_is_refused(
    name: str, zipped: Path, tmp_path: Path, folder: Path
) -> None:
    with zipfile.ZipFile(zipped, "a") as archive, pytest.warns() if name == "manifest.json" else nothing():
        archive.writestr(name, "x")
    before = everything(tmp_path)
    assert refusal(zipped).code == "BUNDLE_CHANGED"
    assert everything(tmp_path) == before


class nothing:  # noqa: N801 - reads as a word where a context is not needed
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


def test_a_bundle_whose_self_test_misses_is_refused(
    spot_bundle: Path, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def misses(made: bundle.Bundle) -> None:
        raise Refusal("BUNDLE_SELFTEST", path=made.path, reason="0.9")

    monkeypatch.setattr(bundle_install, "choose", misses)
    assert refusal(spot_bundle).code == "BUNDLE_SELFTEST"
    assert everything(tmp_path) == []


def test_a_source_that_changes_between_two_looks_is_refused(
    spot_bundle: Path, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = bundle_install.bundle_files.read
    looks: list[Path] = []

    def swapped(path: Path) -> dict[str, bytes]:
        looks.append(path)
        files = read(path)
        return files | {"weights.safetensors": b"other"} if len(looks) == 1 else files

    monkeypatch.setattr(bundle_install.bundle_files, "read", swapped)
    assert refusal(spot_bundle).code == "BUNDLE_CHANGED"
    assert everything(tmp_path) == []


@pytest.mark.parametrize("stage", ["read", "check", "self-test", "copy"])
@pytest.mark.parametrize("stop", [Refusal("CANCELLED"), KeyboardInterrupt()], ids=["cancel", "Ctrl-C"])
def test_a_cancel_at_any_stage_leaves_nothing(
    stage: str, stop: BaseException, spot_bundle: Path, tmp_path: Path, folder: Path
) -> None:
    def cancel(now: str, fraction: float) -> None:
        if now == stage and (stage != "copy" or fraction > 0.5):
            raise stop

    with pytest.raises(type(stop)):
        install(spot_bundle, cancel)
    assert everything(tmp_path) == []


def test_a_cancel_is_looked_for_within_a_large_file(
    spot_bundle: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_install, "_PIECE", 1000)
    fractions: list[float] = []
    place = install(spot_bundle, lambda stage, fraction: fractions.append(fraction) if stage == "copy" else None).path
    assert len(fractions) > sum(map(len, contents(place).values())) / 1000 and fractions == sorted(fractions)
    assert contents(place) == contents(spot_bundle)


def test_a_full_disk_leaves_nothing_and_says_what_to_do(
    spot_bundle: Path, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "rename", full)
    refused = refusal(spot_bundle)
    assert refused.code == "RESOURCE_BUNDLE_FOLDER" and "MEDIMG_BUNDLES" in refused.message()
    assert "No space left" in refused.message() and everything(tmp_path) == []


def test_a_home_that_cannot_be_written_is_told(
    spot_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv(resources.USER_FOLDER, str(tmp_path / "file" / "bundles"))
    refused = refusal(spot_bundle)
    assert refused.code == "RESOURCE_BUNDLE_FOLDER" and refused.exit_status == 5
    assert list(resources.bundles()) == ["body-region"]


def test_what_a_killed_import_has_left_goes_with_the_next(spot_bundle: Path, folder: Path) -> None:
    (folder / f".{NAME}.partial-abc" / NAME).mkdir(parents=True)
    (folder / ".other-1.0.0.partial-abc").mkdir()
    assert resources.imported_bundles() == {}
    install(spot_bundle, quiet)
    assert sorted(path.name for path in folder.iterdir()) == [".other-1.0.0.partial-abc", NAME]


@pytest.fixture(autouse=True)
def no_leftovers() -> Iterator[None]:
    yield
    assert not Path("/no/evil.txt").exists()
