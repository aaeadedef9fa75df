"""Everything together: `Analyzer` takes sources and yields results. The only room that composes.

May import every stage: sources, detection, alignment, classifier, and what lies below them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from mien.alignment import align_faces, crop_transforms
from mien.classifier import ExpressionClassifier, Predictions
from mien.detection import FaceDetector
from mien.errors import ModelError
from mien.sources import Source, open_source
from mien.types import Detections, FaceResult, Frame, FrameResult, HeatMap, UInt8Array

#: What may be given as a source: a path, an RGB `uint8 (H, W, 3)` array, or a `Frame`.
SourceLike = str | os.PathLike[str] | UInt8Array | Frame

_STILL_LONG_SIDE_PX = 640
_VIDEO_LONG_SIDE_PX = 480  # half the work; misses only faces under about 30 pixels in 720p


@dataclass
class StageTimes:
    """Seconds spent in each stage so far, for `--profile`."""

    seconds: dict[str, float] = field(default_factory=dict)
    frames: int = 0

    def add(self, stage: str, since: float) -> float:
        """Book the time since `since` (of `time.perf_counter`) and return the time now."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - since
        return now


class Analyzer:
    """Finds the faces in pictures and videos and says what they show.

    Args:
        model: name or file of the expression model; None for the default.
        min_score: detector confidence in 0..1 below which a face is dropped.
        detector_px: longer side of the picture that the detector sees; None chooses 640 for
            still pictures and 480 for video.
        tta: classify each crop and its mirror image (slower, slightly more accurate).
        threads: CPU threads of each network.
        max_pixels: refuse pictures larger than this before decoding; None for the default of
            `mien.open_source`.
        explain: what each face's `heat` shows: `evidence`, which places speak for the answer (81
            more looks at each face); `attention`, where the network looked; or nothing.

    Raises:
        ModelError: a model is missing or altered, or has no attention to show.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        min_score: float = 0.5,
        detector_px: int | None = None,
        tta: bool = False,
        threads: int = 2,
        max_pixels: int | None = None,
        explain: Literal["", "evidence", "attention"] = "",
    ) -> None:
        self.classifier = ExpressionClassifier(model, threads=threads)
        self.detector = FaceDetector(
            long_side_px=detector_px or _STILL_LONG_SIDE_PX,
            min_score=min_score,
            threads=threads,
        )
        self._detector_px = detector_px
        self._tta = tta
        self._explain = explain
        if explain == "attention" and not self.classifier.attends:
            raise ModelError(
                f"{self.classifier.spec.name}: looks everywhere alike and has no attention to "
                "show. Ask for evidence instead (--explain)"
            )
        self.source_options = {} if max_pixels is None else {"max_pixels": max_pixels}
        self.times = StageTimes()

    def analyze_frame(self, frame: Frame, *, video: bool = False) -> FrameResult:
        """The faces in one frame, largest detector score first."""
        faces, crops = self.find_faces(frame, video=video)
        began = time.perf_counter()
        predictions = self.classifier.predict(crops, tta=self._tta)
        heat = self._heat(faces, crops, predictions)
        self.times.add("classify", began)
        self.times.frames += 1
        return FrameResult(
            source=frame.source,
            frame=frame.index,
            time_s=frame.time_s,
            width=frame.width,
            height=frame.height,
            faces=tuple(_faces(faces, predictions, heat)),
        )

    def find_faces(self, frame: Frame, *, video: bool = False) -> tuple[Detections, UInt8Array]:
        """The faces in one frame and their aligned grey crops `uint8 (N, S, S)`."""
        began = time.perf_counter()
        default = _VIDEO_LONG_SIDE_PX if video else _STILL_LONG_SIDE_PX
        faces = self.detector.detect(frame, long_side_px=self._detector_px or default)
        began = self.times.add("detect", began)
        spec = self.classifier.spec
        crops = align_faces(
            frame.image,
            faces,
            scale=spec.crop_scale,
            upright=spec.crop_upright,
            size_px=spec.input_px,
        )
        self.times.add("align", began)
        return faces, crops

    def _heat(
        self, faces: Detections, crops: UInt8Array, predictions: Predictions
    ) -> Sequence[HeatMap | None]:
        maps = predictions.attention
        if self._explain == "evidence":
            maps = self.classifier.evidence(crops, tta=self._tta)
        if not self._explain or maps is None:
            return [None] * len(faces)
        spec = self.classifier.spec
        transforms = crop_transforms(
            faces, scale=spec.crop_scale, upright=spec.crop_upright, size_px=maps.shape[1]
        )
        return [HeatMap(*pair) for pair in zip(maps, transforms, strict=True)]

    def stream(self, source: SourceLike) -> Iterator[FrameResult]:
        """Results of one source, frame by frame, as they are ready.

        Memory does not depend on the length of a video. A picture yields one result.

        Raises:
            SourceError: the source cannot be read; for a damaged video, after the results of
                the frames before the damage.
        """
        with open_source(source, **self.source_options) as opened:
            for _, result in self.run(opened):
                yield result

    def run(self, source: Source) -> Iterator[tuple[Frame, FrameResult]]:
        """As `stream`, on an opened source, with each frame beside its result (to draw on it)."""
        frames = iter(source)
        while True:
            began = time.perf_counter()
            frame = next(frames, None)
            if frame is None:
                return
            self.times.add("decode", began)
            yield frame, self.analyze_frame(frame, video=source.is_video)


def analyze(source: SourceLike, *, model: str | Path | None = None) -> FrameResult:
    """Analyse one picture (of a video: its first frame) with the default settings.

    Args:
        source: a path, or an RGB `uint8 (H, W, 3)` array.
        model: name or file of the expression model; None for the default.

    Raises:
        SourceError: the picture cannot be read.
        ModelError: the model is missing or altered.
    """
    for result in Analyzer(model).stream(source):
        return result
    raise AssertionError("a source that opens has at least one frame")


def _faces(
    faces: Detections, predictions: Predictions, heat: Sequence[HeatMap | None]
) -> Iterator[FaceResult]:
    for i in range(len(faces)):
        x0, y0, x1, y1 = (float(edge) for edge in faces.boxes[i])
        probs = predictions.probs[i]
        best = int(np.argmax(probs))
        yield FaceResult(
            box=(x0, y0, x1 - x0, y1 - y0),
            score=float(faces.scores[i]),
            landmarks=tuple((float(x), float(y)) for x, y in faces.landmarks[i]),
            expression=predictions.labels[best],
            confidence=float(probs[best]),
            uncertain=bool(predictions.uncertain[i]),
            probs=dict(zip(predictions.labels, map(float, probs), strict=True)),
            heat=heat[i],
        )
