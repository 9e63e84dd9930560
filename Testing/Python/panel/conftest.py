"""The panel in the stand-in host: one application per process, an empty scene and a fresh panel per test."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
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
    """Answers like the engine at the second poll: `LABELS[0]` everywhere, evidence for it in one corner, for the second
    in the opposite one, none for the third. `before` runs before the answer, to disturb a running panel."""

    def __init__(self) -> None:
        self.before: Callable[[], None] = lambda: None
        self.answer: Callable[[Any], Any] = fake_classification
        self.closed = False
        self.bundle: Path | None = None  # which it calls its own, None for the one that is asked for
        self.volumes: list[Any] = []
        self.bundles: list[Path] = []
        self.settings: list[dict[str, Any]] = []

    def start(self, case: Any, bundle: Path, **settings: Any) -> FakeRun:
        self.volumes.append(case)
        self.bundles.append(bundle)
        self.settings.append(settings)
        return FakeRun(self, case, bundle)

    def close(self) -> None:
        self.closed = True


class FakeRun:
    """What the client gives to be polled."""

    def __init__(self, client: FakeClient, case: Any, bundle: Path) -> None:
        self.stage, self.fraction, self.seconds_left = "hand over", 0.0, None
        self.ended = False
        self._client, self._case, self._bundle = client, case, bundle
        self._polls, self._cancelled = 0, False

    def poll(self) -> bool:
        self._polls += 1
        self.stage, self.fraction, self.seconds_left = "classify", 0.5, 12.0
        if self._polls == 2 and not self._cancelled:
            self._client.before()
        self.ended = self._polls > 2
        return self.ended

    def cancel(self) -> None:
        self._cancelled = True

    def result(self) -> Any:
        from MedImgClassifierLib.engine.errors import Refusal

        if self._cancelled:
            raise Refusal("CANCELLED")
        answer = self._client.answer(self._case)
        if isinstance(answer, Exception):
            raise answer
        content = ((self._client.bundle or self._bundle) / "manifest.json").read_bytes()
        facts = json.loads(content)
        named = {name: facts[name] for name in ("id", "version", "title", "intended_use", "licence")}
        return replace(answer, bundle={**named, "manifest_sha256": hashlib.sha256(content).hexdigest()})


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
        key_slices=(KeySlice(count // 2, 0, "most_probable"), KeySlice(count - 1, 0, "least_certain")),
        calibrated=False,
        bundle={},
        provenance={"inputs": {"image": {"content_sha256": volume.content_sha256}}, "runtime_choice": "only one"},
    )


def press(host: SimpleNamespace) -> None:
    """Classify, and wait for the end."""
    assert host.ui.classifyButton.enabled, host.ui.classifyButton.toolTip
    host.ui.classifyButton.click()
    settle(lambda: host.panel.panel.runner.work is None)


def refreshed() -> None:
    """Let the application handle what waits to be handled."""
    import slicer

    for _ in range(5):
        slicer.app.processEvents()


def settled(host: SimpleNamespace) -> None:
    """Wait until it is known whether the result is still true of its input."""
    import slicer

    slicer.app.processEvents()
    settle(lambda: not host.panel.panel.follower.freshness.checking)
    slicer.app.processEvents()


@pytest.fixture(scope="session")
def module() -> ModuleType:
    sys.path.insert(0, str(ROOT / "Testing"))
    from host import application

    application.boot()
    return application.load_module(MODULE_FILE)


def manifest(name: str, *channels: str) -> dict[str, Any]:
    """What the panel reads of a bundle."""
    channels = channels or ("image",)
    return {
        "format_version": 1,
        "id": name,
        "version": "1.0.0",
        "title": f"Model {name}",
        "intended_use": f"For {name}.",
        "out_of_scope": ["diagnosis"],
        "known_limits": ["made for tests"],
        "licence": "CC0-1.0",
        "credits": [],
        "labels": [{"name": label, "code": None} for label in LABELS],
        "input": {"channels": [{"name": channel, "modality": [], "units": []} for channel in channels]},
        "calibration": None,
        "evaluation": [],
    }


def settle(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Let the application handle events until something is true."""
    import slicer

    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        slicer.app.processEvents()


@pytest.fixture
def bundles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Path]:
    """Two bundle folders that hold only what the panel itself reads."""
    from MedImgClassifierLib import resources

    found = {}
    for name in ("body-region", "sequence"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "manifest.json").write_text(json.dumps(manifest(name)), encoding="utf-8")
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
    found = SimpleNamespace(
        panel=panel,
        press=lambda: press(found),
        wait=lambda condition: settle(condition, 60.0),
        refreshed=refreshed,
        settled=lambda: settled(found),
        ui=panel.ui,
        window=window,
        logic=panel.logic,
        client=client,
        scene=slicer.mrmlScene,
        composite=view.GetSliceCompositeNode(),
        view=view,
        errors=pythonqt.errors,
    )
    yield found
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
