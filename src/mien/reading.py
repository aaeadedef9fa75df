"""What the faces of a frame show, once they are found. `finding.py` comes before.

May import numpy, and from mien: classifier, quality, shape, identity, following, answers; and what
lies below.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice
from typing import Literal, get_args

import numpy as np

from mien.alignment import crop_transforms
from mien.answers import face_results
from mien.classifier import ExpressionClassifier, Predictions
from mien.errors import ModelError
from mien.following import Following
from mien.identity import Recognizer
from mien.quality import QualityGate
from mien.shape import SCALE as MESH_SCALE
from mien.shape import FaceMesh
from mien.timing import StageTimes
from mien.types import (
    Detections,
    FaceIdentity,
    FaceResult,
    FaceShape,
    Frame,
    HeatMap,
    UInt8Array,
    Views,
    require_one_of,
)

#: What a face's heat map may show.
Explain = Literal["", "evidence", "attention"]


class FaceReader:
    """Says what found faces show, and how well they can be read.

    Args:
        classifier: the expression model.
        recognizer: says whose they are; None where that is not asked for.
        times: is told how long each stage takes.
        balanced: whether to take all classes for equally likely.
        views, explain, shape, threads, device: as of `mien.Analyzer`.

    Raises:
        ModelError: the model has no attention to show, or does not say how common it expects its
            classes to be.
        ValueError: an argument has none of its values.
    """

    def __init__(
        self,
        classifier: ExpressionClassifier,
        recognizer: Recognizer | None,
        times: StageTimes,
        *,
        balanced: bool,
        views: Views,
        explain: Explain,
        shape: bool,
        threads: int,
        device: str,
    ) -> None:
        require_one_of("views", views, get_args(Views))
        require_one_of("explain", explain, get_args(Explain))
        if balanced:
            classifier.require_shares()
        if explain == "attention" and not classifier.attends:
            raise ModelError(
                f"{classifier.spec.name}: looks everywhere alike and has no attention to "
                "show. Ask for evidence instead (--explain)"
            )
        self._classifier, self._recognizer, self._times = classifier, recognizer, times
        self._balanced, self._views, self._explain = balanced, views, explain
        self._gate = QualityGate(device=device)
        self._mesh = FaceMesh(threads=threads, device=device) if shape else None

    def read(
        self,
        frame: Frame,
        faces: Detections,
        crops: UInt8Array,
        numbers: Sequence[int] = (),
        following: Following | None = None,
    ) -> tuple[FaceResult, ...]:
        """What the N faces of a frame show, in the order of `faces`.

        Args:
            frame: the frame.
            faces: where they are.
            crops: aligned and grey, `uint8 (N, S, S)`.
            numbers: in a video, the number of each.
            following: of a video; None for a still picture.
        """
        began = time.perf_counter()
        predictions = self._classifier.predict(crops, views=self._views)
        if following is not None:
            predictions = self._over_time(frame, predictions, numbers, following)
        if self._balanced:
            predictions = self._classifier.balanced(predictions)
        heat = self._heat(faces, crops, predictions)
        began = self._times.add("classify", began)
        qualities = self._gate.rate(faces, crops)
        self._times.add("quality", began)
        shapes = self._shapes(frame, faces)
        identities = self._identities(frame, faces, crops, numbers, following)
        below = self._classifier.spec.uncertain_below
        return tuple(
            face_results(faces, numbers, predictions, below, qualities, shapes, identities, heat)
        )

    def read_together(
        self, pictures: Sequence[tuple[Detections, UInt8Array]]
    ) -> list[tuple[FaceResult, ...]]:
        """As `read`, for the faces and crops of several pictures, whose networks run once for all.

        The answers are the same, without shape, identity and heat.
        """
        if not pictures:
            return []
        began = time.perf_counter()
        faces = Detections.concatenate([found for found, _ in pictures])
        crops = np.concatenate([cut for _, cut in pictures])
        predictions = self._classifier.predict(crops, views=self._views)
        if self._balanced:
            predictions = self._classifier.balanced(predictions)
        began = self._times.add("classify", began)
        qualities = self._gate.rate(faces, crops)
        self._times.add("quality", began)
        below, nothing = self._classifier.spec.uncertain_below, [None] * len(faces)
        results = face_results(faces, (), predictions, below, qualities, nothing, nothing, nothing)
        return [tuple(islice(results, len(found))) for found, _ in pictures]

    def _over_time(
        self,
        frame: Frame,
        predictions: Predictions,
        numbers: Sequence[int],
        following: Following,
    ) -> Predictions:
        """The answers in the light of earlier frames, and of how each face looks at rest."""
        probs = following.over_time.update(
            numbers, predictions.probs, predictions.embeddings, frame.time_s
        )
        if following.baseline is not None:
            probs = following.baseline.correct(numbers, probs, frame.time_s)
        return self._classifier.with_probs(predictions, probs)

    def _heat(
        self, faces: Detections, crops: UInt8Array, predictions: Predictions
    ) -> Sequence[HeatMap | None]:
        maps = predictions.attention
        if self._explain == "evidence":
            # Of the answer that is shown: earlier frames, or `expect`, may have chosen another.
            answers = [int(best) for best in predictions.probs.argmax(1)]
            maps = self._classifier.evidence(crops, views=self._views, answers=answers)
        if not self._explain or maps is None:
            return [None] * len(faces)
        spec = self._classifier.spec
        transforms = crop_transforms(
            faces, scale=spec.crop_scale, upright=spec.crop_upright, size_px=maps.shape[1]
        )
        return [HeatMap(*pair) for pair in zip(maps, transforms, strict=True)]

    def _shapes(self, frame: Frame, faces: Detections) -> Sequence[FaceShape | None]:
        if self._mesh is None:
            return [None] * len(faces)
        began = time.perf_counter()
        transforms = crop_transforms(
            faces, scale=MESH_SCALE, upright=True, size_px=FaceMesh.INPUT_PX
        )
        shapes = self._mesh.shapes(frame, transforms)
        self._times.add("shape", began)
        return shapes

    def _identities(
        self,
        frame: Frame,
        faces: Detections,
        crops: UInt8Array,
        numbers: Sequence[int],
        following: Following | None,
    ) -> Sequence[FaceIdentity | None]:
        if self._recognizer is None:
            return [None] * len(faces)
        began = time.perf_counter()
        if following is None:
            identities = self._recognizer.identify(frame, faces)
        else:
            identities = self._recognizer.follow(frame, faces, crops, numbers, following.sightings)
            if following.baseline is not None:
                people = [each.person for each in identities]
                keys = [following.sightings.tracks[number].key for number in numbers]
                following.baseline.recognize(numbers, people, keys)
        self._times.add("identity", began)
        return identities
