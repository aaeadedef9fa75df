"""The figures of a report, drawn out of recordings. Imports numpy, metrics, and the siblings
`companions`, `recording` and `statistics`.

Every figure has its interval where one can be had. Shares are of the time a face was in sight, and
of sure answers only: what was `uncertain` is a share of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Final

import numpy as np

from mien.report.companions import Member, names
from mien.report.recording import OFFSETS_S, STEP_S, FloatArray, Quality, Recording, Track, together
from mien.report.statistics import (
    Estimate,
    group_difference,
    mean_interval,
    shares_over_time,
    shares_over_units,
    trend,
)

#: What is added up as pleasant and as unpleasant. Surprise may be either, and counts as neither.
PLEASANT: Final = ("happy",)
UNPLEASANT: Final = ("angry", "disgust", "fear", "sad", "contempt")
NEUTRAL: Final = "neutral"

AFTER_S: Final = (0.5, 3.0)  # after a marker, where a response is summed up
ENOUGH_S: Final = 30.0  # of sure answers, below which a session says too little for a trend
ENOUGH_SHARE: Final = 0.25  # and the share of the time that must have had a sure answer
_PAUSE_S: Final = 2.0  # segments further apart do not follow each other
_MOMENT_APART_S: Final = 5.0  # and so are two best moments
_MOMENTS: Final = 10


@dataclass(frozen=True)
class Shares:
    """How much of its time a face, a recording or several of them showed each class.

    Attributes:
        labels: the classes, then `uncertain`, then the sums of `summed`.
        estimates: one for each.
        weighted: mean probability of each class, over sure and unsure answers.
        looks: effective number of independent looks; for several recordings, how many.
        unit: what was counted: "looks", "recordings" or "people".
    """

    labels: tuple[str, ...]
    estimates: tuple[Estimate, ...]
    weighted: tuple[float, ...]
    looks: float
    unit: str

    def of(self, label: str) -> Estimate:
        """The estimate of one label."""
        return self.estimates[self.labels.index(label)]

    def ordered(self, classes: Sequence[str]) -> list[tuple[str, Estimate]]:
        """Those of some labels, the largest first."""
        found = [(label, self.of(label)) for label in classes]
        return sorted(found, key=lambda item: -item[1].value)


def summed(labels: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Sums of classes that have a name of their own, as far as there are such classes."""
    parts = {
        "expressive": [i for i, label in enumerate(labels) if label != NEUTRAL],
        "pleasant": [i for i, label in enumerate(labels) if label in PLEASANT],
        "unpleasant": [i for i, label in enumerate(labels) if label in UNPLEASANT],
    }
    if NEUTRAL not in labels:
        del parts["expressive"]
    return {name: tuple(which) for name, which in parts.items() if which}


def _columns(track: Track, labels: Sequence[str]) -> FloatArray:
    """Seconds `(N, C)` by class, uncertain, and by sums of classes."""
    sums = [track.shown_s[:, list(which)].sum(1) for which in summed(labels).values()]
    return np.column_stack([track.shown_s, track.uncertain_s, *sums])


def shares_of(track: Track, labels: Sequence[str]) -> Shares:
    """The shares of one track, or of several together."""
    estimates, looks = shares_over_time(_columns(track, labels), track.seen_s)
    weighted = track.probs_s.sum(0) / max(track.total_s, 1e-12)
    named = (*labels, "uncertain", *summed(labels))
    return Shares(named, tuple(estimates), tuple(weighted.tolist()), looks, "looks")


@dataclass(frozen=True)
class Unit:
    """A recording, or all those of one person, as one row of a comparison."""

    group: str
    shares: FloatArray  # (C,), the columns of `Shares`
    weighted: FloatArray  # (K,)


def units_of(
    recordings: Sequence[Recording], labels: Sequence[str], members: Sequence[Member]
) -> list[Unit]:
    """One unit a recording with a face, or a person where these are named.

    A person of two groups is one unit in each of them.
    """
    rows: dict[tuple[str, object], list[tuple[FloatArray, FloatArray]]] = defaultdict(list)
    for number, recording in enumerate(recordings):
        track = recording.together()
        if track.total_s > 0:
            member = member_of(recording, members)
            key = (member.group, member.person or number)
            shares = _columns(track, labels).sum(0) / track.total_s
            rows[key].append((shares, track.probs_s.sum(0) / track.total_s))
    return [
        Unit(group, *(np.mean([row[i] for row in parts], axis=0) for i in (0, 1)))
        for (group, _), parts in rows.items()
    ]


