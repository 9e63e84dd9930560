"""A reader's workflow in a web page: the server's state is what the page shows, triggers are what is done on it."""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer
import vtk

from .. import presenter, translation
from ..engine.errors import Refusal
from ..scene import colors, nodes, overlay, result_nodes, slice_link
from ..scene.acquisition import addAcquiredVolume
from ..translation import _
from ..workflow.input_choice import InputChoice
from ..workflow.logic import ClassificationLogic
from ..workflow.result_files import fileName, writeFile
from ..workflow.workflow import Workflow
from . import page_state, words
from .served_files import ServedFiles
from .settings import SceneSettings
from .timers import LoopTimers
from .views import SLICE_VIEWS, Views

if TYPE_CHECKING:
    from ..engine.dicom_series import SeriesSummary
    from ..worker.intake import Found
    from .door import Download

_CHOICES = {
    "model": "bundle",
    "evidence_label": "evidenceLabel",
    "overlay_visible": "overlayVisible",
    "overlay_opacity": "overlayOpacity",
    "overlay_threshold": "overlayThreshold",
    "color_map": "colorMap",
    "legend_visible": "legendVisible",
}
"""What the page may change of the settings: names in its state and in the settings."""


DOUBLE_CLICK_S = 0.4
"""A second press so soon after the first was not meant to cancel."""


