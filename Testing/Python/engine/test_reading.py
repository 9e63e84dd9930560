"""Reading: voxels, values, geometry and source of every format, as the file states them."""

from __future__ import annotations

import gzip
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.reading import SeriesSummary, list_series, read_volume
from MedImgClassifierLib.engine.voxel_values import inflated

Stack = NDArray[np.int16]
TURN = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]


# --- DICOM


def test_a_ct_folder_becomes_hu_in_slice_order(ct_folder: Path, stack: Stack) -> None:
    v = read_volume(ct_folder)
    assert v.voxels.dtype == np.int16
    assert np.array_equal(v.voxels, stack - 1024)
    assert (v.modality, v.units) == ("CT", "HU")
    assert v.spacing_mm == (0.5, 0.8), "PixelSpacing states the distance between rows first"
    assert v.slice_origins_lps == pytest.approx(np.array([[-10, -20, 2.5 * k] for k in range(5)]))
    assert v.slice_thickness_mm == 2.5


def test_the_source_names_the_series_and_its_slices_but_not_the_patient(ct_folder: Path) -> None:
    source = read_volume(ct_folder).source
    assert (source.path, source.format, source.description) == ("ct", "DICOM", "Head")
    assert (source.series_uid, source.study_uid, source.frame_of_reference_uid) == ("1.2.3.4", "1.2.3", "1.2.3.5")
    assert source.sop_instance_uids == tuple(f"1.2.3.4.{k}" for k in range(1, 6))
    assert source.instance_numbers == (1, 2, 3, 4, 5)
    assert source.notes == ()
    assert "canary" not in repr(source).lower()


def test_folders_are_searched_below_and_other_files_passed_over(ct_folder: Path, stack: Stack) -> None:
    below = ct_folder / "more" / "still more"
    below.mkdir(parents=True)
    shutil.move(ct_folder / "a.dcm", below / "a without ending")
    (ct_folder / "README.txt").write_text("not an image")
    (below / "empty").touch()
    assert np.array_equal(read_volume(ct_folder).voxels, stack - 1024)


def test_slices_of_an_oblique_series_are_sorted_along_their_own_normal(
    tmp_path: Path, stack: Stack, write_slice: Any
) -> None:
    row, column = TURN[:, 0], TURN[:, 1]
    normal = np.cross(row, column)
    for k in (3, 0, 4, 1, 2):
        origin = list(np.round(k * 3.0 * normal, 6))
        orientation = list(np.round([*row, *column], 8))
        write_slice(
            tmp_path / f"{(k * 3) % 5}", stack[k], k, ImagePositionPatient=origin, ImageOrientationPatient=orientation
        )
    v = read_volume(tmp_path)
    assert np.array_equal(v.voxels, stack - 1024)
    assert v.normal_lps == pytest.approx(normal, abs=1e-6)
    assert np.diff(v.positions_mm) == pytest.approx(3.0, abs=1e-4)


def test_tilt_and_uneven_steps_stay_as_they_were_acquired(tmp_path: Path, stack: Stack, write_slice: Any) -> None:
    heights = [0.0, 4.0, 8.0, 9.0, 16.0]
    tilted = [1, 0, 0, 0, 0.9483237, 0.3173047]
    for k, z in enumerate(heights):
        write_slice(tmp_path / str(k), stack[k], k, ImagePositionPatient=[-10, -20, z], ImageOrientationPatient=tilted)
    v = read_volume(tmp_path)
    assert v.slice_origins_lps[:, 2] == pytest.approx(heights)
    assert v.slice_origins_lps[:, :2] == pytest.approx(np.array([[-10, -20]] * 5))
    assert "sheared by 18.5 degrees" in v.irregularity
    assert "uneven slice steps" in v.irregularity


