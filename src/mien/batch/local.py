"""The local engine: worker processes on this machine. May import from mien: errors, schedule,
worker, folder.

Workers are started anew (spawn), not copied: a copy of a process with threads may hang. One that
dies is replaced; what it was at is the schedule's business.
"""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from mien.batch.folder import BatchFolder
from mien.batch.schedule import Schedule, Task
from mien.batch.worker import Order, Worker, limit_memory
from mien.errors import MienError, SinkError


@dataclass
class _Hired:
    """A worker as seen from outside.

    Attributes:
        process, line: the process, and the connection to it.
        ready: whether it has said that it can begin.
        task: what it is at.
    """

    process: SpawnProcess
    line: Connection
    ready: bool = False
    task: Task | None = None


def run_local(
    schedule: Schedule, order: Order, workers: int, on_progress: Callable[[int], None]
) -> None:
    """Do everything that is scheduled.

    Args:
        schedule: what is to be done.
        order: how, and where.
        workers: how many processes.
        on_progress: is told now and then how many inputs are done.

    Raises:
        MienError: results cannot be written, or workers cannot start.
    """
    folder = BatchFolder(order.folder)
    crew: list[_Hired] = []
    try:
        while not schedule.is_finished:
            idle = [member for member in crew if member.ready and member.task is None]
            while idle and (task := schedule.next()) is not None:
                _give(idle.pop(), task)
            if len(crew) < workers and schedule.waiting > sum(not each.ready for each in crew):
                crew.append(_hire(order))
                continue
            lines = {member.line: member for member in crew}
            for line in wait(list(lines)):
                assert isinstance(line, Connection)
                member = lines[line]
                try:
                    answer = line.recv()
                except (EOFError, ConnectionError):
                    crew.remove(member)
                    _bury(member, schedule, folder)
                    continue
                if isinstance(answer, BaseException):
                    raise answer
                if member.task is not None:
                    task, member.task = member.task, None
                    schedule.finished(task, answer)
                member.ready = True
                on_progress(schedule.done)
    finally:
        for member in crew:
            member.process.kill()
        for member in crew:
            member.process.join()


def _hire(order: Order) -> _Hired:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, order), daemon=True)
    process.start()
    theirs.close()  # so that the line ends where the process does
    return _Hired(process, ours)


def _give(member: _Hired, task: Task) -> None:
    member.task = task
    with suppress(OSError):  # where it is dead, the line will say so
        member.line.send(task)


def _bury(member: _Hired, schedule: Schedule, folder: BatchFolder) -> None:
    """Find out how a worker died, and on what."""
    member.process.join()
    code = member.process.exitcode or 0
    why = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    if why == "SIGKILL":
        why += ": killed, perhaps for want of memory"
    if not member.ready:
        raise SinkError(
            f"a worker ended before it could begin ({why}). Give it more memory "
            "(--worker-memory), or use fewer workers"
        )
    if member.task is not None:
        schedule.died(member.task, folder.tried(member.task.name), why)


def _work(line: Connection, order: Order) -> None:
    """The life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        limit_memory(order.settings.memory_mb)
        worker = Worker(order)
        line.send(None)
        while True:
            line.send(worker.do(line.recv()))
    except (EOFError, BrokenPipeError):
        return  # nothing is left to do
    except MienError as error:
        line.send(error)
    except (MemoryError, ImportError):  # a library that finds no memory cannot be loaded
        os._exit(1)
    except Exception:
        line.send(RuntimeError(f"a worker failed:\n{traceback.format_exc()}"))


def _end_with_parent() -> None:
    """A worker never outlives the one it works for: another may soon do the same work."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
