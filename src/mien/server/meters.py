"""What is counted for Prometheus. May import prometheus-client and Starlette's types."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector
from starlette.types import Scope

#: Labels come from this list and from the routes: clients cannot make new ones.
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Meters:
    """The counters of one server."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "mien_requests", "HTTP requests", ["method", "path", "status"], registry=registry
        )
        self._seconds = Histogram(
            "mien_request_seconds",
            "from a request's header to the end of its answer",
            ["path"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._faces = Counter("mien_faces", "faces found", ["kind"], registry=registry)
        self._frames = Counter(
            "mien_frames", "pictures and frames analysed", ["kind"], registry=registry
        )
        self.live_dropped = Counter(
            "mien_live_dropped", "live frames that were not analysed", registry=registry
        )
        self.live_connections = Gauge(
            "mien_live_connections", "live connections that are open", registry=registry
        )
        self.live_seconds = Histogram(
            "mien_live_seconds",
            "from a live frame's arrival to its result",
            buckets=_SECONDS,
            registry=registry,
        )

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        """Count one HTTP request."""
        method = scope["method"] if scope["method"] in _METHODS else "other"
        path = getattr(scope.get("route"), "path", "other")
        self._requests.labels(method, path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def analyzed(self, kind: str, faces: int) -> None:
        """Count one picture or frame, of kind `live`, `picture` or `video`."""
        self._frames.labels(kind).inc()
        self._faces.labels(kind).inc(faces)

    def watch(
        self, name: str, about: str, label: str, read: Callable[[], dict[str, float]]
    ) -> None:
        """Have a gauge read when it is asked for, one value per `label`."""
        self._registry.register(_Reading(name, about, label, read))

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)


class _Reading(Collector):
    def __init__(
        self, name: str, about: str, label: str, read: Callable[[], dict[str, float]]
    ) -> None:
        self._name, self._about, self._label, self._read = name, about, label, read

    def collect(self) -> Iterable[Metric]:
        """The values now."""
        family = GaugeMetricFamily(self._name, self._about, labels=[self._label])
        for label, value in self._read().items():
            family.add_metric([label], value)
        yield family
