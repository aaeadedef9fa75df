"""A server, and windows of a real Chromium that look at it. For the tests of the page.

Screenshots are left in `build/screenshots/`. May import Playwright inside functions.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from PIL import Image

from mien.types import UInt8Array
from tests.films import write_film

SCREENSHOTS = Path(__file__).parents[1] / "build" / "screenshots"
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
WAIT_MS: Final = 60_000  # long, for machines with other work; nothing waits in vain on a free one

Tab = Any  # playwright's Page; it is imported only where it is present


class Server:
    """`mien serve` as its users start it, on a port that is free."""

    def __init__(self, folder: Path, *options: str, key: str = "", port: int = 0) -> None:
        command = [sys.executable, "-m", "mien.cli", "serve", "--port", str(port)]
        command += ["--data", str(folder), *options]
        environment = {**os.environ, "MIEN_API_KEY": key}
        self._log = folder.with_suffix(".log")
        with self._log.open("w") as log:
            self._process = subprocess.Popen(command, env=environment, stderr=log)
        self.url = self._address()

    def _address(self) -> str:
        """Where it says that it listens."""
        while self._process.poll() is None:
            if found := re.search(r"http://[\d.]+:\d+/", self._log.read_text()):
                return found[0]
            time.sleep(0.05)
        raise AssertionError(f"the server ended: {self._log.read_text()}")

    def stop(self) -> None:
        """End it as a system would."""
        self._process.terminate()
        self._process.wait(timeout=60)


class Visit:
    """Windows of a browser, and what they asked for and complained about."""

    def __init__(self, browser: Any, url: str) -> None:
        self._browser, self.url = browser, url
        self._contexts: list[Any] = []
        self.asked: list[str] = []
        self.complaints: list[str] = []

    def open(self, room: str = "live", *, camera: bool = True, **options: Any) -> Tab:
        """A new window on a room; with `camera`, its use is allowed."""
        wide = {"viewport": {"width": 1280, "height": 900}}
        allowed = {"permissions": ["camera"] if camera else []}
        context = self._browser.new_context(**wide | allowed | options)
        context.set_default_timeout(WAIT_MS)
        self._contexts.append(context)
        tab = context.new_page()
        tab.on("request", lambda request: self.asked.append(request.url))
        tab.on("websocket", lambda socket: self.asked.append(socket.url))
        tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        tab.on("console", self._listen)
        tab.goto(f"{self.url}#{room}" if room else self.url)
        return tab

    def _listen(self, message: Any) -> None:
        # Answers that are errors are reported by the browser itself; the page shows those.
        ours = not re.search(r"Failed to load resource|WebSocket connection to", message.text)
        if message.type == "error" and ours:
            self.complaints.append(message.text)

    def end(self) -> None:
        """Close the windows and look back."""
        for context in self._contexts:
            context.close()
        here = self.url.split("//")[1]
        for address in self.asked:
            own = address.startswith((f"http://{here}", f"ws://{here}", "blob:", "data:"))
            assert own, f"asked elsewhere: {address}"
        assert not self.complaints, self.complaints


def launch(driver: Any, *switches: str) -> Any:
    if not CHROMIUM:
        pytest.skip("needs Chromium (Debian: apt install chromium), and there is none")
    # No sandbox: containers seldom allow one, and the page is our own.
    arguments = ["--no-sandbox", *switches]
    return driver.chromium.launch(executable_path=CHROMIUM, args=arguments, timeout=2 * WAIT_MS)


def keep(tab: Tab, name: str) -> None:
    """Leave a picture for people to look at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    tab.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def press(tab: Tab, name: str) -> None:
    tab.get_by_role("button", name=name, exact=True).click()


def until(tab: Tab, expression: str) -> None:
    """Wait for something to be true in the page. (Playwright's own wait breaks the page's CSP.)"""
    end = time.monotonic() + WAIT_MS / 1000
    while not tab.evaluate(expression):
        assert time.monotonic() < end, f"never true: {expression}"
        tab.wait_for_timeout(50)


