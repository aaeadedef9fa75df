"""What a report counts: tables by hand, added up, averaged and set side by side."""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.companions import Marker, Member
from mien.errors import SourceError
from mien.report import write_report
from mien.report.contrasts import audience, differences, sessions, trends
from mien.report.findings import meaning, overall, shares_of, told_by, transitions, units_of
from mien.report.intake import take_in
from mien.report.material import Material
from mien.report.reactions import BEGINNING, NOBODY, OUTSIDE, occurrences, reactions
from mien.report.recording import MOST_SPANS, Recording, Spans
from mien.report.views import VIEWS
from mien.types import (
    EXPRESSIONS,
    FERPLUS_EXPRESSIONS,
    FaceIdentity,
    FaceResult,
    FaceShape,
    FrameResult,
)
from tests.test_events import face, film, save

HAPPY, SAD, NEUTRAL = (EXPRESSIONS.index(name) for name in ("happy", "sad", "neutral"))


def one(file: Path, results: Sequence[FrameResult], markers: Sequence[Marker] = ()) -> Recording:
    (recording,) = take_in(save(file, results), markers)
    return recording


def unsure(found: FaceResult) -> FaceResult:
    return replace(found, uncertain=True)


def smile(
    source: str = "v.mp4", *, at: int = 20, n: int = 60, after: float = 0.8
) -> list[FrameResult]:
    """Ten frames a second; a smile's probability rises from 0.2 at frame `at`."""
    values = [0.2] * at + [after] * (n - at)
    return film(*[[face(1, "happy", p)] for p in values], source=source)


def test_time_is_added_up(tmp_path: Path) -> None:
    frames = [[face(1, "happy", 0.9)]] * 6 + [[]] * 2 + [[unsure(face(1, "sad", 0.4))]] * 2
    recording = one(tmp_path / "a.jsonl", film(*frames))
    quality = recording.quality
    assert recording.is_video
    assert (quality.frames, quality.gaps) == (10, 0)
    assert quality.recorded_s == pytest.approx(1.0)
    assert quality.with_face_s == quality.face_s == pytest.approx(0.8)
    assert quality.uncertain_s == pytest.approx(0.2)
    (track,) = recording.tracks
    shares = shares_of(track, EXPRESSIONS)
    assert shares.of("happy").value == pytest.approx(0.75)
    assert shares.of("uncertain").value == pytest.approx(0.25)
    assert shares.of("pleasant").value == shares.of("expressive").value == pytest.approx(0.75)
    assert shares.of("unpleasant").value == 0
    assert shares.weighted[HAPPY] == pytest.approx((6 * 0.9 + 2 * 0.1) / 8)


def test_one_video_given_twice_is_told_apart_without_names(tmp_path: Path) -> None:
    twice = tuple(take_in(save(tmp_path / "a.jsonl", [*smile(), *smile()])))
    material = Material(VIEWS["experience"], twice, EXPRESSIONS, (), (), (), (), blurred=False)
    assert [material.title(recording) for recording in twice] == ["recording 1", "recording 2"]


def test_breaks_count_for_a_usual_step(tmp_path: Path) -> None:
    results = film(*[[face(1, "happy", 0.9)]] * 20)
    late = [replace(r, time_s=r.time_s + 4) if r.frame >= 10 else r for r in results]
    quality = one(tmp_path / "a.csv", late).quality
    assert quality.gaps == 1
    assert quality.gap_s == pytest.approx(4.0)
    assert quality.recorded_s == pytest.approx(2.0)
    assert quality.longest_step_s == pytest.approx(4.1)


def test_long_recordings_are_thinned(tmp_path: Path) -> None:
    frames = [[face(1, "happy", 0.9)], [face(1, "sad", 0.9)]] * 3000
    recording = one(tmp_path / "a.jsonl", film(*frames, fps=2))
    (track,) = recording.tracks
    assert len(track.index) <= MOST_SPANS
    assert track.total_s == pytest.approx(3000)
    assert track.shown_s.sum(0)[[HAPPY, SAD]] == pytest.approx([1500, 1500])
    assert recording.width_s == 0.8


