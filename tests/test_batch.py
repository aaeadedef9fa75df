"""Batches: whatever happens to them, the union of their rows stays the same."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image

import mien.batch.run
from mien.batch import Engine, Settings, Shard, Summary, run_batch
from mien.batch.folder import BatchFolder, durable
from mien.batch.inputs import Input, list_inputs
from mien.batch.partitions import _Target, is_whole, read_record
from mien.batch.plan import Part, plan_parts
from mien.batch.schedule import AnalyzePart, Outcome, Schedule
from mien.batch.worker import Order, Worker
from mien.cli import main as cli
from mien.errors import ConfigError, SinkError, SourceError
from mien.sinks.tables import result_fields, write_parquet_rows
from mien.types import RESULT_COLUMNS, UInt8Array

QUICK = Settings(detector_px=96)  # little work, and still a face in every picture
COMMAND = [sys.executable, "-m", "mien.cli", "batch"]
PATIENCE_S = 120.0
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


def test_a_batch_has_the_rows_of_analyze(tmp_path: Path, pictures: Path, inline: list[int]) -> None:
    progress = []
    summary = batch(
        [str(pictures)], tmp_path / "out", on_progress=lambda done, total: progress.append(done)
    )
    expected = [
        row
        for file in sorted(pictures.glob("*.png"))
        for result in analyzer(QUICK).stream(file)
        for row in result.to_rows()
    ]
    assert rows(tmp_path / "out") == expected
    assert len(expected) == 8
    assert tuple(pq.read_schema(next((tmp_path / "out/results").iterdir())).names) == RESULT_COLUMNS
    assert (summary.totals.inputs, summary.totals.failed, summary.totals.frames) == (9, 1, 8)
    assert progress == sorted(progress)
    assert progress[-1] == 9
    (failure,) = listed(tmp_path / "out/failures.jsonl")
    assert failure["source"].endswith("broken.jpg")
    assert "not a picture" in failure["error"]
    manifest = listed(tmp_path / "out/manifest.jsonl")
    assert {row["source"] for row in manifest} == {str(f) for f in pictures.iterdir()}
    assert sum(row["faces"] for row in manifest) == 7


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> list[Row]:
    """The rows of an uninterrupted batch of all pictures, by real workers."""
    out = tmp_path_factory.mktemp("truth") / "out"
    batch([str(pictures)], out, engine=Engine(workers=2))
    found = rows(out)
    assert len(found) == 8
    return found


@examples(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_order_and_any_sharding_give_the_same_rows(
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
    pictures: Path,
    truth: list[Row],
    inline: list[int],
) -> None:
    out = tmp_path_factory.mktemp("any") / "out"
    files = data.draw(st.permutations([str(file) for file in pictures.iterdir()]))
    count = data.draw(st.integers(1, 4))
    part_size = data.draw(st.integers(1, 5))
    for index in data.draw(st.permutations(range(1, count + 1))):
        summary = batch(files, out, shard=Shard(index, count), part_size=part_size)
    assert rows(out) == truth
    assert (summary.totals.inputs, summary.totals.failed) == (9, 1)


@examples(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.integers(0, 3), max_size=4))
def test_stopped_and_continued_anywhere(
    tmp_path_factory: pytest.TempPathFactory,
    pictures: Path,
    truth: list[Row],
    inline: list[int],
    stops: list[int],
) -> None:
    out = tmp_path_factory.mktemp("stops") / "out"
    for stop in stops:
        inline[0] = stop
        try:
            batch([str(pictures)], out, part_size=2)
        except KeyboardInterrupt:
            assert len(listed(out / "manifest.jsonl")) <= 9
    inline[0] = 10**9
    batch([str(pictures)], out, part_size=2)
    assert rows(out) == truth
    assert len(listed(out / "manifest.jsonl")) == 9


# Real processes, really killed. A named pipe holds a worker at a point that is known.


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


def worker_at(out: Path, index: int, *, not_pid: int = 0) -> int:
    """The worker that is at the input with this index within its part, once there is one."""

    def found() -> int:
        for file in (out / ".mien/trying").glob("*"):
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


@pytest.fixture
def own(tmp_path: Path, pictures: Path) -> Path:
    """A copy of the pictures that a test may change."""
    return Path(shutil.copytree(pictures, tmp_path / "own"))


@pytest.mark.parametrize("place", [0, 4])
def test_the_parent_killed(tmp_path: Path, own: Path, place: int) -> None:
    """In the first part, and in the second, in the middle of it."""
    out = tmp_path / "out"
    files, pipe = with_pipe(own, place)
    process = start(files, out, "--part-size", "3")
    worker = worker_at(out, place % 3)
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


# Damage, and things that do not fit.


@pytest.mark.parametrize("keep", [0, 5, 300, -1])
def test_a_truncated_partition_is_done_again(
    tmp_path: Path, pictures: Path, truth: list[Row], inline: list[int], keep: int
) -> None:
    batch([str(pictures)], tmp_path / "out", part_size=3)
    file = tmp_path / "out/results/part-000001.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[:keep])
    assert not is_whole(file)
    assert read_record(file) is None
    summary = batch([str(pictures)], tmp_path / "out", part_size=3)
    assert summary.before == 6
    assert rows(tmp_path / "out") == truth
    assert file.read_bytes() == whole


def test_a_full_disk(
    tmp_path: Path,
    pictures: Path,
    truth: list[Row],
    inline: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The third partition finds no space; when there is some, the batch goes on."""
    out, count, fsync = tmp_path / "out", [0], os.fsync

    def no_space(handle: int) -> None:
        name = os.readlink(f"/proc/self/fd/{handle}")
        count[0] += "part-" in name
        if count[0] == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(SinkError, match=r"part-000002.*No space left on device.*same command"):
        batch([str(pictures)], out, part_size=2)
    assert sorted(f.name for f in (out / "results").iterdir()) == [
        "part-000000.parquet",
        "part-000001.parquet",
    ]
    monkeypatch.setattr(os, "fsync", fsync)
    assert batch([str(pictures)], out, part_size=2).before == 4
    assert rows(out) == truth


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_while_a_table_is_written(tmp_path: Path) -> None:
    """arro3 would panic, with pages of text on stderr."""
    fields = result_fields()
    row = dict.fromkeys(RESULT_COLUMNS)
    with open("/dev/full", "wb", buffering=0) as full:
        target = _Target(full)
        write_parquet_rows(target, fields, [[row] * 100])
    assert target.failure is not None
    assert target.failure.errno == errno.ENOSPC
    with pytest.raises(SinkError, match="No space"), durable(tmp_path / "x"):
        raise target.failure
    assert not list(tmp_path.iterdir())


