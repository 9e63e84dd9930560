"""The making of the shipped bundle, on tiny archives made here."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch
from PIL import Image

from medimg_training.body_region import card, data, looks
from medimg_training.body_region.recipe import AUGMENT, LABELS, RECIPE, SPEC
from medimg_training.cache import PreparedSet, prepare
from medimg_training.datasets.manifest import Manifest
from medimg_training.roles import FitRows, fold_rows
from medimg_training.schemes import split_from_column
from medimg_training.split import Fold
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.preprocess import ZScore
from MedImgClassifierLib.engine.volume import Volume

MEDNIST = ("AbdomenCT", "BreastMRI", "CXR", "ChestCT", "Hand", "HeadCT")


def write_archive(folder: Path, name: str, files: dict[str, bytes], rows: list[dict[str, str]]) -> None:
    with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
        archive.writestr("../escape.txt", "never written: no table names it")
    with (folder / f"{name}.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archives")
    rng = np.random.default_rng(0)
    files, rows = {}, []
    for label in MEDNIST:
        for n, split in enumerate(("train", "train", "val", "test")):
            stream = io.BytesIO()
            grey = {"ChestCT": 126, "AbdomenCT": 101, "HeadCT": 25}.get(label, 0)
            image = np.full((64, 64), grey, np.uint8)
            image[16:48, 20:44] = rng.integers(grey + 30, 255, (32, 24))
            Image.fromarray(image).save(stream, "JPEG")
            files[f"{label}/{n}.jpeg"] = stream.getvalue()
            rows.append({"file": f"{label}/{n}.jpeg", "label": label, "split": split, "cluster": f"{label}{n}"})
    write_archive(folder, "mednist64", files, [row | {"sha256": sha(files[row["file"]])} for row in rows])
    files, rows = {}, []
    for n, split in enumerate(("train", "val", "test")):
        path = folder / "volume.nii.gz"
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(rng.integers(0, 255, (20, 30, 28), np.uint8)), str(path))
        files[f"S{n}.nii.gz"] = path.read_bytes()
        rows.append({"file": f"S{n}.nii.gz", "subject": f"S{n}", "split": split})
    write_archive(folder, "ixi_t1_2p5mm", files, [row | {"sha256": sha(files[row["file"]])} for row in rows])
    return folder


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def prepared(archives: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedSet:
    work = tmp_path_factory.mktemp("work")
    manifest = Manifest.read(data.build_manifest(archives, work))
    return prepare(manifest, manifest.rows, SPEC, work / "cache")


def test_the_manifest_names_every_image_and_each_plane_of_every_volume(archives: Path, tmp_path: Path) -> None:
    manifest = Manifest.read(data.build_manifest(archives, tmp_path))
    assert manifest.classes == data.CLASSES == tuple(label.name for label in LABELS)
    assert len(manifest.rows) == 6 * 4 + 3 * 3
    sagittal = next(row for row in manifest.rows if row.sample == "S0 sagittal")
    assert (sagittal.slice_from, sagittal.slice_to) == (round(0.12 * 28), round(0.88 * 28))
    fold = split_from_column(manifest).folds[0]
    assert "S0" in fold.fit and "S1" in fold.select and "S2" in fold.evaluate
    assert not (tmp_path / "escape.txt").exists() and not (tmp_path.parent / "escape.txt").exists()


def test_a_file_with_another_hash_than_its_table_states_is_refused(archives: Path, tmp_path: Path) -> None:
    table = (archives / "mednist64.csv").read_text()
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in archives.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    lines = table.splitlines()
    lines[1] = lines[1].rsplit(",", 1)[0] + "," + "0" * 64
    (broken / "mednist64.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(Refusal, match="line 2"):
        data.build_manifest(broken, tmp_path / "out")
    with pytest.raises(Refusal, match="INPUT_NOT_FOUND"):
        data.build_manifest(tmp_path / "nowhere", tmp_path / "out")


def everyone(prepared: PreparedSet) -> FitRows:
    return fold_rows(prepared, Fold(tuple(dict.fromkeys(prepared.groups)))).fit


class BrightnessNetwork(torch.nn.Module):
    """Calls an image BrainMR when its input is bright on average, else AbdomenCT."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(len(images), 7)
        logits[:, 6] = images.mean((1, 2, 3)) + self.bias
        return logits


