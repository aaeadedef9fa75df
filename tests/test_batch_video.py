"""Long videos in parts: where they are cut, and that the joined result is that of the whole."""

import io
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mien.batch import Settings, remote, run_batch
from mien.batch.folder import BatchFolder
from mien.batch.schedule import AnalyzePart, AnalyzeSegment, JoinSegments, Outcome, Schedule
from mien.batch.video import WARM_UP_S, Cut, _cuts, find_cuts, join_segments, own_faces
from mien.batch.worker import Order, Worker
from mien.errors import ConfigError
from mien.sources import Span, open_source
from mien.tracking import PATIENCE_S
from mien.types import EXPRESSIONS, FaceResult, FrameResult, UInt8Array
from tests.batches import analyzer, inline, listed, part_of, rows
from tests.films import write_film

__all__ = ["inline"]  # fixtures


FPS = 5
VIDEO = Settings(detector_px=160, segment_s=10.0)


def write_portraits(path: Path, portrait: UInt8Array, seconds: float) -> None:
    """Two faces that move; one leaves for a while. A key frame every second."""
    face = Image.fromarray(portrait[:300, 60:360]).resize((120, 120))
    other = face.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((96, 96))
    scenes = []
    for i in range(round(seconds * FPS)):
        t = i / FPS
        scene = Image.new("RGB", (320, 160), "grey")
        scene.paste(face, (round(20 + 15 * np.sin(t / 0.9)), round(20 + 12 * np.cos(t / 0.7))))
        if not 6 <= t % 13 < 9:
            scene.paste(other, (200, round(30 + 20 * np.sin(t / 1.1))))
        scenes.append(np.asarray(scene))
    options = {"crf": "12", "g": str(FPS), "preset": "ultrafast"}
    write_film(path, scenes, fps=FPS, options=options)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory, portrait: UInt8Array) -> Path:
    file = tmp_path_factory.mktemp("video") / "long.mp4"
    write_portraits(file, portrait, 26.0)
    return file


@pytest.fixture(scope="module")
def whole(video: Path) -> list[FrameResult]:
    return list(analyzer(VIDEO).stream(video))


@pytest.mark.parametrize(
    "span", [Span(), Span(every=3), Span(fps=4), Span(1.5, 24.0, fps=3), Span(2.0)]
)
def test_the_parts_have_the_frames_of_the_whole(video: Path, span: Span) -> None:
    def numbers(part: Span) -> list[tuple[int, float]]:
        with open_source(video, span=part, threads=1) as source:
            return [(frame.index, frame.time_s) for frame in source]

    cuts = find_cuts(str(video), str(video), span, segment_s=10, max_pixels=10**8)
    assert len(cuts) >= 2
    joined = []
    for cut in cuts:
        own = [(index, time_s) for index, time_s in numbers(cut.span) if time_s >= cut.own_s]
        assert (own[0][0], len(own)) == (cut.first, cut.frames)
        joined += own
    assert joined == numbers(span)


def test_the_parts_of_a_broadcast_have_the_frames_of_the_whole(tmp_path: Path) -> None:
    """Its timestamps begin anywhere, and its container knows no key frames."""
    film = tmp_path / "v.ts"
    views = [np.full((48, 64, 3), 5 * (i % 50), np.uint8) for i in range(28 * FPS)]
    options = {"g": str(FPS), "preset": "ultrafast"}
    write_film(film, views, fps=FPS, options=options, begin_s=12_345)
    test_the_parts_have_the_frames_of_the_whole(film, Span(1.5, 27.0, every=2))


def test_where_a_video_is_cut() -> None:
    """Key frames at every 4 s; a part counts from ten seconds after one."""
    shown = [(i / 2, i % 8 == 0) for i in range(240)]
    cuts = _cuts(shown, Span(), 20)
    assert [cut.span.start_s for cut in cuts] == [0, 12, 32, 52, 72, 92]
    assert [cut.own_s for cut in cuts] == [0, 22, 42, 62, 82, 102]
    assert [cut.span.end_s for cut in cuts] == [22, 42, 62, 82, 102, float("inf")]
    assert [cut.first for cut in cuts] == [0, 44, 84, 124, 164, 204]
    assert sum(cut.frames for cut in cuts) == 240
    assert _cuts([(i / 2, i == 0) for i in range(120)], Span(), 10) == ()
    assert _cuts([], Span(), 10) == ()


