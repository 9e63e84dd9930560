"""The plan: each choice follows from the data, can be changed, and says who made it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medimg_training.datasets.manifest import Manifest
from medimg_training.fingerprint import Fingerprint, Grid
from medimg_training.plan import ALLOWED, OPTIONAL, Plan, read_plan
from medimg_training.plan_rules import make_plan
from medimg_training.training_memory import training_bytes
from MedImgClassifierLib.cli import main
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.networks import build
from MedImgClassifierLib.engine.preprocess import geometry, intensity
from MedImgClassifierLib.engine.volume import Volume

MakeManifest = Callable[..., Path]
CT = {"kinds": Counter({"CT HU": 4000}), "values": {"CT HU": Counter({-125: 500, -10: 50, 0: 300, 5: 300, 60: 50})}}


@pytest.fixture
def manifest(png_manifest: MakeManifest) -> Manifest:
    return Manifest.read(png_manifest(6, lambda rows: [row.pop("split") for row in rows]))


def fingerprint(**changes: Any) -> Fingerprint:
    """200 patients with 20 axial MR slices of 180 x 160 pixels of 1 mm each, half of them of each of two classes."""
    grid = Grid(180, 160, 20, 1.0, 1.0, 4.0)
    usual = Fingerprint(
        images=Counter(a=2000, b=2000),
        groups=Counter(a=100, b=100),
        group_sizes=Counter({20: 200}),
        grids={"native": Counter({grid: 200}), "axial": Counter({grid: 200})},
        native_planes=Counter(axial=200),
        kinds=Counter({"MR arbitrary": 4000}),
        values={"MR arbitrary": Counter({100: 1})},
    )
    return replace(usual, **changes)


def rows_with(manifest: Manifest, **values: Any) -> Manifest:
    return replace(manifest, rows=tuple(replace(row, **values) for row in manifest.rows))


def test_every_choice_has_a_value_that_may_stand_there_and_a_reason(manifest: Manifest) -> None:
    plan = make_plan(fingerprint(), manifest)
    assert set(ALLOWED) - set(plan.choices) <= OPTIONAL
    for name, choice in plan.choices.items():
        assert ALLOWED[name][0](choice.value), name
        assert choice.reason
        assert choice.by == "rule"


@pytest.mark.parametrize(
    ("changes", "choice", "value"),
    [
        ({}, "plane", "native"),
        ({"native_planes": Counter(axial=3, sagittal=7)}, "plane", "sagittal"),
        ({}, "field_of_view_mm", 180),
        ({}, "size", 192),
        ({}, "intensity", "percentile"),
        ({}, "modality", "MR"),
        ({"kinds": Counter({"MR arbitrary": 1, "CR arbitrary": 1})}, "modality", ""),
        (CT, "intensity", "window"),
        (CT, "units", "HU"),
        (CT, "window", [200.0, 560]),
        ({"kinds": Counter({" RGB": 1})}, "intensity", "fixed"),
        ({}, "epochs", 32),
        ({}, "sampler", "natural"),
        ({"images": Counter(a=3100, b=1000)}, "sampler", "balanced"),
        ({"group_sizes": Counter({10: 180, 60: 20})}, "sampler", "group_balanced"),
        ({}, "folds", 5),
        ({"groups": Counter(a=100, b=3)}, "folds", 3),
        ({}, "seeds", 3),
        ({"group_sizes": Counter({20: 500})}, "seeds", 1),
    ],
)
def test_choices_follow_from_the_data(changes: dict[str, Any], choice: str, value: Any, manifest: Manifest) -> None:
    if "native_planes" in changes:
        grids = fingerprint().grids["native"]
        changes = changes | {"grids": {"native": grids, "axial": grids, "sagittal": grids}}
    assert make_plan(fingerprint(**changes), manifest)[choice] == value


def test_pictures_without_a_pixel_size_are_shown_whole(manifest: Manifest) -> None:
    grids = {"native": Counter({Grid(28, 30, 1, 0, 0, 0): 200})}
    plan = make_plan(fingerprint(grids=grids, native_planes=Counter(picture=200)), manifest)
    assert (plan["field_of_view_mm"], plan["size"]) == (0, 32)
    assert plan.input_spec().size == (32, 32)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kinds": Counter({"CT HU": 5, "CT arbitrary": 5})}, "HU and arbitrary|arbitrary and HU"),
        ({"native_planes": Counter(axial=3, picture=7)}, "pictures and volumes are mixed"),
        ({"groups": Counter(a=100, b=1)}, "class b has 1 groups"),
        ({"groups": Counter(a=100, b=0)}, "class b has 0 groups"),
        ({"kinds": Counter({"CT HU": 5}), "values": {"CT HU": Counter({-125: 9})}}, "no pixel lies above"),
    ],
)
def test_data_that_no_plan_fits_are_refused(changes: dict[str, Any], said: str, manifest: Manifest) -> None:
    with pytest.raises(Refusal, match=said) as refused:
        make_plan(fingerprint(**changes), manifest)
    assert refused.value.code == "DATA_PLAN"


def test_the_manifest_s_own_split_is_kept(manifest: Manifest) -> None:
    rows = [replace(row, split="test" if n % 2 else "train") for n, row in enumerate(manifest.rows)]
    assert make_plan(fingerprint(), replace(manifest, rows=tuple(rows)))["scheme"] == "column"
    rows = [replace(row, split="train") for row in rows]
    assert make_plan(fingerprint(), replace(manifest, rows=tuple(rows)))["scheme"] == "k_fold"


def test_rows_that_name_their_plane_decide(manifest: Manifest) -> None:
    grids = fingerprint().grids["native"]
    mixed = fingerprint(native_planes=Counter(axial=3, sagittal=7), grids={"axial": grids, "coronal": grids})
    assert make_plan(mixed, rows_with(manifest, plane="axial"))["plane"] == "axial"
    some = (replace(manifest.rows[0], plane="coronal"), *rows_with(manifest, plane="axial").rows[1:])
    assert make_plan(mixed, replace(manifest, rows=some))["plane"] == "native"


def test_later_choices_build_on_what_was_asked_for(manifest: Manifest) -> None:
    plan = make_plan(fingerprint(), manifest, {"size": 32, "pretrained": "imagenet"})
    assert plan.choices["size"].by == "asked"
    assert plan["learning_rate"] == 0.0001
    free = make_plan(fingerprint(), manifest)
    assert free["learning_rate"] == 0.001


def test_less_memory_makes_smaller_batches(manifest: Manifest) -> None:
    batches = [make_plan(fingerprint(), manifest, memory_gib=gib)["batch"] for gib in (4.0, 0.6, 0.4)]
    assert batches[0] == 64
    assert batches[0] > batches[1] > batches[2] >= 2
    with pytest.raises(Refusal, match=r"0.1 GiB are allowed"):
        make_plan(fingerprint(), manifest, memory_gib=0.1)


@pytest.mark.parametrize("network", ["resnet18", "alexnet"])
def test_memory_is_what_the_backward_pass_keeps(network: str) -> None:
    facts = {"labels": 2, "channels": 1, "size": 96}
    one, three = (training_bytes(network, {}, **facts, batch=batch) for batch in (1, 3))
    kept: list[int] = []
    module = build(network, labels=2, channels=1).train()
    seen: set[int] = set()

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter) and tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            kept.append(tensor.untyped_storage().nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        graph = module(torch.zeros(3, 1, 96, 96)).sum()
    weights = sum(p.numel() * 4 for p in module.parameters())
    assert graph.requires_grad
    assert three == pytest.approx(4 * weights + sum(kept), rel=0.01)
    assert one < three


def test_the_same_data_give_the_same_bytes(manifest: Manifest, tmp_path: Path) -> None:
    for name in ("one.json", "two.json"):
        make_plan(fingerprint(), manifest).write(tmp_path / name)
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_an_edited_value_is_used_and_marked(manifest: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    make_plan(fingerprint(), manifest).write(path)
    content = json.loads(path.read_text())
    content["choices"]["epochs"]["value"] = 7
    path.write_text(json.dumps(content))
    plan = read_plan(path, manifest.sha256)
    assert plan.recipe().epochs == 7
    assert (plan.choices["epochs"].by, plan.choices["size"].by) == ("edited", "rule")
    assert "(edited)" in plan.to_markdown()
    plan.write(path)
    assert read_plan(path, manifest.sha256).choices["epochs"].by == "edited"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("size", 7, "8 to 1024"), ("size", True, "8 to 1024"), ("network", "lenet", "resnet18"), ("speed", 1, "choices")],
)
def test_a_value_that_cannot_be_is_refused(
    name: str, value: Any, said: str, manifest: Manifest, tmp_path: Path
) -> None:
    with pytest.raises(Refusal, match=said) as refused:
        make_plan(fingerprint(), manifest, {name: value})
    assert refused.value.code == "USAGE_PLAN_CHOICE"
    path = tmp_path / "plan.json"
    make_plan(fingerprint(), manifest).write(path)
    content = json.loads(path.read_text())
    content["choices"][name] = {"value": value, "chosen": value, "reason": "", "by": "rule"}
    path.write_text(json.dumps(content))
    with pytest.raises(Refusal, match=said):
        read_plan(path, manifest.sha256)


def test_a_plan_with_a_choice_missing_or_of_another_manifest_is_refused(manifest: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    make_plan(fingerprint(), manifest).write(path)
    with pytest.raises(Refusal, match="another manifest"):
        read_plan(path, "0" * 64)
    content = json.loads(path.read_text())
    del content["choices"]["batch"]
    path.write_text(json.dumps(content))
    with pytest.raises(Refusal, match="batch is missing"):
        read_plan(path, manifest.sha256)
    path.write_text("{}")
    with pytest.raises(Refusal, match="no plan"):
        read_plan(path, manifest.sha256)


def square(mm: float, pixels: int, inside: int) -> Volume:
    """One slice with a bright square of `inside` pixels in the middle."""
    voxels = np.zeros((1, pixels, pixels), np.float32)
    edge = (pixels - inside) // 2
    voxels[0, edge : edge + inside, edge : edge + inside] = 100
    return Volume.from_matrix(voxels, np.diag([mm, mm, 1, 1]))


def test_a_fixed_field_of_view_hides_the_size_of_the_box(manifest: Manifest) -> None:
    """The same square of 40 mm in boxes of 60 and of 160 mm looks the same."""
    spec = make_plan(fingerprint(), manifest).input_spec()
    images = []
    for volume in (square(1.0, 60, 40), square(2.0, 80, 20)):
        done = geometry([volume], spec)
        images.append(intensity(done.images, spec, done.units))
    assert images[0].shape == images[1].shape == (1, 1, 192, 192)
    assert np.abs(images[0] - images[1]).mean() < 0.1
    assert np.ptp(images[0]) > 1


def plan_of(folder: Path) -> Plan:
    content = json.loads((folder / "plan.json").read_text())
    return read_plan(folder / "plan.json", content["manifest_sha256"])


def test_the_command_writes_what_it_prints(
    png_manifest: MakeManifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = png_manifest(36), tmp_path / "out"
    assert main(["plan", str(path), "--out", str(out), "--set", "size=16", "--set", "pretrained=random"]) == 0
    printed = capsys.readouterr().out
    assert "| size | 16 (asked for) | asked for |" in printed
    assert plan_of(out)["size"] == 16
    assert sum(json.loads((out / "fingerprint.json").read_text())["images"].values()) == 24  # none of split 'test'


def test_the_command_replaces_no_plan_unasked(
    png_manifest: MakeManifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = str(png_manifest(36)), tmp_path / "out"
    assert main(["plan", path, "--out", str(out), "--set", "size=16"]) == 0
    before = (out / "plan.json").read_bytes()
    assert main(["plan", path, "--out", str(out), "--set", "size=24"]) == 3
    assert "--again" in capsys.readouterr().err
    assert (out / "plan.json").read_bytes() == before
    assert main(["plan", path, "--out", str(out), "--set", "size=24", "--again"]) == 0
    assert plan_of(out)["size"] == 24


def test_a_dry_run_writes_nothing(png_manifest: MakeManifest, tmp_path: Path) -> None:
    assert main(["plan", str(png_manifest(36)), "--out", str(tmp_path / "out"), "--dry-run"]) == 0
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wish", ["size", "size=big", "colour=red"])
def test_a_wish_that_cannot_be_is_refused(
    wish: str, png_manifest: MakeManifest, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", str(png_manifest(6)), "--dry-run", "--set", wish]) == 2
    assert "error[USAGE_PLAN_CHOICE]" in capsys.readouterr().err


def test_every_problem_of_a_manifest_stands_in_a_table(
    png_manifest: MakeManifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = png_manifest(12), tmp_path / "out"
    for name in ("2.png", "5.png"):
        (path.parent / name).write_bytes(b"no image")
    assert main(["plan", str(path), "--out", str(out)]) == 3
    assert "error[DATA_MANIFEST]" in capsys.readouterr().err
    lines = (out / "problems.csv").read_text("utf-8").splitlines()
    assert [line.split(",")[1] for line in lines[1:]] == ["s2", "s5"]
    assert not (out / "plan.json").exists()


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"network": "alexnet", "norm": "group"}, "network is alexnet, so take it out"),
        ({"flips": ["rows"], "augmentation": "none"}, "flips cannot be"),
        ({"sampler": "balanced", "class_weights": "balanced"}, "corrected for twice"),
        ({"intensity": "window", "window": [40, 400]}, "a window is of HU"),
        ({"window": [40, 400]}, "window cannot be"),
        ({"scheme": "leave_site_out", "folds": 3}, "folds cannot be"),
    ],
)
def test_choices_that_exclude_each_other_are_refused(
    wishes: dict[str, Any], said: str, manifest: Manifest, tmp_path: Path
) -> None:
    with pytest.raises(Refusal, match=said):
        make_plan(fingerprint(), manifest, wishes)
    path = tmp_path / "plan.json"
    plan = make_plan(fingerprint(), manifest)
    plan.changed(wishes, "edited").write(path)
    with pytest.raises(Refusal, match=said):
        read_plan(path, manifest.sha256)


def test_a_plan_of_folds_needs_their_number(manifest: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    make_plan(fingerprint(), manifest, {"scheme": "leave_site_out"}).write(path)
    content = json.loads(path.read_text())
    content["choices"]["scheme"]["value"] = "k_fold"
    path.write_text(json.dumps(content))
    with pytest.raises(Refusal, match="folds is missing"):
        read_plan(path, manifest.sha256)


@pytest.mark.parametrize("odd", ["", "Test", "holdout"])
def test_a_split_column_that_is_not_whole_is_refused_and_not_left_out(odd: str, manifest: Manifest) -> None:
    rows = [replace(row, split="test" if n % 2 else "train") for n, row in enumerate(manifest.rows)]
    rows[0] = replace(rows[0], split=odd)
    with pytest.raises(Refusal, match=f"split has '{odd}'"):
        make_plan(fingerprint(), replace(manifest, rows=tuple(rows)))
    assert make_plan(fingerprint(), replace(manifest, rows=tuple(rows)), {"scheme": "k_fold"})["scheme"] == "k_fold"


def test_a_field_of_view_of_files_without_a_pixel_size_is_refused(manifest: Manifest) -> None:
    grids = {"native": Counter({Grid(28, 30, 1, 0, 0, 0): 200})}
    pictures = fingerprint(grids=grids, native_planes=Counter(picture=200))
    with pytest.raises(Refusal, match="can be shown whole only"):
        make_plan(pictures, manifest, {"field_of_view_mm": 200})


def test_imagenet_weights_keep_the_network_they_are_of(manifest: Manifest) -> None:
    few = fingerprint(images=Counter(a=30, b=30))
    assert make_plan(few, manifest)["norm"] == "group"
    plan = make_plan(few, manifest, {"pretrained": "imagenet", "size": 32})
    assert (plan["norm"], plan["stem"]) == ("batch", "imagenet")
