"""`medimg view --once`: the viewer's work as files, and what it refuses."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from browser_driver import ROOT, SPOT

pytest.importorskip("trame_slicer", reason="the viewer needs the extra 'viewer'")
pytest.importorskip("onnxruntime", reason="classification needs ONNX Runtime")

CODE = "import sys; from MedImgClassifierLib.cli import main; sys.exit(main())"


def view(bundles: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(str(ROOT / folder) for folder in ("MedImgClassifier", "training"))
    return subprocess.run(
        [sys.executable, "-c", CODE, "view", *(str(argument) for argument in arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": paths, "MEDIMG_BUNDLES": str(bundles), "LC_ALL": "C.UTF-8"},
    )


def test_everything_is_written_and_the_viewer_ends(bundles: Path, spot_volume: Path, tmp_path: Path) -> None:
    from PIL import Image

    out = tmp_path / "new" / "results"
    done = view(bundles, spot_volume, "--bundle", "bright-spot-1.0.0", "--classify", "--once", out)
    assert done.returncode == 0, done.stderr
    names = {"views.png", "results.csv", "results.json", "report.html", "scene.mrb"}
    assert {path.name for path in out.iterdir()} == names
    assert done.stderr == "" and all(name in done.stdout for name in names)
    assert len(list(csv.DictReader((out / "results.csv").open(encoding="utf-8")))) == 6
    assert json.loads((out / "results.json").read_text("utf-8"))["bundle"]["id"] == "bright-spot"
    picture = np.asarray(Image.open(out / "views.png").convert("RGB")).astype(int)
    assert picture.shape == (960, 1280, 3)
    axial = picture[:480, :640]
    assert (np.ptp(axial, axis=-1) > 40).mean() > 0.02  # evidence is the only color there


def test_saved_scene_has_the_settings_that_the_panel_reads(bundles: Path, spot_volume: Path, tmp_path: Path) -> None:
    from MedImgClassifierLib.scene.result_nodes import resultOf
    from MedImgClassifierLib.scene.saving import readScene
    from MedImgClassifierLib.scene.session import closeScene
    from MedImgClassifierLib.viewer.settings import SceneSettings

    done = view(bundles, spot_volume, "--bundle", "bright-spot-1.0.0", "--classify", "--once", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    scene = readScene(tmp_path / "out" / "scene.mrb")
    settings = SceneSettings(scene)
    assert settings.bundle == "bright-spot-1.0.0" and settings.inputVolume.GetName() == "spot.nii.gz"
    assert resultOf(settings.resultTable).volume is settings.inputVolume
    assert settings.inputVolume.GetImageData().GetDimensions() == (48, 64, 6)
    assert settings.inputVolume.GetImageData().GetScalarComponentAsDouble(*SPOT, 0) == 1000
    closeScene(scene)


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["none.nii.gz"], 3, "INPUT_NOT_FOUND"),
        (["--root", "none"], 3, "INPUT_NOT_FOUND"),
        (["--bundle", "none"], 2, "USAGE_BUNDLE_UNKNOWN"),
        (["--port", "70000"], 2, "0 to 65535"),
        (["--classify"], 2, "need INPUT"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(
    bundles: Path, arguments: list[str], status: int, code: str
) -> None:
    done = view(bundles, *arguments)
    assert done.returncode == status and code in done.stderr


def test_image_that_is_none_leaves_nothing(bundles: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.nii.gz").write_bytes(b"no image")
    done = view(bundles, tmp_path / "bad.nii.gz", "--classify", "--once", tmp_path / "out")
    assert done.returncode == 3 and "error[INPUT_" in done.stderr
    assert not (tmp_path / "out").exists()
