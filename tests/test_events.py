"""What happened when: smoothing by the clock, segments with two thresholds, subtitles."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien import events
from mien.cli import main
from mien.errors import SinkError, SourceError
from mien.events import SegmentFinder, dominant_expression, find_segments
from mien.pipeline import Analyzer
from mien.report.intake import take_in
from mien.results import read_results
from mien.sinks import open_sink
from mien.temporal import Smoother
from mien.timeline import build_timeline
from mien.types import (
    DOUBTFUL,
    EXPRESSIONS,
    QUALITY_REASONS,
    FaceQuality,
    FaceResult,
    FrameResult,
)


def face(number: int | None, expression: str, p: float) -> FaceResult:
    """A face that shows `expression` with probability p; the rest is shared by the others."""
    probs = dict.fromkeys(EXPRESSIONS, (1 - p) / 6) | {expression: p}
    best = max(probs, key=lambda name: probs[name])
    points = ((0.0, 0.0),) * 5
    return FaceResult((0, 0, 9, 9), 0.9, points, best, probs[best], False, probs, number)


def film(
    *frames: Sequence[FaceResult], fps: float = 10, source: str = "v.mp4"
) -> list[FrameResult]:
    return [FrameResult(source, i, i / fps, 64, 64, faces) for i, faces in enumerate(frames)]


def save(
    file: Path,
    results: Iterable[FrameResult],
    *,
    overwrite: bool = False,
    shape: bool = False,
    identity: bool = False,
) -> Path:
    """Results as a file of this name."""
    with open_sink(file, overwrite=overwrite, shape=shape, identity=identity) as sink:
        for result in results:
            sink.write(result)
    return file


def show(expression: str, *values: float, number: int = 1) -> list[list[FaceResult]]:
    return [[face(number, expression, p)] for p in values]


def test_one_smile() -> None:
    (segment,) = find_segments(film(*show("happy", 0.2, 0.3, 0.6, 0.8, 0.9, 0.7, 0.3, 0.2)))
    assert segment.source == "v.mp4"
    assert (segment.track_id, segment.expression) == (1, "happy")
    assert (segment.start_s, segment.peak_s, segment.end_s) == pytest.approx((0.2, 0.4, 0.5))
    assert segment.peak == 0.9
    # Trapezoids: (0.6 + 0.8) / 2, (0.8 + 0.9) / 2, (0.9 + 0.7) / 2.
    assert segment.mean == pytest.approx((0.7 + 0.85 + 0.8) / 3)


def hidden(frames: Sequence[Sequence[FaceResult]], *reasons: str) -> list[list[FaceResult]]:
    """The same faces, with something wrong with them."""
    return [
        [replace(face, quality=FaceQuality(0.3, reasons)) for face in faces] for faces in frames
    ]


def test_a_face_that_cannot_be_read_shows_nothing(tmp_path: Path) -> None:
    smile = show("happy", *[0.9] * 6)
    for reason in ("badly-lit", "covered"):
        masked = film(*hidden(show("sad", *[0.9] * 9), "turned", reason))
        assert find_segments(masked) == []
        assert dominant_expression(masked) is None
        save(tmp_path / f"{reason}.vtt", masked)
        assert (tmp_path / f"{reason}.vtt").read_text("utf-8").strip() == "WEBVTT"
        # A hand that passes is bridged, whatever the face seemed to show behind it.
        passing = hidden(show("sad", *[0.9] * 3), reason)
        (whole,) = find_segments(film(*smile, *passing, *smile))
        assert whole.expression == "happy"
        assert whole.end_s == pytest.approx(1.4)
        assert len(find_segments(film(*smile, *passing * 3, *smile))) == 2
    for reason in set(QUALITY_REASONS) - DOUBTFUL:
        assert len(find_segments(film(*hidden(smile, reason)))) == 1


def test_a_video_given_twice_is_two_recordings(tmp_path: Path) -> None:
    """Also where it shows one expression to its end; a table of it is no timeline."""
    smile = film(*show("happy", *[0.9] * 8))
    alone = find_segments(smile)
    assert len(alone) == 1
    assert find_segments([*smile, *smile]) == [alone[0], alone[0]]
    for name in ("r.jsonl", "r.csv", "r.segments.csv"):
        save(tmp_path / name, [*smile, *smile])
    with (tmp_path / "r.segments.csv").open(newline="") as file:
        assert [row["end_s"] for row in csv.DictReader(file)] == ["0.7", "0.7"]
    for name in ("r.jsonl", "r.csv"):
        recordings = take_in(tmp_path / name)
        assert [r.quality.frames for r in recordings] == [8, 8]
        assert [len(r.segments()) for r in recordings] == [1, 1]
        with pytest.raises(SourceError, match=r"v\.mp4: follows v\.mp4 in one file"):
            build_timeline(read_results(tmp_path / name))
    for name, results in (("p.jsonl", [smile[0], smile[0]]), ("back.jsonl", smile[::-1])):
        save(tmp_path / name, results)
    with pytest.raises(SourceError, match="Expected the order of time"):
        take_in(tmp_path / "back.jsonl")
    pictures = take_in(tmp_path / "p.jsonl")
    assert [recording.is_video for recording in pictures] == [False, False]


def test_trembling_around_a_threshold_breaks_nothing() -> None:
    results = film(*show("happy", 0.6, 0.45, 0.55, 0.4, 0.52, 0.48, 0.6, 0.1))
    (segment,) = find_segments(results)
    assert (segment.start_s, segment.end_s) == pytest.approx((0.0, 0.6))


def test_a_blink_is_no_expression() -> None:
    assert find_segments(film(*show("surprise", 0.1, 0.9, 0.9, 0.1, 0.1))) == []


@pytest.mark.parametrize("fps", [5, 10, 25, 60])
@pytest.mark.parametrize("misread", [("surprise", 0.6), ("surprise", 0.95), ("happy", 0.3)])
def test_a_short_misreading_interrupts_nothing(fps: int, misread: tuple[str, float]) -> None:
    """Also where both halves are short; the mean knows of it. What lasts is no mistake."""
    n = max(1, fps // 10)
    smile, mistake = show("happy", *[0.9] * 2 * n), show(misread[0], *[misread[1]] * n)
    (whole,) = find_segments(film(*smile, *mistake, *smile, *mistake, *smile, fps=fps))
    assert (whole.expression, whole.start_s) == ("happy", 0)
    assert whole.end_s == pytest.approx((8 * n - 1) / fps)
    assert 0.5 < whole.mean < 0.8
    assert whole.peak == 0.9
    long = mistake * (1 + round(0.3 * fps))
    found = find_segments(film(*smile * 3, *long, *smile * 3, fps=fps))
    assert [s.expression for s in found if s.expression == "happy"] == ["happy", "happy"]
    assert found[0].end_s == pytest.approx((6 * n - 1) / fps)
    if misread[1] > 0.5:
        assert found[1].start_s == pytest.approx(6 * n / fps)
        assert found[1].end_s == pytest.approx((6 * n + len(long) - 1) / fps)


def test_a_flicker_is_what_it_shows_longest() -> None:
    """Whichever comes first; and what begins while another is denied has its own beginning."""
    rest, smile = show("neutral", *[0.6] * 4), show("happy", 0.6)
    for frames in ([*smile, *rest] * 5, [*rest, *smile] * 5):
        (found,) = find_segments(film(*frames, fps=25))
        assert found.expression == "neutral"
    frames = [*rest * 5, *smile, *show("sad", *[0.9] * 20)]
    found_rest, found_sad = find_segments(film(*frames, fps=25))
    assert (found_rest.end_s, found_sad.start_s) == pytest.approx((19 / 25, 21 / 25))


def test_one_expression_gives_way_to_another() -> None:
    frames = show("happy", *[0.8] * 5) + show("sad", *[0.8] * 5)
    found = find_segments(film(*frames))
    assert [(s.expression, round(s.start_s, 1), round(s.end_s, 1)) for s in found] == [
        ("happy", 0.0, 0.4), ("sad", 0.5, 0.9)
    ]  # fmt: skip


def test_what_a_video_shows_on_the_whole() -> None:
    """All of an expression's segments together; neutral only where there is nothing else."""
    rest, smile, frown = (show(name, *[0.8] * 5) for name in ("neutral", "happy", "sad"))
    rest_and_smiles = [*rest * 3, *smile, *rest, *smile]
    assert dominant_expression(film(*rest_and_smiles)) == "happy"
    # One long segment outweighs a short one, and two outweigh one that is longer than each.
    assert dominant_expression(film(*frown, *frown[:3], *smile)) == "sad"
    assert dominant_expression(film(*frown, *frown[:3], *smile, *rest, *smile)) == "happy"
    assert dominant_expression(film(*rest, *smile[:2], *rest)) == "neutral"  # too short
    assert dominant_expression(film([], [], [])) is None


