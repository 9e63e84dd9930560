"""Bad input: each is refused with its own code, in one line, and nothing is read quietly wrong."""

from __future__ import annotations

import gzip
import os
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import HTJ2KLossless

from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.reading import list_series, read_volume

Stack = NDArray[np.int16]


def refused(path: Path | str, series: str | None = None) -> Refusal:
    """The refusal that reading must end in; its two texts must be whole."""
    with pytest.raises(Refusal) as caught:
        read_volume(path, series)
    for language in ("en", "zh"):
        assert "\n" not in caught.value.message(language)
    assert caught.value.exit_status == 3
    return caught.value


def changed(path: Path, **changes: Any) -> None:
    """Sets attributes of a DICOM file; None removes one."""
    data = pydicom.dcmread(path)
    for name, value in changes.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    data.save_as(path)


def cut(path: Path, keep: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])


# --- not there, not an image


def test_a_missing_path(tmp_path: Path) -> None:
    assert refused(tmp_path / "nowhere").code == "INPUT_NOT_FOUND"
    with pytest.raises(Refusal) as caught:
        list_series(tmp_path / "nowhere")
    assert caught.value.code == "INPUT_NOT_FOUND"


def test_a_folder_without_dicom(tmp_path: Path) -> None:
    assert refused(tmp_path).code == "INPUT_EMPTY_FOLDER"
    (tmp_path / "notes.txt").write_text("hello")
    assert refused(tmp_path).code == "INPUT_EMPTY_FOLDER"
    assert list_series(tmp_path) == ()


