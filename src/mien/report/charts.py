"""Small charts as SVG within HTML. Imports numpy and the siblings `page` and `statistics`.

A chart's shapes are stretched to the width they get; its words are HTML around them, so that they
stay readable on a phone and sharp on paper. Every chart has a name for those who do not see it, and
a table beside it holds its figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, isnan
from typing import Final

import numpy as np

from mien.report.page import Html, join, tag
from mien.report.statistics import Estimate, FloatArray

#: Beside a chart of shares, from the top down.
SHARES: Final = ("100%", "50%", "0")

_W: Final = 1000  # of every chart, in its own units
_H: Final = 100
_TICKS_S: Final = (
    0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200,
    86400,
)  # fmt: skip
_TICKS: Final = 6  # at most, between the first and the last


def clock(time_s: float, *, fine: bool = False) -> str:
    """A time as people write it: 4 s, 3:05, 1:02:09; with tenths if `fine`."""
    tenths = round(10 * time_s)
    if tenths < 600:
        return f"{tenths / 10:.1f} s" if fine or tenths % 10 else f"{tenths // 10} s"
    minutes, rest = divmod(tenths if fine else 10 * round(time_s), 600)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest / 10:04.1f}" if fine else f"{rest // 10:02}"
    return f"{hours}:{minutes:02}:{seconds}" if hours else f"{minutes}:{seconds}"


def legend(names: Sequence[tuple[str, str]]) -> Html:
    """Names with the colours of their class (`c0`, `c1`, ..., `cu` for uncertain)."""
    items = (tag("li", tag("span", class_=f"chip {mark}"), name) for name, mark in names)
    return tag("ul", *items, class_="legend")


def stacked_areas(
    times_s: FloatArray,
    width_s: float,
    shares: FloatArray,
    marks: Sequence[str],
    span_s: tuple[float, float],
    *,
    label: str,
) -> Html:
    """Shares over time on top of each other, with gaps where there is nothing.

    Args:
        times_s: `(N,)` where the points' spans of time begin, ascending.
        width_s: of such a span.
        shares: `(N, K)`, 0..1.
        marks: the K colours' names.
        span_s: where the axis begins and ends.
        label: says what it shows.
    """
    begin_s, end_s = span_s
    scale = _W / max(end_s - begin_s, 1e-9)
    tops = _H - _H * np.clip(shares.cumsum(1), 0, 1)
    cuts = np.nonzero(np.diff(times_s) > 1.5 * width_s)[0] + 1
    shapes: list[Html] = [_rect(0, 0, _W, _H, "field")]
    for part in np.split(np.arange(len(times_s)), cuts):
        if not len(part):
            continue
        middle = (times_s[part] + width_s / 2 - begin_s) * scale
        edges = (
            (times_s[part[0]] - begin_s) * scale,
            (times_s[part[-1]] + width_s - begin_s) * scale,
        )
        x = np.clip([edges[0], *middle, edges[1]], 0, _W)
        # The highest first: each covers what lies below it.
        for k in range(shares.shape[1])[::-1]:
            y = tops[part, k]
            points = zip(x, [y[0], *y, y[-1]], strict=True)
            outline = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
            ends = f"{x[-1]:.1f},{_H} {x[0]:.1f},{_H}"
            shapes.append(tag("polygon", points=f"{outline} {ends}", class_=marks[k]))
    return _svg(shapes, "area", label)


def strip(
    bars: Iterable[tuple[float, float, str, str]], span_s: tuple[float, float], *, label: str
) -> Html:
    """Bars on one line: from, to, colour's name, words."""
    begin_s, end_s = span_s
    scale = _W / max(end_s - begin_s, 1e-9)
    shapes = [_rect(0, 0, _W, _H, "field")]
    for start, stop, mark, words in bars:
        width = max((stop - start) * scale, 0.5)
        shapes.append(_rect((start - begin_s) * scale, 0, width, _H, mark, words))
    return _svg(shapes, "strip", label)


def curve(
    x: FloatArray, values: FloatArray, span: tuple[float, float], reach: float, *, label: str
) -> Html:
    """A curve with its band around zero; a line stands where x is 0.

    Args:
        x: `(T,)` ascending.
        values: `(3, T)`: the curve, and the ends of its interval; NaN where unknown.
        span: where the axis of x begins and ends.
        reach: the upright axis goes from -reach to reach.
        label: says what it shows.
    """
    begin, end = span
    across = (x - begin) / (end - begin) * _W
    y = np.clip(_H / 2 - values / reach * _H / 2, 0, _H)
    zero = -begin / (end - begin) * _W
    shapes = [
        _rect(0, 0, _W, _H, "field"),
        _line(0, _H / 2, _W, _H / 2, "grid"),
        _line(zero, 0, zero, _H, "rule dash"),
    ]
    banded = ~np.isnan(y).any(0)
    if banded.sum() > 1:
        there = [f"{a:.1f},{b:.1f}" for a, b in zip(across[banded], y[2, banded], strict=True)]
        back = [f"{a:.1f},{b:.1f}" for a, b in zip(across[banded], y[1, banded], strict=True)]
        shapes.append(tag("polygon", points=" ".join(there + back[::-1]), class_="band"))
    known = ~np.isnan(y[0])
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(across[known], y[0, known], strict=True))
    shapes.append(tag("polyline", points=points, class_="curve"))
    return _svg(shapes, "area", label)


