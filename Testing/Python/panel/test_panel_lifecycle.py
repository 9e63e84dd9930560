"""The panel through the life of an application: windows that are not there, scenes that come and go, reloads."""

from __future__ import annotations

import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
UPPER_EDGE = 7
LIBRARY = "MedImgClassifierLib"


@pytest.fixture
def window(module: ModuleType) -> Iterator[Any]:
    from host import application

    yield application.open_main_window()
    application.close_main_window()


@pytest.fixture
def seen(window: Any, host: SimpleNamespace, volume: Any) -> SimpleNamespace:
    """A settled result, shown in a slice view of a main window."""
    import slicer

    host.press()
    host.view.FitSliceToBackground()
    host.settled()
    host.text = lambda: (
        slicer.app.layoutManager().sliceWidget("Red").sliceView().cornerAnnotation().GetText(UPPER_EDGE) or ""
    )
    return host


def scroll(host: SimpleNamespace, position: float) -> None:
    import slicer

    host.view.SetSliceOffset(position)
    for _ in range(3):
        slicer.app.processEvents()


# --- text in the views


def test_class_and_probability_stand_in_the_slice_view(seen: SimpleNamespace) -> None:
    scroll(seen, 10.0)
    assert seen.text() == "HeadCT 87 % (uncalibrated)"


def test_text_goes_where_the_view_shows_no_slice_of_the_result(seen: SimpleNamespace) -> None:
    scroll(seen, 10.0)
    scroll(seen, 500.0)
    assert seen.text() == ""


def test_text_goes_with_the_result(seen: SimpleNamespace) -> None:
    scroll(seen, 10.0)
    seen.ui.removeResultButton.click()
    assert seen.text() == ""


def test_text_goes_when_the_module_is_unloaded(seen: SimpleNamespace) -> None:
    scroll(seen, 10.0)
    seen.panel.cleanup()
    assert seen.text() == ""


def test_text_of_others_stays(seen: SimpleNamespace) -> None:
    import slicer

    view = slicer.app.layoutManager().sliceWidget("Red").sliceView()
    view.cornerAnnotation().SetText(2, "patient")
    scroll(seen, 10.0)
    seen.ui.removeResultButton.click()
    assert view.cornerAnnotation().GetText(2) == "patient"


def test_text_of_a_changed_volume_says_that_it_is_out_of_date(seen: SimpleNamespace, volume: Any) -> None:
    import slicer

    scroll(seen, 10.0)
    slicer.util.arrayFromVolume(volume)[0, 0, 0] += 1
    slicer.util.arrayFromVolumeModified(volume)
    slicer.app.processEvents()
    assert seen.text().startswith("OUT OF DATE: HeadCT 87 %")


# --- scenes


def test_without_a_main_window_everything_but_the_text_works(host: SimpleNamespace, volume: Any) -> None:
    import slicer

    assert slicer.app.layoutManager() is None
    host.press()
    host.view.FitSliceToBackground()
    scroll(host, 10.0)
    assert host.ui.currentLabel.text.startswith("slice 2, S 10.0 mm: HeadCT 87 %")


def test_saved_scene_brings_the_result_back(seen: SimpleNamespace, tmp_path: Path) -> None:
    """Panel, table, plot, overlay, text and settings are there again, and known to be true of the volume."""
    from MedImgClassifierLib.scene.saving import writeScene

    seen.ui.thresholdSlider.value = 0.6
    seen.ui.evidenceClassSelector.setCurrentIndex(1)
    seen.ui.unsureButton.click()
    seen.ui.commentEdit.plainText = "later"
    seen.ui.saveReviewButton.click()
    _give_cache(seen.scene, tmp_path)
    writeScene(seen.scene, tmp_path / "saved.mrb")
    seen.scene.Clear(False)
    assert seen.ui.answerLabel.text == "No result yet."
    assert seen.scene.ReadFromMRB(str(tmp_path / "saved.mrb"))
    seen.settled()
    assert seen.ui.answerLabel.text == "HeadCT in 5 of 5 slices (uncalibrated), median 87 %"
    assert not seen.ui.freshnessLabel.visible
    assert seen.ui.resultTableView.mrmlTableNode().GetNumberOfRows() == 5
    assert seen.ui.plotWidget.mrmlPlotViewNode().GetPlotChartNode().GetNumberOfPlotSeriesNodes() == 4
    assert seen.ui.evidenceClassSelector.currentText == "ChestCT"
    assert seen.ui.thresholdSlider.value == pytest.approx(0.6)
    assert seen.ui.unsureButton.checked and seen.ui.commentEdit.plainText == "later"
    scroll(seen, 5.0)
    assert seen.text() == "HeadCT 87 % (uncalibrated)"


