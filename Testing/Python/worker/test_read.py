"""Reading through the worker process: volumes, the choice of a series, refusals; nothing blocks, nothing stays."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from MedImgClassifierLib.engine import reading as engine_reading
from MedImgClassifierLib.engine.dicom_series import SeriesSummary
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.volume import Volume
from MedImgClassifierLib.worker import intake, parcels, protocol
from MedImgClassifierLib.worker.client import Client, Reading
from MedImgClassifierLib.worker.intake import Found
from MedImgClassifierLib.worker.service import LONGEST_FACT, Service
from MedImgClassifierLib.worker.session import Session

STACK = np.random.default_rng(3).integers(0, 2000, (4, 24, 20)).astype(np.int16)
TILTED = [1, 0, 0, 0, 0.9483237, 0.3173047]
posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@pytest.fixture
def client() -> Iterator[Client]:
    made = Client()
    yield made
    made.close()


@pytest.fixture
def nifti(tmp_path: Path) -> Path:
    nibabel.save(nibabel.Nifti1Image(STACK.T, np.diag([2.0, 3.0, 4.0, 1.0])), tmp_path / "头.nii.gz")
    return tmp_path / "头.nii.gz"


def write_series(folder: Path, uid: str = "1.2.3.4", **changes: Any) -> Path:
    """A CT series of STACK (slope 1, intercept -1024), 2.5 mm from slice to slice; changes: attributes."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, stored in enumerate(STACK):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, f"{uid}.{k + 1}"
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        attributes: dict[str, Any] = {
            "SOPClassUID": CTImageStorage,
            "SOPInstanceUID": f"{uid}.{k + 1}",
            "SeriesInstanceUID": uid,
            "SeriesDescription": "Head",
            "Modality": "CT",
            "PatientName": "Canary^Patient",
            "PatientID": "CANARY",
            "InstanceNumber": k + 1,
            "ImagePositionPatient": [-10.0, -20.0, 2.5 * k],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "PixelSpacing": [0.8, 0.5],
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "Rows": 24,
            "Columns": 20,
            "BitsAllocated": 16,
            "BitsStored": 16,
            "HighBit": 15,
            "PixelRepresentation": 1,
            "RescaleSlope": 1,
            "RescaleIntercept": -1024,
            "PixelData": stored.tobytes(),
        }
        for name, value in (attributes | changes).items():
            setattr(data, name, value)
        data["PixelData"].VR = "OW"
        pydicom.dcmwrite(folder / f"IM{k}", data)
    return folder