class Viewer(Workflow):
    """server: of trame; root: folder whose files the page may open, None for none.

    series: those of what is being opened, while one of them is to be chosen.
    """

    def __init__(self, server: Any, language: str, root: Path | None = None) -> None:
        self._state = server.state
        self.views = Views(server)
        super().__init__(
            self.views.scene, ClassificationLogic((sys.executable,)), language, LoopTimers(self._state.flush)
        )
        self.inputs = InputChoice(self)
        self._files = ServedFiles(root) if root else None
        self._opened: _Opened | None = None
        self.series: Sequence[SeriesSummary] = ()
        self._temporary = tempfile.TemporaryDirectory(prefix="medimg-viewer-")
        self._made = 0
        self._begun = 0.0
        self._review_of: Any = None
        self._tables: Any = None
        self._fill_state(root is not None)
        self._connect(server)
        self._observe()
        self.setSettings(SceneSettings(self.scene))

    # --- the page's state and triggers

    def _fill_state(self, has_root: bool) -> None:
        self._state.update(
            {
                "trame__title": "MedImgClassifier",
                "theme": "dark",
                "language": self.language,
                "drawer": True,
                "layout": "four",
                "root": has_root,
                "dragging": False,
                "upload": None,
                "upload_error": "",
                "series": None,
                "browsing": None,
                "said": "",
                "row": None,
                "texts": {},
                "offsets": {},
                "verdict": None,
                "corrected": "",
                "comment": "",
                "review_labels": [],
                "plot": None,
                "headers": [],
                "rows": [],
                "sort_by": [],
            }
        )
        self._fill_words()

    def _fill_words(self) -> None:
        maps = [{"value": name, "title": colors.colorMapTitle(name)} for name in colors.COLOR_MAPS]
        self._state.update({"t": words.words(), "color_maps": maps, **words.choices()})

    def _connect(self, server: Any) -> None:
        for name in _CHOICES:
            server.state.change(name)(self._guarded(self._on_choice(name)))
        reactions: dict[str, Callable[..., None]] = {
            "result": self._on_result,
            "layout": lambda layout, **_rest: self.views.show_layout(layout),
            "language": self._on_language,
        }
        for name, react in reactions.items():
            server.state.change(name)(self._guarded(react))
        triggers: dict[str, Callable[..., None]] = {
            "classify": self.classify_or_cancel,
            "choose_volume": self._choose_volume,
            "go_to_row": self.goToRow,
            "go_to_key_slice": self.goToKeySlice,
            "scroll": self._scroll,
            "fit": self.views.fit,
            "save_review": self._save_review,
            "remove_result": self.removeResult,
            "choose_series": self._choose_series,
            "browse": self._browse,
            "open": self._open_served,
        }
        for name, do in triggers.items():
            server.trigger(name)(self._guarded(do))
        for name in SLICE_VIEWS:
            self.views.slice(name).modified.connect(lambda view, name=name: self._on_view(name, view))

    def _guarded(self, do: Callable[..., None]) -> Callable[..., None]:
        def guarded(*arguments: Any, **named: Any) -> None:
            with self.guarded():
                do(*arguments, **named)

        return guarded

    def _observe(self) -> None:
        """As the module's widget observes its scene."""
        for event in (slicer.vtkMRMLScene.NodeAddedEvent, slicer.vtkMRMLScene.NodeRemovedEvent):
            self.scene.AddObserver(event, self._on_nodes)

    def _on_nodes(self, *_event: Any) -> None:
        if self.settings and not self.scene.IsClosing():
            self.refreshSoon()

    def bind(self, settings: Any) -> None:
        if settings is not None:
            settings.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_event: self.onSettingsModified())

    # --- what is shown

    def showView(self, view: presenter.View, shown: presenter.Shown | None) -> None:
        state, table = self._state, self.table()
        state.view = page_state.view_state(view)
        self.showCurrent(view)
        self._show_inputs()
        self._show_evidence(shown)
        self._show_review(shown)
        tables = result_nodes.resultTables(self.scene)
        state.results = [{"id": node.GetID(), "name": node.GetName()} for node in tables]
        state.result = table.GetID() if table is not None else None
        filled = (table and table.GetID(), table and table.GetMTime(), self.language)
        if filled != self._tables:
            self._tables = filled
            state.headers, state.rows = page_state.table_state(table)
            classification = shown.classification if shown else None
            state.plot = page_state.plot_state(classification, view, self.language)

    def _show_inputs(self) -> None:
        state = self._state
        volumes = nodes.nodesOfClass(self.scene, "vtkMRMLScalarVolumeNode")
        chosen = self.inputs.volumes()
        channels = self.inputs.channels()
        state.volumes = [
            {"id": node.GetID(), "name": node.GetName()} for node in volumes if not overlay.isEvidence(node)
        ]
        state.channels = [
            {
                "name": channel.name,
                "label": channel.name if len(channels) > 1 else _("Volume"),
                "words": channel.words,
                "volume": chosen[channel.name].GetID() if chosen[channel.name] is not None else None,
            }
            for channel in channels
        ]
        state.models = list(self.inputs.models)
        state.model = self.settings.bundle if self.settings else None
        state.card = page_state.card_state(self.inputs.card())

    def _show_evidence(self, shown: presenter.Shown | None) -> None:
        self._state.evidence_labels = list(shown.evidence_labels) if shown else []
        for name, attribute in _CHOICES.items() if self.settings else ():
            self._state[name] = getattr(self.settings, attribute)

    def _show_review(self, shown: presenter.Shown | None) -> None:
        """What a reviewer is writing is not overwritten; it belongs to one result."""
        table = self.table()
        saved = (table.GetID(), shown.review) if shown and table is not None else None
        if saved == self._review_of:
            return
        self._review_of = saved
        review = shown.review if shown else None
        labels = shown.classification.labels if shown and shown.classification else ()
        self._state.update(
            {
                "verdict": review.verdict if review else None,
                "corrected": review.corrected if review else "",
                "comment": review.comment if review else "",
                "review_labels": [label.name for label in labels],
            }
        )

    def showWorkView(self, view: presenter.View) -> None:
        self._state.view = page_state.view_state(view)

    def showCurrent(self, view: presenter.View) -> None:
        state = page_state.view_state(view)
        self._state.current, self._state.identity = state["current"], state["identity"]

    def showRow(self, row: int | None, texts: dict[str, str]) -> None:
        self._state.row, self._state.texts = row, texts

    def say(self, text: str) -> None:
        self._state.said = text

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """A fault of the program ends what was under way, and not the server."""
        try:
            yield
        except Exception:
            logging.exception("MedImgClassifier: a piece of work failed")
            self.say(_("Something went wrong; the terminal in which the viewer was started says what."))

    def _on_view(self, name: str, view: Any) -> None:
        low, high = view.get_slice_range()
        offset = {"min": low, "max": high, "step": view.get_slice_step(), "value": view.get_slice_value()}
        self._state.offsets = {**self._state.offsets, name: offset}

    # --- what is done on the page

    def _on_choice(self, name: str) -> Callable[..., None]:
        attribute = _CHOICES[name]

        def changed(**state: Any) -> None:
            value = state[name]
            if value is None or self.settings is None:
                return
            kind = type(getattr(self.settings, attribute))
            if kind(value) != getattr(self.settings, attribute) and (name != "model" or value in self.inputs.models):
                setattr(self.settings, attribute, kind(value))
            if name == "model":
                self.inputs.assign()
                self.refresh()

        return changed

    def _on_result(self, result: str | None, **_state: Any) -> None:
        table = self.scene.GetNodeByID(result) if result else None
        if table is not None and table is not self.settings.resultTable:
            self.settings.resultTable = table
            volume = result_nodes.resultOf(table).volume
            if volume is not None and slice_link.isElsewhere(volume):
                self.bringIntoView(volume)

    def _on_language(self, language: str, **_state: Any) -> None:
        if language == self.language or language not in ("en", "zh"):
            return
        translation.setLanguage(language)
        self.language = language
        self._fill_words()
        self.inputs.reload()
        self.refresh()

    def classify_or_cancel(self) -> None:
        """Classify; while something is under way, stop it."""
        if not self.runner.work:
            self.refusal = None
            self._begun = time.monotonic()
            self.attempt(self.classify)
        elif time.monotonic() - self._begun > DOUBLE_CLICK_S:
            self.cancel()

    def _choose_volume(self, channel: str, identifier: str) -> None:
        node = self.scene.GetNodeByID(identifier)
        if node is None or not node.IsA("vtkMRMLScalarVolumeNode"):
            return
        self.inputs.chooseVolume(channel, node)
        if channel == self.inputs.channels()[0].name:
            self._show_volume(node)
        self.refresh()

    def _scroll(self, name: str, offset: float) -> None:
        self.views.slice(name).set_slice_value(float(offset))

    def _save_review(self, verdict: str, corrected: str | None, comment: str | None) -> None:
        named = (corrected or "").strip() if verdict == "disagree" else ""
        self.saveReview(verdict, named, (comment or "").strip())

    # --- images

    def _show_volume(self, node: Any) -> None:
        self.views.show_volume(node)
        self.drawing.drawAnew()  # its evidence, where the result that is shown has some

    def bringIntoView(self, volume: Any) -> None:
        """It is what the next Classify is of, too."""
        if self.inputs.channels():
            self.inputs.chooseVolume(self.inputs.channels()[0].name, volume)
        self._show_volume(volume)
        self.refresh()

    def log(self, refusal: Refusal) -> None:
        """Without the facts: names of files are often those of patients."""
        logging.error("MedImgClassifier: %s", refusal.code)

    @property
    def busy(self) -> bool:
        """Whether something is under way, or a series is to be chosen."""
        return self.runner.work is not None or bool(self.series)

    def open(
        self, path: Path, name: str = "", series: str | None = None, remove: Callable[[], None] | None = None
    ) -> None:
        """Read a file, folder or zip in the worker and show it. remove(): called when it is needed no longer."""
        if self.busy:
            if remove:
                remove()
            self.showRefusal(Refusal("USAGE_VIEWER_BUSY"))
            return
        self._opened = _Opened(path, name, remove)
        self.refusal = None

        def begin() -> None:
            reading = self.logic.workerClient().read(path, series)
            self.run(reading, reading.poll)

        self.attempt(begin)
        if self.runner.work is None:
            self._forget_opened()

    def take(self, work: Any, answer: Any) -> None:
        if isinstance(answer, result_nodes.ResultNodes):
            super().take(work, answer)
            self._show_first_key_slice(answer.table)
        else:
            self._take_images(answer)

    def _show_first_key_slice(self, table: Any) -> None:
        classification = self.logic.classification(table)
        if classification is not None and classification.key_slices:
            key = classification.key_slices[0]
            self.goToRow(key.row, key.label)

    def _take_images(self, found: Found) -> None:
        self.series = found.series
        if found.volume is None:
            self._state.series = [
                {
                    "uid": series.uid,
                    "title": series.description or series.uid,
                    "subtitle": " · ".join(
                        part
                        for part in (
                            series.modality,
                            _("{count} images").format(count=series.count),
                            series.unusable,
                        )
                        if part
                    ),
                    "usable": bool(series.uid) and not series.unusable,
                }
                for series in found.series
            ]
            return
        opened = self._opened
        ours = opened is not None and opened.name and found.name == opened.path.name  # not what the user calls it
        name = self.scene.GenerateUniqueName(opened.name if opened and ours else found.name)
        node = addAcquiredVolume(self.scene, found.volume, name)
        if self.inputs.channels():
            self.inputs.chooseVolume(self.inputs.channels()[0].name, node)
        self._show_volume(node)

    def _onEnded(self, work: Any) -> None:
        super()._onEnded(work)
        if not self.series:
            self._forget_opened()

    def showRefusal(self, refusal: Refusal) -> None:
        super().showRefusal(_as_sent(refusal, self._opened))

    def _choose_series(self, uid: str) -> None:
        """'' for none of them."""
        self._state.series, self.series = None, ()
        opened = self._opened
        if opened is None:
            return
        if uid:
            self.open(opened.path, opened.name, uid, opened.remove)
        else:
            self._forget_opened()

    def _forget_opened(self) -> None:
        if self._opened and self._opened.remove:
            self._opened.remove()
        self._opened = None

    def _browse(self, path: str | None) -> None:
        """Show a folder under the root; None closes the list."""

        def show() -> None:
            self._state.browsing = None if path is None or not self._files else self._files.listing(path)

        self.attempt(show)

    def _open_served(self, path: str) -> None:
        def begin() -> None:
            assert self._files
            place = self._files.place(path)
            self._state.browsing = None
            self.open(place)

        self.attempt(begin)

    # --- files

    @property
    def folder(self) -> Path:
        """A private one, until the viewer is closed."""
        return Path(self._temporary.name)

    def download(self, kind: Any) -> Download:
        """Make a file of the result. Raises Refusal."""
        from .door import Download

        if self.table() is None:
            raise Refusal("USAGE_NO_RESULT")
        self._made += 1
        path = self.folder / str(self._made) / fileName(self.table(), kind)  # by which a scene is called inside, too
        path.parent.mkdir()
        writeFile(self, kind, path)
        return Download(path, path.name)

    def close(self) -> None:
        super().close()
        self._forget_opened()
        self.logic.close()
        self._temporary.cleanup()


class _Opened:
    """What is being opened, until it stands in the scene or is given up."""

    def __init__(self, path: Path, name: str, remove: Callable[[], None] | None) -> None:
        self.path, self.name, self.remove = path, name, remove


def _as_sent(refusal: Refusal, opened: _Opened | None) -> Refusal:
    """The same refusal with the name that a file had where it came from, not that of its place here."""
    if opened is None or not opened.name:
        return refusal
    own = str(opened.path)
    facts = {
        name: str(fact).replace(own, opened.name) if isinstance(fact, str | Path) else fact
        for name, fact in refusal.facts.items()
    }
    return Refusal(refusal.code, **facts)
