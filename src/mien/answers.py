"""What the rooms say about each face of a frame, put together. May import numpy, and from mien:
classifier, types.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mien.classifier import Predictions, are_uncertain
from mien.types import Detections, FaceIdentity, FaceQuality, FaceResult, FaceShape, HeatMap


def face_results(
    faces: Detections,
    numbers: Sequence[int],
    predictions: Predictions,
    below: float,
    qualities: Sequence[FaceQuality],
    shapes: Sequence[FaceShape | None],
    identities: Sequence[FaceIdentity | None],
    heat: Sequence[HeatMap | None],
) -> Iterator[FaceResult]:
    """The results of N faces.

    Args:
        faces: where they are.
        numbers: their numbers in a video; empty in a picture.
        predictions: their answers.
        below: the model's threshold of `uncertain`.
        qualities, shapes, identities, heat: of each; None for what was not asked for.
    """
    doubtful = np.array([quality.doubtful for quality in qualities], bool)
    uncertain = are_uncertain(predictions.probs, below, doubtful)
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
            uncertain=bool(uncertain[i]),
            probs=dict(zip(predictions.labels, map(float, probs), strict=True)),
            track_id=numbers[i] if numbers else None,
            quality=qualities[i],
            shape=shapes[i],
            identity=identities[i],
            heat=heat[i],
        )
