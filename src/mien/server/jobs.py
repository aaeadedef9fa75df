"""The videos that were sent and what became of them, in SQLite, so that a restart forgets nothing.

May import the standard library and mien.errors.

    waiting -> running -> done | failed | cancelled
       ^          |
       +----------+  the server ended in the middle

A video begins as a folder that no row speaks of, while it is uploaded; such folders are removed at
the next start. A row is written when the upload is complete, and from then on nothing is lost.
"""

from __future__ import annotations

import errno
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal

from mien.errors import ConfigError

State = Literal["waiting", "running", "done", "failed", "cancelled"]

#: What an upload is called in its job's folder; the client's name is never a path.
UPLOAD: Final = "upload"

#: How often a video is begun that takes the server down with it.
_MAX_ATTEMPTS: Final = 2

_VERSION: Final = 2
_TABLE: Final = """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    annotated INTEGER NOT NULL,
    anonymize INTEGER NOT NULL,
    fps REAL,
    created_s REAL NOT NULL,
    started_s REAL,
    ended_s REAL,
    attempts INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL,
    frames INTEGER NOT NULL DEFAULT 0,
    frame_count INTEGER,
    error TEXT
);
CREATE INDEX jobs_by_state ON jobs (state, number);
"""


@dataclass(frozen=True)
class Job:
    """One video. Times are Unix seconds.

    Attributes:
        number: the order in which they came.
        id: how clients call it; it cannot be guessed.
        name: the client's name for the video.
        state: see the top of this file.
        annotated: whether a copy with the answers drawn in is wanted.
        anonymize: whether faces are hidden in that copy; once true, it stays so.
        fps: how many frames a second at most, or None for all.
        created_s, started_s, ended_s: when it came, was begun last, and ended.
        attempts: how often it was begun.
        bytes: of its upload, and once it has ended of its results.
        frames: how many frames are analysed.
        frame_count: how many there are by the video's header, if it says.
        error: why it failed.
    """

    number: int
    id: str
    name: str
    state: State
    annotated: bool
    anonymize: bool
    fps: float | None
    created_s: float
    started_s: float | None
    ended_s: float | None
    attempts: int
    bytes: int
    frames: int
    frame_count: int | None
    error: str | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state not in ("waiting", "running")


_COLUMNS: Final = tuple(field.name for field in fields(Job))