def test_every_slice_is_rescaled_by_its_own_slope_and_intercept(tmp_path: Path, stack: Stack, write_slice: Any) -> None:
    scales = [(1, 0), (2, -1000), (3, 5), (1, -1024), (-2, 7)]
    for k, (slope, intercept) in enumerate(scales):
        write_slice(tmp_path / str(k), stack[k], k, RescaleSlope=slope, RescaleIntercept=intercept)
    expected = np.stack([plane * slope + intercept for plane, (slope, intercept) in zip(stack, scales, strict=True)])
    v = read_volume(tmp_path)
    assert v.voxels.dtype == np.int16
    assert np.array_equal(v.voxels, expected)


@pytest.mark.parametrize(("slope", "intercept"), [(0.5, 0), (1, -1024.5), (100, 0)])
def test_values_that_int16_cannot_hold_become_float32(
    tmp_path: Path, stack: Stack, write_slice: Any, slope: float, intercept: float
) -> None:
    write_slice(tmp_path / "a", stack[0], 0)
    write_slice(tmp_path / "b", stack[1], 1, RescaleSlope=slope, RescaleIntercept=intercept)
    v = read_volume(tmp_path)
    assert v.voxels.dtype == np.float32
    assert np.array_equal(v.voxels[0], stack[0] - 1024)
    assert np.array_equal(v.voxels[1], (stack[1].astype(float) * slope + intercept).astype(np.float32))


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int16, np.int32])
@pytest.mark.parametrize("inverted", [False, True])
def test_every_pixel_format_gives_the_same_values_as_pydicom(
    tmp_path: Path, write_slice: Any, kind: type[Any], inverted: bool
) -> None:
    info = np.iinfo(kind)
    stored = np.array([[info.min, info.max, 0], [1, 100, 7]], kind)
    photometric = "MONOCHROME1" if inverted else "MONOCHROME2"
    write_slice(tmp_path / "a.dcm", stored, Modality="MR", PhotometricInterpretation=photometric, RescaleIntercept=-3)
    expected = pydicom.dcmread(tmp_path / "a.dcm").pixel_array.astype(np.float64)
    if inverted:
        expected = float(info.min) + float(info.max) - expected
    voxels = read_volume(tmp_path / "a.dcm").voxels[0]
    assert np.array_equal(voxels, (expected - 3).astype(voxels.dtype))


def test_bits_above_the_stored_ones_are_not_voxels(tmp_path: Path, write_slice: Any) -> None:
    unsigned = np.array([[0x0123, 0xF123, 0x0FFF]], np.uint16)
    write_slice(tmp_path / "u", unsigned, BitsStored=12, HighBit=11, RescaleIntercept=0)
    assert read_volume(tmp_path / "u").voxels.tolist() == [[[0x123, 0x123, 0xFFF]]]
    signed = np.array([[0x0FFF, 0x0001, 0x0800]], np.int16)
    write_slice(tmp_path / "s", signed, BitsStored=12, HighBit=11, RescaleIntercept=0)
    assert read_volume(tmp_path / "s").voxels.tolist() == [[[-1, 1, -2048]]]


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_every_uncompressed_transfer_syntax_gives_the_same_volume(
    tmp_path: Path, ct_folder: Path, stack: Stack, syntax: str
) -> None:
    for path in ct_folder.iterdir():
        data = pydicom.dcmread(path)
        stored = data.pixel_array
        data.file_meta.TransferSyntaxUID = syntax
        data.PixelData = stored.astype(">i2" if syntax == ExplicitVRBigEndian else "<i2").tobytes()
        pydicom.dcmwrite(
            path,
            data,
            implicit_vr=syntax == ImplicitVRLittleEndian,
            little_endian=syntax != ExplicitVRBigEndian,
            force_encoding=True,
        )
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == syntax
    v = read_volume(ct_folder)
    assert np.array_equal(v.voxels, stack - 1024)
    assert v.source.description == "Head"


