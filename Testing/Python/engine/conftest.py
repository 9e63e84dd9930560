"""What the engine's tests share: DICOM slices made on the spot, and the real volumes where they are at hand."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

SHARED_DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


class WriteSlice(Protocol):
    """Writes one CT slice and returns its data set; keywords replace attributes, None removes them."""

    def __call__(self, path: Path, stored: NDArray[Any], k: int = 0, **changes: Any) -> Dataset: ...


def make_slice(stored: NDArray[Any], k: int = 0, **changes: Any) -> FileDataset:
    """A CT slice of stored values [J, I] (slope 1, intercept -1024), `k` steps of 2.5 mm up the z axis."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"1.2.3.4.{k + 1}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    bits = stored.dtype.itemsize * 8
    attributes: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": f"1.2.3.4.{k + 1}",
        "Modality": "CT",
        "PatientName": "Canary^Patient",
        "PatientID": "CANARY-ID",
        "SeriesDescription": "Head",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.4",
        "FrameOfReferenceUID": "1.2.3.5",
        "InstanceNumber": k + 1,
        "ImagePositionPatient": [-10.0, -20.0, 2.5 * k],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [0.8, 0.5],
        "SliceThickness": 2.5,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(stored.dtype.kind == "i"),
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "PixelData": stored.tobytes(),
    }
    for name, value in (attributes | changes).items():
        if value is not None:
            setattr(data, name, value)
    data["PixelData"].VR = "OW"
    return data


@pytest.fixture
def write_slice() -> WriteSlice:
    def write(path: Path, stored: NDArray[Any], k: int = 0, **changes: Any) -> Dataset:
        path.parent.mkdir(parents=True, exist_ok=True)
        data = make_slice(stored, k, **changes)
        pydicom.dcmwrite(path, data)
        return data

    return write


@pytest.fixture
def stack() -> NDArray[np.int16]:
    """Stored values [5, 48, 40] in 0..2000, no two slices alike (GDCM's encoder crashes on much smaller ones)."""
    return np.random.default_rng(5).integers(0, 2000, (5, 48, 40)).astype(np.int16)


@pytest.fixture
def ct_folder(tmp_path: Path, stack: NDArray[np.int16], write_slice: WriteSlice) -> Path:
    """A CT series of five slices whose file names are not in slice order."""
    for k, name in enumerate(("c", "a", "e", "b", "d")):
        write_slice(tmp_path / "ct" / f"{name}.dcm", stack[k], k)
    return tmp_path / "ct"


@pytest.fixture(scope="session")
def real_dicom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with ct_head_ge_tilt/, transfer_syntaxes_mr/, nrrd/ ...; skips where the archive is not at hand."""
    archive = SHARED_DATA / "dicom_nrrd_real.zip"
    if not archive.is_file():
        pytest.skip(f"real data are not at hand ({archive.name} in ../shared/data)")
    folder = tmp_path_factory.mktemp("real")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    return folder