@pytest.mark.parametrize(
    "name", ["x", "x.txt", "x.dcm", "x.nii", "x.nii.gz", "x.nrrd", "x.mha", "x.mhd", "x.png", "x.jpg"]
)
@pytest.mark.parametrize("content", [b"", b"This is not an image.\n" * 40, bytes(1000)])
def test_a_file_that_is_no_image(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert refused(tmp_path / name).code == "INPUT_NOT_AN_IMAGE"


def test_a_series_asked_of_a_file_without_series(tmp_path: Path, stack: Stack) -> None:
    nibabel.save(nibabel.Nifti1Image(stack.T, np.eye(4)), tmp_path / "x.nii")
    assert refused(tmp_path / "x.nii", series="1.2").code == "INPUT_SERIES_UNKNOWN"


# --- DICOM: which images


def test_two_series_are_listed_not_chosen_from(ct_folder: Path, stack: Stack, write_slice: Any) -> None:
    write_slice(ct_folder / "z", stack[0], SeriesInstanceUID="9.9", SOPInstanceUID="9.9.1", Modality="MR")
    refusal = refused(ct_folder)
    assert refusal.code == "INPUT_SEVERAL_SERIES"
    assert "1.2.3.4 (CT, Head, 5 images); 9.9 (MR, Head, 1 images)" in str(refusal)
    assert refused(ct_folder, series="7.7").code == "INPUT_SERIES_UNKNOWN"
    assert refused(ct_folder / "z", series="7.7").code == "INPUT_SERIES_UNKNOWN"
    assert "CANARY" not in str(refusal).upper()


def test_two_images_at_one_position(ct_folder: Path, stack: Stack, write_slice: Any) -> None:
    write_slice(ct_folder / "z", stack[0], 1, SOPInstanceUID="1.2.3.4.99")
    refusal = refused(ct_folder)
    assert refusal.code == "INPUT_DUPLICATE_POSITION"
    assert "a.dcm = z" in str(refusal)


def test_two_different_images_under_one_uid(ct_folder: Path, stack: Stack, write_slice: Any) -> None:
    write_slice(ct_folder / "z", stack[0], 1)
    assert refused(ct_folder).code == "INPUT_GEOMETRY"


def test_a_dicom_object_without_image(ct_folder: Path) -> None:
    report = ct_folder.parent / "report.dcm"
    data = pydicom.dcmread(ct_folder / "a.dcm")
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.33"
    for name in ("PixelData", "Rows", "Columns", "BitsAllocated"):
        delattr(data, name)
    data.save_as(report)
    assert refused(report).code == "INPUT_NOT_AN_IMAGE"
    shutil.copy(report, ct_folder / "report.dcm")
    assert read_volume(ct_folder).voxels.shape == (5, 48, 40), "a report beside the slices is passed over"


# --- DICOM: damage beside the slices


def damaged_series(folder: Path, stack: Stack, write_slice: Any) -> Path:
    """A sixth file, of another series, whose pixel spacing is no number."""
    write_slice(folder / "z.dcm", stack[0], SeriesInstanceUID="9.9", SOPInstanceUID="9.9.1", Modality="MR")
    whole = (folder / "z.dcm").read_bytes()
    assert whole.count(b"0.8\\0.5 ") == 1
    (folder / "z.dcm").write_bytes(whole.replace(b"0.8\\0.5 ", b"0.8\\abc "))
    return folder / "z.dcm"


def test_a_damaged_series_refuses_only_itself(ct_folder: Path, stack: Stack, write_slice: Any) -> None:
    damaged = damaged_series(ct_folder, stack, write_slice)
    refusal = refused(ct_folder)
    assert refusal.code == "INPUT_SEVERAL_SERIES"
    assert "1.2.3.4 (CT, Head, 5 images); 9.9 (MR, 1 images, unusable, because z.dcm: damaged" in str(refusal)
    assert [bool(summary.unusable) for summary in list_series(ct_folder)] == [False, True]
    volume = read_volume(ct_folder, series="1.2.3.4")
    assert np.array_equal(volume.voxels, stack - 1024)
    assert volume.source.notes == ()
    assert refused(ct_folder, series="9.9").code == "INPUT_NOT_AN_IMAGE"
    changed(ct_folder / "a.dcm", SeriesInstanceUID="9.9")
    assert "z.dcm" in str(refused(ct_folder, series="9.9")), "one of two images of the chosen series"
    for path in ct_folder.iterdir():
        if path != damaged:
            path.unlink()
    assert "z.dcm" in str(refused(ct_folder)), "the only series"


def test_floating_point_images_do_not_hide_the_other_series(ct_folder: Path, stack: Stack, write_slice: Any) -> None:
    data = write_slice(ct_folder / "z.dcm", stack[0], SeriesInstanceUID="9.9", SOPInstanceUID="9.9.1")
    del data.PixelData
    data.FloatPixelData = np.zeros(stack[0].shape, np.float32).tobytes()
    pydicom.dcmwrite(ct_folder / "z.dcm", data)
    assert "because z.dcm: floating-point pixel data" in str(refused(ct_folder))
    assert read_volume(ct_folder, series="1.2.3.4").voxels.shape == (5, 48, 40)


@pytest.mark.parametrize("keep", [0, 100, 140, -1])
def test_a_file_that_may_be_a_slice_is_refused_or_noted(ct_folder: Path, stack: Stack, keep: int) -> None:
    path = ct_folder / "e.dcm"
    whole = path.read_bytes()
    inside = (
        whole.index(b"\x20\x00\x0e\x00UI") + 8 + 4
    )  # half of the SeriesInstanceUID: not to be taken for a whole one
    path.write_bytes(whole[: keep if keep >= 0 else inside])
    assert "e.dcm" in str(refused(ct_folder))
    volume = read_volume(ct_folder, series="1.2.3.4")
    assert np.array_equal(volume.voxels, np.delete(stack, 2, axis=0) - 1024)
    assert volume.source.notes == ("UNREADABLE_FILES: 1 files could not be read (first: e.dcm)",)
    assert [summary.uid for summary in list_series(ct_folder)] == ["1.2.3.4", ""]
    path.rename(ct_folder / "._e.dcm").write_bytes(b"\0\5\x16\7" + bytes(200))
    assert read_volume(ct_folder).source.notes == (), "what a Mac leaves beside a file is no slice"


def test_compressed_voxels_that_do_not_say_how(ct_folder: Path) -> None:
    path = ct_folder / "a.dcm"
    data = pydicom.dcmread(path)
    data.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
    data.save_as(path)
    whole = path.read_bytes()
    path.write_bytes(whole[whole.index(b"\x08\x00\x16\x00UI") :])
    assert "compressed, without saying how" in str(refused(ct_folder))


# --- DICOM: geometry


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, "orientation changes"),
        ({"PixelSpacing": [0.8, 0.8]}, "spacing changes"),
        ({"FrameOfReferenceUID": "1.2.3.6"}, "two frames of reference"),
        ({"Modality": "MR"}, "modality"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "photometric"),
        ({"ImagePositionPatient": None}, "where it lies"),
        ({"ImageOrientationPatient": None}, "orientation changes"),
        ({"Rows": 40, "Columns": 48}, "48 x 40 and 40 x 48"),
    ],
)
def test_a_slice_that_does_not_belong_to_the_stack(ct_folder: Path, change: dict[str, Any], words: str) -> None:
    changed(ct_folder / "e.dcm", **change)
    refusal = refused(ct_folder)
    assert refusal.code == "INPUT_GEOMETRY"
    assert words in str(refusal)


