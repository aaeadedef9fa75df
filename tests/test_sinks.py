"""Every sink says the same, completes its file, and never replaces one unasked."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pyarrow import parquet

from mien.errors import SinkError
from mien.results import read_results, to_pandas
from mien.sinks import Sink, copies, open_sink, to_json
from mien.sinks import parquet as parquet_sink
from mien.sinks.tables import JsonLinesSink
from mien.sources import open_source
from mien.types import (
    EXPRESSIONS,
    RESULT_COLUMNS,
    FaceIdentity,
    FaceResult,
    Frame,
    FrameResult,
    UInt8Array,
)
from tests.films import write_film


def face(p: float = 0.1, track_id: int | None = None) -> FaceResult:
    rest = (1 - p) / 6
    return FaceResult(
        box=(10.25, 20.5, 30.125, 40.0),
        score=0.987654321,
        landmarks=tuple((float(i), i + 0.5) for i in range(5)),
        expression="happy",
        confidence=p,
        uncertain=p < 0.5,
        probs={name: p if name == "happy" else rest for name in EXPRESSIONS},
        track_id=track_id,
    )


RESULTS = [
    FrameResult("ä,b.mp4", 0, 0.0, 64, 48, (face(1 / 3), face(0.9, 4))),
    FrameResult("ä,b.mp4", 1, 1 / 30, 64, 48, ()),
]
SHADE: UInt8Array = np.full((48, 64, 3), 90, np.uint8)


def write(target: Path, results: list[FrameResult] = RESULTS) -> None:
    with open_sink(target) as sink:
        for result in results:
            sink.write(result, SHADE if sink.needs_image else None)


def test_json_lines_and_json_are_the_documented_objects(tmp_path: Path) -> None:
    write(tmp_path / "r.jsonl")
    lines = (tmp_path / "r.jsonl").read_text("utf-8").splitlines()
    assert lines == [to_json(result) for result in RESULTS]
    first = json.loads(lines[0])
    assert list(first) == ["schema", "source", "frame", "time_s", "width", "height", "faces"]
    assert first["schema"] == "mien/1"
    assert list(first["faces"][0]) == [
        "track_id", "box", "score", "landmarks", "expression", "confidence", "uncertain", "probs"
    ]  # fmt: skip
    assert list(first["faces"][0]["probs"]) == list(EXPRESSIONS)
    assert first["faces"][0]["confidence"] == 1 / 3  # full precision
    write(tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text("utf-8")) == [json.loads(x) for x in lines]


def test_a_blank_line_is_no_result(tmp_path: Path) -> None:
    write(tmp_path / "r.jsonl")
    text = (tmp_path / "r.jsonl").read_text("utf-8")
    (tmp_path / "joined.jsonl").write_text(text + "\n" + text + "\n", encoding="utf-8")
    assert len(list(read_results(tmp_path / "joined.jsonl"))) == 2 * len(RESULTS)


def test_a_result_that_is_no_json_leaves_no_file_that_lacks_it(tmp_path: Path) -> None:
    sink = open_sink(tmp_path / "r.jsonl")
    sink.write(RESULTS[0])
    with pytest.raises(TypeError):
        sink.write(replace(RESULTS[0], time_s=object()))  # type: ignore[arg-type]
    sink.close()
    assert not (tmp_path / "r.jsonl").exists()


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    frame = Frame(image, "mine", np.arange(3)[2], np.float32(0.5))  # type: ignore[arg-type]
    assert (type(frame.index), type(frame.time_s)) == (int, float)
    assert (frame.index, frame.time_s) == (2, 0.5)


def test_tables_agree_with_each_other(tmp_path: Path) -> None:
    write(tmp_path / "r.csv")
    write(tmp_path / "r.parquet")
    rows = [row for result in RESULTS for row in result.to_rows()]
    assert len(rows) == 3  # two faces, and a row for the frame without one
    assert parquet.read_table(tmp_path / "r.parquet").to_pylist() == rows
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        assert reader.fieldnames == list(RESULT_COLUMNS)
        for written, row in zip(reader, rows, strict=True):
            assert written == {k: "" if v is None else str(v) for k, v in row.items()}
    frame = pd.read_csv(tmp_path / "r.csv")
    assert frame["prob_happy"].dropna().tolist() == [1 / 3, 0.9]
    assert list(RESULTS[0].to_pandas().columns) == list(RESULT_COLUMNS)
    whole = to_pandas(read_results(tmp_path / "r.csv"))
    pd.testing.assert_frame_equal(whole, to_pandas(RESULTS))
    assert list(whole.columns) == list(frame.columns)
    known, read = (table.astype(object).where(table.notna(), None) for table in (whole, frame))
    assert known.to_numpy().tolist() == read.to_numpy().tolist()
    assert len(to_pandas([])) == 0
    assert list(to_pandas([]).columns) == list(RESULT_COLUMNS)


def test_a_data_frame_of_one_models_results(tmp_path: Path) -> None:
    """Optional columns are there for all as soon as one face has them."""
    named = replace(face(), identity=FaceIdentity("Ada", 0.9))
    results = [RESULTS[0], replace(RESULTS[0], source="other.jpg", faces=(named,))]
    with open_sink(tmp_path / "r.csv", identity=True) as sink:
        for result in results:
            sink.write(result)
    columns = list(pd.read_csv(tmp_path / "r.csv").columns)
    for found in (to_pandas(results), to_pandas(read_results(tmp_path / "r.csv"))):
        assert list(found.columns) == columns
        assert found["person"].tolist()[-1] == "Ada"
        assert found["person"].isna().tolist() == [True] * (len(found) - 1) + [False]
    bored = replace(face(), expression="bored", probs={"bored": 0.8, "focused": 0.2})
    with pytest.raises(ValueError, match="and with bored, focused"):
        to_pandas([RESULTS[0], replace(RESULTS[0], faces=(bored,))])


@pytest.mark.parametrize("name", ["r.csv", "r.parquet"])
def test_a_picture_given_twice_stays_two_results(tmp_path: Path, name: str) -> None:
    """Its rows follow each other with the same source and frame."""
    twice = [RESULTS[0], RESULTS[0], RESULTS[-1], RESULTS[-1]]
    write(tmp_path / name, twice)
    found = list(read_results(tmp_path / name))
    assert [len(result.faces) for result in found] == [len(result.faces) for result in twice]


def test_a_model_of_other_classes_has_other_columns(tmp_path: Path) -> None:
    bored = replace(face(), expression="bored", probs={"bored": 0.8, "focused": 0.2})
    results = [replace(RESULTS[0], faces=(bored,)), RESULTS[1]]
    for name in ("r.csv", "r.parquet"):
        with open_sink(tmp_path / name, labels=("bored", "focused")) as sink:
            for result in results:
                sink.write(result)
    rows = parquet.read_table(tmp_path / "r.parquet").to_pylist()
    assert list(rows[0])[-5:-3] == ["prob_bored", "prob_focused"]
    assert (rows[0]["prob_bored"], rows[1]["prob_bored"]) == (0.8, None)
    assert list(pd.read_csv(tmp_path / "r.csv").columns) == list(rows[0])
    assert results[0].to_pandas()["prob_focused"].tolist() == [0.2]


@pytest.mark.parametrize("name", ["r.csv", "r.parquet"])
def test_columns_of_other_classes_are_refused_and_no_table_lacks_them(
    tmp_path: Path, name: str
) -> None:
    bored = replace(face(), expression="bored", probs={"bored": 0.8, "focused": 0.2})
    with pytest.raises(ValueError, match=r"labels: expected the classes .* bored, focused"):
        write(tmp_path / name, [RESULTS[0], replace(RESULTS[0], faces=(bored,))])
    assert not (tmp_path / name).exists()


def test_one_copy_holds_one_video(tmp_path: Path) -> None:
    second = [replace(result, source="other.mp4") for result in RESULTS]
    with pytest.raises(SinkError, match=r"is the copy of ä,b\.mp4, and other\.mp4 follows"):
        write(tmp_path / "v.mp4", [*RESULTS, *second])


def test_the_same_again_has_its_own_copy(tmp_path: Path) -> None:
    """A picture given twice, and arrays, which have no name."""
    with open_sink(f"{tmp_path}/out/") as sink:
        for name in ("a.jpg", "a.jpg", "", ""):
            sink.write(FrameResult(name, 0, 0.0, 64, 48), SHADE)
    written = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert written == ["a-2.jpg", "a.jpg", "array-2.png", "array.png"]


def test_many_rows_are_written_in_groups(tmp_path: Path) -> None:
    results = [FrameResult("v", i, i / 30, 64, 48, (face(),)) for i in range(9000)]
    write(tmp_path / "r.parquet", results)
    file = parquet.ParquetFile(tmp_path / "r.parquet")
    assert file.metadata.num_rows == 9000
    assert file.metadata.num_row_groups == 2


def test_what_was_written_before_a_crash_can_be_read(tmp_path: Path) -> None:
    target = tmp_path / "r.parquet"
    program = f"""