class Jobs:
    """All jobs of one data folder. May be used from any thread.

    Its clock is the system's when the server starts, and from then on nobody sets it: a system
    clock that jumps must not make results expire.

    Args:
        folder: the data folder; it is made if there is none.
        keep_s: how long an ended job and its results are kept.

    Raises:
        ConfigError: another server uses the folder, or it cannot be written.
        OSError: from every method that changes something, if the disk does not take it.
    """

    def __init__(self, folder: Path, keep_s: float) -> None:
        self._keep_s = keep_s
        self._clock_ahead_s = time.time() - _steady_s()
        self.folder = folder / "videos"
        self._lock = threading.Lock()
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            for own in (folder, self.folder):  # `parents` would give the mode to the last one only
                own.mkdir(exist_ok=True, mode=0o700)
            self._base = _open(folder / "jobs.sqlite")
            self._recover()
        except (OSError, sqlite3.OperationalError) as error:
            raise ConfigError(
                f"--data {folder}: cannot be used ({error}). Another server may be using it: give "
                "each its own folder"
            ) from error
        except sqlite3.DatabaseError as error:
            raise ConfigError(
                f"--data {folder}: its list of videos, jobs.sqlite, cannot be read ({error}). Give "
                "another folder, or delete this one with all videos and results in it"
            ) from error

    def close(self) -> None:
        """Let go of the folder."""
        with self._lock:
            self._base.close()

    def new_folder(self) -> tuple[str, Path]:
        """A new id and its empty folder, to upload into."""
        job_id = secrets.token_urlsafe(16)
        folder = self.folder / job_id
        folder.mkdir(mode=0o700)
        return job_id, folder

    def folder_of(self, job: Job) -> Path:
        """Where a job's upload and results lie."""
        return self.folder / job.id

    def add(
        self,
        job_id: str,
        name: str,
        *,
        annotated: bool,
        fps: float | None,
        anonymize: bool = False,
    ) -> Job:
        """Take a video whose upload is complete."""
        size = _size(self.folder / job_id)
        with self._changing() as base:
            base.execute(
                "INSERT INTO jobs (id, name, state, annotated, anonymize, fps, created_s, bytes) "
                "VALUES (?, ?, 'waiting', ?, ?, ?, ?, ?)",
                (job_id, name, annotated, anonymize, fps, self._now_s(), size),
            )
        job = self.get(job_id)
        assert job is not None
        return job

    def get(self, job_id: str) -> Job | None:
        """The job of this id."""
        return next(iter(self._jobs("id = ?", (job_id,))), None)

    def newest(self, limit: int, before: int | None = None) -> list[Job]:
        """Jobs in order from the newest, of those with a lower number than `before`."""
        where, values = ("number < ?", (before,)) if before is not None else ("1", ())
        return self._jobs(where, values, f"number DESC LIMIT {limit:d}")

    def count(self) -> dict[str, float]:
        """How many there are in each state."""
        with self._lock:
            rows = self._base.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall()
        return dict(rows)

    def begin_next(self, *, anonymize: bool = False) -> Job | None:
        """The job that has waited longest, which is running from now on; with `anonymize`, it hides
        faces even if that was not asked for.
        """
        with self._changing() as base:
            row = base.execute(
                "UPDATE jobs SET state = 'running', started_s = ?, attempts = attempts + 1, "
                "frames = 0, anonymize = anonymize OR ? "
                "WHERE number = (SELECT min(number) FROM jobs WHERE state = 'waiting') "
                "RETURNING id",
                (self._now_s(), anonymize),
            ).fetchone()
        return self.get(row[0]) if row else None

    def progress(self, job: Job, frames: int, frame_count: int | None) -> None:
        """Note how far a running job is."""
        self._set(job, "frames = ?, frame_count = ?", frames, frame_count)

    def put_back(self, job: Job) -> None:
        """Let a running job wait again: the server ends, and it is not to blame."""
        self._set(job, "state = 'waiting', attempts = attempts - 1")

    def end(self, job: Job, state: State, error: str | None = None) -> None:
        """Note how a job ended, and delete its upload and what is not complete."""
        folder = self.folder_of(job)
        for path in [folder / UPLOAD, *folder.glob(".*")]:
            delete(path)
        ending = "state = ?, ended_s = ?, error = ?, bytes = ?"
        self._set(job, ending, state, self._now_s(), error, _size(folder))

    def remove(self, job: Job) -> None:
        """Delete a job's files and forget it."""
        # In this order: on a full disk the files make room for what is written about them.
        shutil.rmtree(self.folder_of(job), ignore_errors=True)
        with self._changing() as base:
            base.execute("DELETE FROM jobs WHERE id = ?", (job.id,))

    def remove_expired(self) -> None:
        """Forget what ended long enough ago."""
        for job in self._jobs("ended_s < ?", (self._now_s() - self._keep_s,)):
            self.remove(job)

    def expires_s(self, job: Job) -> float | None:
        """When a job and its results will be removed."""
        return None if job.ended_s is None else job.ended_s + self._keep_s

    def used_bytes(self) -> int:
        """How much all videos and results fill; what is being written is not counted yet."""
        with self._lock:
            (total,) = self._base.execute("SELECT total(bytes) FROM jobs").fetchone()
        return int(total)

    def _now_s(self) -> float:
        return _steady_s() + self._clock_ahead_s

    def _recover(self) -> None:
        """After a server that ended in the middle: go on with its jobs, and clear away."""
        for job in self._jobs("state = 'running'"):
            if job.attempts < _MAX_ATTEMPTS:
                self._set(job, "state = 'waiting'")
            else:
                self.end(
                    job, "failed", f"the server was ended {job.attempts} times while working on it"
                )
        for job in self._jobs("state = 'waiting'"):
            if not (self.folder_of(job) / UPLOAD).is_file():
                self.end(job, "failed", "the video is gone from the server's folder. Send it again")
        known = {job.id for job in self._jobs("1")}
        for folder in self.folder.iterdir():
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)
        self.remove_expired()

    def _set(self, job: Job, what: str, *values: Any) -> None:
        with self._changing() as base:
            base.execute(f"UPDATE jobs SET {what} WHERE id = ?", (*values, job.id))

    def _jobs(self, where: str, values: Sequence[Any] = (), order: str = "number") -> list[Job]:
        with self._lock:
            rows = self._base.execute(
                f"SELECT {', '.join(_COLUMNS)} FROM jobs WHERE {where} ORDER BY {order}", values
            ).fetchall()
        return [_job(dict(zip(_COLUMNS, row, strict=True))) for row in rows]

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock, self._base:
                yield self._base
        except sqlite3.OperationalError as error:
            full = error.sqlite_errorcode == sqlite3.SQLITE_FULL
            raise OSError(errno.ENOSPC if full else errno.EIO, str(error)) from error


def _job(values: dict[str, Any]) -> Job:
    flags = {name: bool(values[name]) for name in ("annotated", "anonymize")}  # SQLite has numbers
    return Job(**values | flags)


def delete(path: Path) -> None:
    """Delete a file, or the folder in which Parquet's groups lie until they are joined."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _steady_s() -> float:
    """Seconds of a clock that nobody sets; on Linux it goes on while the machine sleeps."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir()) if folder.is_dir() else 0


def _open(file: Path) -> sqlite3.Connection:
    file.touch(mode=0o600)  # SQLite gives the files beside it the same mode
    base = sqlite3.connect(file, check_same_thread=False, timeout=1.0)
    try:
        # One server a folder: the lock is taken by the first write and held to the end.
        base.execute("PRAGMA locking_mode = EXCLUSIVE")
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = FULL")
        base.execute("PRAGMA secure_delete = ON")  # what is deleted cannot be read in the file
        (version,) = base.execute("PRAGMA user_version").fetchone()
        if version == 0:
            base.executescript(f"BEGIN; {_TABLE} PRAGMA user_version = {_VERSION}; COMMIT;")
        elif version != _VERSION:
            raise sqlite3.DatabaseError(f"made by another version of mien: {version}")
        base.execute("BEGIN EXCLUSIVE")
        base.execute("COMMIT")
    except BaseException:
        base.close()
        raise
    return base
