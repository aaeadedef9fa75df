"""Everything together: `Analyzer` takes sources and yields results. The only room that composes.

May import every stage (sources, finding, following, classifier, temporal, identity, reading, sinks)
and what lies below.

A video's frames pass three threads, each a frame or two ahead of the next: one decodes, one finds
and follows the faces, and whoever asked for the results reads what they show.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from mien.ahead import ahead
from mien.anew import MadeOf, made_anew
from mien.classifier import ExpressionClassifier
from mien.errors import ModelError
from mien.finding import FaceFinder
from mien.following import Following, open_temporal
from mien.identity import Gallery, Recognizer
from mien.models import file_sha256, signature
from mien.reading import Explain, FaceReader
from mien.sinks import Sink, open_sink
from mien.sources import MAX_PIXELS, Source, Span, first_frame, open_source
from mien.temporal import Baseline, OverTime, Smoother
from mien.timing import StageTimes
from mien.tracking import FaceTracker
from mien.types import (
    Detections,
    Frame,
    FrameResult,
    UInt8Array,
    Views,
    require_one_of,
)
from mien.wording import path_text

#: What may be given as a source: a path, a camera's number as text, a URL, `-` for standard input,
#: an RGB `uint8 (H, W, 3)` array, or a `Frame`.
SourceLike = str | os.PathLike[str] | UInt8Array | Frame

#: Time constant of the answers in a video, seconds, where there is no temporal model. It takes away
#: four fifths of their changes (benchmarks/over_time.py).
SMOOTH_S = 0.2


@dataclass(frozen=True)
class _Seen:
    """A frame whose faces are found and not yet classified."""

    frame: Frame
    faces: Detections
    crops: UInt8Array  # aligned and grey, (N, S, S)
    numbers: Sequence[int] = ()  # in a video, of each face


@dataclass(frozen=True)
class Found:
    """A picture whose faces are found and not yet classified. Its pixels are no longer held.

    Attributes:
        head: the result without faces.
        faces: where they are, N of them.
        crops: aligned and grey, `uint8 (N, S, S)`.
    """

    head: FrameResult
    faces: Detections
    crops: UInt8Array


class Analyzer:
    """Finds the faces in pictures and videos and says what they show.

    Args:
        model: name or file of the expression model; None for the default.
        min_score: detector confidence in 0..1 below which a face is dropped.
        detector_px: longer side of the picture that the detector sees; None chooses 640 for
            still pictures and 480 for video.
        views: how often to look at each crop; more are slower and slightly more accurate: see
            `ExpressionClassifier.predict`.
        classes: `ferplus` for the eight classes of FER+ (with contempt), where the model has them.
        expect: `balanced` to take all classes for equally likely, as in sets of posed expressions;
            otherwise they are taken to be about as common as where the model learned.
        threads: CPU threads of each network; from 2 on, the stages of a video work side by side.
        max_pixels: refuse pictures larger than this before decoding.
        span: which frames of a video are wanted; None for all.
        shape: lay a mesh over every face, and say how it is turned and how far its parts are open.
        smooth_s: over how many seconds of a video a face's answers are averaged (time constant);
            0 for every frame on its own. None leaves it to the temporal model that was made for the
            expression model, or where there is none, averages over 0.2 seconds.
        temporal: name or file of the temporal model, to use another than that.
        baseline_s: how long every face of a video is taken for a neutral one, from its first frame,
            to correct people whose resting face looks like an expression; 0 for not at all.
        identity: say whose each face is: see `mien.identity`. Off unless it is asked for: it works
            with biometric data.
        gallery: a folder of named people, or a `Gallery`; implies `identity`. Strangers are
            remembered from one source to the next, until `recognizer.forget_strangers()`.
        explain: what each face's `heat` shows: `evidence`, which places speak for the answer (81
            more looks at each face); `attention`, where the network looked; or nothing.
        device: on what the networks compute: `cpu`; `cuda`, or `cuda:1` for the second GPU;
            `openvino` or `openvino:gpu`; `coreml`; or `auto`, `cuda` where it works and else `cpu`
            (which one, the attribute `device` says).

    Attributes:
        classifier: the expression model.
        detector: finds the faces.
        temporal: the temporal model that videos are read with; None where they are averaged.
        recognizer: says whose faces they are; None where that is not asked for.
        balanced: whether all classes are taken for equally likely.
        times: how long each stage took so far.

    Raises:
        ModelError: a model is missing or altered, or has no attention to show, does not know the
            classes, or does not say how common it expects them to be.
        ConfigError: the gallery is no folder, or holds no usable picture; no such device here.
        ValueError: an argument has none of its values.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        min_score: float = 0.5,
        detector_px: int | None = None,
        views: Views = "single",
        classes: Literal["", "ferplus"] = "",
        expect: Literal["", "balanced"] = "",
        threads: int = 2,
        max_pixels: int = MAX_PIXELS,
        span: Span | None = None,
        shape: bool = False,
        smooth_s: float | None = None,
        temporal: str | Path | None = None,
        baseline_s: float = 0.0,
        identity: bool = False,
        gallery: str | Path | Gallery | None = None,
        explain: Explain = "",
        device: str = "cpu",
    ) -> None:
        options = {name: value for name, value in locals().items() if name != "self"}
        require_one_of("expect", expect, ("", "balanced"))
        self.classifier = ExpressionClassifier(
            model, threads=threads, classes=classes, device=device
        )
        self.device = device = self.classifier.device
        self.balanced = expect == "balanced"
        self.times = StageTimes()
        self._finder = FaceFinder(
            self.classifier.spec,
            self.times,
            min_score=min_score,
            detector_px=detector_px,
            threads=threads,
            device=device,
        )
        self.detector = self._finder.detector
        self._max_pixels, self._span, self._threads = max_pixels, span, threads
        if smooth_s is not None and temporal is not None:
            raise ValueError("smooth_s and temporal: expected one of them, got both")
        if baseline_s and "neutral" not in self.classifier.spec.labels:
            raise ModelError(
                f"{self.classifier.spec.name}: has no class neutral, which a baseline starts from. "
                "Leave the baseline out, or take another model"
            )
        self._smooth_s = smooth_s
        self._baseline_s = baseline_s
        self.temporal = open_temporal(temporal, self.classifier) if smooth_s is None else None
        self._model = signature(self.classifier.spec.name, self.classifier.entry.digest)
        self._video_model = self._model
        if self.temporal is not None:
            over_time = signature(self.temporal.spec.name, file_sha256(self.temporal.path))
            self._video_model = f"{self._model} + {over_time}"
        self.following()  # finds what is wrong with these before the first frame
        self.recognizer: Recognizer | None = None
        if identity or gallery is not None:
            self.recognizer = Recognizer(threads=threads, device=device)
        self._shape = shape
        self._reader = FaceReader(
            self.classifier,
            self.recognizer,
            self.times,
            balanced=self.balanced,
            views=views,
            explain=explain,
            shape=shape,
            threads=threads,
            device=device,
        )
        if self.recognizer is not None and gallery is not None:
            self.recognizer.learn(gallery, self._find_in)
        # By their paths, other processes find the files from whatever folder they work in.
        entry = self.classifier.entry
        options["model"] = entry.name if entry.sha256 else entry.path.absolute()
        if temporal is not None and self.temporal is not None:
            options["temporal"] = self.temporal.path.absolute()
        self._made_of = MadeOf(type(self), options)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, it is what it was made of: another process opens the networks anew, once.

        The people of its gallery go with it; strangers do not.
        """
        made = self._made_of
        if self.recognizer is not None and self.recognizer.gallery is not made.options["gallery"]:
            self._made_of = MadeOf(made.kind, {**made.options, "gallery": self.recognizer.gallery})
        return made_anew, (self._made_of,)

    def open(self, source: SourceLike) -> Source:
        """Open a source as this analyzer reads it: see `mien.open_source`."""
        return open_source(source, max_pixels=self._max_pixels, span=self._span)

    def following(self) -> Following:
        """What is known before the first frame of a video."""
        labels = self.classifier.spec.labels
        baseline = Baseline(labels, self._baseline_s) if "neutral" in labels else None
        over_time: OverTime
        if self.temporal is not None:
            over_time = self.temporal.afresh()
        else:
            over_time = Smoother(SMOOTH_S if self._smooth_s is None else self._smooth_s)
        return Following(FaceTracker(), over_time, baseline)

    def analyze_frame(self, frame: Frame, *, following: Following | None = None) -> FrameResult:
        """The faces in one frame, largest detector score first.

        Args:
            frame: the frame.
            following: of a video, what `following()` gave before its first frame; None for a still
                picture. Its frames come in order, each with its own `index` and `time_s`.

        Raises:
            ValueError: with `following`, a frame that was shown before the last one.
        """
        return self._read(self._find_faces(frame, following), following)

    def _find_faces(self, frame: Frame, following: Following | None) -> _Seen:
        """The first half of `analyze_frame`: where the faces are."""
        if following is None:
            return _Seen(frame, *self._finder.find(frame))
        following.go_on(frame)
        return _Seen(frame, *self._finder.follow(frame, following))

    def _read(self, seen: _Seen, following: Following | None) -> FrameResult:
        """The second half: what they show."""
        faces = self._reader.read(seen.frame, seen.faces, seen.crops, seen.numbers, following)
        self.times.frames += 1
        return replace(self._head(seen.frame, following), faces=faces)

    def find(self, frame: Frame) -> Found:
        """The first half of `analyze_frame` for a still picture: see `classify_found`."""
        return Found(self._head(frame, None), *self._finder.find(frame))

    def classify_found(self, found: Sequence[Found]) -> list[FrameResult]:
        """The second half, for several pictures at once: their faces are classified in one batch.

        The answers are those of `analyze_frame`, without shape, identity and heat.
        """
        read = self._reader.read_together([(picture.faces, picture.crops) for picture in found])
        self.times.frames += len(found)
        return [
            replace(picture.head, faces=faces) for picture, faces in zip(found, read, strict=True)
        ]

    def _head(self, frame: Frame, following: Following | None) -> FrameResult:
        """A frame's result without its faces."""
        return FrameResult(
            source=path_text(frame.source),
            frame=frame.index,
            time_s=frame.time_s,
            width=frame.width,
            height=frame.height,
            model=self._model if following is None else self._video_model,
        )

    def _find_in(self, picture: Path) -> tuple[Frame, Detections]:
        """A picture file and the faces in it. Raises `SourceError` where it cannot be read."""
        frame = first_frame(picture, max_pixels=self._max_pixels)
        return frame, self.detector.find(frame)

    def analyze(self, source: SourceLike) -> FrameResult:
        """The result of one picture; of a video, that of its first frame.

        Raises:
            SourceError: the source cannot be read.
        """
        with self.open(source) as opened:
            return next(self.run(opened))[1]

    def stream(self, source: SourceLike) -> Iterator[FrameResult]:
        """Results of one source, frame by frame, as they are ready.

        Memory does not depend on the length of a video. A picture yields one result.

        Raises:
            SourceError: the source cannot be read; for a damaged video, after the results of
                the frames before the damage.
        """
        with self.open(source) as opened:
            for _, result in self.run(opened):
                yield result

    def open_sink(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Sink:
        """A sink for what this analyzer answers: its classes, and faces' shape and whose they are.

        See `mien.open_sink`, whose tables hold what every analyzer answers.

        Raises:
            SinkError: unknown suffix, no such folder to write into, or the file is already there.
        """
        return open_sink(
            path,
            overwrite=overwrite,
            labels=self.classifier.spec.labels,
            shape=self._shape,
            identity=self.recognizer is not None,
        )

    def run(self, source: Source) -> Iterator[tuple[Frame, FrameResult]]:
        """As `stream`, on an opened source, with each frame beside its result (to draw on it)."""
        following = self.following() if source.is_video else None
        frames = self._decoded(source)
        # A live source is read by a thread already, and its newest frame should not wait.
        if following is None or source.is_live or self._threads < 2:
            for frame in frames:
                yield frame, self.analyze_frame(frame, following=following)
            return
        with ExitStack() as stack:  # ends the threads, the later one first
            source.before_closing(stack.close)
            decoded = stack.enter_context(closing(ahead(frames)))
            found = ahead(self._find_faces(frame, following) for frame in decoded)
            for seen in stack.enter_context(closing(found)):
                yield seen.frame, self._read(seen, following)

    def _decoded(self, source: Source) -> Iterator[Frame]:
        frames = iter(source)
        while True:
            began = time.perf_counter()
            frame = next(frames, None)
            if frame is None:
                return
            self.times.add("decode", began)
            yield frame


def analyze(source: SourceLike, *, model: str | Path | None = None) -> FrameResult:
    """Analyse one picture (of a video: its first frame) with the default settings.

    Args:
        source: a path, or an RGB `uint8 (H, W, 3)` array.
        model: name or file of the expression model; None for the default.

    Raises:
        SourceError: the picture cannot be read.
        ModelError: the model is missing or altered.
    """
    return Analyzer(model).analyze(source)