def _give_cache(scene: Any, folder: Path) -> None:
    """MRB files are packed and unpacked there; the application has given its scene one."""
    import slicer

    cache = slicer.vtkCacheManager()
    (folder / "cache").mkdir()
    cache.SetRemoteCacheDirectory(str(folder / "cache"))
    cache.SetMRMLScene(scene)
    scene.SetCacheManager(cache)
    data_io = slicer.vtkDataIOManager()
    data_io.SetCacheManager(cache)
    scene.SetDataIOManager(data_io)


def test_scene_with_results_makes_the_panel_that_writes_the_texts(
    window: Any, module: ModuleType, host: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import slicer

    made: list[bool] = []
    monkeypatch.setattr(
        slicer.modules.medimgclassifier, "widgetRepresentation", lambda: made.append(True), raising=False
    )
    module.onSceneImported(host.scene, None)
    assert made == []
    table = host.scene.AddNewNodeByClass("vtkMRMLTableNode", "T")
    table.SetAttribute("MedImgClassifier.Role", "results")
    module.onSceneImported(host.scene, None)
    assert made == [True]


def test_another_scene_may_take_the_place(host: SimpleNamespace, volume: Any) -> None:
    """What the generic test of a module does: the widgets get another scene, and the first one back."""
    import slicer

    host.press()
    other = slicer.vtkMRMLScene()
    top = host.ui.classifyButton.parent()
    top.setMRMLScene(other)
    top.setMRMLScene(slicer.mrmlScene)
    host.ui.inputSelector.setCurrentNode(volume)
    host.press()
    assert host.ui.answerLabel.text.startswith("HeadCT")


def test_unloaded_panel_leaves_no_observer_and_no_timer(host: SimpleNamespace, volume: Any) -> None:
    import slicer

    host.press()
    host.settled()
    host.panel.cleanup()
    slicer.util.arrayFromVolume(volume)[0, 0, 0] += 1
    slicer.util.arrayFromVolumeModified(volume)
    host.view.SetSliceOffset(5.0)
    slicer.app.processEvents()
    table = host.scene.GetFirstNodeByClass("vtkMRMLTableNode")
    assert not table.GetDescription().startswith("OUT OF DATE")


def test_unloaded_panel_ends_the_inference_process(host: SimpleNamespace) -> None:
    assert not host.client.closed
    host.panel.cleanup()
    assert host.client.closed


def test_keys_work_while_the_module_is_shown_only(host: SimpleNamespace) -> None:
    keys = host.panel.panel.shortcuts._shortcuts
    assert [shortcut.key.toString() for shortcut in keys] == ["Ctrl+Alt+PgUp", "Ctrl+Alt+PgDown"]
    assert all(shortcut.enabled for shortcut in keys)
    host.panel.exit()
    assert not any(shortcut.enabled for shortcut in keys)
    host.panel.enter()
    assert all(shortcut.enabled for shortcut in keys)


def test_keys_lead_to_the_key_slices(host: SimpleNamespace, volume: Any) -> None:
    host.press()
    host.view.FitSliceToBackground()
    scroll(host, 0.0)
    back, on = host.panel.panel.shortcuts._shortcuts
    on.activated.emit()
    assert host.view.GetSliceOffset() == pytest.approx(10.0)
    scroll(host, 20.0)
    back.activated.emit()
    assert host.view.GetSliceOffset() == pytest.approx(10.0)


def test_settings_of_a_closed_scene_are_let_go(host: SimpleNamespace, volume: Any) -> None:
    """A wrapper that outlives its scene fails to read the emptied node at every change."""
    host.press()
    wrapper = weakref.ref(host.panel.panel.settings)
    gaps: list[bool] = []
    tag = host.scene.AddObserver(host.scene.StartCloseEvent, lambda *_: gaps.append(wrapper() is None), -1.0)
    host.scene.Clear(False)
    host.scene.RemoveObserver(tag)
    assert gaps == [True]


# --- modules


def test_reload_takes_the_library_anew(module: ModuleType, host: SimpleNamespace, volume: Any) -> None:
    """As "Reload" in Slicer does it: onReload, and the panel is made again."""
    from host import application

    before = {name: found for name, found in sys.modules.items() if name.split(".")[0] == LIBRARY}
    try:
        host.panel.onReload()
        again = application.load_module(Path(module.__file__ or ""))
        panel, window = application.open_panel(again)
        assert sys.modules[f"{LIBRARY}.presenter"] is not before[f"{LIBRARY}.presenter"]
        panel.logic.client = host.client
        panel.ui.inputSelector.setCurrentNode(volume)
        panel.ui.classifyButton.click()
        host.wait(lambda: panel.panel.runner.work is None)
        assert panel.ui.answerLabel.text.startswith("HeadCT in 5 of 5")
        panel.cleanup()
        window.close()
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == LIBRARY]:
            del sys.modules[name]
        sys.modules.update(before)
        application.load_module(Path(module.__file__ or ""))


