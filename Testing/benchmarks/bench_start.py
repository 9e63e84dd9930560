"""The first answer: from the start of `medimg classify` to its table and to all files; 28 slices, the shipped bundle.

Each measurement is a process of its own, with the files in the disk cache. One of each way is not counted.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import networks_for_timing as timed
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from timing import ROUNDS, Row, ratio, show

RUNTIMES = ("auto", "onnxruntime", "openvino", "torch")


def write_series(folder: Path) -> Path:
    """28 slices of 512 x 512 as a DICOM series."""
    folder.mkdir()
    volume = timed.synthetic_ct(28)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for k, pixels in enumerate(volume.voxels):
        made = Dataset()
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = CTImageStorage
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = generate_uid()
        made.StudyInstanceUID, made.SeriesInstanceUID, made.FrameOfReferenceUID = study, series, frame
        made.Modality, made.InstanceNumber, made.PatientID, made.PatientName = "CT", k + 1, "none", "none"
        made.ImagePositionPatient, made.ImageOrientationPatient = [0, 0, 5.0 * k], [1, 0, 0, 0, 1, 0]
        made.PixelSpacing, made.SliceThickness, made.RescaleSlope, made.RescaleIntercept = [0.7, 0.7], 5, 1, 0
        made.Rows = made.Columns = 512
        made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 1
        made.BitsAllocated = made.BitsStored = 16
        made.HighBit = 15
        made.PixelData = pixels.astype("<i2").tobytes()
        pydicom.dcmwrite(folder / f"{k}.dcm", made, enforce_file_format=True)
    return folder


def seconds(series: Path, out: Path, runtime: str) -> tuple[float, float]:
    """Until the table is there, and until the process has ended."""
    command = [sys.executable, "-m", "MedImgClassifierLib.cli", "classify", series, "--bundle", "body-region"]
    start = time.perf_counter()
    with subprocess.Popen([*command, "--runtime", runtime, "--out", out], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        run.stdout.readline()
        first = time.perf_counter() - start
        run.stdout.read()
    assert run.returncode == 0
    return first, time.perf_counter() - start


def run() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="medimg-bench-") as scratch:
        series = write_series(Path(scratch, "series"))
        taken: dict[str, list[tuple[float, float]]] = {runtime: [] for runtime in RUNTIMES}
        for counted in range(ROUNDS + 1):
            for runtime in RUNTIMES:
                found = seconds(series, Path(scratch, "out"), runtime)
                if counted:
                    taken[runtime].append(found)
    first = {runtime: [found[0] for found in rounds] for runtime, rounds in taken.items()}
    rows: list[Row] = [
        (f"process start to table, {runtime}", "s", float(np.median(first[runtime])), "goal at most 2.0")
        for runtime in RUNTIMES
    ]
    for runtime in RUNTIMES[:-1]:
        rows.append(
            (f"process start to table, torch against {runtime}", "x", ratio(first["torch"], first[runtime]), "goal 4")
        )
    last = float(np.median([found[1] for found in taken["auto"]]))
    rows.append(
        ("process start to all files written, auto", "s", last, "with scene.mrb where slicer-core is installed")
    )
    return rows


if __name__ == "__main__":
    show("Cold start, 28 slices, body-region", run())
