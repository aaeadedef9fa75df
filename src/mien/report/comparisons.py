"""What can be set side by side: moments, groups, sessions, as sections. Imports numpy, wording, and
the siblings `charts`, `contrasts`, `findings`, `material`, `page`, `reactions`, `recording`,
`statistics` and `words`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import ceil, isnan
from typing import Final

import numpy as np

from mien.report import words
from mien.report.charts import SHARES, axis, clock, curve, dots, effect_mark, plot
from mien.report.contrasts import (
    ENOUGH_S,
    ENOUGH_SHARE,
    Difference,
    Session,
    differences,
    sessions,
    trends,
)
from mien.report.findings import meaning, summed, told_by, units_of
from mien.report.material import (
    CROWD,
    FEW,
    Material,
    interval,
    number,
    points,
    units,
)
from mien.report.page import Html, folded, quiet, section, table, tag, with_ends
from mien.report.reactions import AFTER_S, Reaction, reactions
from mien.report.recording import OFFSETS_S, STEP_S
from mien.report.statistics import Estimate
from mien.wording import NOTHING, counted, percent

_LABELS: Final = 12  # markers' labels with a chart
_SILENT: Final = 20  # and such as say nothing
_PEOPLE: Final = 12  # with a trend of their own on the page
_MINUS: Final = "\u2212"


def responses(material: Material) -> Iterator[Html]:
    """What faces showed around each marker."""
    heading = "Reactions to moments"
    if not material.markers:
        if "reactions" in material.view.asks_for:
            yield section("reactions", heading, tag("p", words.NO_MARKERS))
        return
    everything = reactions(material.recordings, material.markers, material.members)
    found = [reaction for reaction in everything if reaction.n]
    silent = [reaction for reaction in everything if not reaction.n]
    content: list[Html] = [quiet(words.REACTIONS)]
    for reaction in found[:_LABELS]:
        content += _reaction(material, reaction)
    elsewhere = len({marker.label for marker in material.markers}) - len(everything)
    if silent:
        lines = (tag("li", f"{r.label}: {_missed(r.missed)}.") for r in silent[:_SILENT])
        content += [tag("p", "Moments that say nothing here:"), tag("ul", *lines)]
    if len(silent) > _SILENT:
        content.append(tag("p", f"And {counted(len(silent) - _SILENT, 'more label')}."))
    if elsewhere:
        labels = counted(elsewhere, "label")
        content.append(tag("p", f"The markers hold {labels} of recordings that are not here."))
    if len(found) > _LABELS:
        more = counted(len(found) - _LABELS, "more label is", "more labels are")
        content.append(tag("p", f"{more} left out."))
    yield section("reactions", heading, *content)


def _reaction(material: Material, reaction: Reaction) -> Iterator[Html]:
    yield tag("h3", reaction.label)
    yield quiet(" ".join(_reaction_notes(material, reaction)))
    highest = float(np.nanmax(np.abs(reaction.curves[0])))
    reach = max(0.1, ceil(10 * highest - 1e-6) / 10)
    scale = (f"+{100 * reach:.0f}", "0", f"{_MINUS}{100 * reach:.0f}")
    span_s = float(OFFSETS_S[0]), float(OFFSETS_S[-1]) + STEP_S
    ticks = [((t - span_s[0]) / (span_s[1] - span_s[0]), f"{t} s") for t in (0, 2, 4)]
    charts = []
    for k, label in enumerate(material.labels):
        name = tag("h4", tag("span", class_=f"chip {material.mark(label)}"), label)
        said = f"Change of {label} around {reaction.label}: {points(reaction.changes[k])} points"
        middles, values = OFFSETS_S + STEP_S / 2, reaction.curves[:, :, k]
        chart = curve(middles, values, span_s, reach, label=said)
        charts.append(tag("figure", name, plot(chart, scale, axis(ticks))))
    yield tag("div", *charts, class_="small")
    rows = list(zip(material.labels, map(points, reaction.changes), strict=True))
    heads = ("expression", "change in percentage points (95% interval)")
    caption = f"{reaction.label}: mean change from {AFTER_S[0]:g} to {AFTER_S[1]:g} s after it"
    yield table(heads, rows, caption=caption)
    listing = [
        (f"{offset:+.2f} s", *(points(Estimate(*ends)) for ends in reaction.curves[:, i].T))
        for i, offset in enumerate(OFFSETS_S)
    ]
    caption = f"{reaction.label}: change in percentage points (95% interval), quarter by quarter"
    curves = table(("from", *material.labels), listing, caption=caption)
    yield folded("The curves as a table", curves)


def _reaction_notes(material: Material, reaction: Reaction) -> Iterator[str]:
    yield f"Mean of {units(reaction.averaged, reaction.unit)}."
    if reaction.unit == "faces":
        yield words.ONE_AUDIENCE
    if reaction.averaged > reaction.n:
        yield words.RETURNED.format(n=reaction.n)
    if reaction.missed:
        yield f"Left out: {_missed(reaction.missed)}."
    if reaction.n == 1:
        yield "One alone cannot have an interval."
    elif reaction.n < FEW:
        yield "So few say little about others."
    crowd = 1 if reaction.unit == "occurrences" else reaction.n
    if crowd < CROWD and material.view.anonymous:
        yield f"A mean of fewer than {CROWD} may describe a single person."


def _missed(missed: Mapping[str, int]) -> str:
    """How many occurrences, and why."""
    return ", ".join(
        f"{counted(missed[why], 'occurrence')} {said}"
        for why, said in words.MISSED.items()
        if why in missed
    )


def groups(material: Material) -> Iterator[Html]:
    """Groups of recordings against the first of them."""
    compared = units_of(material.recordings, material.labels, material.members)
    found = differences(compared, material.labels)
    content: list[Html] = []
    if found:
        content.append(quiet(words.GROUPS.format(each=material.each)))
        for difference in found:
            content += _difference(material, difference)
    elif any(member.group for member in material.members):
        names = [unit.group for unit in compared if unit.group]
        had = f"Only {names[0]} has" if names else "None of them has"
        nothing = f"{had} a {material.each} with a face: there is nothing to compare."
        content.append(tag("p", nothing))
    if content:
        yield section("groups", "Groups", *content)


def _difference(material: Material, difference: Difference) -> Iterator[Html]:
    first, second = difference.first, difference.second
    n, m = difference.n
    yield tag("h3", f"{second} against {first}")
    if min(n, m) < FEW:
        yield tag(
            "p",
            tag("strong", "Few. "),
            f"{first} has {n}, {second} has {m} {material.unit}. With fewer than {FEW} in a group "
            "these intervals are too narrow, and large differences appear by chance.",
            class_="notice",
        )
    if difference.both:
        many = counted(difference.both, "person is", "people are")
        yield quiet(f"{many} in both groups. {words.IN_BOTH}")
    known = [e for *_, g, _ in difference.rows for e in (g.value, g.low, g.high) if not isnan(e)]
    reach = min(5.0, max([1.0, *map(abs, known)]))
    rows = []
    for label, mean, other, g, delta in difference.rows:
        mark = tag("div", effect_mark(g, reach), class_="bar")
        rows.append((label, percent(mean), percent(other), number(g), mark, number(delta)))
    means = f"{first} (n = {n})", f"{second} (n = {m})"
    scale = f"{_MINUS}{reach:.1f} to +{reach:.1f}"
    heads = ("expression", *means, "Hedges' g (95% interval)", scale, "Cliff's delta (95%)")
    caption = f"Mean shares of {material.sight}, and how far {second} lies above {first}"
    yield table(heads, rows, caption=caption)
    yield quiet(f"Of {len(rows)} comparisons, one in twenty leaves out zero by chance alone.")


def over_sessions(material: Material) -> Iterator[Html]:
    """Sums of expressions from session to session."""
    found = sessions(material.recordings, material.labels, material.members)
    if len(found) < 2:
        if "trends" in material.view.asks_for:
            yield section("trends", "From session to session", tag("p", words.ONE_SESSION))
        return
    if not material.over_time:
        return  # several tables are no course of time by themselves
    said_of = told_by(material.members)
    slopes = trends(found, material.labels)
    named = any(slopes)
    good = sum(session.enough for session in found)
    enough, what = f"{ENOUGH_S:.0f} s of sure answers", "time"
    if not material.videos:
        enough, what = f"{ENOUGH_S:.0f} sure answers", "picture"
    content: list[Html] = [
        tag(
            "p",
            f"{counted(len(found), 'session')}, {good} of them with enough to read: at least "
            f"{enough}, and {percent(ENOUGH_SHARE)} of the session, in which a {what} with two "
            "faces counts twice. Those with less are hollow, and those without a face are a dashed "
            "line; neither enters a trend. Lines are 95% intervals.",
        )
    ]
    undated = [r for r in material.main if not said_of(r).day]
    if len(undated) == len(material.main):
        content.append(quiet("Days are those on which the tables were last changed."))
    elif undated:
        many = counted(len(undated), material.each)
        content.append(quiet(f"Of {many} nobody says a date: {words.SAVED_ON}"))
    content.append(quiet(words.EACH_PERSON if named else words.ONE_PERSON))
    for person, of_sums in list(slopes.items())[:_PEOPLE]:
        own = [session for session in found if session.person == person]
        if len(own) < 2:
            content.append(tag("p", f"{person} has one session, and so no trend."))
            continue
        for name, slope in of_sums.items():
            heading = f"{name.capitalize()} ({meaning(name, material.labels)})"
            heading = f"{person}: {heading}" if named else heading
            content += _course(material, heading, own, name, slope)
    unnamed = sum(not session.person for session in found) if named else 0
    if unnamed:
        content.append(tag("p", f"Of {counted(unnamed, 'session')} nobody says whose: no trend."))
    if len(slopes) > _PEOPLE:
        more = counted(len(slopes) - _PEOPLE, "more person", "more people")
        content.append(tag("p", f"{more} without a chart here."))
    content.append(_session_table(material, found, named=named))
    yield section("trends", "From session to session", *content)


def _course(
    material: Material, heading: str, found: list[Session], name: str, slope: Estimate
) -> Iterator[Html]:
    days = [session.day.toordinal() for session in found]
    places = [(day - days[0]) / max(days[-1] - days[0], 1) for day in days]
    estimates = [None if s.shares is None else s.shares.of(name) for s in found]
    if isnan(slope.value):
        said = "Too few sessions on different days for a trend."
    else:
        good = sum(session.enough for session in found)
        said = f"Trend over {good} sessions: {points(slope)} percentage points a week."
        if isnan(slope.low):
            said += " Fewer than five give no interval: this may be chance."
        elif slope.low <= 0 <= slope.high:
            said += " The interval holds zero: no trend can be told from chance."
    label = f"Share of {material.sight}: {name}. {said} The sessions are listed below"
    chart = dots(places, estimates, [session.enough for session in found], label=label)
    ends = found[0].day, found[-1].day
    ticks = [(place, day.isoformat()) for place, day in zip((0, 1), ends, strict=True)]
    yield tag("h3", heading)
    yield tag("figure", plot(chart, SHARES, axis(ticks)), tag("figcaption", said))


def _session_table(material: Material, found: list[Session], *, named: bool) -> Html:
    names = tuple(summed(material.labels))
    amount = clock if material.videos else "{:,.0f}".format
    rows = []
    for session in found:
        cells: list[str] = [NOTHING] * len(names)
        if session.shares is not None:
            of = [session.shares.of(name) for name in names]
            cells = [with_ends(percent(e.value), interval(e, bare=True)) for e in of]
        state = "yes" if session.enough else "too little" if session.shares else "no face"
        read = f"{amount(session.sure_s)} of {amount(session.whole_s)}"
        whose = (session.person or NOTHING,) if named else ()
        rows.append((session.day.isoformat(), session.name, *whose, read, state, *cells))
    heads = ("day", "table", *(("person",) if named else ()), "read surely", "enough", *names)
    return table(heads, rows, caption="Sessions; in brackets 95% intervals", class_="sessions")
