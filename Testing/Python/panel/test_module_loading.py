"""Loading the module and opening its panel: cheap, complete, and sound without main window, views or models."""

from __future__ import annotations

import subprocess
import sys
import unittest
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]

HEAVY = {
    *("numpy", "scipy", "SimpleITK", "pydicom", "PIL", "matplotlib"),
    *("torch", "torchvision", "onnxruntime", "openvino", "safetensors"),
}

OPEN_PANEL = f"""
import builtins, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT / "Testing")!r})
from host import application
application.boot()  # the host itself may load what it likes
plain, asked = builtins.__import__, set()
def noting(name, globals=None, *rest, **named):
    if (globals or {{}}).get("__name__", "").startswith("MedImgClassifier"):
        asked.add(name.split(".")[0])
    return plain(name, globals, *rest, **named)
builtins.__import__ = noting
module = application.load_module(Path({str(ROOT / "MedImgClassifier" / "MedImgClassifier.py")!r}))
application.open_panel(module)
print("asked for:", *sorted(asked))
"""


def test_opening_the_panel_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", OPEN_PANEL], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    asked = set(done.stdout.split("asked for:")[1].split())
    assert {"slicer", "MedImgClassifierLib"} <= asked
    assert not asked & HEAVY


def test_module_describes_itself(module: ModuleType) -> None:
    import slicer

    parent = slicer.modules.medimgclassifier
    assert parent.title and parent.categories and parent.contributors
    assert "not for diagnosis" in parent.helpText


def test_sample_data_has_an_address_and_the_checksum_of_what_lies_there(module: ModuleType) -> None:
    import SampleData
    import slicer

    SampleData.SampleDataLogic.sources.clear()
    slicer.app.startupCompleted.emit()
    source = SampleData.SampleDataLogic.sources[-1]
    assert source["category"] == "MedImgClassifier"
    assert source["uris"].startswith("https://github.com/Slicer/")
    assert source["uris"].endswith(source["checksums"].replace("SHA256:", "SHA256/"))


def test_notice_in_the_panel_is_the_engine_s_notice(host: SimpleNamespace) -> None:
    from MedImgClassifierLib.engine.result import NOTICE

    assert host.ui.noticeLabel.text == NOTICE


def test_classify_waits_for_a_volume_and_says_so(host: SimpleNamespace) -> None:
    assert not host.ui.classifyButton.enabled
    assert "input volume" in host.ui.classifyButton.toolTip


def test_classify_is_ready_when_a_volume_is_chosen(host: SimpleNamespace, volume: Any) -> None:
    assert host.ui.classifyButton.enabled


def test_classify_refuses_a_volume_without_voxels(host: SimpleNamespace) -> None:
    node = host.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    host.ui.inputSelector.setCurrentNode(node)
    assert not host.ui.classifyButton.enabled
    assert "no voxels" in host.ui.classifyButton.toolTip


def test_panel_without_any_model_says_what_to_do(
    module: ModuleType, host: SimpleNamespace, volume: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from host import application
    from MedImgClassifierLib import resources
    from MedImgClassifierLib.engine.errors import Refusal

    def none_shipped() -> dict[str, Path]:
        raise Refusal("RESOURCE_NOT_INSTALLED", name="Models", places="nowhere")

    for none in (dict, none_shipped):
        monkeypatch.setattr(resources, "bundles", none)
        panel, window = application.open_panel(module)
        assert not panel.ui.classifyButton.enabled
        assert "No model" in panel.ui.classifyButton.toolTip
        panel.exit()
        panel.cleanup()
        window.close()


def test_leaving_and_entering_keeps_the_settings(host: SimpleNamespace, volume: Any) -> None:
    host.ui.opacitySlider.value = 0.75
    host.panel.exit()
    host.panel.enter()
    assert host.ui.opacitySlider.value == 0.75
    assert host.ui.inputSelector.currentNode() is volume


def test_the_module_s_own_tests_run_here(module: ModuleType) -> None:
    """What `ctest` and "Reload and Test" run inside Slicer; it skips itself without a model or a runtime."""
    from host import application

    panel, window = application.open_panel(module)
    outcome = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(module.MedImgClassifierTest).run(outcome)
    panel.cleanup()
    window.close()
    assert outcome.testsRun == 3
    assert outcome.wasSuccessful(), outcome.errors + outcome.failures
    if outcome.skipped:
        pytest.skip(outcome.skipped[0][1])
