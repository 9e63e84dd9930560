"""slicer.packaging and the PyTorch extension as Slicer answers; nothing is ever installed. Runs with the host's own
file and with that of a checkout."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MISSING = "no-such-package-for-certain>=1"


def wait(done: Callable[[], Any]) -> None:
    import slicer

    end = time.monotonic() + 10
    while not done() and time.monotonic() < end:
        slicer.app.processEvents()
    assert done()


def test_requirements_are_read_and_checked(slicer: Any, tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("# light\nnumpy>=1\n\n-r other.txt\nno-such; sys_platform == 'nowhere'\n", encoding="utf-8")
    found = slicer.packaging.load_requirements(file)
    assert [r.name for r in found] == ["numpy", "no-such"]
    assert slicer.packaging.pip_check(found) and slicer.packaging.pip_check("numpy>=1 pytest")
    assert not slicer.packaging.pip_check("numpy>=999") and not slicer.packaging.pip_check(MISSING)


def test_blocking_install_runs_pip_with_the_constraints(slicer: Any) -> None:
    from host import pip

    slicer.packaging.pip_install(["a>=1", "b"], constraints="/c.txt")
    assert pip.calls == [["install", "a>=1", "b", "-c", "/c.txt"]]
    pip.will_return = 1
    with pytest.raises(subprocess.CalledProcessError):
        slicer.packaging.pip_install("a b")


def test_install_in_the_background_tells_lines_and_the_end(slicer: Any) -> None:
    from host import application, pip

    pip.will_print.append("Collecting a")
    lines, codes, ran = [], [], []
    pip.on_run = ran.append
    with application.testing(False):
        slicer.packaging.pip_install("a", blocking=False, logCallback=lines.append, completedCallback=codes.append)
        assert slicer.packaging.isPipInstallInProgress() and not codes
        with pytest.raises(RuntimeError):
            slicer.packaging.pip_install("b", blocking=False)
        wait(lambda: codes)
    assert (lines, codes, ran) == (["Collecting a"], [0], [["install", "a"]])
    assert not slicer.packaging.isPipInstallInProgress()


def test_failed_install_in_the_background_tells_its_code(slicer: Any) -> None:
    from host import application, pip

    pip.will_return, codes, ran = 2, [], []
    pip.on_run = ran.append
    with application.testing(False):
        slicer.packaging.pip_install(
            "a", no_deps_requirements="first", blocking=False, show_progress=False, completedCallback=codes.append
        )
        wait(lambda: codes)
    assert (codes, ran, pip.calls) == ([2], [], [["install", "first", "--no-deps"]])


def test_testing_mode_blocks_and_calls_nobody_back(slicer: Any) -> None:
    from host import pip

    codes: list[int] = []
    slicer.packaging.pip_install("a", blocking=False, completedCallback=codes.append)
    time.sleep(3 * pip.delay_ms / 1000)
    slicer.app.processEvents()
    assert pip.calls == [["install", "a"]] and codes == []


def test_ensure_is_silent_in_testing_mode_and_asks_outside(slicer: Any) -> None:
    import qt

    from host import application, dialogs, pip

    slicer.packaging.pip_ensure(MISSING)
    assert pip.calls == []
    with application.testing(False):
        dialogs.answers.append(qt.QMessageBox.Cancel)
        with pytest.raises(RuntimeError, match="declined"):
            slicer.packaging.pip_ensure(MISSING)
        dialogs.answers.append(qt.QMessageBox.Ok)
        slicer.packaging.pip_ensure(MISSING, show_progress=False)
    assert MISSING in dialogs.asked[-1].details and pip.calls == [["install", MISSING]]


def test_slicer_util_installs_through_the_same_door(slicer: Any) -> None:
    from host import pip

    slicer.util.pip_install("a")
    assert pip.calls == [["install", "a"]]


def test_pytorch_extension_is_there_when_a_test_installs_it() -> None:
    import importlib.util

    from host import torch_extension

    assert importlib.util.find_spec("PyTorchUtils") is None
    extension = torch_extension.TorchExtension(answer=object(), keywords=("askConfirmation",))
    torch_extension.install(extension)
    try:
        import PyTorchUtils

        logic = PyTorchUtils.PyTorchUtilsLogic()
        assert not logic.torchInstalled()
        assert logic.installTorch(askConfirmation=True) is extension.answer and logic.torchInstalled()
        with pytest.raises(TypeError):
            logic.installTorch(torchVersionRequirement=">=2")
        assert extension.calls == [{"askConfirmation": True}]
    finally:
        torch_extension.remove()
