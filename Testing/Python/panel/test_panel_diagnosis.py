"""The report of what is installed: made by another Python, told or refused, and ended with all that it started."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.panel import diagnosis
from MedImgClassifierLib.panel.diagnosis import Diagnosis

LAUNCHER = "import subprocess, sys\nsys.exit(subprocess.call([sys.executable, *sys.argv[1:]]))\n"


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Replaces the program that reports; returns the command of a launcher whose child runs it, as in Slicer."""

    def replace(code: str) -> list[str]:
        package = tmp_path / "library"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "doctor.py").write_text("import os, pathlib, sys, time\n" + code, encoding="utf-8")
        (tmp_path / "launcher.py").write_text(LAUNCHER, encoding="utf-8")
        monkeypatch.setattr(diagnosis, "_PACKAGE", package)
        return [sys.executable, str(tmp_path / "launcher.py")]

    return replace


def until(happened: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie, which its parent has not asked about, does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_the_report_is_what_the_program_says(doctor: Callable[[str], list[str]]) -> None:
    report = Diagnosis(doctor("print('all 好', flush=True); print('really', file=sys.stderr)"))
    until(report.poll)
    assert report.ended and report.result() == "all 好\nreally"


def test_a_program_that_fails_is_quoted(doctor: Callable[[str], list[str]]) -> None:
    report = Diagnosis(doctor("sys.exit('no luck')"))
    until(report.poll)
    with pytest.raises(Refusal, match="no luck") as refused:
        report.result()
    assert refused.value.code == "RESOURCE_WORKER_FAILED"


def test_a_python_that_is_not_there_is_told() -> None:
    with pytest.raises(Refusal) as refused:
        Diagnosis(["/no/such/PythonSlicer"])
    assert refused.value.code == "RESOURCE_WORKER_START"


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="/proc tells whether a process runs")
def test_cancelled_the_program_behind_the_launcher_is_ended_too(
    doctor: Callable[[str], list[str]], tmp_path: Path
) -> None:
    file = tmp_path / "pid"
    report = Diagnosis(doctor(f"pathlib.Path({str(file)!r}).write_text(f'{{os.getpid()}}.'); time.sleep(60)"))
    until(lambda: file.exists() and file.read_text().endswith("."))
    pid = int(file.read_text()[:-1])
    assert pid != report._process.pid and alive(pid) and not report.poll()
    report.cancel()
    until(lambda: not alive(pid), 2)
    until(report.poll, 2)
    with pytest.raises(Refusal) as refused:
        report.result()
    assert refused.value.code == "CANCELLED"