def test_figures_come_plain_with_the_background_removed_and_per_plane(prepared: PreparedSet) -> None:
    network, rows = BrightnessNetwork(), everyone(prepared)
    plain = looks.split_figures(network, prepared, rows, SPEC, background=True)
    removed = looks.split_figures(network, prepared, rows, SPEC, background=False)
    assert plain.n == removed.n == len(prepared)
    planes = looks.plane_recalls(network, prepared, rows.part(prepared.labels == 6), SPEC)
    assert set(planes) == {"axial", "sagittal", "coronal"}
    assert sum(plane["of"] for plane in planes.values()) == int((prepared.labels == 6).sum())
    assert planes["axial"]["groups"] == 3 and planes["axial"]["interval"] == "no interval: 3 groups"


def test_removing_the_background_is_what_the_network_sees(prepared: PreparedSet) -> None:
    """Without the percentile of the specification the grey ground reaches the network unless it is removed."""
    bare = replace(SPEC, intensity=(ZScore(100.0, 1.0),))
    rows = everyone(prepared).part(prepared.labels == prepared.classes.index("ChestCT"))
    plain, removed = (
        looks.split_figures(BrightnessNetwork(), prepared, rows, bare, background=kept).confusion[3]
        for kept in (True, False)
    )
    assert plain[6] == len(rows) and removed[6] == 0


def test_the_border_probe_finds_the_grey_that_gives_the_class_away(prepared: PreparedSet) -> None:
    rows = everyone(prepared)
    scores = looks.border_probe(prepared, rows, rows, SPEC, AUGMENT)
    assert scores["raw images"] > scores["network input"]
    assert set(scores) == {"raw images", "network input", "augmented network input"}


def test_a_window_makes_the_picture_a_reader_would_export() -> None:
    ct = Volume.from_matrix(np.array([[[-1000, 0, 40, 80, 900]]], np.int16), np.eye(4), modality="CT", units="HU")
    shown = looks.windowed(40, 80)(ct)
    assert shown.units == "arbitrary" and shown.voxels.ravel().tolist() == [0, 0, 128, 255, 255]


def test_tables_and_card_hold_every_figure_and_the_notice(prepared: PreparedSet) -> None:
    figures = looks.split_figures(BrightnessNetwork(), prepared, everyone(prepared), SPEC, background=True)
    share = {"right": 5, "of": 10, "groups": 2, "share": 0.5, "interval": "no interval: 2 groups"}
    volumes = {"v": {"slices": share, "volumes": {"right": 1, "of": 2}, "per_volume": {"a": {"HeadCT": 5}}}}
    names = ("test", "test_background_removed", "mednist_test", "mednist_test_background_removed")
    final = dict.fromkeys(names, figures) | {
        "planes": {"axial": share},
        "ct_head_ge_tilt": volumes,
        "mr_sequence3d": volumes,
        "border_probe": {"raw images": 0.9},
    }
    development = {"val": figures, "val_background_removed": figures, "planes": {}, "volumes": volumes}
    text = card.tables({"final": final, "development": development}, 1)
    assert "5 of 10 | 0.500 | no interval: 2 groups" in text and "| raw images | 0.900 |" in text
    whole = card.model_card({**dict.fromkeys(("id", "version", "title", "licence", "intended_use"), "x"),
                             "known_limits": ["limit"], "out_of_scope": ["diagnosis"],
                             "credits": [{"what": "w", "who": "p", "licence": "l"}]}, text)  # fmt: skip
    assert "Research use only, not for diagnosis" in whole and text in whole


def test_the_recipe_records_its_augmentation_and_is_small_enough_to_ship() -> None:
    from MedImgClassifierLib.engine.networks import build

    assert repr(AUGMENT) == RECIPE.augmentation
    network = build(RECIPE.network, len(LABELS), 1, **RECIPE.network_options)
    assert 4 * sum(p.numel() for p in network.parameters()) < 5_000_000  # twice (torch, ONNX) under 10 MB