def test_bundle_removed_during_the_run_does_not_matter(
    host: SimpleNamespace, volume: Any, bundles: dict[str, Path]
) -> None:
    import shutil

    kept = bundles["body-region"].with_name("kept")

    def remove() -> None:
        shutil.copytree(bundles["body-region"], kept)
        shutil.rmtree(bundles["body-region"])

    host.client.before = remove
    host.client.bundle = kept
    host.press()
    assert host.ui.answerLabel.text.startswith("HeadCT in 5 of 5")


def test_bundle_removed_before_the_run_is_refused(host: SimpleNamespace, volume: Any, bundles: dict[str, Path]) -> None:
    """By the real worker, as no fake would."""
    import shutil

    shutil.rmtree(bundles["body-region"])
    host.logic.client = None
    host.press()
    assert "BUNDLE_NOT_FOUND" in host.ui.messageLabel.text
    host.logic.close()


def test_worker_killed_during_a_run_is_said_and_the_next_run_works(
    host: SimpleNamespace, volume: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os
    import signal

    from MedImgClassifierLib import resources

    if os.name != "posix":
        pytest.skip("signals of POSIX")
    spot = Path(__file__).resolve().parents[2] / "data" / "bright-spot"
    monkeypatch.setattr(resources, "bundles", lambda: {"bright-spot": spot})
    host.panel.panel.reloadModels()
    host.logic.client = None
    host.ui.classifyButton.click()
    run = host.panel.panel.runner
    host.wait(lambda: run.work is None or run.work.stage not in ("copy", "hand over", "start"))
    os.kill(host.logic.client._worker.pid, signal.SIGKILL)
    host.wait(lambda: run.work is None)
    assert "RESOURCE_WORKER_DIED" in host.ui.messageLabel.text
    host.press()
    assert "in" in host.ui.answerLabel.text and not host.ui.messageLabel.visible
    host.logic.close()


def test_long_and_chinese_names_are_shown_as_they_are(host: SimpleNamespace, volume: Any) -> None:
    volume.SetName("头部平扫" * 60)
    host.press()
    assert volume.GetName() in host.ui.identityLabel.text


# --- import and installation from the panel


def test_model_is_imported_and_chosen(host: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    from MedImgClassifierLib import resources

    monkeypatch.undo()  # the real list of models
    host.logic.client = None
    spot = Path(__file__).resolve().parents[2] / "data" / "bright-spot"
    host.panel.panel.importModel(spot)
    assert host.ui.classifyButton.text == "Cancel"
    host.wait(lambda: host.panel.panel.runner.work is None)
    try:
        assert not host.ui.messageLabel.visible, host.ui.messageLabel.text
        assert host.panel.panel.settings.bundle.startswith("bright-spot-")
        assert host.ui.bundleSelector.currentText.startswith("bright-spot-")
    finally:
        for name in resources.imported_bundles():
            resources.remove(name)
        host.logic.close()


def test_refused_model_is_said_and_not_there(host: SimpleNamespace, tmp_path: Path) -> None:
    host.logic.client = None
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "manifest.json").write_text("{}")
    host.panel.panel.importModel(tmp_path / "bad")
    host.wait(lambda: host.panel.panel.runner.work is None)
    assert host.ui.messageLabel.text.startswith("error[BUNDLE_")
    host.logic.close()


def test_imported_model_can_be_removed_and_a_shipped_one_not(
    host: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import qt

    from host import dialogs
    from MedImgClassifierLib import resources

    menu = host.panel.panel.models
    menu._onAboutToShow()
    assert not menu._remove.enabled
    removed: list[str] = []
    monkeypatch.setattr(resources, "imported_bundles", lambda: {"sequence": Path("x")})
    left = {name: path for name, path in resources.bundles().items() if name != "sequence"}

    def remove(name: str) -> None:
        removed.append(name)
        monkeypatch.setattr(resources, "bundles", lambda: left)

    monkeypatch.setattr(resources, "remove", remove)
    host.ui.bundleSelector.setCurrentIndex(1)
    menu._onAboutToShow()
    assert menu._remove.enabled
    dialogs.answers.append(qt.QMessageBox.Cancel)
    menu.removeModel()
    assert removed == []
    dialogs.answers.append(qt.QMessageBox.Ok)
    menu.removeModel()
    assert removed == ["sequence"]
    assert host.ui.bundleSelector.findText("sequence") == -1
    assert host.panel.panel.settings.bundle == "body-region"


def test_report_that_cannot_be_made_is_refused(host: SimpleNamespace) -> None:
    host.logic.pythonCommand = ("/no/such/python",)
    host.ui.doctorButton.click()
    assert "RESOURCE_WORKER_START" in host.ui.messageLabel.text
    assert host.ui.classifyButton.text == "Classify"


def test_declined_installation_is_said_and_not_asked_again_by_itself(
    host: SimpleNamespace, volume: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from MedImgClassifierLib.engine.errors import Refusal

    asked: list[bool] = []

    def decline(ready: Any, refused: Any, progress: Any, again: bool = False) -> None:
        asked.append(again)
        refused(Refusal("CANCELLED_INSTALL_DECLINED"))

    monkeypatch.setattr(host.panel.panel.installer, "start", decline)
    host.ui.classifyButton.click()
    assert asked == [False]
    assert host.ui.messageLabel.visible and "error[" not in host.ui.messageLabel.text
    assert host.client.volumes == []
    assert host.ui.classifyButton.enabled


def test_installation_is_shown_and_can_be_cancelled(host: SimpleNamespace, volume: Any) -> None:
    class Installing:
        running, cancelled = True, False

        def cancel(self) -> None:
            self.running, self.cancelled = False, True

        def close(self) -> None:
            pass

    installing = Installing()
    host.panel.panel._installer = installing
    host.panel.panel._onInstalling("Installing libraries", "Collecting onnxruntime")
    assert host.ui.classifyButton.text == "Cancel"
    assert "Collecting onnxruntime" in host.ui.progressLabel.text
    assert host.ui.progressBar.maximum == 0
    host.ui.classifyButton.click()
    assert installing.cancelled
    assert host.client.volumes == []


def test_installation_can_be_asked_for(host: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(host.panel.panel.installer, "start", lambda *_: asked.append(_[3]))
    host.ui.installButton.click()
    assert asked == [True]


def test_report_of_the_installation_comes_to_the_clipboard(host: SimpleNamespace) -> None:
    import qt

    qt.QApplication.clipboard().setText("")
    host.ui.doctorButton.click()
    host.wait(lambda: host.panel.panel.runner.work is None)
    text = qt.QApplication.clipboard().text()
    assert text.startswith("MedImgClassifier ") and "runtimes:" in text
    assert str(Path.home()) not in text


# --- languages


CHINESE = f"""
import sys
from pathlib import Path
sys.path[:0] = [{str(ROOT / "Testing")!r}, {str(ROOT / "MedImgClassifier")!r}]
from host import application, pythonqt
application.boot()
application.set_language("zh_CN")
module = application.load_module(Path({str(ROOT / "MedImgClassifier" / "MedImgClassifier.py")!r}))
import slicer
print(slicer.modules.medimgclassifier.title)
widget, window = application.open_panel(module)
ui = widget.ui
print(widget.panel.language)
for text in (ui.classifyButton.text, ui.classifyButton.toolTip, ui.resultCollapsibleButton.text, ui.answerLabel.text,
             ui.noticeLabel.text, ui.overlayCheckBox.text, ui.cardBrowser.toPlainText().splitlines()[1]):
    print(text)
widget.cleanup()
sys.exit(len(pythonqt.errors))
"""


def test_engine_s_messages_are_in_the_panel_s_language(host: SimpleNamespace, volume: Any) -> None:
    from MedImgClassifierLib.engine.errors import Refusal

    host.panel.panel.language = "zh"
    host.press()
    assert "5 个切片中的 5 个" in host.ui.answerLabel.text
    refusal = Refusal("RESOURCE_WORKER_DIED", reason="-9")
    host.client.answer = lambda _: refusal
    host.press()
    assert host.ui.messageLabel.text == refusal.message("zh")


def test_chinese_panel_speaks_chinese() -> None:
    """In a process of its own: whatever was imported before the language was set keeps the one it had."""
    done = subprocess.run([sys.executable, "-c", CHINESE], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    title, language, *texts = done.stdout.splitlines()
    assert language == "zh"
    for text in (title, *texts):
        assert any("\u4e00" <= letter <= "\u9fff" for letter in text), text
