"""`medimg check`: the report, the waivers, and what stops a training."""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from medimg_training.checks.headers import read_headers
from medimg_training.checks.reuse import trained_on, training_groups
from medimg_training.checks.waivers import Waiver
from medimg_training.cli import add_commands
from medimg_training.datasets.manifest import Manifest, Row, write_manifest
from medimg_training.schemes import split_from_column
from MedImgClassifierLib import resources
from MedImgClassifierLib.engine import bundle, bundle_files
from MedImgClassifierLib.engine.errors import Refusal

CLASSES = ("low", "middle", "high")
SHARED_DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


def medimg(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    parsed = parser.parse_args([str(word) for word in words])
    return int(parsed.run(parsed))


def refused(*words: str | Path) -> Refusal:
    with pytest.raises(Refusal) as caught:
        medimg(*words)
    return caught.value


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """72 pictures in 24 groups of three, one of each class, in which nothing fires: the class is the width of a soft
    blob in the middle. Every third group is for testing."""
    random, rows = np.random.default_rng(0), []
    ys, xs = np.mgrid[:32, :32] - 16.0
    (tmp_path / "data").mkdir()
    for k in range(72):
        blob = np.exp(-(ys**2 + xs**2) / (2 * (2.0 + k % 3) ** 2))
        anatomy = sum(gaussian_filter(random.normal(0, width, (32, 32)), width) for width in (1.2, 3))
        image = 100 + 80 * blob + 50 * anatomy + random.normal(0, 4, (32, 32))
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(tmp_path / "data" / f"{k}.png")
        row = {"sample": f"s{k}", "group": f"g{k // 3}", "group_kind": "patient", "path": f"{k}.png"}
        split = ("train", "train", "test")[k // 3 % 3]
        rows.append(row | {"label": CLASSES[k % 3], "split": split, "site": "here"})
    return write_manifest(tmp_path / "data", rows, CLASSES)


@pytest.fixture
def copied(clean: Path) -> Path:
    """The same with the image of s0 (low) once more as s20 (high) of another group."""
    shutil.copyfile(clean.parent / "0.png", clean.parent / "20.png")
    return clean


def answers(out: Path) -> dict[str, str]:
    return {check["code"]: check["status"] for check in json.loads((out / "checks.json").read_text("utf-8"))["checks"]}


def test_a_clean_manifest_passes_and_leaves_its_report(clean: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert medimg("check", clean) == 0
    out = clean.parent / "checks"
    assert sorted(path.name for path in out.iterdir()) == ["checks.json", "checks.md", "checks_rows.csv"]
    assert set(answers(out).values()) <= {"silent", "not applicable"} and len(answers(out)) == 9
    assert (out / "checks.md").read_text("utf-8") in capsys.readouterr().out
    assert (out / "checks_rows.csv").read_text("utf-8") == "check,sample,group,other_sample,other_group,reason\n"
    assert [path.name for path in clean.parent.parent.iterdir() if path.name.startswith(".")] == []


def test_what_fires_stops_with_status_3_and_names_every_row(copied: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    refusal = refused("check", copied, "--out", out)
    assert refusal.code == "DATA_CHECK" and refusal.exit_status == 3
    assert "NEAR_DUPLICATES, CONTRADICTORY_LABELS" in refusal.message() and str(out / "checks.md") in refusal.message()
    with (out / "checks_rows.csv").open(newline="") as file:
        rows = [(row["check"], row["sample"], row["group"], row["other_sample"]) for row in csv.DictReader(file)]
    assert rows == [("NEAR_DUPLICATES", "s0", "g0", "s20"), ("CONTRADICTORY_LABELS", "s0", "g0", "s20")]
    assert json.loads((out / "checks.json").read_text("utf-8"))["stopping"] == [
        "NEAR_DUPLICATES",
        "CONTRADICTORY_LABELS",
    ]


def test_waivers_in_writing_let_training_go_on_until_the_data_change(copied: Path) -> None:
    out = copied.parent / "checks"
    waive = ("--reason", "known twins", "--who", "A. Reader")
    assert "CONTRADICTORY_LABELS;" in refused("check", copied, "--waive", "NEAR_DUPLICATES", *waive).message()
    assert medimg("check", copied, "--waive", "CONTRADICTORY_LABELS", *waive) == 0
    assert medimg("check", copied) == 0
    given = json.loads((out / "waivers.json").read_text("utf-8"))["NEAR_DUPLICATES"]
    assert (given["reason"], given["who"]) == ("known twins", "A. Reader") and given["when"].startswith("20")
    assert "Waived by A. Reader" in (out / "checks.md").read_text("utf-8")
    copied.write_text(copied.read_text("utf-8").replace("here", "there"))
    assert refused("check", copied).code == "DATA_CHECK"
    assert "The waiver of NEAR_DUPLICATES has lapsed" in (out / "checks.md").read_text("utf-8")


def test_a_waiver_that_nobody_needs_is_said(clean: Path) -> None:
    assert medimg("check", clean, "--waive", "VOLUME_VALUES", "--reason", "just in case", "--who", "me") == 0
    found = json.loads((clean.parent / "checks" / "checks.json").read_text("utf-8"))
    assert found["unneeded_waivers"] == ["VOLUME_VALUES"] and found["waived"] == {}
    assert "The waiver of VOLUME_VALUES is not needed" in (clean.parent / "checks" / "checks.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--waive", "NEAR_DUPLICATES"), "needs a reason"),
        (("--waive", "NEAR_DUPLICATES", "--reason", "  ", "--who", "me"), "needs a reason"),
        (("--waive", "NEAR_DUPES", "--reason", "they are fine"), "no check 'NEAR_DUPES'"),
    ],
)
def test_a_waiver_without_reason_or_check_is_refused_and_not_written(
    copied: Path, words: tuple[str, ...], why: str
) -> None:
    refusal = refused("check", copied, *words)
    assert refusal.code == "DATA_WAIVER" and why in refusal.message()
    assert not (copied.parent / "checks").exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"NEAR_DUPLICATES": {"reason": "r"}}', '{"NEAR_DUPLICATES": 1}'])
