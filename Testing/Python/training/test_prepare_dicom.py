"""A tree of DICOM files becomes a manifest that reads exactly the chosen series and names nobody."""

from __future__ import annotations

import csv
import json
import os
import re
import stat
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from medimg_training.cache import prepare
from medimg_training.datasets import dicom_headers
from medimg_training.datasets.dicom_tree import Labels, SeriesRule, draft_of_dicom
from medimg_training.datasets.draft import Draft
from medimg_training.datasets.manifest import Manifest
from medimg_training.datasets.problems import RowsRefusal
from medimg_training.datasets.pseudonyms import KEY_FILE, Pseudonyms
from medimg_training.datasets.series_file import files_of, read_source, series_file
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.preprocess import ChannelSpec, InputSpec, Resize

SHARED_DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
SPEC = InputSpec((ChannelSpec("image"),), (Resize(4, 4),), ())
KEY = Pseudonyms(bytes(range(32)))
AllRule = SeriesRule(several="all")


def write_image(path: Path, uid: str, k: int, **changes: Any) -> None:
    """One CT slice of series `uid`, whose voxels are all 100 * (last part of the UID) + k."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"{uid}.{k + 1}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    attributes: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": f"{uid}.{k + 1}",
        "Modality": "CT",
        "PatientName": "Canary^Name",
        "PatientID": "CANARY1",
        "InstitutionName": "Canary Hospital",
        "Manufacturer": "GE",
        "ManufacturerModelName": "Model 5",
        "StudyDate": "20240331",
        "SeriesDescription": "Head Canary",
        "StudyInstanceUID": "1.2.77",
        "SeriesInstanceUID": uid,
        "FrameOfReferenceUID": "1.2.3.5",
        "ImagePositionPatient": [0, 0, 2.0 * k],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [1, 1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": 8,
        "Columns": 8,
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "RescaleSlope": 1,
        "RescaleIntercept": 0,
        "PixelData": np.full((8, 8), 100 * int(uid.rpartition(".")[2]) + k, np.int16).tobytes(),
    }
    for name, value in (attributes | changes).items():
        setattr(data, name, value)
    data["PixelData"].VR = "OW"
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, data)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two patients, three studies; one folder holds two series of a study. Folders bear names of patients."""
    root = tmp_path / "tree"
    for k in range(3):
        write_image(root / "CANARY^ONE" / f"a{k}", "1.2.3.1", k)
        write_image(root / "CANARY^ONE" / f"b{k}", "1.2.3.2", k, SeriesDescription="Bone")
    write_image(root / "CANARY^ONE" / "b3", "1.2.3.2", 3, SeriesDescription="Bone")
    for k in range(2):
        own = {"StudyInstanceUID": "1.2.78", "StudyDate": "20230115", "InstitutionName": "Elsewhere"}
        write_image(root / "later" / f"{k}", "1.2.3.3", k, **own)
        write_image(root / "two" / f"{k}.dcm", "1.2.3.4", k, PatientID="CANARY2", StudyInstanceUID="1.2.79")
    (root / "notes.txt").write_text("not DICOM")
    return root


def labels_of(folder: Path, text: str, **options: Any) -> Labels:
    path = folder / "labels.csv"
    path.write_text(text)
    return Labels.read(path, **({"by": "PatientID"} | options))


@pytest.fixture
def draft(tree: Path, tmp_path: Path) -> Callable[..., Draft]:
    def make(
        text: str = "PatientID,label\nCANARY1,ill\nCANARY2,well\n", rule: SeriesRule = AllRule, **options: Any
    ) -> Draft:
        by = {name: options.pop(name) for name in ("by", "column", "label_column") if name in options}
        return draft_of_dicom(tree, labels_of(tmp_path, text, **by), rule, KEY, tmp_path / "private", **options)

    return make


