"""Pictures of the panel in each of its states, with a shipped model and a real volume.

    PYTHONPATH=MedImgClassifier:Testing python -m host.screenshot VOLUME FOLDER

They show the panel as this host draws it; say so wherever they are shown.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import application, pythonqt

MODULE_FILE = Path(__file__).resolve().parents[2] / "MedImgClassifier" / "MedImgClassifier.py"


class States:
    """Leads a panel from state to state and takes a picture of each."""

    def __init__(self, source: Path, folder: Path, language: str) -> None:
        import slicer

        from MedImgClassifierLib.engine.reading import read_volume
        from MedImgClassifierLib.scene.volumes import addVolume

        self.slicer, self.folder, self.language = slicer, folder, language
        self.view = application.add_slice_view()
        self.module = application.load_module(MODULE_FILE)
        self.widget, self.window = application.open_panel(self.module)
        self.panel, self.ui = self.widget.panel, self.widget.ui
        self.take("empty")
        self.volume = addVolume(slicer.mrmlScene, read_volume(source), source.name.split(".")[0])
        self.ui.inputSelector.setCurrentNode(self.volume)

    def wait(self, condition: Callable[[], bool], seconds: float = 120.0) -> None:
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                raise TimeoutError
            self.slicer.app.processEvents()
            time.sleep(0.005)

    def classify(self) -> None:
        self.ui.classifyButton.click()
        self.wait(lambda: self.panel.runner.work is None)
        self.wait(lambda: not self.panel.follower.freshness.checking)

    def running(self) -> None:
        self.ui.classifyButton.click()
        self.wait(lambda: self.panel.runner.work is None or self.panel.runner.work.stage == "classify")
        self.take("running")
        self.wait(lambda: self.panel.runner.work is None)

    def result(self) -> None:
        self.classify()
        self.view.FitSliceToBackground()
        self.panel.goToKeySlice(1)
        self.ui.reviewCollapsibleButton.collapsed = False
        self.ui.disagreeButton.click()
        self.take("result")
        self.ui.reviewCollapsibleButton.collapsed = True

    def warning(self) -> None:
        """Four slices alone, which a region of interest meets."""
        bounds = [0.0] * 6
        self.volume.GetRASBounds(bounds)
        middle = [(low + high) / 2 for low, high in zip(bounds[::2], bounds[1::2], strict=True)]
        roi = self.slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")
        roi.SetCenter(*middle)
        roi.SetSize(3 * self.volume.GetSpacing()[2], 40, 3 * self.volume.GetSpacing()[2])
        self.ui.restrictionSelector.setCurrentNode(roi)
        self.classify()
        self.take("warning")
        self.ui.restrictionSelector.setCurrentNode(None)

    def out_of_date(self) -> None:
        self.classify()
        self.slicer.util.arrayFromVolume(self.volume)[0] = 0
        self.slicer.util.arrayFromVolumeModified(self.volume)
        self.wait(lambda: not self.panel.follower.freshness.checking)
        self.take("out-of-date")

    def refusal(self) -> None:
        self.slicer.util.arrayFromVolume(self.volume)[:] = 0
        self.slicer.util.arrayFromVolumeModified(self.volume)
        self.classify()
        self.take("refusal")

    def take(self, name: str) -> None:
        for _ in range(5):
            self.slicer.app.processEvents()
        self.window.resize(460, self.window.sizeHint().height())
        self.slicer.app.processEvents()
        suffix = "" if self.language == "en" else f"-{self.language}"
        path = self.folder / f"panel-{name}{suffix}.png"
        if not self.window.grab().save(str(path)):
            raise OSError(f"{path} could not be written")


def main(source: Path, folder: Path, language: str = "en") -> int:
    folder.mkdir(parents=True, exist_ok=True)
    application.boot()
    if language != "en":
        application.set_language(language)
    states = States(source, folder, language)
    for lead in (states.running, states.result, states.warning, states.out_of_date, states.refusal):
        lead()
    states.widget.cleanup()
    return 1 if pythonqt.errors else 0


if __name__ == "__main__":
    arguments: list[Any] = [Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]]
    sys.exit(main(*arguments))
