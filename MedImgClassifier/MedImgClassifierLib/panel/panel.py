"""The panel as a whole: a reader's workflow on the widgets of the module."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import qt
import slicer

from .. import presenter
from ..scene import result_nodes
from ..translation import _
from ..workflow.workflow import Workflow
from .evidence import EvidenceControls
from .exports import ExportMenu
from .inputs import Inputs
from .models import ModelMenu
from .results import Results
from .review import ReviewForm
from .shortcuts import Shortcuts
from .timers import qtTimer
from .view_texts import ViewTexts
from .widgets import showButton, showLine

if TYPE_CHECKING:
    from .install import Installer


class Panel(Workflow):
    """ui: the widgets by name; logic: MedImgClassifierLogic; parent: the module's widget; language: 'en' or 'zh'."""

    inputs: Inputs

    def __init__(self, ui: Any, logic: Any, parent: Any, language: str) -> None:
        super().__init__(slicer.mrmlScene, logic, language, qtTimer)
        self.ui, self._parent = ui, parent
        self._guiTag: Any = None
        self._installing = ""
        self.inputs = Inputs(ui, self)
        self.results = Results(ui, self)
        self.evidence = EvidenceControls(ui, self)
        self.review = ReviewForm(ui, self)
        self.models = ModelMenu(ui, self)
        self.exports = ExportMenu(ui, self)
        self.texts = ViewTexts()
        self._installer: Installer | None = None
        self.shortcuts = Shortcuts(parent, self.goToKeySlice)
        ui.classifyButton.connect("clicked(bool)", self.onClassifyButton)
        ui.removeResultButton.connect("clicked(bool)", self.removeResult)
        ui.installButton.connect("clicked(bool)", self.onInstallButton)
        ui.doctorButton.connect("clicked(bool)", self.onDoctorButton)

    def close(self) -> None:
        super().close()
        if self._installer:
            self._installer.close()
        self.shortcuts.enable(False)

    def setSettings(self, settings: Any) -> None:
        if self.settings:
            self.settings.disconnectGui(self._guiTag)
        super().setSettings(settings)

    def bind(self, settings: Any) -> None:
        if settings is None:
            self.texts.clear()
            self.results.forgetNodes()
        else:
            self._guiTag = settings.connectGui(self.ui)

    @property
    def installer(self) -> Installer:
        """What sees to the libraries; made, and imported, when it is first needed."""
        from .install import Installer

        self._installer = self._installer or Installer(self._parent, self.logic.pythonCommand)
        return self._installer

    # --- what is shown

    def showView(self, view: presenter.View, shown: presenter.Shown | None) -> None:
        table = self.table()
        self.inputs.show(view.locked)
        self.showWorkView(view)
        self.results.show(view, table, result_nodes.resultOf(table).chart if table else None)
        self.evidence.show(view, shown)
        self.review.show(view, shown)
        showLine(self.ui.runtimeWhyLabel, view.runtime)
        showButton(self.ui.exportButton, view.export)
        showButton(self.ui.removeResultButton, view.remove)

    def showWorkView(self, view: presenter.View) -> None:
        ui = self.ui
        showButton(ui.classifyButton, view.classify)
        ui.progressBar.visible = view.progress is not None
        ui.progressBar.maximum = 0 if view.percent is None else 100  # 0: it runs to and fro
        ui.progressBar.value = view.percent or 0
        ui.progressLabel.visible = view.progress is not None
        if view.progress:
            ui.progressLabel.text = "\n".join(text for text in (view.progress.text, view.progress.tip) if text)
        showLine(ui.messageLabel, view.message)

    def showCurrent(self, view: presenter.View) -> None:
        self.results.showCurrent(view)

    def showRow(self, row: int | None, texts: dict[str, str]) -> None:
        self.texts.show(texts)
        self.results.showRow(row)

    def say(self, text: str) -> None:
        slicer.util.showStatusMessage(text, 5000)

    def guarded(self) -> AbstractContextManager[Any]:
        guard: AbstractContextManager[Any] = slicer.util.tryWithErrorDisplay(_("Classification failed."))
        return guard

    # --- classifying, installing, importing

    def work(self) -> presenter.Work | None:
        if self._installer and self._installer.running:
            return presenter.Work("install", detail=self._installing)
        return super().work()

    def onClassifyButton(self) -> None:
        """Classify; while something is under way the button cancels it."""
        if self.installer.running:
            self.installer.cancel()
        elif self.runner.work:
            self.cancel()
        else:
            self._withLibraries(self.classify)

    def importModel(self, source: Path) -> None:
        """Have a bundle checked in the worker and copied to the user's own; then choose it."""

        def begin() -> None:
            installation = self.logic.workerClient().install(source)
            self.run(installation, installation.poll)

        self._withLibraries(begin)

    def onInstallButton(self) -> None:
        """Ask again what to install: a GPU has come, or something broke."""
        self._withLibraries(lambda: None, again=True)

    def onDoctorButton(self) -> None:
        """Put a report of the installation, without patient data, on the clipboard."""
        from .diagnosis import Diagnosis

        def begin() -> None:
            report = Diagnosis(self.logic.pythonCommand)
            self.run(report, report.poll)

        self.attempt(begin)

    def _withLibraries(self, begin: Callable[[], None], again: bool = False) -> None:
        """Begin once the libraries are there. A kit may have brought models too."""
        self.refusal = None

        def ready() -> None:
            if self.installer.installed:
                self.logic.close()  # the worker has looked for libraries before these came
                self.reloadModels()
            self.attempt(begin)

        self.installer.start(ready, self.showRefusal, self._onInstalling, again)
        self.refresh()

    def _onInstalling(self, what: str, line: str) -> None:
        self._installing = "\n".join(text for text in (what, line) if text)
        self.showWork()

    def take(self, work: Any, answer: Any) -> None:
        if isinstance(answer, str):
            qt.QApplication.clipboard().setText(answer)
            self.say(_("The report is on the clipboard."))
        else:
            super().take(work, answer)

    # --- what can be done with a result

    def isResultSeries(self, seriesId: str) -> bool:
        """Whether a plot series has a point for each row of the result: the marker has not."""
        table = self.table()
        return table is not None and seriesId in [node.GetID() for node in result_nodes.resultOf(table).series]

    def makeSegmentation(self) -> None:
        with slicer.util.WaitCursor():
            super().makeSegmentation()
