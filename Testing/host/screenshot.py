"""Pictures of the panel in each of its states, with a shipped model and a real volume.

    PYTHONPATH=MedImgClassifier:Testing python -m host.screenshot VOLUME FOLDER [LANGUAGE]

`make screenshots` makes all of them. In another language than English only the result is shown. They show the panel as
this host draws it; say so wherever they are shown.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from . import application, dialogs, pythonqt

MODULE_FILE = Path(__file__).resolve().parents[2] / "MedImgClassifier" / "MedImgClassifier.py"
PANEL_WIDTH = 460
VIEWS = {"Red": ((700, 560), "Axial"), "Green": ((345, 330), "Coronal"), "Yellow": ((345, 330), "Sagittal")}
"""Size and orientation of the slice views beside the panel."""


class States:
    """Leads a panel from state to state and takes a picture of each."""

    def __init__(self, source: Path, folder: Path, language: str) -> None:
        import slicer

        from MedImgClassifierLib.engine.reading import read_volume

        self.slicer, self.folder, self.language = slicer, folder, language
        for name, (size, _orientation) in VIEWS.items():
            application.add_slice_view(name, size)
        self.module = application.load_module(MODULE_FILE)
        self.widget, self.window = application.open_panel(self.module)
        self.panel, self.ui = self.widget.panel, self.widget.ui
        self.read, self.name = read_volume(source), source.name.split(".")[0]

    # --- the states, in the order in which `main` takes them

    def empty(self) -> None:
        self.take("panel-empty")

    def about(self) -> None:
        self.add_volume(self.name)
        with self.open_only(self.ui.aboutCollapsibleButton):
            self.take("panel-about")

    def question(self) -> None:
        """What the first Classify asks in a Slicer that has none of the libraries."""
        from MedImgClassifierLib.installation import libraries
        from MedImgClassifierLib.panel import install

        def photograph(box: Any) -> int:
            box.show()
            self.save(box, "question-libraries")
            return dialogs.press("Cancel")(box)

        dialogs.answers.append(photograph)
        install.askWhatToInstall(self.window, libraries.Needs(tuple(libraries.requirements()), ()))

    def running(self) -> None:
        """With as many slices as are needed to catch it half-way."""
        self.add_volume(f"{self.name}, 40 times", repeated=40)
        self.ui.classifyButton.click()
        self.wait(lambda: self.panel.runner.work is None or self.half_way(self.panel.runner.work))
        self.take("panel-running")
        self.ui.classifyButton.click()
        self.wait(lambda: self.panel.runner.work is None)

    def result(self) -> None:
        self.add_volume(self.name)
        self.show_result()
        self.panel.goToKeySlice(1)
        self.ui.reviewCollapsibleButton.collapsed = False
        self.ui.disagreeButton.click()
        self.take("panel-result")

    def advanced(self) -> None:
        self.show_result()
        with self.open_only(self.ui.advancedCollapsibleButton):
            self.take("panel-advanced")

    def warning(self) -> None:
        """A volume with blank slices at one end, and a region of interest that meets these and some others."""
        volume = self.add_volume(f"{self.name}, three slices blank", blank=3)
        bounds = [0.0] * 6
        volume.GetRASBounds(bounds)
        low, high = bounds[::2], bounds[1::2]
        roi = self.slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "lower half")
        roi.SetCenter((low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2] + (high[2] - low[2]) / 4)
        roi.SetSize(40, 40, (high[2] - low[2]) / 2)
        self.ui.restrictionSelector.setCurrentNode(roi)
        self.show_result()
        self.take("panel-warning")
        self.ui.restrictionSelector.setCurrentNode(None)

    def out_of_date(self) -> None:
        volume = self.add_volume(self.name)
        self.show_result()
        self.slicer.util.arrayFromVolume(volume)[0] = 0
        self.slicer.util.arrayFromVolumeModified(volume)
        self.settle()
        self.take("panel-out-of-date")

    def refusal(self) -> None:
        self.add_volume(f"{self.name}, emptied", blank=10**6)
        self.ui.classifyButton.click()
        self.settle()
        self.take("panel-refusal")

    def slice_views(self) -> None:
        """The panel beside the slice views. The last state: it stays there."""
        self.add_volume(self.name)
        self.show_result()
        for button in (self.ui.inputsCollapsibleButton, self.ui.reviewCollapsibleButton):
            button.collapsed = True
        self.desk = Desk(self.window)
        self.save(self.desk, "slice-views", dithered=True)

    # --- what they are made of

    def add_volume(self, name: str, repeated: int = 1, blank: int = 0) -> Any:
        """The real volume, alone in the scene, as the input: its slices so many times over, the first so many blank."""
        import numpy as np

        from MedImgClassifierLib.scene.volumes import addVolume

        self.slicer.mrmlScene.Clear()
        self.slicer.app.processEvents()
        volume = addVolume(self.slicer.mrmlScene, self.read, name)
        voxels = np.tile(self.slicer.util.arrayFromVolume(volume), (repeated, 1, 1))
        voxels[:blank] = 0
        self.slicer.util.updateVolumeFromArray(volume, voxels)
        self.ui.inputSelector.setCurrentNode(volume)
        for button, collapsed in (("inputs", False), ("about", True), ("advanced", True), ("review", True)):
            getattr(self.ui, f"{button}CollapsibleButton").collapsed = collapsed
        return volume

    def show_result(self) -> None:
        """Classify, and bring a key slice into views that lie as the slices do."""
        from MedImgClassifierLib.scene.views import fitSlice

        from .main_window import slice_logics

        if self.panel.table() is None:
            self.ui.classifyButton.click()
            self.settle()
        for name, logic in slice_logics.items():
            size, orientation = VIEWS[name]  # closing a scene resets both
            logic.ResizeSliceNode(*size)
            logic.GetSliceNode().SetOrientation(orientation)
            logic.GetSliceNode().RotateToVolumePlane(self.panel.settings.inputVolume)
            fitSlice(logic, self.panel.settings.inputVolume)
        self.panel.goToKeySlice(1)

    def settle(self) -> None:
        self.wait(lambda: self.panel.runner.work is None)
        self.wait(lambda: not self.panel.follower.freshness.checking)
        self.slicer.app.processEvents()

    def wait(self, condition: Callable[[], bool], seconds: float = 120.0) -> None:
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                raise TimeoutError
            self.slicer.app.processEvents()
            time.sleep(0.005)

    @staticmethod
    def half_way(work: Any) -> bool:
        """Whether a classification is so far that the time left is told."""
        return work.stage == "classify" and work.seconds_left is not None and work.fraction > 0.3

    def open_only(self, section: Any) -> _Opened:
        """A part of the inputs open, what comes after Classify closed."""
        ui = self.ui
        after = (ui.resultCollapsibleButton, ui.evidenceCollapsibleButton, ui.reviewCollapsibleButton)
        return _Opened([section], list(after))

    def take(self, name: str) -> None:
        _fit(self.window)
        self.save(self.window, name)

    def save(self, widget: QtWidgets.QWidget, name: str, dithered: bool = False) -> None:
        for _ in range(5):
            self.slicer.app.processEvents()
        suffix = "" if self.language == "en" else f"-{self.language}"
        _save(widget.grab().toImage(), self.folder / f"{name}{suffix}.png", dithered)


class _Opened:
    """Sections of the panel that are open, and others that are closed, for a while."""

    def __init__(self, opened: list[Any], closed: list[Any]) -> None:
        self._wanted = {button: button in closed for button in (*opened, *closed)}
        self._before = {button: button.collapsed for button in self._wanted}

    def __enter__(self) -> None:
        self._set(self._wanted)

    def __exit__(self, *failed: object) -> None:
        self._set(self._before)

    def _set(self, states: dict[Any, bool]) -> None:
        for button, collapsed in states.items():
            button.collapsed = collapsed


class Desk(QtWidgets.QWidget):
    """A panel beside slice views, under a line that says whose picture this is."""

    def __init__(self, panel: QtWidgets.QWidget) -> None:
        import slicer

        super().__init__()
        _fit(panel)
        grid = QtWidgets.QGridLayout(self)
        grid.setSizeConstraint(QtWidgets.QLayout.SizeConstraint.SetFixedSize)
        title = QtWidgets.QLabel("Drawn by the stand-in application of the tests: this is not 3D Slicer.")
        grid.addWidget(title, 0, 0, 1, 3)
        grid.addWidget(panel, 1, 0, 3, 1, QtCore.Qt.AlignmentFlag.AlignTop)
        manager = slicer.app.layoutManager()
        for name, place in (("Red", (1, 1, 1, 2)), ("Green", (2, 1)), ("Yellow", (2, 2))):
            widget = manager.sliceWidget(name)
            widget.setFixedSize(*VIEWS[name][0])
            grid.addWidget(widget, *place)
        grid.setRowStretch(3, 1)
        panel.setFixedSize(panel.size)
        self.show()


def _fit(panel: QtWidgets.QWidget) -> None:
    """As high as what is in it: size hints, and with them the least size, count wrapped lines for another width."""
    panel.layout().setSizeConstraint(QtWidgets.QLayout.SizeConstraint.SetNoConstraint)
    panel.setMinimumSize(0, 0)
    for _ in range(3):
        QtWidgets.QApplication.processEvents()
        for layout in panel.findChildren(QtWidgets.QLayout):
            layout.invalidate()
        panel.resize(PANEL_WIDTH, panel.layout().totalHeightForWidth(PANEL_WIDTH))


def _save(image: QtGui.QImage, path: Path, dithered: bool = False) -> None:
    from PIL import Image

    plain = image.convertToFormat(QtGui.QImage.Format.Format_RGB888)
    size = plain.width(), plain.height()
    _write(Image.frombuffer("RGB", size, bytes(plain.constBits()), "raw", "RGB", plain.bytesPerLine()), path, dithered)


def _write(picture: Any, path: Path, dithered: bool) -> None:
    """In 256 colors: less than half the bytes. dithered: so that soft images show no edges where there are none."""
    from PIL import Image

    few = picture.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=5)
    if dithered:
        few = picture.quantize(palette=few, dither=Image.Dither.FLOYDSTEINBERG)
    few.save(path, optimize=True)


def key_slices(source: Path, folder: Path) -> None:
    """The picture that `medimg classify` makes."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as made:
        command = [sys.executable, "-m", "MedImgClassifierLib.cli", "classify", str(source), "--out", made]
        subprocess.run([*command, "--bundle", "body-region"], check=True, stdout=subprocess.DEVNULL)
        with Image.open(Path(made, "overlay.png")) as picture:
            _write(picture.convert("RGB"), folder / "overlay.png", dithered=True)


def main(source: Path, folder: Path, language: str = "en") -> int:
    folder.mkdir(parents=True, exist_ok=True)
    application.boot(main_window=True)
    if language != "en":
        application.set_language(language)
    states = States(source, folder, language)
    every = (
        *(states.empty, states.question, states.about, states.running),
        *(states.result, states.advanced, states.warning),
        *(states.out_of_date, states.refusal, states.slice_views),
    )
    for lead in every if language == "en" else (states.result,):
        lead()
    states.widget.cleanup()
    if language == "en":
        key_slices(source, folder)
    return 1 if pythonqt.errors else 0


if __name__ == "__main__":
    arguments: list[Any] = [Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]]
    sys.exit(main(*arguments))