@pytest.mark.parametrize("meta", [False, True])
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_slices_without_preamble_are_read(ct_folder: Path, stack: Stack, syntax: pydicom.uid.UID, meta: bool) -> None:
    for path in list(ct_folder.iterdir())[:: 2 if meta else 1]:
        data = pydicom.dcmread(path)
        data.PixelData = data.pixel_array.astype(">i2" if syntax == ExplicitVRBigEndian else "<i2").tobytes()
        data.file_meta.TransferSyntaxUID = syntax
        implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
        pydicom.dcmwrite(path, data, implicit_vr=implicit, little_endian=little, force_encoding=True)
        whole = path.read_bytes()
        bare = path.with_suffix("")
        path.rename(bare)
        data_set = whole.index(b"\x08\x00\x16\x00" if little else b"\x00\x08\x00\x16")
        bare.write_bytes(whole[132 if meta else data_set :])
    assert np.array_equal(read_volume(ct_folder).voxels, stack - 1024)
    assert read_volume(bare).voxels.shape == (1, 48, 40)


def test_deflated_slices_without_preamble_are_read(tmp_path: Path, stack: Stack, write_slice: Any) -> None:
    data = write_slice(tmp_path / "x", stack[0])
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    pydicom.dcmwrite(tmp_path / "x", data)
    (tmp_path / "x").write_bytes((tmp_path / "x").read_bytes()[132:])
    assert np.array_equal(read_volume(tmp_path).voxels[0], stack[0] - 1024)


def test_files_that_begin_much_like_dicom_are_passed_over(ct_folder: Path) -> None:
    (ct_folder / "a.raw").write_bytes(np.array([8, 5, 8, 0] * 100, "<i2").tobytes())
    (ct_folder / "b.raw").write_bytes(np.full(100, 8, "<i2").tobytes())
    (ct_folder / "c.raw").write_bytes(np.arange(2, 1000, dtype="<i2").tobytes())
    (ct_folder / "d.raw").write_bytes(np.arange(8, 1000, dtype=">i2").tobytes())
    assert read_volume(ct_folder).voxels.shape == (5, 48, 40)


def _compress(path: Path, compressor: str) -> None:
    """Recodes a slice's voxels through GDCM, keeping the rest of its header."""
    data = pydicom.dcmread(path)
    if compressor == "RLE":
        data.compress(RLELossless, generate_instance_uid=False)
        data.save_as(path)
        return
    image = SimpleITK.GetImageFromArray(data.pixel_array[None])
    image.SetMetaData("0008|0060", "OT")
    writer = SimpleITK.ImageFileWriter()
    writer.SetFileName(str(path))
    writer.SetUseCompression(True)
    writer.SetCompressor(compressor)
    writer.Execute(image)
    coded = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = coded.file_meta.TransferSyntaxUID
    data.PixelData = coded.PixelData
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    data.save_as(path)


@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000", "RLE"])
@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
def test_compressed_slices_keep_hu_whatever_the_decoder_does_with_the_header(
    ct_folder: Path, stack: Stack, compressor: str, photometric: str
) -> None:
    for path in ct_folder.iterdir():
        data = pydicom.dcmread(path)
        data.PhotometricInterpretation = photometric
        data.save_as(path)
        _compress(path, compressor)
    v = read_volume(ct_folder)
    assert np.array_equal(v.voxels, stack - 1024)
    assert [note.split(":")[0] for note in v.source.notes] == (["MONOCHROME1"] if photometric == "MONOCHROME1" else [])


def test_headers_that_only_pydicom_can_walk_read_alike(ct_folder: Path, stack: Stack) -> None:
    for path, oddity in zip(
        sorted(ct_folder.iterdir()), ("sequence", "large", "neither", "sequence", "large"), strict=True
    ):
        data = pydicom.dcmread(path)
        if oddity == "sequence":
            data.ReferencedImageSequence = [pydicom.Dataset()]
            data["ReferencedImageSequence"].is_undefined_length = True
            data.ReferencedImageSequence[0].ReferencedSOPInstanceUID = "1.2.3"
        if oddity == "large":
            data.private_block(0x0009, "TEST", create=True).add_new(1, "OB", bytes(100_000))
        data.save_as(path)
    v = read_volume(ct_folder)
    assert np.array_equal(v.voxels, stack - 1024)
    assert v.source.sop_instance_uids == tuple(f"1.2.3.4.{k}" for k in range(1, 6))