@pytest.fixture
def ct(tmp_path: Path) -> Path:
    return write_series(tmp_path / "Doe^Jane" / "CT")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two series in two folders, with the same file names."""
    write_series(tmp_path / "study" / "A")
    write_series(tmp_path / "study" / "B", "9.9", SeriesDescription="Thorax", Modality="MR")
    return tmp_path / "study"


def zipped(folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder) + " 研究", "zip", folder))


def until(reading: Reading, seconds: float = 60) -> list[str]:
    """The stages that it went through."""
    stages, end = [reading.stage], time.monotonic() + seconds
    while not reading.poll():
        stages.append(reading.stage)
        assert time.monotonic() < end, f"still in stage {reading.stage}"
        time.sleep(0.002)
    return list(dict.fromkeys([*stages, reading.stage]))


def found(reading: Reading) -> Found:
    until(reading)
    return reading.result()


def refusal(reading: Reading) -> Refusal:
    until(reading)
    with pytest.raises(Refusal) as refused:
        reading.result()
    return refused.value


def left(client: Client) -> list[str]:
    """What is in the private folder once the worker has had a moment to delete its files."""
    assert client._worker is not None
    end = time.monotonic() + 2
    while list(client._worker.folder.iterdir()) and time.monotonic() < end:
        time.sleep(0.01)
    return [path.name for path in client._worker.folder.rglob("*")]


def same(one: Volume, other: Volume) -> bool:
    facts = ("spacing_mm", "modality", "units", "slice_thickness_mm", "source")
    return one.content_sha256 == other.content_sha256 and all(getattr(one, f) == getattr(other, f) for f in facts)


# --- what is read


def test_a_nifti_is_read_in_the_worker_as_in_this_process(client: Client, nifti: Path) -> None:
    began = time.monotonic()
    reading = client.read(nifti)
    assert time.monotonic() - began < 0.5 and not reading.ended
    stages = until(reading)
    answer = reading.result()
    assert (answer.name, answer.series) == ("头.nii.gz", ())
    assert answer.volume is not None and same(answer.volume, engine_reading.read_volume(nifti))
    order = ["hand over", "start", "unpack", "read"]
    assert stages == [stage for stage in order if stage in stages] and "unpack" not in stages
    assert not answer.volume.voxels.flags.writeable
    assert left(client) == []


def test_a_dicom_folder_is_named_by_its_series_never_by_the_patient(client: Client, ct: Path) -> None:
    answer = found(client.read(ct))
    assert answer.name == "Head" and answer.volume is not None
    assert np.array_equal(answer.volume.voxels, STACK - 1024)
    assert same(answer.volume, engine_reading.read_volume(ct))
    assert "canary" not in repr(answer).lower()
    assert found(client.read(write_series(ct.parent / "T1 本", SeriesDescription=""))).name == "T1 本"
    assert found(client.read(ct / "IM0")).name == "Head"


def test_a_zip_gives_what_its_folder_gives(client: Client, ct: Path) -> None:
    archive = zipped(ct)
    reading = client.read(archive)
    stages = until(reading)
    answer = reading.result()
    assert {"unpack", "read"} & set(stages) and answer.name == "Head" and answer.volume is not None
    there = engine_reading.read_volume(ct)
    assert answer.volume.content_sha256 == there.content_sha256
    assert answer.volume.source.sop_instance_uids == there.source.sop_instance_uids
    assert answer.volume.source.path == archive.name
    assert left(client) == []


def test_a_zip_of_one_image_is_that_image(client: Client, nifti: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.write(nifti, "folder/头.nii.gz")
    answer = found(client.read(tmp_path / "x.zip"))
    assert answer.name == "头.nii.gz" and answer.volume is not None
    assert same(answer.volume, engine_reading.read_volume(nifti))


def test_a_tilted_stack_keeps_its_slice_origins(client: Client, tmp_path: Path) -> None:
    heights = [0.0, 4.0, 8.0, 17.0]
    write_series(tmp_path / "ct", ImageOrientationPatient=TILTED)
    for k, z in enumerate(heights):
        data = pydicom.dcmread(tmp_path / "ct" / f"IM{k}")
        data.ImagePositionPatient = [-10, -20, z]
        data.save_as(tmp_path / "ct" / f"IM{k}")
    volume = found(client.read(zipped(tmp_path / "ct"))).volume
    assert volume is not None
    assert volume.slice_origins_lps.tolist() == [[-10.0, -20.0, z] for z in heights]
    assert "sheared by 18.5 degrees" in volume.irregularity and "uneven" in volume.irregularity
    assert volume.ijk_to_lps is None


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_several_series_are_listed_and_one_is_read_by_its_uid(client: Client, study: Path, kind: str) -> None:
    source = study if kind == "folder" else zipped(study)
    answer = found(client.read(source))
    assert answer.volume is None and answer.name == source.name
    assert answer.series == (SeriesSummary("1.2.3.4", "CT", "Head", 4), SeriesSummary("9.9", "MR", "Thorax", 4))
    assert left(client) == []
    chosen = found(client.read(source, "9.9"))
    assert chosen.volume is not None and (chosen.name, chosen.series) == ("Thorax", ())
    assert (chosen.volume.source.series_uid, chosen.volume.modality) == ("9.9", "MR")
    refused = refusal(client.read(source, "7.7"))
    assert refused.code == "INPUT_SERIES_UNKNOWN" and refused.facts["path"] == str(source)


def test_what_a_damaged_file_hides_is_told_before_its_series_is_chosen(client: Client, ct: Path) -> None:
    (ct / "IM9.dcm").write_bytes(b"cut off")
    for source in (ct, zipped(ct)):
        answer = found(client.read(source))
        assert [(series.uid, bool(series.unusable)) for series in answer.series] == [("1.2.3.4", False), ("", True)]
        assert answer.series[1].unusable.startswith("IM9.dcm: named as DICOM")
        chosen = found(client.read(source, "1.2.3.4")).volume
        assert chosen is not None
        assert chosen.source.notes == ("UNREADABLE_FILES: 1 files could not be read (first: IM9.dcm)",)


def test_series_of_which_none_can_be_read_are_refused(client: Client, study: Path) -> None:
    for path in study.rglob("IM*"):
        path.write_bytes(path.read_bytes().replace(b"0.8\\0.5 ", b"0.8\\abc "))
    refused = refusal(client.read(zipped(study)))
    assert refused.code == "INPUT_SEVERAL_SERIES" and "unusable, because IM0: damaged" in refused.message()


# --- what is refused


def test_refusals_come_back_with_the_names_that_the_user_knows(client: Client, ct: Path, tmp_path: Path) -> None:
    (tmp_path / "x.nii").write_bytes(b"no image")
    refused = refusal(client.read(tmp_path / "x.nii"))
    assert refused.code == "INPUT_NOT_AN_IMAGE" and str(tmp_path / "x.nii") in refused.message("zh")
    assert refusal(client.read(tmp_path / "none.zip")).code == "INPUT_NOT_FOUND"
    (tmp_path / "x.zip").write_bytes(b"no zip")
    assert refusal(client.read(tmp_path / "x.zip")).code == "INPUT_ARCHIVE"
    whole = (ct / "IM2").read_bytes()
    (ct / "IM2").write_bytes(whole[:-100])
    archive = zipped(ct.parent)
    refused = refusal(client.read(archive))
    assert refused.code == "INPUT_TRUNCATED"
    assert refused.facts["path"] == os.path.join(archive, "CT/IM2"), "not a numbered file that is long gone"
    (ct / "IM2").write_bytes(whole)
    pydicom.dcmwrite(ct / "IM7", pydicom.dcmread(ct / "IM1"))
    notes = found(client.read(zipped(ct))).volume.source.notes  # type: ignore[union-attr]
    assert notes == ("DUPLICATE_INSTANCE: left out 1 copies of slices already there (IM7)",)
    assert left(client) == []


def test_a_folder_that_cannot_be_opened_is_told_as_reading_tells_it(ct: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "walk", denied)
    with pytest.raises(Refusal, match=r"INPUT_NOT_AN_IMAGE.*Permission denied"):
        Session().read(ct)


def test_a_missing_library_is_named(nifti: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "pydicom"]:
        monkeypatch.setitem(sys.modules, name, None)
    for name in [name for name in sys.modules if ".engine.dicom" in name or name.endswith((".reading", ".archive"))]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(Refusal) as refused:
        Session().read(nifti)
    assert refused.value.code == "RESOURCE_MISSING_LIBRARY" and "pydicom" in refused.value.message()


def test_a_list_too_long_for_a_message_is_cut_not_the_end_of_the_worker(tmp_path: Path) -> None:
    messages = io.BytesIO()
    service = Service(io.BytesIO(), messages, tmp_path)

    def refuse(*_: object) -> dict[str, Any]:
        raise Refusal("INPUT_SEVERAL_SERIES", path=tmp_path, count=9, listing="\0" * (2 << 20))

    service._verbs = {"read": refuse}
    service._answer({"id": 1, "verb": "read", "arguments": {}})
    said = protocol.decode(messages.getvalue(), protocol.FROM_WORKER)
    assert said["code"] == "INPUT_SEVERAL_SERIES" and len(said["facts"]["listing"]) == LONGEST_FACT


# --- the session alone


def test_a_session_reads_and_leaves_no_temporary_file(study: Path, nifti: Path, tmp_path: Path) -> None:
    scratch, stages = tmp_path / "scratch", []
    scratch.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(scratch))
        archive = zipped(study)
        chosen = Session().read(archive, "9.9", lambda stage, fraction: stages.append((stage, fraction)))
        assert chosen.name == "Thorax" and len(Session().read(archive).series) == 2
        with pytest.raises(Refusal):
            Session().read(archive, "7.7")
    assert list(scratch.iterdir()) == []
    assert list(dict.fromkeys(stage for stage, _ in stages)) == ["unpack", "read"]
    assert stages[0] == ("unpack", 0.0) and stages[-1] == ("read", 1.0)


@pytest.mark.parametrize("stage, fraction", [("unpack", 0.5), ("read", 0.0), ("read", 1.0)])
def test_a_cancel_at_any_stage_leaves_nothing(
    study: Path, stage: str, fraction: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))

    def cancel(now: str, done: float) -> None:
        if now == stage and done >= fraction:
            raise Refusal("CANCELLED")

    with pytest.raises(Refusal, match="CANCELLED"):
        Session().read(zipped(study), "9.9", cancel)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_no_place_for_temporary_files_is_told(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zipped(study)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(Refusal, match="RESOURCE_TEMPORARY_FOLDER"):
        Session().read(archive)


@pytest.mark.parametrize(
    "description, name", [("a\tb\n\x1b[2J c", "a b [2J c"), ("x" * 999, "x" * 128), (" \x07 ", "CT")]
)
def test_a_description_of_a_stranger_becomes_one_plain_line(
    ct: Path, monkeypatch: pytest.MonkeyPatch, description: str, name: str
) -> None:
    volume = engine_reading.read_volume(ct)
    object.__setattr__(volume.source, "description", description)
    monkeypatch.setattr(engine_reading, "read_volume", lambda *_: volume)
    assert Session().read(ct).name == name


# --- between the processes


def test_a_service_reads_with_its_temporary_files_in_the_private_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, before = [], tempfile.gettempdir()

    def read(*_: object) -> Found:
        seen.append(tempfile.gettempdir())
        raise Refusal("CANCELLED")

    monkeypatch.setattr(Session, "read", read)
    with pytest.raises(Refusal):
        Service(io.BytesIO(), io.BytesIO(), tmp_path)._read(1, {"source": "x", "series": None}, lambda *_: None)
    assert seen == [str(tmp_path)] and tempfile.gettempdir() == before


def test_voxels_are_deleted_with_the_answer_and_no_other_run_s(tmp_path: Path) -> None:
    volume = Volume.from_matrix(STACK, np.eye(4))
    first = parcels.put_found(tmp_path, 1, Found(volume, "one"))
    parcels.put_found(tmp_path, 11, Found(volume, "eleven"))
    parcels.put_case(tmp_path, 1, volume)
    parcels.delete(tmp_path, first)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"result11.json", "result11.voxels", "case1.json", "case1.voxels"}


def test_a_full_disk_leaves_no_half_of_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        write(path, bytes(content)[:10])
        if path.suffix == ".json":
            raise OSError(28, "No space left on device")
        return 10

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        parcels.put_found(tmp_path, 1, Found(Volume.from_matrix(STACK, np.eye(4)), "x"))
    assert list(tmp_path.iterdir()) == []


SERIES = {"uid": "1", "modality": "CT", "description": "", "count": 1, "unusable": ""}


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"volume": None, "name": "x", "series": []},
        {"volume": None, "name": "x", "series": [{}]},
        {"volume": None, "name": "x", "series": [{**SERIES, "more": 1}]},
        {"volume": {"voxels": {}}, "name": "x", "series": []},
        {"volume": "voxels", "name": "x", "series": []},
    ],
)
def test_an_answer_that_is_none_is_told(document: object, tmp_path: Path) -> None:
    described = parcels.put(tmp_path, "result1.json", json.dumps(document).encode())
    with pytest.raises(protocol.ProtocolError, match="not an image that was read"):
        parcels.take_found(tmp_path, described)


def test_voxels_that_are_not_what_was_sent_are_refused(tmp_path: Path) -> None:
    described = parcels.put_found(tmp_path, 1, Found(Volume.from_matrix(STACK, np.eye(4)), "x"))
    voxels = tmp_path / "result1.voxels"
    voxels.write_bytes(bytes(len(voxels.read_bytes())))
    with pytest.raises(protocol.ProtocolError, match="not what was sent"):
        parcels.take_found(tmp_path, described)


def test_the_face_does_not_wait_while_voxels_are_taken_over(
    client: Client, nifti: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, may = parcels.take_found, threading.Event()
    monkeypatch.setattr(parcels, "take_found", lambda *given: [may.wait(30), taken(*given)][1])
    monkeypatch.setattr("MedImgClassifierLib.worker.client.SILENCE_S", 0.2)
    reading, longest = client.read(nifti), 0.0
    while reading._taking is None:
        began = time.monotonic()
        assert not reading.poll()
        longest = max(longest, time.monotonic() - began)
        reading._heard = time.monotonic()
        time.sleep(0.002)
    end = time.monotonic() + 0.5
    while time.monotonic() < end:  # longer than a silent worker is given
        assert not reading.poll()
        time.sleep(0.01)
    may.set()
    assert found(reading).volume is not None and longest < 0.2


@pytest.mark.parametrize(
    "failed, code", [(MemoryError(), "RESOURCE_MEMORY"), (ImportError("pydicom"), "RESOURCE_WORKER_FAILED")]
)
def test_what_fails_while_voxels_are_taken_over_is_told(
    client: Client, nifti: Path, monkeypatch: pytest.MonkeyPatch, failed: Exception, code: str
) -> None:
    def fail(*_: object) -> None:
        raise failed

    with monkeypatch.context() as patch:
        patch.setattr(parcels, "take_found", fail)
        assert refusal(client.read(nifti)).code == code
    assert left(client) == [] and found(client.read(nifti)).volume is not None


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A zip that takes a second or several to unpack."""
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as packed:
        for n in range(19_000):
            packed.writestr(f"{n % 50}/{n}", b"x" * 100)
    return tmp_path / "many.zip"


