"""The panel as a whole: shows what the scene and the settings say, and does what its buttons ask for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import qt
import slicer

from .. import presenter
from ..scene import nodes, plot_marker, result_nodes, slice_link, verdict
from ..translation import _
from .evidence import EvidenceControls
from .exports import ExportMenu
from .following import ResultFollower
from .inputs import Inputs
from .models import ModelMenu
from .results import Results
from .review import ReviewForm
from .running import Runner, soon
from .shortcuts import Shortcuts
from .view_texts import ViewTexts
from .widgets import showButton, showLine

if TYPE_CHECKING:
    from ..engine.errors import Refusal
    from .install import Installer


class Panel:
    """ui: the widgets by name; logic: MedImgClassifierLogic; parent: the module's widget; language: 'en' or 'zh'.

    settings: the wrapped parameter node, None while there is none. What changes it or the scene calls `refresh`.
    """

    def __init__(self, ui: Any, logic: Any, parent: Any, language: str) -> None:
        self.ui, self.logic, self.language, self._parent = ui, logic, language, parent
        self.settings: Any = None
        self._guiTag: Any = None
        self._refusal: Refusal | None = None
        self._cancelling = False
        self._installing = ""
        self._refreshing = False
        self._tableId = ""
        self.inputs = Inputs(ui, self)
        self.results = Results(ui, self)
        self.evidence = EvidenceControls(ui, self)
        self.review = ReviewForm(ui, self)
        self.models = ModelMenu(ui, self)
        self.exports = ExportMenu(ui, self)
        self.texts = ViewTexts()
        self.runner = Runner(self.showWork, self._onEnded)
        self.follower = ResultFollower(slicer.mrmlScene, self._manifestOf, self.refresh, self.onScrolled)
        self._installer: Installer | None = None
        self._soon = soon(self.refresh)
        self.shortcuts = Shortcuts(parent, self.goToKeySlice)
        ui.classifyButton.connect("clicked(bool)", self.onClassifyButton)
        ui.removeResultButton.connect("clicked(bool)", self.onRemoveResultButton)
        ui.installButton.connect("clicked(bool)", self.onInstallButton)
        ui.doctorButton.connect("clicked(bool)", self.onDoctorButton)

    def close(self) -> None:
        """Leave no observer, timer, text or process behind."""
        self.setSettings(None)
        self._soon.stop()
        self.runner.stop()
        if self._installer:
            self._installer.close()
        self.shortcuts.enable(False)

    def setSettings(self, settings: Any) -> None:
        """Show another parameter node (its wrapper), or none: then nothing of a result is watched or written."""
        if self.settings:
            self.settings.disconnectGui(self._guiTag)
        self.settings = settings
        if settings is None:
            self.follower.stop()
            self.texts.clear()
            self.results.forgetNodes()
            if self.runner.work:
                self.runner.work.cancel()
        else:
            self.inputs.reloadChanged()
            self._guiTag = settings.connectGui(self.ui)
            if self.inputs.models and settings.bundle not in self.inputs.models:
                settings.bundle = next(iter(self.inputs.models))
            self.inputs.assign()
            self._chooseResult()
            self.evidence.leaveViewsAlone()
        self.refresh()

    @property
    def installer(self) -> Installer:
        """What sees to the libraries; made, and imported, when it is first needed."""
        from .install import Installer

        self._installer = self._installer or Installer(self._parent, self.logic.pythonCommand)
        return self._installer

    def _chooseResult(self) -> None:
        """A scene may come with results and without settings: from the command line, or from another computer."""
        tables = result_nodes.resultTables(slicer.mrmlScene)
        if tables and self.settings.resultTable is None:
            self.settings.resultTable = tables[0]

    def onSettingsModified(self) -> None:
        """What was refused was refused of other settings."""
        if not self._refreshing:
            self._refusal = None
        self.refresh()

    def table(self) -> Any:
        """The results table that the settings name; None where it is not in the scene (any more)."""
        table = self.settings.resultTable if self.settings else None
        return table if table is not None and table.GetScene() is not None else None

    # --- what is shown

    def refresh(self) -> None:
        """Show what the scene and the settings say."""
        if not self._refreshing:
            with self._noRefresh():
                self._show()

    def refreshSoon(self) -> None:
        """The same when what happens to the scene now is over."""
        self._soon.start()

    @contextmanager
    def _noRefresh(self) -> Iterator[None]:
        """What is changed inside does not make the panel look again."""
        self._refreshing = True
        try:
            yield
        finally:
            self._refreshing = False

    def _show(self) -> None:
        table = self.table()
        classification = self.logic.classification(table) if table else None
        result = result_nodes.resultOf(table) if table else None
        if self.settings:
            self.follower.follow(table, classification, result and result.volume)
            self._takeUp(table)
        shown = self.shown()
        view = presenter.present(self.situation(shown), self.language)
        self.inputs.show(view.locked)
        self._showWork(view)
        self.results.show(view, table, result and result.chart)
        self.evidence.show(view, shown)
        self.review.show(view, shown)
        showLine(self.ui.runtimeWhyLabel, view.runtime)
        showButton(self.ui.exportButton, view.export)
        showButton(self.ui.removeResultButton, view.remove)
        if self.settings:
            self.evidence.draw(table, classification)
        self.follower.watch.mark()  # after drawing, which names the evidence
        self._showRow(shown)

    def _takeUp(self, table: Any) -> None:
        """Another result is shown from now on: its evidence is for the class that stands in the scene."""
        from ..scene import evidence_choice

        identifier = table.GetID() if table is not None else ""
        if identifier != self._tableId:
            self._tableId = identifier
            if table is not None:
                self.settings.evidenceLabel = evidence_choice.shownLabel(table)

    def onScrolled(self) -> None:
        """The slice views show another slice of the result: say which, and nothing else."""
        shown = self.shown()
        if shown:
            self.results.showCurrent(presenter.present(self.situation(shown), self.language))
        self._showRow(shown)

    def _showRow(self, shown: presenter.Shown | None) -> None:
        if shown is None:
            self.texts.clear()
            self.results.showRow(None)
            return
        views = self.follower.views.items()
        self.texts.show({name: presenter.slice_text(shown, row, isExact) for name, (row, isExact) in views})
        self.results.showRow(shown.row)
        chart = result_nodes.resultOf(self.table()).chart
        if chart is not None:
            plot_marker.placeMarker(chart, shown.row)

    def situation(self, shown: presenter.Shown | None) -> presenter.Situation:
        """All that decides what is shown."""
        card = self.inputs.card()
        return presenter.Situation(
            models=tuple(self.inputs.models),
            model=self.settings.bundle if self.settings else "",
            unusable=card.problem if card else "",
            inputs=self.inputs.situation(),
            restriction=self.inputs.restrictionProblem(),
            work=self._work(),
            refusal=self._refusal,
            results=len(result_nodes.resultTables(slicer.mrmlScene)),
            result=shown,
        )

    def _work(self) -> presenter.Work | None:
        if self._installer and self._installer.running:
            return presenter.Work("install", detail=self._installing)
        work = self.runner.work
        if work is None:
            return None
        return presenter.Work(work.stage, work.fraction, work.seconds_left, self._cancelling)

    def shown(self) -> presenter.Shown | None:
        """The result that the settings name."""
        from ..scene import evidence_choice, hierarchy

        table = self.table()
        if table is None:
            return None
        classification, volume = self.logic.classification(table), result_nodes.resultOf(table).volume
        freshness, current = self.follower.freshness, self.follower.current
        views = nodes.nodesOfClass(slicer.mrmlScene, "vtkMRMLSliceCompositeNode")
        labels = evidence_choice.offeredLabels(table, classification) if classification else []
        label = self.settings.evidenceLabel
        return presenter.Shown(
            classification=classification,
            out_of_date=freshness.reasons,
            checking=freshness.checking,
            identity=hierarchy.describeInput(volume) if volume is not None else {},
            elsewhere=bool(views)
            and volume is not None
            and all(view.GetBackgroundVolumeID() != volume.GetID() for view in views),
            row=current[0] if current else None,
            exact=current[1] if current else True,
            evidence_labels=tuple(labels),
            evidence_label=label,
            speaks=label not in labels or evidence_choice.speaksFor(classification, label),
            review=self._review(),
            has_volume=volume is not None,
        )

    def showWork(self) -> None:
        """How far the work is, and nothing else."""
        self._showWork(presenter.present(self.situation(None), self.language))

    def _showWork(self, view: presenter.View) -> None:
        ui = self.ui
        showButton(ui.classifyButton, view.classify)
        ui.progressBar.visible = view.progress is not None
        ui.progressBar.maximum = 0 if view.percent is None else 100  # 0: it runs to and fro
        ui.progressBar.value = view.percent or 0
        ui.progressLabel.visible = view.progress is not None
        if view.progress:
            ui.progressLabel.text = "\n".join(text for text in (view.progress.text, view.progress.tip) if text)
        showLine(ui.messageLabel, view.message)

    def showRefusal(self, refusal: Refusal) -> None:
        """Say in the panel why something was not done, until the next attempt."""
        self._refusal = refusal
        if not presenter.is_cancelled(refusal):
            logging.error(refusal.message())
        self.refresh()

    # --- classifying, installing, importing

    def onClassifyButton(self) -> None:
        """Classify; while something is under way the button cancels it."""
        if self.installer.running:
            self.installer.cancel()
        elif self.runner.work:
            self._cancelling = True
            self.runner.work.cancel()
            self.showWork()
        else:
            self._withLibraries(self._classify)

    def importModel(self, source: Path) -> None:
        """Have a bundle checked in the worker and copied to the user's own; then choose it."""

        def begin() -> None:
            installation = self.logic.workerClient().install(source)
            self._run(installation, installation.poll)

        self._withLibraries(begin)

    def onInstallButton(self) -> None:
        """Ask again what to install: a GPU has come, or something broke."""
        self._withLibraries(lambda: None, again=True)

    def onDoctorButton(self) -> None:
        """Put a report of the installation, without patient data, on the clipboard."""
        from .diagnosis import Diagnosis

        def begin() -> None:
            report = Diagnosis(self.logic.pythonCommand)
            self._run(report, report.poll)

        self._attempt(begin)

    def _withLibraries(self, begin: Callable[[], None], again: bool = False) -> None:
        """Begin once the libraries are there. A kit may have brought models too."""
        self._refusal = None

        def ready() -> None:
            if self.installer.installed:
                self.logic.close()  # the worker has looked for libraries before these came
                self.reloadModels()
            self._attempt(begin)

        self.installer.start(ready, self.showRefusal, self._onInstalling, again)
        self.refresh()

    def _attempt(self, begin: Callable[[], None]) -> None:
        from ..engine.errors import Refusal

        try:
            begin()
        except Refusal as refusal:
            self.showRefusal(refusal)

    def _onInstalling(self, what: str, line: str) -> None:
        self._installing = "\n".join(text for text in (what, line) if text)
        self.showWork()

    def _classify(self) -> None:
        from ..engine.errors import Refusal

        self.inputs.reloadChanged()
        card = self.inputs.card()
        if card and card.problem:  # since it was chosen
            raise Refusal("BUNDLE_NOT_FOUND", path=str(card.path), reason=card.problem)
        settings, volumes = self.settings, self.inputs.volumes()
        if settings is None or None in volumes.values():  # the scene has changed while libraries were installed
            return
        path = self.logic.bundles()[settings.bundle]
        restriction = self.inputs.restriction()
        job = self.logic.start(volumes, path, restriction, runtime=settings.runtime, device=settings.device)
        self._run(job, job.step)

    def _run(self, work: Any, advance: Callable[[], bool]) -> None:
        self._cancelling = False
        self.runner.start(work, advance)
        self.refresh()

    def _onEnded(self, work: Any) -> None:
        from ..engine.errors import Refusal

        self._cancelling = False
        self.inputs.reloadChanged()
        try:
            with slicer.util.tryWithErrorDisplay(_("Classification failed.")):
                try:
                    answer = work.result()
                except Refusal as refusal:
                    if refusal.code != "CANCELLED":
                        self.showRefusal(refusal)
                    else:
                        slicer.util.showStatusMessage(_("Canceled."), 3000)
                else:
                    self._take(work, answer)
        finally:
            self.refresh()

    def _take(self, work: Any, answer: Any) -> None:
        from ..scene import evidence_choice

        if isinstance(answer, str):
            qt.QApplication.clipboard().setText(answer)
            slicer.util.showStatusMessage(_("The report is on the clipboard."), 5000)
            return
        if not isinstance(answer, result_nodes.ResultNodes):
            self.reloadModels(answer.name)
            return
        if self.settings is None or answer.table.GetScene() is None:  # the scene was closed in between
            return
        self.logic.remember(answer, work)
        self.evidence.drawAnew()
        with slicer.util.NodeModify(self.settings.parameterNode):
            self.settings.resultTable = answer.table
            self.settings.evidenceLabel = evidence_choice.shownLabel(answer.table)  # of a result that is made anew

    def reloadModels(self, chosen: str = "") -> None:
        """Read again what models there are; choose one, or the first where the chosen one is gone."""
        self.inputs.reload()
        if self.settings and self.inputs.models:
            name = chosen or self.settings.bundle
            self.settings.bundle = name if name in self.inputs.models else next(iter(self.inputs.models))
            self.inputs.assign()
        self.refresh()

    # --- what can be done with a result

    def goToRow(self, row: int, label: int | None = None) -> None:
        """Let the slice views show a row of the result; they show the volume first where none does."""
        from ..scene import evidence_choice

        table = self.table()
        classification = self.logic.classification(table) if table else None
        volume = result_nodes.resultOf(table).volume if table else None
        if classification is not None and volume is not None:
            evidence_choice.bringIntoView(volume)
            slice_link.jumpToRow(slicer.mrmlScene, classification, volume, row, label)

    def goToKeySlice(self, direction: int) -> None:
        """The next (1) or previous (-1) slice worth a look."""
        table = self.table()
        classification = self.logic.classification(table) if table else None
        if classification is None or classification.refused:
            return
        current = self.follower.current
        key = slice_link.nextKeySlice(classification, current[0] if current else None, direction)
        if key is not None:
            self.goToRow(key.row, key.label)

    def isResultSeries(self, seriesId: str) -> bool:
        """Whether a plot series has a point for each row of the result: the marker has not."""
        table = self.table()
        return table is not None and seriesId in [node.GetID() for node in result_nodes.resultOf(table).series]

    def onRemoveResultButton(self) -> None:
        table = self.table()
        with self._noRefresh():
            self.follower.stop()
            plot_marker.removeMarker(slicer.mrmlScene)
            self.logic.removeResult(table)
        self.refresh()

    def makeSegmentation(self) -> None:
        """Evidence above the threshold as a segment of the reader's own."""
        from ..scene import evidence_segmentation

        settings, table = self.settings, self.table()
        classification, volume = self.logic.classification(table), result_nodes.resultOf(table).volume

        def add() -> None:
            evidence_segmentation.addEvidenceSegmentation(
                slicer.mrmlScene,
                table,
                classification,
                volume,
                [settings.evidenceLabel],
                settings.overlayThreshold,
            )

        with slicer.util.WaitCursor():
            self._attempt(add)

    def saveReview(self, opinion: Any, corrected: str, comment: str) -> None:
        """Keep a reviewer's verdict on the result in the scene."""
        table = self.table()
        volume, bundle = result_nodes.resultOf(table).volume, table.GetAttribute(nodes.BUNDLE)
        verdict.writeVerdict(slicer.mrmlScene, volume, bundle, opinion, corrected, comment)
        self.refresh()

    def currentVerdict(self) -> verdict.Verdict | None:
        """The reviewer's verdict on the result, or on an earlier one of the same volume and model."""
        table = self.table()
        volume = result_nodes.resultOf(table).volume
        if volume is None:
            return None
        return verdict.readVerdict(slicer.mrmlScene, volume, table.GetAttribute(nodes.BUNDLE))

    def _review(self) -> presenter.Review | None:
        found = self.currentVerdict()
        if found is None:
            return None
        return presenter.Review(found.verdict, found.correctedClass, found.comment, found.time, found.earlier)

    def _manifestOf(self, table: Any) -> str | None:
        """Hash of the installed manifest of the model that made a result; None where that is not installed."""
        made = table.GetAttribute(nodes.BUNDLE)
        cards = self.inputs.models.values()
        return next((card.manifest_sha256 for card in cards if f"{card.id} {card.version}" == made), None)