def values(manifest: Manifest, folder: Path) -> dict[str, list[int]]:
    """Series pseudonym -> the value of each slice that the cache reads."""
    prepared = prepare(manifest, manifest.rows, SPEC, folder)
    found: dict[str, list[int]] = {}
    for sample, image in zip(prepared.samples, prepared.images, strict=True):
        found.setdefault(sample, []).append(round(float(image.mean())))
    return found


def test_each_sample_reads_exactly_its_series_out_of_a_folder_of_several(
    draft: Callable[..., Draft], tmp_path: Path
) -> None:
    manifest = Manifest.read(draft().write(tmp_path / "out"))
    found = values(manifest, tmp_path / "cache")
    assert sorted(found.values()) == [[100, 101, 102], [200, 201, 202, 203], [300, 301], [400, 401]]
    assert found[KEY.of("series", "1.2.3.2")] == [200, 201, 202, 203]


def test_groups_studies_sites_and_dates_are_what_the_headers_say(draft: Callable[..., Draft], tmp_path: Path) -> None:
    manifest = Manifest.read(draft(acquired="day").write(tmp_path / "out"))
    rows = {row.sample: row for row in manifest.rows}
    first, bone, later, two = (rows[KEY.of("series", f"1.2.3.{n}")] for n in (1, 2, 3, 4))
    assert first.group == bone.group == later.group == KEY.of("patient", "CANARY1") != two.group
    assert first.study == bone.study != later.study
    assert first.site == two.site == KEY.of("site", "Canary Hospital") != later.site
    assert (first.label, two.label, first.group_kind) == ("ill", "well", "patient")
    assert first.scanner == "GE Model 5"
    assert (str(first.acquired), str(later.acquired)) == ("2024-03-31", "2023-01-15")
    assert first.covariates == {"modality": "CT"}
    assert first.series_uid == first.sample


def test_dates_are_coarsened_or_left_out(draft: Callable[..., Draft]) -> None:
    assert {record["acquired"] for record in draft().records} == {"2024-03-01", "2023-01-01"}
    assert {record["acquired"] for record in draft(acquired="none").records} == {""}