def member_of(recording: Recording, members: Sequence[Member]) -> Member:
    """What the groups say about a recording: by its source, or by the table that holds it."""
    for spoken_of in (recording.source, str(recording.table)):
        for member in members:
            if names(member.source, spoken_of):
                return member
    return Member(recording.source)


def overall(
    recordings: Sequence[Recording], labels: Sequence[str], members: Sequence[Member]
) -> Shares | None:
    """The shares of all recordings, each counted once; None where no face was seen."""
    with_face = [recording for recording in recordings if recording.tracks]
    if len(with_face) == 1:
        return shares_of(with_face[0].together(), labels)
    units = units_of(with_face, labels, [Member(m.source, "", m.person) for m in members])
    if not units:
        return None
    estimates = shares_over_units(np.stack([unit.shares for unit in units]))
    weighted = np.mean([unit.weighted for unit in units], axis=0)
    people = any(member_of(recording, members).person for recording in with_face)
    pictures = not any(recording.is_video for recording in with_face)
    unit = "people" if people else "pictures" if pictures else "recordings"
    named = (*labels, "uncertain", *summed(labels))
    return Shares(named, tuple(estimates), tuple(weighted.tolist()), float(len(units)), unit)


def transitions(recordings: Sequence[Recording], labels: Sequence[str]) -> np.ndarray[
    tuple[int, int], np.dtype[np.int64]
]:
    """How often one expression of a face was followed by another within two seconds: `(K, K)`."""
    counts = np.zeros((len(labels), len(labels)), np.int64)
    for recording in recordings:
        for track in recording.tracks:
            for first, then in pairwise(track.segments):
                if then.start_s - first.end_s <= _PAUSE_S:
                    counts[labels.index(first.expression), labels.index(then.expression)] += 1
    return counts


@dataclass(frozen=True)
class Reaction:
    """What faces showed around the markers of one label, against the second before.

    Attributes:
        label: of the markers.
        curves: `(3, T, K)` mean change of each probability, and the ends of its interval.
        changes: of each class, mean over `AFTER_S`.
        n: how many units were averaged.
        unit: "recordings", or "occurrences" of the marker within one.
        missed: occurrences around which no face was seen.
    """

    label: str
    curves: FloatArray
    changes: tuple[Estimate, ...]
    n: int
    unit: str
    missed: int


def reactions(recordings: Sequence[Recording], expected: Sequence[str]) -> list[Reaction]:
    """One a marker's label, in the order given. `expected` names a label once per occurrence."""
    found = []
    for label in dict.fromkeys(expected):
        by_recording = []
        for recording in recordings:
            changes = [
                change
                for response in recording.responses
                if response.label == label
                and (change := _change(response.seen_s, response.probs_s)) is not None
            ]
            if changes:
                by_recording.append(np.stack(changes))
        seen = sum(map(len, by_recording))
        if not by_recording:
            continue
        if len(by_recording) == 1:
            units, unit = by_recording[0], "occurrences"
        else:
            units, unit = np.stack([_mean(parts) for parts in by_recording]), "recordings"
        found.append(_reaction(label, units, unit, max(0, expected.count(label) - seen)))
    return found


def _mean(rows: FloatArray) -> FloatArray:
    """Mean over the first axis of what is known; NaN where nothing is."""
    known = ~np.isnan(rows)
    sums = np.where(known, rows, 0).sum(0)
    return np.asarray(np.where(known.any(0), sums / np.maximum(known.sum(0), 1), np.nan))


def _change(seen_s: FloatArray, probs_s: FloatArray) -> FloatArray | None:
    """Probabilities `(T, K)` minus their mean in the second before; None without a base."""
    before = OFFSETS_S < -1e-9
    base_s = seen_s[before].sum()
    if base_s <= 0 or seen_s[~before].sum() <= 0:
        return None
    base = probs_s[before].sum(0) / base_s
    values = probs_s / np.where(seen_s > 0, seen_s, np.nan)[:, None]
    return np.asarray(values - base)