@given(st.lists(st.tuples(st.floats(0, 500), st.floats(0, 2)), max_size=40))
def test_wider_spans_hold_the_same(added: list[tuple[float, float]]) -> None:
    spans = Spans(0.05)  # a frame lies in several
    for time_s, value in sorted(added):
        spans.add(time_s, 0.3, np.array([value]))
    before = float(sum(row[0] for row in spans.rows))
    spans.widen()
    assert sum(row[0] for row in spans.rows) == pytest.approx(before)
    assert spans.index == sorted(set(spans.index))
    assert spans.width_s == 0.1


def test_a_frame_lasts_into_the_next_spans(tmp_path: Path) -> None:
    """Frames that fit no span, and frames that come as they like: two faces stay two."""
    times = [i / 25 for i in range(100)] + [4 + 0.4 * i for i in range(10)]
    both = (face(1, "happy", 0.9), face(2, "sad", 0.9))
    results = [FrameResult("v.mp4", i, time_s, 64, 64, both) for i, time_s in enumerate(times)]
    recording = one(tmp_path / "a.jsonl", results)
    first, second = recording.tracks
    assert list(first.index) == list(range(len(first.index)))  # no gap in its curve
    assert first.seen_s[:-1] == pytest.approx(recording.width_s)
    assert first.total_s == second.total_s == pytest.approx(recording.quality.recorded_s)
    found = audience([recording], EXPRESSIONS, 240)
    assert found is not None
    assert found.people[:-1] == pytest.approx(2)


def test_the_people_of_a_picture_are_kept_apart(tmp_path: Path) -> None:
    named = {"happy": "Ada", "sad": "Bo", "neutral": None}
    shown = [
        replace(face(None, label, 0.9), identity=FaceIdentity(name, 0.9))
        for label, name in named.items()
    ]
    people = FrameResult("a.jpg", 0, 0.0, 64, 64, (*shown, shown[-1]))
    (recording,) = take_in(save(tmp_path / "a.jsonl", [people], identity=True))
    nobody, ada, bo = recording.tracks
    assert [(t.person, t.number, t.total_s) for t in (ada, bo)] == [
        ("Ada", None, 1),
        ("Bo", None, 1),
    ]
    assert (nobody.person, nobody.total_s) == (None, 2)
    assert ada.shown_s.sum(0)[HAPPY] == bo.shown_s.sum(0)[SAD] == 1
    assert len(recording.together().index) == 1  # one moment


def test_small_and_turned_faces(tmp_path: Path) -> None:
    turned = FaceShape(0.9, 45, 0, 0, (0.1, 0.1), (0.1, 0.1), 0.1, 0.8)
    large = replace(face(1, "happy", 0.9), box=(0, 0, 30, 30), shape=turned)
    small = replace(unsure(face(1, "sad", 0.4)), box=(0, 0, 30, 20))
    table = save(tmp_path / "a.jsonl", film(*[[large]] * 6, *[[small]] * 4))
    quality = take_in(table)[0].quality
    assert quality.small_s == quality.uncertain_small_s == pytest.approx(0.4)
    assert quality.turned_s == quality.shape_s == pytest.approx(0.6)
    assert quality.uncertain_turned_s == 0


def test_recordings_and_faces_may_have_a_limit(tmp_path: Path) -> None:
    """Also faces whose frames still wait: a recording waits for a hundred."""
    pictures = [film([face(None, "sad", 0.9)], source=f"{i}.jpg")[0] for i in range(10)]
    crowd = film(*[[face(i, "happy", 0.9)] for i in range(300)])
    early = film(*[[face(1, "happy", 0.9)]] * 50)
    for name, results, holds in (
        ("pictures", pictures, 20), ("crowd", crowd, 301), ("early", early, 51),
    ):  # fmt: skip
        table = save(tmp_path / f"{name}.jsonl", results)
        assert take_in(table, most=holds)
        with pytest.raises(SourceError, match=rf"{name}\.jsonl: holds more .* for \({holds - 1}\)"):
            take_in(table, most=holds - 1)
    # A report has one limit for all of its tables.
    tables = [tmp_path / "pictures.jsonl", tmp_path / "early.jsonl"]
    outcome = write_report(tables, tmp_path / "a.html", most=70)
    assert [table for table, _ in outcome.failures] == [tables[1]]
    assert write_report(tables, tmp_path / "a.html", most=71).failures == ()


