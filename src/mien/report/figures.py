"""What a page's charts and tables are drawn from, as numbers: `figures_of`. Imports numpy, from
mien companions, and the siblings `contrasts`, `findings`, `material`, `reactions`, `recording` and
`statistics`.

Nothing is computed here: every figure comes from the functions that the sections of the page call.
docs/reports.md says what each of them means.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from math import isnan
from typing import Any, Final

import numpy as np

from mien.companions import Member
from mien.report.contrasts import Difference, Session, differences, sessions, trends
from mien.report.findings import (
    Shares,
    changes_per_minute,
    overall,
    shares_of,
    told_by,
    transitions,
    units_of,
)
from mien.report.material import Material
from mien.report.reactions import AFTER_S, Reaction, reactions
from mien.report.recording import OFFSETS_S, Recording, Track, together
from mien.report.statistics import Estimate

#: Changes when a name or the meaning of a figure changes; what is added leaves it as it is.
FIGURES_SCHEMA: Final = "mien-figures/1"


def figures_of(material: Material) -> dict[str, Any]:
    """The figures as plain JSON types; what is not known is None.

    Names and single faces are in it whatever the view.
    """
    labels, members = material.labels, material.members
    said_of = told_by(members)
    shares = overall(material.recordings, labels, members)
    tracks = [track for video in material.videos for track in video.tracks]
    units = units_of(material.recordings, labels, members)
    found = sessions(material.recordings, labels, members) if material.over_time else []
    slopes = trends(found, labels) if len(found) > 1 else {}
    moments = reactions(material.recordings, material.markers, members)
    figures = {
        "schema": FIGURES_SCHEMA,
        "labels": labels,
        "recordings": [
            _recording(recording, title, said_of(recording), labels)
            for recording, title in material.titles.items()
        ],
        "overall": shares and {"unit": shares.unit, **_shares(shares), **_course(tracks, labels)},
        "reactions": [_reaction(reaction, labels) for reaction in moments if reaction.n],
        "groups": [_difference(pair, material.unit) for pair in differences(units, labels)],
        "sessions": [_session(session) for session in found],
        "trends": slopes.pop("", {}),
        "trends_by_person": slopes,
        "problems": material.problems,
    }
    plain: dict[str, Any] = _plain(figures)
    return plain


def _recording(
    recording: Recording, title: str, member: Member, labels: Sequence[str]
) -> dict[str, Any]:
    return {
        "table": recording.table_name,
        "source": recording.name,
        "title": title,
        "video": recording.is_video,
        "models": recording.models,
        "group": member.group or None,
        "person": member.person or None,
        "date": member.day,
        "recorded_s": recording.quality.recorded_s,
        "with_face_s": recording.quality.with_face_s,
        **_shown(recording.tracks, labels, timed=recording.is_video),
        "faces": [
            {
                "track_id": track.number,
                "track_ids": track.numbers,
                "person": track.person,
                **_shown([track], labels, timed=recording.is_video),
            }
            for track in recording.tracks
        ],
    }


def _shown(tracks: Sequence[Track], labels: Sequence[str], *, timed: bool) -> dict[str, Any]:
    """What some faces of one recording showed, all together."""
    whole = together(tracks, len(labels))
    shares = shares_of(whole, labels) if tracks else None
    return {
        "in_sight_s": whole.total_s,
        "sure_s": float(whole.shown_s.sum()),
        **_shares(shares),
        **_course(tracks if timed else (), labels),
    }


def _shares(shares: Shares | None) -> dict[str, Any]:
    if shares is None:
        return {"looks": 0.0, "shares": None, "weighted": None}
    return {
        "looks": shares.looks,
        "shares": dict(zip(shares.labels, shares.estimates, strict=True)),
        "weighted": dict(zip(shares.labels, shares.weighted, strict=False)),  # the classes alone
    }


def _course(tracks: Sequence[Track], labels: Sequence[str]) -> dict[str, Any]:
    """What followed what in videos."""
    segments = Counter(segment.expression for track in tracks for segment in track.segments)
    return {
        "segments": {label: segments[label] for label in labels},
        "transitions": transitions(tracks, labels),
        "changes_per_minute": changes_per_minute(tracks, labels),
    }


def _reaction(reaction: Reaction, labels: Sequence[str]) -> dict[str, Any]:
    ends = ("value", "low", "high")
    return {
        "label": reaction.label,
        "n": reaction.n,
        "unit": reaction.unit,
        "averaged": reaction.averaged,
        "missed": sum(reaction.missed.values()),
        "missed_why": dict(reaction.missed),
        "after_s": AFTER_S,
        "changes": dict(zip(labels, reaction.changes, strict=True)),
        "offsets_s": OFFSETS_S,
        "curves": {
            label: dict(zip(ends, reaction.curves[:, :, k], strict=True))
            for k, label in enumerate(labels)
        },
    }


def _difference(pair: Difference, unit: str) -> dict[str, Any]:
    return {
        "first": pair.first,
        "second": pair.second,
        "n": pair.n,
        "unit": unit,
        "both": pair.both,
        "shares": {
            label: {"first": first, "second": second, "hedges_g": g, "cliffs_delta": delta}
            for label, first, second, g, delta in pair.rows
        },
    }


def _session(session: Session) -> dict[str, Any]:
    return {
        "table": session.name,
        "person": session.person or None,
        "date": session.day,
        "recorded_s": session.recorded_s,
        "in_sight_s": session.face_s,
        "sure_s": session.sure_s,
        "enough": bool(session.enough),
        **_shares(session.shares),
    }


def _plain(value: Any) -> Any:
    """JSON has no estimates, arrays, days and NaN."""
    if isinstance(value, Estimate):
        return _plain(vars(value))
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, date):
        return value.isoformat()
    return None if isinstance(value, float) and isnan(value) else value
