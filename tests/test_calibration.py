"""Probabilities that fit where a model is used: rare classes, other shares, FER+'s classes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.classifier import ExpressionClassifier
from mien.cli import main
from mien.datasets import FaceCrops, load_crops
from mien.errors import ConfigError, DatasetError, ModelError
from mien.metrics import confusion_matrix, macro_f1, mean_recall, softmax
from mien.models import find_model
from mien.pipeline import Analyzer
from mien.training.calibration import (
    calibrate,
    calibrate_votes,
    class_shares,
    joined_shares,
)
from mien.training.data import make_batch, training_rows
from mien.training.fuse import fuse
from mien.training.initial import of_the_same_network
from mien.training.quantize import quantize
from mien.training.recalibrate import recalibrate
from mien.types import EXPRESSIONS, FERPLUS_EXPRESSIONS, Frame
from tests.lessons import drawn, saved, taught, tiny, write_splits

SHARES = np.array([0.14, 0.015, 0.145, 0.25, 0.17, 0.11, 0.17])


def voted(crops: FaceCrops) -> FaceCrops:
    """The same rows with ten votes for each one's own class, in FER+'s order of classes."""
    votes = np.zeros((len(crops), 10), np.uint8)
    for row, label in enumerate(crops.labels):
        votes[row, FERPLUS_EXPRESSIONS.index(EXPRESSIONS[label])] = 10
    return replace(crops, votes=votes)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with both heads that can tell drawn faces apart."""
    file = tmp_path_factory.mktemp("calibrated") / "tiny.onnx"
    recipe = tiny(epochs=8, batch=8, ema=0.9, learning_rate=0.05, ferplus_weight=0.5)
    return taught(file, recipe, voted(drawn(112, 0)), voted(drawn(56, 1)), shares=SHARES)


