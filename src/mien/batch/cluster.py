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
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Final

from mien.batch.folder import BatchFolder
from mien.batch.schedule import Outcome, Schedule, Task
from mien.batch.settings import WORKERS_PER_GPU
from mien.batch.worker import Order, Worker, limit_memory
from mien.errors import ConfigError, MienError, SinkError

_PATIENCE: Final = 20  # actors in a row, or twice all there are, that end for no visible reason
_ROOM_S: Final = 1800.0  # for so long nobody at all may find room: new nodes take their time


class _Actor:
    """A worker as Ray holds it: in a process of its own, on whatever node has room."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._worker: Worker | None = None

    def begin(self) -> str:
        """Be ready; on which node. Not in `__init__`, of whose errors Ray keeps only a text."""
        if self._worker is None:
            limit_memory(self._order.settings.memory_mb)
            self._worker = Worker(self._order)
        return str(import_module("ray").get_runtime_context().get_node_id())

    def do(self, task: Task) -> Outcome:
        """See `Worker.do`."""
        assert self._worker is not None
        return self._worker.do(task)


@dataclass(eq=False)
class _Hired:
    """An actor, and on which node it is, once it is ready."""

    actor: Any
    node: str = ""


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
            GPUs where they compute on those, whenever nodes come or go, and one more. Those for
            which there is no room wait, which a cluster that grows takes as its cue.
        address: of the cluster.
        on_progress: is told now and then how many inputs are done.

    Raises:
        ConfigError: Ray is not installed, there is no cluster, or none with room.
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
        device, wants = _wants(order, ray.cluster_resources())
        order = replace(order, settings=replace(order.settings, device=device))
        hire = ray.remote(_Actor).options(
            **wants, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD"
        )
        _Crew(ray, schedule, hire, order, wants, workers).work(on_progress)
    finally:
        ray.shutdown()


def _wants(order: Order, there: Mapping[str, float]) -> tuple[str, dict[str, float]]:
    """On what actors compute, and what each asks of the cluster."""
    device, wants = order.settings.device, {"num_cpus": float(order.settings.threads)}
    if device == "auto":
        device = "cuda" if there.get("GPU") else "cpu"
    if device.startswith("cuda"):
        if device != "cuda":
            raise ConfigError(f"--device {device}: Ray chooses the GPU of each actor. Say cuda")
        wants["num_gpus"] = 1 / WORKERS_PER_GPU  # also where nodes with one are still to come
    return device, wants


def _room(wants: Mapping[str, float], there: Mapping[str, float]) -> int:
    """For how many actors a cluster has room, if nobody else uses it."""
    names = {"num_cpus": "CPU", "num_gpus": "GPU"}
    return min(int(there.get(names[what], 0) / amount) for what, amount in wants.items())


class _Crew:
    """The actors and what they are at."""

    def __init__(
        self,
        ray: Any,
        schedule: Schedule,
        hire: Any,
        order: Order,
        wants: Mapping[str, float],
        workers: int | None,
    ) -> None:
        self._ray, self._schedule, self._hire = ray, schedule, hire
        self._order, self._wants, self._workers = order, wants, workers
        self._folder = BatchFolder(order.folder)
        #: What is awaited: the answer of an actor, to a task or (None) to whether it is ready.
        self._awaited: dict[Any, tuple[_Hired, Task | None]] = {}
        self._idle: list[_Hired] = []
        self._most = 0
        self._unlucky = 0

    def work(self, on_progress: Callable[[int], None]) -> None:
        """Until everything is done."""
        self._count_room()
        while not self._schedule.is_finished:
            while self._idle and (task := self._schedule.next()) is not None:
                member = self._idle.pop()
                self._awaited[member.actor.do.remote(task)] = (member, task)
            coming = sum(task is None for _, task in self._awaited.values())
            while len(self._awaited) + len(self._idle) < self._most:
                if self._schedule.waiting <= coming:
                    break
                self._ask(_Hired(self._hire.remote(self._order)))
                coming += 1
            ready, _ = self._ray.wait(list(self._awaited), num_returns=1, timeout=_ROOM_S)
            if not ready and coming == len(self._awaited):
                raise ConfigError(
                    f"--engine ray: nobody found room in {_ROOM_S / 60:.0f} minutes: no node had "
                    f"{', '.join(f'{what}={much:g}' for what, much in self._wants.items())} free. "
                    "Add nodes, wait for others' work, or ask for less (--threads, --device)"
                )
            for answer in ready:
                self._take(answer)
            on_progress(self._schedule.done)

    def _ask(self, member: _Hired) -> None:
        """Whether it is ready, or still there."""
        self._awaited[member.actor.begin.remote()] = (member, None)

    def _count_room(self) -> None:
        """How many there may be now. One more than there is room for, so that a cluster grows."""
        room = _room(self._wants, self._ray.cluster_resources())
        self._most = self._workers or room + 1

    def _take(self, answer: Any) -> None:
        """An actor has answered, or died."""
        member, task = self._awaited.pop(answer)
        try:
            outcome = self._ray.get(answer)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, MienError):
                raise error.cause from None
            if task is not None:
                raise
            why = f"{type(error.cause).__name__}: {error.cause}".splitlines()[0]
            raise SinkError(
                f"a worker cannot begin ({why}). Look after mien's installation on the cluster's "
                "nodes and their memory, then give the same command again: what is done is kept"
            ) from error
        except self._ray.exceptions.RayError as error:
            self._ray.kill(member.actor)  # it may only be out of reach
            self._bury(member, task, error)
            return
        if task is None:
            member.node = outcome
            self._count_room()
        else:
            self._schedule.finished(task, outcome)
            self._unlucky = 0
        self._idle.append(member)

    def _bury(self, member: _Hired, task: Task | None, error: Any) -> None:
        """Find out whose fault it is, and who else is dead."""
        why = _why(error)
        unreachable = isinstance(error, self._ray.exceptions.ActorUnavailableError)
        node_lost = getattr(error, "preempted", False) or any(
            node["NodeID"] == member.node and not node["Alive"] for node in self._ray.nodes()
        )
        if task is not None:
            index = self._folder.tried(task.name)
            if node_lost or unreachable:
                self._schedule.returned(task)
            else:
                self._schedule.died(task, index, why)
        if not node_lost and (task is None or unreachable):
            self._unlucky += 1
            if self._unlucky >= max(_PATIENCE, 2 * self._most):
                raise SinkError(
                    f"{self._unlucky} actors in a row ended before they did anything ({why}). Look "
                    "after the cluster's nodes: their memory, their network, and mien's "
                    "installation there"
                )
        for other in self._idle:  # on the same node, perhaps
            self._ask(other)
        self._idle.clear()
        self._count_room()


def _why(error: Exception) -> str:
    """Why an actor died: Ray says first that it did, and then much about which one it was."""
    lines = [line for line in str(error).splitlines() if line and not line.startswith("\t")]
    return lines[min(1, len(lines) - 1)] if lines else type(error).__name__
