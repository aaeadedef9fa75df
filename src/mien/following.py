"""What is known of a video from its earlier frames. May import the rooms that remember: tracking,
temporal, identity; and errors, models, classifier, scenery, types.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Final

from mien.classifier import ExpressionClassifier
from mien.errors import ModelError
from mien.identity import Sightings
from mien.models import find_model, find_temporal
from mien.scenery import Scenery, coarse_levels, is_other_scene
from mien.temporal import Baseline, OverTime, TemporalModel
from mien.tracking import FaceTracker
from mien.types import Detections, Float32Array, Frame

#: How often the whole frame of a video is searched for faces that have come in: while something
#: changes where nobody is known to be, and while nothing does. While all faces coast, no search is
#: begun: it may be as late as they coast, 0.14 s, and a frame.
_SEARCH_EVERY_S: Final = 0.2
_SEARCH_STILL_S: Final = 1.0
#: Frames that lie further apart show other things without a cut.
_MOMENT_S: Final = 0.15


@dataclass
class Following:
    """What is known of a video from its earlier frames."""

    tracker: FaceTracker
    over_time: OverTime
    baseline: Baseline | None  # None where the model has no class neutral
    now_s: float = -inf  # of the latest frame
    searched_s: float = -inf  # when the whole frame was last searched
    scenery: Scenery | None = None  # of that frame
    levels: Float32Array | None = None  # of the latest frame, coarsely
    is_cut: bool = False  # whether the latest frame shows another scene than the one before
    sightings: Sightings = field(default_factory=Sightings)  # filled where identity is asked for

    def go_on(self, frame: Frame) -> None:
        """Take this frame for the next.

        Raises:
            ValueError: it was shown before the last one, as where another video begins.
        """
        if frame.time_s < self.now_s:
            raise ValueError(
                f"Frame.time_s: {frame.time_s:g} comes after {self.now_s:g}. Give the frames of a "
                "video in order, and for another video what following() gives anew"
            )
        levels = coarse_levels(frame.image)
        soon = frame.time_s - self.now_s <= _MOMENT_S
        self.is_cut = self.levels is not None and soon and is_other_scene(levels, self.levels)
        self.now_s, self.levels = frame.time_s, levels
        if self.is_cut:
            self.tracker.doubt()

    def learn_baseline(self, seconds: float) -> None:
        """Everyone in the next frame with a face rests for so long: their faces count as neutral.

        Raises:
            ValueError: the model has no class neutral, or `seconds` is not positive.
        """
        if self.baseline is None:
            raise ValueError("the model has no class neutral, which a baseline needs")
        self.baseline.learn(seconds)

    def may_wait(self, frame: Frame, faces: Float32Array) -> bool:
        """Whether looking where faces are expected, `(N, 4)`, xyxy, will do for this frame."""
        if self.is_cut:
            return False
        since_s = frame.time_s - self.searched_s
        if since_s < _SEARCH_EVERY_S:
            return True
        if since_s >= _SEARCH_STILL_S or self.scenery is None:
            return False
        return not Scenery.of(frame.image, faces).differs(self.scenery)

    def searched(self, frame: Frame, faces: Detections) -> None:
        """The whole frame was searched, and these were found."""
        self.searched_s = frame.time_s
        self.scenery = Scenery.of(frame.image, faces.boxes)


def open_temporal(
    name_or_file: str | Path | None, classifier: ExpressionClassifier
) -> TemporalModel | None:
    """The temporal model by its name or file; None for the one made for the classifier, if any.

    It computes where the classifier does. There is none for answers in other classes than the
    model's own.

    A classifier with numbers of 8 bits is followed by what was made for its original.

    Raises:
        ModelError: no such model, or one that was made for another expression model.
    """
    made_for = {classifier.entry.digest, classifier.spec.quantized_from}
    if name_or_file is None:
        entry = find_temporal(made_for)
        found = None if entry is None else TemporalModel(entry, device=classifier.device)
        return found if found and found.spec.labels == classifier.spec.labels else None
    model = TemporalModel(find_model(name_or_file), device=classifier.device)
    if model.spec.labels != classifier.spec.labels:
        raise ModelError(
            f"{name_or_file}: goes on from answers in the classes {', '.join(model.spec.labels)}, "
            f"not {', '.join(classifier.spec.labels)}. Leave it out"
        )
    if model.spec.classifier_sha256 not in made_for:
        raise ModelError(
            f"{name_or_file}: was made for another file of {model.spec.classifier!r} than "
            f"{classifier.entry.path}. Make one for it with `mien train-temporal`"
        )
    if model.features != classifier.features:
        raise ModelError(
            f"{name_or_file}: goes on from {model.features} features of each face, and "
            f"{classifier.entry.path} gives {classifier.features}. Make one for it with "
            "`mien train-temporal`"
        )
    return model