def head_ct_files(folder: Path) -> dict[str, bytes]:
    files = {}
    for k in range(4):
        image = SimpleITK.GetImageFromArray(np.random.default_rng(k).integers(-1000, 900, (1, 40, 48), np.int16))
        for tag, value in {
            "0008|0060": "CT",
            "0020|000e": "1.2.3.4",
            "0020|000d": "1.2.3",
            "0008|0018": f"1.2.3.4.{k}",
            "0020|0032": f"0\\0\\{k * 4}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0028|1052": "0",
            "0028|1053": "1",
        }.items():
            image.SetMetaData(tag, value)
        writer = SimpleITK.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(folder / "slice.dcm"))
        writer.Execute(image)
        files[f"ct_head_ge_tilt/{k}.dcm"] = (folder / "slice.dcm").read_bytes()
    return files


@pytest.fixture
def all_archives(archives: Path, tmp_path: Path) -> Path:
    """The training archives with those of the development and final volumes beside them."""
    folder = tmp_path / "all"
    folder.mkdir()
    for path in archives.glob("*.[zc]*"):
        (folder / path.name).write_bytes(path.read_bytes())
    files = head_ct_files(tmp_path)
    for name in ("brain1", "breast1"):
        image = SimpleITK.GetImageFromArray(np.random.default_rng(1).integers(0, 255, (5, 30, 28), np.uint8))
        SimpleITK.WriteImage(image, str(tmp_path / "volume.nrrd"))
        files[f"nrrd/{name}_image.nrrd"] = (tmp_path / "volume.nrrd").read_bytes()
    rows = [{"file": name, "sha256": sha(content)} for name, content in files.items()]
    write_archive(folder, "dicom_nrrd_real", files, rows)
    files, rows = {}, []
    for sequence in ("T1", "FLAIR"):
        name = f"A_{sequence}.nii.gz"
        image = SimpleITK.GetImageFromArray(np.random.default_rng(2).integers(0, 255, (10, 30, 28), np.uint8))
        SimpleITK.WriteImage(image, str(tmp_path / name))
        files[name] = (tmp_path / name).read_bytes()
        rows.append({"file": name, "label": sequence, "subject": "A", "sha256": sha(files[name])})
    write_archive(folder, "mr_sequence3d", files, rows)
    return folder


def test_a_release_reads_the_final_data_once_and_writes_bundle_and_tables(
    all_archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from medimg_training.body_region import __main__ as making
    from medimg_training.split import read_evaluate_log
    from MedImgClassifierLib.engine import bundle
    from MedImgClassifierLib.engine.classifier import Classifier

    tiny = {"images_per_class": 4, "batch": 8, "network_options": {"widths": [4, 4, 4, 4], "blocks": [1, 1, 1, 1]}}
    monkeypatch.setattr(making, "RECIPE", replace(RECIPE, epochs=1, **tiny))
    tables, models, work = tmp_path / "figures.md", tmp_path / "models", tmp_path / "work"
    command = ["x", "develop", "--archives", str(all_archives), "--work", str(work)]
    monkeypatch.setattr("sys.argv", [*command, "--models", str(models), "--tables", str(tables)])
    assert making.main() == 0
    assert not models.exists() and not tables.exists()
    assert not (work / "evaluate_log.jsonl").exists()
    monkeypatch.setattr("sys.argv", ["x", "release", *command[2:], "--models", str(models), "--tables", str(tables)])
    assert making.main() == 0
    assert len(read_evaluate_log(work / "split.json")) == 1
    made = bundle.load(models / "body-region")
    Classifier(made, "cpu")
    text = tables.read_text(encoding="utf-8").partition(card.MARKER)[2].strip()
    assert text in made.card and "ct_head_ge_tilt" in text and re.search(r"\| FLAIR \| \d of 6 \|", text)
    assert {entry["data"] for entry in made.manifest["evaluation"]} >= {"final test", "final mednist_test"}
    assert "wrote" in capsys.readouterr().out


def test_a_page_keeps_what_stands_above_its_tables(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Mine\n{card.MARKER}\nold\n")
    card.put_below_marker(page, "new\n")
    assert page.read_text() == f"# Mine\n{card.MARKER}\n\nnew\n"


def test_a_release_is_never_made_with_other_epochs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from medimg_training.body_region import __main__ as making

    monkeypatch.setattr("sys.argv", ["x", "release", "--archives", str(tmp_path), "--epochs", "1"])
    with pytest.raises(SystemExit):
        making.main()