@pytest.mark.parametrize("span", [Span(fps=0.05), Span(every=40), Span(every=9, fps=0.05)])
def test_a_warm_up_holds_frames_however_rare_they_are(span: Span) -> None:
    """One in twenty seconds, and more: those of ten seconds would be none."""
    shown = [(i / 2, i % 8 == 0) for i in range(1200)]
    picker = span.picker()
    wanted = [time_s for i, (time_s, _) in enumerate(shown) if picker(i, time_s)]
    cuts = _cuts(shown, span, 20)
    assert len(cuts) > 5
    for cut, after in pairwise(cuts):
        assert sum(after.span.start_s <= t < after.own_s for t in wanted) >= 3
        assert after.own_s - cut.own_s >= after.own_s - after.span.start_s >= 40


def test_a_warm_up_is_longer_than_a_smoother_remembers(video: Path) -> None:
    film = [(i / 2, i % 8 == 0) for i in range(1200)]
    cuts = _cuts(film, Span(), 20, warm_up_s=50)
    assert [cut.own_s - cut.span.start_s for cut in cuts[1:]] == [50] * (len(cuts) - 1)
    for smooth_s, warm_up_s in ((0.2, 10), (3.0, 15)):
        (_, after) = find_cuts(
            str(video), str(video), Span(), segment_s=10, max_pixels=10**8, smooth_s=smooth_s
        )
        assert after.own_s - after.span.start_s == pytest.approx(warm_up_s)


@given(
    st.lists(st.tuples(st.floats(0.01, 3), st.booleans()), min_size=1, max_size=80),
    st.integers(1, 4),
    st.none() | st.floats(0.5, 10),
    st.floats(0, 20),
)
def test_every_frame_counts_once(
    steps: list[tuple[float, bool]], every: int, fps: float | None, start_s: float
) -> None:
    times = np.cumsum([step for step, _ in steps]).tolist()
    span = Span(start_s, every=every, fps=fps)
    shown = [(t, key) for t, (_, key) in zip(times, steps, strict=True) if t >= start_s]
    picker = span.picker()
    wanted = [i for i, (t, _) in enumerate(shown) if picker(i, t)]
    cuts = _cuts(shown, span, 10)
    found = []
    for cut in cuts:
        pick = cut.span.picker()
        numbers = [(i, t) for i, (t, _) in enumerate(shown) if t >= cut.span.start_s]
        picked = [(i, t) for i, t in numbers if pick(i, t)]
        own = [i for i, t in picked if t >= cut.own_s]
        assert len(own) == cut.frames
        found += own
    assert not cuts or found == wanted


def answer(frame: int, *faces: tuple[int, float]) -> FrameResult:
    """A frame at 2 a second with faces (number, place)."""
    return FrameResult(
        "v", frame, frame / 2, 640, 480,
        tuple(
            FaceResult(
                (x, 10.0, 50.0, 50.0), 0.9, ((0.0, 0.0),) * 5, "happy", 1.0, False,
                {name: float(name == "happy") for name in EXPRESSIONS}, number,
            )
            for number, x in faces
        ),
    )  # fmt: skip


def test_numbers_are_joined_by_where_faces_are() -> None:
    """The second part's 1 is the first's 2; its 2 is new, and so is the first's 1 if elsewhere."""
    cuts = (
        Cut(0, Span(end_s=5), 0.0, 0, 10),
        Cut(1, Span(start_s=2, first=4), 5.0, 10, 4),
    )
    first = [answer(i, (1, 0.0), (2, 100.0 + i)) for i in range(10)]
    second = [answer(i, (1, 100.0 + i)) for i in range(4, 10)]
    second += [answer(i, (1, 100.0 + i), (2, 300.0)) for i in range(10, 14)]
    joined = list(join_segments(cuts, [first, second]))
    assert [result.frame for result in joined] == list(range(14))
    numbers = [[face.track_id for face in result.faces] for result in joined]
    assert numbers == [[1, 2]] * 10 + [[2, 3]] * 4
    assert own_faces(cuts[1], second) == 8
    assert own_faces(cuts[1], second[:-1]) is None  # a frame fewer than announced
    assert own_faces(replace(cuts[1], first=11), second) is None


