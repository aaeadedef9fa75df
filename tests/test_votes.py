"""Which labels votes let one expect."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.datasets import FaceCrops
from mien.errors import DatasetError
from mien.training.augment import draw_variations
from mien.training.data import make_batch, training_rows
from mien.training.teachers import fold_numbers
from mien.training.votes import expected_labels
from mien.types import EXPRESSIONS, FERPLUS_EXPRESSIONS
from tests.lessons import drawn, tiny

ANGRY, SAD, NEUTRAL = (EXPRESSIONS.index(name) for name in ("angry", "sad", "neutral"))


def labelled_by_habit(n: int = 400) -> FaceCrops:
    """Faces that ten voters call neutral or sad. Whoever labelled them called three of four
    neutral ones sad, and all sad ones angry.
    """
    crops = drawn(n)
    votes = np.zeros((n, 10), np.uint8)
    calm = np.arange(n) % 2 == 0
    votes[calm, FERPLUS_EXPRESSIONS.index("neutral")] = 10
    votes[~calm, FERPLUS_EXPRESSIONS.index("sad")] = 10
    labels = np.where(calm, np.where(np.arange(n) % 8 == 0, NEUTRAL, SAD), ANGRY)
    return replace(crops, votes=votes, labels=labels)


def test_what_such_votes_were_mostly_labelled_is_expected() -> None:
    rows = labelled_by_habit()
    expected = expected_labels(rows, np.ones(len(rows), bool))
    assert expected.sum(1) == pytest.approx(1, abs=1e-5)
    assert expected[::2, SAD] == pytest.approx(0.75, abs=0.06)
    assert expected[::2, NEUTRAL] == pytest.approx(0.25, abs=0.06)
    assert np.all(expected[1::2, ANGRY] > 0.95)


def test_no_row_has_a_part_in_what_is_expected_of_it() -> None:
    rows = labelled_by_habit()
    usable = np.ones(len(rows), bool)
    before = expected_labels(rows, usable)
    fold = fold_numbers(rows, 5) == 2
    otherwise = replace(rows, labels=np.where(fold, EXPRESSIONS.index("happy"), rows.labels))
    after = expected_labels(otherwise, usable)
    assert np.array_equal(after[fold], before[fold])
    assert np.all(after[~fold].max(1) < before[~fold].max(1))


def test_rows_that_are_left_out_have_no_part_in_it() -> None:
    rows = labelled_by_habit()
    usable = np.arange(len(rows)) % 8 != 0  # all that were called neutral
    expected = expected_labels(rows, usable)
    assert not expected[~usable].any()
    assert np.all(expected[usable][:, NEUTRAL] < 0.01)


def test_where_there_are_no_other_rows_all_labels_are_equally_likely() -> None:
    assert expected_labels(drawn(1), np.ones(1, bool)) == pytest.approx(1 / 7)


def test_a_set_without_votes_is_refused(tmp_path: Path) -> None:
    rows = replace(drawn(7), votes=None)
    with pytest.raises(DatasetError, match=r"fit\.expected_share.*there are none"):
        training_rows(tiny(expected_share=0.5), rows, tmp_path, print)


def test_targets_take_their_share_from_it(tmp_path: Path) -> None:
    recipe = tiny(label_smoothing=0.0, expected_share=0.6)
    rows = training_rows(recipe, labelled_by_habit(), tmp_path, print)
    assert rows.expected is not None
    chosen = torch.tensor([0, 1, 2])
    dice = draw_variations(3, 48, recipe.augment, torch.Generator().manual_seed(0))
    batch = make_batch(rows, chosen, torch.zeros(3, dtype=torch.bool), 48, dice, recipe)
    labels = np.eye(7)[[NEUTRAL, ANGRY, SAD]]
    mixed = 0.4 * labels + 0.6 * rows.expected[:3].numpy()
    assert batch.targets.numpy() == pytest.approx(mixed, abs=1e-6)
