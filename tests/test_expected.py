"""Which labels votes and teachers let one expect."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.datasets import FaceCrops
from mien.errors import ConfigError, DatasetError
from mien.training import data
from mien.training.augment import draw_variations
from mien.training.data import make_batch, training_rows
from mien.training.expected import expected_labels
from mien.training.teachers import fold_numbers
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
    with pytest.raises(DatasetError, match=r"fit\.ferplus_share.*there are none"):
        training_rows(tiny(ferplus_share=0.2), rows, tmp_path, print)


def test_votes_and_teachers_together_say_more_than_either() -> None:
    """Votes tell sad from neutral faces alone, teachers only which sad ones are called angry."""
    rows, n = labelled_by_habit(), 400
    calm, named = np.arange(n) % 2 == 0, np.arange(n) % 8 < 4
    labels = np.where(calm, NEUTRAL, np.where(named, ANGRY, SAD))
    rows, every = replace(rows, labels=labels), np.ones(n, bool)
    thought = np.full((n, 7), 0.1, np.float32)
    thought[named, ANGRY] = thought[~named, SAD] = 0.4  # of neutral faces they know no more
    hits = [
        (found.argmax(1) == labels).mean()
        for found in (
            expected_labels(rows, every),
            expected_labels(rows, every, votes=False, opinions=thought),
            expected_labels(rows, every, opinions=thought),
        )
    ]
    assert max(hits[:2]) < 0.8
    assert hits[2] == 1
    without = replace(rows, votes=None)
    alone = expected_labels(without, every, votes=False, opinions=thought)
    assert (alone.argmax(1) == labels).mean() == hits[1]


def test_an_opinion_is_worth_what_others_of_its_kind_were() -> None:
    """Of teachers that are always sure, and right in three of four rows."""
    rows = labelled_by_habit()
    rows = replace(rows, labels=np.where(np.arange(400) % 8 < 2, SAD, ANGRY))
    thought = np.eye(7, dtype=np.float32)[np.full(400, ANGRY)]
    expected = expected_labels(rows, np.ones(400, bool), votes=False, opinions=thought)
    assert expected[:, ANGRY] == pytest.approx(0.75, abs=0.06)
    assert expected[:, SAD] == pytest.approx(0.25, abs=0.06)


def test_teachers_are_listened_to_in_this_way_or_directly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = labelled_by_habit()
    thought = np.eye(7, dtype=np.float32)[rows.labels] * 0.7 + 0.3 / 7
    monkeypatch.setattr(data, "opinions", lambda *_: thought)
    monkeypatch.setattr(data, "require_unseen", lambda *_: None)
    both = tiny(expected_share=0.5, expected_from="both", teachers=["mien-s"])
    lines: list[str] = []
    found = training_rows(both, rows, tmp_path, lines.append)
    assert found.opinions is None
    assert found.expected is not None
    assert found.expected.argmax(1).tolist() == rows.labels.tolist()
    assert any("is the label in 100.0% of the rows" in line for line in lines)
    apart = training_rows(
        tiny(expected_share=0.5, teachers=["mien-s"]), rows, tmp_path, lines.append
    )
    assert apart.opinions is not None
    assert apart.expected is not None
    assert apart.expected.numpy() == pytest.approx(expected_labels(rows, np.ones(400, bool)))


def test_teachers_that_know_a_row_are_refused_before_anything_is_done(tmp_path: Path) -> None:
    recipe = tiny(expected_share=0.5, expected_from="teachers", teachers=["mien-s"])
    rows = replace(drawn(7), votes=None)
    with pytest.raises(ConfigError, match=r"fit\.teachers: expected for every row.*for 7 of 7"):
        training_rows(recipe, rows, tmp_path, print)
    with pytest.raises(ConfigError, match=r"expected votes, teachers or both, found 'friends'"):
        tiny(expected_from="friends")
    for teachers, see in (([], "rows"), (["mien-s"], "views")):
        with pytest.raises(ConfigError, match=r"expected_from: both needs fit\.teachers"):
            tiny(expected_share=0.5, expected_from="both", teachers=teachers, teachers_see=see)


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
