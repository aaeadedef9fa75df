"""The Ray engine: actors on a Ray cluster. May import ray (an extra, inside functions), and from
mien: errors, schedule, settings, worker, folder.

Actors, and not Ray Data: that starts a block again by itself, for ever or not at all, when a worker
dies on it, and does not say on which input. Here the schedule decides, as for processes on one
machine, and a part is committed once however often it is started. All nodes must see the batch's
folder, and the inputs, under the same paths, and have mien installed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any, Final

from mien.batch.folder import BatchFolder
from mien.batch.schedule import Outcome, Schedule, Task
from mien.batch.settings import WORKERS_PER_GPU
from mien.batch.worker import Order, Worker, limit_memory
from mien.errors import ConfigError, MienError, SinkError

_PATIENCE: Final = 20  # actors in a row that die before they can begin


class _Actor:
    """A worker as Ray holds it: in a process of its own, on whatever node has room."""

    def __init__(self, order: Order) -> None:
        self._worker: Worker | MienError
        try:
            limit_memory(order.settings.memory_mb)
            self._worker = Worker(order)
        except MienError as error:
            self._worker = error

    def begin(self) -> None:
        """Nothing, when it is ready."""
        if isinstance(self._worker, MienError):
            raise self._worker

    def do(self, task: Task) -> Outcome:
        """See `Worker.do`."""
        assert isinstance(self._worker, Worker)
        return self._worker.do(task)


def run_ray(
    schedule: Schedule,
    order: Order,
    workers: int | None,
    address: str,
    on_progress: Callable[[int], None],
) -> None:
    """Do everything that is scheduled.

    Args:
        schedule: what is to be done.
        order: how, and where.
        workers: how many actors are asked for; None for as many as the cluster has cores for, and
            GPUs where they compute on those. Those for which there is no room wait, which a cluster
            that grows takes as its cue.
        address: of the cluster.
        on_progress: is told now and then how many inputs are done.

    Raises:
        ConfigError: Ray is not installed, or there is no cluster.
        MienError: results cannot be written, or actors cannot start.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # faces are nobody else's business
    try:
        ray: Any = import_module("ray")
    except ImportError as error:
        raise ConfigError(
            "--engine ray: this needs ray, which mien's runtime does without: "
            "pip install 'mien[ray]'"
        ) from error
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except ConnectionError as error:
        raise ConfigError(
            f"--engine ray: no cluster answers at {address!r}. Start one with `ray start --head`, "
            "or say where it is (--ray-address)"
        ) from error
    try:
        device, wants, room = _wants(order, ray.cluster_resources())
        order = replace(order, settings=replace(order.settings, device=device))
        hire = ray.remote(_Actor).options(
            **wants, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD"
        )
        _Crew(ray, schedule, hire, order, workers or room).work(on_progress)
    finally:
        ray.shutdown()


def _wants(order: Order, there: Mapping[str, float]) -> tuple[str, dict[str, float], int]:
    """On what actors compute, what each asks of the cluster, and for how many there is room."""
    device, threads, gpus = order.settings.device, order.settings.threads, there.get("GPU", 0)
    if device == "auto":
        device = "cuda" if gpus else "cpu"
    wants: dict[str, float] = {"num_cpus": threads}
    room = int(there.get("CPU", 1)) // threads
    if gpus and device.startswith("cuda"):
        if device != "cuda":
            raise ConfigError(f"--device {device}: Ray chooses the GPU of each actor. Say cuda")
        wants["num_gpus"] = 1 / WORKERS_PER_GPU
        room = min(room, int(gpus * WORKERS_PER_GPU))
    return device, wants, max(1, room)


class _Crew:
    """The actors and what they are at."""

    def __init__(self, ray: Any, schedule: Schedule, hire: Any, order: Order, most: int) -> None:
        self._ray, self._schedule, self._hire = ray, schedule, hire
        self._order, self._most = order, most
        self._folder = BatchFolder(order.folder)
        #: What is awaited: the answer of an actor, to a task or (None) to whether it is ready.
        self._awaited: dict[Any, tuple[Any, Task | None]] = {}
        self._idle: list[Any] = []
        self._stillborn = 0

    def work(self, on_progress: Callable[[int], None]) -> None:
        """Until everything is done."""
        while not self._schedule.is_finished:
            while self._idle and (task := self._schedule.next()) is not None:
                actor = self._idle.pop()
                self._awaited[actor.do.remote(task)] = (actor, task)
            coming = sum(task is None for _, task in self._awaited.values())
            while len(self._awaited) + len(self._idle) < self._most:
                if self._schedule.waiting <= coming:
                    break
                actor = self._hire.remote(self._order)
                self._awaited[actor.begin.remote()] = (actor, None)
                coming += 1
            ready, _ = self._ray.wait(list(self._awaited), num_returns=1)
            for answer in ready:
                self._take(answer)
            on_progress(self._schedule.done)

    def _take(self, answer: Any) -> None:
        """An actor has answered, or died."""
        actor, task = self._awaited.pop(answer)
        try:
            outcome = self._ray.get(answer)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, MienError):
                raise error.cause from None
            raise
        except self._ray.exceptions.RayError as error:
            self._ray.kill(actor)  # it may only be out of reach
            self._bury(task, str(error).splitlines()[0])
            return
        self._stillborn = 0
        if task is not None:
            self._schedule.finished(task, outcome)
        self._idle.append(actor)

    def _bury(self, task: Task | None, why: str) -> None:
        if task is not None:
            self._schedule.died(task, self._folder.tried(task.name), why)
            return
        self._stillborn += 1
        if self._stillborn >= _PATIENCE:
            raise SinkError(
                f"{self._stillborn} actors in a row ended before they could begin ({why}). Look "
                "after mien's installation on the cluster's nodes and their memory"
            )