def test_more_classes_than_a_table_can_show(tmp_path: Path) -> None:
    many = replace(face(1, "happy", 0.9), probs={"happy": 0.9, **{f"c{i}": 0 for i in range(256)}})
    with pytest.raises(SourceError, match=r"has 257 classes\. Expected at most 256"):
        take_in(save(tmp_path / "a.jsonl", film([many])))


def test_sources_of_one_table_are_kept_apart(tmp_path: Path) -> None:
    first, second = smile("a.mp4"), smile("b.mp4", after=0.2)
    mixed = [result for pair in zip(first, second, strict=True) for result in pair]
    a, b = take_in(save(tmp_path / "a.jsonl", mixed))
    assert (a.source, b.source) == ("a.mp4", "b.mp4")
    assert a.quality.recorded_s == b.quality.recorded_s == pytest.approx(6.0)
    assert shares_of(b.tracks[0], EXPRESSIONS).of("happy").value == pytest.approx(1)
    assert (len(a.segments()), len(b.segments())) == (1, 0)


def test_reactions_are_changes_against_the_second_before(tmp_path: Path) -> None:
    markers = [Marker(2.0, "joke"), Marker(99.0, "joke", "0.mp4")]
    recordings = [
        one(tmp_path / f"{i}.jsonl", smile(f"{i}.mp4", after=after), concerned)
        for i, (after, concerned) in enumerate([(0.8, markers), (0.6, markers)])
    ]
    (found,) = reactions(recordings, markers, [])
    assert (found.n, found.unit, found.missed) == (2, "recordings", {OUTSIDE: 1})
    happy = found.curves[0, :, HAPPY]
    assert happy[:4] == pytest.approx(0)
    assert happy[4:20] == pytest.approx(0.5)  # the mean of 0.6 and 0.4; the film ends after 4 s
    assert found.changes[HAPPY].value == pytest.approx(0.5)
    # Student's 12.706 for two, times their deviation over the root of two; no change passes 1.
    ends = (found.changes[HAPPY].low, found.changes[HAPPY].high)
    assert ends == pytest.approx((0.5 - 12.706 * 0.1, 1), rel=1e-3)
    sad = found.changes[SAD]
    assert (sad.value, sad.high) == pytest.approx((-0.5 / 6, -0.5 / 6 + 12.706 * 0.1 / 6), rel=1e-3)
    (within,) = reactions(recordings[:1], markers, [])
    assert (within.n, within.unit) == (1, "occurrences")


@pytest.mark.parametrize(
    ("time_s", "why"), [(0, BEGINNING), (2, ""), (5, NOBODY), (9, NOBODY), (13, OUTSIDE)]
)
def test_why_a_moment_says_nothing(tmp_path: Path, time_s: float, why: str) -> None:
    """A face for four seconds, then nobody, then another face: it has no second before it."""
    frames = [[face(1, "happy", 0.9)]] * 40 + [[]] * 50 + [[face(2, "happy", 0.9)]] * 30
    recording = one(tmp_path / "a.jsonl", film(*frames), [Marker(time_s, "x")])
    (found,) = occurrences([recording], [])
    assert (found.missed, bool(found.changes)) == (why, not why)
    (reaction,) = reactions([recording], [Marker(time_s, "x")], [])
    assert (reaction.n, reaction.missed) == ((0, {why: 1}) if why else (1, {}))


def crowd(*rises: float, at: int = 20, shift: int = 0) -> list[list[FaceResult]]:
    """Six seconds of faces whose probability of a smile rises by so much at frame `at`."""
    return [
        [face(1 + shift + i, "happy", 0.2 + rise * (n >= at)) for i, rise in enumerate(rises)]
        for n in range(60)
    ]