def test_a_series_without_positions(ct_folder: Path) -> None:
    for path in ct_folder.iterdir():
        changed(path, ImagePositionPatient=None, ImageOrientationPatient=None)
    assert refused(ct_folder).code == "INPUT_GEOMETRY"


@pytest.mark.parametrize(
    "change",
    [
        {"PixelSpacing": None},
        {"PixelSpacing": [0, 0]},
        {"PixelSpacing": [0.8, 0]},
        {"PixelSpacing": [-0.8, 0.8]},
        {"ImageOrientationPatient": [1, 0, 0, 0.5, 0.866, 0]},
        {"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]},
        {"ImageOrientationPatient": [2, 0, 0, 0, 1, 0]},
    ],
)
def test_geometry_that_cannot_be(ct_folder: Path, change: dict[str, Any]) -> None:
    for path in ct_folder.iterdir():
        changed(path, **change)
    assert refused(ct_folder).code == "INPUT_GEOMETRY"
    assert refused(ct_folder / "a.dcm").code == "INPUT_GEOMETRY"


@pytest.mark.parametrize(
    "change",
    [
        {"PixelSpacing": [0.8, 1001]},
        {"PixelSpacing": [0.0009, 0.8]},
        {"ImagePositionPatient": [0, 0, 1.1e5]},
        {"ImagePositionPatient": [-1e9, 0, 0]},
    ],
)
def test_geometry_that_no_patient_has(ct_folder: Path, change: dict[str, Any]) -> None:
    changed(ct_folder / "a.dcm", **change)
    refusal = refused(ct_folder / "a.dcm")
    assert refusal.code == "INPUT_GEOMETRY"
    assert "not plausible" in str(refusal)


def test_a_gap_between_slices_that_no_patient_has(ct_folder: Path) -> None:
    changed(ct_folder / "e.dcm", ImagePositionPatient=[-10, -20, 1500])
    assert "a spacing of 1490 mm is not plausible" in str(refused(ct_folder))


@pytest.mark.parametrize("ending", [".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize(
    ("spacing", "origin"),
    [((1, 1, 2000), (0, 0, 0)), ((1, 2000, 1), (0, 0, 0)), ((1e-4, 1, 1), (0, 0, 0)), ((1, 1, 1), (0, 2e5, 0))],
)
def test_geometry_that_no_patient_has_in_other_formats(
    tmp_path: Path, stack: Stack, ending: str, spacing: tuple[float, ...], origin: tuple[float, ...]
) -> None:
    image = SimpleITK.GetImageFromArray(stack)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    SimpleITK.WriteImage(image, str(tmp_path / f"x{ending}"))
    refusal = refused(tmp_path / f"x{ending}")
    assert refusal.code == "INPUT_GEOMETRY"
    assert "not plausible" in str(refusal)


@pytest.mark.parametrize("text", [b"nan\\0.8 ", b"0.8 ", b"ab\\cd ", b"0,8\\0,8 "])
def test_geometry_that_is_no_number(ct_folder: Path, text: bytes) -> None:
    path = ct_folder / "a.dcm"
    data = path.read_bytes()
    at = data.index(b"\x28\x00\x30\x00DS")
    length = int.from_bytes(data[at + 6 : at + 8], "little")
    path.write_bytes(data[: at + 6] + len(text).to_bytes(2, "little") + text + data[at + 8 + length :])
    assert refused(path).code == "INPUT_NOT_AN_IMAGE"


# --- DICOM: values


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"RescaleSlope": 0}, "INPUT_VALUES"),
        ({"RescaleIntercept": None}, "INPUT_VALUES"),
        ({"Rows": 65535, "Columns": 65535}, "INPUT_TRUNCATED"),
        ({"Rows": 0}, "INPUT_DIMENSIONS"),
        ({"Rows": 24}, "INPUT_VALUES"),
        ({"NumberOfFrames": 3}, "INPUT_DIMENSIONS"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "INPUT_DIMENSIONS"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "INPUT_VALUES"),
        ({"BitsAllocated": 12}, "INPUT_VALUES"),
        ({"BitsStored": 20}, "INPUT_VALUES"),
        ({"HighBit": 7}, "INPUT_VALUES"),
    ],
)
def test_one_slice_whose_voxels_cannot_be_right(ct_folder: Path, change: dict[str, Any], code: str) -> None:
    for path in sorted(ct_folder.iterdir())[:: 1 if "Rows" in change or "Photo" in str(change) else 2]:
        changed(path, **change)
    assert refused(ct_folder).code == code