def unpacking(reading: Reading) -> None:
    end = time.monotonic() + 30
    while not (reading.stage == "unpack" and reading.fraction > 0.02):
        assert not reading.poll() and time.monotonic() < end
        time.sleep(0.001)


def test_a_cancelled_reading_ends_within_a_second_and_leaves_nothing(client: Client, many: Path, nifti: Path) -> None:
    reading = client.read(many)
    folder = reading._worker.folder
    unpacking(reading)
    assert list(folder.iterdir()) != []
    began = time.monotonic()
    reading.cancel()
    assert refusal(reading).code == "CANCELLED" and time.monotonic() - began < 1.5
    assert not folder.exists() or left(client) == []
    cancelled_at_once = client.read(many)
    cancelled_at_once.cancel()
    assert refusal(cancelled_at_once).code == "CANCELLED"
    assert found(client.read(nifti)).volume is not None and left(client) == []


FACE = """
import sys, time
from pathlib import Path
from MedImgClassifierLib.worker.client import Client
client = Client()
reading = client.read(Path(sys.argv[1]))
while not (reading.stage == "unpack" and reading.fraction > 0.02):
    reading.poll(); time.sleep(0.001)
folder = client._worker.folder
print(len(list(folder.rglob("entry-*"))), folder, flush=True)
time.sleep(60)
"""


