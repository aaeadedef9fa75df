"""What was shown over time: by single faces, and by everybody together. Imports numpy, from mien
events, wording, and the siblings `charts`, `contrasts`, `findings`, `material`, `page`, `recording`
and `words`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from mien.events import Segment
from mien.report.charts import SHARES, clock, legend, plot, stacked_areas, strip, time_axis
from mien.report.contrasts import Audience, audience
from mien.report.findings import NEUTRAL, shares_of
from mien.report.material import CROWD, Material, interval, length
from mien.report.page import Html, folded, quiet, section, table, tag
from mien.report.recording import FloatArray, Recording, Track, together
from mien.report.words import MOMENTS, NO_AUDIENCE, TIMELINES
from mien.wording import counted, percent

_POINTS: Final = 240  # of a curve over time, and rows of its table
_FACES: Final = 8  # with a timeline of their own
_BARS: Final = 200  # segments below a timeline


def timelines(material: Material) -> Iterator[Html]:
    """What single faces showed over time."""
    faces = material.faces
    if not faces:
        return
    content: list[Html] = [legend([(label, material.mark(label)) for label in material.labels])]
    content.append(quiet(TIMELINES))
    for recording, track in faces[:_FACES]:
        content += _timeline(material, recording, track)
    if len(faces) > _FACES:
        more = counted(len(faces) - _FACES, "more face")
        content.append(quiet(f"{more}, in sight for a shorter time, without a chart here."))
    yield section("timelines", "Over time, face by face", *content)


def _timeline(material: Material, recording: Recording, track: Track) -> Iterator[Html]:
    name = material.face_title(recording, track)
    span_s = (recording.start_s, recording.end_s)
    spans, width_s = 1, recording.width_s
    while (span_s[1] - span_s[0]) / width_s > _POINTS:
        spans, width_s = 2 * spans, 2 * width_s
    thin = together([replace(track, index=track.index // spans)], len(material.labels))
    times_s = thin.index.astype(np.float64) * width_s
    seen_s = np.maximum(thin.seen_s, 1e-12)
    probs, unsure = thin.probs_s / seen_s[:, None], thin.uncertain_s / seen_s
    drawn = sorted(track.segments, key=lambda segment: -segment.duration_s)[:_BARS]
    drawn.sort(key=lambda segment: segment.start_s)
    said = _said_of(material, track)
    if len(drawn) < len(track.segments):
        said += f" The bar shows the {_BARS} longest of {len(track.segments):,} segments."
    marks = [material.mark(label) for label in material.labels]
    words = f"Probability of each expression over time: {name}. {said}"
    areas = stacked_areas(times_s, width_s, probs, marks, span_s, label=words)
    bars = [
        (s.start_s, s.end_s, material.mark(s.expression), f"{s.expression}, {_from_to(s)}")
        for s in drawn
    ]
    below = strip(bars, span_s, label=f"{counted(len(drawn), 'segment')} of {name}, listed below")
    yield tag("h3", name)
    chart = plot(areas, SHARES, time_axis(span_s), below)
    yield tag("figure", chart, tag("figcaption", said))
    caption = f"{name}: mean probabilities in spans of {width_s:g} s; uncertain: share of answers"
    curve = _curve_table(caption, material.labels, times_s, probs, unsure)
    yield folded("The curve as a table", curve)
    if drawn:
        yield folded("The segments as a table", _segment_table(name, drawn))


def _said_of(material: Material, track: Track) -> str:
    found = shares_of(track, material.labels)
    most, estimate = found.ordered(material.labels)[0]
    sight = f"In sight for {length(track.total_s)}"
    if not estimate.value > 0:
        return f"{sight}, without a sure answer."
    return (
        f"{sight}, for {percent(found.of('uncertain').value)} of it uncertain. The most frequent "
        f"sure answer was {most}: {percent(estimate.value)}, 95% interval {interval(estimate)}."
    )


def _curve_table(
    caption: str,
    labels: Sequence[str],
    times_s: FloatArray,
    probs: FloatArray,
    unsure: FloatArray,
) -> Html:
    rows = [
        (clock(time_s, fine=True), *map(percent, values), percent(share))
        for time_s, values, share in zip(times_s, probs, unsure, strict=True)
    ]
    return table(("from", *labels, "uncertain"), rows, caption=caption)


def _segment_table(name: str, segments: list[Segment]) -> Html:
    rows = [(_from_to(s), s.expression, percent(s.mean), percent(s.peak)) for s in segments]
    heads = ("from, to", "expression", "mean", "peak")
    return table(heads, rows, caption=f"{name}: segments")


def _from_to(segment: Segment) -> str:
    return f"{clock(segment.start_s, fine=True)} to {clock(segment.end_s, fine=True)}"


def everybody(material: Material) -> Iterator[Html]:
    """All faces at the same moments, and the best of these."""
    heading = "Everybody together"
    found = audience(material.recordings, material.labels, _POINTS)
    faces = len(material.faces)
    asked = "audience" in material.view.asks_for
    if found is None:
        if asked:
            yield section("audience", heading, tag("p", NO_AUDIENCE))
        return
    # A timeline shows the one face already, and unrelated recordings have no time in common.
    related = faces > 1 and (len(material.videos) == 1 or bool(material.markers))
    if not (asked or related):
        return
    names = (*material.labels, "uncertain")
    marks = [material.mark(name) for name in names]
    said = (
        f"Share of the faces in sight that showed each expression, with sure answers: "
        f"{counted(faces, 'face')} of {counted(len(material.videos), 'recording')}, laid over each "
        "other at their beginnings."
    )
    begin_s = min(video.start_s for video in material.videos if video.tracks)
    span_s = begin_s, max(found.times_s[-1] + found.width_s, begin_s)
    chart = stacked_areas(found.times_s, found.width_s, found.shown, marks, span_s, label=said)
    content: list[Html] = [
        legend(list(zip(names, marks, strict=True))),
        tag("figure", plot(chart, SHARES, time_axis(span_s)), tag("figcaption", said)),
        folded("The curve as a table", _audience_table(found, names)),
    ]
    if faces < CROWD and material.view.anonymous:
        few = f"A mean of fewer than {CROWD} faces may describe a single person."
        content.append(tag("p", few, class_="notice"))
    if found.moments:
        content += [tag("h3", "Best moments"), _moments(material, found)]
    yield section("audience", heading, *content)


def _audience_table(found: Audience, names: tuple[str, ...]) -> Html:
    rows = [
        (clock(time_s, fine=True), f"{people:.1f}", *map(percent, shares))
        for time_s, people, shares in zip(found.times_s, found.people, found.shown, strict=True)
    ]
    caption = f"Faces in sight and what they showed, in spans of {found.width_s:g} s"
    return table(("from", "faces", *names), rows, caption=caption)


def _moments(material: Material, found: Audience) -> Html:
    active = [i for i, label in enumerate(material.labels) if label != NEUTRAL]
    rows = []
    for at, lifted in zip(found.moments, found.lifted, strict=True):
        share = percent(float(found.shown[at, active].sum()))
        people = f"{found.people[at]:.1f}"
        when = clock(found.times_s[at], fine=True)
        rows.append((when, share, material.labels[lifted], people))
    heads = ("from", "showed an expression", "rose most", "faces in sight")
    return table(heads, rows, caption=MOMENTS)
