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
        start_s, end_s: from when, and up to when (without), by the video's own clock.
        every: only each so many-th frame.
        fps: at most so many frames a second, evenly; None for all.
    """

    start_s: float = 0.0
    end_s: float = inf
    every: int = 1
    fps: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start_s < self.end_s:
            raise ValueError(f"expected 0 <= start < end, got {self.start_s} and {self.end_s} s")
        if self.every < 1:
            raise ValueError(f"every: expected at least 1, got {self.every}")
        if self.fps is not None and not self.fps > 0:
            raise ValueError(f"fps: expected a positive number, got {self.fps}")

    def picker(self) -> Callable[[int, float], bool]:
        """A function that says of each frame in turn, by number and time, whether it is wanted."""
        due_s = -inf

        def wanted(index: int, time_s: float) -> bool:
            nonlocal due_s
            if index % self.every or not self.start_s <= time_s < self.end_s:
                return False
            if self.fps is not None:
                # Clocks are rounded to milliseconds in many files.
                if time_s + 0.0015 < due_s:
                    return False
                step_s = 1 / self.fps
                due_s = time_s + step_s if due_s < time_s - step_s else due_s + step_s
            return True

        return wanted


class Source:
    """An opened source. Iterate it once for its frames; it is a context manager.

    Attributes:
        name: what the user called it.
        is_video: whether its frames follow each other in time.
        frame_count: how many frames its header announces; None when it does not say.
        is_live: whether its frames come when they come: a camera or a network stream.
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

    def when_closed(self, release: Callable[[], None]) -> None:
        """Have something else released after the source."""
        self._closings.append(release)