def test_out_of_sight_for_a_moment_and_for_long() -> None:
    smile = show("happy", *[0.8] * 5)
    assert len(find_segments(film(*smile, *[[]] * 3, *smile))) == 1
    first, second = find_segments(film(*smile, *[[]] * 9, *smile))
    assert first.end_s == pytest.approx(0.4)
    assert second.start_s == pytest.approx(1.4)


@pytest.mark.parametrize("fps", [0.3, 1, 2, 3])
def test_rare_frames_make_segments_too(fps: float) -> None:
    smile = show("happy", *[0.8] * 5)
    (whole,) = find_segments(film(*smile, fps=fps))
    assert (whole.start_s, whole.end_s) == pytest.approx((0, 4 / fps))
    assert whole.mean == pytest.approx(0.8)
    assert len(find_segments(film(*smile, [], *smile, fps=fps))) == 1  # one look is missed
    assert len(find_segments(film(*smile, *[[]] * 2, *smile, fps=fps))) == 2
    # What is usual in one film says nothing of the next.
    quick = film(*smile, *[[]] * 9, *smile, source="w.mp4")
    assert len(find_segments([*film(*smile, fps=fps), *quick])) == 3


@given(st.sampled_from([5, 6, 10, 12.5, 25, 30, 60]), st.lists(st.integers(0, 40), max_size=20))
def test_nothing_else_has_become_of_usual_films(fps: float, stretches: list[int]) -> None:
    """From five frames a second on, half a second out of sight is the limit, as ever."""
    smile = show("happy", 0.8)
    frames = [f for i, n in enumerate(stretches) for f in (smile if i % 2 else [[]]) * n]
    results = film(*frames, fps=fps)
    found = find_segments(results)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events, "_PATIENCE_STEPS", 0.0)
        assert found == find_segments(results)


