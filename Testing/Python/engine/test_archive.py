"""Zips that a user gives: unpacked without trust in a name, a size or a number, or refused with nothing left."""

from __future__ import annotations

import errno
import io
import os
import stat
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from MedImgClassifierLib.engine import archive as archives
from MedImgClassifierLib.engine import reading
from MedImgClassifierLib.engine.archive import Unpacked, is_archive, unpack
from MedImgClassifierLib.engine.errors import Refusal

Names = Mapping[str, bytes]
DICOM = b"\0" * 128 + b"DICM"
PNG = b"\x89PNG of a kind"


def quiet(stage: str, fraction: float) -> None: ...


@pytest.fixture
def private(tmp_path: Path) -> Path:
    (tmp_path / "private").mkdir()
    return tmp_path / "private"


@pytest.fixture
def zipped(tmp_path: Path) -> Callable[..., Path]:
    """Writes a zip of entries, name (or ZipInfo) -> content, as they are given."""

    def write(entries: Any, method: int = zipfile.ZIP_DEFLATED) -> Path:
        path = tmp_path / "study 研究.zip"
        with zipfile.ZipFile(path, "w", method) as packed:
            for name, content in entries.items() if isinstance(entries, Mapping) else entries:
                packed.writestr(name, content, method)
        return path

    return write


def contents(unpacked: Unpacked) -> dict[str, bytes]:
    """What was unpacked, by the name that it has in the zip."""
    files = [path for path in unpacked.root.rglob("*") if path.is_file()]
    return {unpacked.names[path.name]: path.read_bytes() for path in files}


def refusal(path: Path, private: Path, **settings: Any) -> str:
    """Why a zip is refused; nothing is left then."""
    with pytest.raises(Refusal) as refused:
        unpack(path, private, quiet, **settings)
    assert refused.value.code == "INPUT_ARCHIVE" and refused.value.exit_status == 3
    assert refused.value.facts["path"] == path and "研究" in refused.value.message("zh")
    assert list(private.iterdir()) == []
    return str(refused.value.facts["reason"])


def info(name: str, **attributes: Any) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo("x")
    made.filename = made.orig_filename = name
    made.compress_type = zipfile.ZIP_DEFLATED
    for attribute, value in attributes.items():
        setattr(made, attribute, value)
    return made


def patched(path: Path, field: int, entry: bytes) -> Path:
    """The same zip with two bytes of its (only) entry set in the local header at `field`, in the directory 2 behind."""
    content = bytearray(path.read_bytes())
    for signature, at in ((b"PK\3\4", field), (b"PK\1\2", field + 2)):
        place = content.index(signature) + at
        content[place : place + len(entry)] = entry
    path.write_bytes(content)
    return path


# --- what is unpacked


def test_a_dicom_tree_comes_out_under_numbers_its_folders_apart(zipped: Callable[..., Path], private: Path) -> None:
    entries = {"CT/IM1": DICOM + b"1", "CT/sub/IM1": DICOM + b"2", "MR/IM1.dcm": DICOM + b"3", "read me.exe": b"MZ"}
    unpacked = unpack(zipped(entries), private, quiet)
    assert contents(unpacked) == entries
    assert unpacked.place == unpacked.root and unpacked.name == "study 研究.zip"
    below = sorted(path.relative_to(unpacked.root).as_posix() for path in unpacked.root.rglob("*") if path.is_file())
    assert below == [
        "folder-00001/entry-00001",  # a program's name and ending are not on disk
        "folder-00002/entry-00002",
        "folder-00003/entry-00003",
        "folder-00004/entry-00004.dcm",
    ]
    if os.name == "posix":
        assert stat.S_IMODE(unpacked.root.stat().st_mode) == 0o700


