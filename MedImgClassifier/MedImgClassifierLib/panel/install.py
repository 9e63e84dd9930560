"""The question at the first Classify, and the installation that follows: Slicer's side of `installation/`.

Nothing happens at import or when the panel opens. `slicer.packaging` (since Slicer 5.12) runs pip; a Slicer without it
is not installed into, for its pip would stop the application: the refusal says what to type instead.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import qt
import slicer

from ..engine.errors import Refusal, first_line
from ..installation import libraries, steps
from ..translation import _

POLL_MS = 100
REQUESTER = "MedImgClassifier"

Ask = Callable[[Any, libraries.Needs], "steps.Choice | None"]


class Installer:
    """Sees to it that what classification needs is installed. One for a panel; everything happens on the main thread.

    parent: widget over which the question opens; pythonCommand: of the worker, as Client takes it; ask: the question.
    installed: whether the last `start` has installed something.
    """

    def __init__(self, parent: Any, pythonCommand: Sequence[str], ask: Ask | None = None) -> None:
        self._parent, self._pythonCommand, self._ask = parent, tuple(pythonCommand), ask or askWhatToInstall
        self._installation: steps.Installation | None = None
        self._shown = ("", "")
        self.installed = False
        self._onReady: Callable[[], None]
        self._onRefused: Callable[[Refusal], None]
        self._onProgress: Callable[[str, str], None]

    @property
    def running(self) -> bool:
        return self._installation is not None

    def start(
        self,
        onReady: Callable[[], None],
        onRefused: Callable[[Refusal], None],
        onProgress: Callable[[str, str], None],
        again: bool = False,
    ) -> None:
        """Call onReady, at once where nothing is missing; otherwise ask, install, verify, and then call it.

        again: ask even where nothing is missing, for whoever wants the GPU, or a repair.

        onRefused(refusal): declined, cancelled or failed; nothing is tried again before the next `start`.
        onProgress(what, line): what is being done, in the user's language, and the last line that pip said.
        Call it when the user presses Classify. Raises RuntimeError while an installation of this panel runs.
        """
        if self._installation:
            raise RuntimeError("an installation is under way")
        self.installed = False
        try:
            needs = libraries.needed()
            if needs or again:
                _checkThatSlicerCanInstall(needs)
        except Refusal as refusal:
            onRefused(refusal)
            return
        if not (needs or again):
            onReady()
            return
        self._onReady, self._onRefused, self._onProgress = onReady, onRefused, onProgress
        self._shown = ("", "")
        self._installation = steps.Installation(_SlicerHost(), self._pythonCommand)
        self._installation.choose(self._ask(self._parent, needs))
        self._poll()

    def cancel(self) -> None:
        """Stop at once; onRefused tells that it was cancelled. pip, once started, goes on to its end by itself."""
        if self._installation:
            self._installation.cancel()
            self._finish()

    def close(self) -> None:
        """The panel goes: stop without calling anybody."""
        if self._installation:
            self._installation.cancel()
        self._installation = None

    def _poll(self) -> None:
        installation = self._installation
        if not installation:
            return
        installation.poll()
        if self._installation is not installation:  # events were handled on the way
            return
        if installation.ended:
            self._finish()
            return
        shown = (stateText(installation.state), installation.line)
        if shown != self._shown:
            self._shown = shown
            self._onProgress(*shown)
        qt.QTimer.singleShot(POLL_MS, self._poll)

    def _finish(self) -> None:
        installation, self._installation = self._installation, None
        assert installation
        if installation.refusal:
            self._onRefused(installation.refusal)
        else:
            self.installed = True
            self._onReady()


def stateText(state: steps.State) -> str:
    """What an installation is doing, in the user's language."""
    texts = {
        "reading kit": _("Reading the offline kit"),
        "installing": _("Installing libraries"),
        "installing torch": _("Installing PyTorch"),
        "verifying": _("Checking that the libraries load"),
    }
    return texts.get(state, "")