def test_no_scratch_file_stays_behind(ct_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    for path in ct_folder.iterdir():
        _compress(path, "JPEG")
    read_volume(ct_folder)
    assert not list(scratch.iterdir())


def test_monochrome1_is_inverted_once_outside_ct(tmp_path: Path, write_slice: Any) -> None:
    stored = np.array([[0, 100, 4095]], np.uint16)
    twelve_bits = {"BitsStored": 12, "HighBit": 11, "RescaleSlope": None, "RescaleIntercept": None}
    write_slice(tmp_path / "x.dcm", stored, Modality="DX", PhotometricInterpretation="MONOCHROME1", **twelve_bits)
    v = read_volume(tmp_path / "x.dcm")
    assert v.voxels.tolist() == [[[4095, 3995, 0]]]
    assert v.source.notes[0].startswith("MONOCHROME1_INVERTED: ")


def test_inverted_values_are_kept_in_the_type_that_holds_them(tmp_path: Path, write_slice: Any) -> None:
    inverted = {"Modality": "DX", "PhotometricInterpretation": "MONOCHROME1", "RescaleIntercept": 0}
    for stored, kind in (([65000, 65535], np.int16), ([0, 100], np.float32)):
        write_slice(tmp_path / "x.dcm", np.array([stored], np.uint16), **inverted)
        v = read_volume(tmp_path / "x.dcm")
        assert v.voxels.dtype == kind
        assert v.voxels.tolist() == [[[65535 - n for n in stored]]]


def test_ct_without_rescale_tags_is_not_called_hu(tmp_path: Path, stack: Stack, write_slice: Any) -> None:
    write_slice(tmp_path / "a", stack[0], RescaleSlope=None, RescaleIntercept=None)
    v = read_volume(tmp_path / "a")
    assert v.units == "arbitrary"
    assert v.source.notes[0].startswith("CT_WITHOUT_RESCALE: ")
    assert np.array_equal(v.voxels[0], stack[0])


def test_ct_of_another_rescale_type_is_not_called_hu(tmp_path: Path, stack: Stack, write_slice: Any) -> None:
    write_slice(tmp_path / "a", stack[0], RescaleType="MGML")
    v = read_volume(tmp_path / "a")
    assert v.units == "arbitrary"
    assert v.source.notes[0].startswith("CT_NOT_HU: ")


def test_copies_of_a_slice_are_left_out_with_a_note(ct_folder: Path, stack: Stack) -> None:
    shutil.copy(ct_folder / "a.dcm", ct_folder / "a copy.dcm")
    v = read_volume(ct_folder)
    assert np.array_equal(v.voxels, stack - 1024)
    (note,) = v.source.notes
    assert note.startswith("DUPLICATE_INSTANCE: ")


def test_a_single_image_without_position_is_one_slice_with_notes(
    tmp_path: Path, stack: Stack, write_slice: Any
) -> None:
    nowhere = {"ImagePositionPatient": None, "ImageOrientationPatient": None, "PixelSpacing": None, "Modality": "CR"}
    for folder, extra, spacing in (("a", {}, (1.0, 1.0)), ("b", {"ImagerPixelSpacing": [0.2, 0.1]}, (0.1, 0.2))):
        write_slice(tmp_path / folder / "x.dcm", stack[0], **nowhere, **extra)
        for place in (tmp_path / folder, tmp_path / folder / "x.dcm"):
            v = read_volume(place)
            assert v.voxels.shape == (1, 48, 40)
            assert v.spacing_mm == spacing
            assert [note.split(":")[0] for note in v.source.notes] == ["NO_POSITION", "PIXEL_SPACING"]


def test_loss_and_localisers_are_noted(tmp_path: Path, stack: Stack, write_slice: Any) -> None:
    write_slice(tmp_path / "a", stack[0], LossyImageCompression="01", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    notes = read_volume(tmp_path / "a").source.notes
    assert [note.split(":")[0] for note in notes] == ["LOSSY_COMPRESSION", "LOCALISER"]


def test_series_are_listed_and_chosen_by_uid(ct_folder: Path, stack: Stack, write_slice: Any) -> None:
    write_slice(
        ct_folder / "z.dcm",
        stack[0] + 1,
        SeriesInstanceUID="9.9",
        SOPInstanceUID="9.9.1",
        Modality="MR",
        SpecificCharacterSet="ISO_IR 192",
        SeriesDescription="头部",
    )
    assert list_series(ct_folder) == (
        SeriesSummary("1.2.3.4", "CT", "Head", 5),
        SeriesSummary("9.9", "MR", "头部", 1),
    )
    assert np.array_equal(read_volume(ct_folder, series="9.9").voxels[0], stack[0] + 1 - 1024)
    assert read_volume(ct_folder, series="1.2.3.4").voxels.shape == (5, 48, 40)


def test_paths_in_other_scripts_are_read(ct_folder: Path, stack: Stack) -> None:
    elsewhere = ct_folder.rename(ct_folder.with_name("头 CT é"))
    assert np.array_equal(read_volume(str(elsewhere)).voxels, stack - 1024)


# --- one-file formats, against independent readers


def lps_matrix(v: Any) -> NDArray[np.float64]:
    assert v.ijk_to_lps is not None, v.irregularity
    return np.asarray(v.ijk_to_lps)


def sitk_matrix(image: SimpleITK.Image) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    return matrix


@pytest.fixture
def oblique(stack: Stack) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(stack)
    image.SetDirection(TURN.ravel() * np.sign(np.linalg.det(TURN)))
    image.SetSpacing((0.5, 0.8, 2.5))
    image.SetOrigin((10, -20, 30))
    return image


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"])
def test_what_simpleitk_wrote_is_read_alike(
    tmp_path: Path, oblique: SimpleITK.Image, stack: Stack, ending: str, compressed: bool
) -> None:
    path = tmp_path / f"image{ending}"
    SimpleITK.WriteImage(oblique, str(path), useCompression=compressed)
    v = read_volume(path)
    assert v.voxels.dtype == np.int16
    assert np.array_equal(v.voxels, stack)
    assert lps_matrix(v) == pytest.approx(sitk_matrix(oblique), abs=1e-4)
    assert (v.modality, v.units, v.source.path) == ("", "arbitrary", path.name)
    assert v.source.notes == ()


@pytest.mark.parametrize("ending", [".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("kind", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64", "int64"])
def test_every_voxel_type_keeps_its_values(tmp_path: Path, stack: Stack, ending: str, kind: str) -> None:
    values = (stack % 100).astype(kind)
    if kind == "uint16":
        values[0, 0, 0] = 65535
    path = tmp_path / f"image{ending}"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), str(path))
    v = read_volume(path)
    assert v.voxels.dtype == (np.float32 if kind in ("uint16", "float32", "float64") else np.int16)
    assert np.array_equal(v.voxels, values)