def test_files_stand_in_the_order_in_which_a_folder_is_walked(zipped: Callable[..., Path], private: Path) -> None:
    names = ["b/2", "a/z/1", "b/10", "c", "a/1", "A/1"]
    unpacked = unpack(zipped(dict.fromkeys(names, DICOM)), private, quiet)
    assert list(unpacked.names.values()) == ["c", "A/1", "a/1", "a/z/1", "b/10", "b/2"]


def test_a_zip_is_read_as_the_folder_that_it_was(
    ct_folder: Path, stack: NDArray[np.int16], zipped: Callable[..., Path], private: Path
) -> None:
    entries = {f"DICOM/ST0/{path.stem}": path.read_bytes() for path in ct_folder.iterdir()}
    unpacked = unpack(zipped({**entries, "DICOMDIR": b"no DICOM", "viewer/cover.jpg": b"no JPEG"}), private, quiet)
    assert np.array_equal(reading.read_volume(unpacked.place).voxels, stack - 1024)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha", ".png", ".jpg", ".jpeg", ".NII.GZ"])
def test_the_one_image_of_a_zip_is_that_image(zipped: Callable[..., Path], private: Path, ending: str) -> None:
    entries = {f"a b/x{ending}": b"voxels", "notes.txt": b"x", "inner.zip": b"PK\3\4"}
    unpacked = unpack(zipped(entries), private, quiet)
    assert unpacked.place.read_bytes() == b"voxels"
    assert unpacked.place.name.endswith(ending.lower()) and unpacked.name == f"x{ending}"


def test_the_endings_are_those_that_reading_knows() -> None:
    assert {*archives._ENDINGS} == {*reading._READERS, ".dcm"}


def test_a_file_named_as_dicom_is_left_for_reading_to_judge(zipped: Callable[..., Path], private: Path) -> None:
    unpacked = unpack(zipped({"x.dcm": b"cut off"}), private, quiet)
    assert unpacked.place == unpacked.root
    with pytest.raises(Refusal) as refused:
        reading.read_volume(unpacked.place)
    told = unpacked.in_words(str(refused.value.facts["path"]))
    assert refused.value.code == "INPUT_NOT_AN_IMAGE" and told.endswith(os.path.join("研究.zip", "x.dcm"))


def test_what_systems_leave_beside_images_is_passed_over(zipped: Callable[..., Path], private: Path) -> None:
    left = ["__MACOSX/x.png", "__MACOSX/a/._x.png", "a/.DS_Store", "._a.png", "a/DICOMDIR", "dicomdir"]
    entries = {**dict.fromkeys(left, PNG), "a/": b"", "a/x.png": PNG}
    unpacked = unpack(zipped(entries), private, quiet)
    assert contents(unpacked) == {"a/x.png": PNG}


def test_names_that_differ_by_case_or_form_or_not_at_all_are_all_kept(
    zipped: Callable[..., Path], private: Path
) -> None:
    names = ["A/X", "a/x", "A/x", "\u00e9/x", "e\u0301/x"]
    unpacked = unpack(zipped({name: DICOM + name.encode() for name in names}), private, quiet)
    assert contents(unpacked) == {name: DICOM + name.encode() for name in names}
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = zipped([("x", DICOM + b"1"), ("x", DICOM + b"2")])
    files = sorted(unpack(twice, private, quiet).root.rglob("entry-*"))
    assert [path.read_bytes()[-1:] for path in files] == [b"1", b"2"]


def test_backslashes_separate_folders_as_old_zips_have_them(zipped: Callable[..., Path], private: Path) -> None:
    unpacked = unpack(zipped([(info("CT\\IM1"), DICOM), (info("CT\\IM2"), DICOM)]), private, quiet)
    assert [*unpacked.names.values()] == ["CT/IM1", "CT/IM2"] and len(list(unpacked.root.iterdir())) == 1