def test_other_settings_are_refused(tmp_path: Path, pictures: Path, inline: list[int]) -> None:
    out = tmp_path / "out"
    batch([str(pictures)], out)
    with pytest.raises(ConfigError, match=r"begun with tta = False, and now it is True.*--out"):
        batch([str(pictures)], out, settings=Settings(detector_px=96, tta=True))
    copy = tmp_path / "other.onnx"
    copy.write_bytes(_altered_model())
    with pytest.raises(ConfigError, match="begun with model_sha256"):
        batch([str(pictures)], out, settings=Settings(detector_px=96, model=str(copy)))
    table = tmp_path / "list.csv"
    table.write_text(f"path,who\n{pictures}/100.png,me\n")
    with pytest.raises(ConfigError, match="begun without the manifest's column"):
        batch([str(table)], out)
    again = batch([str(pictures)], out, settings=Settings(detector_px=96, threads=2))
    assert again.before == 9


def _altered_model() -> bytes:
    import onnx

    from mien.models import find_model

    model = onnx.load_from_string(find_model().read())
    model.doc_string = "the same, with other bytes"
    return bytes(model.SerializeToString())


def test_failures_are_tried_again_when_asked_for(
    tmp_path: Path, own: Path, inline: list[int]
) -> None:
    out = tmp_path / "out"
    batch([str(own)], out, part_size=3)
    shutil.copy(own / "100.png", own / "broken.jpg")
    assert batch([str(own)], out, part_size=3).totals.failed == 1
    summary = batch([str(own)], out, part_size=3, retry_failed=True)
    assert (summary.totals.inputs, summary.totals.failed) == (9, 0)
    assert not listed(out / "failures.jsonl")
    assert len({row["source"] for row in rows(out)}) == len(rows(out)) == 9
    with pytest.raises(ConfigError, match="without shards"):
        batch([str(own)], out, retry_failed=True, shard=Shard(1, 2))


def test_new_inputs_are_added(tmp_path: Path, own: Path, inline: list[int]) -> None:
    batch([str(own)], tmp_path / "out")
    shutil.copy(own / "100.png", own / "added.png")
    summary = batch([str(own)], tmp_path / "out")
    assert (summary.before, summary.totals.inputs) == (9, 10)
    assert len(rows(tmp_path / "out")) == 9


# Inputs.


