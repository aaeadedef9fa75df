"""What an opened source is, and which part of it is wanted. Imports types only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf

from mien.types import Frame


@dataclass(frozen=True)
class Span:
    """Which frames of a video are wanted.

    Attributes:
        start_s, end_s: from when, and up to when (without), in seconds from the video's beginning.
        every: only each so many-th frame.
        fps: at most so many frames a second, evenly; None for all.
        first: the number of the first frame from `start_s` on, where this is a part of a span that
            was cut up.
        due_s: with `fps`, no frame is wanted before, for the same case.
    """

    start_s: float = 0.0
    end_s: float = inf
    every: int = 1
    fps: float | None = None
    first: int = 0
    due_s: float = -inf

    def __post_init__(self) -> None:
        if not 0 <= self.start_s < self.end_s:
            raise ValueError(f"expected 0 <= start < end, got {self.start_s} and {self.end_s} s")
        if self.every < 1:
            raise ValueError(f"every: expected at least 1, got {self.every}")
        if self.fps is not None and not self.fps > 0:
            raise ValueError(f"fps: expected a positive number, got {self.fps}")

    def picker(self) -> Picker:
        """A function that says of each frame in turn, by number and time, whether it is wanted."""
        return Picker(self, self.due_s)


@dataclass
class Picker:
    """Says of each frame of a span in turn whether it is wanted.

    Attributes:
        span: which frames are.
        due_s: with `fps`, when the next one is.
    """

    span: Span
    due_s: float

    def __call__(self, index: int, time_s: float) -> bool:
        """Whether the frame with this number and time is wanted."""
        span = self.span
        if index % span.every or not span.start_s <= time_s < span.end_s:
            return False
        if span.fps is not None:
            # Clocks are rounded to milliseconds in many files.
            if time_s + 0.0015 < self.due_s:
                return False
            step_s = 1 / span.fps
            late = self.due_s < time_s - step_s
            self.due_s = time_s + step_s if late else self.due_s + step_s
        return True


class Source:
    """An opened source. Iterate it once for its frames; it is a context manager.

    Attributes:
        name: what the user called it.
        is_video: whether its frames follow each other in time.
        frame_count: how many frames its header announces; None when it does not say.
        is_live: whether its frames come when they come: a camera, a network stream or a pipe.
    """

    def __init__(
        self,
        name: str,
        frames: Iterator[Frame],
        *,
        is_video: bool,
        frame_count: int | None,
        is_live: bool = False,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.is_video = is_video
        self.frame_count = frame_count
        self.is_live = is_live
        self._frames = frames
        self._closings = [close]

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the file. Iterating afterwards is an error."""
        while self._closings:
            self._closings.pop(0)()

    def before_closing(self, release: Callable[[], None]) -> None:
        """Have something that uses the source released before it."""
        self._closings.insert(0, release)

    def when_closed(self, release: Callable[[], None]) -> None:
        """Have something else released after the source."""
        self._closings.append(release)