def differences(
    joined: Sequence[dict[str, Any]], whole: Sequence[FrameResult]
) -> tuple[float, float, float]:
    """Largest difference of boxes (in sides) and of probabilities, and share of other answers."""
    expected = [row for result in whole for row in result.to_rows()]
    assert [(r["frame"], r["time_s"], r["face"], r["track_id"]) for r in joined] == [
        (r["frame"], r["time_s"], r["face"], r["track_id"]) for r in expected
    ]
    box = probability = other = 0.0
    for a, b in zip(joined, expected, strict=True):
        if b["face"] is None:
            continue
        side = max(b["box_w"], b["box_h"])
        box = max(box, *(abs(a[f"box_{e}"] - b[f"box_{e}"]) / side for e in "xywh"))
        probability = max(probability, *(abs(a[f"prob_{e}"] - b[f"prob_{e}"]) for e in EXPRESSIONS))
        other += a["expression"] != b["expression"]
    return box, probability, other / len(expected)


def test_the_joined_result_is_that_of_the_whole(
    tmp_path: Path, video: Path, whole: list[FrameResult], inline: list[int]
) -> None:
    """The same frames and numbers; boxes within 3% of a side, probabilities within 0.1."""
    run_batch([str(video)], tmp_path / "out", settings=VIDEO)
    joined = rows(tmp_path / "out")
    assert {row["track_id"] for row in joined if row["track_id"]} >= {1, 2, 3}
    box, probability, other = differences(joined, whole)
    assert box < 0.03
    assert probability < 0.1
    assert other < 0.02
    (entry,) = listed(tmp_path / "out/manifest.jsonl")
    assert (entry["frames"], entry["error"]) == (26 * FPS, None)
    assert not list((tmp_path / "out/.mien/segments").iterdir())


def test_stopped_between_the_segments(
    tmp_path: Path, video: Path, whole: list[FrameResult], inline: list[int]
) -> None:
    inline[0] = 2  # cut, and the first segment
    with pytest.raises(KeyboardInterrupt):
        run_batch([str(video)], tmp_path / "out", settings=VIDEO)
    (kept,) = (tmp_path / "out/.mien/segments/000000").iterdir()
    before = kept.stat().st_mtime_ns
    inline[0] = 1  # cut again
    with pytest.raises(KeyboardInterrupt):
        run_batch([str(video)], tmp_path / "out", settings=VIDEO)
    assert kept.stat().st_mtime_ns == before
    inline[0] = 10**9
    run_batch([str(video)], tmp_path / "out", settings=VIDEO)
    assert max(differences(rows(tmp_path / "out"), whole)) < 0.1


def test_segments_that_another_run_has_joined(
    tmp_path: Path, video: Path, inline: list[int]
) -> None:
    """The video is read as a whole: it costs time, and no row."""
    inline[0] = 0
    with pytest.raises(KeyboardInterrupt):
        run_batch([str(video)], tmp_path / "out", settings=VIDEO)
    (part,) = BatchFolder(tmp_path / "out").parts()
    worker = Worker(Order(VIDEO, str(tmp_path / "out")))
    assert worker.do(JoinSegments(part, (cut_of(0), cut_of(1)))) == Outcome(misfit=True)


def test_a_damaged_video_keeps_what_comes_before(
    tmp_path: Path, portrait: UInt8Array, inline: list[int]
) -> None:
    """As `mien analyze` does it: read as a whole, though cut at first."""
    file = tmp_path / "cut.mkv"
    write_portraits(file, portrait, 18.0)
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 3 // 4])
    summary = run_batch([str(file)], tmp_path / "out", settings=VIDEO)
    expected: list[FrameResult] = []
    with pytest.raises(Exception, match="cut off"):
        expected.extend(analyzer(VIDEO).stream(file))
    assert summary.totals.failed == 1
    assert summary.totals.frames == len(expected) > 5 * FPS
    assert len({row["frame"] for row in rows(tmp_path / "out")}) == len(expected)
    assert "cut off" in listed(tmp_path / "out/failures.jsonl")[0]["error"]
    settings = replace(VIDEO, span=Span(end_s=17.0))
    assert run_batch([str(file)], tmp_path / "until", settings=settings).totals.failed == 1
    assert len(rows(tmp_path / "until")) == len(rows(tmp_path / "out"))