def test_two_faces_and_two_films_are_kept_apart() -> None:
    frames = [[face(1, "happy", 0.9), face(2, "sad", 0.9)]] * 5
    found = find_segments([*film(*frames), *film(*frames, source="w.mp4")])
    assert [(s.source, s.track_id) for s in found] == [
        ("v.mp4", 1), ("v.mp4", 2), ("w.mp4", 1), ("w.mp4", 2)
    ]  # fmt: skip


def test_the_table_keeps_to_one_film_at_a_time(tmp_path: Path) -> None:
    """A smile that lasts to the end of a film is written before the next film's first one."""
    empty: list[list[FaceResult]] = [[]]
    late, early = empty * 5 + show("sad", *[0.9] * 5), show("happy", *[0.9] * 5)
    save(tmp_path / "t.segments.csv", [*film(*late), *film(*early, *[[]] * 9, source="w.mp4")])
    rows = (tmp_path / "t.segments.csv").read_text("utf-8").splitlines()[1:]
    assert [row.partition(",")[0] for row in rows] == ["v.mp4", "w.mp4"]


def test_pictures_have_no_segments() -> None:
    assert find_segments(film(*[[face(None, "happy", 0.9)]] * 5)) == []
    with pytest.raises(ValueError, match="leave <= enter"):
        SegmentFinder(enter=0.3, leave=0.5)


