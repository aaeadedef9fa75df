"""What can be set side by side: groups, sessions, an audience. Imports numpy, from mien companions,
and the siblings `findings`, `recording` and `statistics`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from mien.companions import Member
from mien.report.findings import NEUTRAL, Shares, Unit, overall, share_labels, summed, told_by
from mien.report.recording import FloatArray, Recording, span_at, timed, together
from mien.report.statistics import Estimate, group_difference, trend

ENOUGH_S: Final = 30.0  # of sure answers, below which a session says too little for a trend
ENOUGH_SHARE: Final = 0.25  # and the share of the time that must have had a sure answer
_MOMENT_APART_S: Final = 5.0  # two best moments
_MOMENTS: Final = 10


@dataclass(frozen=True)
class Difference:
    """One group against another.

    Attributes:
        first, second: names of the groups; positive figures mean more in the second.
        n: units in each.
        both: how many people are in both; their rows belong together in the intervals.
        rows: for each label means of both, Hedges' g, Cliff's delta.
    """

    first: str
    second: str
    n: tuple[int, int]
    both: int
    rows: tuple[tuple[str, float, float, Estimate, Estimate], ...]


def differences(units: Sequence[Unit], labels: Sequence[str]) -> list[Difference]:
    """Every group against the first one."""
    groups: dict[str, list[Unit]] = defaultdict(list)
    for unit in units:
        if unit.group:
            groups[unit.group].append(unit)
    if len(groups) < 2:
        return []
    (first, those), *others = groups.items()
    base = np.stack([unit.shares for unit in those])
    place = {unit.person: i for i, unit in enumerate(those)}
    found = []
    for second, these in others:
        rows = np.stack([unit.shares for unit in these])
        both = [(place[u.person], j) for j, u in enumerate(these) if u.person and u.person in place]
        compared = []
        for k, label in enumerate(share_labels(labels)):
            g, delta = group_difference(base[:, k], rows[:, k], both)
            means = float(base[:, k].mean()), float(rows[:, k].mean())
            compared.append((label, *means, g, delta))
        n = len(base), len(rows)
        found.append(Difference(first, second, n, len(both), tuple(compared)))
    return found


@dataclass(frozen=True)
class Session:
    """What one table holds of one person on one day.

    Attributes:
        name: of the table.
        person: who was filmed; empty where nobody says.
        day: when it was.
        shares: None where no face was seen.
        recorded_s, face_s, sure_s: how long it was, how long a face was in sight, and was read.
        whole_s: how long it was, if a time counts twice in which two faces were in sight at once,
            as it does in `face_s` and `sure_s`.
        enough: whether there is enough of it for a trend.
    """

    name: str
    person: str
    day: date
    shares: Shares | None
    recorded_s: float
    face_s: float
    sure_s: float
    whole_s: float
    enough: bool


def sessions(
    recordings: Sequence[Recording], labels: Sequence[str], members: Sequence[Member]
) -> list[Session]:
    """One a table, person and day, in order of time: by the dates that the groups say, or for the
    recordings of a table without one by the file's. Of pictures only where there are no videos.

    Those of one day stay in their order.
    """
    said_of = told_by(members)
    saved_on = cache(_saved_on)
    held: dict[tuple[Path, str, date], list[Recording]] = defaultdict(list)
    for recording in timed(recordings):
        member = said_of(recording)
        day = member.day or saved_on(recording.table)
        held[recording.table, member.person, day].append(recording)
    found = []
    for (_, person, day), parts in held.items():
        recorded_s = sum(part.quality.recorded_s for part in parts)
        face_s = sum(part.quality.face_s for part in parts)
        sure_s = face_s - sum(part.quality.uncertain_s for part in parts)
        whole_s = recorded_s + face_s - sum(part.quality.with_face_s for part in parts)
        enough = sure_s >= ENOUGH_S and sure_s >= ENOUGH_SHARE * whole_s
        shares = overall(parts, labels, [])
        name = parts[0].table_name
        times_s = recorded_s, face_s, sure_s, whole_s
        found.append(Session(name, person, day, shares, *times_s, enough))
    return sorted(found, key=lambda session: session.day)


def _saved_on(table: Path) -> date:
    """In the zone of whoever reads the report: an evening there is no next day."""
    return datetime.fromtimestamp(table.stat().st_mtime, UTC).astimezone().date()


def trends(found: Sequence[Session], labels: Sequence[str]) -> dict[str, dict[str, Estimate]]:
    """For each person, change in a week of each sum of classes, over sessions with enough in them.

    Where nobody is named, all sessions are taken for those of one person, called "". Where somebody
    is, sessions of nobody named enter no trend.
    """
    people = {session.person: None for session in found if session.person} or {"": None}
    return {person: _trends([s for s in found if s.person == person], labels) for person in people}


def _trends(found: Sequence[Session], labels: Sequence[str]) -> dict[str, Estimate]:
    good = [session for session in found if session.enough and session.shares is not None]
    days = np.array([session.day.toordinal() for session in good], np.float64)
    values = {
        name: np.array([s.shares.of(name).value for s in good if s.shares is not None])
        for name in summed(labels)
    }
    return {name: trend(days, column) for name, column in values.items()}


@dataclass(frozen=True)
class Audience:
    """What all faces of all videos showed at the same moments.

    Attributes:
        width_s: of a span of time.
        times_s: `(N,)` where spans begin; only those in which somebody was seen.
        people: `(N,)` how many faces were seen, on average.
        shown: `(N, K + 1)` shares of their time by class, and uncertain.
        moments: indices of the best moments, the strongest first.
        lifted: which class rose most at each of them.
    """

    width_s: float
    times_s: FloatArray
    people: FloatArray
    shown: FloatArray
    moments: tuple[int, ...]
    lifted: tuple[int, ...]


def audience(
    recordings: Sequence[Recording], labels: Sequence[str], points: int
) -> Audience | None:
    """Everybody's faces on one axis of time, thinned to so many points; None without a video.

    Recordings are laid over each other at their beginnings, at the time of the earliest.
    """
    videos = [recording for recording in recordings if recording.is_video and recording.tracks]
    if not videos:
        return None
    width_s = max(video.width_s for video in videos)
    begin_s = min(video.start_s for video in videos)
    while max(v.end_s - v.start_s for v in videos) / width_s > points:
        width_s *= 2
    tracks = []
    for video in videos:
        late = span_at(video.start_s, video.width_s) - span_at(begin_s, video.width_s)
        spans = round(width_s / video.width_s)  # as many of its own make one here
        tracks += [replace(track, index=(track.index - late) // spans) for track in video.tracks]
    everybody = together(tracks, len(labels))
    shown = np.column_stack([everybody.shown_s, everybody.uncertain_s])
    shown /= np.maximum(everybody.seen_s, 1e-12)[:, None]
    times_s = everybody.index.astype(np.float64) * width_s
    people = everybody.seen_s / width_s
    moments, lifted = _moments(times_s, shown, people, labels)
    return Audience(width_s, times_s, people, shown, moments, lifted)


def _moments(
    times_s: FloatArray, shown: FloatArray, people: FloatArray, labels: Sequence[str]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where most faces showed something, in order of strength, and which class rose most there.

    Moments with few in sight count less: the share is drawn towards the mean of all, as if half the
    usual number of people had shown that.
    """
    active = [i for i, label in enumerate(labels) if label != NEUTRAL]
    if not active:
        return (), ()
    share = shown[:, active].sum(1)
    weight = np.median(people) / 2
    usual = (share * people).sum() / max(people.sum(), 1e-12)
    score = (share * people + usual * weight) / np.maximum(people + weight, 1e-12)
    chosen: list[int] = []
    for i in np.argsort(-score, kind="stable"):
        apart = all(abs(times_s[i] - times_s[j]) >= _MOMENT_APART_S for j in chosen)
        if score[i] > usual and apart:
            chosen.append(int(i))
        if len(chosen) == _MOMENTS:
            break
    means = (shown * people[:, None]).sum(0) / max(people.sum(), 1e-12)
    lifted = [active[int(np.argmax((shown[i] - means)[active]))] for i in chosen]
    return tuple(chosen), tuple(lifted)
