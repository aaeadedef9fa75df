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
from itertools import takewhile
from os.path import abspath
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
#: Clocks are rounded, in tables too. A frame of another time shows faces where the table has none.
_OFF_S: Final = 0.005
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


def find_videos(
    recordings: Sequence[Recording], videos: Sequence[Path]
) -> tuple[dict[int, Path], list[str]]:
    """Which recording (by its place) lies in which file, and where that cannot be told.

    The given files come first, each for the recording whose path ends most like its own; then those
    to which the tables point.

    Raises:
        ConfigError: a video was given that no table speaks of, or that may be one of several
            recordings, or several that may be the same one.
    """
    filmed = [i for i, recording in enumerate(recordings) if recording.is_video]
    sources: dict[str, set[str]] = defaultdict(set)
    for i in filmed:
        sources[recordings[i].name].add(recordings[i].source)
    found: dict[int, Path] = {}
    problems: list[str] = []
    given = _given(recordings, filmed, videos)
    for i in filmed:
        recording = recordings[i]
        alone = len(sources[recording.name]) == 1
        files = [given[i]] if i in given else _at_source(recording, by_name=alone)
        if len(files) == 1:
            found[i] = files[0]
        elif files:
            problems.append(
                f"no pictures of {recording.name}: a file of that name lies here, and another "
                "where its table is. Say which one it is: --video FILE"
            )
    return found, problems


def _given(
    recordings: Sequence[Recording], filmed: Sequence[int], videos: Sequence[Path]
) -> dict[int, Path]:
    """The given files by the places of their recordings.

    A file and a recording belong together where neither has more of its path in common with
    another one. So of day1/a.mp4 and day2/a.mp4 each gets its own, and nobody gets the other's.
    """
    called: dict[str, list[int]] = defaultdict(list)
    for i in filmed:
        called[recordings[i].name].append(i)
    alike: dict[tuple[int, Path], int] = {}
    for video in videos:
        named = called.get(video.name, [])
        if not named and len(videos) == len(filmed) == 1:
            named = list(filmed)
        if not named:
            names = ", ".join(sorted(called)) or "no video"
            raise ConfigError(f"--video {video}: no table speaks of it. They hold: {names[:300]}")
        alike |= {(i, video): _ends_alike(recordings[i], video) for i in named}
    most: dict[int | Path, int] = defaultdict(int)
    for (i, video), parts in alike.items():
        most[i], most[video] = max(most[i], parts), max(most[video], parts)
    found: dict[int, Path] = {}
    recording_of: dict[Path, Recording] = {}
    for (i, video), parts in alike.items():
        if parts < most[i] or parts < most[video]:
            continue
        recording = recordings[i]
        other, before = found.setdefault(i, video), recording_of.setdefault(video, recording)
        if other.resolve() != video.resolve():
            raise ConfigError(
                f"--video {other} and {video}: either may be {recording.source} of "
                f"{recording.table}. Give paths that end as in the table"
            )
        if _said(before) != _said(recording):
            raise ConfigError(
                f"--video {video}: may be {before.source} of {before.table} or {recording.source} "
                f"of {recording.table}. Give a path that ends as in the table"
            )
    return found


def _ends_alike(recording: Recording, video: Path) -> int:
    """How many parts, from the last one back, a file's path and a recording's have in common.

    Where the table's source is a mere name, the folder of the table goes before it.
    """
    pairs = zip(_said(recording).parts[::-1], Path(abspath(video)).parts[::-1], strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _said(recording: Recording) -> Path:
    """Where a table says that its recording lies."""
    source = recording.source
    path = source.partition("?")[0] if "://" in source else source.replace("\\", "/")
    return Path(abspath(recording.table.parent / path))


def _at_source(recording: Recording, *, by_name: bool) -> list[Path]:
    """The files to which a table points: one, none, or two where the path is that of one from here
    and of another from the table's folder.

    Args:
        by_name: if there is none, a file beside the table that is called so will do.
    """
    source = recording.source
    if "://" in source or "\0" in source or Path(source).suffix.lower() not in VIDEO_SUFFIXES:
        return []
    try:
        beside = recording.table.parent
        files = [place for place in (Path(source), beside / source) if place.is_file()]
        if not files and by_name:
            files = [place for place in (beside / recording.name,) if place.is_file()]
        return list({place.resolve(): place for place in files}.values())
    except OSError:  # a name that cannot be
        return []


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
            # Folders are nobody's business, and the page shows what is missing.
            why = str(error).removeprefix(f"{video}: ").removeprefix(f"{recording.table}: ")
            problems.append(f"no pictures of {recording.name}: {why}")
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
    span = Span(start_s=max(0.0, time_s - _OFF_S), end_s=time_s + 1)
    with open_source(video, span=span) as source:
        frame = next(iter(source))
    if (frame.width, frame.height) != (result.width, result.height):
        raise SourceError(
            f"{video}: has {frame.width} x {frame.height} pixels, the table's video "
            f"{result.width} x {result.height}. It is another one"
        )
    if abs(frame.time_s - time_s) > _OFF_S:
        raise SourceError(f"{video}: has no frame at {time_s:g} s. It is another video, or cut off")
    return frame.image


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