def test_damaged_waivers_are_refused(clean: Path, content: str) -> None:
    (clean.parent / "checks").mkdir()
    (clean.parent / "checks" / "waivers.json").write_text(content)
    assert refused("check", clean).code == "DATA_WAIVER"


def test_waivers_of_nobody_are_none() -> None:
    with pytest.raises(ValueError, match="who gives it"):
        Waiver("a reason", "", "2026-01-31", "0" * 64)


def test_with_a_split_copies_within_a_role_do_not_stop(clean: Path, tmp_path: Path) -> None:
    shutil.copyfile(clean.parent / "0.png", clean.parent / "3.png")  # both low, both train
    split = tmp_path / "split.json"
    split_from_column(Manifest.read(clean)).write(split)
    assert medimg("check", clean, "--split", split) == 0
    assert "none of them across roles" in (clean.parent / "checks" / "checks.md").read_text("utf-8")
    shutil.copyfile(clean.parent / "0.png", clean.parent / "6.png")  # test
    assert "in fit and evaluate" in (refused("check", clean, "--split", split), _rows(clean))[1]


def _rows(manifest: Path) -> str:
    return (manifest.parent / "checks" / "checks_rows.csv").read_text("utf-8")


def test_the_report_speaks_chinese_too(copied: Path) -> None:
    refusal = refused("check", copied, "--language", "zh")
    assert "触发" in (copied.parent / "checks" / "checks.md").read_text("utf-8")
    assert refusal.message("zh").startswith("error[DATA_CHECK]: 有检查触发且未豁免：NEAR_DUPLICATES")