def test_rare_frames_last_around_a_moment(tmp_path: Path) -> None:
    """A frame every two seconds: the last one before a moment lasts into the second before it."""
    values = [0.2] * 5 + [0.8] * 5
    rare = film(*[[face(1, "happy", p)] for p in values], fps=0.5)
    (found,) = reactions([one(tmp_path / "a.jsonl", rare, [Marker(9.5, "joke")])],
                         [Marker(9.5, "joke")], [])  # fmt: skip
    assert (found.n, found.missed) == (1, {})
    curve = found.curves[0, :, HAPPY]  # the smile is seen half a second after the moment
    assert curve == pytest.approx([0] * 6 + [0.6] * 18)
    assert found.changes[HAPPY].value == pytest.approx(0.6)


def test_the_faces_of_an_audience_are_units(tmp_path: Path) -> None:
    rises, markers = (0.1, 0.2, 0.4, 0.7), [Marker(2.0, "joke")]
    recording = one(tmp_path / "a.jsonl", film(*crowd(*rises)), markers)
    (found,) = reactions([recording], markers, [])
    assert (found.n, found.unit, found.averaged) == (4, "faces", 4)
    happy = found.changes[HAPPY]
    reach = 3.182 * np.std(rises, ddof=1) / 2  # Student's for four
    assert (happy.value, happy.high) == pytest.approx((0.35, 0.35 + reach), rel=1e-3)
    assert found.curves[1:, 4, HAPPY] == pytest.approx([0.35 - reach, 0.35 + reach], rel=1e-3)
    # Two showings are two units, however many faces each had.
    (both,) = reactions([recording, recording], markers, [])
    assert (both.n, both.unit) == (2, "recordings")


def test_who_may_have_come_back_is_not_another_person(tmp_path: Path) -> None:
    """Two people at two moments, with other numbers at the second: surely two people."""
    markers = [Marker(2.0, "joke"), Marker(11.0, "joke")]
    rises = 0.1, 0.2, 0.4, 0.7
    frames = [*crowd(*rises[:2]), *[[]] * 30, *crowd(*rises[2:], shift=2)]
    recording = one(tmp_path / "a.jsonl", film(*frames), markers)
    (found,) = reactions([recording], markers, [])
    assert (found.n, found.unit, found.averaged) == (2, "faces", 4)
    assert found.changes[HAPPY].value == pytest.approx(0.35)
    reach = 12.706 * np.std(rises, ddof=1) / 2**0.5
    assert found.changes[SAD].high == pytest.approx((reach - 0.35) / 6, rel=1e-3)
    named = [
        [replace(f, identity=FaceIdentity("AB"[f.track_id % 2], 0.9)) for f in faces if f.track_id]
        for faces in frames
    ]
    (recording,) = take_in(save(tmp_path / "n.jsonl", film(*named), identity=True), markers)
    (found,) = reactions([recording], markers, [])
    assert (found.n, found.unit, found.averaged) == (2, "faces", 2)
    # Each by the mean of both moments: 0.1 and 0.4, 0.2 and 0.7.
    assert found.changes[SAD].high == pytest.approx((12.706 * 0.1 - 0.35) / 6, rel=1e-3)
    alone = one(tmp_path / "s.jsonl", film(*crowd(0.1), *[[]] * 30, *crowd(0.4, shift=1)), markers)
    (found,) = reactions([alone], markers, [])
    assert (found.n, found.unit) == (2, "occurrences")


def test_people_react_once(tmp_path: Path) -> None:
    """Two recordings of one person and one of another: two people, each by their mean."""
    markers = [Marker(2.0, "joke")]
    recordings = [
        one(tmp_path / f"{i}.jsonl", smile(f"{i}.mp4", after=after), markers)
        for i, after in enumerate((0.8, 0.6, 0.3))
    ]
    members = [
        Member("0.mp4", person="A"),
        Member("1.mp4", person="A"),
        Member("2.mp4", person="B"),
    ]
    (found,) = reactions(recordings, markers, members)
    assert (found.n, found.unit) == (2, "people")
    assert found.changes[HAPPY].value == pytest.approx((0.5 + 0.1) / 2)
    assert found.changes[SAD].high == pytest.approx((12.706 * 0.2 - 0.3) / 6, rel=1e-3)
    (found,) = reactions(recordings[:2], markers, members)  # of one person alone they vary
    assert (found.n, found.unit) == (2, "recordings")


