"""The reviewer's verdict on a result: agree, disagree with the class that it is, or unsure; and a comment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .widgets import noSignals, showButton, showLine

if TYPE_CHECKING:
    from ..presenter import Shown, View


class ReviewForm:
    """panel: Panel, whose `saveReview(verdict, corrected, comment)` keeps it in the scene."""

    def __init__(self, ui: Any, panel: Any) -> None:
        self._ui, self._panel = ui, panel
        self._buttons = {"agree": ui.agreeButton, "disagree": ui.disagreeButton, "unsure": ui.unsureButton}
        self._filled: Any = None
        for button in self._buttons.values():
            button.connect("toggled(bool)", self._onVerdict)
        ui.saveReviewButton.connect("clicked(bool)", self._onSave)

    def show(self, view: View, shown: Shown | None) -> None:
        showButton(self._ui.reviewCollapsibleButton, view.review)
        showLine(self._ui.reviewNoteLabel, view.review_note)
        table = self._panel.table()
        state = (table.GetID(), shown.review, _labels(shown)) if shown and table else None
        if state != self._filled:  # what a reviewer is writing is not overwritten
            self._filled = state
            self._fill(shown)
        self._onVerdict()

    def _fill(self, shown: Shown | None) -> None:
        ui, review = self._ui, shown.review if shown else None
        for button in self._buttons.values():
            button.autoExclusive = False  # or none could be unchecked
        with noSignals(*self._buttons.values(), ui.correctedClassSelector, ui.commentEdit):
            for verdict, button in self._buttons.items():
                button.checked = review is not None and review.verdict == verdict
            ui.correctedClassSelector.clear()
            ui.correctedClassSelector.addItems(_labels(shown))
            ui.correctedClassSelector.setCurrentText(review.corrected if review else "")
            ui.commentEdit.plainText = review.comment if review else ""
        for button in self._buttons.values():
            button.autoExclusive = True

    def _verdict(self) -> str:
        return next((verdict for verdict, button in self._buttons.items() if button.checked), "")

    def _onVerdict(self) -> None:
        verdict = self._verdict()
        self._ui.saveReviewButton.enabled = bool(verdict)
        for widget in (self._ui.correctedClassSelector, self._ui.correctedClassLabel):
            widget.visible = verdict == "disagree"

    def _onSave(self) -> None:
        verdict, ui = self._verdict(), self._ui
        corrected = ui.correctedClassSelector.currentText.strip() if verdict == "disagree" else ""
        self._panel.saveReview(verdict, corrected, ui.commentEdit.plainText.strip())


def _labels(shown: Shown | None) -> list[str]:
    """Names of the classes of the model that made the result."""
    return [label.name for label in shown.classification.labels] if shown and shown.classification else []
