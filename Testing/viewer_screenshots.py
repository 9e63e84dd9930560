"""Pictures of the viewer's page with a classified volume: `viewer_screenshots.py VOLUME FOLDER`. Look at each."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from browser_driver import Server, Window, find_browser

SIZES = {"viewer.png": (1366, 768), "viewer-light-zh.png": (1366, 768), "viewer-tablet.png": (820, 1180)}


def main(volume: str, folder: str) -> None:
    """Write the pictures of SIZES into `folder`."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        bundles = Path(place) / "bundles"
        bundles.mkdir()
        server = Server([str(Path(volume).resolve()), "--classify"], bundles)
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        try:
            window = Window(browser.new_page()).open(server.address)
            window.wait(lambda: bool(window.page.locator(".answer.strong").count()), 60)
            for name, (width, height) in SIZES.items():
                window.page.set_viewport_size({"width": width, "height": height})
                if "zh" in name:
                    window.page.locator(".language").click()
                    window.page.locator(".theme").click()
                elif "tablet" in name:
                    window.page.locator(".language").click()
                window.page.wait_for_timeout(1000)
                window.picture("Red")
                _save(window.page.screenshot(), Path(folder) / name)
                print(Path(folder) / name)
        finally:
            browser.close()
            server.stop()


def _save(picture: bytes, path: Path) -> None:
    """With 256 colors: a repository keeps every version of it."""
    from PIL import Image

    whole = Image.open(io.BytesIO(picture)).convert("RGB")
    few = whole.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=5)
    whole.quantize(palette=few, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])
