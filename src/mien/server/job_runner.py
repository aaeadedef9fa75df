"""Analyses the videos that wait, one after the other. May import av, and from mien: errors,
pipeline, sources, sinks, annotate, hiding, report, and its siblings jobs, workers, settings and
meters.

Decoding, drawing and writing happen in this room's own thread; finding and reading faces takes its
turn among the workers, so that a long video does not hold up a live camera.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, Final

import av

from mien.annotate import annotate
from mien.errors import MienError, SinkError, SourceError
from mien.hiding import FaceHider
from mien.pipeline import Analyzer
from mien.report import write_report
from mien.server.jobs import UPLOAD, Job, Jobs, State, delete
from mien.server.meters import Meters
from mien.server.settings import Settings, option
from mien.server.workers import Workers
from mien.sinks import Sink
from mien.sinks.segments import SegmentCsvSink
from mien.sources import Source, Span
from mien.sources.video import open_container, open_video

_LOG: Final = logging.getLogger(__name__)

#: What FFmpeg may take an upload for: containers that hold a film themselves. Playlists and the
#: like name other files and addresses, which it would open for whoever sent them.
_CONTAINERS: Final = {
    "format_whitelist": "mov,matroska,avi,flv,asf,mpeg,mpegts,gif,ogg",
    "protocol_whitelist": "file",
}

#: The results of a video, and what each is for the browser.
FILES: Final = {
    "results.jsonl": "application/x-ndjson",
    "results.csv": "text/csv",
    "results.parquet": "application/vnd.apache.parquet",
    "segments.csv": "text/csv",
    "subtitles.vtt": "text/vtt",
    "annotated.mp4": "video/mp4",
    "report.html": "text/html",
}

_NOTE_EVERY_S: Final = 0.5  # how often a job's progress is written down
_SWEEP_EVERY_S: Final = 60.0
_RETRY_S: Final = 5.0  # after which something is written again for which there was no room
_NOT_WRITTEN: Final = "the list of videos cannot be written (%s); trying again"


class _Ended(Exception):  # noqa: N818  (a way out of the loop, not an error)
    """The running video is to end: `state` is cancelled if somebody wants that, and waiting if the
    server ends.
    """

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self.state = state


class JobRunner:
    """The thread that analyses videos."""

    def __init__(
        self,
        jobs: Jobs,
        analyzer: Analyzer,
        workers: Workers,
        settings: Settings,
        meters: Meters,
    ) -> None:
        self._jobs, self._analyzer, self._workers = jobs, analyzer, workers
        self._settings, self._meters = settings, meters
        self._changed = threading.Condition()
        self._running: Job | None = None
        self._unwritten: OSError | None = None  # why the end of the one that runs is not noted yet
        self._cancelled = self._unwanted = self._closing = self._hurry = False
        self._swept = -inf  # when what had expired was removed, by `time.monotonic`
        self._thread = threading.Thread(target=self._run, name="mien-videos", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether videos are being analysed."""
        return self._thread.is_alive() and not self._closing

    def wake(self) -> None:
        """A job has come."""
        with self._changed:
            self._changed.notify()

    def cancel(self, job: Job, *, keep: bool = True) -> None:
        """End a job that waits or runs, and return when it has ended.

        Args:
            job: which.
            keep: whether anybody will look at what was analysed so far: it then gets its report.

        Raises:
            OSError: the disk does not take that; work on it has ended all the same.
        """
        with self._changed:
            if self._running is None or self._running.id != job.id:
                found = self._jobs.get(job.id)
                if found is not None and not found.ended:
                    self._jobs.end(found, "cancelled")
                return
            self._cancelled, self._unwanted = True, not keep
            while self._running is not None and self._running.id == job.id:
                if self._unwritten is not None:
                    raise self._unwritten
                self._changed.wait()

    def close(self, seconds: float) -> None:
        """Begin nothing more; give what runs this time to end, then put it back to wait."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(seconds)
        self._hurry = True
        self._thread.join()

    def _run(self) -> None:
        while not self._closing:
            job = self._begin()
            if job is not None:
                self._finish(job)
            self._sweep()

    def _sweep(self) -> None:
        """Remove what has expired, now and then: also during a video, which may last hours."""
        if time.monotonic() - self._swept <= _SWEEP_EVERY_S:
            return
        self._swept = time.monotonic()
        try:
            self._jobs.remove_expired()
        except OSError as failure:
            _LOG.error(_NOT_WRITTEN, failure)

    def _begin(self) -> Job | None:
        """The job that has waited longest; where there is none, wait until one may have come."""
        with self._changed:
            if self._closing:
                return None
            self._running, self._cancelled, self._unwanted = self._next(), False, False
            if self._running is None:
                self._changed.wait(_SWEEP_EVERY_S)
            return self._running

    def _next(self) -> Job | None:
        try:
            return self._jobs.begin_next(anonymize=self._settings.anonymize)
        except OSError as failure:
            _LOG.error(_NOT_WRITTEN, failure)
            return None

    def _finish(self, job: Job) -> None:
        """Analyse one video and note how that ended."""
        state, error = self._outcome(job)
        with self._changed:
            # A job whose end is nowhere written would run for ever: where there is no room for it
            # now, there may be later. A server that ends meanwhile begins the job again.
            while not self._noted(job, state, error) and not self._closing:
                self._changed.notify_all()
                self._sweep()  # which may make room
                self._changed.wait(_RETRY_S)
            self._running = self._unwritten = None
            self._changed.notify_all()

    def _outcome(self, job: Job) -> tuple[State, str | None]:
        """Analyse one video: how that ended, and what was wrong."""
        try:
            self._analyze(job)
        except _Ended as end:
            return end.state, None
        except (SourceError, SinkError) as failure:
            # Sinks name their file; where it lies is nobody's business.
            return "failed", str(failure).replace(f"{self._jobs.folder_of(job)}{os.sep}", "")
        except OSError as failure:
            reason = failure.strerror or failure
            return "failed", f"the server's folder cannot be used ({reason})"
        except Exception:  # a defect of ours must not end the thread
            _LOG.exception("a video failed")
            return "failed", "a defect of mien; the server's stderr says more"
        return "done", None

    def _noted(self, job: Job, state: State, error: str | None) -> bool:
        try:
            if state == "waiting":
                self._jobs.put_back(job)
            else:
                self._jobs.end(job, state, error)
        except OSError as failure:
            _LOG.error(_NOT_WRITTEN, failure)
            self._unwritten = failure
            return False
        return True

    def _analyze(self, job: Job) -> None:
        folder = self._jobs.folder_of(job)
        upload = folder / UPLOAD
        for path in folder.iterdir():  # of an attempt before this one
            if path != upload:
                delete(path)
        try:
            self._write(job, folder, upload)
        except (_Ended, SourceError) as end:
            # What was analysed so far is kept, and has its report; if it is too little for one, the
            # reason to tell is why the work has ended.
            if isinstance(end, SourceError) or (end.state == "cancelled" and not self._unwanted):
                with suppress(MienError):
                    self._report(folder)
            raise
        self._report(folder)

    def _report(self, folder: Path) -> None:
        write_report([folder / "results.jsonl"], folder / "report.html")

    def _write(self, job: Job, folder: Path, upload: Path) -> None:
        """Everything but the report."""
        with ExitStack() as stack:
            source = stack.enter_context(self._open(job, upload, self._watch(job)))
            tables: list[Sink] = [
                stack.enter_context(self._analyzer.open_sink(folder / name))
                for name in ("results.jsonl", "results.csv", "results.parquet", "subtitles.vtt")
            ]
            tables.append(stack.enter_context(SegmentCsvSink(folder / "segments.csv")))
            copy: Sink | None = None
            if job.annotated:
                copy = stack.enter_context(self._analyzer.open_sink(folder / "annotated.mp4"))
            self._follow(job, source, tables, copy, upload)

    def _open(self, job: Job, upload: Path, watch: Callable[[float], None]) -> Source:
        """The video, if it is one and not longer than the limit."""
        name, file, pixels = _name(job), str(upload), self._settings.max_video_pixels
        how: dict[str, Any] = {
            "raised_by": option("max_video_pixels"),
            "options": dict(_CONTAINERS),
        }
        container, _ = open_container(name, file, pixels, **how)
        with container:
            seconds = (container.duration or 0) / av.time_base
        self._require_length(name, seconds)
        return open_video(name, file, pixels, Span(fps=job.fps), watch=watch, **how)

    def _require_length(self, name: str, seconds: float) -> None:
        if seconds > self._settings.max_video_s:
            raise SourceError(
                f"{name}: longer than the limit of {self._settings.max_video_s:g} seconds"
            )

    def _watch(self, job: Job) -> Callable[[float], None]:
        """What is asked, at every picture of a video, whether the work on it goes on.

        At each that is decoded: with a low `fps`, few are analysed.
        """
        began = time.monotonic()
        first_s: float | None = None

        def watch(time_s: float) -> None:
            nonlocal first_s
            if self._cancelled or self._hurry:
                raise _Ended("cancelled" if self._cancelled else "waiting")
            first_s = time_s if first_s is None else first_s
            self._require_length(_name(job), time_s - first_s)
            if time.monotonic() - began > self._settings.max_job_s:
                raise SourceError(
                    f"{_name(job)}: not finished after {self._settings.max_job_s:g} seconds, the "
                    "limit. The results so far are complete"
                )
            self._sweep()

        return watch

    def _follow(
        self, job: Job, source: Source, tables: list[Sink], copy: Sink | None, upload: Path
    ) -> None:
        following = self._analyzer.following()
        hider = FaceHider(self._analyzer.detector) if job.anonymize else None
        noted = time.monotonic()
        count = 0
        for frame in source:
            work = partial(self._analyzer.analyze_frame, frame, following=following)
            result = self._workers.submit("video", work).result()
            self._meters.analyzed("video", len(result.faces))
            for table in tables:
                table.write(result)
            if copy is not None:
                image = frame.image
                if hider is not None:
                    hide = partial(hider.hide, frame, result.faces)
                    image = self._workers.submit("video", hide).result()
                # It takes the sound from the source that a result names: never the client's name.
                copy.write(replace(result, source=str(upload)), annotate(image, result.faces))
            count += 1
            if count == 1 or time.monotonic() - noted > _NOTE_EVERY_S:
                # Of a video that is read thinned out, as many as there will be at this rate.
                share = count / (frame.index + 1)
                total = source.frame_count and round(source.frame_count * share)
                self._jobs.progress(job, count, total)
                noted = time.monotonic()
        self._jobs.progress(job, count, count if job.fps else source.frame_count)


def _name(job: Job) -> str:
    """What messages call its video."""
    return job.name or "video"