@given(
    st.lists(
        st.tuples(st.sampled_from(EXPRESSIONS), st.floats(0.15, 1), st.floats(0.01, 0.7)),
        max_size=60,
    )
)
def test_segments_of_a_face_are_ordered_and_apart(shown: list[tuple[str, float, float]]) -> None:
    now_s, results = 0.0, []
    for i, (expression, p, gap_s) in enumerate(shown):
        now_s += gap_s
        results.append(FrameResult("v", i, now_s, 9, 9, [face(1, expression, p)]))
    found = find_segments(results)
    for segment in found:
        assert segment.start_s <= segment.peak_s <= segment.end_s
        assert segment.duration_s >= 0.25
        assert 0 < segment.mean <= segment.peak + 1e-9
        assert segment.peak >= 0.5
    for before, after in pairwise(found):
        assert before.end_s < after.start_s


NOTHING = np.zeros((0, 0), np.float32)  # what is behind the answers does not matter here


def smoothed(fps: float, time_constant_s: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """One second of neutral, then happy at once: times and probabilities of happy."""
    smoother, times, found = Smoother(time_constant_s), np.arange(0, 2, 1 / fps), []
    for time_s in times:
        p = np.full((1, 7), 0.02)
        p[0, 3 if time_s >= 1 else 6] = 0.88
        found.append(smoother.update([1], p, NOTHING, float(time_s))[0, 3])
    return times, np.array(found)


def test_smoothing_goes_by_the_clock() -> None:
    onset = {}
    for fps in (5, 25, 60):
        times, happy = smoothed(fps)
        onset[fps] = times[happy > 0.5][0] - 1
        assert happy[-1] > 0.85
    # Neutral's logarithm has faded to happy's after ln(2) of 0.2 s; one half needs a little more.
    assert 0.139 < onset[60] < 0.18
    assert onset[25] == pytest.approx(onset[60], abs=0.04)
    assert onset[5] <= 0.2


def test_smoothing_keeps_probabilities_and_forgets() -> None:
    rng = np.random.default_rng(0)
    smoother = Smoother(0.3)
    for i in range(20):
        probs = rng.dirichlet(np.ones(7), 3)
        found = smoother.update([1, 2, 3], probs, NOTHING, i / 25)
        assert found.sum(1) == pytest.approx(1)
    assert np.abs(found - probs).max() > 0.1
    smoother.update([1], probs[:1], NOTHING, 4.6)
    assert smoother.update([2], probs[:1], NOTHING, 5.0) == pytest.approx(probs[:1])  # long ago
    assert smoother.update([], np.zeros((0, 7)), NOTHING, 6.0).shape == (0, 7)
    assert (Smoother(0).update([1], probs[:1], NOTHING, 0.0) == probs[:1]).all()
    with pytest.raises(ValueError, match="at least 0"):
        Smoother(-1)


@pytest.mark.parametrize("step_s", [0.25, 1.0, 4.0])
def test_smoothing_where_frames_come_seldom(step_s: float) -> None:
    """Half a time constant apart; who was missing in between starts anew where that took long."""
    smoother, (calm, glad) = Smoother(2 * step_s), (np.full((1, 7), 0.02) for _ in range(2))
    calm[0, 6] = glad[0, 3] = 0.88
    smoother.update([1, 2], np.concatenate([calm, calm]), NOTHING, 0.0)
    (first,) = smoother.update([1], glad, NOTHING, step_s)
    assert first[3] / first[6] == pytest.approx(44 ** (2 * (1 - np.exp(-0.5)) - 1))
    back = smoother.update([2], glad, NOTHING, 2 * step_s)[0]
    assert (back[3] == pytest.approx(0.88)) == (2 * step_s > 0.5)


CROWD = [
    *[[face(1, "happy", 0.9)]] * 3,
    *[[face(1, "happy", 0.9), face(2, "sad", 0.7)]] * 4,
    *[[face(1, "happy", 0.9), face(2, "neutral", 0.8)]] * 5,
]


def test_subtitles(tmp_path: Path) -> None:
    for name in ("a.vtt", "a.srt"):
        save(tmp_path / name, film(*CROWD))
    # The smile began first, though it ended last; neutral is not worth a line.
    assert (tmp_path / "a.vtt").read_text() == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.100\n1: happy 90%\n\n"
        "00:00:00.300 --> 00:00:00.600\n2: sad 70%\n\n"
    )
    assert (tmp_path / "a.srt").read_text() == (
        "1\n00:00:00,000 --> 00:00:01,100\n1: happy 90%\n\n"
        "2\n00:00:00,300 --> 00:00:00,600\n2: sad 70%\n\n"
    )


