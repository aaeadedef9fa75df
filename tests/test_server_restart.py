"""`mien serve` as a process: killed in the middle of its work, and ended politely."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from mien.pipeline import Analyzer
from mien.types import UInt8Array
from tests.films import write_film

FRAMES = 120


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, portrait: UInt8Array) -> Path:
    """A video that takes a while."""
    file = tmp_path_factory.mktemp("clip") / "clip.mp4"
    view = np.asarray(Image.fromarray(portrait).resize((256, 256)))
    write_film(file, [view] * FRAMES, fps=25)
    return file


@contextmanager
def serving(data: Path) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """A server in a process of its own, and a client; killed at the end if it still runs."""
    command = [sys.executable, "-m", "mien.cli", "serve", "--port", "0", "--data", str(data)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ)
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        assert line.startswith("mien: open http://127.0.0.1:"), line
        address = line.split()[-1]
        with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
            yield process, client
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_a_job_outlives_a_killed_server(tmp_path: Path, clip: Path, analyzer: Analyzer) -> None:
    with serving(tmp_path) as (process, client):
        sent = client.post(
            "/v1/videos",
            params={"annotated": "false"},
            files={"file": ("clip.mp4", clip.read_bytes())},
        )
        job = f"/v1/videos/{sent.json()['id']}"
        while client.get(job).json()["frames"] == 0:
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    with serving(tmp_path) as (_, client):
        with client.stream("GET", f"{job}/events") as events:
            for line in events.iter_lines():
                if line.startswith("data: "):
                    last = json.loads(line.removeprefix("data: "))
        assert (last["state"], last["frames"]) == ("done", FRAMES)
        rows = client.get(f"{job}/files/results.jsonl").text.splitlines()
    found = [result.to_dict() | {"source": "clip.mp4"} for result in analyzer.stream(clip)]
    assert [json.loads(row) for row in rows] == found


def test_a_polite_end_finishes_what_was_accepted(tmp_path: Path, portrait_file: Path) -> None:
    picture = portrait_file.read_bytes()
    with serving(tmp_path) as (process, client):
        opened = socket.create_connection((client.base_url.host, client.base_url.port or 0))
        opened.settimeout(60)
        opened.sendall(
            b"POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
            b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(picture)
        )
        assert opened.recv(1000).startswith(b"HTTP/1.1 100")  # it is accepted
        process.send_signal(signal.SIGTERM)
        while client.base_url:  # nothing new is accepted any more
            try:
                httpx.get(client.base_url.join("/healthz"), trust_env=False)
            except httpx.TransportError:
                break
        opened.sendall(picture)
        answer = b""
        while piece := opened.recv(65536):
            answer += piece
        opened.close()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["faces"][0]["expression"] == "happy"
        assert process.wait(60) == 0
        assert process.stderr is not None
        said = process.stderr.read()
    assert said == "mien: ended; videos that were not finished go on at the next start\n"
