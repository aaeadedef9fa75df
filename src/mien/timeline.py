"""What the faces of a video showed, over time: a picture, or a page to look around in.

May import companions, events, handover, plots, annotate, plain_page and what lies below them. The
page holds everything it needs; nothing is loaded from elsewhere.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import groupby, pairwise
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from mien import plots
from mien.annotate import css_colours
from mien.companions import Marker, last_part
from mien.errors import SinkError, SourceError
from mien.events import Segment, SegmentFinder
from mien.handover import Handovers
from mien.plain_page import plain_page
from mien.types import FrameResult
from mien.whole import whole
from mien.wording import counted

FloatArray = npt.NDArray[np.float64]

_POINTS: Final = 1200  # a face's curve has at most so many means of its looks
_FACES: Final = 12  # the faces that are longest in sight


@dataclass(frozen=True)
class FaceTimeline:
    """One face of one video.

    Attributes:
        track_id: which; two have the same where a track has gone over to another person.
        times_s: `(N,)`, ascending; NaN where it was out of sight.
        probs: `(N, K)`, means over the frames of which a point is made; the ends of a stretch in
            sight, where these are no points, have those of the nearest.
        seen_s: how long it was in sight.
        segments: what it showed.
        person: whose it is, where results say so, as `mien.handover` tells it.
    """

    track_id: int
    times_s: FloatArray
    probs: FloatArray
    seen_s: float
    segments: tuple[Segment, ...]
    person: str | None = None

    def shares(self) -> dict[str, float]:
        """Share of the time in sight that was taken by each expression's segments."""
        shown: dict[str, float] = defaultdict(float)
        for segment in self.segments:
            shown[segment.expression] += segment.duration_s
        return {name: time_s / max(self.seen_s, 1e-9) for name, time_s in shown.items()}


@dataclass(frozen=True)
class Timeline:
    """The faces of one video, those longest in sight first.

    Attributes:
        source: the video.
        labels: the K classes.
        start_s, end_s: the times of its first and its last frame.
        faces: at most twelve.
        left_out: how many more there were.
        moments: when something happened to those who are filmed, ascending, and what.
        step_s: the usual step between its frames.
    """

    source: str
    labels: tuple[str, ...]
    start_s: float
    end_s: float
    faces: tuple[FaceTimeline, ...]
    left_out: int
    moments: tuple[tuple[float, str], ...] = ()
    step_s: float = 0.0

    def place(self, time_s: float) -> float:
        """Where a time lies between the first frame, 0, and the last, 1."""
        return (time_s - self.start_s) / max(self.end_s - self.start_s, 1e-9)


@dataclass
class _Seen:
    """The looks at one face: their times, its probabilities, and with which of them it came into
    sight: what the segments bridge, as far as the recording's steps were known then, is no gap.
    """

    times_s: list[float] = field(default_factory=list)
    probs: list[list[float]] = field(default_factory=list)
    begins: list[int] = field(default_factory=list)

    def add(self, time_s: float, probs: list[float], reach_s: float) -> None:
        if not self.times_s or time_s - self.times_s[-1] > reach_s:
            self.begins.append(len(self.times_s))
        self.times_s.append(time_s)
        self.probs.append(probs)


def build_timeline(results: Iterable[FrameResult], *, markers: Sequence[Marker] = ()) -> Timeline:
    """The timeline of one video's results.

    Markers of other recordings, and of before its start or after its end, are left out; those of
    one moment are joined.

    Raises:
        SourceError: no face with a track, results of several sources, of one given twice or of
            several models, or not in order of time.
    """
    finder, handovers = SegmentFinder(), Handovers()
    seen: dict[int, _Seen] = defaultdict(_Seen)
    segments: dict[int, list[Segment]] = defaultdict(list)
    people: dict[int, str] = {}
    labels: tuple[str, ...] = ()
    first = last = None
    for result in _known(_of_one_video(results), handovers):
        first, last = first or result, result
        for face in result.faces:
            labels = labels or tuple(face.probs)
            if labels != tuple(face.probs):
                raise SourceError(
                    f"{result.source}: frame {result.frame} has the classes "
                    f"{', '.join(face.probs)}, and frames before it {', '.join(labels)}. Expected "
                    "the answers of one model"
                )
        for segment in finder.update(result):
            segments[segment.track_id].append(segment)
        for face in result.faces:
            if face.track_id is not None:
                seen[face.track_id].add(result.time_s, list(face.probs.values()), finder.reach_s)
                if face.person:
                    people[face.track_id] = face.person
    for segment in finder.finish():
        segments[segment.track_id].append(segment)
    source = first.source if first else ""
    if not (first and last and seen):
        raise SourceError(
            f"{source or 'results'}: no face in a video's frames, and so nothing to draw over "
            "time. A timeline needs the results of a video with a face"
        )
    faces = [
        _face_timeline(handovers.track_of(number), looks, segments[number], people.get(number))
        for number, looks in seen.items()
    ]
    faces.sort(key=lambda face: -face.seen_s)
    start_s, end_s = first.time_s, last.time_s
    within = [m for m in markers if m.concerns(source) and start_s <= m.time_s <= end_s]
    kept, left_out = tuple(faces[:_FACES]), max(0, len(faces) - _FACES)
    return Timeline(
        source, labels, start_s, end_s, kept, left_out, _moments(within), finder.usual_s
    )


