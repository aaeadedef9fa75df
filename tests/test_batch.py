"""Batches: whatever happens to them, the union of their rows stays the same."""

import errno
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from mien.batch import Engine, Settings, Shard, run_batch
from mien.batch.disk import durable
from mien.batch.folder import BatchFolder
from mien.batch.inputs import Input
from mien.batch.partitions import read_record
from mien.batch.plan import plan_parts
from mien.batch.schedule import AnalyzePart, Outcome, Schedule
from mien.batch.worker import Order, Worker, limit_memory
from mien.cli import main as cli
from mien.errors import ConfigError, SinkError
from mien.sinks.parquet import result_fields, write_parquet_rows
from mien.types import QUALITY_COLUMNS, RESULT_COLUMNS
from tests.batches import (
    QUICK,
    Row,
    analyzer,
    batch,
    inline,
    listed,
    own,
    part_of,
    pictures,
    rows,
    truth,
)

__all__ = ["inline", "own", "pictures", "truth"]  # fixtures


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


@examples(max_examples=8, suppress_health_check=list(HealthCheck))
@given(drawing=st.data())
def test_any_order_and_any_sharding_give_the_same_rows(
    drawing: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
    pictures: Path,
    truth: list[Row],
    inline: list[int],
) -> None:
    out = tmp_path_factory.mktemp("any") / "out"
    files = drawing.draw(st.permutations([str(file) for file in pictures.iterdir()]))
    count = drawing.draw(st.integers(1, 4))
    part_size = drawing.draw(st.integers(1, 5))
    for index in drawing.draw(st.permutations(range(1, count + 1))):
        summary = batch(files, out, shard=Shard(index, count), part_size=part_size)
    assert rows(out) == truth
    assert (summary.totals.inputs, summary.totals.failed) == (9, 1)


@examples(max_examples=6, suppress_health_check=list(HealthCheck))
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


def test_the_tables_are_there_from_the_beginning(
    tmp_path: Path, pictures: Path, inline: list[int]
) -> None:
    """Who is killed cannot write them at the end."""
    out = tmp_path / "out"
    inline[0] = 2
    with pytest.raises(KeyboardInterrupt):
        batch([str(pictures)], out, part_size=3)
    inline[0] = 10**9
    (out / "manifest.jsonl").unlink()
    found = []

    def look(_done: int, _total: int) -> None:
        found.append(len(listed(out / "manifest.jsonl")))

    batch([str(pictures)], out, part_size=3, on_progress=look)
    assert found[0] == 6
    assert len(listed(out / "manifest.jsonl")) == 9


# Damage, and things that do not fit.


@pytest.mark.parametrize("keep", [0, 5, 300, -1])
def test_a_truncated_partition_is_done_again(
    tmp_path: Path, pictures: Path, truth: list[Row], inline: list[int], keep: int
) -> None:
    batch([str(pictures)], tmp_path / "out", part_size=3)
    file = tmp_path / "out/results/part-000001.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[:keep])
    assert read_record(file) is None
    summary = batch([str(pictures)], tmp_path / "out", part_size=3)
    assert summary.before == 6
    assert rows(tmp_path / "out") == truth
    assert file.read_bytes() == whole


@pytest.mark.parametrize("again", [False, True])
def test_a_partition_with_a_damaged_index_is_done_again(
    tmp_path: Path, pictures: Path, truth: list[Row], inline: list[int], again: bool
) -> None:
    """It begins and ends as it should; what lies between says nothing any more."""
    if again:  # the last part is then that of a picture that was planned once more
        batch([str(pictures)], tmp_path / "out", part_size=3)
        batch([str(pictures)], tmp_path / "out", part_size=3, retry_failed=True)
    batch([str(pictures)], tmp_path / "out", part_size=3)
    file = max((tmp_path / "out/results").iterdir())
    whole = file.read_bytes()
    length = int.from_bytes(whole[-8:-4], "little")
    file.write_bytes(whole[: -8 - length] + b"\xff" * length + whole[-8:])
    assert read_record(file) is None
    summary = batch([str(pictures)], tmp_path / "out", part_size=3)
    assert summary.totals.inputs == 9
    assert len(listed(tmp_path / "out/manifest.jsonl")) == 9
    assert file.read_bytes() == whole
    assert rows(tmp_path / "out") == truth