@pytest.mark.parametrize("by", ["PatientID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_nothing_that_is_written_for_others_names_anybody(
    draft: Callable[..., Draft], tree: Path, tmp_path: Path, by: str
) -> None:
    ids = {"PatientID": ("CANARY1", "CANARY2"), "StudyInstanceUID": ("1.2.77", "1.2.79")}
    ill, well = ids.get(by, ("1.2.3.1", "1.2.3.4"))
    write_image(tree / "CANARY^ONE" / "broken.dcm", "1.2.3.9", 0, PatientID="")
    (tree / "CANARY^ONE" / "CANARY.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"CANARY")
    text = f"{by},label\n{ill},ill\n{well},well\nCANARY-unknown,ill\n"
    made = draft(text, by=by)
    made.write(tmp_path / "out")
    written = {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert set(written) == {"manifest.csv", "manifest.json", "left_out.csv"}
    secrets = ("CANARY", "Canary", "Hospital", "Elsewhere", "Bone", "1.2.3.", "1.2.7", "ONE")
    everything = b"".join(written.values()) + " ".join(written).encode() + made.summary().encode()
    assert [word for word in secrets if word.encode() in everything] == []
    private = (tmp_path / "private" / "left_out.csv").read_text()
    assert "CANARY-unknown" in private and "1.2.3.9" in private and "CANARY.dcm" in private


def test_labels_are_joined_by_the_id_that_was_chosen(draft: Callable[..., Draft]) -> None:
    by_study = draft("StudyInstanceUID,label\n1.2.77,a\n1.2.78,b\n", by="StudyInstanceUID")
    assert [record["label"] for record in by_study.records] == ["a", "a", "b"]
    assert [item.reason for item in by_study.left_out] == ["its StudyInstanceUID has no label in the table"]
    by_series = draft(
        "what,uid\na,1.2.3.2\nb,1.2.3.4\n", SeriesRule(), by="SeriesInstanceUID", column="uid", label_column="what"
    )
    assert [record["label"] for record in by_series.records] == ["a", "b"]
    unused = draft("PatientID,label\nCANARY1,a\nCANARY2,b\nCANARY3,b\n").left_out
    assert [item.reason for item in unused] == ["a label whose PatientID has no series"]


@pytest.mark.parametrize(
    ("rule", "series", "reasons"),
    [
        (SeriesRule(description="^head", several="all"), (1, 3, 4), {"its description does not match"}),
        (SeriesRule(least_images=3, several="all"), (1, 2), {"it has fewer than 3 images"}),
        (SeriesRule(several="largest"), (2, 3, 4), {"another series of its study has more images"}),
        (SeriesRule(modality="CT", description="bone"), (2,), {"its description does not match"}),
    ],
)
def test_the_rule_picks_the_series_and_says_why_others_are_out(
    draft: Callable[..., Draft], rule: SeriesRule, series: Sequence[int], reasons: set[str]
) -> None:
    made = draft(rule=rule)
    assert {record["sample"] for record in made.records} == {KEY.of("series", f"1.2.3.{n}") for n in series}
    assert {item.reason for item in made.left_out if item.what.startswith("series")} == reasons
    assert len([item for item in made.left_out if item.what.startswith("series")]) == 4 - len(series)


def test_several_series_of_a_study_are_not_chosen_from_silently(draft: Callable[..., Draft], tree: Path) -> None:
    with pytest.raises(
        RowsRefusal, match="2 series of this study fit the rule: Head Canary, 3 images; Bone, 4"
    ) as found:
        draft(rule=SeriesRule())
    assert [one.sample for one in found.value.problems] == ["1.2.77"]
    write_image(tree / "more", "1.2.3.1", 3)
    with pytest.raises(RowsRefusal, match="2 series of this study are the largest"):
        draft(rule=SeriesRule(several="largest"))


def test_nothing_that_fits_is_refused_with_the_reasons(draft: Callable[..., Draft], tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"none of its 4 series fits rule and labels \(4 x its modality is not MR"):
        draft(rule=SeriesRule(modality="MR"))
    with pytest.raises(Refusal, match="no regular expression"):
        SeriesRule(description="(")
    assert not (tmp_path / "private").exists()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"PatientID": "OTHER"}, "its images are of several patients"),
        ({"StudyInstanceUID": "1.2.99"}, "its images are of several studies"),
        ({"NumberOfFrames": 2}, "its images have several frames"),
        ({"SamplesPerPixel": 3}, "its images are in colour"),
        ({"PixelSpacing": [float("nan"), 1]}, "an image of it cannot be read (INPUT_NOT_AN_IMAGE)"),
    ],
)
def test_a_series_that_is_not_one_sample_is_left_out(
    draft: Callable[..., Draft], tree: Path, changes: dict[str, Any], reason: str
) -> None:
    write_image(tree / "odd", "1.2.3.3", 7, **({"StudyInstanceUID": "1.2.78"} | changes))
    made = draft()
    assert KEY.of("series", "1.2.3.3") not in {record["sample"] for record in made.records}
    assert [item.reason for item in made.left_out] == [reason]


def test_images_without_a_patient_are_left_out(draft: Callable[..., Draft], tree: Path) -> None:
    for k in range(2):
        write_image(tree / "nobody" / f"{k}", "1.2.3.8", k, PatientID=" ", StudyInstanceUID="1.2.80")
    reasons = [item.reason for item in draft().left_out]
    assert reasons == ["it does not say of which patient it is (PatientID is empty)"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("PatientID,label\nCANARY1,a \nCANARY2,b\n", "line 2: label 'a ' begins or ends with a space"),
        ("PatientID,label\nP,a\nP,b\n", "line 3: 'P' stands already in line 2 with label 'a', here 'b'"),
        ("PatientID,label\nP,a\nP,a\n", "line 3: 'P' stands already in line 2"),
        ("PatientID,label\n,a\nP,a\n", "line 2: 'PatientID' is empty"),
        ("Patient,label\nP,a\n", "no column 'PatientID'"),
        ("PatientID,diagnosis\nP,a\n", "no column 'label'"),
    ],
)
def test_tables_of_labels_with_mistakes_are_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(Refusal, match=re.escape(said)):
        labels_of(tmp_path, text)


