"""A batch from beginning to end. Imports from mien: errors, types, and all of its own package."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from mien.batch.cluster import run_ray
from mien.batch.folder import BatchFolder
from mien.batch.inputs import list_inputs
from mien.batch.local import run_local
from mien.batch.partitions import Totals, last_words, read_record, write_tables
from mien.batch.plan import PART_SIZE, Part, plan_parts
from mien.batch.remote import is_remote
from mien.batch.schedule import Schedule
from mien.batch.settings import WORKERS_PER_GPU, Job, Settings
from mien.batch.worker import Order
from mien.errors import ConfigError, SinkError, SourceError
from mien.types import require_one_of

EngineName = Literal["local", "ray"]


@dataclass(frozen=True)
class Shard:
    """One of several that share the work, each its own command.

    Attributes:
        index, count: which, from 1, of how many.
    """

    index: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise ValueError(f"expected 1 <= index <= count, got {self.index} and {self.count}")

    def has(self, part: Part) -> bool:
        """Whether a part is its business."""
        return part.number % self.count == self.index - 1

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


@dataclass(frozen=True)
class Engine:
    """Who does the work.

    Attributes:
        name: `local`, processes on this machine; `ray`, actors on a Ray cluster.
        workers: how many; None for one for each core, and on GPUs no more than `WORKERS_PER_GPU`.
        address: of the Ray cluster.
    """

    name: EngineName = "local"
    workers: int | None = None
    address: str = "auto"

    def __post_init__(self) -> None:
        require_one_of("name", self.name, get_args(EngineName))


@dataclass(frozen=True)
class Summary:
    """What a batch has come to.

    Attributes:
        totals: of everything in its folder.
        before: how many inputs of this shard were done when it began.
        unlisted: arguments that could not be listed, and why.
    """

    totals: Totals
    before: int
    unlisted: Sequence[tuple[str, str]]


def run_batch(
    arguments: Sequence[str],
    out: str | os.PathLike[str],
    *,
    settings: Settings | None = None,
    engine: Engine | None = None,
    shard: Shard | None = None,
    part_size: int = PART_SIZE,
    retry_failed: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Summary:
    """Analyse many pictures and videos into a folder of Parquet files.

    Interrupted, however, and called again with the same arguments, it goes on; the union of its
    results is the same as if nothing had happened.

    Args:
        arguments: folders, globs, files, addresses, or manifests (`.csv`, `.parquet`).
        out: the batch's folder. Every worker must see it under this path.
        settings: how to analyse.
        engine: who does it.
        shard: which share of the work this is.
        part_size: at most so many pictures are written at once.
        retry_failed: try again what is listed as a failure.
        on_progress: is told how many inputs of this shard are done, and how many there are.

    Raises:
        ConfigError: other settings than those the folder was begun with; somebody is at work there
            on the same shard; a manifest is not one; a package is missing; the device cannot be
            used.
        SourceError: there is no input at all.
        SinkError: results cannot be written; workers cannot start.
    """
    settings, engine, shard = settings or Settings(), engine or Engine(), shard or Shard()
    if retry_failed and shard.count > 1:
        raise ConfigError(f"shard {shard}: failures are tried again without shards, all at once")
    if is_remote(os.fspath(out)):
        raise ConfigError(
            f"{out}: is an address, and results are written into a folder. Give one (--out), and "
            "copy it there when the batch has ended"
        )
    listing = list_inputs(arguments)
    unlisted = [(argument, str(error)) for argument, error in listing.failures]
    if not listing.inputs:
        why = "; ".join(error for _, error in unlisted)
        raise SourceError(why or f"{', '.join(arguments)}: names no input. Give pictures or videos")
    folder = BatchFolder(Path(out).absolute())
    job = Job.of(settings, listing.columns, elsewhere=engine.name == "ray")
    folder.begin(job)
    if settings.device == "auto":  # the same for all workers, however little memory is left to some
        settings = replace(settings, device=job.settings["device"])
    with folder.locked(f"shard-{shard.index}-of-{shard.count}") as free, folder.at_work():
        if not free:
            raise ConfigError(f"{out}: another `mien batch` is at work there on shard {shard}")
        parts = folder.extend(listing.inputs, part_size=part_size)
        if retry_failed:
            _plan_failures_again(folder, parts, part_size)
            parts = folder.parts()
        mine = [part for part in parts if shard.has(part)]

        def tidy() -> Totals:
            """Remove what is unfinished, and write the tables of what is done, by all shards."""
            folder.clean(part.number for part in mine)
            return write_tables(folder, folder.parts(), unlisted)

        tidy()  # of what a killed run has left
        missing = [
            part
            for part in mine
            if folder.is_again(part.number) or read_record(folder.partition(part.number)) is None
        ]
        left = {each.path for part in missing for each in part.inputs}
        # What failed and was planned again is in two parts, and counts once.
        before = len({each.path for part in mine for each in part.inputs} - left)
        total = before + len(left)
        schedule = Schedule(missing)
        order = Order(settings.settled(), str(folder.path))
        try:
            _run(engine, schedule, order, lambda done: on_progress(before + done, total))
        except BaseException:
            with suppress(SinkError, OSError):  # why it stopped is what matters
                tidy()
            raise
        totals = tidy()
    return Summary(totals, before, unlisted)


def _run(
    engine: Engine, schedule: Schedule, order: Order, on_progress: Callable[[int], None]
) -> None:
    on_progress(0)
    if schedule.is_finished:
        return
    if engine.name == "ray":
        run_ray(schedule, order, engine.workers, engine.address, on_progress)
        return
    most = _cores()
    if order.settings.device.startswith("cuda"):
        most = min(most, WORKERS_PER_GPU)
    run_local(schedule, order, engine.workers or most, on_progress)


def _cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _plan_failures_again(folder: BatchFolder, parts: Sequence[Part], part_size: int) -> None:
    """Make what failed something to be done again.

    A picture that failed has no rows, and is planned once more. A damaged video has those before
    the damage: its part is done again, and keeps them until there are others.

    Raises:
        ConfigError: somebody else has planned something meanwhile.
        SinkError: the disk does not take it.
    """
    plans = folder.plans
    again, videos = [], []
    for part, done, stays in list(last_words(folder, parts)):
        if done.error is None or not stays:
            continue
        if part.is_video:
            videos.append(part.number)
        else:
            again += [each for each in part.inputs if each.path == done.source]
    # Not beside what somebody else plans: that may be the same.
    if again and not folder.add_plan(plan_parts(again, len(parts), part_size=part_size), plans):
        raise ConfigError(
            f"{folder.path}: another `mien batch` planned more there at this moment. Give the same "
            "command again"
        )
    for number in videos:
        folder.do_again(number)
