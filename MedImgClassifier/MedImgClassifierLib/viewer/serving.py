"""One viewer on one port of this computer, from its start to its end."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from ..engine.errors import Refusal
from ..workflow.result_files import Kind
from . import page

if TYPE_CHECKING:
    from .door import Door
    from .uploads import Upload
    from .viewer import Viewer

KINDS = get_args(Kind)


def serve(
    port: int,
    language: str,
    root: Path | None,
    ready: Callable[[Viewer, str], Awaitable[None]],
) -> None:
    """Serve until the process is interrupted, or `ready` has raised.

    port: 0 for any that is free. ready(viewer, address): called once the page can be opened; what it raises ends the
    server and is raised again. Raises Refusal USAGE_PORT.
    """
    asyncio.run(_serve(port, language, root, ready))


async def _serve(port: int, language: str, root: Path | None, ready: Callable[[Viewer, str], Awaitable[None]]) -> None:
    from trame.app import get_server

    from .viewer import Viewer

    asyncio.get_running_loop().set_exception_handler(without_lost_pages)
    server = get_server(client_type="vue3")
    server.cli.set_defaults(nosignalhandlers=True)  # Ctrl+C is to end the whole of us, in order
    viewer = Viewer(server, language, root)
    page.build(server)
    door = _door(viewer)
    server.controller.on_server_bind.add(lambda wslink: door.attach(wslink.app))
    ends: list[BaseException] = []

    async def begin() -> None:
        try:
            await ready(viewer, door.address(server.port))
        except asyncio.CancelledError:  # the server ends already
            raise
        except BaseException as end:
            ends.append(end)
            with suppress(asyncio.InvalidStateError):
                await server.stop()

    starting: list[asyncio.Task[None]] = []
    server.controller.on_server_ready.add(lambda **_: starting.append(asyncio.ensure_future(begin())))
    try:
        await _run(server, port)
    finally:
        for task in starting:
            task.cancel()
        viewer.close()
        door.close()
    if ends:
        raise ends[0]


def without_lost_pages(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Exception handler of the loop: that a page left while something was sent to it is no error."""
    if not isinstance(context.get("exception"), ConnectionError):
        loop.default_exception_handler(context)


async def _run(server: Any, port: int) -> None:
    """trame reads command line and environment of the program that it is in, which are not meant for it."""
    for name in ("TRAME_ARGS", "TRAME_DEFAULT_HOST", "WSLINK_FOLLOW_SYMLINKS"):
        os.environ.pop(name, None)
    arguments, sys.argv = sys.argv, sys.argv[:1]
    try:
        running = server.start(
            port=port,
            host="127.0.0.1",
            exec_mode="coroutine",
            open_browser=False,
            show_connection_info=False,
            timeout=0,
        )
    finally:
        sys.argv = arguments
    try:
        await running
    except OSError as failed:
        raise Refusal("USAGE_PORT", port=port, reason=failed.strerror or str(failed)) from None


def _door(viewer: Viewer) -> Door:
    from .door import Door

    def on_upload(upload: Upload) -> None:
        if viewer.busy:
            upload.remove()
            raise Refusal("USAGE_VIEWER_BUSY")
        viewer.open(upload.path, upload.name, remove=upload.remove)

    return Door(
        page.index(),
        kinds=KINDS,
        make=viewer.download,
        on_upload=on_upload,
        language=lambda: viewer.language,
    )


def load() -> None:
    """Import what the server needs, which takes a second or two."""
    os.environ["WSLINK_WS_COMPRESS"] = "0"  # pictures are compressed already, and the way is short

    from . import viewer  # noqa: F401


def quiet() -> None:
    """What the libraries say of their own doings is not for who reads the terminal."""
    for name in ("wslink", "trame_server", "aiohttp.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