import os, signal
from mien import open_sink
from mien.types import FrameResult
sink = open_sink({str(target)!r})
for i in range(5000):
    sink.write(FrameResult("v", i, i / 30, 64, 48))
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not target.exists()
    left = parquet.read_table(tmp_path / ".r.part")
    assert left["frame"].to_pylist() == list(range(4096))
    write(target)  # the next run is not in its way, and keeps what it left
    assert sorted(file.name for file in tmp_path.iterdir()) == [".r.part-1", "r.parquet"]
    kept = parquet.read_table(tmp_path / ".r.part-1")
    assert kept["frame"].to_pylist() == list(range(4096))


@pytest.mark.parametrize("name", ["r.jsonl", "r.csv", "r.parquet", "r.segments.csv", "r.png"])
def test_two_never_write_one_file_at_once(tmp_path: Path, name: str) -> None:
    """Both would write under the same name until they end, and what one wrote would be lost."""
    target = tmp_path / name
    with open_sink(target) as sink:
        sink.write(RESULTS[0], SHADE)
        for overwrite in (False, True):
            with pytest.raises(SinkError, match=rf"{name}: is being written by another run"):
                open_sink(target, overwrite=overwrite)
        program = f"from mien import open_sink; open_sink({str(target)!r})"
        other = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False
        )
        assert "is being written by another run" in other.stderr
    assert [file.name for file in tmp_path.iterdir()] == [name]
    with pytest.raises(SinkError, match="is already there"):
        open_sink(target)
    with open_sink(target, overwrite=True) as sink:  # it is nobody's any more
        sink.write(RESULTS[0], SHADE)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_what_another_run_has_just_finished_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not there when this run looked, and is when its turn comes."""
    exists, looks = os.path.exists, list[str]()

    def finished_meanwhile(path: str) -> bool:
        looks.append(path)
        there = exists(path)
        if len(looks) == 1:
            (tmp_path / "r.jsonl").write_text("another run's")
        return there

    with monkeypatch.context() as patch:
        patch.setattr(os.path, "exists", finished_meanwhile)
        with pytest.raises(SinkError, match="is already there"):
            open_sink(tmp_path / "r.jsonl")
    assert (tmp_path / "r.jsonl").read_text() == "another run's"
    assert [file.name for file in tmp_path.iterdir()] == ["r.jsonl"]


def test_a_sink_without_results_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / ".old.part.jsonl").write_text("of a killed run")
    for name in ("new.jsonl", "old.jsonl"):
        open_sink(tmp_path / name).close()
    assert [file.name for file in tmp_path.iterdir()] == [".old.part.jsonl"]


def test_a_parquet_file_that_two_runs_write_in_turn(tmp_path: Path) -> None:
    """The first removes its groups when the second may have begun its own, under the same name."""
    first = open_sink(tmp_path / "r.parquet")
    first.write(RESULTS[0])
    tidy = first._tidy  # type: ignore[attr-defined]

    def begin_another() -> None:
        second.append(open_sink(tmp_path / "r.parquet", overwrite=True))
        for i in range(2048):
            second[0].write(FrameResult("v", i, i / 30, 64, 48))
        tidy()

    second: list[Sink] = []
    first._tidy = begin_another  # type: ignore[attr-defined]
    first.close()
    second[0].close()
    assert parquet.read_table(tmp_path / "r.parquet").num_rows == 2048
    assert [file.name for file in tmp_path.iterdir()] == ["r.parquet"]


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the names of open files")
def test_rows_are_on_the_disk_before_they_count_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut loses what was renamed and not yet on the disk."""
    synced: list[str] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{handle}").rpartition("/")[2])
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with open_sink(tmp_path / "r.parquet") as sink:
        for i in range(2048):
            sink.write(FrameResult("v", i, i / 30, 64, 48))
        assert synced == ["000000.unfinished", ".r.part"]
    assert synced[2:] == [".r.part.parquet"]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tiff"])