def test_texts_about_numbered_files_name_them_as_the_zip_does(zipped: Callable[..., Path], private: Path) -> None:
    unpacked = unpack(zipped({"CT/IM1.dcm": DICOM, "CT/IM2": DICOM, "MR/3.nii.gz": b""}), private, quiet)
    one, two, three = sorted(unpacked.root.rglob("entry-*"))
    assert unpacked.in_words(f"{one.name}, {two.name}. {three.name}: x") == "IM1.dcm, IM2. 3.nii.gz: x"
    folder = str(unpacked.archive)
    assert unpacked.in_words(f"'{unpacked.root}' has '{one}'") == f"'{folder}' has '{folder}{os.sep}CT/IM1.dcm'"
    assert unpacked.in_words("entry-00099 entry-1 other") == "entry-00099 entry-1 other"


def test_progress_is_told_and_a_cancel_leaves_nothing(
    zipped: Callable[..., Path], private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "_PIECE", 1000)
    path, told = zipped({"a": DICOM + bytes(5000), "b": DICOM + bytes(5000)}), []
    unpack(path, private, lambda stage, fraction: told.append((stage, fraction)))
    assert {stage for stage, _ in told} == {"unpack"} and len(told) > 10
    fractions = [fraction for _, fraction in told]
    assert fractions == sorted(fractions) and (fractions[0], fractions[-1]) == (0, 1)

    def cancel(stage: str, fraction: float) -> None:
        if fraction > 0.7:
            raise Refusal("CANCELLED")

    (earlier,) = private.iterdir()
    with pytest.raises(Refusal, match="CANCELLED"):
        unpack(path, private, cancel)
    assert [*private.iterdir()] == [earlier]


def test_what_is_a_zip_is_known_by_its_name_or_its_beginning(zipped: Callable[..., Path], tmp_path: Path) -> None:
    path = zipped({"x": b""})
    assert is_archive(path)
    assert is_archive(path.rename(tmp_path / "without ending"))
    (tmp_path / "broken.ZIP").write_bytes(b"no zip")
    assert is_archive(tmp_path / "broken.ZIP")
    (tmp_path / "x.nii").write_bytes(b"voxels" + (tmp_path / "without ending").read_bytes())
    assert not is_archive(tmp_path / "x.nii"), "a zip behind an image is none"
    (tmp_path / "folder.zip").mkdir()
    assert not is_archive(tmp_path / "folder.zip") and not is_archive(tmp_path / "none.zip")


# --- what is refused


def test_several_images_are_refused_not_chosen_from(zipped: Callable[..., Path], private: Path) -> None:
    reason = refusal(zipped({"a.nii": b"1", "b/a.nii": b"2", "c.png": PNG, "d.mha": b"3"}), private)
    assert reason == "it holds 4 images that are not DICOM (a.nii, c.png, d.mha, ...), where one is wanted"
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = zipped([("x.nii", b"1"), ("x.nii", b"2")])
    assert "2 images" in refusal(twice, private)


@pytest.mark.parametrize("entries", [{}, {"notes.txt": b"x"}, {"inner.zip": b"PK\5\6" + bytes(18)}, {"a/": b""}])
def test_a_zip_without_an_image_is_refused(zipped: Callable[..., Path], private: Path, entries: Names) -> None:
    assert "holds no image" in refusal(zipped(entries), private)