def test_a_manifests_columns_are_carried_along(
    tmp_path: Path, own: Path, inline: list[int]
) -> None:
    table = own / "list.csv"
    table.write_text('path,label,note\n100.png,happy,"a, b"\nnobody.png,,\nbroken.jpg,sad,\n')
    batch([str(table), str(own / "110.png")], tmp_path / "csv")
    found = {Path(row["source"]).name: row for row in rows(tmp_path / "csv")}
    assert [found["100.png"][key] for key in ("path", "label", "note")] == [
        "100.png", "happy", "a, b",
    ]  # fmt: skip
    assert found["nobody.png"]["label"] == ""
    assert found["110.png"]["label"] is None
    assert list(found["100.png"])[: len(RESULT_COLUMNS)] == list(RESULT_COLUMNS)

    typed = own / "list.parquet"
    columns: dict[str, Any] = {
        "path": ["100.png", "110.png"],
        "age": pa.array([31, None], pa.int16()),
        "weight": pa.array([0.5, 1.5], pa.float32()),
        "posed": [True, None],
        "day": pa.array([0, 1], pa.date32()),
        "who": pa.array(["a", "b"]).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), typed)
    batch([str(typed)], tmp_path / "parquet")
    schema = pq.read_schema(next((tmp_path / "parquet/results").iterdir()))
    kinds = {name: str(schema.field(name).type) for name in columns}
    assert kinds == {
        "path": "string", "age": "int64", "weight": "double", "posed": "bool", "day": "string",
        "who": "string",
    }  # fmt: skip
    first, second = rows(tmp_path / "parquet")
    assert [first[key] for key in columns] == ["100.png", 31, 0.5, True, "1970-01-01", "a"]
    assert (second["age"], second["posed"]) == (None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file\na.png\n", "column 'path', found file"),
        ("", "column 'path', found no"),
        ("path\n\n \n", "row 1 has no path"),
        ("path\na.png,b\n", "row 1 has more fields"),
        ('path\n"a.png', "not a CSV file"),
        ("path,x\na.png,1\na.png,2\n", "one row for each path"),
    ],
)
def test_bad_manifests(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(ConfigError, match=message):
        list_inputs([str(tmp_path / "list.csv")])


def test_damaged_parquet_manifests(
    tmp_path: Path, inline: list[int], capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "list.parquet"
    pq.write_table(pa.table({"path": ["a"] * 1000}), file)
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(ConfigError, match="not a complete Parquet file"):
        list_inputs([str(file)])
    pq.write_table(pa.table({"path": ["a.png"], "frame": [1]}), file)
    with pytest.raises(ConfigError, match="column 'frame' has the name of one of mien's own"):
        batch([str(file)], tmp_path / "out")
    assert "panicked" not in capfd.readouterr().err


def test_each_input_once(tmp_path: Path, own: Path) -> None:
    (own / "list.csv").write_text("path,who\n100.png,me\n")
    listing = list_inputs([str(own), f"{own}/../own", str(own / "*.png"), str(own / "list.csv")])
    assert len(listing.inputs) == 9
    assert [each.values for each in listing.inputs if each.values] == [
        {"path": "100.png", "who": "me"}
    ]
    nothing = list_inputs([str(tmp_path / "*.gif"), "-", "0"])
    assert not nothing.inputs
    assert len(nothing.failures) == 3


def test_nothing_at_all(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="matches no picture"):
        batch([str(tmp_path / "*.png")], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_addresses(tmp_path: Path, pictures: Path, inline: list[int]) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for name in ("100.png", "broken.jpg", "nobody.png"):
        memory.pipe(f"/bucket/{name}", (pictures / name).read_bytes())
    memory.pipe("/bucket/notes.txt", b"-")
    memory.pipe("/bucket/list.csv", b"path,n\n100.png,1\nmemory://bucket/gone.png,2\n")
    summary = batch(["memory://bucket"], tmp_path / "out")
    assert (summary.totals.inputs, summary.totals.failed) == (3, 1)
    names = [row["source"] for row in rows(tmp_path / "out")]
    assert [name.rpartition("/")[2] for name in names] == ["100.png", "nobody.png"]
    assert all(name.startswith("memory://") for name in names)
    batch(["memory://bucket/list.csv"], tmp_path / "list")
    assert [row["n"] for row in rows(tmp_path / "list")] == ["1"]
    assert "gone.png" in (tmp_path / "list/failures.jsonl").read_text()
    there = batch([pictures.as_uri() + "/1*.png"], tmp_path / "files")
    assert there.totals.frames == 7
    with pytest.raises(SourceError, match="there is nothing"):
        batch(["memory://elsewhere"], tmp_path / "nothing")
    with pytest.raises(ConfigError, match="no kind of address that is known"):
        batch(["nonesuch://x"], tmp_path / "nothing")


def test_what_is_missing_for_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    core = pytest.importorskip("fsspec.core")

    def missing(_address: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(core, "url_to_fs", missing)
    assert cli(["batch", "s3://bucket/x", "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said == "mien: s3://bucket/x: this needs s3fs: pip install s3fs\n"
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(ConfigError, match=r"pip install 'mien\[cloud\]'"):
        list_inputs(["gs://bucket/x"])


def test_names_that_are_no_text(tmp_path: Path, portrait_file: Path, inline: list[int]) -> None:
    folder = tmp_path / "names"
    folder.mkdir()
    name = os.fsdecode(b"\xff.png")
    try:
        shutil.copy(portrait_file, folder / name)
    except OSError:
        pytest.skip("this file system takes text only")
    shutil.copy(portrait_file, folder / "good.png")
    summary = batch([str(folder)], tmp_path / "out")
    assert (summary.totals.inputs, summary.totals.failed) == (2, 1)
    assert "no text" in listed(tmp_path / "out/failures.jsonl")[0]["error"]


# Planning and scheduling.


def test_parts() -> None:
    inputs = [Input(f"{i}.png") for i in range(1000)] + [Input("a.mp4"), Input("b.mov")]
    parts = plan_parts(inputs, 7)
    assert [part.number for part in parts] == list(range(7, 7 + len(parts)))
    assert [len(part.inputs) for part in parts[:62]] == [16] * 62  # 1,000 in at least 64 parts
    assert [part.is_video for part in parts[-3:]] == [False, True, True]
    assert len(plan_parts(inputs[:16], 0)) == 2
    large = plan_parts([Input(f"{i}.png") for i in range(50_000)], 0)
    assert {len(part.inputs) for part in large[:-1]} == {256}
    assert plan_parts([], 0) == []


def part_of(*paths: str, number: int = 0, is_video: bool = False) -> Part:
    return Part(number, is_video, tuple(map(Input, paths)))


def test_who_dies_on_an_input_twice_gives_it_up() -> None:
    schedule = Schedule([part_of("a", "b", "c")])
    task = schedule.next()
    assert isinstance(task, AnalyzePart)
    schedule.died(task, 1, "SIGSEGV")
    task = schedule.next()
    assert isinstance(task, AnalyzePart)
    assert (task.suspect, task.given_up) == (1, {})
    schedule.died(task, 2, "SIGSEGV")  # another one
    task = schedule.next()
    assert isinstance(task, AnalyzePart)
    assert task.suspect == 2
    schedule.died(task, 1, "SIGSEGV")
    task = schedule.next()
    assert isinstance(task, AnalyzePart)
    assert task.given_up == {1: "b: ended the worker that read it, 2 times (SIGSEGV)"}
    schedule.finished(task, Outcome(3))
    assert schedule.is_finished
    assert schedule.done == 3


def test_who_dies_on_nothing_is_not_replaced_for_ever() -> None:
    schedule = Schedule([part_of("a")])
    for _ in range(2):
        task = schedule.next()
        assert task is not None
        schedule.died(task, None, "SIGKILL")
    task = schedule.next()
    assert task is not None
    with pytest.raises(SinkError, match="3 workers ended on it"):
        schedule.died(task, None, "SIGKILL")


def test_the_folder_of_no_batch(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not the folder of a batch"):
        BatchFolder(tmp_path).job()
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="cannot be made"):
        batch([str(tmp_path / "x.png")], tmp_path / "file")


# The command.


def test_exit_codes(
    tmp_path: Path, own: Path, inline: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ["--detector-px", "96"]
    assert cli(["batch", str(own / "100.png"), "--out", str(tmp_path / "a"), *quick]) == 0
    assert "mien: 1 inputs, 1 frames, 1 faces in" in capsys.readouterr().err
    assert cli(["batch", str(own), "--out", str(tmp_path / "b"), *quick, "--quiet"]) == 3
    assert "1 failed, listed in" in capsys.readouterr().err
    assert cli(["batch", str(own / "broken.jpg"), "--out", str(tmp_path / "c"), *quick]) == 2
    for options, message in [
        (["--shard", "3/2"], "--shard: expected I/N"),
        (["--shard", "x"], "--shard: expected I/N"),
        (["--workers", "0"], "--workers: expected at least 1"),
        (["--part-size", "0"], "--part-size: expected at least 1"),
        (["--segment", "3"], "--segment: expected 0, or at least 10"),
        (["--min-score", "2"], "--min-score: expected"),
    ]:
        assert cli(["batch", str(own), "--out", str(tmp_path / "d"), *options]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
    assert not (tmp_path / "d").exists()


def test_a_ray_that_is_not_there(
    tmp_path: Path, own: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    arguments = ["batch", str(own), "--out", str(tmp_path / "out"), "--engine", "ray"]
    assert cli([*arguments, "--detector-px", "96"]) == 2
    assert "pip install 'mien[ray]'" in capsys.readouterr().err


def test_numbers_of_settings() -> None:
    with pytest.raises(ValueError, match="segment_s"):
        Settings(segment_s=3)
    with pytest.raises(ValueError, match="index"):
        Shard(0, 2)
    assert str(Shard(2, 3)) == "2/3"
    assert np.isinf(Settings().span.end_s)
