"""What faces showed around moments, one by one and averaged. Imports numpy, from mien companions,
and the siblings `findings`, `recording` and `statistics`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from mien.companions import Marker, Member
from mien.report.findings import told_by
from mien.report.recording import OFFSETS_S, FloatArray, Recording, Who
from mien.report.statistics import Estimate, mean_interval

AFTER_S: Final = (0.5, 3.0)  # after a marker, where a response is summed up

#: Why a marker says nothing about a recording.
BEGINNING: Final = "beginning"
OUTSIDE: Final = "outside"
NOBODY: Final = "nobody"

_HAIR_S: Final = 1e-6  # clocks are rounded


@dataclass(frozen=True)
class Occurrence:
    """One marker in one recording.

    Attributes:
        label: the marker's.
        recording: which one, by its place.
        person: whose recording it is; empty where nobody says.
        changes: for each face in sight both in the second before and after it, `(T, K)`: its
            probabilities minus their own mean in that second.
        missed: `BEGINNING` where the recording has no second before it, `OUTSIDE` where it lies
            before or after the recording, `NOBODY` where there was no such face; else empty.
    """

    label: str
    recording: int
    person: str
    changes: Mapping[Who, FloatArray]
    missed: str


def occurrences(recordings: Sequence[Recording], members: Sequence[Member]) -> list[Occurrence]:
    """One for every marker and every video that it concerns."""
    found, said_of = [], told_by(members)
    for place, recording in enumerate(recordings):
        person = said_of(recording).person
        for response in recording.responses if recording.is_video else ():
            changes = {
                who: change
                for who, sums in response.faces.items()
                if (change := _change(sums)) is not None
            }
            missed = "" if changes else _why(recording, response.time_s)
            found.append(Occurrence(response.label, place, person, changes, missed))
    return found


def _change(sums: FloatArray) -> FloatArray | None:
    """Probabilities `(T, K)` minus their mean in the second before; None if unseen in either."""
    seen_s, probs_s = sums[:, 0], sums[:, 1:]
    before = OFFSETS_S < -_HAIR_S
    base_s = seen_s[before].sum()
    if base_s <= 0 or seen_s[~before].sum() <= 0:
        return None
    values = probs_s / np.where(seen_s > 0, seen_s, np.nan)[:, None]
    return np.asarray(values - probs_s[before].sum(0) / base_s)


def _why(recording: Recording, time_s: float) -> str:
    if not recording.start_s - _HAIR_S <= time_s < recording.end_s:
        return OUTSIDE
    return BEGINNING if time_s <= recording.start_s + _HAIR_S else NOBODY


@dataclass(frozen=True)
class Reaction:
    """What faces showed around the markers of one label, against the second before.

    Attributes:
        label: of the markers.
        n: how many units the intervals count; 0 where every occurrence was missed.
        unit: "people", "recordings"; within one recording "faces", or "occurrences" of the marker.
        averaged: how many units were averaged. More than `n` where faces left and came back without
            a name, and may be the same person's.
        curves: `(3, T, K)` mean change of each probability, and the ends of its interval.
        changes: of each class, mean over `AFTER_S`.
        missed: how many occurrences were, and why: counts by `Occurrence.missed`.
    """

    label: str
    n: int
    unit: str
    averaged: int
    curves: FloatArray
    changes: tuple[Estimate, ...]
    missed: Mapping[str, int]


def reactions(
    recordings: Sequence[Recording], markers: Sequence[Marker], members: Sequence[Member]
) -> list[Reaction]:
    """One for every label, in the order given, that concerns a recording.

    Every unit counts once, by its mean: people where some are named, else recordings; within one
    recording its faces, or for one face alone the occurrences.
    """
    by_label: dict[str, list[Occurrence]] = defaultdict(list)
    for occurrence in occurrences(recordings, members):
        by_label[occurrence.label].append(occurrence)
    labels = dict.fromkeys(marker.label for marker in markers)
    return [_reaction(label, by_label[label]) for label in labels if label in by_label]


def _reaction(label: str, found: Sequence[Occurrence]) -> Reaction:
    missed = Counter(occurrence.missed for occurrence in found if occurrence.missed)
    unit, n, rows = _units([occurrence for occurrence in found if occurrence.changes])
    if not rows:
        return Reaction(label, 0, unit, 0, np.zeros((3, 0, 0)), (), missed)
    units = np.stack([_mean(np.stack(parts)) for parts in rows])
    over_time = [_means(units[:, t], n) for t in range(units.shape[1])]
    curves = np.array([[[e.value, e.low, e.high] for e in row] for row in over_time])
    after = (AFTER_S[0] - 1e-9 <= OFFSETS_S) & (AFTER_S[1] - 1e-9 > OFFSETS_S)
    changes = tuple(_means(np.stack([_mean(one[after]) for one in units]), n))
    return Reaction(label, n, unit, len(units), curves.transpose(2, 0, 1), changes, missed)


def _units(found: Sequence[Occurrence]) -> tuple[str, int, list[list[FloatArray]]]:
    """What is counted, how many of them are surely different, and the changes of each.

    Faces without a name may be one person's, except those seen around one occurrence.
    """
    people: dict[str | int, list[FloatArray]] = defaultdict(list)
    recordings: dict[int, list[FloatArray]] = defaultdict(list)
    faces: dict[Who, list[FloatArray]] = defaultdict(list)
    for occurrence in found:
        for who, change in occurrence.changes.items():
            people[occurrence.person or occurrence.recording].append(change)
            recordings[occurrence.recording].append(change)
            faces[who].append(change)
    if len(people) > 1 and any(occurrence.person for occurrence in found):
        return "people", len(people), list(people.values())
    if len(recordings) > 1:
        return "recordings", len(recordings), list(recordings.values())
    named = sum(isinstance(who, str) for who in faces)
    surely = max([named, *(len(occurrence.changes) for occurrence in found)], default=0)
    if surely > 1:
        return "faces", surely, list(faces.values())
    return "occurrences", len(found), [list(occurrence.changes.values()) for occurrence in found]


def _means(units: FloatArray, n: int) -> list[Estimate]:
    """The mean of each column over the units `(N, K)` of which it is known; its interval ends
    where changes of probabilities end, which Student's does not know.
    """
    found = [mean_interval(column[~np.isnan(column)], n) for column in units.T]
    return [Estimate(e.value, *np.clip((e.low, e.high), -1.0, 1.0).tolist()) for e in found]


def _mean(rows: FloatArray) -> FloatArray:
    """Mean over the first axis of what is known; NaN where nothing is."""
    known = ~np.isnan(rows)
    sums = np.where(known, rows, 0).sum(0)
    return np.asarray(np.where(known.any(0), sums / np.maximum(known.sum(0), 1), np.nan))