@pytest.mark.parametrize("keep", [0.99, 0.5, 0.1])
def test_a_cut_slice(ct_folder: Path, keep: float) -> None:
    cut(ct_folder / "c.dcm", keep)
    refusal = refused(ct_folder)
    assert refusal.code in ("INPUT_TRUNCATED", "INPUT_NOT_AN_IMAGE")
    assert "c.dcm" in str(refusal)


def test_a_slice_cut_anywhere_is_never_left_out_in_silence(ct_folder: Path) -> None:
    whole = (ct_folder / "e.dcm").read_bytes()
    for length in range(400, len(whole), 97):
        (ct_folder / "e.dcm").write_bytes(whole[:length])
        assert refused(ct_folder).code in ("INPUT_TRUNCATED", "INPUT_NOT_AN_IMAGE")


def gdcm_file(path: Path, compressor: str) -> None:
    image = SimpleITK.GetImageFromArray(np.random.default_rng(0).integers(0, 2000, (1, 64, 64)).astype(np.int16))
    writer = SimpleITK.ImageFileWriter()
    writer.SetFileName(str(path))
    writer.SetUseCompression(True)
    writer.SetCompressor(compressor)
    writer.Execute(image)


@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000"])
@pytest.mark.parametrize("keep", [0.98, 0.7, 0.3])
def test_a_cut_compressed_slice(tmp_path: Path, compressor: str, keep: float) -> None:
    gdcm_file(tmp_path / "x.dcm", compressor)
    cut(tmp_path / "x.dcm", keep)
    assert refused(tmp_path / "x.dcm").code == "INPUT_TRUNCATED"


