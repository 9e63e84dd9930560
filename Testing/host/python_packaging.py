"""`slicer.packaging`: what it offers and how it answers; pip itself is only recorded (see pip.py).

As in Slicer, testing mode has traps: pip_ensure returns silently, and pip_install is blocking and calls no callback
whatever was asked for. `application.testing(False)` leaves that mode.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from packaging.requirements import InvalidRequirement, Requirement

_in_progress = False


def load_requirements(path: str | Path) -> list[Requirement]:
    """The requirements of a file; comments, blank lines and options of pip are left out."""
    lines = (line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in lines if line and line[0] not in "#-"]


def _listed(requirements: str | Requirement | list[Any]) -> list[Requirement]:
    if isinstance(requirements, Requirement):
        return [requirements]
    if isinstance(requirements, str):
        try:
            return [Requirement(requirements)]
        except InvalidRequirement:
            return [Requirement(part) for part in requirements.split()]
    if isinstance(requirements, list):
        return [Requirement(r) if isinstance(r, str) else r for r in requirements]
    raise TypeError(f"Expected str, Requirement, or list, got {type(requirements).__name__}")


def pip_check(req: str | Requirement | list[Any]) -> bool:
    """Whether every requirement is met here; one whose marker does not apply is."""
    return all(_is_met(r) for r in _listed(req))


def _is_met(requirement: Requirement) -> bool:
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    importlib.invalidate_caches()
    try:
        return importlib.metadata.version(requirement.name) in requirement.specifier
    except importlib.metadata.PackageNotFoundError:
        return False


def isPipInstallInProgress() -> bool:
    return _in_progress


def pip_ensure(
    requirements: str | Requirement | list[Any],
    constraints: str | Path | None = None,
    skip_packages: list[str] | None = None,
    prompt_install: bool = True,
    prompt_restart: bool = True,
    requester: str | None = None,
    skip_in_testing: bool = True,
    show_progress: bool = True,
) -> list[str] | None:
    """Install what is missing after asking. Raises RuntimeError where the user declines."""
    missing = [r for r in _listed(requirements) if not _is_met(r)]
    if not missing:
        return None
    if skip_in_testing and slicer.app.testingEnabled():
        logging.info(f"Testing mode: pip_ensure leaves out {', '.join(map(str, missing))}")
        return None
    question = f"{len(missing)} Python packages need to be installed."
    names = "\n".join(map(str, missing))
    if prompt_install and not slicer.util.confirmOkCancelDisplay(question, requester, detailedText=names):
        raise RuntimeError("User declined package installation")
    return pip_install([str(r) for r in missing], constraints=constraints, skip_packages=skip_packages)


def pip_install(
    requirements: str | list[str],
    constraints: str | Path | None = None,
    no_deps_requirements: str | list[str] | None = None,
    skip_packages: list[str] | None = None,
    blocking: bool = True,
    show_progress: bool = True,
    requester: str | None = None,
    logCallback: Callable[[str], None] | None = None,
    completedCallback: Callable[[int], None] | None = None,
) -> list[str] | None:
    """Run pip install. Raises CalledProcessError when it fails and blocking was asked for."""
    global _in_progress
    if skip_packages is not None and (no_deps_requirements is not None or not blocking):
        raise ValueError("skip_packages goes with neither no_deps_requirements nor blocking=False")
    if skip_packages is not None:
        raise RuntimeError("the host does not follow skip_packages")
    steps = [_arguments(requirements, constraints)]
    if no_deps_requirements is not None:
        steps.insert(0, [*_arguments(no_deps_requirements, None), "--no-deps", *_arguments([], constraints)[1:]])
    if blocking or slicer.app.testingEnabled():
        for step in steps:
            slicer.util.executePythonModule("pip", step, blocking=True)
        return None
    if _in_progress:
        raise RuntimeError("A non-blocking pip_install is already in progress.")
    _in_progress = True

    def go_on(code: int = 0) -> None:
        global _in_progress
        if code == 0 and steps:
            slicer.util.executePythonModule(
                "pip", steps.pop(0), blocking=False, logCallback=logCallback, completedCallback=go_on
            )
            return
        _in_progress = False
        if completedCallback:
            completedCallback(code)

    go_on()
    return None


def _arguments(requirements: str | list[str], constraints: str | Path | None) -> list[str]:
    if not isinstance(requirements, (str, list)):
        raise ValueError("pip_install requirement input must be string or list")
    wanted = shlex.split(requirements) if isinstance(requirements, str) else requirements
    return ["install", *wanted, *(["-c", str(constraints)] if constraints is not None else [])]


def pip_uninstall(requirements: str | list[str], *rest: Any, **options: Any) -> None:
    slicer.util.executePythonModule("pip", ["uninstall", *_arguments(requirements, None)[1:], "--yes"], blocking=True)


__all__ = ["isPipInstallInProgress", "load_requirements", "pip_check", "pip_ensure", "pip_install", "pip_uninstall"]
