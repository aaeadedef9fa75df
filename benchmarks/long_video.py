"""Whether memory stays flat over two hours of video, and all rows are there.

    python scripts/sample_portrait.py && python benchmarks/long_video.py

Makes a video of the sample portrait (one minute, looped without encoding it again), lets
`mien analyze` write Parquet, CSV and segments in a process of its own, watches that process's
memory, and checks every row's number, time and track.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from filming import write_film
from PIL import Image

from mien.results import read_results


def write_minute(portrait: Path, target: Path, fps: int, width: int, height: int) -> None:
    """One minute of a face that wanders and comes back to where it began."""
    with Image.open(portrait) as picture:
        side = int(1.1 * max(width, height))
        large = np.asarray(picture.convert("RGB").resize((side, side)))
    reach = (side - max(width, height)) // 2
    angles = np.linspace(0, 2 * np.pi, 60 * fps, endpoint=False)
    places = reach + reach * np.stack([np.sin(3 * angles), np.cos(2 * angles)], 1)
    views = (large[y : y + height, x : x + width] for x, y in places.astype(int))
    write_film(target, views, fps=fps, options={"preset": "veryfast", "bf": "0"})


def loop(minute: Path, target: Path, minutes: int) -> None:
    """The same packets again and again, each round a minute later."""
    with av.open(str(target), "w") as out:
        stream = None
        for number in range(minutes):
            with av.open(str(minute)) as container:
                video = container.streams.video[0]
                if stream is None:
                    stream = out.add_stream_from_template(video)
                for packet in container.demux(video):
                    if packet.dts is None:
                        continue
                    later = int(60 * number / Fraction(packet.time_base))
                    packet.pts, packet.dts = (packet.pts or 0) + later, packet.dts + later
                    packet.stream = stream
                    out.mux(packet)


def memory_mb(pid: int) -> float:
    """What a process holds in memory now."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def main() -> None:
    """Make, analyse, watch, check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=int, default=120)
    parser.add_argument("--fps", type=int, default=5)
    parser.add_argument("--size", default="1280x720", help="WIDTHxHEIGHT")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "long.mp4"
        write_minute(
            Path("demo") / "astronaut.png", Path(folder) / "minute.mp4", options.fps, width, height
        )
        loop(Path(folder) / "minute.mp4", video, options.minutes)
        outs = [f"{folder}/{name}" for name in ("r.parquet", "r.csv", "r.segments.csv")]
        command = [sys.executable, "-m", "mien.cli", "analyze", str(video), "--quiet"]
        command += [part for out in outs for part in ("--out", out)]
        began = time.perf_counter()
        process = subprocess.Popen(command)
        watched: list[tuple[float, float]] = []
        while process.poll() is None:
            time.sleep(1)
            if process.poll() is None:
                watched.append((time.perf_counter() - began, memory_mb(process.pid)))
        took_s = time.perf_counter() - began
        assert process.returncode == 0
        times, held = (np.array(column) for column in zip(*watched, strict=True))
        share = times / took_s
        early = float(np.median(held[(share > 2 / options.minutes) & (share < 0.1)]))
        late = float(np.median(held[share > 0.9]))
        frames = 60 * options.minutes * options.fps
        tracks: set[int | None] = set()
        for number, result in enumerate(read_results(outs[0])):
            assert result.frame == number
            assert abs(result.time_s - number / options.fps) < 1e-3, (number, result.time_s)
            tracks.update(face.track_id for face in result.faces)
        assert number + 1 == frames, (number + 1, frames)
        print(
            f"{options.minutes} minutes of {options.size} at {options.fps} frames/s, {frames:,} "
            f"frames: {took_s:.0f} s, {frames / took_s:.0f} frames/s; memory after two minutes of "
            f"it {early:.0f} MB, in its last tenth {late:.0f} MB, at most {held.max():.0f} MB; all "
            f"rows and times right; tracks {sorted(t for t in tracks if t is not None)}"
        )


if __name__ == "__main__":
    main()