@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000"])
def test_a_compressed_frame_cut_inside_whole_items(tmp_path: Path, compressor: str) -> None:
    path = tmp_path / "x.dcm"
    gdcm_file(path, compressor)
    data = pydicom.dcmread(path)
    frame = next(pydicom.encaps.generate_frames(data.PixelData, number_of_frames=1))
    data.PixelData = pydicom.encaps.encapsulate([frame[: len(frame) // 2 * 2 - 400]])
    data.save_as(path)
    assert refused(path).code == "INPUT_TRUNCATED"


@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000"])
def test_a_compressed_frame_of_another_size_than_its_header(tmp_path: Path, compressor: str) -> None:
    gdcm_file(tmp_path / "x.dcm", compressor)
    changed(tmp_path / "x.dcm", Rows=65535, Columns=65535)
    refusal = refused(tmp_path / "x.dcm")
    assert refusal.code == "INPUT_VALUES"
    assert "not the 65535 x 65535 of its header" in str(refusal), "seen before room is made for it"


def test_a_compressed_slice_without_its_end_mark(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    gdcm_file(path, "JPEG")
    whole = path.read_bytes()
    end = whole.rindex(b"\xfe\xff\xdd\xe0")
    path.write_bytes(whole[:end])
    assert refused(path).code == "INPUT_TRUNCATED"


@pytest.mark.parametrize("lost", [2, 20, 2000])
def test_a_cut_rle_slice(ct_folder: Path, lost: int) -> None:
    path = ct_folder / "a.dcm"
    data = pydicom.dcmread(path)
    data.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
    frame = next(pydicom.encaps.generate_frames(data.PixelData, number_of_frames=1))
    data.PixelData = pydicom.encaps.encapsulate([frame[: len(frame) // 2 * 2 - lost]])
    data.save_as(path)
    assert refused(path).code == "INPUT_TRUNCATED"


def test_a_transfer_syntax_that_cannot_be_decoded(tmp_path: Path) -> None:
    gdcm_file(tmp_path / "x.dcm", "JPEG2000")
    data = pydicom.dcmread(tmp_path / "x.dcm")
    data.file_meta.TransferSyntaxUID = HTJ2KLossless
    data.save_as(tmp_path / "x.dcm")
    refusal = refused(tmp_path / "x.dcm")
    assert refusal.code == "INPUT_COMPRESSION"
    assert "High-Throughput JPEG 2000" in str(refusal)


def test_random_damage_to_a_dicom_file_never_escapes_as_another_error(ct_folder: Path) -> None:
    path = ct_folder / "a.dcm"
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    header = whole.index(b"\xe0\x7f\x10\x00")
    for _ in range(300):
        damaged = bytearray(whole)
        for at in rng.integers(132, header + 12, 3):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        read_or_refused(path)


def read_or_refused(path: Path) -> None:
    try:
        assert np.isfinite(read_volume(path).voxels).all()
    except Refusal as refusal:
        assert refusal.message("zh")


# --- NIfTI


@pytest.fixture
def nifti(tmp_path: Path, stack: Stack) -> Path:
    nibabel.save(nibabel.Nifti1Image(stack.T, np.diag([2.0, 2, 4, 1])), tmp_path / "x.nii")
    return tmp_path / "x.nii"


def patched(path: Path, at: int, kind: str, *values: float) -> None:
    data = bytearray(path.read_bytes())
    struct.pack_into("<" + kind, data, at, *values)
    path.write_bytes(data)


@pytest.mark.parametrize("packed", [False, True])
def test_a_nifti_cut_in_half(nifti: Path, packed: bool, stack: Stack) -> None:
    cut(nifti, 0.5)
    if packed:
        path = nifti.with_suffix(".nii.gz")
        path.write_bytes(gzip.compress(nifti.read_bytes()))
        nifti = path
    refusal = refused(nifti)
    assert refusal.code == "INPUT_TRUNCATED"
    assert f"{stack.nbytes} bytes of voxels expected" in str(refusal)


def test_a_compressed_nifti_whose_stream_is_cut_or_damaged(nifti: Path) -> None:
    path = nifti.with_suffix(".nii.gz")
    whole = gzip.compress(nifti.read_bytes())
    path.write_bytes(whole[: len(whole) // 2])
    assert refused(path).code == "INPUT_TRUNCATED"
    damaged = bytearray(whole)
    damaged[-6] ^= 1  # the checksum
    path.write_bytes(damaged)
    assert refused(path).code == "INPUT_NOT_AN_IMAGE"


def test_a_flood_of_empty_gzip_members_is_read_in_time_that_grows_with_its_size(nifti: Path) -> None:
    path = nifti.with_suffix(".nii.gz")
    path.write_bytes(gzip.compress(b"") * 100_000 + gzip.compress(nifti.read_bytes()))
    start = time.process_time()
    assert read_volume(path).voxels.shape == (5, 48, 40)
    assert time.process_time() - start < 5, "quadratic, it copies 100 GB"


@pytest.mark.parametrize(
    ("at", "kind", "values", "code"),
    [
        (108, "f", (1e9,), "INPUT_NOT_AN_IMAGE"),  # vox_offset
        (108, "f", (float("nan"),), "INPUT_NOT_AN_IMAGE"),
        (108, "f", (-352.0,), "INPUT_NOT_AN_IMAGE"),
        (70, "h", (1792,), "INPUT_VALUES"),  # datatype: complex
        (70, "h", (128,), "INPUT_DIMENSIONS"),  # RGB
        (70, "h", (7,), "INPUT_VALUES"),
        (80, "f", (0.0,), "INPUT_GEOMETRY"),  # pixdim
        (84, "f", (-2.0,), "INPUT_GEOMETRY"),
        (88, "f", (float("nan"),), "INPUT_GEOMETRY"),
        (40, "h", (9,), "INPUT_NOT_AN_IMAGE"),  # dim[0]
        (40, "h", (1,), "INPUT_DIMENSIONS"),
        (42, "h", (0,), "INPUT_DIMENSIONS"),
        (42, "h", (-40,), "INPUT_DIMENSIONS"),
        (42, "3h", (32767, 32767, 32767), "INPUT_TRUNCATED"),
        (112, "f", (float("inf"),), "INPUT_VALUES"),  # scl_slope
        (280, "4f", (0, 0, 0, 0), "INPUT_GEOMETRY"),  # sform row
        (280, "4f", (-2, 1, 0, 0), "INPUT_GEOMETRY"),  # i and j not orthogonal
        (280, "4f", (float("nan"), 0, 0, 0), "INPUT_GEOMETRY"),
        (312, "4f", (0, 0, 0, 0), "INPUT_GEOMETRY"),  # slices that do not step
        (123, "b", (4,), "INPUT_GEOMETRY"),  # unknown unit of length
    ],
)
def test_a_nifti_header_field_that_cannot_be(
    nifti: Path, at: int, kind: str, values: tuple[float, ...], code: str
) -> None:
    patched(nifti, at, kind, *values)
    assert refused(nifti).code == code


def test_a_nifti_with_several_frames_or_channels(tmp_path: Path, stack: Stack) -> None:
    nibabel.save(nibabel.Nifti1Image(np.stack([stack.T] * 2, axis=-1), np.eye(4)), tmp_path / "x.nii")
    refusal = refused(tmp_path / "x.nii")
    assert refusal.code == "INPUT_DIMENSIONS"
    assert "40 x 48 x 5 x 2" in str(refusal)


@pytest.mark.parametrize("ending", [".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_numbers_are_counted(tmp_path: Path, stack: Stack, ending: str, bad: float) -> None:
    values = stack.astype(np.float32)
    values[2, 3, :4] = bad
    path = tmp_path / f"x{ending}"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), str(path))
    refusal = refused(path)
    assert refusal.code == "INPUT_VALUES"
    assert f"4 of {stack.size} voxels" in str(refusal)


@pytest.mark.parametrize("value", [1e300, 2.0**24 + 1])
def test_numbers_that_float32_cannot_hold(tmp_path: Path, value: float) -> None:
    kind = np.float64 if value > 1e10 else np.int64
    values = np.full((2, 3, 4), value).astype(kind)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4), dtype=kind), tmp_path / "x.nii")
    assert refused(tmp_path / "x.nii").code == "INPUT_VALUES"


# --- NRRD and MetaImage


@pytest.fixture
def nrrd(tmp_path: Path, stack: Stack) -> Path:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(stack), str(tmp_path / "x.nrrd"))
    return tmp_path / "x.nrrd"


def replaced(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, new))


@pytest.mark.parametrize("target", ["../../../../etc/passwd", "/etc/passwd", "x.raw", "LIST"])
@pytest.mark.parametrize("field", ["data file", "datafile", "Data File"])
def test_a_nrrd_never_reads_another_file(nrrd: Path, target: str, field: str) -> None:
    (nrrd.parent / "x.raw").write_bytes(bytes(40 * 48 * 5 * 2))
    replaced(nrrd, b"encoding: raw", f"encoding: raw\n{field}: {target}".encode())
    assert refused(nrrd).code == "INPUT_NOT_ALLOWED"


def test_a_detached_nrrd_header(nrrd: Path) -> None:
    header = nrrd.rename(nrrd.with_suffix(".nhdr"))
    assert refused(header).code == "INPUT_NOT_ALLOWED"


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"type: short", b"type: block", "INPUT_VALUES"),
        (b"dimension: 3", b"dimension: 2", "INPUT_NOT_AN_IMAGE"),
        (b"sizes: 40 48 5", b"sizes: 40 x 5", "INPUT_NOT_AN_IMAGE"),
        (b"sizes: 40 48 5", b"sizes: 40 -48 5", "INPUT_DIMENSIONS"),
        (b"sizes: 40 48 5", b"sizes: 40 48 5000000000000", "INPUT_TRUNCATED"),
        (b"(1,0,0)", b"(0,0,0)", "INPUT_GEOMETRY"),
        (b"(1,0,0)", b"(nan,0,0)", "INPUT_GEOMETRY"),
        (b"(1,0,0)", b"(1,0.5,0)", "INPUT_GEOMETRY"),
        (b"(0,0,1)", b"(1,1,0)", "INPUT_GEOMETRY"),
        (b"(1,0,0)", b"(one,0,0)", "INPUT_GEOMETRY"),
        (b"(0,0,1)", b"none", "INPUT_DIMENSIONS"),
        (b"encoding: raw", b"encoding: hex", "INPUT_NOT_AN_IMAGE"),
        (b"encoding: raw", b"encoding: gzip", "INPUT_NOT_AN_IMAGE"),
        (b"encoding: raw", b"encoding: bzip2", "INPUT_NOT_AN_IMAGE"),
        (b"encoding: raw", b"encoding: raw\nbyte skip: 100", "INPUT_NOT_AN_IMAGE"),
        (b"endian: little\n", b"", "INPUT_NOT_AN_IMAGE"),
        (b"space directions:", b"directions:", "INPUT_GEOMETRY"),
    ],
)
def test_a_nrrd_header_field_that_cannot_be(nrrd: Path, old: bytes, new: bytes, code: str) -> None:
    assert read_volume(nrrd).voxels.shape == (5, 48, 40)
    replaced(nrrd, old, new)
    assert refused(nrrd).code == code


def test_a_cut_nrrd(nrrd: Path, stack: Stack) -> None:
    cut(nrrd, 0.6)
    assert refused(nrrd).code == "INPUT_TRUNCATED"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(stack), str(nrrd), useCompression=True)
    cut(nrrd, 0.6)
    assert refused(nrrd).code == "INPUT_TRUNCATED"


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".nii"])
def test_colour_and_time_series(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x{ending}"
    colour = SimpleITK.GetImageFromArray(np.zeros((5, 6, 7, 3), np.uint8), isVector=True)
    SimpleITK.WriteImage(colour, str(path))
    assert refused(path).code == "INPUT_DIMENSIONS"
    frames = SimpleITK.JoinSeries([SimpleITK.Image(7, 6, 5, SimpleITK.sitkInt16)] * 2)
    SimpleITK.WriteImage(frames, str(path))
    assert refused(path).code == "INPUT_DIMENSIONS"


@pytest.fixture
def mha(tmp_path: Path, stack: Stack) -> Path:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(stack), str(tmp_path / "x.mha"))
    return tmp_path / "x.mha"


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"MET_SHORT", b"MET_SHORT_ARRAY", "INPUT_VALUES"),
        (b"NDims = 3", b"NDims = 2", "INPUT_NOT_AN_IMAGE"),
        (b"DimSize = 40 48 5", b"DimSize = 40 48 0", "INPUT_DIMENSIONS"),
        (b"DimSize = 40 48 5", b"DimSize = 40 48 50", "INPUT_TRUNCATED"),
        (b"ElementSpacing = 1 1 1", b"ElementSpacing = 1 0 1", "INPUT_GEOMETRY"),
        (b"ElementSpacing = 1 1 1", b"ElementSpacing = 1 nan 1", "INPUT_GEOMETRY"),
        (b"ElementSpacing = 1 1 1", b"ElementSpacing = 1 1", "INPUT_GEOMETRY"),
        (b"TransformMatrix = 1 0 0", b"TransformMatrix = 1 1 0", "INPUT_GEOMETRY"),
        (b"TransformMatrix = 1 0 0", b"TransformMatrix = 0 0 0", "INPUT_GEOMETRY"),
        (b"CompressedData = False", b"CompressedData = True", "INPUT_NOT_AN_IMAGE"),
        (b"BinaryData = True", b"BinaryData = False", "INPUT_NOT_AN_IMAGE"),
        (b"ElementDataFile = LOCAL", b"ElementDataFile = x.raw", "INPUT_NOT_ALLOWED"),
    ],
)
def test_a_metaimage_header_field_that_cannot_be(mha: Path, old: bytes, new: bytes, code: str) -> None:
    replaced(mha, old, new)
    assert refused(mha).code == code


