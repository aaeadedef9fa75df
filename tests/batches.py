"""What the tests of batches share: small pictures, batches within this process, their rows."""

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

import mien.batch.run
from mien.batch import Engine, Settings, Summary, run_batch
from mien.batch.inputs import Input
from mien.batch.plan import Part
from mien.batch.schedule import Schedule
from mien.batch.worker import Order, Worker
from mien.types import UInt8Array

QUICK = Settings(detector_px=96)  # little work, and still a face in every picture
Row = dict[str, Any]

analyzer = cache(Settings.analyzer)


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Batches run in this process; the list's only number says after how many tasks they stop."""
    stop_after = [10**9]

    def run(
        _engine: Engine, schedule: Schedule, order: Order, on_progress: Callable[[int], None]
    ) -> None:
        worker = Worker(order)
        while (task := schedule.next()) is not None:
            if stop_after[0] == 0:
                raise KeyboardInterrupt
            stop_after[0] -= 1
            schedule.finished(task, worker.do(task))
            on_progress(schedule.done)
        assert schedule.is_finished

    monkeypatch.setattr(mien.batch.run, "_run", run)
    monkeypatch.setattr(Settings, "analyzer", lambda self: analyzer(self))
    return stop_after


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, portrait: UInt8Array) -> Path:
    """Seven portraits of seven sizes, one picture of nothing, and one that is none."""
    folder = tmp_path_factory.mktemp("pictures")
    face = Image.fromarray(portrait[:300, 60:360])
    for size in range(100, 170, 10):
        face.resize((size, size)).save(folder / f"{size}.png")
    Image.new("RGB", (60, 40), "grey").save(folder / "nobody.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


def rows(out: Path) -> list[Row]:
    found: list[Row] = pq.read_table(out / "results").to_pylist()
    return sorted(found, key=lambda row: (row["source"], row["frame"], row["face"] or 0))


def listed(file: Path) -> list[Row]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def batch(arguments: list[str], out: Path, **options: Any) -> Summary:
    return run_batch(arguments, out, settings=options.pop("settings", QUICK), **options)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> list[Row]:
    """The rows of an uninterrupted batch of all pictures, by real workers."""
    out = tmp_path_factory.mktemp("truth") / "out"
    batch([str(pictures)], out, engine=Engine(workers=2))
    found = rows(out)
    assert len(found) == 8
    return found


@pytest.fixture
def own(tmp_path: Path, pictures: Path) -> Path:
    """A copy of the pictures that a test may change."""
    return Path(shutil.copytree(pictures, tmp_path / "own"))


def part_of(*paths: str, number: int = 0, is_video: bool = False) -> Part:
    return Part(number, is_video, tuple(map(Input, paths)))