def test_a_damaged_video_that_is_tried_again(
    tmp_path: Path, portrait: UInt8Array, inline: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows are there at every moment, and give way only to as many, or to those of the whole.

    That the folder cannot be reached just then (a share that is not mounted) costs none of them.
    """
    file, out = tmp_path / "cut.mkv", tmp_path / "out"
    write_portraits(file, portrait, 6.0)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    (tmp_path / "broken.png").write_bytes(b"no picture")
    arguments = [str(file), str(tmp_path / "broken.png")]
    run_batch(arguments, out, settings=VIDEO)

    def failures() -> list[dict[str, Any]]:
        return sorted(listed(out / "failures.jsonl"), key=lambda row: row["source"])

    before, failed = rows(out), failures()
    assert len(before) > FPS
    assert len(failed) == 2
    with monkeypatch.context() as patch:  # somebody else plans at that moment
        patch.setattr(BatchFolder, "add_plan", lambda *_: False)
        with pytest.raises(ConfigError, match="planned more there"):
            run_batch(arguments, out, settings=VIDEO, retry_failed=True)
    assert rows(out) == before
    inline[0] = 0  # a kill before anything is done again
    with pytest.raises(KeyboardInterrupt):
        run_batch(arguments, out, settings=VIDEO, retry_failed=True)
    assert rows(out) == before
    inline[0] = 10**9
    file.rename(tmp_path / "elsewhere.mkv")
    summary = run_batch(arguments, out, settings=VIDEO)  # goes on with what was tried again
    assert rows(out) == before
    assert (summary.before, summary.totals.inputs, summary.totals.failed) == (0, 2, 2)
    assert failures() == failed
    file.write_bytes(whole)
    assert run_batch(arguments, out, settings=VIDEO, retry_failed=True).totals.failed == 1
    assert len({row["frame"] for row in rows(out)}) == 6 * FPS
    assert run_batch(arguments, out, settings=VIDEO).before == 2


def test_a_server_that_fails_on_the_way_costs_one_input(
    tmp_path: Path,
    portrait: UInt8Array,
    inline: list[int],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Each kind of file system raises its own errors, when it opens a file and long after that."""

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell():
                raise RuntimeError("403, message='Forbidden'")
            return super().read(size)

    write_portraits(tmp_path / "v.mkv", portrait, 2.0)
    data = (tmp_path / "v.mkv").read_bytes()
    files = SimpleNamespace(open=lambda *_: Failing(data))
    monkeypatch.setattr(remote, "_reach", lambda address: (files, address))
    (tmp_path / "list.csv").write_text("path\nhttps://server/v.mkv\nv.mkv\n")
    summary = run_batch([str(tmp_path / "list.csv")], tmp_path / "out", settings=VIDEO)
    assert (summary.totals.inputs, summary.totals.failed) == (2, 1)
    assert {row["source"] for row in rows(tmp_path / "out")} >= {str(tmp_path / "v.mkv")}
    (failure,) = listed(tmp_path / "out/failures.jsonl")
    assert failure["error"].startswith("https://server/v.mkv: cannot be read (RuntimeError: 403, ")
    assert "Traceback" not in capfd.readouterr().err


def test_videos_that_are_not_cut(tmp_path: Path, video: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")

    def cuts(file: Path, span: Span | None = None, segment_s: float = 10) -> tuple[Cut, ...]:
        return find_cuts(
            str(file), str(file), span or Span(), segment_s=segment_s, max_pixels=10**8
        )

    assert cuts(tmp_path / "text.mp4") == ()
    assert cuts(video, segment_s=20) == ()
    assert cuts(video, Span(0, 12)) == ()
    film, joined = tmp_path / "v.ts", tmp_path / "joined.ts"
    views = [np.full((48, 64, 3), 5 * (i % 50), np.uint8) for i in range(28 * FPS)]
    write_film(film, views, fps=FPS, options={"g": str(FPS), "preset": "ultrafast"})
    assert cuts(film)
    joined.write_bytes(2 * film.read_bytes())
    assert cuts(joined) == ()  # every moment lies in it twice
    with video.open("rb") as opened:
        assert find_cuts("x", opened, Span(), segment_s=10, max_pixels=10**8) == cuts(video)


def cut_of(number: int) -> Cut:
    return Cut(number, Span(), 0.0, 0, 1)


def test_the_way_of_a_long_video() -> None:
    part = part_of("v.mp4", is_video=True)
    schedule = Schedule([part_of("a.png", number=1), part])
    task = schedule.next()
    assert task == AnalyzePart(part)  # videos first
    schedule.finished(task, Outcome(cuts=(cut_of(0), cut_of(1))))
    first, second = schedule.next(), schedule.next()
    assert first == AnalyzeSegment(part, cut_of(0))
    assert second == AnalyzeSegment(part, cut_of(1))
    schedule.finished(second, Outcome())
    schedule.died(first, 0, "SIGKILL")
    assert schedule.next() == first
    schedule.finished(first, Outcome())
    joining = schedule.next()
    assert joining == JoinSegments(part, (cut_of(0), cut_of(1)))
    schedule.finished(joining, Outcome(1))
    other = schedule.next()
    assert isinstance(other, AnalyzePart)
    assert not other.part.is_video
    schedule.finished(other, Outcome(1))
    assert schedule.is_finished
    assert schedule.done == 2


@pytest.mark.parametrize("how", ["misfit", "deaths"])
def test_a_video_whose_segments_fail_is_read_as_a_whole(how: str) -> None:
    part = part_of("v.mp4", is_video=True)
    schedule = Schedule([part])
    task = schedule.next()
    assert task is not None
    schedule.finished(task, Outcome(cuts=tuple(map(cut_of, range(3)))))
    first, late = schedule.next(), schedule.next()
    assert first is not None
    assert late is not None
    if how == "misfit":
        schedule.finished(first, Outcome(misfit=True))
    else:
        schedule.died(first, 0, "SIGSEGV")
        again = schedule.next()
        assert again == first
        schedule.died(first, 0, "SIGSEGV")
    task = schedule.next()
    assert isinstance(task, AnalyzePart)
    assert not task.may_cut
    assert bool(task.given_up) == (how == "deaths")
    schedule.finished(late, Outcome())  # comes too late, and is nothing to anyone
    schedule.finished(task, Outcome(1))
    assert schedule.is_finished


def died_twice(schedule: Schedule, task: Any) -> None:
    schedule.died(task, 0, "SIGSEGV")
    assert schedule.next() == task
    schedule.died(task, 0, "SIGSEGV")


def test_a_video_ends_before_a_segment_that_ends_workers() -> None:
    part = part_of("v.mp4", is_video=True)
    schedule = Schedule([part])
    task = schedule.next()
    assert task is not None
    cuts = tuple(map(cut_of, range(5)))
    schedule.finished(task, Outcome(cuts=cuts))
    first, second, third, late = (schedule.next() for _ in range(4))
    assert first is not None
    assert late is not None
    schedule.finished(first, Outcome())
    died_twice(schedule, third)
    assert schedule.next() is None  # what follows is not wanted any more
    schedule.died(late, 0, "SIGSEGV")  # and not tried again
    assert schedule.next() is None
    died_twice(schedule, second)  # it is over earlier still
    joining = schedule.next()
    reason = "v.mp4: ended the worker that read it, 2 times (SIGSEGV)"
    assert joining == JoinSegments(part, cuts[:1], reason)
    schedule.finished(joining, Outcome(1))
    assert schedule.is_finished
    assert schedule.done == 1


def test_the_rows_before_a_segment_that_ends_workers(
    tmp_path: Path, video: Path, whole: list[FrameResult], inline: list[int]
) -> None:
    """As those of a damaged video, they are kept, and it is listed as a failure."""
    inline[0] = 0
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run_batch([str(video)], out, settings=VIDEO)
    (part,) = BatchFolder(out).parts()
    worker, schedule = Worker(Order(VIDEO, str(out))), Schedule([part])
    task = schedule.next()
    assert task is not None
    schedule.finished(task, worker.do(task))
    first, second = schedule.next(), schedule.next()
    assert isinstance(first, AnalyzeSegment)
    assert isinstance(second, AnalyzeSegment)
    schedule.finished(first, worker.do(first))
    died_twice(schedule, second)
    joining = schedule.next()
    assert joining is not None
    schedule.finished(joining, worker.do(joining))
    assert schedule.is_finished
    inline[0] = 10**9
    totals = run_batch([str(video)], out, settings=VIDEO).totals
    assert (totals.failed, totals.frames) == (1, first.cut.frames)
    assert [row["frame"] for row in rows(out)][-1] == first.cut.frames - 1 > 10 * FPS
    (failure,) = listed(out / "failures.jsonl")
    assert failure["error"] == f"{video}: ended the worker that read it, 2 times (SIGSEGV)"
    assert not list((out / ".mien/segments").iterdir())


def test_the_warm_up_is_longer_than_a_face_is_remembered() -> None:
    assert PATIENCE_S <= WARM_UP_S / 2
