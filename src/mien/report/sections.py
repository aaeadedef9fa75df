"""What was shown, all in all: how much of each expression, when most, and after which. Imports from
mien events, wording, and the siblings `charts`, `findings`, `material`, `page`, `recording` and
`words`.

Each function writes one section of the page, and nothing where there is nothing to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, isnan
from typing import Final

from mien.events import Segment
from mien.report.charts import clock, share_bar
from mien.report.findings import (
    NEUTRAL,
    Shares,
    changes_per_minute,
    meaning,
    overall,
    shares_of,
    summed,
    total_quality,
    transitions,
)
from mien.report.material import (
    FEW,
    Material,
    interval,
    length,
    listed,
    units,
)
from mien.report.page import Html, join, quiet, section, table, tag, with_ends
from mien.report.recording import Recording
from mien.report.words import (
    NOT_CALIBRATED,
    NOT_FEELINGS,
    PICTURES_APART,
    SHARES,
    SURE,
    TRANSITIONS,
)
from mien.wording import NOTHING, counted, percent

_ROWS: Final = 40  # faces in a table
_MOMENTS: Final = 20  # strongest ones in a table


def summary(material: Material) -> Iterator[Html]:
    """In plain words: what there was, how much of it could be read, what it showed, how sure."""
    shares = overall(material.recordings, material.labels, material.members)
    in_sight = _in_sight(material)
    figures = [(percent(in_sight), "with a face in sight", f"of {_everything(material)}")]
    if shares is None:
        where = " in a recording" if _mixed(material) else ""
        nothing = f"No face was seen{where}, and so nothing can be said about any."
        sentences = [f"{_what(material)}. {nothing}"]
    else:
        sure = 1 - shares.of("uncertain").value
        most, estimate = shares.ordered(material.labels)[0]
        figures.append((percent(sure), "read with a sure answer", f"of {_whole(material, shares)}"))
        if estimate.value > 0:
            figures.append((percent(estimate.value), f"showed {most}", interval(estimate)))
        if "expressive" in shares.labels:
            expressive = shares.of("expressive")
            figures.append(
                (percent(expressive.value), "showed an expression", interval(expressive))
            )
        sentences = list(_sentences(material, shares, in_sight))
    if _mixed(material):
        sentences.append(PICTURES_APART)
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


def _mixed(material: Material) -> bool:
    """Whether there are pictures beside videos, which are in no figure here."""
    return 0 < len(material.videos) < len(material.recordings)


def _everything(material: Material) -> str:
    return "the time" if material.videos else "the pictures"


def _whole(material: Material, shares: Shares) -> str:
    """What shares are of: of several recordings, each counts once, however long it is."""
    if shares.unit == "looks":
        return material.sight
    return f"{material.sight}, averaged over {units(int(shares.looks), shares.unit)}"


def _in_sight(material: Material) -> float:
    total = total_quality(material.main)
    return total.with_face_s / max(total.recorded_s, 1e-12)


def _sentences(material: Material, shares: Shares, in_sight: float) -> Iterator[str]:
    unsure = shares.of("uncertain")
    recorded, sight = _everything(material), _whole(material, shares)
    nobody = f", and for {percent(1 - in_sight)} there was nobody to read" if in_sight < 1 else ""
    yield (
        f"{_what(material)}. A face was in sight for {percent(in_sight)} of {recorded}{nobody}. "
        f"The model was too unsure to answer for {percent(unsure.value)} ({interval(unsure)}) of "
        f"{sight}. {SURE}"
    )
    said = [
        f"{label} for {percent(estimate.value)} ({interval(estimate)})"
        for label, estimate in shares.ordered(material.labels)
        if estimate.value >= 0.01
    ]
    if said:
        yield f"With sure answers, faces showed {listed(said)} of {sight}."
    if shares.unit == "looks":
        if not material.videos:
            yield "The ranges are 95% intervals. One picture says next to nothing about others."
            return
        looks = counted(max(1, round(shares.looks)), "independent look")
        yield (
            "The ranges are 95% intervals. A moment resembles the one before it, so that this "
            f"recording says about as much as {looks} at a face would; the ranges allow for that."
        )
        return
    few = " So few say little about others." if shares.looks < FEW else ""
    yield (
        f"The ranges are 95% intervals for the mean of others like these "
        f"{units(int(shares.looks), shares.unit)}, each of which counts once.{few}"
    )


def how_much(material: Material) -> Iterator[Html]:
    """How much of what was in sight each expression took."""
    found = overall(material.recordings, material.labels, material.members)
    if found is None:
        return
    said = SHARES.format(sight=material.sight) + (NOT_CALIBRATED if material.videos else "")
    content = [_share_table(material, found), quiet(said)]
    if len(material.faces) > 1 and not material.view.anonymous:
        content.append(_face_table(material))
    yield section("shares", "How much of each expression", *content)


def _share_table(material: Material, found: Shares) -> Html:
    ends = [e.value if isnan(e.high) else e.high for e in found.estimates]
    top = min(1.0, ceil(10 * max(ends)) / 10)  # round, and with room for every interval
    weighted = dict(zip(material.labels, map(percent, found.weighted), strict=True))
    rows = []
    classes = [label for label, _ in found.ordered(material.labels)]
    sums = summed(material.labels)
    for label in (*classes, "uncertain", *sums):
        estimate, mark = found.of(label), material.mark(label)
        held = f" ({meaning(label, material.labels)})" if label in sums else ""
        note = tag("span", held, class_="quiet") if held else ""
        chip = tag("span", class_=f"chip {mark}")
        name = join((tag("span", chip, label, class_="label"), note))
        bar = tag("div", share_bar(estimate, mark, top), class_="bar")
        ends_of_it = interval(estimate, bare=True)
        rows.append((name, percent(estimate.value), ends_of_it, weighted.get(label, ""), bar))
    heads = ("expression", "sure answers", "95% interval", "weighted", f"0 to {percent(top)}")
    return table(heads, rows, caption=f"By expression: share of {_whole(material, found)}")


def _face_table(material: Material) -> Html:
    faces = material.faces
    named = ("uncertain", *summed(material.labels))
    rows = []
    for recording, track in faces[:_ROWS]:
        found = shares_of(track, material.labels)
        of = [found.of(label) for label in named]
        cells = [with_ends(percent(e.value), interval(e, bare=True)) for e in of]
        most, estimate = found.ordered(material.labels)[0]
        mostly = f"{most} {percent(estimate.value)}" if estimate.value > 0 else NOTHING
        name = material.face_title(recording, track)
        rows.append((name, clock(track.total_s), mostly, *cells))
    more = f", the {_ROWS} longest in sight of {len(faces)}" if len(faces) > _ROWS else ""
    caption = f"Face by face{more}; in brackets 95% intervals"
    return table(("face", "in sight", "mostly", *named), rows, caption=caption, class_="names")


def strongest(material: Material) -> Iterator[Html]:
    """The strongest peaks, with pictures where these may be shown."""
    found = [
        (recording, track.person or f"{track.number}", segment)
        for recording, track in material.faces
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
    tracks = [track for _, track in material.faces]
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