def test_annotated_pictures(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / f"p{suffix}", RESULTS[:1])
    image = np.asarray(Image.open(tmp_path / f"p{suffix}").convert("RGB"))
    assert np.abs(image.astype(int) - SHADE).max() <= 3


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".mov"])
def test_annotated_videos_keep_their_times(tmp_path: Path, suffix: str) -> None:
    times = [0.0, 0.1, 0.5, 0.55]
    results = [FrameResult("v.mp4", i, t, 64, 48) for i, t in enumerate(times)]
    write(tmp_path / f"v{suffix}", results)
    with av.open(str(tmp_path / f"v{suffix}")) as container:
        frames = list(container.decode(video=0))
    assert [float(frame.time) for frame in frames] == pytest.approx(times, abs=1e-3)
    assert (frames[0].width, frames[0].height) == (64, 48)
    assert frames[0].to_ndarray(format="rgb24").mean() == pytest.approx(90, abs=3)


def test_a_folder_keeps_every_source_apart(tmp_path: Path) -> None:
    names = ["a/x.jpg", "b/x.jpg", "c/y.mp4", "c/y.mp4", "z.gif"]
    with open_sink(f"{tmp_path}/out/") as sink:
        for i, name in enumerate(names):
            sink.write(FrameResult(name, i, i / 10, 64, 48), SHADE)
    written = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert written == ["x-2.jpg", "x.jpg", "y.mp4", "z.mp4"]
    with av.open(str(tmp_path / "out" / "y.mp4")) as container:
        assert len(list(container.decode(video=0))) == 2


