"""`medimg view`: the viewer of a volume in a browser on this computer."""

from __future__ import annotations

import asyncio
import importlib.util
import tempfile
import webbrowser
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .. import translation
from ..engine.errors import Refusal
from . import graphics, serving

if TYPE_CHECKING:
    from .viewer import Viewer

POLL_S = 0.05


def view(
    source: Path | None,
    bundle: str,
    *,
    series: str | None,
    port: int,
    root: Path | None,
    classify: bool,
    browser: bool,
    once: Path | None,
    language: str,
) -> None:
    """Serve the viewer until it is interrupted. Prints its address.

    source: file, DICOM folder or zip to begin with; series: UID of the one to take of several; bundle: name of the
    model to choose, '' for any; root: folder whose files the page may open; classify: do so at once; browser: open the
    page there; once: a folder for views.png and the files of the result: they are written and the viewer ends.
    Raises Refusal.
    """
    if source is not None and not source.exists():
        raise Refusal("INPUT_NOT_FOUND", path=source)
    if root is not None and not root.is_dir():
        raise Refusal("INPUT_NOT_FOUND", path=root)
    _check_libraries()
    graphics.prepare_environment()
    with ThreadPoolExecutor() as pool:
        checked = pool.submit(graphics.check_graphics)  # in a process of its own
        serving.load()
        checked.result()
    translation.setLanguage(language)
    serving.quiet()

    async def ready(viewer: Viewer, address: str) -> None:
        if bundle:
            viewer.settings.bundle = bundle
        if once is None:
            print(f"The viewer is open at\n\n  {address}\n\nCtrl+C ends it.", flush=True)
            if browser:
                _open_browser(address, viewer.folder)
        if source is not None:
            await _worked(viewer, lambda: viewer.open(source, series=series))
            if once is not None and viewer.series:
                listing = "; ".join(str(found) for found in viewer.series)
                raise Refusal("INPUT_SEVERAL_SERIES", path=source, count=len(viewer.series), listing=listing)
            if classify and not viewer.refusal:
                await _worked(viewer, viewer.classify_or_cancel)
        if once is not None:
            while viewer.follower.watch.checking:
                await asyncio.sleep(POLL_S)
            if viewer.refusal:
                raise viewer.refusal
            if classify and viewer.table() is None:
                raise Refusal("USAGE_NO_RESULT")
            _write(viewer, once)
            raise _Done

    with suppress(_Done) if once else suppress(KeyboardInterrupt):  # how each is meant to end
        serving.serve(port, language, root, ready)


def _check_libraries() -> None:
    for name in ("slicer", "trame_slicer"):
        if importlib.util.find_spec(name) is None:
            command = "pip install 'medimgclassifier[viewer]'"
            raise Refusal("RESOURCE_MISSING_LIBRARY", library=name, purpose="the viewer", command=command)


def _open_browser(address: str, folder: Path) -> None:
    """By a page that only this user can read: every user of this computer sees the arguments of a program."""
    page = folder / "open.html"
    page.touch(mode=0o600)
    page.write_text(f'<!doctype html><meta http-equiv="refresh" content="0; url={address}">', encoding="utf-8")
    webbrowser.open(page.as_uri())


class _Done(Exception):
    """All that was asked for has been done."""


async def _worked(viewer: Viewer, begin: Callable[[], None]) -> None:
    """Begin a piece of work and wait for its end."""
    begin()
    while viewer.runner.work:
        await asyncio.sleep(POLL_S)


def _write(viewer: Viewer, folder: Path) -> None:
    """What `once` asks for, all of it or nothing. Raises Refusal USAGE_FILE_NOT_WRITTEN."""
    from ..workflow.result_files import Kind, writeFile
    from .picture import write_views

    files: dict[Kind, str] = {"csv": "results.csv", "json": "results.json", "html": "report.html", "mrb": "scene.mrb"}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".medimg-", dir=folder) as staging:
            write_views(viewer, Path(staging) / "views.png")
            for kind, name in files.items() if viewer.table() is not None else ():
                writeFile(viewer, kind, Path(staging) / name)
            for made in sorted(Path(staging).iterdir()):
                made.replace(folder / made.name)
                print(f"wrote {folder / made.name}")
    except OSError as failed:
        raise Refusal("USAGE_FILE_NOT_WRITTEN", path=folder, reason=failed.strerror or str(failed)) from None