def test_a_cut_metaimage(mha: Path) -> None:
    cut(mha, 0.6)
    assert refused(mha).code == "INPUT_TRUNCATED"


@pytest.mark.parametrize(
    "target", ["../x.raw", "/etc/passwd", "sub/x.raw", "..\\x.raw", "C:x.raw", "LIST", "x%03d.raw 1 5"]
)
def test_a_metaimage_never_reads_outside_its_folder(tmp_path: Path, stack: Stack, target: str) -> None:
    (tmp_path / "folder" / "sub").mkdir(parents=True)
    for folder in (".", "folder", "folder/sub"):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(stack), str(tmp_path / folder / "x.mhd"))
    header = tmp_path / "folder" / "x.mhd"
    assert read_volume(header).voxels.shape == (5, 48, 40)
    replaced(header, b"ElementDataFile = x.raw", f"ElementDataFile = {target}".encode())
    assert refused(header).code == "INPUT_NOT_ALLOWED"


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs links")
def test_a_metaimage_does_not_follow_a_link_out_of_its_folder(tmp_path: Path, stack: Stack) -> None:
    (tmp_path / "folder").mkdir()
    header = tmp_path / "folder" / "x.mhd"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(stack), str(header))
    outside = (tmp_path / "folder" / "x.raw").rename(tmp_path / "y.raw")
    (tmp_path / "folder" / "x.raw").symlink_to(outside)
    assert refused(header).code == "INPUT_NOT_ALLOWED"
    (tmp_path / "folder" / "x.raw").unlink()
    assert refused(header).code == "INPUT_NOT_FOUND"


