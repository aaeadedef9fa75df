"""Tracks that go over to another person: who is seen counts, not who was."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mien import handover
from mien.console import FaceTally
from mien.handover import Handovers
from mien.report.figures import figures_of
from mien.report.intake import take_in
from mien.report.material import Material
from mien.report.views import VIEWS
from mien.timeline import build_timeline
from mien.types import EXPRESSIONS, FaceIdentity, FaceResult, FrameResult
from tests.test_events import face, film, save


def named(track: int, person: str | None, expression: str = "happy") -> FaceResult:
    return replace(face(track, expression, 0.9), identity=FaceIdentity(person, None))


def counted(results: Sequence[FrameResult]) -> list[FrameResult]:
    handovers = Handovers()
    known = [each for result in results for each in handovers.add(result)]
    known += handovers.finish()
    assert handovers.waiting == 0
    return known


def exchanged() -> list[FrameResult]:
    """Anna smiles, Ben is sad. They cross after 9 of 10 s, and nobody is known for a moment."""
    before = [[named(1, "Anna"), named(2, "Ben", "sad")]] * 90
    nobody = [[named(1, None, "sad"), named(2, None)]] * 3
    return film(*before, *nobody, *[[named(1, "Ben", "sad"), named(2, "Anna")]] * 17)


def test_who_is_exchanged_keeps_the_time_of_before(tmp_path: Path) -> None:
    (recording,) = take_in(save(tmp_path / "v.jsonl", exchanged(), identity=True))
    for track, person, numbers, shown in zip(
        recording.tracks, ("Anna", "Ben"), ((1, 2), (2, 1)), ("happy", "sad"), strict=True
    ):
        assert (track.person, track.numbers) == (person, numbers)
        assert track.total_s == pytest.approx(11)
        assert track.shown_s.sum(0)[EXPRESSIONS.index(shown)] == pytest.approx(11)
        assert [s.expression for s in track.segments] == [shown] * 2  # one in each track
    view = VIEWS["research"]
    figures = figures_of(Material(view, (recording,), EXPRESSIONS, (), (), (), (), False))
    faces = figures["recordings"][0]["faces"]
    assert [(f["person"], f["track_id"], f["track_ids"]) for f in faces] == [
        ("Anna", 1, [1, 2]),
        ("Ben", 2, [2, 1]),
    ]

    found = build_timeline(exchanged()).faces
    assert [(f.person, f.track_id, round(f.seen_s, 3)) for f in found] == [
        ("Anna", 1, 8.9),
        ("Ben", 2, 8.9),
        ("Ben", 1, 1.9),
        ("Anna", 2, 1.9),
    ]
    assert [max(f.shares(), key=lambda name: f.shares()[name]) for f in found] == [
        "happy", "sad", "sad", "happy"
    ]  # fmt: skip

    tally = FaceTally()
    for result in exchanged():
        tally.count(result)
    assert tally.lines() == [
        "Anna, in 110 of 110 frames: happy 100%",
        "Ben, in 110 of 110 frames: sad 100%",
    ]


def test_a_name_counts_once_it_has_held() -> None:
    """Slips take the name that follows, or at the end the one before; who returns is the same."""
    slips = ["person-1"] * 9 + [None] * 5 + ["Anna"] * 20 + ["Ben"] * 9 + ["Anna"] * 5
    names = [*slips, *[None] * 5, *["Ben"] * 4, *["Cy"] * 30, *["Anna"] * 20, *["Ben"] * 5, None]
    known = counted(film(*[[named(4, name)] for name in names]))
    assert [result.frame for result in known] == list(range(len(names)))
    numbers = [result.faces[0].track_id for result in known]
    assert numbers == [4] * len(slips) + [-1] * 39 + [4] * 26
    told = [result.faces[0].person for result in known]
    assert told[14:48] == ["Anna"] * 34
    assert told[53:87] == ["Cy"] * 34
    assert told[87:] == ["Anna"] * 25 + [None]


def test_no_look_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    handovers = Handovers()
    nobody = film(*[[named(1, "Anna")]] * 20, *[[named(1, None)]] * 500)
    for result in nobody:
        assert len(handovers.add(result)) <= 2
        assert handovers.waiting <= 32
    monkeypatch.setattr(handover, "_MOST_TRACKS", 3)
    for i in range(50):
        later = 100 + 2 * i
        for time_s, person in ((later, "Anna"), (later + 1.1, "Anna"), (later + 1.2, None)):
            handovers.add(FrameResult("v.mp4", 0, time_s, 9, 9, (named(10 + i, person),)))
        assert len(handovers._courses) <= 3
        assert handovers.waiting <= 6
    assert len(handovers.finish()) <= 6


def test_rare_looks_hold_too_and_pictures_pass_through() -> None:
    names = ["Anna", "Anna", "Ben", "Ben"]
    rare = [FrameResult("v", i, 5.0 * i, 9, 9, (named(1, n),)) for i, n in enumerate(names)]
    assert [result.faces[0].track_id for result in counted(rare)] == [1, 1, -1, -1]
    picture = FrameResult("a.jpg", 0, 0.0, 9, 9, (replace(named(1, "Anna"), track_id=None),))
    assert counted([picture]) == [picture]