def start_camera(tab: Tab) -> None:
    """Start the camera and wait for the first face."""
    press(tab, "Start the camera")
    tab.wait_for_selector(".reading:not(.nobody)")


def saved(tab: Tab, act: Callable[[], None], folder: Path) -> Path:
    """What the page lets the reader keep."""
    with tab.expect_download() as waiting:
        act()
    file: Path = folder / waiting.value.suggested_filename
    waiting.value.save_as(file)
    return file


def picture(image: UInt8Array, name: str) -> dict[str, Any]:
    """A picture as a file that is chosen."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return {"name": name, "mimeType": "image/png", "buffer": file.getvalue()}


def pan(portrait: UInt8Array, steps: int) -> Iterator[UInt8Array]:
    """A slow way over a picture, as a hand would hold a camera: RGB `uint8 (360, 464, 3)`."""
    for i in range(steps):
        left, top = round(48 * i / steps), round(8 * np.sin(i / 8)) + 8
        yield np.ascontiguousarray(portrait[top : top + 360, left : left + 464])


def write_films(folder: Path, portrait: UInt8Array) -> None:
    """`camera.mjpeg`, for the false camera, and `clip.mp4`: a pan over a portrait.

    In the clip she is away for a second.
    """
    views = list(pan(portrait, 48))
    with (folder / "camera.mjpeg").open("wb") as file:
        for view in [*views, *views[::-1]]:
            Image.fromarray(view).save(file, "JPEG", quality=90)
    away = np.full_like(views[0], 90)
    write_film(folder / "clip.mp4", [*views[:12], *[away] * 12, *views[12:24]], fps=12)


#: Text that stands out too little from what is behind it: WCAG 2, 1.4.3.
CONTRASTS: Final = r"""() => {
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number);
    return { rgb: [r, g, b], a };
  };
  const over = (top, a, below) => top.map((v, i) => v * a + below[i] * (1 - a));
  const light = (rgb) => rgb.map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    if (!element) return [255, 255, 255];
    const { rgb, a } = parse(getComputedStyle(element).backgroundColor);
    return a === 1 ? rgb : over(rgb, a, behind(element.parentElement));
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    const exempt = element.closest(".unseen, .skip, :disabled, noscript, option");
    if (!own || exempt || !element.checkVisibility()) continue;
    let opacity = 1;
    for (let e = element; e; e = e.parentElement) opacity *= getComputedStyle(e).opacity;
    const style = getComputedStyle(element);
    const ground = behind(element);
    const { rgb, a } = parse(style.color);
    const [x, y] = [light(over(rgb, a * opacity, ground)), light(ground)];
    const ratio = (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
    const large = parseFloat(style.fontSize) >= 24;
    if (ratio < (large ? 3 : 4.5)) poor.push([element.textContent.trim(), ratio.toFixed(2)]);
  }
  return poor;
}"""

#: Words of elements without others in them that stand on two lines.
BROKEN_WORDS: Final = r"""(selector) => {
  const isBroken = (text, { 0: word, index }) => {
    const range = document.createRange();
    range.setStart(text, index);
    range.setEnd(text, index + word.length);
    return range.getClientRects().length > 1;
  };
  return [...document.querySelectorAll(selector)].flatMap(({ firstChild: text }) =>
    [...text.data.matchAll(/\S+/g)].filter((word) => isBroken(text, word)).map(([word]) => word));
}"""

#: What can be pressed or is announced, and has no name.
NAMELESS: Final = """() => [...document.querySelectorAll("a, button, input, select, video, [role]")]
  .filter((e) => e.checkVisibility() && !["presentation", "group"].includes(e.role))
  .filter((e) => !(e.ariaLabel || e.getAttribute("aria-labelledby") || e.textContent.trim()
    || e.labels?.length || e.id === "announcer"))
  .map((e) => e.outerHTML)"""
