"""Questions that code puts to the user: recorded here, and answered as a test says.

    dialogs.answers.append(qt.QMessageBox.Ok)      # the next question is answered so
    dialogs.asked[-1].text                         # what was asked

An answer is what the call returns (a button, a path, an action); a function is called with the dialog and returns it.
Without an answer `slicer.util`'s messages do what they do in Slicer's testing mode, while any other dialog, which would
wait for a user for ever, is recorded as a fault and dismissed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PySide6 import QtWidgets

from . import faults


@dataclass(frozen=True)
class Asked:
    """kind: "message", "file" or the class of a dialog; level: that of the log, for messages."""

    kind: str
    text: str
    title: str = ""
    level: int = 0
    details: str = ""


asked: list[Asked] = []
answers: list[Any] = []


def clear() -> None:
    asked.clear()
    answers.clear()


def press(text: str) -> Callable[[Any], int]:
    """An answer: the button of a message box whose text begins so is pressed."""

    def answer(box: Any) -> int:
        (button,) = (b for b in box.buttons() if b.text.replace("&", "").startswith(text))
        button.click()
        return 0

    return answer


def _answer(question: Asked, default: Callable[[], Any], dialog: Any = None) -> Any:
    asked.append(question)
    if not answers:
        return default()
    answer = answers.pop(0)
    return answer(dialog) if callable(answer) else answer


def _dismiss(question: Asked, value: Any) -> Callable[[], Any]:
    def dismiss() -> Any:
        faults.note("dialog", f"{question.kind} dialog without an answer: {question.title} {question.text}")
        return value

    return dismiss


def install_messages(util: Any) -> None:
    """Stand between slicer.util's message functions and the boxes that they would show."""
    plain_display = util._messageDisplay

    def display(logLevel: int, text: str, testingReturnValue: Any, *rest: Any, **options: Any) -> Any:
        import slicer

        question = Asked("message", text, options.get("windowTitle") or "", logLevel, options.get("detailedText", ""))
        if slicer.app.testingEnabled() or answers:
            testing = lambda: plain_display(logLevel, text, testingReturnValue, *rest, **options)  # noqa: E731
            return _answer(question, testing)
        return plain_display(logLevel, text, testingReturnValue, *rest, **options)

    def box(text: str, parent: Any = None, **options: Any) -> Any:
        question = Asked("message", text, options.get("windowTitle", ""), 0, options.get("detailedText", ""))
        return _answer(question, _dismiss(question, QtWidgets.QMessageBox.StandardButton.Cancel))

    util._messageDisplay, util.messageBox = display, box


def _file_dialog(name: str, several: bool) -> Any:
    def ask(parent: Any = None, caption: str = "", directory: str = "", filter: str = "", *rest: Any) -> Any:
        question = Asked("file", filter, caption, details=f"{name}: {directory}")
        return _answer(question, _dismiss(question, [] if several else ""))

    return staticmethod(ask)


def _box(name: str) -> Any:
    def ask(parent: Any, title: str, text: str, *buttons: Any) -> Any:
        question = Asked("message", text, title, details=name)
        return _answer(question, _dismiss(question, QtWidgets.QMessageBox.StandardButton.Cancel))

    return staticmethod(ask)


def install_qt(qt: Any) -> None:
    """Static dialogs return as in PythonQt (paths, not pairs), and nothing waits for a user who is not there."""
    files = {n: _file_dialog(n, n == "getOpenFileNames") for n in ("getOpenFileName", "getOpenFileNames")}
    files |= {n: _file_dialog(n, False) for n in ("getSaveFileName", "getExistingDirectory")}
    for name, method in files.items():
        setattr(QtWidgets.QFileDialog, name, method)
    for name in ("question", "information", "warning", "critical"):
        setattr(QtWidgets.QMessageBox, name, _box(name))

    def run(self: Any, *rest: Any) -> Any:
        text = self.property("text") or ""
        question = Asked(type(self).__name__, text, self.property("windowTitle") or "")
        nothing = None if isinstance(self, QtWidgets.QMenu) else 0
        return _answer(question, _dismiss(question, nothing), self)

    for cls in (QtWidgets.QDialog, QtWidgets.QMessageBox, QtWidgets.QFileDialog, QtWidgets.QMenu):
        cls.exec = cls.exec_ = run  # type: ignore[attr-defined, method-assign]
    for cls in (QtWidgets.QInputDialog, QtWidgets.QProgressDialog):
        if "exec" in vars(cls):
            cls.exec = run  # type: ignore[attr-defined]