def test_a_zip_in_a_zip_stays_packed(ct_folder: Path, zipped: Callable[..., Path], private: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as packed:
        packed.write(ct_folder / "a.dcm", "a.dcm")
    assert "not opened" in refusal(zipped({"inner.zip": inner.getvalue()}), private)


@pytest.mark.parametrize("name", ["x.mhd", "x.nhdr"])
def test_an_image_in_two_files_is_refused(zipped: Callable[..., Path], private: Path, name: str) -> None:
    assert "in a file of their own" in refusal(zipped({name: b"ElementDataFile = x.raw", "x.raw": b"1"}), private)


@pytest.mark.parametrize(
    "name",
    ["/x.dcm", "../x.dcm", "a/../../x.dcm", "..", "C:/x.dcm", "c:x.dcm", "\\x.dcm", "..\\x.dcm", "\\\\host\\x", "x\0y"],
)
def test_a_name_that_leads_out_is_refused(
    zipped: Callable[..., Path], private: Path, tmp_path: Path, name: str
) -> None:
    path = zipped([("a.dcm", DICOM), (info(name), DICOM)])
    before = sorted(tmp_path.rglob("*"))
    assert "leads out of it" in refusal(path, private)
    assert sorted(tmp_path.rglob("*")) == before
    assert "leads out of it" in refusal(zipped([(info(f"__MACOSX/../{name}/.."), b"")]), private), "though passed over"


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_are_refused(zipped: Callable[..., Path], private: Path, kind: int) -> None:
    entry = info("x.dcm", external_attr=(kind | 0o777) << 16, create_system=3)
    assert "a link or a device" in refusal(zipped([(entry, b"/etc/passwd")]), private)


@pytest.mark.parametrize("flag", [0x0001, 0x0040, 0x2000])
def test_an_encrypted_zip_is_refused(zipped: Callable[..., Path], private: Path, flag: int) -> None:
    path = patched(zipped({"x.dcm": DICOM}), 6, struct.pack("<H", flag))
    assert refusal(path, private) == "'x.dcm' in it is encrypted"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 9, 97, 99])
def test_another_compression_is_refused(zipped: Callable[..., Path], private: Path, method: int) -> None:
    path = patched(zipped({"x.dcm": DICOM}), 8, struct.pack("<H", method))
    assert "another way than by deflate" in refusal(path, private)


def test_too_many_entries_are_refused(
    zipped: Callable[..., Path], private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zipped({f"{n}": DICOM for n in range(11)})
    monkeypatch.setattr(archives, "MAX_ENTRIES", 10)
    assert refusal(path, private) == "it has 11 entries, 10 are allowed"
    monkeypatch.setattr(archives, "MAX_ENTRIES", 11)
    assert len(unpack(path, private, quiet).names) == 11


def test_a_directory_too_large_for_memory_is_not_read(
    zipped: Callable[..., Path], private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "_LARGEST_DIRECTORY", 1 << 17)
    path = zipped({f"{n:0200}": b"" for n in range(1000)})
    assert "its directory has more than" in refusal(path, private)


def test_more_bytes_than_allowed_are_refused(zipped: Callable[..., Path], private: Path) -> None:
    path = zipped({"a": DICOM + os.urandom(2 << 20), "b": DICOM}, zipfile.ZIP_STORED)
    assert refusal(path, private, limit=2 << 20) == "it unpacks to more than the 2 MiB that a zip of its size may"
    assert len(unpack(path, private, quiet, limit=3 << 20).names) == 2


def test_a_bomb_is_refused_before_it_is_unpacked(
    zipped: Callable[..., Path], private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zipped({"x.nii": bytes(archives.ANY_RATIO_BYTES + 1)})
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(archives, "_pieces", None)
    assert "more than the 64 MiB" in refusal(path, private)


def test_entries_that_share_their_bytes_are_a_bomb(zipped: Callable[..., Path], private: Path) -> None:
    """Many names in the directory for one entry: each compresses well enough, all together do not."""
    noise, count = os.urandom(1 << 20), 300
    content = zipped({"x": noise}).read_bytes()
    start = content.index(b"PK\1\2")
    end = content.index(b"PK\5\6")
    directory = content[start:end] * count
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), start, 0)
    path = private.parent / "study 研究.zip"
    path.write_bytes(content[:start] + directory + tail)
    assert "the same bytes" in refusal(path, private)


def test_a_small_image_may_compress_as_well_as_it_can(zipped: Callable[..., Path], private: Path) -> None:
    path = zipped({"x.nii": bytes(10 << 20)})
    assert path.stat().st_size * archives.MAX_RATIO < 10 << 20
    assert unpack(path, private, quiet).place.stat().st_size == 10 << 20


