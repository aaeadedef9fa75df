"""docs/live.png anew: the page before a camera that shows the astronaut's portrait.

    python -m scripts.picture_page

In the repository's root, with the extras `dev` and `server` and Chromium, in about 70 seconds, on a
machine that does nothing else: the picture shows how fast it was. Uses the page tests' server and
browser.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright
from tests.browsing import Server, Visit, launch, press, start_camera, write_films

ROOT = Path(__file__).parents[1]
PORTRAIT = ROOT / "src" / "mien" / "cli" / "portrait.jpg"
SIZE = {"width": 1120, "height": 980}
RECORDED_MS = 64_000  # the strip of the last minute is full


def main() -> None:
    """Take the picture."""
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        folder = Path(name)
        write_films(folder, np.asarray(Image.open(PORTRAIT).convert("RGB")))
        server = Server(folder / "data", "--model", "mien-s")
        film = f"--use-file-for-fake-video-capture={folder / 'camera.mjpeg'}"
        browser = launch(driver, "--use-fake-device-for-media-stream", film)
        try:
            visit = Visit(browser, server.url)
            tab = visit.open("live", viewport=SIZE)
            start_camera(tab)
            press(tab, "Record")
            tab.wait_for_timeout(RECORDED_MS)
            tab.evaluate("scrollTo(0, 0)")
            tab.screenshot(path=folder / "page.png")
            visit.end()
        finally:
            browser.close()
            server.stop()
        picture = Image.open(folder / "page.png").convert("RGB")
    few = picture.quantize(256, method=Image.Quantize.MEDIANCUT)
    few.save(ROOT / "docs" / "live.png", optimize=True)


if __name__ == "__main__":
    main()
