"""How a batch is analysed. May import from mien: errors, types, inference, models, pipeline,
sources.

A batch's folder keeps what its answers depend on, so that it is never continued in another way.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import inf
from typing import Any, Final, Literal

import mien
from mien.errors import ConfigError
from mien.inference import check_device
from mien.models import file_sha256, find_member, list_models
from mien.pipeline import Analyzer
from mien.sources import MAX_PIXELS, Span
from mien.types import SCHEMA_VERSION, Views, result_columns

#: Videos are cut into parts of about so many seconds, and the parts read side by side.
SEGMENT_S: Final = 120.0
LEAST_SEGMENT_S: Final = 10.0  # shorter ones are mostly warm-up

#: Workers that share a GPU where nobody says how many there are to be. Each has its own copy of the
#: networks in the GPU's memory, and more for working in it.
WORKERS_PER_GPU: Final = 4

#: A batch's own; all others are arguments of `Analyzer`.
_OWN: Final = ("segment_s", "memory_mb")

#: They say how the work is done, and no answer depends on them; only what fails.
_FREE: Final = ("threads", "memory_mb", "max_pixels")


@dataclass(frozen=True)
class Settings:
    """What `Analyzer` takes, and what is a batch's own.

    Attributes:
        model, min_score, detector_px, views, classes, expect, max_pixels, shape, smooth_s,
            temporal, device, span: as of `Analyzer`.
        threads: CPU threads of each worker's networks and of its video decoder.
        segment_s: length of the parts into which long videos are cut, seconds; 0 for none.
        memory_mb: data memory that a worker may have, in MiB; None for no limit.
    """

    model: str | None = None
    min_score: float = 0.5
    detector_px: int | None = None
    views: Views = "single"
    classes: Literal["", "ferplus"] = ""
    expect: Literal["", "balanced"] = ""
    threads: int = 1
    max_pixels: int = MAX_PIXELS
    span: Span = field(default_factory=Span)
    shape: bool = False
    smooth_s: float | None = None
    temporal: str | None = None
    device: str = "cpu"
    segment_s: float = SEGMENT_S
    memory_mb: int | None = None

    def __post_init__(self) -> None:
        if self.segment_s and not LEAST_SEGMENT_S <= self.segment_s < inf:
            raise ValueError(
                f"segment_s: expected 0, or at least {LEAST_SEGMENT_S:g}, got {self.segment_s}"
            )

    def settled(self) -> Settings:
        """The same for a worker whose current folder is another: files by their whole paths."""
        known = {entry.name for entry in list_models()}

        def whole(file: str | None) -> str | None:
            if file is None or file in known or not os.path.isfile(file):
                return file
            return os.path.abspath(file)

        return replace(self, model=whole(self.model), temporal=whole(self.temporal))

    def analyzer(self) -> Analyzer:
        """An analyzer with these settings.

        Raises:
            ModelError: the model is missing or altered.
            ConfigError: the device cannot be used.
        """
        return Analyzer(**{name: how for name, how in vars(self).items() if name not in _OWN})


@dataclass(frozen=True)
class Job:
    """What all results of one folder have in common.

    Attributes:
        settings: everything that answers depend on, by name.
        labels: the model's classes.
        shape: whether faces' shape is asked for.
        columns: names and kinds (`string`, `int64`, `float64`, `bool`) of the columns that a
            manifest adds to the results'.
        own_columns: the results' own, in order.
    """

    settings: Mapping[str, Any]
    labels: tuple[str, ...]
    shape: bool
    columns: Mapping[str, str]
    own_columns: tuple[str, ...]

    @classmethod
    def of(cls, settings: Settings, columns: Mapping[str, str], *, elsewhere: bool = False) -> Job:
        """The job of some settings; opens the model to see that it is there.

        Args:
            settings: how to analyse.
            columns: those that a manifest adds.
            elsewhere: whether other machines do the work: this one may lack the device.

        Raises:
            ModelError: the model is missing or altered.
            ConfigError: a manifest's column has the name of one of the results'; the device cannot
                be used.
        """
        check_device(settings.device)
        analyzer = (replace(settings, device="cpu") if elsewhere else settings).analyzer()
        labels = analyzer.classifier.spec.labels
        own_columns = result_columns(labels, shape=settings.shape)
        taken = sorted(columns.keys() & set(own_columns))
        if taken:
            raise ConfigError(
                f"the manifest's column {taken[0]!r} has the name of one of mien's own. Rename it"
            )
        device = settings.device if elsewhere else analyzer.device
        decisive = _decisive(settings, analyzer, device)
        return cls(decisive, labels, settings.shape, dict(columns), own_columns)

    def require_continued_by(self, other: Job, folder: str) -> None:
        """Refuse to go on in another way.

        Raises:
            ConfigError: settings, classes or columns differ.
        """
        for key in sorted((self.settings.keys() | other.settings.keys()) - set(_FREE)):
            before, now = self.settings.get(key), other.settings.get(key)
            if before != now:
                raise ConfigError(
                    f"{folder}: was begun with {key} = {before}, and now it is {now}. Give the "
                    "same options again, or another folder (--out)"
                )
        if self.labels != other.labels:
            raise ConfigError(f"{folder}: was begun with a model of other classes")
        if self.own_columns != other.own_columns:
            raise ConfigError(
                f"{folder}: was begun by a version of mien whose results have other columns "
                f"({_difference(self.own_columns, other.own_columns)}), and one folder holds one "
                "table. Finish it with that version, or give another folder (--out)"
            )
        for column, kind in other.columns.items():
            before = self.columns.get(column)
            if before is None:
                raise ConfigError(
                    f"{folder}: was begun without the manifest's column {column!r} ({kind}). Give "
                    "the same manifest, or another folder (--out)"
                )
            if before != kind:
                raise ConfigError(
                    f"{folder}: was begun with the manifest's column {column!r} as {before}, and "
                    f"now it is {kind}. Give the manifest as the same kind of file (in a .csv, all "
                    "columns are text), or another folder (--out)"
                )


def _decisive(settings: Settings, analyzer: Analyzer, device: str) -> dict[str, Any]:
    """All that answers depend on, as JSON holds it."""
    spec, temporal, span = analyzer.classifier.spec, analyzer.temporal, settings.span
    entry = analyzer.classifier.entry
    files = [entry.path, *(find_member(member, entry.path).path for member in spec.members)]
    chosen = {key: value for key, value in asdict(settings).items() if key not in _FREE}
    del chosen["span"]
    return chosen | {
        "model": spec.name,
        "model_sha256": " ".join(map(file_sha256, files)),
        "temporal": temporal and temporal.spec.name,
        "temporal_sha256": temporal and file_sha256(temporal.path),
        "start_s": span.start_s,
        "end_s": None if span.end_s == inf else span.end_s,
        "every": span.every,
        "fps": span.fps,
        "device": re.sub(r":\d+", "", device),  # which of several alike does not matter
        "mien": mien.__version__,
        "schema": SCHEMA_VERSION,
    }


def _difference(before: Sequence[str], now: Sequence[str]) -> str:
    """How the old columns differ from the new ones."""
    differences = {
        "without": [column for column in now if column not in before],
        "with": [column for column in before if column not in now],
    }
    words = [f"{how} {', '.join(names)}" for how, names in differences.items() if names]
    return " and ".join(words) or "in another order"
