"""How much of each expression: shares, units, what followed what, quality. Imports numpy, from
mien companions, and the siblings `recording` and `statistics`.

Every figure has its interval where one can be had. Shares are of the time a face was in sight, and
of sure answers only: what was `uncertain` is a share of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from mien.companions import Member, names_of
from mien.report.recording import FloatArray, Quality, Recording, Track, timed
from mien.report.statistics import Estimate, shares_over_time, shares_over_units

#: What is added up as pleasant and as unpleasant. Surprise may be either, and counts as neither.
PLEASANT: Final = ("happy",)
UNPLEASANT: Final = ("angry", "disgust", "fear", "sad", "contempt")
NEUTRAL: Final = "neutral"

_PAUSE_S: Final = 2.0  # segments further apart do not follow each other


@dataclass(frozen=True)
class Shares:
    """How much of its time a face, a recording or several of them showed each class.

    Attributes:
        labels: those of `share_labels`.
        estimates: one for each.
        weighted: mean probability of each class, over sure and unsure answers.
        looks: effective number of independent looks; for several recordings, how many.
        unit: what was counted: "looks", "recordings", "pictures" or "people".
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


def meaning(name: str, labels: Sequence[str]) -> str:
    """What a sum of these classes holds, for readers."""
    if name == "expressive":
        return f"anything but {NEUTRAL}"
    return ", ".join(labels[i] for i in summed(labels)[name])


def share_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """What a share is told of: each class, `uncertain`, and the sums of classes."""
    return (*labels, "uncertain", *summed(labels))


def _columns(track: Track, labels: Sequence[str]) -> FloatArray:
    """Seconds `(N, C)` of each of `share_labels`."""
    sums = [track.shown_s[:, list(which)].sum(1) for which in summed(labels).values()]
    return np.column_stack([track.shown_s, track.uncertain_s, *sums])


def shares_of(track: Track, labels: Sequence[str]) -> Shares:
    """The shares of one track, or of several together."""
    estimates, looks = shares_over_time(_columns(track, labels), track.seen_s)
    weighted = track.probs_s.sum(0) / max(track.total_s, 1e-12)
    return Shares(share_labels(labels), tuple(estimates), tuple(weighted.tolist()), looks, "looks")


@dataclass(frozen=True)
class Unit:
    """A recording, or all those of one person, as one row of a comparison."""

    group: str
    person: str  # empty where nobody says
    shares: FloatArray  # (C,), the columns of `Shares`
    weighted: FloatArray  # (K,)


def units_of(
    recordings: Sequence[Recording], labels: Sequence[str], members: Sequence[Member]
) -> list[Unit]:
    """One unit a recording with a face, or a person where these are named, group by group as named.

    A person of two groups is one unit in each of them. Pictures count where there are no videos.
    """
    said_of = told_by(members)
    rows: dict[tuple[str, str | int], list[tuple[FloatArray, FloatArray]]] = defaultdict(list)
    for number, recording in enumerate(timed(recordings)):
        track = recording.together()
        if track.total_s > 0:
            member = said_of(recording)
            key = (member.group, member.person or number)
            shares = _columns(track, labels).sum(0) / track.total_s
            rows[key].append((shares, track.probs_s.sum(0) / track.total_s))
    groups = [*dict.fromkeys(member.group for member in members), ""]
    return [
        Unit(
            group,
            who if isinstance(who, str) else "",
            *(np.mean([row[i] for row in parts], axis=0) for i in (0, 1)),
        )
        for (group, who), parts in sorted(rows.items(), key=lambda row: groups.index(row[0][0]))
    ]


def told_by(members: Sequence[Member]) -> Callable[[Recording], Member]:
    """What the groups say about a recording: by its source, or by the table that holds it; of each
    by its full name before its last part.
    """
    by_name = {member.source: member for member in members}

    def said_of(recording: Recording) -> Member:
        spoken_of = (*names_of(recording.source), *names_of(str(recording.table)))
        known = (by_name[name] for name in spoken_of if name in by_name)
        return next(known, Member(recording.source))

    return said_of


def overall(
    recordings: Sequence[Recording], labels: Sequence[str], members: Sequence[Member]
) -> Shares | None:
    """The shares of all recordings, or people, each counted once; None where no face was seen.

    Of pictures only where there are no videos.
    """
    with_face = [recording for recording in timed(recordings) if recording.tracks]
    if not with_face:
        return None
    if len(with_face) == 1:
        return shares_of(with_face[0].together(), labels)
    people = [Member(member.source, "", member.person) for member in members if member.person]
    units = units_of(with_face, labels, people)
    each = "recordings" if any(recording.is_video for recording in with_face) else "pictures"
    unit = "people" if people else each
    if len(units) == 1:  # one person's recordings: then it is they that vary
        units, unit = units_of(with_face, labels, []), each
    if not units:
        return None
    estimates = shares_over_units(np.stack([found.shares for found in units]))
    weighted = np.mean([found.weighted for found in units], axis=0)
    return Shares(
        share_labels(labels),
        tuple(estimates),
        tuple(weighted.tolist()),
        float(len(units)),
        unit,
    )


def transitions(
    tracks: Sequence[Track], labels: Sequence[str]
) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """How often one expression of a face was followed by another within two seconds: `(K, K)`."""
    counts = np.zeros((len(labels), len(labels)), np.int64)
    for track in tracks:
        for first, then in pairwise(track.segments):
            if then.start_s - first.end_s <= _PAUSE_S:
                counts[labels.index(first.expression), labels.index(then.expression)] += 1
    return counts


def changes_per_minute(tracks: Sequence[Track], labels: Sequence[str]) -> float:
    """Transitions to another expression in a minute in sight; NaN where nobody was."""
    counts = transitions(tracks, labels)
    seen_s = sum(track.total_s for track in tracks)
    return 60 * float(counts.sum() - counts.trace()) / seen_s if seen_s > 0 else float("nan")


def total_quality(recordings: Sequence[Recording]) -> Quality:
    """The sums over several recordings."""
    total = Quality()
    for recording in recordings:
        part = recording.quality
        for name, value in vars(part).items():
            so_far = getattr(total, name)
            longest = name == "longest_step_s"
            setattr(total, name, max(so_far, value) if longest else so_far + value)
    return total
