"""Looking at a crop more than once: mirrored and shifted views, and the mean of their answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import pytest

from mien.classifier import ExpressionClassifier, Predictions
from mien.classifier.model import _Answer
from mien.types import UInt8Array, Views


class Recorder(ExpressionClassifier):
    """Answers with the brightness of a crop's left half, attends there, and keeps what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.saw: list[UInt8Array] = []

    def _answer(self, crops: Sequence[UInt8Array]) -> _Answer:
        self.saw.extend(crops)
        bright = np.array([crop[:, : crop.shape[1] // 2].mean() for crop in crops], np.float32)
        logits = np.zeros((len(crops), 7), np.float32)
        logits[:, 0] = bright / 255
        maps = np.stack(crops).astype(np.float32) / np.float32(255)
        return _Answer(logits, logits[:, :1], maps)


def dot(right: int = 0, down: int = 0) -> UInt8Array:
    """A bright pixel off the middle of a dark crop of 48 pixels."""
    crop = np.zeros((48, 48), np.uint8)
    crop[20 + down, 18 + right] = 255
    return crop


def test_shifts_look_at_nine_places_and_their_mirror_images() -> None:
    recorder = Recorder()
    recorder.predict(dot()[None], views="shifts")
    shifted = [dot(right, down) for right in (-3, 0, 3) for down in (-3, 0, 3)]
    expected = {crop.tobytes() for s in shifted for crop in (s, s[:, ::-1])}
    assert len(recorder.saw) == 18
    assert {crop.tobytes() for crop in recorder.saw} == expected


def test_what_is_shifted_in_is_the_edge() -> None:
    recorder = Recorder()
    crop = np.tile(np.arange(100, 148, dtype=np.uint8), (48, 1))
    recorder.predict(crop[None], views="shifts")
    assert {int(seen.min()) for seen in recorder.saw} == {100, 103}
    assert {int(seen.max()) for seen in recorder.saw} == {144, 147}


@pytest.mark.parametrize("views", get_args(Views)[1:])
def test_more_views_answer_alike_for_a_crop_and_its_mirror_image(views: Views) -> None:
    crop = np.random.default_rng(0).integers(0, 256, (48, 48)).astype(np.uint8)

    def answers(kind: type[ExpressionClassifier]) -> tuple[Predictions, Predictions]:
        classifier = kind()
        mirrored = np.ascontiguousarray(crop[:, ::-1])
        return (
            classifier.predict(crop[None], views=views),
            classifier.predict(mirrored[None], views=views),
        )

    for kind in (ExpressionClassifier, Recorder):
        one, other = answers(kind)
        assert one.logits == pytest.approx(other.logits, abs=1e-4)
    assert one.attention is not None
    assert other.attention is not None
    # Each view's map is turned back before the mean is taken.
    assert one.attention == pytest.approx(other.attention[:, :, ::-1], abs=1e-6)


def test_the_mean_is_over_the_logits_of_all_views() -> None:
    classifier = ExpressionClassifier()
    crop = np.random.default_rng(1).integers(0, 256, (48, 48)).astype(np.uint8)
    alone = classifier.predict([crop, crop[:, ::-1]])
    both = classifier.predict([crop], views="flip")
    assert both.logits[0] == pytest.approx(alone.logits.mean(0), abs=1e-4)
    assert both.embeddings[0] == pytest.approx(alone.embeddings.mean(0), abs=1e-4)


def test_a_slip_of_the_pen_is_no_default() -> None:
    with pytest.raises(ValueError, match="'single', 'flip', 'shifts', got 'fip'"):
        Recorder().predict(dot()[None], views="fip")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="classes: expected one of '', 'ferplus'"):
        ExpressionClassifier(classes="affectnet")  # type: ignore[arg-type]


def test_a_crop_alone_and_pixels_of_another_kind_are_refused() -> None:
    """The rows of a crop would pass for crops, and shares for nearly black pixels."""
    classifier = ExpressionClassifier()
    for crop in (dot(), np.stack([dot()] * 3, 2)):
        with pytest.raises(ValueError, match=r"crops: expected several, got one .* give \[crop\]"):
            classifier.predict(crop)
        assert len(classifier.predict([crop]).probs) == 1
        shares: Any = crop / 255
        with pytest.raises(ValueError, match=r"uint8, .* got float64"):
            classifier.predict([shares])
