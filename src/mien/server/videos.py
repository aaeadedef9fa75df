"""`/v1/videos`: videos in, jobs and their results out.

May import FastAPI, Starlette and its siblings jobs, job_runner, reports, schema, uploads,
refusals and settings.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response, StreamingResponse

from mien.server.job_runner import FILES, JobRunner
from mien.server.jobs import UPLOAD, Job, Jobs, State
from mien.server.refusals import Refusal, too_late
from mien.server.reports import ALONE
from mien.server.schema import UPLOADING, VIDEO, errors, files
from mien.server.settings import MB, Settings
from mien.server.uploads import Room, save_files

_LOOK_S: Final = 0.25  # how often a job is looked at for those who watch it
_BEAT_S: Final = 15.0  # a comment now and then keeps proxies from closing a quiet connection

#: Shown by a player or in a tab; everything else is saved.
_INLINE: Final = ("annotated.mp4", "subtitles.vtt", "report.html")


@dataclass(frozen=True)
class JobView:
    """A video as clients see it; docs/server.md explains the fields."""

    id: str
    name: str
    state: State
    anonymize: bool
    created_s: float
    started_s: float | None
    ended_s: float | None
    expires_s: float | None
    frames: int
    frame_count: int | None
    progress: float | None
    error: str | None
    files: list[str]


@dataclass(frozen=True)
class VideoList:
    """Some videos, and where the next ones begin."""

    videos: list[JobView]
    next: int | None


class _Events(StreamingResponse):
    media_type = "text/event-stream"


class Videos:
    """All requests about videos.

    Attributes:
        stopping: set when the server is going down; ends the streams of events.
    """

    def __init__(self, jobs: Jobs, runner: JobRunner, settings: Settings, room: Room) -> None:
        self._jobs, self._runner, self._settings, self._room = jobs, runner, settings, room
        self.stopping = asyncio.Event()
        self._uploading = 0

    def router(self) -> APIRouter:
        """The addresses."""
        router = APIRouter(prefix="/v1/videos", tags=["videos"])
        router.post("", status_code=202, openapi_extra=VIDEO, responses=errors(*UPLOADING))(
            self.post
        )
        router.get("")(self.listing)
        router.get("/{job_id}", responses=errors(404))(self.get)
        router.get("/{job_id}/events", response_class=_Events, responses=errors(404))(self.events)
        router.get(
            "/{job_id}/files/{name}",
            response_class=FileResponse,
            responses={200: files("a result", FILES.values()), **errors(404)},
        )(self.file)
        router.post("/{job_id}/cancel", responses=errors(404, 507))(self.cancel)
        router.delete("/{job_id}", status_code=204, responses=errors(404))(self.delete)
        return router

    async def post(
        self,
        request: Request,
        annotated: bool = True,
        anonymize: bool = False,
        fps: Annotated[float | None, Query(gt=0, le=1000)] = None,
    ) -> JobView:
        """Take a video; it is analysed when its turn comes."""
        waiting = self._jobs.count().get("waiting", 0) + self._uploading
        if waiting >= self._settings.max_jobs:
            raise Refusal(503, "too many videos are waiting. Try again later")
        self._uploading += 1
        folder: Path | None = None
        try:
            job_id, folder = self._jobs.new_folder()
            async with asyncio.timeout(self._settings.upload_timeout):
                name = await self._store(request, folder / UPLOAD)
            hidden = anonymize or self._settings.anonymize
            job = self._jobs.add(job_id, name, annotated=annotated, fps=fps, anonymize=hidden)
        except BaseException as error:  # a client that goes away, too
            if folder is not None:
                await run_in_threadpool(shutil.rmtree, folder, ignore_errors=True)
            if isinstance(error, TimeoutError):
                raise too_late("the video", self._settings.upload_timeout) from None
            raise
        finally:
            self._uploading -= 1
        self._runner.wake()
        return self._described(job)

    async def _store(self, request: Request, target: Path) -> str:
        """Write the one file of a request's body; returns the client's name for it, or `video`."""
        most = self._settings.max_video_mb * MB
        with self._room.hold(request) as take:
            ((called, _),) = await save_files(request, [target], max_bytes=most, take=take)
        name = called or "video"
        if not target.stat().st_size:
            raise Refusal(422, f"{name}: is empty (0 bytes)")
        return name

    async def listing(
        self,
        limit: Annotated[int, Query(ge=1, le=100)] = 50,
        before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    ) -> VideoList:
        """The newest videos."""
        jobs = self._jobs.newest(limit + 1, before)
        more = len(jobs) > limit
        following = jobs[limit - 1].number if more else None
        return VideoList([self._described(job) for job in jobs[:limit]], following)

    async def get(self, job_id: str) -> JobView:
        """One video."""
        return self._described(self._found(job_id))

    async def events(self, job_id: str) -> StreamingResponse:
        """One video whenever something changes, as server-sent events, until it ends."""
        self._found(job_id)
        return _Events(self._events(job_id))

    async def _events(self, job_id: str) -> AsyncIterator[str]:
        said, quiet_s = "", 0.0
        while not self.stopping.is_set():
            job = self._jobs.get(job_id)
            if job is None:  # deleted meanwhile
                return
            text = json.dumps(asdict(self._described(job)), ensure_ascii=False)
            if text != said:
                yield f"event: {'end' if job.ended else 'progress'}\ndata: {text}\n\n"
                said, quiet_s = text, 0.0
            if job.ended:
                return
            if quiet_s >= _BEAT_S:
                yield ":\n\n"
                quiet_s = 0.0
            await asyncio.sleep(_LOOK_S)
            quiet_s += _LOOK_S

    async def file(self, job_id: str, name: str) -> FileResponse:
        """One result of a video."""
        job = self._found(job_id)
        if name not in self._files(job):
            raise Refusal(404, f"this video has no such result. It has: {self._files(job)}")
        path = self._jobs.folder_of(job) / name
        return FileResponse(
            path,
            media_type=FILES[name],
            filename=name,
            content_disposition_type="inline" if name in _INLINE else "attachment",
            headers=ALONE if name == "report.html" else None,
        )

    async def cancel(self, job_id: str) -> JobView:
        """End the work on a video; what was analysed so far is kept."""
        await run_in_threadpool(self._runner.cancel, self._found(job_id))
        return self._described(self._found(job_id))

    async def delete(self, job_id: str) -> Response:
        """End the work on a video and remove everything."""
        job = self._found(job_id)
        with suppress(OSError):  # how it ended need not be written down
            await run_in_threadpool(self._runner.cancel, job, keep=False)
        await run_in_threadpool(self._jobs.remove, job)
        return Response(status_code=204)

    def _found(self, job_id: str) -> Job:
        job = self._jobs.get(job_id)
        if job is None:
            raise Refusal(404, "there is no such video. Its time may be over, or it was deleted")
        return job

    def _files(self, job: Job) -> list[str]:
        """What a job gives out: no copy with faces from before the server hid them."""
        folder = self._jobs.folder_of(job)
        faces = self._settings.anonymize and not job.anonymize
        return [
            name
            for name in FILES
            if job.ended and (folder / name).is_file() and not (faces and name == "annotated.mp4")
        ]

    def _described(self, job: Job) -> JobView:
        """A job as clients see it."""
        progress = 1.0 if job.state == "done" else None
        if progress is None and job.frame_count:
            progress = min(1.0, job.frames / job.frame_count)
        return JobView(
            id=job.id,
            name=job.name,
            state=job.state,
            anonymize=job.anonymize,
            created_s=job.created_s,
            started_s=job.started_s,
            ended_s=job.ended_s,
            expires_s=self._jobs.expires_s(job),
            frames=job.frames,
            frame_count=job.frame_count,
            progress=progress,
            error=job.error,
            files=self._files(job),
        )