def test_every_file_that_cannot_be_used_is_named_in_one_run(clean: Path) -> None:
    folder = clean.parent
    (folder / "5.png").write_bytes(b"no image")
    Image.fromarray(np.full((16, 16), 9, np.uint8)).save(folder / "8.png")
    nan = np.zeros((4, 8, 8), "<f4")
    nan[1, 2, 3] = np.nan
    head = "NRRD0004\ntype: float\ndimension: 3\nsizes: 8 8 4\nencoding: raw\nendian: little\n"
    head += "space: left-posterior-superior\nspace directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n\n"
    (folder / "volume.nrrd").write_bytes(head.encode() + nan.tobytes())
    clean.write_text(clean.read_text("utf-8").replace("11.png", "volume.nrrd"))
    assert "VOLUME_VALUES" in refused("check", clean).message()
    with (folder / "checks" / "checks_rows.csv").open(newline="") as file:
        found = {row["sample"]: row["reason"] for row in csv.DictReader(file) if row["check"] == "VOLUME_VALUES"}
    assert set(found) == {"s5", "s8", "s11"}
    assert "INPUT_NOT_AN_IMAGE" in found["s5"] and "no contrast" in found["s8"] and "finite" in found["s11"]


def test_nothing_readable_at_all_is_refused_and_leaves_nothing(clean: Path) -> None:
    for picture in clean.parent.glob("*.png"):
        picture.write_bytes(b"no image")
    assert refused("check", clean).code == "DATA_MANIFEST"
    assert sorted(path.suffix for path in clean.parent.iterdir() if path.suffix != ".png") == [".csv", ".json"]


def test_a_folder_that_cannot_be_written_is_refused(clean: Path) -> None:
    assert refused("check", clean, "--out", clean / "report").code == "USAGE_OUTPUT_NOT_WRITABLE"


def test_headers_are_read_as_the_file_states_them(tmp_path: Path) -> None:
    voxels = np.arange(2 * 3 * 4, dtype="<i2").reshape(2, 3, 4)
    head = "NRRD0004\ntype: short\ndimension: 3\nsizes: 4 3 2\nencoding: raw\nendian: little\n"
    head += "space: left-posterior-superior\nspace directions: (0.5,0,0) (0,0,-2) (0,3,0)\nspace origin: (0,0,0)\n\n"
    (tmp_path / "v.nrrd").write_bytes(head.encode() + voxels.tobytes())
    rows = [Row("a", "a", "patient", tmp_path / "v.nrrd", "x", slice_to=2)]
    rows += [Row("b", "a", "patient", tmp_path / "v.nrrd", "x", slice_from=1, slice_to=3)]
    headers = read_headers(rows)
    assert headers["a"].shape == (2, 3, 4) and headers["a"].spacing_mm == (3, 2, 0.5) and headers["a"].axes == "PIL"
    assert headers["b"].problem == "it has 2 slices, the manifest asks for 1..3"


def test_a_bundle_tells_its_training_groups_to_who_has_the_key(clean: Path, tmp_path: Path) -> None:
    key = b"0123456789abcdef secret"
    entry, files = training_groups(["g4", "another"], key)
    shipped = resources.bundles()["body-region"]
    told = tmp_path / "told"
    shutil.copytree(shipped, told)
    manifest = json.loads((told / "manifest.json").read_text("utf-8"))
    manifest["training_groups"] = entry
    for name, content in files.items():
        (told / name).write_bytes(content)
        manifest["files"][name] = bundle_files.describe(content)
    (told / "manifest.json").write_text(json.dumps(manifest))
    assert trained_on(bundle.load(shipped)).hashes is None
    known = trained_on(bundle.load(told))
    assert known.key == entry["key"] and known.hashes is not None and len(known.hashes) == 2
    (tmp_path / "key").write_bytes(key + b"\n")
    assert "REUSE" in refused("check", clean, "--backbone", told, "--key", tmp_path / "key").message()
    assert "REUSE,s12,g4,,," in _rows(clean)
    assert medimg("check", clean, "--backbone", told) == 0 and "key missing" in (
        (clean.parent / "checks" / "checks.md").read_text("utf-8")
    )
    (tmp_path / "key").write_bytes(b"short")
    assert refused("check", clean, "--key", tmp_path / "key").code == "DATA_GROUP_KEY"
    assert refused("check", clean, "--key", tmp_path / "none").code == "INPUT_NOT_FOUND"


