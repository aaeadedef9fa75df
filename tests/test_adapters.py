"""Other data sets' orders of classes, against their own numbers."""

import numpy as np
import pytest

from mien.adapters import from_affectnet, from_rafdb, to_affectnet, to_rafdb
from mien.types import EXPRESSIONS, FERPLUS_EXPRESSIONS

# The labels as the sets' own documents number them, in their words.
AFFECTNET = [
    "Neutral", "Happiness", "Sadness", "Surprise", "Fear", "Disgust", "Anger", "Contempt"
]  # fmt: skip
RAFDB = ["Surprise", "Fear", "Disgust", "Happiness", "Sadness", "Anger", "Neutral"]
OURS = {
    "Neutral": "neutral", "Happiness": "happy", "Sadness": "sad", "Surprise": "surprise",
    "Fear": "fear", "Disgust": "disgust", "Anger": "angry", "Contempt": "contempt",
}  # fmt: skip


def test_every_class_lands_under_its_label() -> None:
    ours = np.array(EXPRESSIONS)
    assert to_affectnet(ours).tolist() == [OURS[name] for name in AFFECTNET[:7]]
    assert to_rafdb(ours).tolist() == [OURS[name] for name in RAFDB]
    with_contempt = to_affectnet(np.array(FERPLUS_EXPRESSIONS))
    assert with_contempt.tolist() == [OURS[name] for name in AFFECTNET]


@pytest.mark.parametrize("shape", [(7,), (3, 7), (2, 0, 7), (2, 3, 8)])
def test_there_and_back(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).random(shape).astype(np.float32)
    before = values.copy()
    pairs = [(to_affectnet, from_affectnet)]
    pairs += [(to_rafdb, from_rafdb)] if shape[-1] == 7 else []
    for there, back in pairs:
        found = there(values)
        assert (found.shape, found.dtype) == (values.shape, values.dtype)
        np.testing.assert_array_equal(np.sort(found), np.sort(values))
        np.testing.assert_array_equal(back(found), values)
    np.testing.assert_array_equal(values, before)


def test_other_numbers_of_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \(..., 7\), found \(2, 8\)"):
        to_rafdb(np.zeros((2, 8)))
    with pytest.raises(ValueError, match=r"expected \(..., 7\) or \(..., 8\), found \(7, 2\)"):
        from_affectnet(np.zeros((7, 2)))
    with pytest.raises(ValueError, match=r"found \(\)"):
        to_affectnet(0.5)
