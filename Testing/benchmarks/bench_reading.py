"""Reading a DICOM series against pydicom's per-file loop (dcmread, pixel_array, rescale, sort, stack), equal voxels.

The series are made here and lie in the page cache. Variants alternate in one process; a ratio is the median of the
ratios of the rounds. The loop decodes with whatever decoders pydicom finds (the `test` extra brings pylibjpeg's).
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRLittleEndian
from timing import Row, alternate, ratio, show

from MedImgClassifierLib.engine.reading import read_volume

ROUNDS = 7
ROWS = COLUMNS = 512
SPACING_MM, STEP_MM = 0.7, 1.25
# name, slices, GDCM's name of the compression, goal as a ratio
SERIES = (
    ("uncompressed", 100, "", 2.2),
    ("JPEG lossless", 30, "JPEG", 4.0),
    ("JPEG 2000", 30, "JPEG2000", 1.7),
)


def run() -> list[Row]:
    """Rows (what, unit, value, remark) of the table that `make bench` prints."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="medimg-bench-") as scratch:
        for name, count, compressor, goal in SERIES:
            folder = Path(scratch, name.replace(" ", "_"))
            write_series(folder, count, compressor)
            rows += _compare(name, folder, count, goal)
    return rows


def write_series(folder: Path, count: int, compressor: str) -> None:
    """A synthetic head-like CT of `count` slices in a file order that is not the slice order."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    y, x = np.mgrid[-1 : 1 : ROWS * 1j, -1 : 1 : COLUMNS * 1j]
    series_uid = pydicom.uid.generate_uid()
    for n, k in enumerate(rng.permutation(count)):
        inside = x**2 + (1.2 * y) ** 2 < 0.6 + 0.2 * np.sin(3 * k / count)
        hu = np.where(inside, 40 + 300 * (x**2 + y**2 > 0.5), -1000) + np.where(inside, 12, 4) * rng.normal(
            size=x.shape
        )
        hu[x**2 + y**2 > 1] = -1024  # scanners pad what lies outside the circle they reconstruct
        image = SimpleITK.GetImageFromArray(hu.astype(np.int16)[None])
        # GDCM stores HU + 1024 when told of the rescale
        for tag, value in (("0008|0060", "CT"), ("0028|1052", "-1024"), ("0028|1053", "1")):
            image.SetMetaData(tag, value)
        path = folder / f"{n:04}.dcm"
        writer = SimpleITK.ImageFileWriter()
        writer.SetFileName(str(path))
        if compressor:
            writer.SetUseCompression(True)
            writer.SetCompressor(compressor)
        writer.Execute(image)
        _describe(path, int(k), series_uid, bool(compressor))


def _describe(path: Path, k: int, series_uid: str, compressed: bool) -> None:
    """Puts the header of a usual CT slice around the voxels that GDCM wrote."""
    data = pydicom.dcmread(path)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.Manufacturer, data.ManufacturerModelName, data.StudyDescription = "Synthetic", "Bench", "Head"
    data.SeriesDescription, data.ProtocolName, data.BodyPartExamined = "Synthetic head", "1.1 Head", "HEAD"
    data.KVP, data.XRayTubeCurrent, data.ExposureTime, data.ConvolutionKernel = "120", "200", "500", "H31s"
    data.SliceThickness, data.GantryDetectorTilt, data.PatientPosition = str(STEP_MM), "0", "HFS"
    data.SeriesInstanceUID, data.InstanceNumber = series_uid, str(k + 1)
    data.FrameOfReferenceUID = "2.25.1"
    data.ImagePositionPatient = [-179.2, -179.2, k * STEP_MM]
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.PixelSpacing = [SPACING_MM, SPACING_MM]
    data.WindowCenter, data.WindowWidth, data.RescaleType = "40", "80", "HU"
    if not compressed:  # GDCM writes the older implicit form
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.save_as(path)


def pydicom_loop(folder: Path) -> NDArray[np.int16]:
    """What a script does today: file by file, then sorted along z and stacked, int16 HU [K, J, I]."""
    slices = []
    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        hu = data.pixel_array.astype(np.int16) * np.int16(data.RescaleSlope) + np.int16(data.RescaleIntercept)
        slices.append((float(data.ImagePositionPatient[2]), hu))
    slices.sort(key=lambda pair: pair[0])
    return np.stack([hu for _, hu in slices])


def read_here(folder: Path) -> NDArray[np.generic]:
    return read_volume(folder).voxels


def _compare(name: str, folder: Path, count: int, goal: float) -> list[Row]:
    try:
        expected = pydicom_loop(folder)
    except RuntimeError as error:
        return [(f"DICOM series, {name}", "", float("nan"), f"skipped: pydicom has no decoder ({str(error)[:60]}...)")]
    if not np.array_equal(expected, read_here(folder)):
        raise AssertionError(f"{name}: the two ways read different voxels")
    taken = alternate({"loop": lambda: pydicom_loop(folder), "here": lambda: read_here(folder)}, ROUNDS)
    loop, here = taken["loop"], taken["here"]
    per_slice = 1e3 / count
    remark = (
        f"goal {goal}; {statistics.median(here) * per_slice:.2f} ms a slice against "
        f"{statistics.median(loop) * per_slice:.2f}, {count} slices {ROWS}x{COLUMNS}"
    )
    return [(f"DICOM series, {name}, against pydicom's loop", "x", ratio(loop, here), remark)]


if __name__ == "__main__":
    show("Reading DICOM series, files in page cache", run())