@pytest.mark.parametrize("version", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("form", ["sform", "qform"])
@pytest.mark.parametrize("flip", [1, -1])
def test_both_nifti_versions_and_forms_agree_with_nibabel(
    tmp_path: Path, stack: Stack, version: type[Any], form: str, flip: int
) -> None:
    ras = np.eye(4)
    ras[:3, :3] = TURN * np.array([0.5, 0.8, 2.5 * flip])
    ras[:3, 3] = [10, -20, 30]
    image = version(stack.T, None)
    image.set_sform(ras, code=int(form == "sform"))
    image.set_qform(ras, code=int(form == "qform"))
    nibabel.save(image, tmp_path / "image.nii.gz")
    v = read_volume(tmp_path / "image.nii.gz")
    assert lps_matrix(v) == pytest.approx(np.diag([-1, -1, 1, 1]) @ image.affine, abs=1e-4)
    assert np.array_equal(v.voxels, stack)


@pytest.mark.parametrize("slope", [0.0, np.nan])
def test_nifti_without_scaling_keeps_its_values(tmp_path: Path, stack: Stack, slope: float) -> None:
    nibabel.save(nibabel.Nifti1Image(stack.T, np.eye(4)), tmp_path / "image.nii")
    data = bytearray((tmp_path / "image.nii").read_bytes())
    struct.pack_into("<2f", data, 112, slope, 7.0)
    (tmp_path / "image.nii").write_bytes(data)
    assert np.array_equal(read_volume(tmp_path / "image.nii").voxels, stack)


def test_nifti_scaling_is_applied(tmp_path: Path, stack: Stack) -> None:
    image = nibabel.Nifti1Image(stack.T, np.eye(4))
    for slope, intercept, kind in ((1, -1024, np.int16), (0.5, 3, np.float32)):
        image.header.set_slope_inter(slope, intercept)
        image.to_filename(tmp_path / "image.nii")
        scaled = nibabel.Nifti1Image.from_filename(tmp_path / "image.nii")
        v = read_volume(tmp_path / "image.nii")
        assert v.voxels.dtype == kind
        assert np.allclose(v.voxels, scaled.get_fdata().T, atol=1e-3)


def test_big_endian_nifti_is_read(tmp_path: Path, stack: Stack) -> None:
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    nibabel.save(nibabel.Nifti1Image(stack.T.astype(">i2"), np.eye(4), header), tmp_path / "image.nii")
    assert (tmp_path / "image.nii").read_bytes()[:4] == b"\0\0\1\x5c"
    assert np.array_equal(read_volume(tmp_path / "image.nii").voxels, stack)


def test_nifti_in_metres_becomes_millimetres(tmp_path: Path, stack: Stack) -> None:
    image = nibabel.Nifti1Image(stack.T, np.diag([0.002, 0.002, 0.004, 1]))
    image.header.set_xyzt_units("meter")
    nibabel.save(image, tmp_path / "image.nii")
    v = read_volume(tmp_path / "image.nii")
    assert v.spacing_mm == pytest.approx((2, 2))
    assert v.slice_thickness_mm == pytest.approx(4)


def test_nifti_without_orientation_is_noted(tmp_path: Path, stack: Stack) -> None:
    image = nibabel.Nifti1Image(stack.T, np.diag([2, 2, 4, 1]))
    image.set_sform(None, code=0)
    image.set_qform(None, code=0)
    nibabel.save(image, tmp_path / "image.nii")
    v = read_volume(tmp_path / "image.nii")
    assert v.source.notes[0].startswith("ORIENTATION_UNKNOWN: ")
    assert v.spacing_mm == pytest.approx((2, 2))


def test_further_axes_of_size_one_are_dropped(tmp_path: Path, stack: Stack) -> None:
    nibabel.save(nibabel.Nifti1Image(stack.T[..., None, None], np.eye(4)), tmp_path / "image.nii")
    assert np.array_equal(read_volume(tmp_path / "image.nii").voxels, stack)


@pytest.mark.parametrize("ending", [".nii", ".nrrd"])
def test_sheared_slices_lie_where_the_matrix_puts_them(tmp_path: Path, stack: Stack, ending: str) -> None:
    path = tmp_path / f"image{ending}"
    if ending == ".nii":
        ras = np.diag([-1.0, -1.0, 2.0, 1.0])
        ras[1, 2] = -1.0
        nibabel.save(nibabel.Nifti1Image(stack.T, ras), path)
    else:
        path.write_bytes(nrrd_bytes(stack, directions="(1,0,0) (0,1,0) (0,1,2)"))
    v = read_volume(path)
    assert v.slice_origins_lps == pytest.approx(np.array([[0, k, 2 * k] for k in range(5)]))
    assert "sheared by 26.6 degrees" in v.irregularity
    assert v.ijk_to_lps is None


def nrrd_bytes(voxels: NDArray[Any], directions: str, extra: str = "", **fields: str) -> bytes:
    """An attached raw NRRD of int16; `fields` replace or add header lines."""
    lines = {
        "type": "short",
        "dimension": str(voxels.ndim),
        "space": "left-posterior-superior",
        "sizes": " ".join(str(n) for n in voxels.shape[::-1]),
        "space directions": directions,
        "endian": "little",
        "encoding": "raw",
        "space origin": "(0,0,0)",
    } | fields
    header = "NRRD0004\n# made by a test\n" + "".join(f"{k}: {v}\n" for k, v in lines.items()) + extra + "\n"
    return header.encode() + voxels.astype("<i2").tobytes()


def test_nrrd_in_ras_becomes_lps(tmp_path: Path, stack: Stack) -> None:
    data = nrrd_bytes(stack, "(1,0,0) (0,2,0) (0,0,3)", space="RAS", **{"space origin": "(1,2,3)"})
    (tmp_path / "image.nrrd").write_bytes(data)
    matrix = lps_matrix(read_volume(tmp_path / "image.nrrd"))
    assert matrix[:3, :3] == pytest.approx(np.diag([-1, -2, 3]))
    assert matrix[:3, 3] == pytest.approx([-1, -2, 3])


def test_nrrd_states_modality_only_when_it_says_so(tmp_path: Path, stack: Stack) -> None:
    directions = "(1,0,0) (0,1,0) (0,0,1)"
    cases = {
        "": ("", "arbitrary"),
        "modality:=CT\n": ("CT", "arbitrary"),
        "0008|0060:=MR\n": ("MR", "arbitrary"),
        "modality:=CT\nunits:=HU\n": ("CT", "HU"),
        "modality:=nonsense\n": ("", "arbitrary"),
    }
    for extra, expected in cases.items():
        (tmp_path / "image.nrrd").write_bytes(nrrd_bytes(stack, directions, extra))
        v = read_volume(tmp_path / "image.nrrd")
        assert (v.modality, v.units) == expected


def test_gzip_of_several_members_is_read_whole(tmp_path: Path, stack: Stack) -> None:
    nibabel.save(nibabel.Nifti1Image(stack.T, np.eye(4)), tmp_path / "image.nii")
    data = (tmp_path / "image.nii").read_bytes()
    (tmp_path / "image.nii.gz").write_bytes(gzip.compress(data[:400]) + gzip.compress(data[400:]))
    assert np.array_equal(read_volume(tmp_path / "image.nii.gz").voxels, stack)


@pytest.mark.parametrize("garbage", [b"garbage" * 1000, bytes(512), b"\x1f\x8b"])
def test_what_lies_behind_all_voxels_of_a_gzip_is_passed_over(tmp_path: Path, stack: Stack, garbage: bytes) -> None:
    nibabel.save(nibabel.Nifti1Image(stack.T, np.eye(4)), tmp_path / "image.nii")
    packed = gzip.compress((tmp_path / "image.nii").read_bytes())
    (tmp_path / "image.nii.gz").write_bytes(packed + garbage)
    assert np.array_equal(read_volume(tmp_path / "image.nii.gz").voxels, stack)


@pytest.mark.parametrize("wbits", [15, 31])
def test_inflating_in_pieces_gives_the_same_bytes_and_sees_every_checksum(wbits: int) -> None:
    noise = np.random.default_rng(0).bytes(4096 * 3)
    for size in range(4096 * 2 - 40, 4096 * 2, 3):  # the checksum lies across the border of two pieces, or on it
        coder = zlib.compressobj(wbits=wbits)
        packed = coder.compress(noise[:size]) + coder.flush()
        assert inflated(packed, size, Path("x")) == noise[:size]
        assert inflated(packed, 544, Path("x")) == noise[:544]
        assert inflated(packed[:-30], size, Path("x")) == noise[: size - 30 + (4 if wbits == 15 else 8)]
        with pytest.raises(Refusal):
            inflated(packed[:-5] + bytes([packed[-5] ^ 1]) + packed[-4:], size, Path("x"))


@pytest.mark.parametrize("mode", ["L", "I;16", "RGB", "RGBA", "LA", "P", "1"])
def test_grey_png_in_any_mode_is_one_slice_of_millimetre_pixels(tmp_path: Path, mode: str) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (6, 7)).astype(np.uint8)
    expected: NDArray[Any] = grey
    picture = Image.fromarray(grey)
    if mode == "I;16":
        expected = grey.astype(np.uint16) * 100
        picture = Image.fromarray(expected)
    elif mode == "1":
        expected = np.where(grey > 127, 255, 0)
        picture = Image.fromarray(expected.astype(np.uint8)).convert("1")
    elif mode != "L":
        picture = picture.convert("RGB").convert(mode) if mode != "LA" else picture.convert(mode)
    if mode == "P":
        expected = np.asarray(picture.convert("RGB"))[..., 0]
    picture.save(tmp_path / "image.png")
    v = read_volume(tmp_path / "image.png")
    assert v.voxels.dtype == np.int16
    assert np.array_equal(v.voxels, expected[None])
    assert (v.spacing_mm, v.modality, v.units) == ((1.0, 1.0), "", "arbitrary")
    assert v.ijk_to_lps == pytest.approx(np.eye(4))


