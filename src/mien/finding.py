"""Where a frame's faces are, and their crops. Which face is which, in a video.

May import numpy, and from mien: alignment, detection, tracking, following; and what lies below.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from mien.alignment import align_faces
from mien.detection import FaceDetector
from mien.following import Following
from mien.models import ModelSpec
from mien.timing import StageTimes
from mien.tracking import looks_of
from mien.types import Detections, Frame, UInt8Array

_STILL_LONG_SIDE_PX = 640
_VIDEO_LONG_SIDE_PX = 480  # half the work; misses only faces under about 30 pixels in 720p


class FaceFinder:
    """Finds faces and cuts them out as an expression model wants them.

    Args:
        spec: of the expression model: its crop rule and the side of its input.
        min_score, detector_px, threads, device: as of `mien.Analyzer`.
        times: is told how long each stage takes.

    Attributes:
        detector: what finds them in a whole picture.
    """

    def __init__(
        self,
        spec: ModelSpec,
        times: StageTimes,
        *,
        min_score: float,
        detector_px: int | None,
        threads: int,
        device: str,
    ) -> None:
        self.detector = FaceDetector(
            long_side_px=detector_px or _STILL_LONG_SIDE_PX,
            min_score=min_score,
            threads=threads,
            device=device,
        )
        self._spec, self._times = spec, times
        self._search_px = detector_px or _VIDEO_LONG_SIDE_PX

    def find(self, frame: Frame) -> tuple[Detections, UInt8Array]:
        """The faces in one picture and their aligned grey crops `uint8 (N, S, S)`."""
        began = time.perf_counter()
        faces = self.detector.find(frame)
        self._times.add("detect", began)
        return faces, self._crops(frame, faces)

    def follow(
        self, frame: Frame, following: Following
    ) -> tuple[Detections, UInt8Array, Sequence[int]]:
        """As `find`, in a video: with the number of each face.

        The whole frame is searched a few times a second while something moves, when a face is lost
        and while there is none; otherwise, only where faces are expected. For a few frames in a row
        it is enough that a face seems to be where it is expected; while that is so of all faces,
        nothing is searched. After a cut everything is, and a face keeps its number only where it
        looks like itself.
        """
        tracker = following.tracker
        numbers, faces = tracker.coasting(frame.time_s)
        faces = faces.inside(frame.width, frame.height)
        crops = self._crops(frame, faces)
        right = tracker.look_right(numbers, looks_of(crops))
        numbers = [number for number, is_right in zip(numbers, right, strict=True) if is_right]
        faces, crops = faces.select(right), crops[right]
        if numbers and not len(tracker.expected(frame.time_s, but=numbers)):
            return faces, crops, numbers
        began = time.perf_counter()
        found, is_all = self._look(frame, following, numbers)
        self._times.add("detect", began)
        if is_all:
            numbers, faces, crops = [], Detections.empty(), crops[:0]
        looks = looks_of(self._crops(frame, found))
        began = time.perf_counter()
        others, found = tracker.update(found, looks, frame.time_s, coasting=numbers)
        found = found.inside(frame.width, frame.height)
        self._times.add("track", began)
        crops = np.concatenate([crops, self._crops(frame, found)])
        numbers, faces = numbers + others, Detections.concatenate([faces, found])
        order = np.argsort(-faces.scores, kind="stable")
        return faces.select(order), crops[order], [numbers[i] for i in order]

    def _look(
        self, frame: Frame, following: Following, coasting: Sequence[int]
    ) -> tuple[Detections, bool]:
        """The faces in a frame of a video, measured, but for those that coast; or, which is said,
        all of them.
        """
        tracker, side = following.tracker, self._search_px
        expected = tracker.expected(frame.time_s)
        sought = tracker.expected(frame.time_s, but=coasting)
        pays = self.detector.looking_near_pays(frame, len(sought), side)
        if len(sought) and pays and following.may_wait(frame, expected):
            faces, _ = self.detector.detect_near(frame, sought)
            if len(faces) == len(sought):
                return faces, False
        faces = self.detector.find(frame, long_side_px=side, expected=len(expected))
        following.searched(frame, faces)
        return faces, True

    def _crops(self, frame: Frame, faces: Detections) -> UInt8Array:
        """The faces as the classifier wants them."""
        began = time.perf_counter()
        spec = self._spec
        crops = align_faces(
            frame.image,
            faces,
            scale=spec.crop_scale,
            upright=spec.crop_upright,
            size_px=spec.input_px,
        )
        self._times.add("align", began)
        return crops