def leaning(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and logits of somebody who has learned that the second class is rare."""
    rng = np.random.default_rng(0)
    labels = rng.choice(7, n, p=SHARES / SHARES.sum())
    logits = rng.normal(0, 1, (n, 7)) + np.log(SHARES)
    logits[np.arange(n), labels] += 2.0
    return labels, logits


def test_rare_classes_are_helped_for_at_most_half_a_point_of_accuracy() -> None:
    labels, logits = leaning(4000)
    shares = class_shares(labels, 7)
    plain, helped = calibrate(labels, logits), calibrate(labels, logits, shares)
    assert not plain.offsets.any()
    assert plain.class_shares == ()
    strength = helped.metrics["shares_taken_back"]
    steps = (0, strength, strength + 0.1, 1)
    answers = [(logits - step * np.log(shares)).argmax(1) for step in steps]
    right = [(answer == labels).mean() for answer in answers]
    recalls = [mean_recall(confusion_matrix(labels, answer, 7)) for answer in answers]
    assert right[1] >= right[0] - 0.005 > right[2] > right[3]
    assert recalls[0] < recalls[1] < recalls[2]
    unpaid = (logits + calibrate(labels, logits, shares, given=0.0).offsets).argmax(1)
    assert (unpaid == labels).mean() >= right[0] > right[1]
    scores = [macro_f1(confusion_matrix(labels, answer, 7)) for answer in (answers[0], unpaid)]
    assert scores[1] >= scores[0]
    # Whoever knows the shares and uses them needs no help; whoever counts them twice does.
    doubled = calibrate(labels, logits + np.log(SHARES), shares)
    assert doubled.metrics["shares_taken_back"] > 0
    assert doubled.offsets[1] == doubled.offsets.max() > 0
    assert sum(doubled.class_shares) == pytest.approx(1)
    assert doubled.class_shares[1] > shares[1]


def test_a_few_rows_that_are_all_right_do_not_end_all_doubt() -> None:
    labels = np.arange(10) % 2
    logits = 3.0 * np.eye(2)[labels] + np.random.default_rng(0).normal(0, 0.5, (10, 2))
    found = calibrate(labels, logits)
    sure = softmax(logits, found.temperature).max(1)
    assert found.metrics["calibration_accuracy"] == 1
    assert 0.9 < sure.mean() < 0.99
    many = calibrate(np.tile(labels, 100), np.tile(logits, (100, 1)))
    assert many.temperature < found.temperature


def test_shares_follow_the_sampling() -> None:
    labels = np.repeat([0, 1, 2], [90, 9, 1])
    assert class_shares(labels, 4) == pytest.approx([0.9, 0.09, 0.01, 0])
    assert class_shares(labels, 4, balance=1.0) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])


def test_a_class_that_was_never_seen_is_left_alone() -> None:
    labels, logits = leaning(500)
    shares = np.array([0.2, 0.0, 0.2, 0.2, 0.2, 0.1, 0.1])
    found = calibrate(labels, logits, shares)
    assert found.offsets[1] == 0
    assert np.isfinite(found.temperature)


def test_what_one_of_several_never_saw_is_unknown_to_their_mean() -> None:
    known = joined_shares([[0.5, 0.3, 0.2], [0.5, 0.2, 0.3]], [0.5, 0.5])
    assert known == pytest.approx([0.5, 0.25, 0.25], abs=0.01)
    assert joined_shares([[0.5, 0.3, 0.2], [0.8, 0.2, 0.0]], [0.5, 0.5])[2] == 0
    ignored = joined_shares([[0.5, 0.3, 0.2], [0.8, 0.2, 0.0]], [1.0, 0.0])
    assert ignored == pytest.approx([0.5, 0.3, 0.2])


def test_votes_are_answered_as_a_distribution() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (3000, 8))
    shares = softmax(logits, 3.0)
    shares[:100] = 0  # nobody voted
    found = calibrate_votes(shares, logits)
    assert found is not None
    assert found.temperature == pytest.approx(3.0, rel=0.01)
    assert found.metrics["ferplus_n"] == 2900
    assert found.metrics["ferplus_accuracy"] == 1.0
    assert calibrate_votes(shares[:100], logits[:100]) is None


def test_the_file_adds_what_the_calibration_found(model: Path, tmp_path: Path) -> None:
    import onnx

    from mien.training.calibration import add_offsets
    from mien.training.export import save_model

    public = voted(drawn(112, 2))
    # A model that leans far towards one class, and says so.
    shares = np.array([1e-6, 1e-6, 1e-6, 1.0, 1e-6, 1e-6, 1e-6])
    network, start = onnx.load(model), tmp_path / "lean.onnx"
    add_offsets(network, np.log(shares))
    save_model(
        network, replace(ExpressionClassifier(model).spec, class_shares=tuple(shares)), start
    )
    file = tmp_path / "again.onnx"
    spec = recalibrate(start, public, file, name="again", version="9")
    before, after = ExpressionClassifier(start), ExpressionClassifier(file)
    assert after.spec == spec
    assert (spec.name, spec.version) == ("again", "9")
    strength = spec.metrics["shares_taken_back"]
    assert strength > 0
    added = after.predict(public.images).logits - before.predict(public.images).logits
    assert added == pytest.approx(np.tile(-strength * np.log(shares), (112, 1)), abs=1e-3)
    assert spec.metrics["calibration_accuracy"] > spec.metrics["original_accuracy"]
    assert recalibrate(file, public, tmp_path / "twice.onnx").name == "again-calibrated"
    before_it = file.read_bytes()
    with pytest.raises(ConfigError, match="is again, of which the new model is made"):
        recalibrate(file, public, file)
    assert file.read_bytes() == before_it


def test_a_head_keeps_its_calibration_where_there_are_no_votes(model: Path, tmp_path: Path) -> None:
    unvoted = replace(drawn(56, 2), votes=None)
    before = ExpressionClassifier(model).spec
    after = recalibrate(model, unvoted, tmp_path / "unvoted.onnx")
    assert after.ferplus_temperature == before.ferplus_temperature > 0
    assert after.ferplus_uncertain_below == before.ferplus_uncertain_below


def test_offsets_are_added_once_to_what_was_there(model: Path, tmp_path: Path) -> None:
    import onnx

    from mien.training.calibration import add_offsets
    from mien.training.export import save_model

    crops = drawn(14, 3).images
    plain = ExpressionClassifier(model).predict(crops).logits
    network = onnx.load(model)
    offsets = np.arange(7) / 10
    spec = ExpressionClassifier(model).spec
    for times in (1, 2):
        add_offsets(network, offsets)
        save_model(network, spec, tmp_path / "more.onnx")
        more = ExpressionClassifier(tmp_path / "more.onnx").predict(crops).logits
        assert more == pytest.approx(plain + times * offsets, abs=1e-4)


def test_balanced_takes_all_classes_for_equally_common(model: Path) -> None:
    classifier = ExpressionClassifier(model)
    said = classifier.predict(drawn(28, 4).images)
    balanced = classifier.balanced(said)
    expected = said.probs / np.array(classifier.spec.class_shares)
    assert balanced.probs == pytest.approx(expected / expected.sum(1, keepdims=True))
    threshold = classifier.spec.uncertain_below
    assert (balanced.uncertain == (balanced.probs.max(1) < threshold)).all()


def test_balanced_takes_nothing_back_of_a_class_that_was_never_seen(
    model: Path, tmp_path: Path
) -> None:
    import onnx

    from mien.training.export import save_model

    shares = (0.2, 0.0, 0.2, 0.2, 0.2, 0.1, 0.1)
    file = tmp_path / "six.onnx"
    save_model(onnx.load(model), replace(find_model(model).spec(), class_shares=shares), file)
    classifier = ExpressionClassifier(file)
    said = classifier.predict(drawn(28, 4).images)
    balanced = classifier.balanced(said)
    assert (balanced.probs[:, 1] < said.probs[:, 1]).all()


def test_who_does_not_know_its_shares_cannot_be_balanced(tmp_path: Path, model: Path) -> None:
    import onnx

    from mien.training.export import save_model

    file = tmp_path / "old.onnx"
    spec = replace(ExpressionClassifier(model).spec, class_shares=(), ferplus_temperature=0.0)
    save_model(onnx.load(model), spec, file)
    with pytest.raises(ModelError, match="mien calibrate"):
        Analyzer(file, expect="balanced")
    with pytest.raises(ModelError, match="eight classes"):
        Analyzer(file, classes="ferplus")


def test_ferplus_answers_in_its_own_classes(model: Path) -> None:
    voters = ExpressionClassifier(model, classes="ferplus")
    assert voters.spec.labels == FERPLUS_EXPRESSIONS
    public = voted(drawn(112, 2))
    said = voters.predict(public.images)
    assert said.probs.shape == (112, 8)
    assert said.probs.sum(1) == pytest.approx(np.ones(112))
    truth = public.by_votes()
    assert truth.classes == FERPLUS_EXPRESSIONS
    assert (said.probs.argmax(1) == truth.labels).mean() > 0.9
    assert (
        np.abs(
            said.embeddings - ExpressionClassifier(model).predict(public.images).embeddings
        ).max()
        == 0
    )
    with pytest.raises(ModelError, match="does not say"):
        voters.balanced(said)


def test_ferplus_in_a_quantized_model_and_in_a_fusion(model: Path, tmp_path: Path) -> None:
    data, public = voted(drawn(112, 0)), voted(drawn(112, 2))
    truth = public.by_votes().labels
    small = model.with_name("tiny-int8.onnx")
    assert quantize(model, data, public, small).ferplus_temperature > 0
    both = model.with_name("both.onnx")
    spec = fuse([model, small], "logprob", data, public, both, name="both")
    assert len(spec.class_shares) == 7
    assert sum(spec.class_shares) == pytest.approx(1)
    for file in (small, both):
        said = ExpressionClassifier(file, classes="ferplus").predict(public.images)
        assert (said.probs.argmax(1) == truth).mean() > 0.9


def test_a_video_answers_in_ferplus_classes_with_other_expectations(model: Path) -> None:
    analyzer = Analyzer(model, classes="ferplus")
    frame = Frame(np.zeros((64, 64, 3), np.uint8), "dark", 0, 0.0)
    assert analyzer.analyze_frame(frame, following=analyzer.following()).faces == ()
    assert analyzer.temporal is None


def test_rows_by_votes(tmp_path: Path) -> None:
    crops = drawn(5)
    votes = np.zeros((5, 10), np.uint8)  # for the last, nobody voted
    votes[0, 7] = 6  # contempt
    votes[1, 9] = 6  # not a face
    votes[2, [0, 3]] = 5  # a tie
    votes[3, 8] = 10  # unknown
    rows = replace(crops, votes=votes).by_votes()
    assert rows.names == ("0", "2")
    assert rows.labels.tolist() == [7, 0]
    with pytest.raises(DatasetError, match="no FER"):
        replace(crops, votes=None).by_votes()


def test_targets_take_their_share_from_votes(tmp_path: Path) -> None:
    crops = drawn(7)
    votes = np.zeros((7, 10), np.uint8)
    votes[0, [1, 7]] = 5  # half of them happy, half contempt
    votes[1, FERPLUS_EXPRESSIONS.index("sad")] = 10
    recipe = tiny(label_smoothing=0.0, ferplus_share=0.5)
    rows = training_rows(recipe, replace(crops, votes=votes), tmp_path, print)
    import torch

    from mien.training.augment import draw_variations

    chosen = torch.arange(3)
    dice = draw_variations(3, 48, recipe.augment, torch.Generator().manual_seed(0))
    batch = make_batch(rows, chosen, torch.zeros(3, dtype=torch.bool), 48, dice, recipe)
    angry, disgust, fear, happy, sad, *_ = np.eye(7)
    expected = [0.75 * angry + 0.25 * happy, 0.5 * disgust + 0.5 * sad, fear]
    assert batch.targets.numpy() == pytest.approx(np.array(expected))


def test_ferplus_share_needs_the_seven_classes() -> None:
    with pytest.raises(ConfigError, match="0 to 1"):
        tiny(ferplus_share=1.5)
    recipe = tiny(ferplus_share=0.5)
    with pytest.raises(ConfigError, match="the seven"):
        replace(recipe, data=replace(recipe.data, classes=("a", "b")))


def test_growing_sizes_are_kept_where_they_end_at_the_models(model: Path) -> None:
    from mien.models import find_model

    sizes = ((0.5, 32), (1.0, 48))
    growing = replace(tiny(), fit=replace(tiny().fit, resolutions=sizes))
    assert of_the_same_network(growing, find_model(model)).fit.resolutions == sizes
    other = replace(growing, fit=replace(growing.fit, resolutions=((1.0, 40),)))
    assert of_the_same_network(other, find_model(model)).fit.resolutions == ((1.0, 48),)


def test_calibrate_on_ones_own_pictures(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_splits(tmp_path / "mine", 28)
    out = tmp_path / "mine.onnx"
    command = ["calibrate", str(model), "--data", str(tmp_path / "mine"), "--out", str(out)]
    assert main([*command, "--name", "mine", "--version", "2.1"]) == 0
    assert "n = 28" in capsys.readouterr().err
    spec = ExpressionClassifier(out).spec
    assert (spec.name, spec.version) == ("mine", "2.1")
    assert main(["evaluate", "--data", str(tmp_path / "mine"), "--model", str(out), "--expect",
                 "balanced", "--json"]) == 0  # fmt: skip
    assert json.loads(capsys.readouterr().out)["expect"] == "balanced"
    assert main(["evaluate", "--data", str(tmp_path / "mine"), "--model", str(out), "--classes",
                 "ferplus"]) == 2  # fmt: skip
    assert "no FER+ votes" in capsys.readouterr().err


def test_what_is_common_is_what_the_model_has_learned_from(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a model file from before `class_shares`: others' Training rows taught it nothing."""
    import onnx

    from mien.training.export import save_model

    mine, old = tmp_path / "mine", tmp_path / "old.onnx"
    write_splits(mine, 30)  # to learn from, five of the first two classes and four of the others
    learned = load_crops(mine, "Training")
    said = ExpressionClassifier(model).spec
    rule = {**said.recipe, "data": {**said.recipe["data"], "balance": 0.5}}
    said = replace(said, class_shares=(), recipe=rule)
    command = ["calibrate", str(old), "--data", str(mine), "--out", str(tmp_path / "new.onnx")]
    save_model(onnx.load(model), said, old)
    assert main(command) == 0
    assert "nobody knows how common the model expects" in capsys.readouterr().err

    asked: list[Any] = []

    def fitted(*_: object, shares: object, **__: object) -> None:
        asked.append(shares)
        raise DatasetError("enough")

    monkeypatch.setattr("mien.training.recalibrate.recalibrate", fitted)
    save_model(onnx.load(model), replace(said, data_sha256=learned.fingerprint()), old)
    assert main(command) == 2
    drawn_as = np.bincount(learned.labels) ** 0.5
    assert asked == [pytest.approx(drawn_as / drawn_as.sum())]


def test_rows_that_were_learned_from_calibrate_nothing(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine"
    write_splits(mine, 14)
    for number, file in enumerate(sorted((mine / "val").rglob("*.png"))[:4]):
        shutil.copy(file, mine / "train" / file.parent.name / f"again-{number}.png")
    command = ["calibrate", str(model), "--data", str(mine), "--out", str(tmp_path / "mine.onnx")]
    assert main(command) == 0
    said = capsys.readouterr().err
    assert "calibrates on 10 of 14 rows: the others stand" in said
    assert "PublicTest, n = 10" in said
    for split, n in (("all", 32), ("train", 18)):  # who asks for them gets them
        assert main([*command, "--split", split]) == 0
        said = capsys.readouterr().err
        assert "calibrates on" not in said
        assert f", n = {n}: " in said
    rounded = ["quantize", str(model), "--data", str(mine), "--out", str(tmp_path / "small.onnx")]
    assert main(rounded) == 0
    assert "PublicTest, n = 10: " in capsys.readouterr().err
    shutil.rmtree(mine / "val")
    shutil.copytree(mine / "train", mine / "val")
    assert main(command) == 2
    assert "all 18 rows to calibrate on stand, pixel for pixel" in capsys.readouterr().err


def test_rows_that_are_learned_from_without_a_folder_for_them_calibrate_nothing(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = saved(drawn(14), tmp_path / "mine")
    shutil.copytree(saved(drawn(14, 1), tmp_path / "other"), mine / "val")
    shutil.copy(mine / "happy" / "3.png", mine / "val" / "happy" / "again.png")
    command = ["calibrate", str(model), "--data", str(mine), "--out", str(tmp_path / "mine.onnx")]
    assert main(command) == 0
    assert "calibrates on 14 of 15 rows: the others stand" in capsys.readouterr().err


def test_calibrate_asks_which_rows_where_it_cannot_know(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """RAF-DB has Training and PrivateTest rows: all of them would be learned ones too."""
    write_splits(tmp_path / "mine", 14)
    (tmp_path / "mine" / "val").rename(tmp_path / "mine" / "test")
    command = ["calibrate", str(model), "--data", str(tmp_path / "mine")]
    command += ["--out", str(tmp_path / "mine.onnx")]
    assert main(command) == 2
    assert "has not learned from: PrivateTest, Training" in capsys.readouterr().err
    assert main([*command, "--split", "test"]) == 0
    assert "PrivateTest, n = 14" in capsys.readouterr().err