def test_the_help_needs_nothing_heavy() -> None:
    code = (
        "import argparse, sys; from medimg_training.check_command import add_command;"
        "add_command(argparse.ArgumentParser().add_subparsers());"
        "print([m for m in ('numpy', 'torch', 'sklearn', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---------------------------------------------------------------- real data


def unpacked(name: str, folder: Path, kept: Callable[[dict[str, str]], bool]) -> list[dict[str, str]]:
    """The rows of an archive's table that are kept, their files in folder/name; skips where it is not at hand."""
    archive = SHARED_DATA / f"{name}.zip"
    if not archive.is_file():
        pytest.skip(f"real data are not at hand ({archive.name} in ../shared/data)")
    with archive.with_suffix(".csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if kept(row)]
    with zipfile.ZipFile(archive) as packed:
        inside = {member.split(f"{name}/", 1)[-1]: member for member in packed.namelist()}
        for row in rows:
            (folder / row["file"]).parent.mkdir(parents=True, exist_ok=True)
            (folder / row["file"]).write_bytes(packed.read(inside[row["file"]]))
    return rows


def checked(folder: Path, records: list[dict[str, Any]], *words: str) -> dict[str, dict[str, Any]]:
    manifest = write_manifest(folder, records, sorted({str(row["label"]) for row in records}))
    assert refused("check", manifest, *words).code == "DATA_CHECK"
    return {
        check["code"]: check for check in json.loads((folder / "checks" / "checks.json").read_text("utf-8"))["checks"]
    }


def test_the_box_of_ixi_gives_the_sex_away(tmp_path: Path) -> None:
    rows = unpacked("ixi_t1_2p5mm", tmp_path, lambda row: True)
    records: list[dict[str, Any]] = [
        {"sample": r["subject"], "group": r["subject"], "group_kind": "patient", "path": r["file"], "label": r["sex"]}
        | {"plane": "axial", "slice_from": 30, "slice_to": 31}
        for r in rows
    ]
    found = checked(tmp_path, records)
    assert found["HEADER_SHORTCUT"]["status"] == "fires" and found["HEADER_SHORTCUT"]["numbers"]["auc"] > 0.85
    assert found["NEAR_DUPLICATES"]["status"] == "silent" and found["VOLUME_VALUES"]["status"] == "silent"


def test_the_background_of_mednist_gives_the_class_away(tmp_path: Path) -> None:
    rows = unpacked("mednist64", tmp_path, lambda row: row["split"] == "test")
    records: list[dict[str, Any]] = [
        {"sample": r["file"], "group": r["cluster"], "group_kind": "cluster", "path": r["file"], "label": r["label"]}
        for r in rows
    ]
    found = checked(tmp_path, records)
    assert found["BACKGROUND_SHORTCUT"]["status"] == "fires"
    assert min(found["BACKGROUND_SHORTCUT"]["numbers"]["auc_by_class"].values()) > 0.9
    assert found["HEADER_SHORTCUT"]["status"] == "silent"  # all are 64 x 64 JPEG


def test_what_a_split_by_slice_would_claim_is_shown_when_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Groups of four slices that resemble each other; nothing in them goes with the label."""
    random, rows = np.random.default_rng(3), []
    for group in range(24):
        own = random.integers(60, 200, (16, 16))
        for number in range(4):
            image = np.clip(own + random.normal(0, 3, (16, 16)), 0, 255).astype(np.uint8)
            name = f"{group}_{number}.png"
            Image.fromarray(image).save(tmp_path / name)
            row = {"sample": name, "group": f"g{group}", "group_kind": "patient", "path": name}
            rows.append(row | {"label": "ab"[group % 2]})
    medimg("check", write_manifest(tmp_path, rows, ("a", "b")), "--by-slice", "--out", tmp_path / "out")
    assert "a split by image claims" in capsys.readouterr().out
    text = (tmp_path / "out" / "leakage.md").read_text("utf-8")
    permuted = next(line for line in text.splitlines() if line.startswith("| permuted"))
    claimed, held = (float(cell.split("[")[0]) for cell in permuted.split("|")[2:4])
    assert claimed > 0.9
    assert held < 0.7
    assert (tmp_path / "out" / "leakage.png").read_bytes()[:4] == b"\x89PNG"