def test_videos_and_pictures_do_not_add_up(tmp_path: Path) -> None:
    pictures = [film([face(None, "sad", 0.9)], source=f"{i}.jpg")[0] for i in range(7)]
    calm = film(*[[face(1, "neutral", 0.9)]] * 320)
    recordings = take_in(save(tmp_path / "a.jsonl", [*calm, *pictures]))
    for found in (recordings, recordings[:1]):
        shares = overall(found, EXPRESSIONS, [])
        assert shares is not None
        assert (shares.of("neutral").value, shares.of("sad").value) == (1, 0)
        (session,) = sessions(found, EXPRESSIONS, [])
        assert session.recorded_s == session.sure_s == pytest.approx(32)
    shares = overall(recordings[1:], EXPRESSIONS, [])
    assert shares is not None
    assert (shares.of("sad").value, shares.unit) == (1, "pictures")
    ada = [Member(f"{i}.jpg", person="Ada") for i in range(7)]
    shares = overall(recordings[1:], EXPRESSIONS, ada)
    assert shares is not None
    assert (shares.looks, shares.unit) == (7, "pictures")


def test_markers_concern_one_source_or_all(tmp_path: Path) -> None:
    markers = [Marker(2.0, "joke", "other.mp4"), Marker(2.0, "song", "v.mp4"), Marker(9.0, "end")]
    recording = one(tmp_path / "a.jsonl", smile("films/v.mp4"), markers)
    assert [response.label for response in recording.responses] == ["song", "end"]
    assert [bool(response.faces) for response in recording.responses] == [True, False]


def test_who_is_in_both_groups_is_said(tmp_path: Path) -> None:
    who = {"a1": "Ada", "b1": "Bo", "a2": "Ada", "c2": "Cy"}
    recordings = [one(tmp_path / f"{name}.jsonl", smile(name)) for name in who]
    members = [Member(name, name[1], person) for name, person in who.items()]
    (found,) = differences(units_of(recordings, EXPRESSIONS, members), EXPRESSIONS)
    assert (found.n, found.both) == ((2, 2), 1)
    nameless = [replace(member, person="") for member in members]
    (found,) = differences(units_of(recordings, EXPRESSIONS, nameless), EXPRESSIONS)
    assert found.both == 0


def test_what_followed_what(tmp_path: Path) -> None:
    parts = [("happy", 10), ("sad", 10), ("happy", 10), ("neutral", 10)]
    frames = [[face(1, name, 0.9)] for name, n in parts for _ in range(n)]
    frames += [[]] * 30 + [[face(1, "sad", 0.9)]] * 10  # after three seconds nothing follows
    counts = transitions(one(tmp_path / "a.jsonl", film(*frames)).tracks, EXPRESSIONS)
    assert counts.sum() == 3
    assert counts[HAPPY, SAD] == counts[SAD, HAPPY] == counts[HAPPY, NEUTRAL] == 1


def test_people_count_once(tmp_path: Path) -> None:
    shown = {"a.mp4": "happy", "b.mp4": "happy", "c.mp4": "sad", "d.mp4": "sad"}
    recordings = [
        one(tmp_path / f"{name}.jsonl", film(*[[face(1, expression, 0.9)]] * 20, source=name))
        for name, expression in shown.items()
    ]
    members = [Member("a.mp4", "x", "Ada"), Member("b.mp4", "x", "Ada"), Member("c.mp4", "x", "Bo")]
    found = overall(recordings, EXPRESSIONS, members)
    assert found is not None
    assert (found.looks, found.unit) == (3, "people")
    assert found.of("happy").value == pytest.approx(1 / 3)
    units = units_of(recordings, EXPRESSIONS, [*members, Member("d.mp4", "y")])
    (difference,) = differences(units, EXPRESSIONS)
    assert (difference.first, difference.second, difference.n) == ("x", "y", (2, 1))
    assert difference.rows[HAPPY][1:3] == pytest.approx((0.5, 0))
    # The first group named is the base, whatever the order of the tables.
    units = units_of(recordings, EXPRESSIONS, [Member("d.mp4", "y"), *members])
    (difference,) = differences(units, EXPRESSIONS)
    assert (difference.first, difference.second, difference.n) == ("y", "x", (1, 2))


