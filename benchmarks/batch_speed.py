"""How fast `mien batch` is beside `mien analyze`, with one worker and with two, and what it costs.

    python benchmarks/batch_speed.py --data ../shared/data/kdef --pictures 600

Every command runs as a user would run it, as a process of its own, by turns; the medians of the
rounds are reported: by the clock, and seconds of CPU, which other work on the machine disturbs
less. The cost is computed from the CPU seconds of one worker with one thread: core-hours, and hours
on 2, 64 and 1,024 such cores, as if they scaled without loss.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from video_speed import FPS, HEIGHT, WIDTH, write_video

MIEN = [sys.executable, "-m", "mien.cli"]


def seconds_of(
    verb: str, inputs: list[str], options: list[str], folder: str
) -> tuple[float, float]:
    """How long a command takes, start and all: by the clock, and of CPU."""
    out = Path(tempfile.mkdtemp(dir=folder)) / ("out.parquet" if verb == "analyze" else "out")
    began, used = time.perf_counter(), _cpu_s()
    command = [*MIEN, verb, *inputs, "--out", str(out), "--quiet", *options]
    done = subprocess.run(command, check=False)
    if done.returncode not in (0, 3):
        raise SystemExit(f"{' '.join(command[:4])} …: exit code {done.returncode}")
    return time.perf_counter() - began, _cpu_s() - used


def _cpu_s() -> float:
    """CPU seconds of all processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def compare(
    inputs: list[str], amount: float, unit: str, rounds: int, folder: str, *more: str
) -> float:
    """Print rates of the four ways by turns; `more` is for batches.

    Returns:
        The amount that one worker does in a second of CPU.
    """
    ways = [
        ("analyze", ["--threads", "1"]),
        ("analyze", ["--threads", "2"]),
        ("batch", ["--workers", "1", *more]),
        ("batch", ["--workers", "2", *more]),
    ]
    measured: list[list[tuple[float, float]]] = [[] for _ in ways]
    for _ in range(rounds):
        for seconds, (verb, options) in zip(measured, ways, strict=True):
            seconds.append(seconds_of(verb, inputs, options, folder))
    rates = [amount / median(clock for clock, _ in seconds) for seconds in measured]
    cpu = [median(used for _, used in seconds) for seconds in measured]
    for (verb, options), rate, used, seconds in zip(ways, rates, cpu, measured, strict=True):
        spread = ", ".join(f"{amount / s:.2f}" for s, _ in sorted(seconds, reverse=True))
        print(
            f"{verb:8} {' '.join(options):26} {rate:8.2f} {unit}/s ({spread}), "
            f"{rate / rates[0]:.2f} times the first, {rate / rates[2]:.2f} times one worker; "
            f"{1000 * used / amount:.1f} ms of CPU for each",
            flush=True,
        )
    return amount / cpu[2]


def costs(amount: float, what: str, rate: float) -> None:
    """Print what an amount takes at a rate per core."""
    hours = amount / rate / 3600
    wall = ", ".join(f"{hours / cores:,.2f} h on {cores:,}" for cores in (2, 64, 1024))
    print(f"{what}: {hours:,.1f} core-hours; {wall} cores", flush=True)


def main() -> None:
    """Measure pictures, then video, and compute what much of either costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=600)
    parser.add_argument("--video-seconds", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--portrait", type=Path, default=Path("demo/astronaut.png"))
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores", flush=True)
    files = sorted(map(str, options.data.rglob("*.jp*g")))
    chosen = files[:: max(1, len(files) // options.pictures)][: options.pictures]
    with tempfile.TemporaryDirectory() as folder:
        print(f"{len(chosen)} pictures of {options.data}", flush=True)
        rate = compare(chosen, len(chosen), "pictures", options.rounds, folder)
        costs(1e6, "a million pictures", rate)
        video = Path(folder) / "video.mp4"
        seconds = options.video_seconds
        # A key frame every two seconds: videos are cut at them.
        coding = {"g": str(2 * FPS), "preset": "veryfast"}
        write_video(options.portrait, video, frames=seconds * FPS, options=coding)
        print(f"a video of {seconds} s, {WIDTH} x {HEIGHT}, {FPS} frames a second", flush=True)
        # Shorter parts than by default, so that there are some for two workers.
        rate = compare([str(video)], seconds, "seconds", options.rounds, folder, "--segment", "20")
        costs(1000 * 3600, "1,000 hours of video", rate)


if __name__ == "__main__":
    main()