@pytest.mark.parametrize("ending", [".jpg", ".JPEG"])
def test_jpeg_is_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"image{ending}"
    Image.fromarray(np.full((6, 7), 99, np.uint8)).convert("RGB").save(path, format="JPEG")
    assert read_volume(path).voxels.tolist() == np.full((1, 6, 7), 99).tolist()


# --- real data


def test_a_real_tilted_head_ct_keeps_its_uneven_slices(real_dicom: Path) -> None:
    folder = real_dicom / "ct_head_ge_tilt"
    v = read_volume(folder)
    assert (v.voxels.shape, v.voxels.dtype, v.units) == ((28, 512, 512), np.int16, "HU")
    assert np.diff(v.positions_mm).round(2).tolist() == [4.0] * 13 + [1.08] + [7.0] * 13
    assert "sheared by 18.5 degrees" in v.irregularity
    data = sorted((pydicom.dcmread(p) for p in folder.iterdir()), key=lambda d: float(d.ImagePositionPatient[2]))
    hu = np.stack([d.pixel_array * d.RescaleSlope + d.RescaleIntercept for d in data])
    assert np.array_equal(v.voxels, hu)
    assert v.source.sop_instance_uids == tuple(d.SOPInstanceUID for d in data)


def test_nine_real_encodings_in_seven_transfer_syntaxes_give_the_same_voxels(real_dicom: Path) -> None:
    files = sorted((real_dicom / "transfer_syntaxes_mr").glob("*.dcm"))
    assert len(files) == 9
    assert len({pydicom.dcmread(p, stop_before_pixels=True).file_meta.TransferSyntaxUID for p in files}) == 7
    volumes = [read_volume(p) for p in files]
    expected = pydicom.dcmread(files[0]).pixel_array
    for v in volumes:
        assert np.array_equal(v.voxels[0], expected)
        assert v.spacing_mm == volumes[0].spacing_mm


@pytest.mark.parametrize("name", ["brain1_image.nrrd", "breast1_image.nrrd"])
def test_real_nrrd_volumes_are_read_as_simpleitk_reads_them(real_dicom: Path, name: str) -> None:
    image = SimpleITK.ReadImage(str(real_dicom / "nrrd" / name))
    v = read_volume(real_dicom / "nrrd" / name)
    assert np.array_equal(v.voxels, SimpleITK.GetArrayFromImage(image))
    assert lps_matrix(v) == pytest.approx(sitk_matrix(image), abs=1e-4)
