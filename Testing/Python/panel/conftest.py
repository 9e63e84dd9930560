"""The panel in the stand-in host: one application per process, an empty scene and a fresh panel per test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="the stand-in host needs PySide6")
pytest.importorskip("slicer", reason="the panel's scene needs slicer-core")

ROOT = Path(__file__).resolve().parents[3]
MODULE_FILE = ROOT / "MedImgClassifier" / "MedImgClassifier.py"

LABELS = ("HeadCT", "ChestCT", "HandXR")


class FakeClient:
    """Answers like the engine, at once: `LABELS[0]` everywhere, evidence for it in one corner, for the second in
    the opposite one, none for the third. `before` runs between the progress calls, to disturb a running panel."""

    def __init__(self) -> None:
        self.before: Callable[[], None] = lambda: None
        self.volumes: list[Any] = []
        self.bundles: list[Path] = []

    def classify(self, volume: Any, bundle: Path, progress: Any = None, **_options: Any) -> Any:
        self.volumes.append(volume)
        self.bundles.append(bundle)
        progress("classifying", 0.5)
        self.before()
        progress("classifying", 1.0)
        return fake_classification(volume)

    def close(self) -> None:
        pass


def fake_classification(volume: Any) -> Any:
    from MedImgClassifierLib.engine.result import (
        Classification,
        Evidence,
        Finding,
        KeySlice,
        Label,
        Placement,
        SliceResults,
    )

    count, rows, columns = volume.voxels.shape[:3]
    logits = np.tile([2.0, 0.0, -2.0], (count, 1))
    maps = np.full((count, 3, 4, 4), -1.0, np.float32)
    maps[:, 0, 0, 0], maps[:, 1, 3, 3] = 2.0, 1.0
    step_i = volume.row_direction_lps * volume.spacing_mm[0] * columns / 4
    step_j = volume.column_direction_lps * volume.spacing_mm[1] * rows / 4
    placement = Placement(volume.slice_origins_lps + (step_i + step_j) / 2, step_i, step_j)
    return Classification(
        labels=tuple(Label(name) for name in LABELS),
        slices=SliceResults(
            centre_lps=volume.slice_centres_lps,
            normal_lps=np.tile(volume.normal_lps, (count, 1)),
            native_k=tuple(range(count)),
            logits=logits,
            probabilities=np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True),
        ),
        evidence=Evidence(maps, np.array([2.0, 1.0, 0.0]), placement, "closed_form"),
        findings=(Finding("SPACING_UNEVEN", "warn", "slice steps differ"),),
        key_slices=(KeySlice(count // 2, 0, "most_probable"),),
        calibrated=False,
        bundle={
            "id": "fake",
            "version": "1.0",
            "title": "Fake",
            "intended_use": "Tests of the panel.",
            "licence": "none",
            "manifest_sha256": "0" * 64,
        },
    )


@pytest.fixture(scope="session")
def module() -> ModuleType:
    sys.path.insert(0, str(ROOT / "Testing"))
    from host import application

    application.boot()
    return application.load_module(MODULE_FILE)


@pytest.fixture
def bundles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Path]:
    """Two bundle folders that hold only what the panel itself reads."""
    from MedImgClassifierLib import resources

    found = {}
    for name in ("body-region", "sequence"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "manifest.json").write_text(f'{{"intended_use": "For {name}."}}', encoding="utf-8")
        found[name] = folder
    monkeypatch.setattr(resources, "bundles", lambda: dict(found))
    return found


@pytest.fixture
def host(module: ModuleType, bundles: dict[str, Path]) -> Iterator[SimpleNamespace]:
    """Panel, its logic with a fake client, the scene and a Red slice view. Fails on an exception in a slot."""
    import slicer

    from host import application, pythonqt

    slicer.mrmlScene.Clear(True)
    view = application.add_slice_view()
    client = FakeClient()
    panel, window = application.open_panel(module)
    panel.logic.client = client
    yield SimpleNamespace(
        panel=panel,
        ui=panel.ui,
        window=window,
        logic=panel.logic,
        client=client,
        scene=slicer.mrmlScene,
        composite=view.GetSliceCompositeNode(),
        view=view,
        errors=pythonqt.errors,
    )
    panel.exit()
    panel.cleanup()
    window.close()
    slicer.mrmlScene.Clear(True)
    remaining = list(pythonqt.errors)
    pythonqt.errors.clear()
    assert not remaining


@pytest.fixture
def volume(host: SimpleNamespace) -> Any:
    """A small CT-like volume node in the scene, chosen as the panel's input."""
    import slicer

    voxels = np.random.default_rng(0).integers(-1000, 1000, (5, 16, 20), dtype=np.int16)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT head")
    slicer.util.updateVolumeFromArray(node, voxels)
    node.SetSpacing(1.0, 1.5, 5.0)
    node.CreateDefaultDisplayNodes()
    host.ui.inputSelector.setCurrentNode(node)
    return node
