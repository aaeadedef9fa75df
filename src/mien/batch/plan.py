"""Which inputs make up which part of the work. May import from mien: sources, types, inputs,
remote.

A part is what is done, or not done, as a whole: some pictures, or one video. Its number says the
name of its results. Parts are planned once, and the plan is kept with the results, so that whoever
goes on, or works on another shard, means the same by a number.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mien.batch.inputs import Input
from mien.batch.remote import is_remote, suffix_of
from mien.sources import is_video
from mien.types import VIDEO_SUFFIXES

#: At most so many pictures in a part: what a kill costs is the work on one part for each worker.
PART_SIZE: Final = 256
#: A small batch is cut finer, so that many workers have something to do.
_LEAST_PARTS: Final = 64
_LEAST_SIZE: Final = 8


@dataclass(frozen=True)
class Part:
    """Some pictures, or one video.

    Attributes:
        number: counted from 0, in the order of the inputs; pictures first.
        is_video: which of the two.
        inputs: at least one.
    """

    number: int
    is_video: bool
    inputs: tuple[Input, ...]


def plan_parts(inputs: Sequence[Input], first: int, *, part_size: int = PART_SIZE) -> list[Part]:
    """Cut inputs into parts, numbered from `first`.

    Args:
        inputs: pictures and videos.
        first: the number of the first part.
        part_size: at most so many pictures in one.
    """
    videos = [_opens_as_video(each.path) for each in inputs]
    pictures = [each for each, video in zip(inputs, videos, strict=True) if not video]
    size = min(part_size, max(_LEAST_SIZE, -(-len(pictures) // _LEAST_PARTS)))
    groups = [(False, pictures[i : i + size]) for i in range(0, len(pictures), size)]
    groups += [(True, [each]) for each, video in zip(inputs, videos, strict=True) if video]
    return [
        Part(number, video, tuple(group)) for number, (video, group) in enumerate(groups, first)
    ]


def _opens_as_video(path: str) -> bool:
    """By suffix; where that is not known, a file's content tells, but not that of a distant one."""
    if suffix_of(path) in VIDEO_SUFFIXES:
        return True
    if is_remote(path):
        return False
    try:
        return Path(path).is_file() and is_video(path)
    except OSError:
        return False


def write_plan(parts: Iterable[Part]) -> Iterator[str]:
    """Lines of JSON, one a part. ASCII: file names need not be text."""
    for part in parts:
        inputs = [[each.path, dict(each.values)] for each in part.inputs]
        yield json.dumps({"video": part.is_video, "inputs": inputs}) + "\n"


def read_plan(lines: Iterable[str], first: int) -> Iterator[Part]:
    """Parts out of such lines, numbered from `first`."""
    for number, line in enumerate(lines, first):
        row = json.loads(line)
        inputs = tuple(Input(path, values) for path, values in row["inputs"])
        yield Part(number, row["video"], inputs)