def share_bar(estimate: Estimate, mark: str, top: float) -> Html:
    """A bar of a share with its interval, within a table's cell; the axis goes from 0 to `top`."""
    x = [_W * min(v / top, 1.0) for v in (estimate.value, estimate.low, estimate.high)]
    shapes = [_rect(0, 25, _W, 50, "field"), _rect(0, 15, x[0], 70, f"{mark} mark")]
    if not isnan(x[1]):
        ends = [(x[1], 50, x[2], 50), *((end, 30, end, 70) for end in x[1:])]
        # Light behind it, so that it stands out from a bar of any colour.
        shapes += [_line(*line, mark) for mark in ("halo", "whisker") for line in ends]
    return _svg(shapes, None, None)


def effect_mark(estimate: Estimate, reach: float) -> Html:
    """A dot with its interval around zero, within a table's cell; from -reach to reach."""

    def place(value: float) -> float:
        return _W * (0.5 + 0.5 * max(-1.0, min(1.0, value / reach)))

    shapes = [_line(_W / 2, 0, _W / 2, _H, "rule dash")]
    if not isnan(estimate.low):
        shapes.append(_line(place(estimate.low), 50, place(estimate.high), 50, "whisker"))
    if not isnan(estimate.value):
        shapes.append(_dot(place(estimate.value), 50, "dot"))
    return _svg(shapes, None, None)


def dots(
    x: Sequence[float], estimates: Sequence[Estimate | None], filled: Sequence[bool], *, label: str
) -> Html:
    """Estimates with their intervals at places 0..1; a hollow one has too little behind it, and a
    dashed line stands where there is none at all.
    """
    shapes = [_rect(0, 0, _W, _H, "field")]
    shapes += [_line(0, y, _W, y, "grid") for y in (0, 25, 50, 75, _H)]
    for place, estimate, full in zip(x, estimates, filled, strict=True):
        across = 15 + (_W - 30) * place  # a dot at the edge keeps its whole width
        if estimate is None or isnan(estimate.value):
            shapes.append(_line(across, 0, across, _H, "rule dash"))
            continue
        y, low, high = (_H - _H * v for v in (estimate.value, estimate.low, estimate.high))
        if not isnan(low):
            shapes.append(_line(across, low, across, high, "whisker"))
        shapes.append(_dot(across, y, "dot"))
        if not full:
            shapes.append(_dot(across, y, "hole"))
    return _svg(shapes, "area", label)


def plot(chart: Html, y: Sequence[str], x: Html | str = "", *below: Html) -> Html:
    """A chart with words at its left, from the top down, and an axis below it."""
    words = tag("div", *(tag("span", word) for word in y), class_="y", aria_hidden="true")
    more = (join((tag("div"), part)) for part in below)
    return tag("div", words, chart, *more, x, class_="plot")


def time_axis(span_s: tuple[float, float]) -> Html:
    """Times below a chart, at round figures."""
    begin_s, end_s = span_s
    length_s = max(end_s - begin_s, 1e-9)
    step = next((s for s in _TICKS_S if length_s / s <= _TICKS), length_s / 2)
    first = ceil(begin_s / step - 1e-6)
    times = [i * step for i in range(first, first + _TICKS + 2) if i * step <= end_s + 1e-9]
    return axis([((t - begin_s) / length_s, clock(t)) for t in times])


def axis(ticks: Sequence[tuple[float, str]]) -> Html:
    """Words below a chart at places 0..1."""
    marks = (
        tag("span", text, style=f"left:{100 * place:.2f}%", class_=_end(place))
        for place, text in ticks
    )
    return tag("div", *marks, class_="x", aria_hidden="true")


def _end(place: float) -> str | None:
    """Words at the ends of an axis stay within it."""
    return "first" if place < 0.03 else "last" if place > 0.97 else None


def _svg(shapes: Iterable[Html], class_: str | None, label: str | None) -> Html:
    named = {"role": "img", "aria_label": label} if label else {"aria_hidden": "true"}
    content = tag("g", *shapes)
    return tag(
        "svg", content, viewBox=f"0 0 {_W} {_H}", preserveAspectRatio="none", class_=class_, **named
    )


def _rect(x: float, y: float, width: float, height: float, mark: str, words: str = "") -> Html:
    inside = tag("title", words) if words else ""
    return tag(
        "rect", inside, x=f"{x:.2f}", y=f"{y:g}", width=f"{max(width, 0):.2f}",
        height=f"{height:g}", class_=mark,
    )  # fmt: skip


def _line(x1: float, y1: float, x2: float, y2: float, mark: str) -> Html:
    ends = {"x1": f"{x1:.1f}", "y1": f"{y1:.1f}", "x2": f"{x2:.1f}", "y2": f"{y2:.1f}"}
    return tag("line", class_=mark, **ends)


def _dot(x: float, y: float, mark: str) -> Html:
    # A line without length and with round ends stays round, however a chart is stretched.
    return _line(x, y, x + 0.01, y, mark)