def _of_one_video(results: Iterable[FrameResult]) -> Iterator[FrameResult]:
    """The results, as long as each follows the one before."""
    before: FrameResult | None = None
    for result in results:
        if before is not None and not result.follows(before):
            raise SourceError(
                f"{result.source}: follows {before.source} in one file. A timeline shows one "
                "video: analyse each into a file of its own"
            )
        if before is not None and result.time_s < before.time_s:
            raise SourceError(
                f"{result.source}: frame {result.frame} is at {result.time_s:g} s, after one at "
                f"{before.time_s:g} s. Expected the order of time: sort the table"
            )
        yield result
        before = result


def _known(results: Iterable[FrameResult], handovers: Handovers) -> Iterator[FrameResult]:
    """The results, once it is known of each whose its faces are."""
    for result in results:
        yield from handovers.add(result)
    yield from handovers.finish()


def _moments(markers: Iterable[Marker]) -> tuple[tuple[float, str], ...]:
    found = groupby(sorted(markers, key=lambda m: m.time_s), key=lambda m: m.time_s)
    return tuple((time_s, ", ".join(m.label for m in same)) for time_s, same in found)


def _face_timeline(
    number: int, seen: _Seen, segments: Sequence[Segment], person: str | None
) -> FaceTimeline:
    times, probs = np.array(seen.times_s), np.array(seen.probs)
    size = -(-len(times) // _POINTS)
    # Points average over frames, but never over a gap. That becomes a point without values.
    ends = [*seen.begins, len(times)]
    seen_s = float(sum(times[end - 1] - times[begin] for begin, end in pairwise(ends)))
    shown: list[tuple[FloatArray, FloatArray]] = []
    for begin, end in pairwise(ends):
        starts = np.arange(0, end - begin, size)
        counts = np.diff([*starts, end - begin])
        t = np.add.reduceat(times[begin:end], starts) / counts
        p = np.add.reduceat(probs[begin:end], starts) / counts[:, None]
        if size > 1:  # a mean lies within its looks, and they begin and end the stretch
            t = np.array([times[begin], *t, times[end - 1]])
            p = np.concatenate([p[:1], p, p[-1:]])
        shown.append((t, p))
    ordered = tuple(sorted(segments, key=lambda segment: segment.start_s))
    return FaceTimeline(number, *_joined(shown), seen_s, ordered, person)


def _joined(stretches: Iterable[tuple[FloatArray, FloatArray]]) -> tuple[FloatArray, FloatArray]:
    """Times and probabilities, with a row of NaN after each stretch in sight but the last."""
    times, probs = (
        np.concatenate([np.concatenate([part, np.full_like(part[:1], np.nan)]) for part in parts])
        for parts in zip(*stretches, strict=True)
    )
    return times[:-1], probs[:-1]


def _drawn(face: FaceTimeline, timeline: Timeline) -> Iterator[tuple[FloatArray, FloatArray]]:
    """The times and probabilities of each stretch in sight, those too short to be seen widened."""
    least_s = max(timeline.step_s, (timeline.end_s - timeline.start_s) / _POINTS)
    gaps = np.nonzero(np.isnan(face.times_s))[0]
    for part in np.split(np.arange(len(face.times_s)), gaps):
        rows = part[~np.isnan(face.times_s[part])]
        if face.times_s[rows[-1]] - face.times_s[rows[0]] >= least_s:
            yield face.times_s[rows], face.probs[rows]
            continue
        middle_s = (face.times_s[rows[0]] + face.times_s[rows[-1]]) / 2
        begin_s = max(min(middle_s - least_s / 2, timeline.end_s - least_s), timeline.start_s)
        yield np.array([begin_s, begin_s + least_s]), np.tile(face.probs[rows].mean(0), (2, 1))


def write_timeline(timeline: Timeline, file: Path) -> None:
    """Draw a timeline: `.png` (or another picture), or `.html` for a page.

    Raises:
        SinkError: it cannot be written there.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _write(timeline, file)
    except OSError as error:
        raise SinkError(
            f"{file}: cannot be written ({error.strerror}). Check the folder and the disk's space"
        ) from error


def _write(timeline: Timeline, file: Path) -> None:
    if file.suffix.lower() in (".html", ".htm"):
        title = last_part(timeline.source) or "results"
        with whole(file) as partial:
            partial.write_bytes(plain_page(title, _body(timeline), style=_STYLE))
        return
    rows = [
        plots.FaceCurve(
            _title(face),
            *_joined(_drawn(face, timeline)),
            [(s.expression, s.start_s, s.end_s) for s in face.segments],
        )
        for face in timeline.faces
    ]
    colours = css_colours(timeline.labels)
    span_s = (timeline.start_s, timeline.end_s)
    plots.timeline_chart(rows, timeline.labels, colours, span_s, timeline.moments, file)


def _title(face: FaceTimeline) -> str:
    shares = sorted(face.shares().items(), key=lambda item: -item[1])
    shown = ", ".join(f"{name} {share:.0%}" for name, share in shares if share >= 0.005)
    whose = f"{face.person} (face {face.track_id})" if face.person else f"face {face.track_id}"
    return f"{whose}, {face.seen_s:.1f} s in sight" + (f"; in segments: {shown}" if shown else "")


_STYLE: Final = """
h2 { font-size: 1rem; margin: 1.6rem 0 .3rem }
svg { width: 100%; height: 120px; display: block; background: #f5f7fb; touch-action: none }
.bars { height: 14px; margin-top: 3px } .moment { stroke: currentColor; stroke-width: 2;
  stroke-dasharray: 5 3; vector-effect: non-scaling-stroke }
.moments { position: relative; height: 1.3rem; font-size: .75rem } .moments span { position:
  absolute; border-left: 2px dashed; padding-left: .2rem; box-sizing: border-box; overflow: hidden;
  text-overflow: ellipsis; white-space: nowrap }
.legend span { display: inline-block; margin-right: 1rem }
.legend i { display: inline-block; width: .8em; height: .8em; margin-right: .3em }
td:nth-child(2), th:nth-child(2) { text-align: left }
output { display: block; min-height: 1.6em }
@media (prefers-color-scheme: dark) { svg { background: #1b2130 } }
"""

_SCRIPT: Final = """
const data = JSON.parse(document.getElementById("data").textContent);
for (const [i, face] of data.faces.entries()) {
  const svg = document.getElementById("face" + i), say = document.getElementById("say" + i);
  const line = svg.querySelector(".pointer");
  const lasts = data.end_s - data.start_s;
  const show = (x) => {
    const t = data.start_s + x * lasts;
    let best = -1;
    face.t.forEach((v, k) => {
      if (v !== null && (best < 0 || Math.abs(v - t) < Math.abs(face.t[best] - t))) best = k;
    });
    // Between two points of one stretch it is in sight, however rare points are.
    const next = face.t.findIndex((v) => v !== null && v >= t);
    const inside = next > 0 && face.t[next - 1] !== null;
    const near = best >= 0 && Math.abs(face.t[best] - t) <= Math.max(0.5, lasts / 200);
    line.setAttribute("x1", x * 1000); line.setAttribute("x2", x * 1000);
    line.style.display = "";
    const said = t.toFixed(2) + " s: " + (inside || near ? data.labels
      .map((name, k) => [name, face.p[best][k]]).sort((a, b) => b[1] - a[1]).slice(0, 3)
      .map(([name, p]) => name + " " + Math.round(100 * p) + "%").join(", ") : "not in sight");
    say.textContent = said;
    svg.setAttribute("aria-valuenow", t.toFixed(2)); svg.setAttribute("aria-valuetext", said);
  };
  let at = 0;
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    at = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    show(at);
  });
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -0.005, ArrowRight: 0.005, Home: -1, End: 1 }[event.key];
    // With another key they are the browser's: Alt and the left arrow lead back.
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    at = Math.min(1, Math.max(0, at + step));
    show(at);
  });
}
"""


def _body(timeline: Timeline) -> Iterator[str]:
    colours = css_colours(timeline.labels)
    yield '<p class="legend">' + "".join(
        f'<span><i style="background:{colour}"></i>{escape(label)}</span>'
        for label, colour in zip(timeline.labels, colours, strict=True)
    )
    for number, face in enumerate(timeline.faces):
        yield f"<h2>{escape(_title(face))}</h2>"
        yield from _moment_labels(timeline)
        yield (
            f'<svg id="face{number}" viewBox="0 0 1000 100" preserveAspectRatio="none" '
            f'tabindex="0" role="slider" aria-label="{escape(_title(face))}" '
            f'aria-valuemin="{timeline.start_s:.2f}" aria-valuemax="{timeline.end_s:.2f}" '
            f'aria-valuenow="{timeline.start_s:.2f}" aria-valuetext="{timeline.start_s:.2f} s">'
        )
        yield from _areas(face, timeline, colours)
        for time_s, label in timeline.moments:
            x = 1000 * timeline.place(time_s)
            yield f'<line class="moment" x1="{x:.2f}" x2="{x:.2f}" y1="0" y2="100">'
            yield f"<title>{escape(label)}, {time_s:.2f} s</title></line>"
        yield '<line class="pointer" y1="0" y2="100" stroke="currentColor" style="display:none">'
        yield "</line></svg>"
        yield (
            '<svg class="bars" viewBox="0 0 1000 10" preserveAspectRatio="none" '
            'role="presentation">'
        )
        for segment in face.segments:
            x, end = (1000 * timeline.place(s) for s in (segment.start_s, segment.end_s))
            colour = colours[timeline.labels.index(segment.expression)]
            yield f'<rect x="{x:.2f}" width="{end - x:.2f}" height="10" fill="{colour}"></rect>'
        # Who hears the page hears the slider's value, which is the same.
        yield f'</svg><output id="say{number}" aria-live="off"></output>'
    if timeline.left_out:
        were = "was" if timeline.left_out == 1 else "were"
        more = counted(timeline.left_out, "more face")
        yield f"<p>{more} {were} in sight for a shorter time.</p>"
    heads = ("face", "expression", "from s", "peak s", "to s", "mean", "peak")
    yield "<h2>Segments</h2><table><tr>" + "".join(f"<th>{head}" for head in heads)
    for face in timeline.faces:
        whose = escape(f"{face.person} ({face.track_id})" if face.person else f"{face.track_id}")
        for s in face.segments:
            yield (
                f"<tr><td>{whose}<td>{escape(s.expression)}<td>{s.start_s:.2f}<td>{s.peak_s:.2f}"
                f"<td>{s.end_s:.2f}<td>{s.mean:.0%}<td>{s.peak:.0%}"
            )
    yield "</table>"
    if timeline.moments:
        yield "<h2>Moments</h2><table><tr><th>at s<th>what"
        yield from (f"<tr><td>{time_s:.2f}<td>{escape(what)}" for time_s, what in timeline.moments)
        yield "</table>"
    # "<" would end the script in a browser's eyes, wherever it stands.
    text = json.dumps(_data(timeline), separators=(",", ":")).replace("<", "\\u003c")
    yield f'<script type="application/json" id="data">{text}</script>'
    yield f"<script>{_SCRIPT}</script>"


def _moment_labels(timeline: Timeline) -> Iterator[str]:
    """Words above a chart, cut where the next begins; the page's last table has all."""
    if not timeline.moments:
        return
    places = [100 * timeline.place(time_s) for time_s, _ in timeline.moments]
    yield '<div class="moments" aria-hidden="true">'
    for (left, end), (_, label) in zip(pairwise([*places, 100]), timeline.moments, strict=True):
        yield f'<span style="left:{left:.2f}%;max-width:{end - left:.2f}%">{escape(label)}</span>'
    yield "</div>"


def _areas(face: FaceTimeline, timeline: Timeline, colours: Sequence[str]) -> Iterator[str]:
    """The probabilities stacked on each other, as one shape for each class and stretch in sight."""
    for times_s, probs in _drawn(face, timeline):
        heights = np.concatenate([np.zeros((len(probs), 1)), probs.cumsum(1)], 1)
        x = [1000 * timeline.place(time_s) for time_s in times_s]
        for k, colour in enumerate(colours):
            lower, upper = (
                [f"{a:.1f},{100 - 100 * b:.1f}" for a, b in zip(x, heights[:, n], strict=True)]
                for n in (k, k + 1)
            )
            yield f'<polygon points="{" ".join([*upper, *lower[::-1]])}" fill="{colour}"></polygon>'


def _data(timeline: Timeline) -> dict[str, object]:
    faces = []
    for face in timeline.faces:
        times = [None if np.isnan(t) else round(float(t), 3) for t in face.times_s]
        probs = [[None if np.isnan(p) else round(float(p), 3) for p in row] for row in face.probs]
        faces.append({"t": times, "p": probs})
    span = {"start_s": timeline.start_s, "end_s": timeline.end_s}
    return {**span, "labels": timeline.labels, "faces": faces}
