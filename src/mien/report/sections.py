"""What was shown: the sections on all recordings together and on single faces. Imports the siblings
`charts`, `findings`, `material`, `page`, `recording`, `statistics` and `words`.

Each function writes one section of the page, and nothing where there is nothing to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from typing import Final

import numpy as np

from mien.events import Segment
from mien.report.charts import clock, legend, plot, share_bar, stacked_areas, strip, time_axis
from mien.report.findings import (
    NEUTRAL,
    Shares,
    changes_per_minute,
    overall,
    shares_of,
    summed,
    total_quality,
    transitions,
)
from mien.report.material import (
    NOTHING,
    Material,
    counted,
    interval,
    length,
    listed,
    percent,
    units,
)
from mien.report.page import Html, folded, join, quiet, section, table, tag, with_ends
from mien.report.recording import FloatArray, Recording, Track, together
from mien.report.words import NOT_FEELINGS, SHARES, SURE, TIMELINES, TRANSITIONS

POINTS: Final = 240  # of a curve over time, and rows of its table
_FACES: Final = 8  # with a timeline of their own
_ROWS: Final = 40  # faces in a table
_MOMENTS: Final = 20  # strongest ones in a table
_BARS: Final = 200  # segments below a timeline
_FEW: Final = 10  # units that say little about others


def meaning(name: str, labels: Sequence[str]) -> str:
    """What a sum of these classes holds, for readers."""
    if name == "expressive":
        return f"anything but {NEUTRAL}"
    return ", ".join(labels[i] for i in summed(labels)[name])


def summary(material: Material) -> Iterator[Html]:
    """In plain words: what there was, how much of it could be read, what it showed, how sure."""
    shares = overall(material.recordings, material.labels, material.members)
    videos = bool(material.videos)
    in_sight = _in_sight(material)
    figures = [(percent(in_sight), "with a face in sight", _of(material))]
    if shares is None:
        sentences = [f"{_what(material)}. No face was seen, and so nothing can be said about any."]
    else:
        sure = 1 - shares.of("uncertain").value
        of_sight = "of the time in sight" if videos else "of the faces"
        most, estimate = shares.ordered(material.labels)[0]
        figures.append((percent(sure), "read with a sure answer", of_sight))
        figures.append((percent(estimate.value), f"showed {most}", interval(estimate)))
        if "expressive" in shares.labels:
            expressive = shares.of("expressive")
            figures.append(
                (percent(expressive.value), "showed an expression", interval(expressive))
            )
        sentences = list(_sentences(material, shares, in_sight))
    tiles = (
        tag(
            "li",
            tag("span", figure, class_="big"),
            tag("span", what, class_="what"),
            tag("span", note, class_="quiet"),
        )
        for figure, what, note in figures
    )
    paragraphs = (tag("p", sentence) for sentence in sentences)
    content = (tag("ul", *tiles, class_="figures"), *paragraphs, quiet(NOT_FEELINGS))
    yield section("summary", "In short", *content)


def _what(material: Material) -> str:
    """What there was: `2 recordings of 3 min 5 s together and 7 pictures`."""
    parts = []
    if material.videos:
        long = length(sum(video.quality.recorded_s for video in material.videos))
        several = " together" if len(material.videos) > 1 else ""
        parts.append(f"{counted(len(material.videos), 'recording')} of {long}{several}")
    pictures = len(material.recordings) - len(material.videos)
    if pictures:
        parts.append(counted(pictures, "picture"))
    return listed(parts)


def _of(material: Material) -> str:
    return "of the time" if material.videos else "of the pictures"


def _in_sight(material: Material) -> float:
    total = total_quality(material.main)
    return total.with_face_s / max(total.recorded_s, 1e-12)


def _sentences(material: Material, shares: Shares, in_sight: float) -> Iterator[str]:
    unsure = shares.of("uncertain")
    of, while_in_sight = _of(material).removeprefix("of "), "of the time in sight"
    if not material.videos:
        while_in_sight = "of the faces"
    nobody = f", and for {percent(1 - in_sight)} there was nobody to read" if in_sight < 1 else ""
    yield (
        f"{_what(material)}. A face was in sight for {percent(in_sight)} of {of}{nobody}. The "
        f"model was too unsure to answer for {percent(unsure.value)} {while_in_sight} "
        f"({interval(unsure)}). {SURE}"
    )
    said = [
        f"{label} for {percent(estimate.value)} ({interval(estimate)})"
        for label, estimate in shares.ordered(material.labels)
        if estimate.value >= 0.01
    ]
    if said:
        yield f"With sure answers, faces showed {listed(said)} {while_in_sight}."
    if shares.unit == "looks":
        looks = counted(max(1, round(shares.looks)), "independent look")
        yield (
            "The ranges are 95% intervals. A moment resembles the one before it, so that this "
            f"recording says about as much as {looks} at a face would; the ranges allow for that."
        )
        return
    few = " So few say little about others." if shares.looks < _FEW else ""
    yield (
        f"The ranges are 95% intervals for the mean of others like these "
        f"{units(int(shares.looks), shares.unit)}, each of which counts once.{few}"
    )


def how_much(material: Material) -> Iterator[Html]:
    """How much of the time in sight each expression took."""
    found = overall(material.recordings, material.labels, material.members)
    if found is None:
        return
    content = [_share_table(material, found), quiet(SHARES)]
    faces = [(recording, track) for recording in material.videos for track in recording.tracks]
    if len(faces) > 1 and not material.view.anonymous:
        content.append(_face_table(material, faces))
    yield section("shares", "How much of each expression", *content)


def _share_table(material: Material, found: Shares) -> Html:
    ends = [e.value if e.high != e.high else e.high for e in found.estimates]
    top = min(1.0, ceil(10 * max(ends)) / 10)  # round, and with room for every interval
    weighted = dict(zip(material.labels, map(percent, found.weighted), strict=True))
    rows = []
    classes = [label for label, _ in found.ordered(material.labels)]
    sums = summed(material.labels)
    for label in (*classes, "uncertain", *sums):
        estimate, mark = found.of(label), material.mark(label)
        held = f" ({meaning(label, material.labels)})" if label in sums else ""
        note = tag("span", held, class_="quiet") if held else ""
        name = join((tag("span", class_=f"chip {mark}"), label, note))
        bar = tag("div", share_bar(estimate, mark, top), class_="bar")
        ends_of_it = interval(estimate, bare=True)
        rows.append((name, percent(estimate.value), ends_of_it, weighted.get(label, ""), bar))
    heads = ("expression", "sure answers", "95% interval", "weighted", f"0 to {percent(top)}")
    return table(heads, rows, caption="Share of the time in sight by expression")


def _face_table(material: Material, faces: list[tuple[Recording, Track]]) -> Html:
    faces = sorted(faces, key=lambda item: -item[1].total_s)
    named = ("uncertain", *summed(material.labels))
    rows = []
    for recording, track in faces[:_ROWS]:
        found = shares_of(track, material.labels)
        of = [found.of(label) for label in named]
        cells = [with_ends(percent(e.value), interval(e, bare=True)) for e in of]
        most, estimate = found.ordered(material.labels)[0]
        mostly = f"{most} {percent(estimate.value)}" if estimate.value > 0 else NOTHING
        name = _face_name(material, recording, track)
        rows.append((name, clock(track.total_s), mostly, *cells))
    more = f", the {_ROWS} longest in sight of {len(faces)}" if len(faces) > _ROWS else ""
    caption = f"Face by face{more}; in brackets 95% intervals"
    return table(("face", "in sight", "mostly", *named), rows, caption=caption, class_="names")


def _face_name(material: Material, recording: Recording, track: Track) -> str:
    name = material.title(recording)
    if track.number is None or (len(recording.tracks) == 1 and not track.person):
        return name
    face = track.person or f"face {track.number}"
    return face if len(material.recordings) == 1 else f"{name}, {face}"


def timelines(material: Material) -> Iterator[Html]:
    """What single faces showed over time."""
    faces = [(recording, track) for recording in material.videos for track in recording.tracks]
    faces.sort(key=lambda item: -item[1].total_s)
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
    name = _face_name(material, recording, track)
    span_s = (recording.start_s, recording.end_s)
    spans, width_s = 1, recording.width_s
    while (span_s[1] - span_s[0]) / width_s > POINTS:
        spans, width_s = 2 * spans, 2 * width_s
    thin = together([(track, spans)], len(material.labels))
    seen_s = np.maximum(thin.seen_s, 1e-12)
    times_s, probs = thin.index.astype(np.float64) * width_s, thin.probs_s / seen_s[:, None]
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
    chart = plot(areas, ("100%", "50%", "0"), time_axis(span_s), below)
    yield tag("figure", chart, tag("figcaption", said))
    yield folded("The curve as a table", _curve(material, name, width_s, times_s, probs, thin))
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


def _curve(
    material: Material,
    name: str,
    width_s: float,
    times_s: FloatArray,
    probs: FloatArray,
    thin: Track,
) -> Html:
    unsure = thin.uncertain_s / np.maximum(thin.seen_s, 1e-12)
    rows = [
        (clock(time_s, fine=True), *map(percent, values), percent(share))
        for time_s, values, share in zip(times_s, probs, unsure, strict=True)
    ]
    caption = f"{name}: mean probabilities in spans of {width_s:g} s; uncertain: share of answers"
    return table(("from", *material.labels, "uncertain"), rows, caption=caption)


def _segment_table(name: str, segments: list[Segment]) -> Html:
    rows = [(_from_to(s), s.expression, percent(s.mean), percent(s.peak)) for s in segments]
    heads = ("from, to", "expression", "mean", "peak")
    return table(heads, rows, caption=f"{name}: segments")


def _from_to(segment: Segment) -> str:
    return f"{clock(segment.start_s, fine=True)} to {clock(segment.end_s, fine=True)}"


def strongest(material: Material) -> Iterator[Html]:
    """The strongest peaks, with pictures where these may be shown."""
    found = [
        (recording, track.person or f"{track.number}", segment)
        for recording in material.videos
        for track in recording.tracks
        for segment in track.segments
        if segment.expression != NEUTRAL
    ]
    content: list[Html] = []
    if material.thumbnails:
        content.append(_pictures(material))
    if found:
        found.sort(key=lambda item: (-round(item[2].peak, 2), -item[2].duration_s, item[2].start_s))
        content.append(_moments(material, found))
    if content:
        yield section("segments", "Strongest moments", *content)


def _moments(material: Material, found: list[tuple[Recording, str, Segment]]) -> Html:
    several = len(material.videos) > 1
    rows = []
    for recording, face, s in found[:_MOMENTS]:
        where = (material.title(recording),) if several else ()
        when = clock(s.peak_s, fine=True), f"{s.duration_s:.1f} s"
        rows.append((*where, s.expression, face, *when, percent(s.mean), percent(s.peak)))
    recording_head = ("recording",) if several else ()
    heads = (*recording_head, "expression", "face", "peak at", "lasted", "mean", "peak")
    more = f", {_MOMENTS} of {len(found):,}" if len(found) > _MOMENTS else ""
    caption = f"The strongest expressions other than neutral{more}, by their peak probability"
    return table(heads, rows, caption=caption, class_="names")


def _pictures(material: Material) -> Html:
    items = []
    for thumbnail in material.thumbnails:
        segment = thumbnail.segment
        face = "A face made unrecognizable," if material.blurred else "A face"
        picture = tag(
            "img", src=thumbnail.uri, alt=f"{face} at the peak of {segment.expression}",
            width=200, height=200,
        )  # fmt: skip
        chip = tag("span", class_=f"chip {material.mark(segment.expression)}")
        where = clock(segment.peak_s, fine=True)
        if len(material.videos) > 1:
            where += f", {material.title(thumbnail.recording)}"
        note = tag("span", where, class_="quiet")
        items.append(tag("li", picture, chip, segment.expression, tag("br"), note))
    return tag("ul", *items, class_="faces")


def followed(material: Material) -> Iterator[Html]:
    """Which expression followed which."""
    tracks = [track for video in material.videos for track in video.tracks]
    counts = transitions(tracks, material.labels)
    total = int(counts.sum())
    if not total:
        return
    used = [i for i in range(len(material.labels)) if counts[i].any() or counts[:, i].any()]
    rows = []
    for i in used:
        n = int(counts[i].sum())
        cells = [_shaded(int(counts[i, j]), n) for j in used]
        rows.append((material.labels[i], *cells, f"{n:,}"))
    heads = ("from, to", *(material.labels[i] for i in used), "n")
    rate = f"{changes_per_minute(tracks, material.labels):.1f} to another expression"
    note = f"{counted(total, 'transition')}, {rate} in a minute in sight. "
    note += "Rows with few of them say little."
    matrix = table(heads, rows, caption=TRANSITIONS, class_="matrix")
    yield section("transitions", "What followed what", matrix, quiet(note))


def _shaded(count: int, n: int) -> Html | str:
    if not count:
        return NOTHING
    shade = f"background:color-mix(in srgb, var(--accent) {60 * count / n:.0f}%, transparent)"
    return tag("span", f"{percent(count / n)} ({count})", class_="cell", style=shade)
