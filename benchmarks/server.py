"""How quick `mien serve` is live, and what 200 clients at once get from it.

    python scripts/sample_portrait.py && python benchmarks/server.py

Server and clients share this machine: the clients' own work is part of what is measured. Pictures
are made of the sample portrait, so that anyone can run it.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import platform
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

import numpy as np
from PIL import Image
from websockets.asyncio.client import connect

from mien.pipeline import Analyzer
from mien.sinks import to_json

FPS = 30
PICTURES = 6  # different ones, of which the 200 clients send


@contextmanager
def serving(*options: str) -> Iterator[tuple[int, int]]:
    """A server in a process of its own: its process id and port."""
    with tempfile.TemporaryDirectory() as data:
        command = [sys.executable, "-m", "mien.cli", "serve", "--port", "0", "--data", data]
        with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stderr is not None
                line = process.stderr.readline()
                yield process.pid, int(line.rstrip("/\n").rsplit(":", 1)[1])
            finally:
                process.terminate()


def jpeg(view: Image.Image) -> bytes:
    """A picture as a camera page sends it."""
    buffer = io.BytesIO()
    view.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def camera(portrait: Image.Image) -> list[bytes]:
    """Two seconds of 640 x 480 in which a face of about 150 pixels wanders, to be repeated."""
    large = portrait.resize((820, 820))
    frames = []
    for i in range(2 * FPS):
        angle = 2 * np.pi * i / (2 * FPS)
        x, y = int(90 + 80 * np.sin(angle)), int(60 + 50 * np.cos(angle))
        frames.append(jpeg(large.crop((x, y, x + 640, y + 480))))
    return frames


async def film(port: int, frames: list[bytes], seconds: float) -> tuple[list[float], int, int]:
    """Send 30 frames a second; returns latencies in ms, and how many were sent and dropped."""
    sent: dict[int, float] = {}
    latencies: list[float] = []
    dropped = 0
    url = f"ws://127.0.0.1:{port}/v1/live"
    async with connect(url, compression=None, max_size=None) as socket:
        await socket.recv()

        async def listen() -> None:
            nonlocal dropped
            async for message in socket:
                answer = json.loads(message)
                assert answer["type"] == "result", answer
                assert len(answer["result"]["faces"]) == 1, answer
                latencies.append(1000 * (time.perf_counter() - sent[answer["result"]["frame"]]))
                dropped = answer["dropped"]

        listening = asyncio.create_task(listen())
        began = time.perf_counter()
        number = 0
        while (due := number / FPS) < seconds:
            await asyncio.sleep(max(0.0, began + due - time.perf_counter()))
            sent[number] = time.perf_counter()
            await socket.send(struct.pack("<d", due) + frames[number % len(frames)])
            number += 1
        await asyncio.sleep(1)
        listening.cancel()
    return latencies, number, dropped


async def live(port: int, frames: list[bytes], clients: int, seconds: float) -> None:
    """Several cameras at once."""
    await film(port, frames, 1.0)  # the first frames of a process are slow
    found = await asyncio.gather(*(film(port, frames, seconds) for _ in range(clients)))
    print(f"\nlive, {clients} client{'s' if clients > 1 else ''}, {seconds:g} s at {FPS} frames/s")
    for latencies, number, dropped in found:
        p95 = quantiles(latencies, n=20)[-1]
        print(
            f"  {len(latencies) / seconds:5.1f} results/s  latency median {median(latencies):5.1f} "
            f"ms, 95% {p95:5.1f} ms  n {len(latencies)} of {number}, dropped {dropped}"
        )


class Crowd:
    """Clients that post pictures for as long as they may, and note what they get."""

    def __init__(self, port: int, requests: list[tuple[bytes, bytes]], seconds: float) -> None:
        self._port, self._requests = port, requests
        self._ends = time.perf_counter() + seconds
        self.outcomes: Counter[str] = Counter()
        self.latencies: list[float] = []

    async def client(self, number: int) -> None:
        """One client, which keeps its connection and honours `Retry-After`."""
        reader: asyncio.StreamReader | None = None
        writer: asyncio.StreamWriter | None = None
        count = number
        while time.perf_counter() < self._ends:
            request, expected = self._requests[count % len(self._requests)]
            count += 1
            began = time.perf_counter()
            try:
                if reader is None or writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                writer.write(request)
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                (length,) = (
                    int(line.split(":")[1])
                    for line in head.splitlines()
                    if line.startswith("content-length:")
                )
                body = await reader.readexactly(length)
            except (OSError, asyncio.IncompleteReadError) as error:
                self.outcomes[f"LOST: {type(error).__name__}"] += 1
                reader = writer = None
                continue
            status = head.split(" ", 2)[1]
            if status == "200":
                self.outcomes["right" if body == expected else "WRONG"] += 1
                self.latencies.append(time.perf_counter() - began)
            elif status == "503" and "retry-after: " in head:
                self.outcomes["refused politely"] += 1
                wait = float(head.split("retry-after: ")[1].split("\r\n")[0])
                writer.close()  # a connection that is not needed for seconds is given back
                reader = writer = None
                await asyncio.sleep(wait)
            else:
                self.outcomes[f"status {status}"] += 1
        if writer is not None:
            writer.close()


async def memory(pid: int, samples: list[float]) -> None:
    """Note the server's resident memory in MB twice a second (Linux)."""
    while True:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        samples.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
        await asyncio.sleep(0.5)


