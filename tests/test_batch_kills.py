"""Batches of real processes, really killed. A named pipe holds a worker at a known point."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mien.errors import ConfigError
from tests.batches import batch, listed, own, pictures, rows

__all__ = ["own", "pictures"]  # fixtures

COMMAND = [sys.executable, "-m", "mien.cli", "batch"]
PATIENCE_S = 120.0


def start(arguments: list[str], out: Path, *more: str) -> subprocess.Popen[str]:
    options = ["--detector-px", "96", "--workers", "1", "--out", str(out), *more]
    return subprocess.Popen([*COMMAND, *arguments, *options], stderr=subprocess.PIPE, text=True)


def wait_for(condition: Callable[[], Any]) -> Any:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def worker_at(out: Path, index: int, *, part: int = 0, not_pid: int = 0) -> int:
    """The worker that is at the input with this index within a part, once there is one."""

    def found() -> int:
        for file in (out / ".mien/trying").glob(f"{part:06}"):
            words = file.read_text().split()
            if len(words) == 3 and int(words[0]) == index and int(words[1]) != not_pid:
                return int(words[1])
        return 0

    pid: int = wait_for(found)
    return pid


def with_pipe(pictures: Path, place: int) -> tuple[list[str], Path]:
    """The good pictures' names, and at a place among them a named pipe with that of the last."""
    files = sorted(str(file) for file in pictures.glob("*.png"))
    pipe = pictures / "pipe.png"
    os.mkfifo(pipe)
    files.insert(place, str(pipe))
    return files, pipe


@pytest.mark.parametrize("place", [0, 4])
def test_the_parent_killed(tmp_path: Path, own: Path, place: int) -> None:
    """In the first part, and in the second, in the middle of it."""
    out = tmp_path / "out"
    files, pipe = with_pipe(own, place)
    process = start(files, out, "--part-size", "3")
    worker = worker_at(out, place % 3, part=place // 3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_for(lambda: not Path(f"/proc/{worker}").exists())  # it never outlives its parent
    assert len(list((out / "results").glob("*.parquet"))) == place // 3
    pipe.unlink()
    shutil.copy(own / "100.png", pipe)
    continued = start(files, out, "--part-size", "3")
    _, said = continued.communicate()
    assert continued.returncode == 0, said
    assert "9 inputs" in said
    found = rows(out)
    assert len(found) == 9
    assert sorted({row["source"] for row in found}) == sorted(files)
    assert {row["expression"] for row in found if "pipe" in row["source"]} == {
        row["expression"] for row in found if "100" in row["source"]
    }


def test_a_worker_killed_twice_on_one_input(tmp_path: Path, own: Path) -> None:
    """After one more try that input is a failure; the others are complete."""
    out = tmp_path / "out"
    files, pipe = with_pipe(own, 5)
    process = start(files, out, "--part-size", "9")
    first = worker_at(out, 5)
    os.kill(first, signal.SIGKILL)
    os.kill(worker_at(out, 5, not_pid=first), signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode == 3, said
    (failure,) = listed(out / "failures.jsonl")
    assert failure["source"] == str(pipe)
    assert "2 times (SIGKILL" in failure["error"]
    assert sorted(row["source"] for row in rows(out)) == [f for f in files if f != str(pipe)]


def test_a_worker_killed_once(tmp_path: Path, own: Path) -> None:
    """Nothing is lost, and nothing is a failure."""
    out = tmp_path / "out"
    files, pipe = with_pipe(own, 1)
    process = start(files, out, "--part-size", "3")
    worker = worker_at(out, 1)
    picture = pipe.with_name("whole.png")
    shutil.copy(own / "100.png", picture)
    picture.replace(pipe)
    os.kill(worker, signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert sorted(row["source"] for row in rows(out)) == sorted(files)


def test_two_at_once_on_one_shard(tmp_path: Path, own: Path) -> None:
    files, pipe = with_pipe(own, 0)
    process = start(files, tmp_path / "out", "--part-size", "9")
    worker_at(tmp_path / "out", 0)
    pipe.unlink()
    with pytest.raises(ConfigError, match="another `mien batch` is at work there on shard 1/1"):
        batch(files, tmp_path / "out")
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate()
    assert process.returncode == 130
    assert "interrupted" in said
