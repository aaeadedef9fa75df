"""The folder of a batch: what is planned, what is done, and what is under way.

May import from mien: errors, whole, disk, settings, plan, inputs.

    results/part-000012.parquet   what is done; nothing else says so
    manifest.jsonl, failures.jsonl   read out of those
    .mien/job.json     what all results have in common
    .mien/plan-*.jsonl which inputs make up which part
    .mien/segments/    of long videos, until they are joined
    .mien/trying/      on which input a worker is, for when it does not come back
    .mien/again/       which parts are to be done again, though there are results of them

Every file is written under another name, flushed to the disk, and renamed. A part always means the
same inputs, so that whoever does it twice writes the same file twice.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO
from uuid import uuid4

from mien.batch.disk import TEMPORARY, durable, unwritable
from mien.batch.inputs import Input
from mien.batch.plan import Part, plan_parts, read_plan, write_plan
from mien.batch.settings import Job
from mien.errors import ConfigError, SinkError
from mien.whole import lock


class BatchFolder:
    """The folder of a batch.

    Args:
        path: where; it need not be there.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.results = self.path / "results"
        self._own = self.path / ".mien"
        self._segments = self._own / "segments"
        self._trying = self._own / "trying"
        self._again = self._own / "again"
        self._work: IO[bytes] | None = None

    def begin(self, job: Job) -> Job:
        """Make the folder one of this job, or find that it is. Returns the job it was begun with.

        Raises:
            ConfigError: it was begun with other settings, or by a version with other columns.
            SinkError: it cannot be made.
        """
        try:
            for folder in (self.results, self._segments, self._trying, self._again):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(
                f"{self.path}: cannot be made ({error.strerror}). Choose another folder"
            ) from error
        text = json.dumps(asdict(job), indent=1).encode()
        with suppress(FileExistsError), durable(self._own / "job.json", replace=False) as file:
            file.write(text)
        begun = self.job()
        begun.require_continued_by(job, str(self.path))
        return begun

    def job(self) -> Job:
        """What was begun here.

        Raises:
            ConfigError: nothing, or something unreadable.
        """
        try:
            values = json.loads((self._own / "job.json").read_bytes())
            values["labels"] = tuple(values["labels"])
            values["own_columns"] = tuple(values["own_columns"])
            return Job(**values)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{self.path}: not the folder of a batch ({error})") from error

    @contextmanager
    def locked(self, name: str) -> Iterator[bool]:
        """Hold a lock; gives whether it was free. Where files cannot be locked, it always is."""
        with (self._own / f"{name}.lock").open("wb") as file:
            yield lock(file)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Be one of those at work here: shards may be of different counts, and share parts."""
        with (self._own / "work.lock").open("w+b") as file:
            lock(file, shared=True, wait=True)
            self._work = file
            try:
                yield
            finally:
                self._work = None

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Wait until nobody else is in such a block."""
        tables = self._own / "tables.lock"
        try:
            file = tables.open("wb")
        except OSError as error:
            raise unwritable(tables, error) from error
        with file:
            lock(file, wait=True)
            yield

    # What is planned.

    @property
    def plans(self) -> int:
        """How often something was planned."""
        return len(self._plans())

    def parts(self) -> list[Part]:
        """Every part that was ever planned."""
        parts: list[Part] = []
        for file in self._plans():
            with file.open(encoding="utf-8") as lines:
                parts += read_plan(lines, len(parts))
        return parts

    def extend(self, inputs: Sequence[Input], *, part_size: int) -> list[Part]:
        """Plan the inputs that are new, and return every part.

        Two who do so at once agree: one's plan counts, and the other adds what is left.
        """
        while True:
            plans = self.plans
            parts = self.parts()
            planned = {each.path for part in parts for each in part.inputs}
            fresh = [each for each in inputs if each.path not in planned]
            if not fresh or self.add_plan(
                plan_parts(fresh, len(parts), part_size=part_size), plans
            ):
                return self.parts()

    def add_plan(self, parts: Iterable[Part], number: int) -> bool:
        """Keep a plan as the so many-th; says whether nobody else was quicker."""
        try:
            with durable(self._own / f"plan-{number:04}.jsonl", replace=False) as file:
                for line in write_plan(parts):
                    file.write(line.encode())
        except FileExistsError:
            return False
        return True

    def _plans(self) -> list[Path]:
        return sorted(self._own.glob("plan-*.jsonl"))

    # What is done, and what is under way.

    def partition(self, number: int) -> Path:
        """The file with a part's results."""
        return self.results / f"part-{number:06}.parquet"

    def do_again(self, number: int) -> None:
        """Make a part one that is to be done again. Its results stay until there are others.

        Raises:
            SinkError: the disk does not take even this.
        """
        file = self._again / f"{number:06}"
        try:
            file.touch()
        except OSError as error:
            raise unwritable(file, error) from error

    def is_again(self, number: int) -> bool:
        """Whether a part is to be done again, and was not yet."""
        return (self._again / f"{number:06}").exists()

    def done_again(self, number: int) -> None:
        """A part is done, again or for the first time."""
        (self._again / f"{number:06}").unlink(missing_ok=True)

    def segment(self, number: int, segment: int) -> Path:
        """The file with the results of a segment of a part, until they are joined."""
        return self._segments_of(number) / f"{segment:06}.jsonl"

    def whole(self, number: int) -> Path:
        """A new file for the results of a part that is a video, until they are committed."""
        return self._segments_of(number) / f"whole-{uuid4().hex[:12]}.jsonl"

    def _segments_of(self, number: int) -> Path:
        folder = self._segments / f"{number:06}"
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise unwritable(folder, error) from error
        return folder

    def forget_segments(self, number: int) -> None:
        """Remove a part's finished segments. Somebody may still be at one that nobody wants."""
        for file in (self._segments / f"{number:06}").glob("[0-9]*.jsonl"):
            file.unlink(missing_ok=True)

    def clean(self, numbers: Iterable[int]) -> None:
        """Remove what was left unfinished of parts; nothing while others are at work here."""
        if not self._own.is_dir():  # somebody has removed the folder meanwhile
            return
        if self._work is None or lock(self._work):
            self._sweep(set(numbers))
        if self._work is not None:
            lock(self._work, shared=True, wait=True)

    def _sweep(self, mine: Collection[int]) -> None:
        for file in self.results.glob(f".part-*{TEMPORARY}"):
            if int(file.name.split(".")[1].removeprefix("part-")) in mine:
                file.unlink(missing_ok=True)
        for folder in self._segments.iterdir():
            if folder.name.isdecimal() and int(folder.name) in mine:
                for file in folder.glob(f".*{TEMPORARY}"):
                    file.unlink(missing_ok=True)
                number = int(folder.name)
                if self.partition(number).exists() and not self.is_again(number):
                    shutil.rmtree(folder, ignore_errors=True)
        # By name: network file systems put files of their own there.
        for file in self._trying.glob("[0-9]*"):
            if int(file.name.partition("-")[0]) in mine:
                file.unlink(missing_ok=True)

    @contextmanager
    def trying(self, name: str) -> Iterator[Trying]:
        """Say on which input one is, for whoever has to find out why one did not come back."""
        file = self._trying / name
        try:
            opened = file.open("wb", buffering=0)
        except OSError as error:
            raise unwritable(file, error) from error
        with opened:
            yield Trying(opened, file)
        file.unlink(missing_ok=True)

    def tried(self, name: str) -> int | None:
        """On which of a part's inputs whoever did not come back was; None if on none."""
        file = self._trying / name
        try:
            words = file.read_bytes().split()
            file.unlink(missing_ok=True)
            return int(words[0])
        except (OSError, ValueError, IndexError):
            return None


class Trying:
    """A worker's word on which input it is."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file, self._path = file, path
        self._who = f"{os.getpid()} {socket.gethostname()}"

    def begin(self, index: int) -> None:
        """It begins with this one of the part's inputs.

        Raises:
            SinkError: there is no room even for this.
        """
        # One call and one length: whoever dies here has said either the one or the other.
        try:
            self._file.seek(0)
            self._file.write(f"{index:<8} {self._who}\n".encode())
        except OSError as error:
            raise unwritable(self._path, error) from error
