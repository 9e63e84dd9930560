"""The viewer as its user has it: `medimg view` in a process of its own, and its page in a real browser."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
START_S = 60
SPACING = (1.0, 1.5, 4.0)
SPOT = (12, 40, 3)
"""Voxel (i, j, k) of the one bright spot of `spot_volume`."""


def find_browser() -> str:
    """Path of the system's browser; '' where there is none."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), "")


def write_volume(path: Path, voxels: np.ndarray) -> Path:
    """Voxels [K, J, I] as an axial NIfTI, spacing SPACING."""
    import SimpleITK

    image = SimpleITK.GetImageFromArray(voxels)
    image.SetSpacing(SPACING)
    SimpleITK.WriteImage(image, str(path))
    return path


def changed(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """[h, w] where two pictures differ by more than a rounding."""
    return np.abs(one - other).sum(axis=-1) > 24


class Server:
    """A running `medimg view`. address: with its token; said: what it has printed."""

    def __init__(self, arguments: list[str], bundles: Path, **environment: str) -> None:
        # what was started in the background, as this process may have been, inherits that Ctrl-C is ignored
        code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        code += "from MedImgClassifierLib.cli import main; sys.exit(main())"
        paths = os.pathsep.join(str(ROOT / folder) for folder in ("MedImgClassifier", "training"))
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "view", "--no-browser", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": paths, "MEDIMG_BUNDLES": str(bundles), "LC_ALL": "C.UTF-8"} | environment,
            cwd=bundles.parent,
        )
        self.said = ""
        self.refused = False  # it has ended by itself
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        self.address = self._wait_for_address()

    def _wait_for_address(self) -> str:
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            time.sleep(0.02)
            if found := re.search(r"http://\S+", self.said):
                return found[0]
            if self.process.poll() is not None:
                break
        self.refused = True
        self.stop()
        raise AssertionError(f"no address was printed:\n{self.said}")

    def _read(self) -> None:
        """In a thread: take in what it prints, or it would wait for us."""
        assert self.process.stdout
        while some := os.read(self.process.stdout.fileno(), 1 << 16):
            self.said += some.decode("utf-8", "replace")

    @property
    def origin(self) -> str:
        return "{0.scheme}://{0.netloc}".format(urlparse(self.address))

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        """As Ctrl+C does. Returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self._reading.join(5)
        return int(self.process.returncode)


class Window:
    """A page of the viewer. It notes whatever goes wrong in the browser, and every host that was asked."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self._wrong: list[str] = []
        self._forgiven: list[str] = []
        self.hosts: set[str] = set()
        page.on("console", lambda said: self._wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self._wrong.append(str(error)))
        page.on("request", lambda request: self.hosts.add(urlparse(request.url).netloc))

    def forgive(self, pattern: str) -> None:
        """What a test brings about itself: messages of this pattern, before or after."""
        self._forgiven.append(pattern)

    @property
    def wrong(self) -> list[str]:
        """What the browser has complained of."""
        return [said for said in self._wrong if not any(re.search(pattern, said) for pattern in self._forgiven)]

    def open(self, address: str) -> Window:
        self.page.goto(address)
        self.page.wait_for_selector(".classify")
        return self

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).first.inner_text())

    def wait(self, condition: Callable[[], bool], seconds: float = 20) -> None:
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, f"in vain; on the page: {self.page.locator('.panel').inner_text()}"
            self.page.wait_for_timeout(50)

    def choose(self, selector: str, text: str) -> None:
        """An entry of one of the page's selects."""
        self.page.locator(f"{selector} .v-field").first.click()
        self.page.locator(".v-overlay--active .v-list-item", has_text=text).first.click()

    def press(self) -> None:
        """Press Classify once it can be pressed."""
        self.wait(lambda: self.text(".classify") == "Classify" and self.page.locator(".classify").is_enabled())
        self.page.locator(".classify").click()

    def classify(self) -> None:
        """Press the button, and wait until the answer stands there, checked."""
        self.press()
        self.wait(lambda: bool(self.page.locator(".answer.strong").count()))

    def picture(self, view: str, unlike: np.ndarray | None = None) -> np.ndarray:
        """[h, w, 3] of a view once it stands still. unlike: an earlier picture, from which it must differ first."""
        last = self._grab(view)
        for _ in range(100):
            self.page.wait_for_timeout(200)
            now = self._grab(view)
            differs = unlike is None or unlike.shape != now.shape or changed(now, unlike).any()
            if differs and now.shape == last.shape and (now == last).all():
                return now
            last = now
        raise AssertionError(f"the {view} view does not change, or never stands still")

    def _grab(self, view: str) -> np.ndarray:
        from PIL import Image

        data = self.page.locator(f".view.{view}").screenshot(
            style=".view-name, .view-text, .fit, .offset, .v-app-bar { display: none !important }"
        )
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
