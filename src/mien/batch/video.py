"""Long videos in parts: where to cut, and how to join what was found.

May import numpy, av, and from mien: errors, types, geometry, sources.

A video is cut at key frames, where decoding can begin. Each part begins some seconds, and some
frames, before those that count, so that by then tracker, temporal model and searches have settled.
This warm-up is the end of the part before as well: by where its faces are in both, each gets its
number.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Final

import av
import numpy as np

from mien.errors import SourceError
from mien.geometry import iou_matrix
from mien.sources import Span
from mien.sources.video import ClockWatch, begins_s, open_container
from mien.types import FaceResult, Float32Array, FrameResult

#: How long before the frames that count. The tracker forgets a face after 1.5 s; the temporal model
#: remembers longest: after 3 s its answers still lay up to 0.42 from those of the whole video,
#: after 6 s 0.17, after 10 s 0.10 (benchmarks/batch_join.py, with the models of then; today's
#: figures for 10 s are in docs/batch.md).
WARM_UP_S: Final = 10.0
#: Or, with a smoother, so many of its time constants: then a frame weighs less than a hundredth.
_TIME_CONSTANTS: Final = 5.0
#: And so many frames that are wanted: the tracker waits for a face for little more than two.
_WARM_UP_FRAMES: Final = 3
_SAME_IOU: Final = 0.5  # from here on, two boxes of one frame are the same face


@dataclass(frozen=True)
class Cut:
    """A part of a video.

    Attributes:
        number: counted from 0.
        span: what is decoded.
        own_s: from when on its frames count; those before are the warm-up.
        first, frames: number of the first frame that counts, and how many do.
    """

    number: int
    span: Span
    own_s: float
    first: int
    frames: int


def find_cuts(
    name: str,
    file: Any,
    span: Span,
    *,
    segment_s: float,
    max_pixels: int,
    smooth_s: float | None = None,
) -> tuple[Cut, ...]:
    """The parts of a video; none where it is not worth cutting, or cannot be cut.

    Nothing is decoded: the container says when its frames are shown, and which are key frames.

    Args:
        name: what messages call it.
        file: a path, or an object with `read` and `seek`.
        span: which of its frames are wanted.
        segment_s: about how long a part is, seconds; at least `WARM_UP_S`. Parts that need a longer
            warm-up are at least as long as that.
        max_pixels: as of `open_source`.
        smooth_s: as of `Analyzer`.
    """
    try:
        container, stream = open_container(name, file, max_pixels)
        with container:
            length_s = (container.duration or 0) / av.time_base
            if min(span.end_s, length_s) - span.start_s < 1.5 * segment_s:
                return ()
            base = stream.time_base
            shown, begin_s, watch = [], begins_s(container), ClockWatch()
            for packet in container.demux(stream):
                if not packet.size:
                    continue
                # Where recordings were joined, one moment lies in two places.
                if packet.pts is None or base is None or watch.went_back(packet):
                    return ()
                time_s = float(packet.pts) * base.numerator / base.denominator - begin_s
                if span.start_s <= time_s < span.end_s and not packet.is_discard:
                    shown.append((time_s, packet.is_keyframe))
    except (SourceError, av.error.FFmpegError):  # whoever reads it as a whole will say so
        return ()
    warm_up_s = max(WARM_UP_S, _TIME_CONSTANTS * (smooth_s or 0.0))
    return _cuts(sorted(shown), span, segment_s, warm_up_s)


def _cuts(
    shown: Sequence[tuple[float, bool]],
    span: Span,
    segment_s: float,
    warm_up_s: float = WARM_UP_S,
) -> tuple[Cut, ...]:
    """The same, from the times of all frames and which are key frames."""
    picker = span.picker()
    due, wanted = [], []  # by frame: what is due before it, and whether it is taken
    for index, (time_s, _) in enumerate(shown):
        due.append(picker.due_s)
        wanted.append(picker(index, time_s))
    begins = [(span, span.start_s)]
    end_s = shown[-1][0] if shown else 0.0
    to_come = [time_s for (time_s, _), take in zip(shown, wanted, strict=True) if take]
    for index, (time_s, is_key) in enumerate(shown):
        settled = bisect_left(to_come, time_s) + _WARM_UP_FRAMES
        if settled >= len(to_come):
            break
        own_s = max(time_s + warm_up_s, to_come[settled])
        before, before_s = begins[-1]
        least_s = max(segment_s, own_s - time_s)
        long = own_s - before_s >= least_s and end_s - own_s >= segment_s / 2
        if is_key and long and time_s > before.start_s:  # or it would only read the same again
            part = replace(span, start_s=time_s, first=index, due_s=due[index])
            begins.append((part, own_s))
    if len(begins) < 2:
        return ()
    cuts, times = [], [time_s for time_s, _ in shown]
    ends = [own_s for _, own_s in begins[1:]] + [span.end_s]
    for number, ((part, own_s), until_s) in enumerate(zip(begins, ends, strict=True)):
        own = [i for i in range(*(bisect_left(times, t) for t in (own_s, until_s))) if wanted[i]]
        first = own[0] if own else -1
        cuts.append(Cut(number, replace(part, end_s=until_s), own_s, first, len(own)))
    return tuple(cuts)


def own_faces(cut: Cut, results: Iterable[FrameResult]) -> int | None:
    """How many faces the frames that count have; None where they are not those announced."""
    own = [(each.frame, len(each.faces)) for each in results if each.time_s >= cut.own_s]
    if len(own) != cut.frames or (own and own[0][0] != cut.first):
        return None
    return sum(faces for _, faces in own)


def join_segments(
    cuts: Sequence[Cut], parts: Sequence[Iterable[FrameResult]]
) -> Iterator[FrameResult]:
    """The results of a whole video. Holds only those of one warm-up.

    Args:
        cuts: the video's parts, at least one.
        parts: the results of each, with its warm-up.
    """
    used = 0
    before: dict[int, FrameResult] = {}  # by number: what the last part found in this warm-up
    following: list[Cut | None] = [*cuts[1:], None]
    for cut, after, results in zip(cuts, following, parts, strict=True):
        numbers: dict[int, int] = {}
        warm_up: list[FrameResult] | None = []
        shared: dict[int, FrameResult] = {}
        for result in results:
            if warm_up is not None:
                if result.time_s < cut.own_s:
                    warm_up.append(result)
                    continue
                numbers, warm_up = _same_faces(warm_up, before), None
            faces = []
            for face in result.faces:
                assert face.track_id is not None
                if face.track_id not in numbers:
                    used += 1
                    numbers[face.track_id] = used
                faces.append(replace(face, track_id=numbers[face.track_id]))
            joined = replace(result, faces=tuple(faces))
            if result.time_s >= (after.span.start_s if after else inf):
                shared[result.frame] = joined
            yield joined
        before = shared


def _same_faces(
    warm_up: Iterable[FrameResult], before: Mapping[int, FrameResult]
) -> dict[int, int]:
    """Which number of the part before each number of a warm-up is: by how often they coincide."""
    votes: Counter[tuple[int, int]] = Counter()
    for result in warm_up:
        known = before.get(result.frame)
        if known is None or not known.faces or not result.faces:
            continue
        overlap = iou_matrix(_corners(result.faces), _corners(known.faces))
        for row, column in enumerate(overlap.argmax(1)):
            if overlap[row, column] >= _SAME_IOU:
                here, there = result.faces[row].track_id, known.faces[int(column)].track_id
                assert here is not None
                assert there is not None
                votes[here, there] += 1
    numbers: dict[int, int] = {}
    for (here, there), _ in votes.most_common():
        if here not in numbers and there not in numbers.values():
            numbers[here] = there
    return numbers


def _corners(faces: Sequence[FaceResult]) -> Float32Array:
    boxes = np.array([face.box for face in faces], np.float32)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
