"""What is to be done next, and what when somebody does not come back.

May import from mien: errors, plan, video. Who does the work, and where, is the engines' business.

A long video is cut by whoever gets it first; its segments are tasks of their own, and when all are
there, so is joining them. A worker that dies (a crash in a decoder, too little memory) is on one
input at that time. It is tried once more, before the others of its part; then it is listed as a
failure, and the others are done without it. A long video keeps the segments before.
"""

from __future__ import annotations

from collections import Counter, deque
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
    """Join the segments of a long video and commit the results.

    Attributes:
        part: which.
        cuts: the video's, or those before what cannot be read.
        error: why that cannot be read.
    """

    part: Part
    cuts: tuple[Cut, ...]
    error: str | None = None

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
        self._errors: dict[int, str] = {}
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
        if isinstance(task, AnalyzeSegment) and not self._wants(task):
            return
        number = task.part.number
        if outcome.cuts:
            self._cuts[number] = outcome.cuts
            self._missing[number] = {cut.number for cut in outcome.cuts}
            segments = [AnalyzeSegment(task.part, cut) for cut in outcome.cuts]
            self._queue.extendleft(reversed(segments))
        elif outcome.misfit:
            self._whole(task.part)
        elif isinstance(task, AnalyzeSegment):
            self._missing[number].discard(task.cut.number)
            self._join_if_complete(task.part)

    def returned(self, task: Task) -> None:
        """A task came back undone, and no input is to blame: the whole machine is gone."""
        self._under_way.discard(task.name)
        if not isinstance(task, AnalyzeSegment) or self._wants(task):
            self._queue.appendleft(task)

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
        reason = self._blame(task, index, why)
        if isinstance(task, AnalyzePart):
            known = dict(task.given_up)
            if index is not None and reason is not None:
                known[index] = reason
            suspect = None if index in known else index
            self._queue.appendleft(replace(task, suspect=suspect, given_up=known))
        elif isinstance(task, AnalyzeSegment) and reason is not None and self._wants(task):
            self._end_before(task, reason)
        else:
            self.returned(task)

    def _blame(self, task: Task, index: int | None, why: str) -> str | None:
        """Why an input is to be given up; None where what died may be tried again."""
        self._deaths[task.name, index] += 1
        times = self._deaths[task.name, index]
        if index is None:
            if times >= _LOST:
                raise SinkError(
                    f"part {task.part.number}: {times} workers ended on it, and on none of its "
                    f"inputs ({why}). Look after the memory and the disk, then give the same "
                    "command again: what is done is kept"
                )
            return None
        if times < _TRIES:
            return None
        path = task.part.inputs[index].path
        return f"{path}: ended the worker that read it, {times} times ({why})"

    def _wants(self, task: AnalyzeSegment) -> bool:
        """Whether a segment is waited for: the video was neither given up there nor begun anew."""
        return task.cut.number in self._missing.get(task.part.number, ())

    def _end_before(self, task: AnalyzeSegment, reason: str) -> None:
        """A video ends where a segment of it cannot be read, as a damaged one does."""
        number = task.part.number
        kept = self._cuts[number][: task.cut.number]
        if not kept:
            self._whole(task.part, {0: reason})
            return
        self._cuts[number], self._errors[number] = kept, reason
        self._missing[number] &= {cut.number for cut in kept}
        self._queue = deque(
            each
            for each in self._queue
            if not isinstance(each, AnalyzeSegment) or self._wants(each)
        )
        self._join_if_complete(task.part)

    def _join_if_complete(self, part: Part) -> None:
        if not self._missing[part.number]:
            error = self._errors.get(part.number)
            self._queue.appendleft(JoinSegments(part, self._cuts[part.number], error))

    def _whole(self, part: Part, given_up: Mapping[int, str] | None = None) -> None:
        """A video in segments becomes one task again."""
        self._missing.pop(part.number)
        kept = (each for each in self._queue if each.part.number != part.number)
        self._queue = deque([AnalyzePart(part, may_cut=False, given_up=given_up or {}), *kept])