@posix
def test_a_worker_whose_face_was_killed_while_it_unpacks_leaves_no_patient_data(many: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", FACE, str(many)], stdout=subprocess.PIPE, env=environment) as face:
        assert face.stdout is not None
        count, place = face.stdout.readline().decode().split()
        face.kill()
    folder = Path(place)
    assert int(count) > 0
    end = time.monotonic() + 5
    while folder.exists() and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(0.3)
    assert not folder.exists()


def test_a_worker_that_nobody_hears_ends_only_when_its_folder_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(io.BytesIO):
        def write(self, _: object) -> int:
            raise BrokenPipeError

    def end(status: int) -> None:
        assert not (tmp_path / "private").exists()
        raise SystemExit(status)

    def remove(*given: Any, **how: Any) -> None:
        tries.append(given)
        if len(tries) > 1:  # a run still wrote into it the first time
            rmtree(*given, **how)

    rmtree, tries = shutil.rmtree, []
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "result1.voxels").write_bytes(b"patient")
    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(shutil, "rmtree", remove)
    service = Service(io.BytesIO(), Broken(), tmp_path / "private")
    service._running = 3
    with pytest.raises(SystemExit):
        service._send("alive", 3)
    with pytest.raises(Refusal, match="CANCELLED"):
        service._progress(3)("unpack", 0.5)


def test_a_reading_waits_for_another_task(client: Client, nifti: Path, ct: Path) -> None:
    reading = client.read(nifti)
    with pytest.raises(RuntimeError, match="under way"):
        client.read(ct)
    until(reading)


def test_what_was_read_is_either_a_volume_or_a_choice() -> None:
    volume = Volume.from_matrix(STACK, np.eye(4))
    with pytest.raises(ValueError):
        Found(None, "x")
    with pytest.raises(ValueError):
        intake.Found(volume, "x", (SeriesSummary("1", "CT", "", 1),))