def test_a_name_that_says_nothing_becomes_what_came(tmp_path: Path) -> None:
    """A camera, standard input, a file without suffix: one frame is a picture, more are a film."""
    with open_sink(f"{tmp_path}/out/") as sink:
        for name, count in (("-", 1), ("0", 3), ("rtsp://host/stream", 2), ("d/Clip", 2), ("", 1)):
            for i in range(count):
                sink.write(FrameResult(name, i, i / 10, 64, 48), SHADE)
    written = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert written == ["-.png", "0.mp4", "Clip.mp4", "array.png", "stream.mp4"]
    with av.open(str(tmp_path / "out" / "0.mp4")) as container:
        assert len(list(container.decode(video=0))) == 3


def test_a_camera_may_be_called_like_a_picture(tmp_path: Path) -> None:
    """One that sends JPEGs; the next address leads to a picture."""
    with open_sink(f"{tmp_path}/out/") as sink:
        for name, count in (("http://cam/video.jpg", 3), ("http://host/a.JPG", 1)):
            for i in range(count):
                sink.write(FrameResult(name, i, i / 10, 64, 48), SHADE)
    written = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert written == ["a.jpg", "video.mp4"]


def test_the_name_of_a_copy_gives_no_access(tmp_path: Path) -> None:
    names = ("https://h/clip.mkv?key=a.b", "rtsp://me:secret@10.0.0.5", "rtsp://me:secret@h/front/")
    with open_sink(f"{tmp_path}/out/") as sink:
        for name in names:
            for i in range(2):
                sink.write(FrameResult(name, i, i / 10, 64, 48), SHADE)
    written = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert written == ["10-0-0-5.mp4", "clip.mkv", "front.mp4"]


def test_copies_stay_apart_where_letters_have_no_size(tmp_path: Path) -> None:
    with open_sink(f"{tmp_path}/out/") as sink:
        for name in ("a/x.JPG", "b/X.jpg"):
            sink.write(FrameResult(name, 0, 0.0, 64, 48), SHADE)
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == ["X-2.jpg", "x.jpg"]