def test_a_refused_manifest_leaves_no_series_files(draft: Callable[..., Draft], tmp_path: Path) -> None:
    with pytest.raises(Refusal):
        draft("PatientID,label\nCANARY1,same\nCANARY2,same\n").write(tmp_path / "out")
    assert not (tmp_path / "out").exists() and not (tmp_path / "private").exists()


def test_being_interrupted_leaves_nothing(
    draft: Callable[..., Draft], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medimg_training.datasets import draft as draft_module

    def interrupted(*_: object, **__: object) -> None:
        assert list((tmp_path / "private" / "series").iterdir())
        raise KeyboardInterrupt

    def stopped(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(draft_module, "write_manifest", interrupted)
    with pytest.raises(KeyboardInterrupt):
        draft().write(tmp_path / "out")
    assert not (tmp_path / "out").exists() and not (tmp_path / "private").exists()
    monkeypatch.setattr(dicom_headers, "read_header", stopped)
    with pytest.raises(KeyboardInterrupt):
        draft()
    assert not (tmp_path / "private").exists()


@pytest.mark.skipif(os.name != "posix", reason="permission bits of POSIX")
def test_what_leads_back_is_for_its_owner_alone(draft: Callable[..., Draft], tmp_path: Path) -> None:
    draft(rule=SeriesRule(several="largest")).write(tmp_path / "out")
    files = [path for path in (tmp_path / "private").rglob("*") if path.is_file()]
    assert len(files) == 3 + 1
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o700


def test_a_series_file_notices_files_that_are_gone_changed_or_of_another_series(
    draft: Callable[..., Draft], tree: Path, tmp_path: Path
) -> None:
    manifest = Manifest.read(draft().write(tmp_path / "out"))
    row = next(row for row in manifest.rows if row.sample == KEY.of("series", "1.2.3.3"))
    assert [path.name for path in files_of(row.path)[1:]] == ["0", "1"]
    cache = tmp_path / "cache"
    only = replace(manifest, rows=(row,))
    prepare(only, only.rows, SPEC, cache)
    about = (cache / "cache.json").read_text()
    os.utime(tree / "later" / "1", (5, 5))
    prepare(only, only.rows, SPEC, cache)
    assert (cache / "cache.json").read_text() != about
    write_image(tree / "later" / "1", "1.2.3.1", 1)
    with pytest.raises(Refusal) as refused:
        read_source(row.path)
    assert refused.value.code == "INPUT_SERIES_UNKNOWN"
    (tree / "later" / "1").unlink()
    with pytest.raises(Refusal) as refused:
        read_source(row.path)
    assert refused.value.code == "INPUT_NOT_FOUND"


@pytest.mark.parametrize(
    "content",
    [
        b"nothing",
        b"[]",
        b'{"format": 1, "series_uid": "1", "folder": "/", "files": []}',
        b'{"format": 1, "series_uid": "1", "folder": "/", "files": [3]}',
        b'{"format": 2, "series_uid": "1", "folder": "/", "files": ["x"]}',
        b'{"format": 1}',
    ],
)
def test_a_damaged_series_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.series").write_bytes(content)
    with pytest.raises(Refusal) as refused:
        read_source(tmp_path / "x.series")
    assert refused.value.code == "DATA_SOURCE"


def test_a_series_file_names_files_of_several_folders(tmp_path: Path) -> None:
    content = json.loads(series_file("1.2", [tmp_path / "b" / "2", tmp_path / "a" / "1"]))
    assert content == {"format": 1, "series_uid": "1.2", "folder": str(tmp_path), "files": ["a/1", "b/2"]}


# ---------------------------------------------------------------- pseudonyms


def test_pseudonyms_are_stable_short_and_different_by_key_kind_and_text() -> None:
    assert KEY.of("patient", "P1") == Pseudonyms(bytes(range(32))).of("patient", "P1")
    assert re.fullmatch("[a-z2-7]{16}", KEY.of("patient", "P1"))
    others = {KEY.of("study", "P1"), KEY.of("patient", "P2"), Pseudonyms(b"k" * 32).of("patient", "P1")}
    assert len(others | {KEY.of("patient", "P1")}) == 4
    assert KEY.of("site", "") == ""
    assert "key" not in repr(KEY)


def test_a_pseudonym_is_hmac_sha256_of_kind_and_text() -> None:
    import base64
    import hmac

    digest = hmac.new(bytes(range(32)), b"patient\0P1", "sha256").digest()
    assert KEY.of("patient", "P1") == base64.b32encode(digest)[:16].decode().lower()


def test_a_key_is_made_once_and_found_again(tmp_path: Path) -> None:
    first = Pseudonyms.opened(tmp_path / "a" / "private", tmp_path / "out")
    assert Pseudonyms.opened(tmp_path / "a" / "private", tmp_path / "out") == first
    assert Pseudonyms.opened(tmp_path / "b", tmp_path / "out") != first
    assert Pseudonyms.throwaway() != Pseudonyms.throwaway()
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / "b" / KEY_FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize("private", ["out", "out/private", "elsewhere/../out/x"])
def test_a_key_is_never_put_where_the_manifest_goes(tmp_path: Path, private: str) -> None:
    with pytest.raises(Refusal, match="passed on") as refused:
        Pseudonyms.opened(tmp_path / private, tmp_path / "out")
    assert refused.value.code == "DATA_KEY"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="permission bits of POSIX")
def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    Pseudonyms.opened(tmp_path, tmp_path / "out")
    (tmp_path / KEY_FILE).chmod(0o640)
    with pytest.raises(Refusal, match=r"others may read it \(mode 640\)"):
        Pseudonyms.opened(tmp_path, tmp_path / "out")


@pytest.mark.parametrize("content", ["", "ab" * 31, "not hexadecimal", "\u00e4"])
def test_a_damaged_key_is_refused_and_not_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / KEY_FILE
    path.write_text(content, encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(Refusal) as refused:
        Pseudonyms.opened(tmp_path, tmp_path / "out")
    assert refused.value.code == "DATA_KEY"
    assert path.read_text(encoding="utf-8") == content


# ---------------------------------------------------------------- real files


def test_real_series_come_out_of_a_tree_with_all_sorts_of_files(tmp_path: Path) -> None:
    archive = SHARED_DATA / "dicom_nrrd_real.zip"
    if not archive.is_file():
        pytest.skip(f"real data are not at hand ({archive.name} in ../shared/data)")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(tmp_path / "real")
    text = "PatientID;label\nQMNx85rKkkg;head\ncrlab;brain\nCQ500-CT-310;head\nID1;brain\n"
    rule = SeriesRule(least_images=2)
    labels = labels_of(tmp_path, text)
    made = draft_of_dicom(tmp_path / "real", labels, rule, KEY, tmp_path / "private")
    manifest = Manifest.read(made.write(tmp_path / "out"))
    (row,) = (row for row in manifest.rows if row.label == "head")
    assert (row.scanner, row.acquired, row.covariates["modality"]) == ("GE MEDICAL SYSTEMS HiSpeed Dual", None, "CT")
    volume = read_source(row.path)
    assert (len(volume.voxels), volume.units) == (28, "HU")
    assert len({item.reason for item in made.left_out}) >= 5
    with (tmp_path / "out" / "left_out.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(made.left_out)
    everything = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    assert [word for word in (b"QMNx", b"crlab", b"CQ500", b"1.3.", b".dcm") if word in everything] == []
