"""How fast mien is, on this machine and on these files: what `mien benchmark run` measures.

Imports numpy, console, errors, inference and pipeline.

Every repetition is a process of its own, started anew, so that start-up and peak memory are those
that a user meets. It opens the models and reads the first result, then everything from the files'
bytes to the results (the rate), then a part of the frames one by one (the latency), and at last
decodes all frames and does nothing with them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

from mien.console import stage_lines
from mien.errors import MienError, SourceError
from mien.inference import RUNTIME
from mien.pipeline import Analyzer

_LATENCY_FRAMES: Final = 300  # of each repetition, at most
_PERCENTILES: Final = (50, 95, 99)


@dataclass(frozen=True)
class Repetition:
    """What one process measured.

    Attributes:
        model: name of the expression model.
        frames, faces: how many there were.
        start_s: from the start of the process to its first result.
        took_s: from the first byte to the last result, models opened.
        decode_s: decoding the same frames to RGB, and nothing else.
        latency_ms: of single frames, from the decoded frame to its result, one after the other.
        peak_mb: the most memory that the process has held, in 10^6 bytes; None where the system
            does not say.
        stages: seconds spent in each stage; those of a video work side by side.
        device: on what the networks computed.
    """

    model: str
    frames: int
    faces: int
    start_s: float
    took_s: float
    decode_s: float
    latency_ms: tuple[float, ...]
    peak_mb: float | None
    stages: dict[str, float]
    device: str = "cpu"


@dataclass(frozen=True)
class Speed:
    """Medians over the repetitions.

    Attributes:
        model, threads, device, versions: what was measured.
        frames, faces: in all the files together.
        repetitions: how often.
        frames_per_s, slowest, fastest: the rate from the files to the results, and its extremes.
        latency_ms: by percentile, over the frames of all repetitions.
        start_s, peak_mb, decode_frames_per_s: see `Repetition`.
        stage_ms: milliseconds a frame of each stage.
    """

    model: str
    threads: int
    device: str
    versions: dict[str, str]
    frames: int
    faces: int
    repetitions: int
    frames_per_s: float
    slowest: float
    fastest: float
    latency_ms: dict[str, float]
    start_s: float
    peak_mb: float | None
    decode_frames_per_s: float
    stage_ms: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """The measurement as plain JSON types."""
        return asdict(self)


def benchmark_run(paths: Sequence[str], arguments: dict[str, Any], *, repeat: int = 5) -> Speed:
    """Measure the analysis of files.

    Args:
        paths: pictures and videos; all of them are read in every repetition.
        arguments: of `Analyzer`.
        repeat: how often, each time in a process of its own.

    Raises:
        MienError: a file cannot be read, or a model is missing.
    """
    rounds = [_repetition(paths, arguments) for _ in range(repeat)]
    first = rounds[0]
    rates = [one.frames / one.took_s for one in rounds]
    peaks = [one.peak_mb for one in rounds if one.peak_mb is not None]
    latencies = np.concatenate([one.latency_ms for one in rounds])
    stages = list(dict.fromkeys(stage for one in rounds for stage in one.stages))
    return Speed(
        model=first.model,
        threads=arguments.get("threads", 2),
        device=first.device,
        versions=dict([RUNTIME]) | {name: version(name) for name in ("mien", "av", "numpy")},
        frames=first.frames,
        faces=first.faces,
        repetitions=repeat,
        frames_per_s=median(rates),
        slowest=min(rates),
        fastest=max(rates),
        latency_ms={f"p{p}": float(np.percentile(latencies, p)) for p in _PERCENTILES},
        start_s=median(one.start_s for one in rounds),
        peak_mb=median(peaks) if peaks else None,
        decode_frames_per_s=median(one.frames / one.decode_s for one in rounds),
        stage_ms={
            stage: median(1000 * one.stages.get(stage, 0.0) / one.frames for one in rounds)
            for stage in stages
        },
    )


def _repetition(paths: Sequence[str], arguments: dict[str, Any]) -> Repetition:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, list(paths), arguments), daemon=True)
    began = time.perf_counter()
    process.start()
    theirs.close()  # so that the line ends where the process does
    try:
        started = _next(ours)
        start_s = time.perf_counter() - began
        assert started is None
        return Repetition(start_s=start_s, **_next(ours))
    finally:
        process.kill()
        process.join()


def _next(line: Connection) -> Any:
    try:
        answer = line.recv()
    except EOFError:
        raise SourceError(
            "the measuring process ended without an answer, perhaps for want of memory. Try "
            "`mien analyze` on the same files"
        ) from None
    if isinstance(answer, MienError):
        raise answer
    return answer


def _work(line: Connection, paths: list[str], arguments: dict[str, Any]) -> None:
    """What the process does: says None at the first result, and then what it measured."""
    with suppress(BrokenPipeError, KeyboardInterrupt):
        try:
            analyzer = Analyzer(**arguments)
            for _ in analyzer.stream(paths[0]):
                break
            line.send(None)
            line.send(_measured(analyzer, paths))
        except MienError as error:
            line.send(error)


def _measured(analyzer: Analyzer, paths: Sequence[str]) -> dict[str, Any]:
    """The values of a `Repetition` but for its start."""
    analyzer.times.clear()
    frames = faces = 0
    began = time.perf_counter()
    for path in paths:
        for result in analyzer.stream(path):
            frames += 1
            faces += len(result.faces)
    took_s = time.perf_counter() - began
    stages, peak_mb = dict(analyzer.times.seconds), _peak_mb()  # of these frames alone
    latency_ms = _latencies(analyzer, paths)
    began = time.perf_counter()
    for path in paths:
        with analyzer.open(path) as source:
            for _ in source:
                pass
    return {
        "model": analyzer.classifier.spec.name,
        "frames": frames,
        "faces": faces,
        "took_s": took_s,
        "decode_s": time.perf_counter() - began,
        "latency_ms": latency_ms,
        "peak_mb": peak_mb,
        "stages": stages,
        "device": analyzer.device,
    }


def _latencies(analyzer: Analyzer, paths: Sequence[str]) -> tuple[float, ...]:
    """Milliseconds from a decoded frame to its result, frame by frame as a camera's are read."""
    found: list[float] = []
    for path in paths:
        with analyzer.open(path) as source:
            following = analyzer.following() if source.is_video else None
            for frame in source:
                began = time.perf_counter()
                analyzer.analyze_frame(frame, following=following)
                found.append(1000 * (time.perf_counter() - began))
                if len(found) == _LATENCY_FRAMES:
                    return tuple(found)
    return tuple(found)


def _peak_mb() -> float | None:
    """The most memory this process has held, in 10^6 bytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # the other figure would be the parent's, where that is larger
        for line in status.read_text("utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == "darwin" else most * 1024 / 1e6


def format_speed(speed: Speed) -> str:
    """The measurement as text."""
    versions = ", ".join(f"{name} {number}" for name, number in speed.versions.items())
    memory = "unknown here" if speed.peak_mb is None else f"{speed.peak_mb:.0f} MB"
    latency = ", ".join(f"{name} {ms:.1f} ms" for name, ms in speed.latency_ms.items())
    return "\n".join(
        [
            f"{speed.model}, {speed.threads} threads, {speed.device}; {versions}",
            f"frames: {speed.frames:,}, faces: {speed.faces:,}, repetitions: {speed.repetitions}",
            f"frames/s     {speed.frames_per_s:8.1f}  ({speed.slowest:.1f} to {speed.fastest:.1f})",
            f"decoding     {speed.decode_frames_per_s:8.1f}  frames/s, and nothing else",
            f"latency      {latency}, decoded frame to result, one by one",
            f"start        {speed.start_s:8.2f}  s to the first result",
            f"peak memory  {memory}",
            *stage_lines(speed.stage_ms),
        ]
    )