@pytest.mark.parametrize("name", ["r.jsonl", "r.json", "r.csv", "r.parquet", "r.mp4"])
def test_an_interrupted_run_leaves_a_readable_file(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    with pytest.raises(KeyboardInterrupt), open_sink(target) as sink:
        sink.write(RESULTS[0], SHADE)
        assert not target.exists()  # nobody reads half a file
        raise KeyboardInterrupt
    assert [file.name for file in tmp_path.iterdir()] == [name]
    if name == "r.parquet":
        assert parquet.read_table(target).num_rows == 2
    elif name == "r.mp4":
        with av.open(str(target)) as container:
            assert len(list(container.decode(video=0))) == 1
    elif name.startswith("r.json"):
        assert "happy" in json.dumps(json.loads(target.read_text("utf-8")))
    else:
        assert len(pd.read_csv(target)) == 2


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C interrupts, also where the tests were started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("while_", ["_batch", "sync_names", "_write_batches"])
def test_ctrl_c_within_a_group_of_rows_costs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, while_: str
) -> None:
    """While its rows are gathered, written, or when they have been."""
    monkeypatch.setattr(parquet_sink, "_ROWS_AT_RISK", 20)
    work, written, presses = getattr(parquet_sink, while_), 0, [40]

    def pressed(*arguments: Any) -> Any:
        if written in presses:
            presses.remove(written)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
        return work(*arguments)

    monkeypatch.setattr(parquet_sink, while_, pressed)
    target = tmp_path / "r.parquet"
    with pytest.raises(KeyboardInterrupt), open_sink(target) as sink:
        for i in range(100):
            written += len(RESULTS[0].faces)
            sink.write(replace(RESULTS[0], frame=i))
    table = parquet.read_table(target)
    assert table.num_rows == written
    assert table["frame"].to_pylist() == [i // 2 for i in range(written)]
    assert [file.name for file in tmp_path.iterdir()] == ["r.parquet"]


@pytest.mark.parametrize("name", ["r.jsonl", "r.csv", "r.parquet", "r.vtt"])
def test_what_comes_after_the_end_replaces_nothing(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)
    before = (tmp_path / name).read_bytes()
    sink = open_sink(tmp_path / name, overwrite=True)
    sink.close()
    with pytest.raises(ValueError, match="this sink is closed"):
        sink.write(RESULTS[0])
    sink.close()
    assert (tmp_path / name).read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_nothing_written_leaves_nothing(tmp_path: Path) -> None:
    for name in ("r.jsonl", "r.parquet", "r.png"):
        with open_sink(tmp_path / name):
            pass
    assert list(tmp_path.iterdir()) == []


def test_refusals_name_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("mine")
    with pytest.raises(SinkError, match=r"already there.*--overwrite"):
        open_sink(tmp_path / "r.csv")
    with open_sink(tmp_path / "r.csv", overwrite=True) as sink:
        sink.write(RESULTS[0])
    assert (tmp_path / "r.csv").read_text("utf-8").startswith("schema,")
    with pytest.raises(SinkError, match=r"suffix '\.xlsx' is not known"):
        open_sink(tmp_path / "r.xlsx")
    with pytest.raises(SinkError, match=r"written \(File name too long"):
        write(tmp_path / f"{'a' * 300}.csv")
    with pytest.raises(SinkError, match="no folder"):
        open_sink(tmp_path / "nowhere" / "r.csv")
    with pytest.raises(SinkError, match="one frame only"), open_sink(tmp_path / "p.png") as sink:
        for result in RESULTS:
            sink.write(result, SHADE)


def test_a_full_disk_is_an_error_with_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(JsonLinesSink, "_write", full)
    with (
        pytest.raises(SinkError, match=r"r\.jsonl: cannot be written \(No space left"),
        open_sink(tmp_path / "r.jsonl") as sink,
    ):
        sink.write(RESULTS[0])


def write_talkie(path: Path, seconds: float, *, rate: int = 16_000) -> None:
    """A grey film with a tone of 440 Hz."""
    with av.open(str(path), "w") as container:
        film = container.add_stream("libx264", rate=25)
        tone = container.add_stream("pcm_s16le", rate=rate, layout="mono")
        assert isinstance(film, av.VideoStream)
        assert isinstance(tone, av.AudioStream)
        film.width = film.height = 64
        film.pix_fmt = "yuv420p"
        for i in range(round(25 * seconds)):
            grey = np.full((64, 64, 3), 90, np.uint8)
            container.mux(film.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
            n = rate // 25
            wave = 8000 * np.sin(2 * np.pi * 440 * (np.arange(n) + n * i) / rate)
            frame = av.AudioFrame.from_ndarray(wave[None].astype(np.int16), "s16", "mono")
            frame.sample_rate, frame.pts = rate, n * i
            container.mux(tone.encode(frame))
        container.mux([*film.encode(None), *tone.encode(None)])


@pytest.mark.parametrize(
    ("suffix", "rate"),
    [(".mp4", 16_000), (".mkv", 16_000), (".webm", 16_000), (".mp4", 22_250), (".webm", 44_100)],
)
def test_an_annotated_copy_keeps_its_sound(tmp_path: Path, suffix: str, rate: int) -> None:
    write_talkie(tmp_path / "v.mkv", 2, rate=rate)
    picture = np.full((64, 64, 3), 90, np.uint8)
    with open_sink(tmp_path / f"copy{suffix}") as sink:
        for i in range(15, 45):  # from 0.6 to 1.8 s
            sink.write(FrameResult(str(tmp_path / "v.mkv"), i, i / 25, 64, 64), picture)
    with av.open(str(tmp_path / f"copy{suffix}")) as container:
        heard = [(f.time, f.to_ndarray(), f.sample_rate) for f in container.decode(audio=0)]
    times = [time_s for time_s, _, _ in heard if time_s is not None]
    assert times[0] == pytest.approx(0.6, abs=0.1)
    assert times[-1] == pytest.approx(1.76, abs=0.15)
    wave = np.concatenate([samples[0] for _, samples, _ in heard]).astype(float)
    spectrum = np.abs(np.fft.rfft(wave - wave.mean()))
    loudest_hz = spectrum.argmax() * heard[0][2] / len(wave)
    assert loudest_hz == pytest.approx(440, abs=5)


def test_a_copy_of_few_frames_keeps_the_sound_of_the_last(tmp_path: Path) -> None:
    write_talkie(tmp_path / "v.mkv", 3)
    with open_sink(tmp_path / "copy.mkv") as sink:
        for i in range(3):  # one frame a second
            sink.write(FrameResult(str(tmp_path / "v.mkv"), i, float(i), 64, 48), SHADE)
    with av.open(str(tmp_path / "copy.mkv")) as container:
        assert max(f.time or 0 for f in container.decode(audio=0)) > 2.8


def test_a_colon_in_a_name_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the name stands alone, FFmpeg would look for a protocol called 2026-11-26T10."""
    monkeypatch.chdir(tmp_path)
    write_talkie(Path("v.mkv"), 1)
    Path("v.mkv").rename("2026-11-26T10:30.mkv")
    with open_sink("copy:1.mp4") as sink, open_source("2026-11-26T10:30.mkv") as source:
        for frame in source:
            sink.write(FrameResult(frame.source, frame.index, frame.time_s, 64, 64), frame.image)
    with av.open("file:copy:1.mp4") as container:
        assert {stream.type for stream in container.streams} == {"video", "audio"}


def test_the_sound_of_joined_recordings_ends_with_the_first(tmp_path: Path) -> None:
    """Its clock begins anew where the film's goes on; the copy is written all the same."""
    write_talkie(tmp_path / "v.mkv", 2)
    with av.open(str(tmp_path / "v.mkv")) as film, av.open(str(tmp_path / "v.ts"), "w") as out:
        tone = out.add_stream("aac", rate=16_000, layout="mono")
        assert isinstance(tone, av.AudioStream)
        for frame in film.decode(audio=0):
            out.mux(tone.encode(frame))
        out.mux(tone.encode(None))
    joined = tmp_path / "joined.ts"
    joined.write_bytes(2 * (tmp_path / "v.ts").read_bytes())
    with open_sink(tmp_path / "copy.mp4") as sink:
        for i in range(40):
            sink.write(FrameResult(str(joined), i, i / 10, 64, 48), SHADE)
    with av.open(str(tmp_path / "copy.mp4")) as container:
        assert len(list(container.decode(video=0))) == 40
        container.seek(0)
        assert max(f.time or 0 for f in container.decode(audio=0)) < 2.5


def sound(begin_s: float, layout: Literal["mono", "stereo"], *, level: int = 0) -> bytes:
    """Two seconds of it, whose timestamps begin there, as MPEG, which can be joined."""
    file, n = io.BytesIO(), 1600
    with av.open(file, "w", format="mpegts") as container:
        tone = container.add_stream("mp2", rate=16_000, layout=layout)
        assert isinstance(tone, av.AudioStream)
        for i in range(20):
            samples = np.full((1, n * tone.channels), level, np.int16)
            frame = av.AudioFrame.from_ndarray(samples, "s16", layout)
            frame.sample_rate, frame.pts = 16_000, round(begin_s * 16_000) + n * i
            container.mux(tone.encode(frame))
        container.mux(tone.encode(None))
    return file.getvalue()


def test_the_sound_of_a_part_of_joined_recordings(tmp_path: Path) -> None:
    """At 1.5 s there are two sounds: of the first recording, and of one that is louder."""
    (tmp_path / "v.ts").write_bytes(sound(0, "mono") + sound(0, "mono", level=9000))
    with open_sink(tmp_path / "copy.mp4") as sink:
        for i in range(15, 40):
            sink.write(FrameResult(str(tmp_path / "v.ts"), i, i / 10, 64, 48), SHADE)
    with av.open(str(tmp_path / "copy.mp4")) as container:
        heard = [(frame.time or 0.0, frame.to_ndarray()) for frame in container.decode(audio=0)]
    assert heard[0][0] == pytest.approx(1.5, abs=0.1)
    assert heard[-1][0] < 2.1
    assert max(np.abs(samples).max() for _, samples in heard) < 0.05


@pytest.mark.parametrize(("begin_s", "layout"), [(1.4, "mono"), (2.0, "stereo")])
def test_sound_that_overlaps_or_changes_on_the_way_is_copied(
    tmp_path: Path, begin_s: float, layout: Literal["mono", "stereo"]
) -> None:
    (tmp_path / "v.ts").write_bytes(sound(0, "mono") + sound(begin_s, layout))
    with open_sink(tmp_path / "copy.mp4") as sink:
        for i in range(40):
            sink.write(FrameResult(str(tmp_path / "v.ts"), i, i / 10, 64, 48), SHADE)
    with av.open(str(tmp_path / "copy.mp4")) as container:
        times = [float(frame.time or 0) for frame in container.decode(audio=0)]
    assert times[-1] == pytest.approx(begin_s + 1.9, abs=0.15)
    assert max(np.diff(times)) < 0.15  # without a gap
    assert min(np.diff(times)) > 0.03  # and nothing twice


def test_sound_in_an_unknown_code_is_left_out(tmp_path: Path) -> None:
    write_talkie(tmp_path / "v.mkv", 1)
    talkie = (tmp_path / "v.mkv").read_bytes()
    (tmp_path / "v.mkv").write_bytes(talkie.replace(b"A_PCM/INT/LIT", b"A_XYZ/INT/LIT"))
    with open_sink(f"{tmp_path}/out/") as sink:
        sink.write(FrameResult(str(tmp_path / "v.mkv"), 0, 0.0, 64, 48), SHADE)
    copy = tmp_path / "out/v.mkv"
    assert sink.remarks == [f"{copy}: is silent: the sound of {tmp_path}/v.mkv cannot be read"]
    with av.open(str(copy)) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def copied(talkie: Path, copy: Path, remark: str = "") -> tuple[int, float]:
    """Copy two seconds; how many pictures the copy has, and up to when it has sound. It remarks on
    that as here, or on nothing.
    """
    with open_sink(copy) as sink:
        for i in range(20):
            sink.write(FrameResult(str(talkie), i, i / 10, 64, 48), SHADE)
    assert [remark in each for each in sink.remarks] == [True] * bool(remark)
    with av.open(str(copy)) as container:
        pictures = len(list(container.decode(video=0)))
        container.seek(0)
        return pictures, max(frame.time or 0.0 for frame in container.decode(audio=0))


def test_sound_that_cannot_be_encoded_costs_no_picture(tmp_path: Path) -> None:
    """Samples that are no numbers, which an editor's export may hold."""
    with av.open(str(tmp_path / "v.mkv"), "w") as container:
        tone = container.add_stream("pcm_f32le", rate=16_000, layout="mono")
        assert isinstance(tone, av.AudioStream)
        for i in range(20):
            samples = np.full((1, 1600), np.nan if i == 10 else 0.1, np.float32)
            frame = av.AudioFrame.from_ndarray(samples, "flt", "mono")
            frame.sample_rate, frame.pts = 16_000, 1600 * i
            container.mux(tone.encode(frame))
    says = "copy.mp4: is silent from 1.1 s on, where the sound of "
    pictures, until_s = copied(tmp_path / "v.mkv", tmp_path / "copy.mp4", says)
    assert pictures == 20
    assert 0.7 < until_s < 1.2


def test_what_fails_where_sound_is_written_is_said(tmp_path: Path) -> None:
    """It is the disk's, and no defect of the sound."""
    write_talkie(tmp_path / "v.mkv", 2)
    with av.open(str(tmp_path / "copy.mp4"), "w") as container:

        class Full:
            format, add_stream = container.format, container.add_stream

            def mux(self, _: object) -> None:
                raise OSError(28, "No space left on device")

        copy: Any = Full()
        heard = copies._Sound(str(tmp_path / "v.mkv"), copy, 0.0)
        with pytest.raises(OSError, match="No space left"):
            heard.play_to(2.0)


def test_a_damaged_packet_of_sound_costs_itself_alone(tmp_path: Path) -> None:
    film = tmp_path / "v.mkv"
    with av.open(str(film), "w") as container:
        tone = container.add_stream("aac", rate=16_000, layout="mono")
        assert isinstance(tone, av.AudioStream)
        noise = np.random.default_rng(0).normal(0, 0.1, (1, 32_000)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(noise, "fltp", "mono")
        frame.sample_rate, frame.pts = 16_000, 0
        container.mux([*tone.encode(frame), *tone.encode(None)])
    with av.open(str(film)) as container:
        tenth = [bytes(packet) for packet in container.demux(audio=0)][10]
    film.write_bytes(film.read_bytes().replace(tenth, b"\xff" * len(tenth)))
    pictures, until_s = copied(film, tmp_path / "copy.mp4")
    assert pictures == 20
    assert until_s == pytest.approx(1.9, abs=0.15)


def test_a_file_whose_name_is_no_text_keeps_its_sound(tmp_path: Path) -> None:
    write_talkie(tmp_path / "v.mkv", 1)
    name = os.path.join(os.fsencode(tmp_path), b"caf\xe9.mkv")
    try:
        os.rename(tmp_path / "v.mkv", name)
    except OSError:
        pytest.skip("this file system takes text alone for names")
    with open_source(os.fsdecode(name)) as source:
        assert source.name.endswith("caf\\xe9.mkv")
        _, until_s = copied(Path(source.name), tmp_path / "copy.mp4")
    assert until_s > 0.8


def test_a_copy_of_a_video_that_changes_its_size(tmp_path: Path) -> None:
    """As broadcasts and calls do: the copy keeps its size, with bars where the shape is another."""
    sizes = [(48, 64), (96, 128), (128, 64), (49, 65)]
    with open_sink(tmp_path / "copy.mp4") as sink:
        for i, size in enumerate(sizes):
            result = FrameResult("v.ts", i, i / 10, size[1], size[0])
            sink.write(result, np.full((*size, 3), 200, np.uint8))
    with av.open(str(tmp_path / "copy.mp4")) as container:
        views = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    assert [view.shape for view in views] == [(48, 64)] * 4
    assert [round(float(view.mean()), -1) for view in views[:2]] == [200, 200]
    assert views[2][:, :14].mean() < 30  # 24 of 64 columns hold the picture
    assert views[2][:, 24:40].mean() > 190


@pytest.mark.parametrize("suffix", ["mp4", "webm"])
@pytest.mark.parametrize(
    ("size", "shape"), [((1, 1), (2, 2)), ((50, 1), (50, 2)), ((1, 51), (2, 50))]
)
def test_a_copy_of_a_video_one_pixel_wide(
    tmp_path: Path, suffix: str, size: tuple[int, int], shape: tuple[int, int]
) -> None:
    """As GIFs are that count visitors."""
    with open_sink(tmp_path / f"copy.{suffix}") as sink:
        for i in range(2):
            result = FrameResult("v.gif", i, i / 10, size[1], size[0])
            sink.write(result, np.full((*size, 3), 200, np.uint8))
    with av.open(str(tmp_path / f"copy.{suffix}")) as container:
        views = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    assert [view.shape for view in views] == [shape] * 2
    assert views[0].max() > 190


def test_the_sound_of_a_broadcast_begins_where_its_film_does(tmp_path: Path) -> None:
    views = [np.full((64, 64, 3), 90, np.uint8)] * 20
    write_film(tmp_path / "v.ts", views, fps=10, silence_s=2, begin_s=12_345)
    with open_sink(tmp_path / "copy.mp4") as sink:
        for i in range(20):
            sink.write(FrameResult(str(tmp_path / "v.ts"), i, i / 10, 64, 64), views[i])
    with av.open(str(tmp_path / "copy.mp4")) as container:
        times = [frame.time for frame in container.decode(audio=0)]
    assert (times[0], times[-1]) == pytest.approx((0, 2), abs=0.15)


def test_a_picture_too_large_for_its_format(tmp_path: Path) -> None:
    wide = np.zeros((1, 17_000, 3), np.uint8)
    with (
        pytest.raises(SinkError, match=r"p\.webp: cannot be written .*limit of 16383 pixels"),
        open_sink(tmp_path / "p.webp") as sink,
    ):
        sink.write(FrameResult("p.png", 0, 0.0, 17_000, 1), wide)
    assert not (tmp_path / "p.webp").exists()


def test_a_codecs_failure_has_the_files_name(tmp_path: Path) -> None:
    line = np.zeros((1, 70_000, 3), np.uint8)  # too long for every codec
    with (
        pytest.raises(SinkError, match=r"r\.mp4: cannot be written"),
        open_sink(tmp_path / "r.mp4") as sink,
    ):
        sink.write(FrameResult("v", 0, 0.0, 70_000, 1), line)
    assert not (tmp_path / "r.mp4").exists()


def test_sure_answers_of_a_data_frame() -> None:
    """A frame without a face has no answer, neither sure nor unsure; numbers stay whole."""
    results = [
        RESULTS[0],
        replace(RESULTS[0], faces=()),
        replace(RESULTS[0], faces=(face(0.9, 3),)),
    ]
    table = to_pandas(results)
    sure = table[~table["uncertain"]]
    assert sure["confidence"].tolist() == [0.9, 0.9]
    assert (str(sure["track_id"].iloc[-1]), str(sure["face"].iloc[-1])) == ("3", "0")
    assert str(to_pandas([])["uncertain"].dtype) == "boolean"