def test_a_session_of_two_faces_is_not_read_for_longer_than_it_lasts(tmp_path: Path) -> None:
    pair = [face(1, "happy", 0.9), unsure(face(2, "sad", 0.4))]
    table = save(tmp_path / "a.jsonl", film(*[pair] * 200, *[[]] * 400))
    (session,) = sessions(take_in(table), EXPRESSIONS, [])
    assert session.recorded_s == pytest.approx(60)
    assert session.sure_s == pytest.approx(20)
    assert session.face_s == pytest.approx(40)
    assert session.whole_s == pytest.approx(80)


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system has no tzset")
def test_an_evening_is_no_next_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = save(tmp_path / "a.jsonl", smile())
    os.utime(table, (1.7726e9, 1.7726e9))  # 2026-03-04, 04:53 UTC
    monkeypatch.setenv("TZ", "EST5")
    time.tzset()
    try:
        (session,) = sessions(take_in(table), EXPRESSIONS, [])
    finally:
        monkeypatch.undo()
        time.tzset()
    assert session.day == date(2026, 3, 3)


def test_sessions_are_dated(tmp_path: Path) -> None:
    tables = [save(tmp_path / f"{i}.jsonl", smile(f"{i}.mp4", n=n)) for i, n in ((1, 900), (2, 60))]
    recordings = [recording for table in tables for recording in take_in(table)]
    members = [Member("1.mp4", day=date(2026, 3, 2)), Member("2.jsonl", day=date(2026, 3, 1))]
    short, long = sessions(recordings, EXPRESSIONS, members)
    assert (short.day, short.name, short.enough) == (date(2026, 3, 1), "2.jsonl", False)
    assert (long.day, long.enough) == (date(2026, 3, 2), True)
    assert long.sure_s == pytest.approx(90)


def test_a_table_of_several_days_holds_a_session_of_each(tmp_path: Path) -> None:
    names = ("1.mp4", "2.mp4", "3.mp4", "x.mp4", "y.mp4")
    table = save(tmp_path / "a.jsonl", [result for name in names for result in smile(name, n=400)])
    os.utime(table, (1.7726e9, 1.7726e9))  # 2026-03-04
    days = [date(2026, 3, 2), date(2026, 3, 1), date(2026, 3, 1)]
    members = [Member(name, day=day) for name, day in zip(names, days, strict=False)]
    first, second, undated = sessions(take_in(table), EXPRESSIONS, members)
    assert [s.day for s in (first, second)] == [date(2026, 3, 1), date(2026, 3, 2)]
    assert undated.day > second.day
    for session, recordings in ((first, 2), (second, 1), (undated, 2)):
        assert session.recorded_s == pytest.approx(40 * recordings)
    same = Member("3.mp4", day=undated.day)
    assert len(sessions(take_in(table), EXPRESSIONS, [*members[:2], same])) == 3  # no fourth


def test_pictures_beside_videos_are_no_sessions(tmp_path: Path) -> None:
    pictures = [film([face(None, "sad", 0.9)], source=f"{i}.jpg")[0] for i in range(40)]
    still = take_in(save(tmp_path / "still.jsonl", pictures))
    moving = take_in(save(tmp_path / "moving.jsonl", smile(n=400)))
    assert [s.name for s in sessions([*still, *moving], EXPRESSIONS, [])] == ["moving.jsonl"]
    assert [s.name for s in sessions(still, EXPRESSIONS, [])] == ["still.jsonl"]


def test_a_recording_is_meant_by_its_full_name_first(tmp_path: Path) -> None:
    recordings = [one(tmp_path / f"{i}.jsonl", smile(f"{i}/v.mp4")) for i in range(3)]
    members = [Member("v.mp4", "any"), Member("1/v.mp4", "that"), Member("2.jsonl", "table")]
    assert [told_by(members)(recording).group for recording in recordings] == ["any", "that", "any"]
    assert told_by(members[1:])(recordings[2]).group == "table"
    assert told_by([])(recordings[0]) == Member("0/v.mp4")