def askWhatToInstall(parent: Any, needs: libraries.Needs) -> steps.Choice | None:
    """The question, modal. None: the user wants none of it."""
    box = qt.QMessageBox(parent)
    box.icon = qt.QMessageBox.Question
    box.windowTitle = _("Medical Image Classifier")
    if needs:
        box.text = _("Libraries that classification needs are missing. What shall be installed into Slicer's Python?")
    else:
        box.text = _("All libraries that classification needs are there. What shall be installed besides, or anew?")
    box.informativeText = _(
        "Small and fast: about 20 MB, computes on this computer's processor.\n"
        "GPU: PyTorch besides, 2-3 GB, for an NVIDIA card; Slicer's PyTorch extension installs it.\n"
        "Offline kit: from a file made by `medimg kit`, for a computer without internet."
    )
    details = _("Missing: {listing}").format(listing=", ".join(needs.missing) or "-")
    if needs.unfinished:
        unfinished = _("An earlier installation was not finished and will be repaired: {listing}")
        details += "\n" + unfinished.format(listing=", ".join(needs.unfinished))
    box.detailedText = details
    small = box.addButton(_("Small and fast"), qt.QMessageBox.AcceptRole)
    gpu = box.addButton(_("GPU (PyTorch)"), qt.QMessageBox.AcceptRole)
    kit = box.addButton(_("From an offline kit..."), qt.QMessageBox.AcceptRole)
    box.addButton(qt.QMessageBox.Cancel)
    box.setDefaultButton(small)
    box.exec_()
    clicked = box.clickedButton()
    box.deleteLater()
    if clicked == kit:
        title, pattern = _("Choose an offline kit"), _("Offline kits (*.zip)")
        path = qt.QFileDialog.getOpenFileName(parent, title, "", pattern)
        return Path(path) if path else None
    return "light" if clicked == small else "gpu" if clicked == gpu else None


def _checkThatSlicerCanInstall(needs: libraries.Needs) -> None:
    """Raises Refusal: this Slicer has no slicer.packaging, runs tests (which never install), or is installing."""
    from .. import resources

    try:
        import slicer.packaging as packaging
    except ImportError:
        packaging = None
    if packaging is None or slicer.app.testingEnabled():
        command = f'PythonSlicer -m pip install -r "{resources.path("requirements.txt")}"'
        names = ", ".join(needs.missing)
        raise Refusal("RESOURCE_MISSING_LIBRARY", library=names, purpose="classification", command=command)
    if packaging.isPipInstallInProgress():
        raise Refusal("RESOURCE_INSTALL_BUSY")


class _SlicerHost:
    """steps.Host by slicer.packaging and the PyTorch extension."""

    def pip(
        self,
        arguments: list[str],
        repairs: list[str] | None,
        constraints: Path,
        on_line: Callable[[str], None],
        on_end: Callable[[int], None],
    ) -> None:
        import slicer.packaging

        try:
            slicer.packaging.pip_install(
                arguments,
                constraints=str(constraints),
                no_deps_requirements=repairs,
                blocking=False,
                show_progress=False,  # ours is in the panel; Slicer's would be a busy cursor
                requester=REQUESTER,
                logCallback=on_line,
                completedCallback=on_end,
            )
        except (RuntimeError, OSError) as failed:  # another began meanwhile; PythonSlicer is not there
            raise Refusal("RESOURCE_INSTALL_FAILED", reason=first_line(failed)) from None

    def check_torch_can_be_installed(self) -> None:
        from importlib.util import find_spec

        if find_spec("PyTorchUtils") is None:
            raise Refusal("RESOURCE_PYTORCH_EXTENSION")

    def install_torch(self, constraints: Path) -> None:
        """Through the extension's logic, whose keywords have changed over the years: those that it knows are used."""
        import PyTorchUtils

        try:
            install = PyTorchUtils.PyTorchUtilsLogic().installTorch
            known = inspect.signature(install).parameters.values()
            wished = {
                "askConfirmation": False,  # our question was that
                "torchVersionRequirement": libraries.TORCH["torch"],
                "torchvisionVersionRequirement": libraries.TORCH["torchvision"],
            }
            any_is_taken = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known)
            taken = {parameter.name for parameter in known}
            with _constrained(constraints):
                torch = install(**{k: v for k, v in wished.items() if any_is_taken or k in taken})
        except Exception as failed:
            reason = first_line(failed) or type(failed).__name__
            raise Refusal("RESOURCE_INSTALL_TORCH", reason=reason) from failed
        if torch is None:
            raise Refusal("CANCELLED_INSTALL_DECLINED")


@contextmanager
def _constrained(constraints: Path) -> Iterator[None]:
    """pip, whoever starts it, keeps these versions meanwhile: the extension has no argument for that."""
    theirs = os.environ.get("PIP_CONSTRAINT")
    ours = constraints.as_uri()  # pip splits the variable at spaces, which the name of a user's folder may have
    os.environ["PIP_CONSTRAINT"] = f"{theirs} {ours}" if theirs else ours
    try:
        yield
    finally:
        if theirs is None:
            del os.environ["PIP_CONSTRAINT"]
        else:
            os.environ["PIP_CONSTRAINT"] = theirs
