"""A running viewer, and a real browser to look at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import pytest

from browser_driver import BROWSERS, SPOT, Server, Window, find_browser, write_volume


@pytest.fixture(scope="session")
def spot_volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6 slices of 64 x 48, grey everywhere, with one bright spot of 5 x 5 pixels."""
    voxels = np.random.default_rng(0).integers(150, 250, (6, 64, 48)).astype(np.int16)
    i, j, k = SPOT
    voxels[k, j - 2 : j + 3, i - 2 : i + 3] = 1000
    return write_volume(tmp_path_factory.mktemp("volume") / "spot.nii.gz", voxels)


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of imported bundles with the one whose evidence lies on the brightest place."""
    import spot_bundle

    folder = tmp_path_factory.mktemp("viewer") / "bundles"
    folder.mkdir()
    spot_bundle.write(folder / "bright-spot").rename(folder / "bright-spot-1.0.0")
    return folder


@contextmanager
def servers(bundles: Path) -> Iterator[Callable[..., Server]]:
    """start(*arguments) -> Server; all of them are stopped in the end."""
    pytest.importorskip("trame_slicer", reason="the viewer needs the extra 'viewer'")
    pytest.importorskip("onnxruntime", reason="classification needs ONNX Runtime")
    running: list[Server] = []

    def start(*arguments: object, **environment: str) -> Server:
        running.append(Server([str(argument) for argument in arguments], bundles, **environment))
        return running[-1]

    try:
        yield start
    finally:
        for server in running:
            assert server.stop() == 0 or server.refused
            assert "Traceback" not in server.said and "a step failed" not in server.said, server.said


@pytest.fixture
def start(browser: Any, bundles: Path) -> Iterator[Callable[..., Server]]:
    """start(*arguments) -> Server, for one test."""
    with servers(bundles) as started:
        yield started


@pytest.fixture(scope="module")
def spot_server(browser: Any, bundles: Path, spot_volume: Path) -> Iterator[Server]:
    """One with the spot's volume, classified by the bundle whose evidence lies on the spot."""
    with servers(bundles) as started:
        yield started(spot_volume, "--bundle", "bright-spot-1.0.0", "--classify")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium of the system. Not for longer: while it is driven, an event loop runs in this thread."""
    playwright = pytest.importorskip("playwright.sync_api", reason="tests in a browser need playwright")
    found = find_browser()
    if not found:
        pytest.skip(f"no browser is installed ({', '.join(BROWSERS)})")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def window(browser: Any) -> Iterator[Callable[..., Window]]:
    """window(server) -> Window with the server's page. In the end nothing may have gone wrong in it."""
    opened: list[tuple[Window, Any, str]] = []

    def made(server: Server | None = None, **how: Any) -> Window:
        context = browser.new_context(**{"viewport": {"width": 1366, "height": 768}, "accept_downloads": True, **how})
        context.set_default_timeout(20_000)
        new = Window(context.new_page())
        opened.append((new, context, urlparse(server.address).netloc if server else ""))
        return new.open(server.address) if server else new

    yield made
    for _one, context, _netloc in opened:
        context.close()
    for one, _context, netloc in opened:
        assert one.wrong == []
        assert one.hosts <= {netloc, ""} or not netloc
