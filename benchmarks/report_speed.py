"""How long a report on a long recording takes, and how much memory.

    python benchmarks/report_speed.py --hours 2 --faces 1 --browser /usr/bin/chromium

Writes a table of made-up answers, 25 frames a second, whose expression changes at random every few
seconds, and builds the report with everything in it. Prints frames, seconds, the most memory that
the process ever held, and the size of the page; with `--browser`, also how long that Chromium takes
to open it (needs playwright).
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from mien.report import write_report
from mien.types import EXPRESSIONS

FPS = 25


def write_table(file: Path, seconds: float, faces: int) -> int:
    """Write a table and return its number of frames."""
    draw = np.random.default_rng(0)
    frames = round(seconds * FPS)
    shown = draw.integers(0, len(EXPRESSIONS), faces)
    with file.open("w", encoding="utf-8") as table:
        for frame in range(frames):
            shown = np.where(draw.random(faces) < 1 / (3 * FPS), draw.integers(0, 7, faces), shown)
            heights = draw.uniform(0.5, 0.9, faces)
            found = []
            for number, (k, p) in enumerate(zip(shown, heights.tolist(), strict=True)):
                probs = dict.fromkeys(EXPRESSIONS, (1 - p) / 6) | {EXPRESSIONS[k]: p}
                answer = {"expression": EXPRESSIONS[k], "confidence": p, "uncertain": p < 0.67}
                place = {"track_id": number, "box": [9, 9, 99, 120], "score": 0.9}
                found.append({**place, "landmarks": [[0, 0]] * 5, **answer, "probs": probs})
            head = {"schema": "mien/1", "source": "made-up.mp4", "frame": frame}
            where = {"time_s": frame / FPS, "width": 640, "height": 480}
            table.write(json.dumps({**head, **where, "faces": found}) + "\n")
    return frames


def opening_s(page: Path, browser: Path) -> float:
    """How long a new tab takes until the page is laid out to its end: the median of five."""
    from playwright.sync_api import sync_playwright

    took_s = []
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for _ in range(5):
            tab = opened.new_page()
            began = time.perf_counter()
            tab.goto(page.resolve().as_uri(), wait_until="load")
            tab.locator("#method").bounding_box()
            took_s.append(time.perf_counter() - began)
            tab.close()
        opened.close()
    return median(took_s)


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--faces", type=int, default=1)
    parser.add_argument("--browser", type=Path, help="a Chromium, to open the page with")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table, out = Path(folder) / "made-up.jsonl", Path(folder) / "report.html"
        frames = write_table(table, 3600 * options.hours, options.faces)
        before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        began, began_cpu = time.perf_counter(), time.process_time()
        write_report([table], out, purpose="a measurement")
        took_s, took_cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
        after_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        table_mb, page_kb = table.stat().st_size / 1e6, out.stat().st_size / 1e3
        opens = f", open after {opening_s(out, options.browser):.2f} s" if options.browser else ""
    print(
        f"{frames:,} frames of {options.faces} faces ({table_mb:.0f} MB): {took_s:.1f} s "
        f"({took_cpu_s:.1f} s of one core), {after_mb:.0f} MB of memory at most "
        f"({before_mb:.0f} before), page {page_kb:.0f} kB{opens}"
    )


if __name__ == "__main__":
    main()
