"""What a worker does: one task after the other, whatever engine it belongs to.

May import from mien: errors, types, picture, sources, sinks, results, and of its own package all
but the engines.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO

import mien
from mien.batch.disk import durable
from mien.batch.folder import BatchFolder, Trying
from mien.batch.partitions import Done, PartitionWriter
from mien.batch.remote import RemoteFile, is_remote, open_remote, read_remote, suffix_of
from mien.batch.schedule import AnalyzePart, AnalyzeSegment, JoinSegments, Outcome, Task
from mien.batch.settings import Settings
from mien.batch.video import Cut, find_cuts, join_segments, own_faces
from mien.errors import ConfigError, MienError, SourceError
from mien.picture import may_be_picture, read_picture
from mien.results import read_results
from mien.sinks import to_json
from mien.sources import Source, Span, open_source
from mien.sources.video import open_video
from mien.types import PICTURE_SUFFIXES, VIDEO_SUFFIXES, Frame, FrameResult


@dataclass(frozen=True)
class Order:
    """What a worker needs to begin.

    Attributes:
        settings: how to analyse.
        folder: the batch's, absolute.
        version: of the mien that gives the order.
    """

    settings: Settings
    folder: str
    version: str = mien.__version__


class Worker:
    """Does tasks, with one analyzer.

    Args:
        order: how, and where.

    Raises:
        ConfigError: this machine has another version of mien.
        ModelError: the model is missing or altered.
    """

    def __init__(self, order: Order) -> None:
        if order.version != mien.__version__:
            raise ConfigError(
                f"mien {mien.__version__} on {platform.node()}, but {order.version} where the "
                "batch was started. Install the same version on all machines"
            )
        self._settings = order.settings
        self._folder = BatchFolder(order.folder)
        self._writer = PartitionWriter(self._folder, self._folder.job())
        self._analyzer = order.settings.analyzer()

    def do(self, task: Task) -> Outcome:
        """Do a task.

        Raises:
            SinkError: its results cannot be written.
        """
        with self._folder.trying(task.name) as trying:
            match task:
                case AnalyzePart():
                    return self._analyze(task, trying)
                case AnalyzeSegment():
                    trying.begin(0)
                    return self._analyze_segment(task)
                case JoinSegments():
                    return self._join(task)

    def _analyze(self, task: AnalyzePart, trying: Trying) -> Outcome:
        if task.part.is_video:
            return self._analyze_video(task, trying)
        inputs = task.part.inputs
        answers: dict[int, FrameResult] = {}
        done: dict[int, Done] = {}
        for index in sorted(range(len(inputs)), key=lambda index: index != task.suspect):
            path = inputs[index].path
            if index in task.given_up:
                done[index] = Done(path, 0, 0, task.given_up[index])
                continue
            trying.begin(index)
            try:
                with self._open(path, Span()) as source:
                    (found,) = self._analyzer.run(source)
            except ConfigError:  # it is the same for all
                raise
            except Exception as error:  # whatever it is, it never costs the others theirs
                done[index] = Done(path, 0, 0, _why(path, error))
            else:
                answers[index] = found[1]
                done[index] = Done(path, 1, len(found[1].faces))
        results = [answers[index] for index in sorted(answers)]
        self._writer.commit(task.part, results, [done[index] for index in range(len(inputs))])
        return Outcome(len(inputs))

    def _analyze_video(self, task: AnalyzePart, trying: Trying) -> Outcome:
        """A whole video. Its results wait on the disk, however many they are."""
        number = task.part.number
        (only,) = task.part.inputs
        frames, faces, error = 0, 0, task.given_up.get(0)
        trying.begin(0)
        if error is None and task.may_cut:
            cuts = self._cuts(only.path)
            if cuts:
                return Outcome(cuts=cuts)
        whole = self._folder.whole(number)
        with durable(whole) as file:
            if error is None:
                frames, faces, error = self._save(only.path, self._settings.span, file)
        self._writer.commit(task.part, read_results(whole), [Done(only.path, frames, faces, error)])
        whole.unlink()  # segments that others are still at are swept up in the end
        return Outcome(1)

    def _cuts(self, path: str) -> tuple[Cut, ...]:
        settings = self._settings
        if not settings.segment_s:
            return ()
        try:
            opened: AbstractContextManager[str | RemoteFile] = (
                open_remote(path) if is_remote(path) else nullcontext(path)
            )
            with opened as file:
                return find_cuts(
                    path,
                    file,
                    settings.span,
                    segment_s=settings.segment_s,
                    max_pixels=settings.max_pixels,
                    smooth_s=settings.smooth_s,
                )
        except ConfigError:
            raise
        except Exception:  # whatever it is, whoever reads it will say so
            return ()

    def _analyze_segment(self, task: AnalyzeSegment) -> Outcome:
        segment = self._folder.segment(task.part.number, task.cut.number)
        if segment.exists():  # whoever was interrupted had come so far
            return Outcome()
        (only,) = task.part.inputs
        try:
            with durable(segment) as file:
                _, _, error = self._save(only.path, task.cut.span, file)
                if error is not None:
                    raise SourceError(error)
        except SourceError:  # whoever reads the whole will meet it again, and say so
            return Outcome(misfit=True)
        return Outcome()

    def _join(self, task: JoinSegments) -> Outcome:
        number, cuts = task.part.number, task.cuts
        files = [self._folder.segment(number, cut.number) for cut in cuts]
        try:
            faces = [own_faces(*each) for each in zip(cuts, map(read_results, files), strict=True)]
            fits = None not in faces
            if fits:
                (only,) = task.part.inputs
                frames = sum(cut.frames for cut in cuts)
                done = Done(only.path, frames, sum(each or 0 for each in faces), task.error)
                joined = join_segments(cuts, [read_results(file) for file in files])
                self._writer.commit(task.part, joined, [done])
        except SourceError:  # another run has joined them, and removed them
            fits = False
        self._folder.forget_segments(number)
        return Outcome(1) if fits else Outcome(misfit=True)

    def _save(self, path: str, span: Span, file: IO[bytes]) -> tuple[int, int, str | None]:
        """Write a video's answers as JSON Lines, as far as it can be read.

        Returns:
            How many frames and faces, and why it could not be read to its end.
        """
        frames = faces = 0
        answers = self._answers(path, span)
        while True:
            try:
                answer = next(answers, None)
            except ConfigError:
                raise
            except Exception as error:
                return frames, faces, _why(path, error)
            if answer is None:
                return frames, faces, None
            file.write((to_json(answer) + "\n").encode())
            frames, faces = frames + 1, faces + len(answer.faces)

    def _answers(self, path: str, span: Span) -> Iterator[FrameResult]:
        with self._open(path, span) as source:
            for _, answer in self._analyzer.run(source):
                yield answer

    def _open(self, path: str, span: Span) -> Source:
        settings = self._settings
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise SourceError(
                f"{path!r}: the file's name is no text, and tables cannot hold it. Rename it"
            ) from error
        if not is_remote(path):
            return open_source(
                path, max_pixels=settings.max_pixels, span=span, threads=settings.threads
            )
        suffix = suffix_of(path)
        if suffix in VIDEO_SUFFIXES:
            file = open_remote(path)
            source = open_video(path, file, settings.max_pixels, span, threads=settings.threads)
            source.when_closed(file.close)
            return source
        if suffix not in PICTURE_SUFFIXES:
            _require_picture(path)
        data = BytesIO(read_remote(path))
        image = read_picture(data, path, max_pixels=settings.max_pixels)
        return open_source(Frame(image, path))


def _require_picture(address: str) -> None:
    """Refuse what is no picture before it is read as a whole: a long film, perhaps.

    Raises:
        SourceError: it is none, or cannot be read.
    """
    with open_remote(address) as file:
        if not may_be_picture(file.read(16)):
            raise SourceError(
                f"{address}: not a picture that can be read. If it is a video, its address has to "
                f"say so by its end: {' '.join(VIDEO_SUFFIXES)}"
            )


def _why(path: str, error: Exception) -> str:
    """Why an input could not be read, on one line."""
    if isinstance(error, MienError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"{path}: needs more memory than a worker has (--worker-memory)"
    reason = (str(error) or "no reason given").splitlines()[0]
    return f"{path}: {type(error).__name__}: {reason}. A defect of mien: please report it"


def limit_memory(memory_mb: int | None) -> None:
    """Limit this process's data memory, and let it be the first to go where the machine's ends.

    Raises:
        ConfigError: this system cannot, or not to so much.
    """
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    if memory_mb is not None:
        try:
            import resource
        except ImportError as error:
            raise ConfigError(
                "--worker-memory: this system (Windows) cannot limit a process. Leave it out"
            ) from error
        most = memory_mb * 2**20
        try:
            resource.setrlimit(resource.RLIMIT_DATA, (most, most))
        except (ValueError, OverflowError, OSError) as error:
            raise ConfigError(
                f"--worker-memory {memory_mb}: cannot be set here ({error}). Give less, or leave "
                "it out"
            ) from error