async def crowd(pid: int, port: int, portrait: Image.Image, clients: int, seconds: float) -> None:
    """Many clients at once, each answer compared with what the pipeline says."""
    analyzer = Analyzer()
    requests = []
    with tempfile.TemporaryDirectory() as folder:
        for i in range(PICTURES):
            name = f"{i}.jpg"
            data = jpeg(portrait.resize((640, 640)).crop((10 * i, 15 * i, 500 + 10 * i, 500)))
            (Path(folder) / name).write_bytes(data)
            (result,) = analyzer.stream(str(Path(folder) / name))
            expected = to_json(result).replace(f"{folder}/", "").encode()
            head = (
                f"POST /v1/analyze?name={name} HTTP/1.1\r\nHost: localhost\r\n"
                f"Content-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            )
            requests.append((head.encode() + data, expected))
    samples: list[float] = []
    watching = asyncio.create_task(memory(pid, samples))
    everybody = Crowd(port, requests, seconds)
    await asyncio.gather(*(everybody.client(number) for number in range(clients)))
    watching.cancel()
    print(f"\n{clients} clients that post pictures of 500 pixels for {seconds:g} s")
    for outcome, number in everybody.outcomes.most_common():
        print(f"  {outcome:18} {number:6,}")
    print(
        f"  {len(everybody.latencies) / seconds:.1f} answers/s, median after "
        f"{median(everybody.latencies):.2f} s, the slowest after {max(everybody.latencies):.2f} s"
    )
    print(
        f"  server's memory: {samples[0]:.0f} MB at first, {max(samples):.0f} MB at most, "
        f"{samples[-1]:.0f} MB at the end"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--live-s", type=float, default=20, help="seconds of each live run")
    parser.add_argument("--crowd-s", type=float, default=60, help="seconds of the 200 clients")
    parser.add_argument("--clients", type=int, default=200)
    options = parser.parse_args()
    with Image.open(Path("demo") / "astronaut.png") as picture:
        portrait = picture.convert("RGB")
    print(f"{os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}")
    frames = camera(portrait)
    with serving() as (pid, port):
        asyncio.run(live(port, frames, 1, options.live_s))
        asyncio.run(live(port, frames, 4, options.live_s))
        if options.crowd_s > 0:
            asyncio.run(crowd(pid, port, portrait, options.clients, options.crowd_s))


if __name__ == "__main__":
    main()