def test_classes_of_ones_own_are_no_tags_in_subtitles(tmp_path: Path) -> None:
    for name, shown in (("a.vtt", "1: &lt;i&gt;--&gt; so 90%"), ("a.srt", "1: <i>-> so 90%")):
        save(tmp_path / name, film(*[[face(1, "<i>-->\n\nso", 0.9)]] * 5))
        text = (tmp_path / name).read_text()
        assert shown in text.splitlines()
        assert text.count("-->") == 1  # the cue's own


def test_subtitles_belong_to_one_video(tmp_path: Path) -> None:
    with (
        pytest.raises(SinkError, match="subtitles belong to one video"),
        open_sink(tmp_path / "a.vtt") as sink,
    ):
        for result in [*film(*CROWD), *film(*CROWD, source="w.mp4")]:
            sink.write(result)
    with (
        pytest.raises(SinkError, match=r"but v\.mp4 follows v\.mp4"),
        open_sink(tmp_path / "b.srt") as sink,
    ):
        for result in [*film(*CROWD), *film(*CROWD)]:  # its clock would begin anew
            sink.write(result)


def test_segments_as_a_table(tmp_path: Path) -> None:
    save(tmp_path / "a.segments.csv", film(*CROWD))
    with (tmp_path / "a.segments.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["expression"] for row in rows] == ["happy", "sad", "neutral"]
    expected = find_segments(film(*CROWD))[1]
    assert "person" not in rows[1]  # nobody asked whose it is
    for name, value in vars(expected).items():
        if name == "person":
            continue
        assert type(value)(rows[1][name]) == value


def test_a_real_smile_on_the_command_line(data: Path, tmp_path: Path) -> None:
    clip = data / "clips" / "1001_DFA_HAP_XX.flv"
    if not clip.is_file():
        pytest.skip("needs the clips of MIEN_DATA")
    assert main(["analyze", str(clip), "--out", str(tmp_path / "a.segments.csv"), "--quiet"]) == 0
    with (tmp_path / "a.segments.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    longest = max(
        (row for row in rows if row["expression"] != "neutral"),
        key=lambda row: float(row["end_s"]) - float(row["start_s"]),
    )
    assert longest["expression"] == "happy"


def test_smoothing_calms_real_faces(data: Path) -> None:
    clips = [data / "clips" / f"1001_DFA_{acted}_XX.flv" for acted in ("DIS", "FEA", "SAD")]
    if not all(clip.is_file() for clip in clips):
        pytest.skip("needs the clips of MIEN_DATA")

    def changes(smooth_s: float) -> int:
        found = 0
        for clip in clips:
            results = Analyzer(smooth_s=smooth_s).stream(clip)
            shown = [result.faces[0].expression for result in results if result.faces]
            found += sum(a != b for a, b in pairwise(shown))
        return found

    assert changes(0.2) * 2 <= changes(0.0)