def test_people_have_trends_of_their_own(tmp_path: Path) -> None:
    """One smiles more every week, the other less; a table holds a session of both."""

    def seconds(source: str, share: float) -> list[FrameResult]:
        frames = [[face(1, "happy", 0.9)]] * round(40 * share)
        return film(
            *frames, *[[face(1, "neutral", 0.9)]] * (40 - len(frames)), fps=1, source=source
        )

    days = [date(2026, 3, 2), date(2026, 3, 9), date(2026, 3, 16)]
    recordings: list[Recording] = []
    members: list[Member] = []
    for day, rise in zip(days, (0.0, 0.25, 0.5), strict=True):
        table = tmp_path / f"{day}.jsonl"
        a, b = f"a{day}.mp4", f"b{day}.mp4"
        recordings += take_in(save(table, [*seconds(a, 0.25 + rise), *seconds(b, 0.75 - rise)]))
        members += [Member(a, "", "Ada", day), Member(b, "", "Bo", day)]
    found = sessions(recordings, EXPRESSIONS, members)
    assert [(s.person, s.day) for s in found] == [(p, d) for d in days for p in ("Ada", "Bo")]
    slopes = trends(found, EXPRESSIONS)
    assert list(slopes) == ["Ada", "Bo"]
    assert slopes["Ada"]["pleasant"].value == pytest.approx(0.25)
    assert slopes["Bo"]["pleasant"].value == pytest.approx(-0.25)
    one_more = sessions([*recordings, *take_in(save(tmp_path / "x.jsonl", seconds("x", 1)))],
                        EXPRESSIONS, members)  # fmt: skip
    assert len(one_more) == 7
    assert trends(one_more, EXPRESSIONS) == slopes  # whose it is nobody says
    assert list(trends(sessions(recordings, EXPRESSIONS, []), EXPRESSIONS)) == [""]


def test_who_comes_back_is_one_face(tmp_path: Path) -> None:
    ada, bo = FaceIdentity("Ada", 0.9), FaceIdentity("Bo", 0.9)

    def seen(number: int, expression: str, who: FaceIdentity) -> FaceResult:
        return replace(face(number, expression, 0.9), identity=who)

    frames = [[seen(4, "happy", ada), seen(2, "sad", bo)]] * 10 + [[]] * 20
    frames += [[seen(7, "neutral", ada), face(3, "sad", 0.9)]] * 20
    (recording,) = take_in(save(tmp_path / "a.jsonl", film(*frames), identity=True))
    first, *others = recording.tracks
    assert (first.person, first.numbers, first.number) == ("Ada", (4, 7), 4)
    assert first.total_s == pytest.approx(3)
    assert shares_of(first, EXPRESSIONS).of("happy").value == pytest.approx(1 / 3)
    assert [segment.expression for segment in first.segments] == ["happy", "neutral"]
    assert [(track.person, track.numbers) for track in others] == [(None, (3,)), ("Bo", (2,))]


def test_an_audience_is_laid_over_each_other(tmp_path: Path) -> None:
    early = film(*[[face(1, "neutral", 0.9)]] * 100, *[[face(1, "happy", 0.9)]] * 100)
    late = [replace(r, source="w.mp4", time_s=r.time_s + 50) for r in early]
    recordings = take_in(save(tmp_path / "a.jsonl", [*early, *late]))
    found = audience(recordings, EXPRESSIONS, 240)
    assert found is not None
    assert found.people == pytest.approx(2)
    assert found.shown[:, HAPPY] == pytest.approx(np.repeat([0, 1], 100))
    assert found.times_s[found.moments[0]] >= 10
    assert set(found.lifted) == {HAPPY}
    assert len(found.moments) == 2  # at least 5 s apart, and only where there is something


def test_sums_are_named_by_what_they_hold() -> None:
    assert meaning("unpleasant", EXPRESSIONS) == "angry, disgust, fear, sad"
    assert meaning("unpleasant", FERPLUS_EXPRESSIONS) == "sad, angry, disgust, fear, contempt"
    assert meaning("expressive", EXPRESSIONS) == "anything but neutral"