def test_shards_of_different_counts_leave_each_other_alone(
    tmp_path: Path, pictures: Path, truth: list[Row], inline: list[int]
) -> None:
    """Two at once on the same parts: what the one has begun, the other does not sweep up."""
    out = tmp_path / "out"
    batch([str(pictures)], out, shard=Shard(2, 2), part_size=3)
    other = BatchFolder(out)
    number = other.parts()[0].number
    begun = other.segment(number, 0).with_name(".000000.jsonl.tmp")
    with other.at_work(), other.trying("000000"), durable(other.partition(number)) as file:
        begun.write_bytes(b"half")
        batch([str(pictures)], out, part_size=3)
        assert rows(out) == truth
        file.write(other.partition(number).read_bytes())
    assert begun.exists()
    batch([str(pictures)], out, shard=Shard(1, 3), part_size=3)
    assert not begun.parent.exists()  # nobody else is there any more
    assert rows(out) == truth
    assert not list(out.rglob("*.tmp"))


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
        if "part-" in name and count[0] == 3:
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
def test_a_full_disk_while_a_table_is_written(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """arro3 would panic, with pages of text on stderr."""
    fields = result_fields()
    row = dict.fromkeys(RESULT_COLUMNS)
    with (
        open("/dev/full", "wb", buffering=0) as full,
        pytest.raises(OSError, match="No space") as caught,
    ):
        write_parquet_rows(full, fields, [[row] * 100])
    assert caught.value.errno == errno.ENOSPC
    assert capfd.readouterr().err == ""
    with pytest.raises(SinkError, match="No space"), durable(tmp_path / "x"):
        raise caught.value
    assert not list(tmp_path.iterdir())


def test_a_disk_that_becomes_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Linux makes one that is damaged: nothing can be removed there any more either."""

    def read_only(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "open", read_only)
    monkeypatch.setattr(Path, "unlink", read_only)
    with (
        pytest.raises(SinkError, match=r"/x: cannot be written \(Read-only.*same command"),
        durable(tmp_path / "x"),
    ):
        pass


def test_other_settings_are_refused(tmp_path: Path, pictures: Path, inline: list[int]) -> None:
    out = tmp_path / "out"
    batch([str(pictures)], out)
    with pytest.raises(ConfigError, match=r"begun with views = single, and now it is flip.*--out"):
        batch([str(pictures)], out, settings=Settings(detector_px=96, views="flip"))
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


def test_a_manifest_that_became_another_kind_of_file(
    tmp_path: Path, pictures: Path, inline: list[int]
) -> None:
    out, path = tmp_path / "out", f"{pictures}/100.png"
    (tmp_path / "list.csv").write_text(f"path,age\n{path},31\n")
    batch([str(tmp_path / "list.csv")], out)
    pq.write_table(pa.table({"path": [path], "age": [31]}), tmp_path / "list.parquet")
    with pytest.raises(ConfigError, match="column 'age' as string, and now it is int64"):
        batch([str(tmp_path / "list.parquet")], out)


def test_what_was_too_large_is_read_with_a_higher_limit(
    tmp_path: Path, own: Path, inline: list[int]
) -> None:
    """As the failure says: by --max-pixels, in the same folder. What is done stays as it is."""
    out = tmp_path / "out"
    assert batch([str(own)], out, settings=replace(QUICK, max_pixels=150**2)).totals.failed == 2
    assert "--max-pixels" in (out / "failures.jsonl").read_text()
    assert batch([str(own)], out).totals.failed == 2
    assert batch([str(own)], out, retry_failed=True).totals.failed == 1
    assert "160.png" in {Path(row["source"]).name for row in rows(out)}


#: The columns of results that do not rate faces.
UNRATED = tuple(column for column in RESULT_COLUMNS if column not in QUALITY_COLUMNS)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        (UNRATED, r"without quality, quality_reasons\)"),
        ((*RESULT_COLUMNS, "mood"), r"with mood\)"),
        ((*UNRATED, "mood"), r"without quality, quality_reasons and with mood\)"),
        (RESULT_COLUMNS[::-1], r"in another order\)"),
    ],
)
def test_rows_of_another_version_are_not_mixed(
    tmp_path: Path,
    pictures: Path,
    inline: list[int],
    columns: tuple[str, ...],
    says: str,
) -> None:
    """Stopped under a version whose rows had other columns, and continued by this one."""
    out = tmp_path / "out"
    inline[0] = 1
    with pytest.raises(KeyboardInterrupt):
        batch([str(pictures)], out, part_size=3)
    file = out / ".mien/job.json"
    job = json.loads(file.read_text("utf-8"))
    assert tuple(job["own_columns"]) == RESULT_COLUMNS
    file.write_text(json.dumps(job | {"own_columns": columns}))
    before = sorted(out.rglob("*"))
    with pytest.raises(ConfigError, match=rf"out: .*other columns.*{says}.*--out"):
        batch([str(pictures)], out, part_size=3)
    assert sorted(out.rglob("*")) == before


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
    assert (summary.before, summary.totals.inputs, summary.totals.failed) == (8, 9, 0)
    assert not listed(out / "failures.jsonl")
    assert len({row["source"] for row in rows(out)}) == len(rows(out)) == 9
    with pytest.raises(ConfigError, match="without shards"):
        batch([str(own)], out, retry_failed=True, shard=Shard(1, 2))


def test_failures_that_somebody_else_may_have_planned_again(
    tmp_path: Path, own: Path, inline: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are not silently left as they are."""
    batch([str(own)], tmp_path / "out", part_size=3)
    monkeypatch.setattr(BatchFolder, "add_plan", lambda *_: False)
    with pytest.raises(ConfigError, match="planned more there at this moment"):
        batch([str(own)], tmp_path / "out", part_size=3, retry_failed=True)


def test_who_is_tried_again_and_stopped_counts_once(
    tmp_path: Path, own: Path, inline: list[int]
) -> None:
    """It failed, failed again, and was to be tried a third time."""
    out = tmp_path / "out"
    batch([str(own)], out, part_size=3)
    batch([str(own)], out, part_size=3, retry_failed=True)
    inline[0] = 0
    for _ in range(2):  # what is planned already is not planned once more
        with pytest.raises(KeyboardInterrupt):
            batch([str(own)], out, part_size=3, retry_failed=True)
        sources = [row["source"] for row in listed(out / "manifest.jsonl")]
        assert len(sources) == len(set(sources)) == 9
        assert len(listed(out / "failures.jsonl")) == 1
    assert len(BatchFolder(out).parts()) == 5
    shutil.copy(own / "100.png", own / "broken.jpg")
    inline[0] = 10**9
    totals = batch([str(own)], out, part_size=3).totals
    assert (totals.inputs, totals.failed, len(rows(out))) == (9, 0, 9)


def test_a_batch_goes_on_from_another_folder(
    tmp_path: Path, own: Path, inline: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path means what it meant, also in a manifest, also to who fills a gap."""
    out = tmp_path / "out"
    (own / "list.csv").write_text("path\n100.png\n")
    monkeypatch.chdir(own.parent)
    assert batch([own.name, f"{own.name}/list.csv"], out, part_size=3).totals.inputs == 9
    before = rows(out)
    assert all(Path(row["source"]).is_absolute() for row in before)
    monkeypatch.chdir(tmp_path / "out")
    (out / "results/part-000000.parquet").unlink()
    totals = batch([str(own)], out, part_size=3).totals
    assert (totals.inputs, totals.failed) == (9, 1)
    assert [row["source"] for row in rows(out)] == [row["source"] for row in before]
    monkeypatch.chdir(own)
    assert batch(["../own/list.csv", "."], out, part_size=3).totals.inputs == 9


def test_a_workers_model_lies_where_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.onnx").write_bytes(b"x")
    settled = Settings(model="mine.onnx", temporal="gone.onnx").settled()
    assert (settled.model, settled.temporal) == (str(tmp_path / "mine.onnx"), "gone.onnx")
    (tmp_path / "mien-s").write_bytes(b"x")
    assert Settings(model="mien-s").settled().model == "mien-s"  # names come first


def test_an_address_is_no_folder_for_results(
    tmp_path: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"^s3://bucket/out: .*a folder.*copy"):
        run_batch([str(own)], "s3://bucket/out")
    assert [each.name for each in tmp_path.iterdir()] == ["own"]


def test_new_inputs_are_added(tmp_path: Path, own: Path, inline: list[int]) -> None:
    batch([str(own)], tmp_path / "out")
    shutil.copy(own / "100.png", own / "added.png")
    summary = batch([str(own)], tmp_path / "out")
    assert (summary.before, summary.totals.inputs) == (9, 10)
    assert len(rows(tmp_path / "out")) == 9


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


def test_a_file_that_the_file_system_put_there(tmp_path: Path) -> None:
    """As network file systems do where a file is removed that is still open."""
    folders = [tmp_path / name for name in ("results", ".mien/segments", ".mien/trying")]
    for folder in folders:
        folder.mkdir(parents=True)
    (folders[-1] / ".nfs000000a1").touch()
    (folders[-1] / "000000-join").touch()
    batch_folder = BatchFolder(tmp_path)
    with batch_folder.at_work():
        batch_folder.clean([0])
    assert [file.name for file in folders[-1].iterdir()] == [".nfs000000a1"]


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
    assert "mien: 1 input, 1 frame, 1 face in" in capsys.readouterr().err
    assert cli(["batch", str(own), "--out", str(tmp_path / "b"), *quick, "--quiet"]) == 3
    assert "1 failed, listed in" in capsys.readouterr().err
    assert cli(["batch", str(own / "broken.jpg"), "--out", str(tmp_path / "c"), *quick]) == 2
    assert "not a picture" in (tmp_path / "c/failures.jsonl").read_text()
    assert "complete" not in capsys.readouterr().err  # there are no others
    for options, message in [
        (["--shard", "3/2"], "--shard: expected I/N"),
        (["--shard", "x"], "--shard: expected I/N"),
        (["--workers", "0"], "--workers: expected at least 1"),
        (["--ray-address", "auto"], "--ray-address: is for --engine ray. Give both"),
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


def test_a_worker_of_another_version_refuses(tmp_path: Path) -> None:
    order = Order(Settings(), str(tmp_path), version="0.0.1")
    with pytest.raises(ConfigError, match=r"but 0\.0\.1 where the batch was started"):
        Worker(order)


def test_a_limit_of_memory_that_cannot_be_set_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")

    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(Path, "write_text", lambda *_: 0)  # this process is not to go first
    with pytest.raises(ConfigError, match=r"^--worker-memory 1000000000000000: cannot be set here"):
        limit_memory(10**15)
    monkeypatch.setattr(resource, "setrlimit", refuse)
    with pytest.raises(ConfigError, match=r"not allowed to raise maximum limit\)\. Give less"):
        limit_memory(4000)


def test_numbers_of_settings() -> None:
    with pytest.raises(ValueError, match="segment_s"):
        Settings(segment_s=3)
    with pytest.raises(ValueError, match="name: expected one of 'local', 'ray', got 'Ray'"):
        Engine(cast(Any, "Ray"))
    with pytest.raises(ValueError, match="index"):
        Shard(0, 2)
    assert str(Shard(2, 3)) == "2/3"
    assert np.isinf(Settings().span.end_s)
