"""What a reader does with a scene, whichever face shows it: choose, classify, look, judge. No toolkit.

A face inherits from `Workflow` and says how a `presenter.View` is put on its widgets.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from .. import presenter
from ..scene import nodes, plot_marker, result_nodes, slice_link, verdict
from .evidence_drawing import EvidenceDrawing
from .following import ResultFollower
from .running import Runner, Timers

if TYPE_CHECKING:
    from ..engine.errors import Refusal
    from .input_choice import InputChoice
    from .logic import ClassificationLogic


class Workflow:
    """scene: vtkMRMLScene; language: 'en' or 'zh', of the engine's words; timers: of the face's toolkit.

    settings: what is chosen, in the scene's parameter node; None while there is none. It has the attributes of
    MedImgClassifierParameterNode (MedImgClassifier.py) and `parameterNode` for further references. What changes it or
    the scene calls `refresh`. inputs: set by the face. refusal: of the last attempt, None where it was not refused.
    """

    inputs: InputChoice

    def __init__(self, scene: Any, logic: ClassificationLogic, language: str, timers: Timers) -> None:
        self.scene, self.logic, self.language = scene, logic, language
        self.settings: Any = None
        self.refusal: Refusal | None = None
        self._cancelling = False
        self._refreshing = False
        self._tableId = ""
        self.drawing = EvidenceDrawing(scene)
        self.runner = Runner(timers, self.showWork, self._onEnded)
        self.follower = ResultFollower(scene, self._manifestOf, self.refresh, self.onScrolled, timers)
        self._soon = timers(self.refresh)

    # --- what a face says for itself

    def showView(self, view: presenter.View, shown: presenter.Shown | None) -> None:
        """Put everything on the widgets."""
        raise NotImplementedError

    def bind(self, settings: Any) -> None:
        """Let widgets follow these settings from now on; None: hold on to no node, the scene may be going."""
        raise NotImplementedError

    def showWorkView(self, view: presenter.View) -> None:
        """How far the work is, and nothing else."""
        raise NotImplementedError

    def showCurrent(self, view: presenter.View) -> None:
        """What the views show of the result, and nothing else: called at every scroll."""
        raise NotImplementedError

    def showRow(self, row: int | None, texts: dict[str, str]) -> None:
        """Mark the row of the slice that the views show. texts: what stands at the edge of each slice view."""
        raise NotImplementedError

    def say(self, text: str) -> None:
        """Tell something in passing."""
        raise NotImplementedError

    def guarded(self) -> AbstractContextManager[Any]:
        """What a program's error inside becomes: by default it is raised."""
        return nullcontext()

    # --- settings and scene

    def close(self) -> None:
        """Leave no observer, timer, text or process behind."""
        self.setSettings(None)
        self._soon.stop()
        self.runner.stop()

    def setSettings(self, settings: Any) -> None:
        """Show other settings, or none: then nothing of a result is watched or written."""
        self.settings = settings
        if settings is None:
            self.follower.stop()
            self.bind(None)
            if self.runner.work:
                self.runner.work.cancel()
        else:
            self.inputs.reloadChanged()
            self.bind(settings)
            self.inputs.chooseModel(settings.bundle)
            self.inputs.assign()
            self._chooseResult()
            self.drawing.leaveViewsAlone(settings, self.table())
        self.refresh()

    def _chooseResult(self) -> None:
        """A scene may come with results and without settings: from the command line, or from another computer."""
        tables = result_nodes.resultTables(self.scene)
        if tables and self.settings.resultTable is None:
            self.settings.resultTable = tables[0]

    def onSettingsModified(self) -> None:
        """What was refused was refused of other settings."""
        if not self._refreshing:
            self.refusal = None
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
        """What is changed inside does not make the face look again."""
        self._refreshing = True
        try:
            yield
        finally:
            self._refreshing = False

    def _show(self) -> None:
        table = self.table()
        classification = self.logic.classification(table) if table else None
        if self.settings:
            self.follower.follow(table, classification, result_nodes.resultOf(table).volume if table else None)
            self._takeUp(table)
        shown = self.shown()
        self.showView(presenter.present(self.situation(shown), self.language), shown)
        if self.settings:
            self.drawing.draw(self.settings, table, classification)
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
            self.showCurrent(presenter.present(self.situation(shown), self.language))
        self._showRow(shown)

    def _showRow(self, shown: presenter.Shown | None) -> None:
        if shown is None:
            self.showRow(None, {})
            return
        self.showRow(shown.row, self.edgeTexts(shown))
        chart = result_nodes.resultOf(self.table()).chart
        if chart is not None:
            plot_marker.placeMarker(chart, shown.row)

    def edgeTexts(self, shown: presenter.Shown) -> dict[str, str]:
        """What stands at the edge of each slice view that shows the result."""
        views = self.follower.views.items()
        return {name: presenter.slice_text(shown, row, isExact) for name, (row, isExact) in views}

    def situation(self, shown: presenter.Shown | None) -> presenter.Situation:
        """All that decides what is shown."""
        card = self.inputs.card()
        return presenter.Situation(
            models=tuple(self.inputs.models),
            model=self.settings.bundle if self.settings else "",
            unusable=card.problem if card else "",
            inputs=self.inputs.situation(),
            restriction=self.inputs.restrictionProblem(),
            work=self.work(),
            refusal=self.refusal,
            results=len(result_nodes.resultTables(self.scene)),
            result=shown,
        )

    def work(self) -> presenter.Work | None:
        """What is under way."""
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
        labels = evidence_choice.offeredLabels(table, classification) if classification else []
        label = self.settings.evidenceLabel
        return presenter.Shown(
            classification=classification,
            out_of_date=freshness.reasons,
            checking=freshness.checking,
            identity=hierarchy.describeInput(volume) if volume is not None else {},
            elsewhere=volume is not None and slice_link.isElsewhere(volume),
            row=current[0] if current else None,
            exact=current[1] if current else True,
            evidence_labels=tuple(labels),
            evidence_label=label,
            speaks=classification is None or label not in labels or evidence_choice.speaksFor(classification, label),
            review=self._review(),
            has_volume=volume is not None,
        )

    def showWork(self) -> None:
        """How far the work is, and nothing else."""
        self.showWorkView(presenter.present(self.situation(None), self.language))

    def showRefusal(self, refusal: Refusal) -> None:
        """Say why something was not done, until the next attempt."""
        self.refusal = refusal
        if not presenter.is_cancelled(refusal):
            self.log(refusal)
        self.refresh()

    def log(self, refusal: Refusal) -> None:
        """Note a refusal for whoever looks into it later."""
        logging.error(refusal.message())

    # --- work

    def attempt(self, do: Callable[[], None]) -> None:
        """Do something; where it is refused, say so."""
        from ..engine.errors import Refusal

        try:
            do()
        except Refusal as refusal:
            self.showRefusal(refusal)

    def classify(self) -> None:
        """Begin to classify what is chosen. Raises Refusal."""
        from ..engine.errors import Refusal

        self.inputs.reloadChanged()
        card = self.inputs.card()
        if card and card.problem:  # since it was chosen
            raise Refusal("BUNDLE_NOT_FOUND", path=str(card.path), reason=card.problem)
        settings, volumes = self.settings, self.inputs.volumes()
        if settings is None or None in volumes.values():  # the scene has changed in between
            return
        path = self.logic.bundles()[settings.bundle]
        restriction = self.inputs.restriction()
        job = self.logic.start(volumes, path, restriction, runtime=settings.runtime, device=settings.device)
        self.run(job, job.step)

    def run(self, work: Any, advance: Callable[[], bool]) -> None:
        """Have a piece of work done, step by step; as running.Runner.start takes it."""
        self._cancelling = False
        self.runner.start(work, advance)
        self.refresh()

    def cancel(self) -> None:
        """Stop what is under way."""
        if self.runner.work:
            self._cancelling = True
            self.runner.work.cancel()
            self.showWork()

    def _onEnded(self, work: Any) -> None:
        from ..engine.errors import Refusal
        from ..translation import _

        self._cancelling = False
        self.inputs.reloadChanged()
        try:
            with self.guarded():
                try:
                    answer = work.result()
                except Refusal as refusal:
                    if refusal.code != "CANCELLED":
                        self.showRefusal(refusal)
                    else:
                        self.say(_("Canceled."))
                else:
                    self.take(work, answer)
        finally:
            self.refresh()

    def take(self, work: Any, answer: Any) -> None:
        """What a piece of work has come to: the nodes of a result, or a model that was installed."""
        if isinstance(answer, result_nodes.ResultNodes):
            self._takeResult(work, answer)
        else:
            self.reloadModels(answer.name)

    def _takeResult(self, work: Any, answer: result_nodes.ResultNodes) -> None:
        from ..scene import evidence_choice

        if self.settings is None or answer.table.GetScene() is None:  # the scene was closed in between
            return
        self.logic.remember(answer, work)
        self.drawing.drawAnew()
        with nodes.oneEvent(self.settings.parameterNode):
            self.settings.resultTable = answer.table
            self.settings.evidenceLabel = evidence_choice.shownLabel(answer.table)  # of a result that is made anew

    def reloadModels(self, chosen: str = "") -> None:
        """Read again what models there are; choose one, or the first where the chosen one is gone."""
        self.inputs.reload()
        if self.settings:
            self.inputs.chooseModel(chosen or self.settings.bundle)
            self.inputs.assign()
        self.refresh()

    # --- what can be done with a result

    def goToRow(self, row: int, label: int | None = None) -> None:
        """Let the slice views show a row of the result; they show the volume first where none does."""
        table = self.table()
        classification = self.logic.classification(table) if table else None
        volume = result_nodes.resultOf(table).volume if table else None
        if classification is None or volume is None:
            return
        if slice_link.isElsewhere(volume):
            self.bringIntoView(volume)
        slice_link.jumpToRow(self.scene, classification, volume, row, label)

    def bringIntoView(self, volume: Any) -> None:
        """Show the volume of the result in the slice views, with its evidence."""
        from ..scene import evidence_choice

        evidence_choice.bringIntoView(volume)
        self.drawing.drawAnew()
        self.refresh()

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

    def removeResult(self) -> None:
        """Remove the result that is shown; a review of it stays."""
        table = self.table()
        with self._noRefresh():
            self.follower.stop()
            plot_marker.removeMarker(self.scene)
            self.logic.removeResult(table)
        self.refresh()

    def makeSegmentation(self) -> None:
        """Evidence above the threshold as a segment of the reader's own."""
        from ..scene import evidence_segmentation

        settings, table = self.settings, self.table()
        classification, volume = self.logic.classification(table), result_nodes.resultOf(table).volume
        assert classification is not None  # its button is not enabled then
        self.attempt(
            lambda: evidence_segmentation.addEvidenceSegmentation(
                self.scene,
                table,
                classification,
                volume,
                [settings.evidenceLabel],
                settings.overlayThreshold,
            )
        )

    def saveReview(self, opinion: Any, corrected: str, comment: str) -> None:
        """Keep a reviewer's verdict on the result in the scene."""
        table = self.table()
        volume, bundle = result_nodes.resultOf(table).volume, table.GetAttribute(nodes.BUNDLE)
        verdict.writeVerdict(self.scene, volume, bundle, opinion, corrected, comment)
        self.refresh()

    def currentVerdict(self) -> verdict.Verdict | None:
        """The reviewer's verdict on the result, or on an earlier one of the same volume and model."""
        table = self.table()
        volume = result_nodes.resultOf(table).volume
        if volume is None:
            return None
        return verdict.readVerdict(self.scene, volume, table.GetAttribute(nodes.BUNDLE))

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