@pytest.mark.parametrize("make", ["nifti", "nrrd", "mha"])
def test_random_damage_to_a_header_never_escapes_as_another_error(make: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(make)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for at in rng.integers(0, 352, 3):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        read_or_refused(path)


# --- pictures


@pytest.mark.parametrize(
    "picture",
    [
        lambda: Image.fromarray(np.random.default_rng(0).integers(0, 255, (6, 7, 4)).astype(np.uint8)),
        lambda: Image.fromarray(np.full((6, 7, 4), 9, np.uint8)),  # grey, but not opaque
    ],
)
def test_transparent_pictures(tmp_path: Path, picture: Callable[[], Image.Image]) -> None:
    picture().save(tmp_path / "x.png")
    assert refused(tmp_path / "x.png").code == "INPUT_DIMENSIONS"


def test_a_picture_of_several_frames(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((6, 7), n, np.uint8)) for n in (0, 200)]
    frames[0].save(tmp_path / "x.png", save_all=True, append_images=frames[1:])
    assert refused(tmp_path / "x.png").code == "INPUT_DIMENSIONS"


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_cut_picture(tmp_path: Path, ending: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / f"x.{ending}")
    cut(tmp_path / f"x.{ending}", 0.6)
    assert refused(tmp_path / f"x.{ending}").code == "INPUT_NOT_AN_IMAGE"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission(nifti: Path) -> None:
    nifti.chmod(0)
    assert refused(nifti).code == "INPUT_NOT_AN_IMAGE"


def test_a_folder_below_without_permission(ct_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (ct_folder / "more").mkdir()
    scan = os.scandir

    def forbidden(path: Any) -> Any:
        if Path(path).name == "more":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", forbidden)  # root may open everything, so it cannot be had by chmod
    assert "Permission denied" in str(refused(ct_folder))
