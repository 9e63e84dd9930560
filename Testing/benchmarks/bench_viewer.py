"""What the viewer costs: its start against the imports that it needs, a scroll until the new picture is seen, the way
from Classify to the overlay against the classification itself.

In a real browser, with the real worker and 120 x 512 x 512 voxels.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from timing import Row, ratio, show

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Testing"))

IMPORTS = "import slicer, vtk, trame.app, trame.widgets.vuetify3, trame_slicer.core, trame_slicer.rca_view"

# Resolves with the milliseconds from a step of the slice until the view's picture is another one.
SCROLL = """
(async (offset) => {
    const picture = document.querySelector(".view.Red img");
    const began = performance.now();
    const shown = new Promise((done) =>
        picture.addEventListener("load", () => done(performance.now()), { once: true }));
    window.trame.trigger("scroll", ["Red", offset]);
    return (await shown) - began;
})
"""


# Resolves when the overlay of a new answer has been drawn, or has been already.
NEXT_PICTURE = """
() => new Promise((done) => {
    document.querySelector(".view.Red img").addEventListener("load", done, { once: true });
    setTimeout(done, 300);
})
"""


def starts(pairs: int = 7) -> list[Row]:
    """The imports alone and the server until its address is printed, in turns."""
    from browser_driver import Server

    imports, servers = [], []
    with tempfile.TemporaryDirectory() as place:
        bundles = Path(place) / "bundles"
        bundles.mkdir()
        for n in range(pairs + 1):
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", IMPORTS], check=True, capture_output=True)
            imported = time.perf_counter() - began
            began = time.perf_counter()
            server = Server([], bundles)
            served = time.perf_counter() - began
            server.stop()
            if n:  # the first reads the disk
                imports.append(imported)
                servers.append(served)
    slower = ratio(servers, imports)
    remark = f"{np.median(servers):.2f} s of {np.median(imports):.2f} s"
    return [("server up, against the imports that it needs", "ratio", slower, remark)]


def main() -> None:
    from playwright.sync_api import sync_playwright

    from browser_driver import Server, Window, find_browser, write_volume

    rows = starts()
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        bundles = Path(place) / "bundles"
        bundles.mkdir()
        voxels = np.random.default_rng(0).integers(0, 1000, (120, 512, 512)).astype(np.int16)
        server = Server([str(write_volume(Path(place) / "volume.nii.gz", voxels)), "--bundle", "body-region"], bundles)
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        try:
            window = Window(browser.new_page(viewport={"width": 1366, "height": 768})).open(server.address)
            for what in ("classification", "warm classification"):
                rows.append(_classification(window, what, Path(place)))
            rows.append(_scrolling(window, "four views"))
            window.page.locator(".layouts button").nth(1).click()
            window.page.set_viewport_size({"width": 372 + 512, "height": 48 + 512 + 230})
            rows.append(_scrolling(window, "axial view alone"))
        finally:
            browser.close()
            server.stop()
    show("viewer", rows)


def _classification(window: Any, what: str, place: Path) -> Row:
    """From the click until the overlay is seen, beside the seconds that the worker says it took."""
    page = window.page
    ready = page.locator(".classify:enabled", has_text="Classify")  # while the volume is read it says Cancel
    ready.wait_for(timeout=120_000)
    began = time.perf_counter()
    page.locator(".classify").click()
    page.locator(".classify", has_text="Cancel").wait_for()
    ready.wait_for(timeout=300_000)
    page.evaluate(NEXT_PICTURE)
    seen = time.perf_counter() - began
    with page.expect_download() as download:
        page.locator(".download-json").click()
    download.value.save_as(place / "result.json")
    seconds = json.loads((place / "result.json").read_text("utf-8"))["provenance"]["seconds"]
    taken = sum(seconds.values())
    return (f"{what}: from the click to the overlay, beyond the model", "s", seen - taken, f"{seen:.2f} s in all")


def _scrolling(window: Any, what: str) -> Row:
    page = window.page
    page.wait_for_timeout(2000)
    taken = []
    for n in range(60):
        taken.append(page.evaluate(f"{SCROLL}({4.0 * (20 + n)})"))
        page.wait_for_timeout(120)
    remark = f"90 % under {np.percentile(taken, 90):.0f} ms, {len(taken)} steps"
    return (f"scroll until the new picture is seen, {what}", "ms", float(np.median(taken)), remark)


if __name__ == "__main__":
    main()