def _reaction(label: str, units: FloatArray, unit: str, missed: int) -> Reaction:
    estimates = [
        [mean_interval(column[~np.isnan(column)]) for column in units[:, t].T]
        for t in range(units.shape[1])
    ]
    curves = np.array([[[e.value, e.low, e.high] for e in row] for row in estimates])
    after = (OFFSETS_S >= AFTER_S[0] - 1e-9) & (OFFSETS_S < AFTER_S[1] - 1e-9)
    means = np.stack([_mean(unit_rows[after]) for unit_rows in units])
    changes = tuple(mean_interval(column[~np.isnan(column)]) for column in means.T)
    return Reaction(label, curves.transpose(2, 0, 1), changes, len(units), unit, missed)


@dataclass(frozen=True)
class Difference:
    """One group against another.

    Attributes:
        first, second: names of the groups; positive figures mean more in the second.
        n: units in each.
        rows: for each label means of both, Hedges' g, Cliff's delta.
    """

    first: str
    second: str
    n: tuple[int, int]
    rows: tuple[tuple[str, float, float, Estimate, Estimate], ...]


def differences(units: Sequence[Unit], labels: Sequence[str]) -> list[Difference]:
    """Every group against the first one."""
    groups: dict[str, list[FloatArray]] = defaultdict(list)
    for unit in units:
        if unit.group:
            groups[unit.group].append(unit.shares)
    if len(groups) < 2:
        return []
    named = (*labels, "uncertain", *summed(labels))
    (first, base), *others = ((name, np.stack(rows)) for name, rows in groups.items())
    found = []
    for second, rows in others:
        compared = []
        for k, label in enumerate(named):
            g, delta = group_difference(base[:, k], rows[:, k])
            means = float(base[:, k].mean()), float(rows[:, k].mean())
            compared.append((label, *means, g, delta))
        found.append(Difference(first, second, (len(base), len(rows)), tuple(compared)))
    return found


@dataclass(frozen=True)
class Session:
    """One table as one day's recording.

    Attributes:
        name: of the table.
        day: when it was.
        shares: None where no face was seen.
        recorded_s, face_s, sure_s: how long it was, how long a face was in sight, and was read.
        enough: whether there is enough of it for a trend.
    """

    name: str
    day: date
    shares: Shares | None
    recorded_s: float
    face_s: float
    sure_s: float
    enough: bool


def sessions(recordings: Sequence[Recording], labels: Sequence[str], members: Sequence[Member]) -> (
    list[Session]
):
    """One a table, in order of time: by the date that the groups say, or the file's."""
    by_table: dict[str, list[Recording]] = defaultdict(list)
    for recording in recordings:
        by_table[str(recording.table)].append(recording)
    found = []
    for parts in by_table.values():
        day = next((m.day for part in parts if (m := member_of(part, members)).day), None)
        table = parts[0].table
        if day is None:
            day = datetime.fromtimestamp(table.stat().st_mtime, UTC).date()
        recorded_s = sum(part.quality.recorded_s for part in parts)
        face_s = sum(part.quality.face_s for part in parts)
        sure_s = face_s - sum(part.quality.uncertain_s for part in parts)
        enough = sure_s >= ENOUGH_S and sure_s >= ENOUGH_SHARE * recorded_s
        shares = overall(parts, labels, [])
        found.append(Session(table.name, day, shares, recorded_s, face_s, sure_s, enough))
    return sorted(found, key=lambda session: (session.day, session.name))


def trends(found: Sequence[Session], labels: Sequence[str]) -> dict[str, Estimate]:
    """Change in a week of each sum of classes, over the sessions with enough in them."""
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


def audience(recordings: Sequence[Recording], labels: Sequence[str], points: int) -> Audience | None:
    """Everybody's faces on one axis of time, thinned to so many points; None without a video."""
    videos = [recording for recording in recordings if recording.is_video and recording.tracks]
    if not videos:
        return None
    width_s = max(video.width_s for video in videos)
    length_s = max(v.end_s for v in videos) - min(v.start_s for v in videos)
    while length_s / width_s > points:
        width_s *= 2
    tracks = [(track, round(width_s / v.width_s)) for v in videos for track in v.tracks]
    everybody = together(tracks, len(labels))
    shown = np.column_stack([everybody.shown_s, everybody.uncertain_s])
    shown /= np.maximum(everybody.seen_s, 1e-12)[:, None]
    times_s = everybody.index * width_s
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


def total_quality(recordings: Sequence[Recording]) -> Quality:
    """The sums over several recordings."""
    total = Quality()
    for recording in recordings:
        part = recording.quality
        for name, value in vars(part).items():
            joined = max if name == "longest_step_s" else lambda a, b: a + b
            setattr(total, name, joined(getattr(total, name), value))
    return total


