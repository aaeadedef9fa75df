"""The moments at which faces showed most, cut out of their videos. Imports Pillow, and from mien:
annotate, errors, events, results, sources, types, and the siblings `findings` and `recording`.

Only plain video files are opened: a table may come from anywhere, and what it calls its source is
no reason to follow a URL.
"""

from __future__ import annotations

from base64 import b64encode
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

from PIL import Image

from mien.annotate import anonymize
from mien.errors import ConfigError, SourceError
from mien.events import Segment
from mien.report.findings import NEUTRAL
from mien.report.recording import Recording
from mien.results import read_results
from mien.sources import Span, open_source
from mien.types import VIDEO_SUFFIXES, FrameResult, UInt8Array

_MOST: Final = 12  # pictures in a report
_SIDE_PX: Final = 200
_AROUND: Final = 1.6  # sides of the picture in sides of the face
_AROUND_BLURRED: Final = 3.0  # more of its surroundings, where the face itself is not to be seen


@dataclass(frozen=True)
class Thumbnail:
    """One segment's peak.

    Attributes:
        recording: whose.
        segment: what.
        uri: the picture as a `data:` URI.
    """

    recording: Recording
    segment: Segment
    uri: str


def find_videos(recordings: Sequence[Recording], videos: Sequence[Path]) -> dict[int, Path]:
    """Which recording (by its place) lies in which file: the given ones by name, else its source.

    Raises:
        ConfigError: a video was given that no table speaks of.
    """
    filmed = [(i, recording) for i, recording in enumerate(recordings) if recording.is_video]
    found = {i: file for i, recording in filmed if (file := _at_source(recording)) is not None}
    for video in videos:
        named = [i for i, recording in filmed if recording.name == video.name]
        if not named and len(videos) == len(filmed) == 1:
            named = [filmed[0][0]]
        if not named:
            names = ", ".join(sorted({recording.name for _, recording in filmed})) or "no video"
            raise ConfigError(f"--video {video}: no table speaks of it. They hold: {names[:300]}")
        found |= dict.fromkeys(named, video)
    return found


def _at_source(recording: Recording) -> Path | None:
    source = recording.source
    if "://" in source or "\0" in source or Path(source).suffix.lower() not in VIDEO_SUFFIXES:
        return None
    try:
        beside = recording.table.parent
        places = (Path(source), beside / source, beside / Path(source).name)
        return next((place for place in places if place.is_file()), None)
    except OSError:  # a name that cannot be
        return None


def cut_out(
    recordings: Sequence[Recording], videos: Mapping[int, Path], *, blur: bool
) -> tuple[list[Thumbnail], list[str]]:
    """Pictures of the strongest peaks, and why some are missing.

    Args:
        recordings: all of a report's.
        videos: the files of some of them, by place.
        blur: make every known face unrecognizable, and show more of what is around it.
    """
    chosen = _strongest(recordings, videos)
    thumbnails: list[Thumbnail] = []
    problems: list[str] = []
    for number, segments in chosen.items():
        recording, video = recordings[number], videos[number]
        try:
            for segment, result in _frames(recording, segments):
                image = _frame(video, segment.peak_s, result)
                uri = _picture(image, result, segment.track_id, blur=blur)
                thumbnails.append(Thumbnail(recording, segment, uri))
        except SourceError as error:
            problems.append(f"no pictures of {recording.name}: {error}")
    return thumbnails, problems


def _strongest(
    recordings: Sequence[Recording], videos: Mapping[int, Path]
) -> dict[int, list[Segment]]:
    """Of every class but neutral the best peak in turn, then the second, until there are enough."""
    ranked: dict[str, list[tuple[int, Segment]]] = defaultdict(list)
    for number in videos:
        for segment in recordings[number].segments():
            if segment.expression != NEUTRAL:
                ranked[segment.expression].append((number, segment))
    for peaks in ranked.values():
        peaks.sort(key=lambda item: -item[1].peak)
    rounds = max(map(len, ranked.values()), default=0)
    in_turn = [
        peaks[i] for i in range(min(rounds, _MOST)) for peaks in ranked.values() if i < len(peaks)
    ]
    chosen: dict[int, list[Segment]] = defaultdict(list)
    for number, segment in in_turn[:_MOST]:
        chosen[number].append(segment)
    return chosen


def _frames(recording: Recording, segments: Sequence[Segment]) -> list[tuple[Segment, FrameResult]]:
    """What the table says about the frames of some peaks."""
    waiting = sorted(segments, key=lambda segment: -segment.peak_s)
    found = []
    for result in read_results(recording.table):
        if result.source != recording.source:
            continue
        numbers = {face.track_id for face in result.faces}
        while waiting and waiting[-1].peak_s <= result.time_s:
            segment = waiting.pop()
            if segment.peak_s == result.time_s and segment.track_id in numbers:
                found.append((segment, result))
        if not waiting:
            break
    return found


def _frame(video: Path, time_s: float, result: FrameResult) -> UInt8Array:
    span = Span(start_s=max(0.0, time_s - 0.002), end_s=time_s + 1)
    with open_source(video, span=span) as source:
        for frame in source:
            if (frame.width, frame.height) != (result.width, result.height):
                raise SourceError(
                    f"{video}: has {frame.width} x {frame.height} pixels, the table's video "
                    f"{result.width} x {result.height}. It is another one"
                )
            return frame.image
    raise SourceError(f"{video}: has no frame at {time_s:g} s. It is another video, or cut off")


def _picture(image: UInt8Array, result: FrameResult, track_id: int, *, blur: bool) -> str:
    x, y, w, h = next(face.box for face in result.faces if face.track_id == track_id)
    if blur:
        image = anonymize(image, result.faces)
    height, width = image.shape[:2]
    side = max(1.0, min(max(w, h) * (_AROUND_BLURRED if blur else _AROUND), width, height))
    left = min(max(x + w / 2 - side / 2, 0.0), width - side)
    top = min(max(y + h / 2 - side / 2, 0.0), height - side)
    edges = (left, top, left + side, top + side)
    file = BytesIO()
    Image.fromarray(image).resize(
        (_SIDE_PX, _SIDE_PX), Image.Resampling.LANCZOS, box=edges, reducing_gap=2.0
    ).save(file, "JPEG", quality=84)
    return "data:image/jpeg;base64," + b64encode(file.getvalue()).decode("ascii")
