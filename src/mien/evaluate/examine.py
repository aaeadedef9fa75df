"""Labelled faces shown to a model, and the figures of what it says. Imports the pipeline, quality,
and what lies below them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import compress
from math import inf

import numpy as np
import numpy.typing as npt

from mien.alignment import FRONT_NOSE_OFFSET, nose_offset
from mien.classifier import ExpressionClassifier, are_uncertain
from mien.datasets import EVERY_SPLIT, HEAD_VIEWS, FaceCrops, LabelledPicture
from mien.errors import DatasetError, SourceError
from mien.evaluate.result import Evaluation
from mien.metrics import (
    accuracy_at_coverage,
    accuracy_interval,
    by_person,
    confusion_matrix,
    expected_calibration_error,
    macro_f1,
    negative_log_likelihood,
    precision_recall_f1,
)
from mien.models import ModelSpec
from mien.pipeline import Analyzer
from mien.quality import QualityGate
from mien.sources import first_frame
from mien.types import FERPLUS_EXPRESSIONS, Detections, Pose, UInt8Array, Views


@dataclass(frozen=True)
class LabelledFaces:
    """N faces whose expression is known, cut and ready for a model.

    Attributes:
        labels: `int64 (N,)`, the truth as an index into the model's classes.
        crops: `uint8 (N, S, S)`.
        names: N names for messages.
        found: `bool (N,)`, whether a face was found; where not, the crop is black.
        turned: `float32 (N,)`, as of `turn_of`; 0 where nobody looked.
        groups: N persons or sessions that they show, empty texts where unknown; may be left out.
    """

    labels: npt.NDArray[np.int64]
    crops: UInt8Array
    names: tuple[str, ...]
    found: npt.NDArray[np.bool_]
    turned: npt.NDArray[np.float32]
    groups: tuple[str, ...] = field(default=(), kw_only=True)

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of(cls, data: FaceCrops) -> LabelledFaces:
        """A set of crops, which were all found and do not say how they are turned."""
        found, turned = np.ones(len(data), bool), np.zeros(len(data), np.float32)
        return LabelledFaces(
            data.labels, data.images, data.names, found, turned, groups=data.groups
        )


@dataclass(frozen=True)
class Answers(LabelledFaces):
    """What a model said about N labelled faces.

    Attributes:
        probs: `float64 (N, K)`, calibrated; 0 everywhere where no face was found.
        doubtful: `bool (N,)`, which faces cannot be read; None where nobody has looked.
    """

    probs: npt.NDArray[np.float64]
    doubtful: npt.NDArray[np.bool_] | None = None

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """`(N,)`, the most probable class; K, which is none, where no face was found."""
        classes = self.probs.shape[1]
        return np.asarray(np.where(self.found, self.probs.argmax(1), classes), np.int64)

    @property
    def confidence(self) -> npt.NDArray[np.float64]:
        """`(N,)`, the probability of the answer; 0 where no face was found."""
        return np.where(self.found, self.probs.max(1), 0.0)

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """`(N,)`, whether the answer is right."""
        return np.asarray(self.predicted == self.labels)

    def answered(self, uncertain_below: float) -> npt.NDArray[np.bool_]:
        """`(N,)`, whether a face was found and its answer is not `uncertain`.

        Args:
            uncertain_below: the confidence below which the model calls itself uncertain.
        """
        return self.found & ~are_uncertain(self.probs, uncertain_below, self.doubtful)


def answer_crops(
    classifier: ExpressionClassifier,
    data: FaceCrops,
    *,
    views: Views = "single",
    balanced: bool = False,
) -> Answers:
    """Show face crops to a model.

    Args:
        classifier: the model.
        data: the crops.
        views: how often to look at each crop: see `ExpressionClassifier.predict`.
        balanced: take all classes for equally likely.
    """
    return answer_faces(classifier, LabelledFaces.of(data), views=views, balanced=balanced)


def answer_faces(
    classifier: ExpressionClassifier,
    faces: LabelledFaces,
    *,
    views: Views = "single",
    balanced: bool = False,
) -> Answers:
    """As `answer_crops`. Where no face was found, there is no answer, which is wrong."""
    predictions = classifier.predict(faces.crops, views=views)
    if balanced:
        predictions = classifier.balanced(predictions)
    probs = predictions.probs.copy()
    probs[~faces.found] = 0
    doubtful = QualityGate(device=classifier.device).doubtful(faces.crops)
    return Answers(**vars(faces), probs=probs, doubtful=doubtful)


def answer_pictures(
    analyzer: Analyzer,
    pictures: Sequence[LabelledPicture],
    *,
    views: Views = "single",
    progress: Callable[[int, int], None] = lambda done, total: None,
    problem: Callable[[str], None] = lambda words: None,
) -> Answers:
    """Show full pictures of one face each to the whole pipeline.

    Args:
        analyzer: the pipeline with its model.
        pictures: files and their labels. Where several faces are found, the largest counts.
        views: how often to look at each crop: see `ExpressionClassifier.predict`.
        progress: called with the number of pictures done and their total.
        problem: called with what is wrong with a picture that cannot be read. It has no face.
    """
    faces = cut_faces(analyzer, pictures, progress, problem)
    return answer_faces(analyzer.classifier, faces, views=views, balanced=analyzer.balanced)


def cut_faces(
    analyzer: Analyzer,
    pictures: Sequence[LabelledPicture],
    progress: Callable[[int, int], None] = lambda done, total: None,
    problem: Callable[[str], None] = lambda words: None,
) -> LabelledFaces:
    """The largest face of each picture, found and cut as the analyzer's model wants it."""
    size = analyzer.classifier.spec.input_px
    crops = np.zeros((len(pictures), size, size), np.uint8)
    found = np.zeros(len(pictures), bool)
    turned = np.array([turn_of(picture, None) for picture in pictures], np.float32)
    for i, picture in enumerate(pictures):
        progress(i, len(pictures))
        try:
            seen = analyzer.find(first_frame(picture.path))
        except SourceError as error:
            problem(str(error))
            continue
        if len(seen.faces):
            largest = seen.faces.largest()
            crops[i], found[i] = seen.crops[largest], True
            turned[i] = turn_of(picture, seen.faces.select([largest]))
    labels = np.array([picture.label for picture in pictures], np.int64)
    names = tuple(str(picture.path) for picture in pictures)
    groups = tuple(picture.group for picture in pictures)
    return LabelledFaces(labels, crops, names, found, turned, groups=groups)


