"""What is to be done next, and what when somebody does not come back.

May import from mien: errors, plan, video. Who does the work, and where, is the engines' business.

A long video is cut by whoever gets it first; its segments are tasks of their own, and when all are
there, so is joining them. A worker that dies (a crash in a decoder, too little memory) is on one
input at that time. It is tried once more, before the others of its part; then it is listed as a
failure, and the others are done without it.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from mien.batch.plan import Part
from mien.batch.video import Cut
from mien.errors import SinkError

_TRIES: Final = 2  # of one input that costs a worker its life
_LOST: Final = 3  # of a task whose workers died on no input


@dataclass(frozen=True)
class AnalyzePart:
    """Analyse a part's inputs and commit the results.

    Attributes:
        part: which.
        may_cut: whether a long video comes back as cuts.
        suspect: index of the input to begin with.
        given_up: inputs that are not to be touched any more, by index, and why.
    """

    part: Part
    may_cut: bool = True
    suspect: int | None = None
    given_up: Mapping[int, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What distinguishes it from other tasks: a part's number, and what follows a hyphen."""
        return f"{self.part.number:06}"


@dataclass(frozen=True)
class AnalyzeSegment:
    """Analyse a part of a long video and keep the results until they are joined."""

    part: Part
    cut: Cut

    @property
    def name(self) -> str:
        """As of `AnalyzePart`."""
        return f"{self.part.number:06}-{self.cut.number:06}"


@dataclass(frozen=True)
class JoinSegments:
    """Join the segments of a long video and commit the results."""

    part: Part
    cuts: tuple[Cut, ...]

    @property
    def name(self) -> str:
        """As of `AnalyzePart`."""
        return f"{self.part.number:06}-join"


Task = AnalyzePart | AnalyzeSegment | JoinSegments


@dataclass(frozen=True)
class Outcome:
    """What came of a task.

    Attributes:
        inputs: how many inputs are done by it.
        cuts: of a video that is long.
        misfit: its segments are not what the container announced, or could not be read: the video
            is to be read as a whole.
    """

    inputs: int = 0
    cuts: tuple[Cut, ...] = ()
    misfit: bool = False


class Schedule:
    """Hands out tasks until all parts are done.

    Args:
        parts: those that are to be done.

    Attributes:
        done: how many inputs are.
    """

    def __init__(self, parts: Iterable[Part]) -> None:
        ordered = sorted(parts, key=lambda part: (not part.is_video, part.number))
        # What takes longest comes first, so that in the end nobody waits for one.
        self._queue: deque[Task] = deque(map(AnalyzePart, ordered))
        self._under_way: set[str] = set()
        self._cuts: dict[int, tuple[Cut, ...]] = {}
        self._missing: dict[int, set[int]] = {}
        self._deaths: Counter[tuple[str, int | None]] = Counter()
        self._given_up: defaultdict[int, dict[int, str]] = defaultdict(dict)
        self.done = 0

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left, and nothing under way."""
        return not self._queue and not self._under_way

    @property
    def waiting(self) -> int:
        """How many tasks could be handed out now."""
        return len(self._queue)

    def next(self) -> Task | None:
        """A task; None where there is none just now."""
        if not self._queue:
            return None
        task = self._queue.popleft()
        self._under_way.add(task.name)
        return task

    def finished(self, task: Task, outcome: Outcome) -> None:
        """A task came back."""
        self._under_way.discard(task.name)
        self.done += outcome.inputs
        number = task.part.number
        if isinstance(task, AnalyzePart):
            if outcome.cuts:
                self._cuts[number] = outcome.cuts
                self._missing[number] = {cut.number for cut in outcome.cuts}
                segments = [AnalyzeSegment(task.part, cut) for cut in outcome.cuts]
                self._queue.extendleft(reversed(segments))
        elif number in self._missing:  # and the video was not given up in the meantime
            if outcome.misfit:
                self._whole(AnalyzePart(task.part, may_cut=False))
            elif isinstance(task, AnalyzeSegment):
                self._missing[number].discard(task.cut.number)
                if not self._missing[number]:
                    self._queue.appendleft(JoinSegments(task.part, self._cuts[number]))

    def died(self, task: Task, index: int | None, why: str) -> None:
        """Whoever had a task did not come back.

        Args:
            task: which.
            index: on which of the part's inputs it was; None if on none.
            why: how it ended.

        Raises:
            SinkError: it happened on no input, again and again.
        """
        self._under_way.discard(task.name)
        self._deaths[task.name, index] += 1
        times = self._deaths[task.name, index]
        if index is None:
            if times >= _LOST:
                raise SinkError(
                    f"part {task.part.number}: {times} workers ended on it, and on none of its "
                    f"inputs ({why}). Look after the memory and the disk, then give the same "
                    "command again: what is done is kept"
                )
        elif times >= _TRIES:
            path = task.part.inputs[index].path
            reason = f"{path}: ended the worker that read it, {times} times ({why})"
            self._given_up[task.part.number][index] = reason
        if isinstance(task, AnalyzePart):
            known = dict(self._given_up[task.part.number])
            suspect = None if index in known else index
            self._queue.appendleft(replace(task, suspect=suspect, given_up=known))
        elif task.part.number in self._missing:
            given_up = self._given_up[task.part.number]
            if given_up:
                self._whole(AnalyzePart(task.part, may_cut=False, given_up=dict(given_up)))
            else:
                self._queue.appendleft(task)

    def _whole(self, task: AnalyzePart) -> None:
        """A video in segments becomes one task again."""
        del self._missing[task.part.number], self._cuts[task.part.number]
        kept = (each for each in self._queue if each.part.number != task.part.number)
        self._queue = deque([task, *kept])