def test_bytes_are_counted_as_they_come(
    zipped: Callable[..., Path], private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where zipfile should give more than a header states."""
    monkeypatch.setattr(archives, "_pieces", lambda *_: (bytes(1 << 20) for _ in range(1000)))
    written: list[int] = []
    check = archives._check_size
    monkeypatch.setattr(archives, "_check_size", lambda size, *rest: [written.append(size), check(size, *rest)])
    assert "more than the 5 MiB" in refusal(zipped({"x.nii": b"small"}), private, limit=5 << 20)
    assert max(written) == 6 << 20


def test_a_header_that_understates_a_size_gains_nothing(zipped: Callable[..., Path], private: Path) -> None:
    path = zipped({"x.nii": os.urandom(5000)})
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\1\2") + 24
    content[place : place + 4] = struct.pack("<L", 1000)
    path.write_bytes(content)
    assert "damaged" in refusal(path, private)


def test_a_wrong_checksum_is_refused(zipped: Callable[..., Path], private: Path) -> None:
    path = zipped({"a.dcm": DICOM, "x.dcm": DICOM + b"voxels of a slice"}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"voxels of", b"vovels of"))
    assert refusal(path, private) == "'x.dcm' in it is damaged (Bad CRC-32 for file 'x.dcm')"


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.99])
def test_a_cut_zip_is_refused(zipped: Callable[..., Path], private: Path, share: float) -> None:
    path = zipped({"x.dcm": DICOM + os.urandom(5000), "y.dcm": DICOM})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "damaged or no zip" in refusal(path, private)


def test_a_zip_whose_beginning_is_lost_is_refused(zipped: Callable[..., Path], private: Path) -> None:
    path = zipped({"x.dcm": DICOM + os.urandom(5000), "y.dcm": DICOM})
    path.write_bytes(path.read_bytes()[3000:])
    assert refusal(path, private)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_whatever_bytes_are_damaged_it_is_unpacked_or_refused(
    zipped: Callable[..., Path], private: Path, method: int
) -> None:
    path = zipped({"CT/x.dcm": DICOM + os.urandom(300), "CT/ü": DICOM + bytes(300), "z/a.nii.gz": b"1" * 50}, method)
    whole, random = path.read_bytes(), np.random.default_rng(7)
    refused = 0
    for _ in range(500):
        broken = bytearray(whole)
        for place in random.integers(0, len(whole), random.integers(1, 5)):
            broken[place] = random.integers(0, 256)
        path.write_bytes(broken)
        try:
            unpack(path, private, quiet)
        except Refusal as refusal:
            assert refusal.code == "INPUT_ARCHIVE"
            refused += 1
    assert refused > 200
    assert len(list(private.iterdir())) == 500 - refused


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="a file that may not be read")
def test_a_zip_that_may_not_be_read_is_told(zipped: Callable[..., Path], private: Path) -> None:
    path = zipped({"x.dcm": DICOM})
    path.chmod(0)
    assert refusal(path, private) == "Permission denied"


def test_a_zip_that_is_gone_is_told(private: Path) -> None:
    assert refusal(private.parent / "研究", private) == "No such file or directory"


def test_a_full_disk_leaves_nothing_and_is_not_blamed_on_the_zip(
    zipped: Callable[..., Path], private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, opened = zipped({"a.dcm": DICOM, "b.dcm": DICOM}), Path.open

    def full(path: Path, mode: str = "r", *rest: Any) -> Any:
        if path.name == "entry-00002.dcm" and "x" in mode:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return opened(path, mode, *rest)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(Refusal) as refused:
        unpack(path, private, quiet)
    assert refused.value.code == "RESOURCE_TEMPORARY_FOLDER" and "No space left" in refused.value.message()
    assert list(private.iterdir()) == []
    with pytest.raises(Refusal, match="RESOURCE_TEMPORARY_FOLDER"):
        unpack(path, private / "none", quiet)