def turn_of(picture: LabelledPicture, face: Detections | None) -> float:
    """How far a picture's one face is turned: its nose beside its middle, in eye distances.

    Where the data set says from where it was taken, that counts: 0 for the front, else infinity.
    Where it does not, a face that was not found is taken for a turned one.
    """
    if picture.view:
        return 0.0 if picture.view == HEAD_VIEWS[0] else inf
    return inf if face is None else abs(float(nose_offset(face.landmarks)[0]))


def of_pose(answers: Answers, pose: Pose) -> Answers:
    """The answers about faces seen from the `front`, or about the `turned` ones, or `all`.

    A face is frontal when its nose lies within `FRONT_NOSE_OFFSET` of its middle (`turn_of`). Every
    picture is of one pose, also where no face was found.
    """
    kept = {
        "all": np.ones(len(answers), bool),
        "front": answers.turned <= FRONT_NOSE_OFFSET,
        "turned": answers.turned > FRONT_NOSE_OFFSET,
    }[pose]
    return Answers(
        labels=answers.labels[kept],
        crops=answers.crops[kept],
        names=tuple(compress(answers.names, kept)),
        found=answers.found[kept],
        turned=answers.turned[kept],
        groups=tuple(compress(answers.groups, kept)),
        probs=answers.probs[kept],
        doubtful=None if answers.doubtful is None else answers.doubtful[kept],
    )


def summarize(
    answers: Answers,
    spec: ModelSpec,
    *,
    data: str,
    split: str = EVERY_SPLIT,
    views: Views = "single",
    balanced: bool = False,
    pose: Pose | None = None,
    fresh: npt.NDArray[np.bool_] | None = None,
) -> Evaluation:
    """The figures of a set of answers.

    Args:
        answers: what the model said.
        spec: the model.
        data, split: what to call the rows.
        views: how often each crop was looked at.
        balanced: whether all classes were taken for equally likely.
        pose: which faces of full pictures count; None for crops.
        fresh: from `FaceCrops.unseen`, for the deduplicated accuracy.

    Raises:
        DatasetError: there are no answers.
    """
    if not len(answers):
        voted = ", whose row has votes for one" if spec.labels == FERPLUS_EXPRESSIONS else ""
        faces = {"front": " and a face from the front", "turned": " and a face that is turned"}
        raise DatasetError(
            f"{data}: nothing to examine: it has no picture of a labelled expression{voted}"
            + faces.get(pose or "all", "")
        )
    correct = answers.correct
    confusion = confusion_matrix(answers.labels, answers.predicted, len(spec.labels))
    found = answers.found
    answered = answers.answered(spec.uncertain_below)
    truth, probs = answers.labels[found], answers.probs[found]
    per_class = {
        label: {"n": int(n), "precision": float(p), "recall": float(r), "f1": float(f)}
        for label, n, p, r, f in zip(
            spec.labels, confusion.sum(1), *precision_recall_f1(confusion), strict=True
        )
    }
    return Evaluation(
        model=spec.name,
        version=spec.version,
        data=data,
        split=split,
        views=views,
        n=len(answers),
        accuracy=float(correct.mean()),
        accuracy_ci95=accuracy_interval(int(correct.sum()), len(answers)),
        by_person=by_person(answers.correct, answers.groups),
        macro_f1=macro_f1(confusion),
        per_class=per_class,
        confusion=confusion.tolist(),
        ece=expected_calibration_error(truth, probs) if found.any() else None,
        nll=negative_log_likelihood(truth, probs) if found.any() else None,
        answered=float(answered.mean()),
        answered_accuracy=float(correct[answered].mean()) if answered.any() else None,
        deduplicated_n=None if fresh is None else int(fresh.sum()),
        deduplicated_accuracy=(
            None if fresh is None or not fresh.any() else float(correct[fresh].mean())
        ),
        missed=int((~found).sum()),
        coverage=[
            {"coverage": share, "accuracy": right}
            for share, right in accuracy_at_coverage(answers.confidence, correct)
        ],
        pipeline=pose is not None,
        pose=pose or "all",
        uncertain_below=spec.uncertain_below,
        gated=answers.doubtful is not None,
        expect="balanced" if balanced else "",
        classes="ferplus" if spec.labels == FERPLUS_EXPRESSIONS else "",
    )
