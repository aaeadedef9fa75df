"""The tables of the page that compares mien with its peers, as Markdown. Imports peers and mien."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from crowd import Box
from peers import Answers, PeerError, found_and_false, read_rightly

from mien.metrics import accuracy_interval

PROFILED = (1280, 720)  # the size whose films memory, stages and growth are told of


@dataclass
class Film:
    """What was measured on one film.

    Attributes:
        width, height, faces: its size, and how many faces are in every frame.
        truth: their boxes, frame by frame.
        answers: of the programs.
        alone: what `mien benchmark run` says of the file.
        bare: frames a second of decoding without conversion to RGB.
    """

    width: int
    height: int
    faces: int
    truth: list[list[Box]]
    answers: Answers
    alone: dict[str, Any]
    bare: float


@dataclass
class Notes:
    """What the page has to say at its end: each failure once, with where it was."""

    failures: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def failed(self, name: str, where: str, error: PeerError) -> str:
        """Note a failure and return what its cell says."""
        self.failures.setdefault((name, str(error)), []).append(where)
        return "failed"

    def lines(self) -> list[str]:
        """A line for each."""
        return [
            f"- {name} failed ({'; '.join(where)}): {error}"
            for (name, error), where in self.failures.items()
        ]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in lines)


def spread(values: Sequence[float], digits: int = 1) -> str:
    """The median, and the extremes in brackets."""
    low, high = (f"{value:.{digits}f}" for value in (min(values), max(values)))
    return f"{median(values):.{digits}f} ({low} to {high})"


def pictures_table(answers: Answers, labels: Sequence[str], notes: Notes) -> str:
    """Speed and answers on real pictures of one face each."""
    rows = []
    for name, runs in answers.items():
        if isinstance(runs, PeerError):
            rows.append([name, notes.failed(name, "pictures", runs), "", "", ""])
            continue
        n, found, right = read_rightly(labels, runs[0])
        low, high = accuracy_interval(right, n)
        rows.append(
            [
                name,
                spread([run.rate for run in runs]),
                str(n),
                f"{found / n:.1%}",
                f"{right / n:.1%} ({low:.1%} to {high:.1%})",
            ]
        )
    head = ["", "pictures a second", "n", "with a face found", "read rightly (95% interval)"]
    return table(head, rows)


def films_table(films: Sequence[Film], notes: Notes) -> str:
    """Frames a second, share of faces found, and boxes that are no face, of every program."""
    names = list(films[0].answers)
    rows = []
    for film in films:
        where = f"{film.width} x {film.height}, {faces_of(film.faces)}"
        row = [where]
        for name in names:
            runs = film.answers[name]
            if isinstance(runs, PeerError):
                row.append(notes.failed(name, where, runs))
                continue
            found, false = found_and_false(film.truth, max(runs, key=lambda run: len(run.faces)))
            row.append(f"{spread([run.rate for run in runs])}; {found:.0%}; {false:.2f}")
        rows.append(row)
    return table(["film", *names], rows)


def costs_table(answers: Answers, sizes: Mapping[str, float], notes: Notes) -> str:
    """Import, cold start, memory and disk of every program."""
    rows = []
    for name, runs in answers.items():
        if isinstance(runs, PeerError):
            rows.append([name, notes.failed(name, "start and memory", runs), "", "", ""])
            continue
        rows.append(
            [
                name,
                spread([run.import_s for run in runs], 2),
                spread([run.first_s for run in runs], 2),
                spread([run.peak_mb for run in runs], 0),
                f"{sizes[name]:.0f}",
            ]
        )
    return table(["", "import, s", "first result, s", "peak memory, MB", "installed, MB"], rows)


def alone_table(films: Sequence[Film]) -> str:
    """What mien does with the files themselves, beside what decoding alone takes."""
    rows = []
    for film in films:
        speed = film.alone
        rows.append(
            [
                f"{film.width} x {film.height}, {faces_of(film.faces)}",
                f"{speed['frames_per_s']:.1f} ({speed['slowest']:.1f} to {speed['fastest']:.1f})",
                f"{speed['decode_frames_per_s']:.0f}",
                f"{film.bare:.0f}",
                ", ".join(f"{ms:.1f}" for ms in speed["latency_ms"].values()),
            ]
        )
    head = ["film", "mien, frames a second", "decoding to RGB", "decoding only"]
    return table([*head, "latency, ms: median, 95%, 99%"], rows)


def stages_table(speed: Mapping[str, Any]) -> str:
    """Where the time goes."""
    stages = speed["stage_ms"]
    total = sum(stages.values())
    rows = [[stage, f"{ms:.2f}", f"{ms / total:.1%}"] for stage, ms in stages.items()]
    return table(["stage", "ms a frame", "share of all work"], rows)


def growth_table(by_length: Mapping[int, Mapping[str, Any]], films: Sequence[Film]) -> str:
    """How time grows with frames, and with faces."""
    rows = []
    for frames, speed in by_length.items():
        took_s = frames / speed["frames_per_s"]
        rows.append(
            [f"{frames} frames, 1 face", f"{took_s:.2f}", f"{1000 * took_s / frames:.2f}", ""]
        )
    for film in films:
        if (film.width, film.height) == PROFILED:
            ms = 1000 / film.alone["frames_per_s"]
            took_s = film.alone["frames"] * ms / 1000
            name = f"{film.alone['frames']} frames, {faces_of(film.faces)}"
            rows.append([name, f"{took_s:.2f}", f"{ms:.2f}", f"{ms / film.faces:.2f}"])
    return table(["film", "s", "ms a frame", "ms a frame and face"], rows)


def versions_table(all_answers: Sequence[Answers]) -> str:
    """What was measured."""
    rows: dict[str, list[str]] = {}
    for answers in all_answers:
        for name, runs in answers.items():
            if not isinstance(runs, PeerError) and runs:
                versions = ", ".join(
                    f"{what} {number}" for what, number in runs[0].versions.items()
                )
                rows.setdefault(name, [name, versions])
    return table(["program", "versions"], list(rows.values()))


def faces_of(count: int) -> str:
    """So many faces, in words."""
    return f"{count} face{'' if count == 1 else 's'}"


def wrapped(text: str) -> str:
    """A paragraph in lines of a readable length; headings, tables and lists as they are."""
    if text.startswith(("#", "|", "-", "<")):
        return text
    return textwrap.fill(text, 105, break_long_words=False, break_on_hyphens=False)
