"""The Ray engine without Ray: nodes that come and go, actors that die, and whose fault it is."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mien.batch import cluster
from mien.batch.cluster import _Actor, _Crew, _why
from mien.batch.schedule import AnalyzePart, AnalyzeSegment, Outcome, Schedule, Task
from mien.batch.settings import Settings
from mien.batch.video import Cut
from mien.batch.worker import Order
from mien.errors import ConfigError, SinkError
from mien.sources import Span
from tests.batches import part_of


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class ActorUnavailableError(RayError):
    pass


@dataclass(eq=False)
class Ref:
    """What is awaited of an actor: an answer to a task, or to whether it is ready."""

    actor: "Handle"
    task: Task | None = None


@dataclass(eq=False)
class Handle:
    """An actor as the driver holds it; its node is None while there is no room for it."""

    ray: "Ray"
    node: str | None = None
    tasks: list[Task] = field(default_factory=list)
    killed: bool = False

    @property
    def begin(self) -> Any:
        return SimpleNamespace(remote=lambda: Ref(self))

    @property
    def do(self) -> Any:
        return SimpleNamespace(remote=lambda task: Ref(self, task))


class Ray:
    """As much of Ray as the crew uses. A node has room for as many actors as it has cores.

    Args:
        cores: of each node.
        does: what an actor does with a task.
    """

    exceptions = SimpleNamespace(
        RayError=RayError, RayTaskError=RayTaskError, ActorUnavailableError=ActorUnavailableError
    )

    def __init__(self, cores: dict[str, int], does: Callable[[Handle, Task], Outcome]) -> None:
        self.cores, self.does = cores, does
        self.lost: set[str] = set()
        self.actors: list[Handle] = []
        self.hire = SimpleNamespace(remote=self._hire)
        self.on_wait: Callable[[], None] = lambda: None
        self.begins: Callable[[Handle], str] = lambda actor: str(actor.node)

    def _hire(self, _order: Order) -> Handle:
        self.actors.append(Handle(self))
        return self.actors[-1]

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": float(sum(n for name, n in self.cores.items() if name not in self.lost))}

    def nodes(self) -> list[dict[str, Any]]:
        return [{"NodeID": name, "Alive": name not in self.lost} for name in self.cores]

    def kill(self, actor: Handle) -> None:
        actor.killed = True

    def wait(self, refs: list[Ref], *, num_returns: int, timeout: float) -> tuple[list[Ref], Any]:
        assert refs
        assert num_returns == 1
        assert timeout > 0
        self.on_wait()
        for actor in [ref.actor for ref in refs]:
            for node, cores in self.cores.items():
                there = sum(each.node == node and not each.killed for each in self.actors)
                if actor.node is None and node not in self.lost and there < cores:
                    actor.node = node
        ready = [ref for ref in refs if ref.actor.node is not None]
        return ready[:1], ready[1:]

    def get(self, ref: Ref) -> Any:
        actor, task = ref.actor, ref.task
        if actor.killed or actor.node in self.lost:
            raise RayError("The actor died unexpectedly.\n\tpid: 7\nIts node has died.")
        if task is None:
            return self.begins(actor)
        actor.tasks.append(task)
        return self.does(actor, task)


def crew(ray: Ray, schedule: Schedule, folder: Path, workers: int | None = None) -> _Crew:
    for name in ("trying", "segments"):
        (folder / ".mien" / name).mkdir(parents=True, exist_ok=True)
    order = Order(Settings(), str(folder))
    return _Crew(ray, schedule, ray.hire, order, {"num_cpus": 1.0}, workers)


def done(_actor: Handle, task: Task) -> Outcome:
    return Outcome(len(task.part.inputs))


def parts(count: int) -> Schedule:
    return Schedule(part_of(f"{number}.png", number=number) for number in range(count))


def test_a_cluster_that_grows_is_asked_and_used(tmp_path: Path) -> None:
    """Without --workers: one more waits than there is room for, and with nodes come more."""
    schedule = parts(40)
    waited: list[Any] = []

    def grow() -> None:
        waiting = sum(actor.node is None for actor in ray.actors)
        if ray.actors and schedule.waiting:
            waited.append(waiting)
        if schedule.done == 5:
            ray.cores["new"] = 6

    ray = Ray({"head": 2}, done)
    ray.on_wait = grow
    crew(ray, schedule, tmp_path).work(lambda _: None)
    assert schedule.done == 40
    assert {actor.node for actor in ray.actors if actor.tasks} == {"head", "new"}
    assert 8 < len(ray.actors) <= 9
    assert waited[5] >= 1


def test_no_more_workers_than_were_asked_for(tmp_path: Path) -> None:
    ray, schedule = Ray({"head": 8}, done), parts(30)
    crew(ray, schedule, tmp_path, workers=3).work(lambda _: None)
    assert (len(ray.actors), schedule.done) == (3, 30)


def test_a_node_with_many_idle_actors_is_lost(tmp_path: Path) -> None:
    """Seven are idle while a video is looked at on another; it is cut as their node goes."""
    video = part_of("v.mp4", is_video=True)
    cuts = tuple(Cut(number, Span(), 0.0, 0, 1) for number in range(3))
    schedule = Schedule([video, *(part_of(f"{n}.png", number=n) for n in range(1, 8))])

    def does(actor: Handle, task: Task) -> Outcome:
        if isinstance(task, AnalyzePart) and task.part.is_video:
            ray.lost.add("other")
            return Outcome(cuts=cuts)
        return Outcome() if isinstance(task, AnalyzeSegment) else Outcome(1)

    ray = Ray({"other": 7, "head": 1}, does)

    def wait(refs: list[Ref], *, num_returns: int, timeout: float) -> Any:
        # The video takes as long as all of the pictures.
        late = [ref for ref in refs if isinstance(ref.task, AnalyzePart) and ref.task.part.is_video]
        others = [ref for ref in refs if ref not in late]
        ready, _ = Ray.wait(ray, others or late, num_returns=num_returns, timeout=timeout)
        return ready or late[:1], []

    ray.wait = wait  # type: ignore[method-assign]
    crew(ray, schedule, tmp_path).work(lambda _: None)
    assert schedule.done == 8


def test_a_node_that_is_lost_is_no_inputs_fault(tmp_path: Path) -> None:
    """One input sees three nodes go, and is done on the fourth."""
    tries = []

    def does(actor: Handle, task: Task) -> Outcome:
        assert isinstance(task, AnalyzePart)
        assert not task.given_up
        tries.append(actor.node)
        if len(tries) <= 3:
            (tmp_path / ".mien/trying" / task.name).write_text("0        7 host")
            ray.lost.add(str(actor.node))
            raise RayError("The actor died.\nIts node has died.")
        return Outcome(1)

    ray, schedule = Ray({"a": 1, "b": 1, "c": 1, "d": 1}, does), parts(1)
    crew(ray, schedule, tmp_path, workers=1).work(lambda _: None)
    assert (len(set(tries)), schedule.done) == (4, 1)
    assert not (tmp_path / ".mien/trying/000000").exists()


def test_an_input_that_ends_workers_is(tmp_path: Path) -> None:
    given_up = []

    def does(actor: Handle, task: Task) -> Outcome:
        assert isinstance(task, AnalyzePart)
        (tmp_path / ".mien/trying" / task.name).write_text("0        7 host")
        if not task.given_up:
            raise RayError("The actor died.\n\tpid: 7\nWorker exits by SIGSEGV.")
        given_up.append(task.given_up)
        return Outcome(1)

    ray, schedule = Ray({"head": 2}, does), parts(1)
    crew(ray, schedule, tmp_path).work(lambda _: None)
    reason = "0.png: ended the worker that read it, 2 times (Worker exits by SIGSEGV.)"
    assert given_up == [{0: reason}]


def test_actors_out_of_reach_are_not_called_for_ever(tmp_path: Path) -> None:
    def does(actor: Handle, _task: Task) -> Outcome:
        raise ActorUnavailableError("The actor is temporarily unavailable: no route")

    ray = Ray({"head": 2}, does)
    with pytest.raises(SinkError, match=r"20 actors in a row .*no route.*nodes"):
        crew(ray, parts(3), tmp_path).work(lambda _: None)
    assert all(actor.killed for actor in ray.actors if actor.tasks)


def test_no_room_is_said(tmp_path: Path) -> None:
    ray = Ray({}, done)
    with pytest.raises(ConfigError, match=r"nobody found room in 30 minutes: .*num_cpus=1 free"):
        crew(ray, parts(3), tmp_path).work(lambda _: None)
    assert len(ray.actors) == 1


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (ImportError("no module named av"), SinkError, "cannot begin .ImportError: no module"),
        (ConfigError("another version"), ConfigError, "^another version$"),
    ],
)
def test_who_cannot_begin_says_why(
    tmp_path: Path, error: Exception, kind: type[Exception], says: str
) -> None:
    def begins(_actor: Handle) -> str:
        raise RayTaskError(error)

    ray = Ray({"head": 2}, done)
    ray.begins = begins
    with pytest.raises(kind, match=says) as caught:
        crew(ray, parts(3), tmp_path).work(lambda _: None)
    assert "\n" not in str(caught.value)


def test_an_actor_begins_when_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """In `__init__`, an error would be a dead actor; and being asked again costs nothing."""
    made: list[Any] = []
    context = SimpleNamespace(get_node_id=lambda: "abc")
    ray = SimpleNamespace(get_runtime_context=lambda: context)
    monkeypatch.setattr(cluster, "Worker", made.append)
    monkeypatch.setattr(cluster, "limit_memory", lambda _mb: None)
    monkeypatch.setattr(cluster, "import_module", lambda _name: ray)
    actor = _Actor(Order(Settings(), "out"))
    assert not made
    assert actor.begin() == "abc"
    assert len(made) == 1


def test_what_ray_says_of_a_death() -> None:
    said = "The actor died.\n\tclass_name: _Actor\n\tpid: 7\nIts node has died.\nMore."
    assert _why(RayError(said)) == "Its node has died."
    assert _why(RayError("Short")) == "Short"
    assert _why(RayError("")) == "RayError"
