"""Expressions over time: the network, what it learns from, its file, and the personal baseline."""

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mien.classifier import ExpressionClassifier
from mien.cli import main
from mien.datasets import LabelledPicture, load_pictures
from mien.errors import ConfigError, DatasetError, ModelError
from mien.models import TEMPORAL_METADATA_KEY, ModelEntry, file_sha256, find_model
from mien.pipeline import Analyzer
from mien.temporal import LONG_AGO_S, MEMORY_S, Baseline, Smoother, TemporalModel
from mien.training.initial import weights_of
from mien.training.temporal.bank import DEGREES, BankBuilder, FaceBank, Take
from mien.training.temporal.fit import export_temporal, train_temporal
from mien.training.temporal.network import START_S, TemporalNetwork
from mien.training.temporal.recipe import TemporalRecipe, load_temporal_recipe
from mien.training.temporal.sequences import Composer
from mien.types import EXPRESSIONS, Frame, UInt8Array

NEUTRAL = EXPRESSIONS.index("neutral")
FEATURES = 12
NOTHING = np.zeros((1, FEATURES), np.float32)
RECIPE = TemporalRecipe(
    name="t", memory=8, look=4, frames=40, steps=60, batch=24, holdout=0.25, learning_rate=0.02
)


def toy_bank(people: int = 12, seed: int = 0) -> FaceBank:
    """Faces whose single answers are doubtful, and whose features say what they show."""
    random = np.random.default_rng(seed)
    logs: list[np.ndarray] = []
    features: list[np.ndarray] = []

    def crops(label: int, degree: float) -> np.ndarray:
        rows = []
        for _ in range(3):
            weights = random.normal(0, 1.0, len(EXPRESSIONS))
            weights[label] += 1.2 * degree
            weights[NEUTRAL] += 1.2 * (1 - degree)
            logs.append(weights - np.log(np.exp(weights).sum()))
            vector = random.normal(0, 0.3, FEATURES)
            vector[label] += degree
            vector[NEUTRAL] += 1 - degree
            features.append(vector)
            rows.append(len(logs) - 1)
        return np.array(rows, np.intp)

    takes = []
    for person in range(people):
        shown = {label: np.stack([crops(label, d) for d in DEGREES]) for label in (0, 3, 5)}
        takes.append(
            Take(f"p{person}", crops(NEUTRAL, 0), shown, np.stack([crops(NEUTRAL, 0)] * 2))
        )
    nothing = np.zeros(0, np.intp)
    takes += [
        Take("", nothing, {3: crops(3, 1.0)[None]}, nothing[None], wild=True) for _ in range(4)
    ]
    return FaceBank(takes, np.array(logs, np.float32), np.array(features, np.float32))


@pytest.fixture(scope="module")
def bank() -> FaceBank:
    return toy_bank()


@pytest.fixture(scope="module")
def trained(bank: FaceBank) -> tuple[TemporalNetwork, dict[str, float]]:
    return train_temporal(RECIPE, bank, NEUTRAL)


@pytest.fixture(scope="module")
def model(trained: tuple[TemporalNetwork, dict[str, float]], tmp_path_factory) -> TemporalModel:  # type: ignore[no-untyped-def]
    file = tmp_path_factory.mktemp("temporal") / "t.onnx"
    classifier = ExpressionClassifier()
    network, metrics = trained
    export_temporal(network, RECIPE, classifier.entry, classifier.spec, file, metrics)
    return TemporalModel(ModelEntry("t", file, None))


def answers(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    probs = random.dirichlet(np.ones(len(EXPRESSIONS)), count)
    return probs, random.normal(0, 1, (count, FEATURES)).astype(np.float32)


# --- what it learns from ---------------------------------------------------------------------


def test_sequences_say_what_is_shown(bank: FaceBank) -> None:
    drawn = Composer(bank, NEUTRAL, frames=50, seed=3).draw(40)
    assert drawn.log_probs.shape == (40, 50, 7)
    assert drawn.embeddings.shape == (40, 50, FEATURES)
    assert drawn.targets.sum(2) == pytest.approx(1)
    assert (drawn.targets >= 0).all()
    assert (drawn.gaps_s[:, 0] == LONG_AGO_S).all()
    assert (drawn.gaps_s[:, 1:] > 0).all()
    rates = 1 / np.median(drawn.gaps_s[:, 1:], axis=1)
    assert rates.min() < 12  # any frame rate
    assert rates.max() > 30
    played = drawn.targets[(drawn.targets.argmax(2) != NEUTRAL).any(1)]
    assert len(played) > 10
    # Expressions come from rest: some sequence is neutral, then not.
    assert ((played[:, 0, NEUTRAL] == 1) & (played[:, :, NEUTRAL].min(1) < 0.5)).any()


def test_sequences_follow_from_their_seed(bank: FaceBank) -> None:
    first, again, other = (Composer(bank, NEUTRAL, 20, seed=s).draw(5) for s in (1, 1, 2))
    assert (first.log_probs == again.log_probs).all()
    assert not (first.log_probs == other.log_probs).all()


def test_composing_leaves_the_bank_as_it_is() -> None:
    bank, untouched = toy_bank(), toy_bank()
    Composer(bank, NEUTRAL, 60, seed=0).draw(20)
    assert (bank.log_probs == untouched.log_probs).all()
    assert (bank.embeddings == untouched.embeddings).all()


def test_people_held_out_are_not_learned_from(bank: FaceBank) -> None:
    mine, others = bank.split({"p1", "p2"})
    assert {take.group for take in mine.takes} == {"p1", "p2"}
    assert len(mine.takes) + len(others.takes) == len(bank.takes)


# --- the network -----------------------------------------------------------------------------


def test_before_training_it_is_the_smoother() -> None:
    network = TemporalNetwork(RECIPE, 7, FEATURES).eval()
    smoother, state = Smoother(START_S), torch.zeros(1, network.state_size)
    random, now_s, gap_s = np.random.default_rng(0), 0.0, LONG_AGO_S
    for _ in range(30):
        probs = random.dirichlet(np.ones(7), 1)
        expected = smoother.update([1], probs, NOTHING, now_s)
        with torch.no_grad():
            logits, state = network(
                torch.from_numpy(np.log(probs).astype(np.float32)),
                torch.from_numpy(NOTHING),
                torch.tensor([[gap_s]]),
                state,
            )
        assert torch.softmax(logits, 1).numpy() == pytest.approx(expected, abs=1e-4)
        gap_s = float(random.uniform(0.01, 0.3))
        now_s += gap_s


def test_it_learns_to_be_calmer_and_better_than_smoothing(
    trained: tuple[TemporalNetwork, dict[str, float]],
) -> None:
    _, metrics = trained
    assert metrics["temporal_accuracy"] > metrics["smooth_accuracy"] + 0.05
    assert metrics["smooth_accuracy"] > metrics["single_accuracy"]
    assert metrics["temporal_changes_per_s"] < metrics["single_changes_per_s"] / 3


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 11])
def test_a_training_may_be_short(bank: FaceBank, steps: int) -> None:
    short = TemporalRecipe(name="t", memory=2, look=2, frames=4, steps=steps, batch=2)
    network, _ = train_temporal(short, bank, NEUTRAL)
    assert all(torch.isfinite(weights).all() for weights in network.parameters())


def test_training_follows_from_its_seed(bank: FaceBank) -> None:
    short = TemporalRecipe(name="t", memory=4, look=2, frames=10, steps=3, batch=4)
    (a, _), (b, _) = (train_temporal(short, bank, NEUTRAL) for _ in range(2))
    for first, second in zip(a.parameters(), b.parameters(), strict=True):
        assert torch.equal(first, second)


# --- the file --------------------------------------------------------------------------------


def test_the_file_computes_what_was_trained(
    model: TemporalModel, trained: tuple[TemporalNetwork, dict[str, float]]
) -> None:
    network, _ = trained
    probs, embeddings = answers(30)
    gaps_s = np.random.default_rng(1).uniform(0.01, 0.2, 30)
    gaps_s[0] = LONG_AGO_S
    with torch.no_grad():
        expected = network.run(
            torch.from_numpy(np.log(probs).astype(np.float32))[None],
            torch.from_numpy(embeddings)[None],
            torch.from_numpy(gaps_s.astype(np.float32))[None],
        )[0].softmax(1)
    video, now_s = model.afresh(), 0.0
    for i in range(30):
        now_s += gaps_s[i] if i else 0.0
        found = video.update([7], probs[[i]], embeddings[[i]], now_s)
        assert found[0] == pytest.approx(expected[i].numpy(), abs=1e-4)
        assert found.sum() == pytest.approx(1)


def test_5_and_60_frames_a_second_agree_by_the_published_model() -> None:
    """A second of happy between neutral ones, by answers that are nine tenths sure."""
    model = TemporalModel(find_model("mien-s-temporal"))
    # Behind the answers are the smallest features that mien-s's last layer reads so.
    last = weights_of(find_model("mien-s"))
    layer, bias = (last[f"expression.{part}"].double().numpy() for part in ("weight", "bias"))
    inverse = np.linalg.pinv(layer)

    def happy(fps: int) -> dict[float, float]:
        video, found = model.afresh(), {}
        for i in range(3 * fps):
            probs = np.full((1, 7), 0.1 / 6)
            probs[0, 3 if fps <= i < 2 * fps else 6] = 0.9
            wanted = np.log(probs[0]) - bias
            features = (inverse @ (wanted - wanted.mean())).astype(np.float32)[None]
            found[round(i / fps, 3)] = float(video.update([1], probs, features, i / fps)[0, 3])
        return found

    shown = {fps: happy(fps) for fps in (5, 25, 60)}
    onset = {fps: min(t for t, p in found.items() if p > 0.5) for fps, found in shown.items()}
    assert onset[60] == pytest.approx(onset[25], abs=0.04)
    assert onset[60] == pytest.approx(onset[5], abs=0.2)
    for time_s, within in ((0.8, 0.01), (1.4, 0.08), (1.8, 0.03), (2.4, 0.01), (2.8, 0.01)):
        assert shown[5][time_s] == pytest.approx(shown[60][time_s], abs=within)


def test_faces_do_not_disturb_each_other(model: TemporalModel) -> None:
    together, alone = model.afresh(), model.afresh()
    for i in range(8):
        probs, embeddings = answers(3, seed=i)
        numbers = [1, 2, 3] if i % 2 else [3, 1, 2]
        row = numbers.index(1)
        found = together.update(numbers, probs, embeddings, i / 25)
        expected = alone.update([1], probs[[row]], embeddings[[row]], i / 25)
        assert found[[row]] == pytest.approx(expected, abs=1e-6)


def test_it_forgets_who_is_gone_and_starts_afresh(model: TemporalModel) -> None:
    video = model.afresh()
    probs, embeddings = answers(2)
    first = video.update([1], probs[:1], embeddings[:1], 0.0)
    video.update([2], probs[1:], embeddings[1:], MEMORY_S + 1)
    assert list(video._known) == [2]
    assert model.afresh().update([1], probs[:1], embeddings[:1], 5.0) == pytest.approx(first)
    assert video.update([], probs[:0], embeddings[:0], 100.0).shape == (0, 7)


@given(st.lists(st.floats(0, 3), min_size=1, max_size=8), st.integers(0, 99))
def test_answers_stay_probabilities(model: TemporalModel, gaps: Sequence[float], seed: int) -> None:
    video, now_s = model.afresh(), 0.0
    for gap_s in gaps:
        now_s += gap_s
        probs, embeddings = answers(2, seed)
        probs[0] = np.eye(7)[seed % 7]  # certainty, and with it the logarithm of nought
        found = video.update([1, 2], probs, 10 * embeddings, now_s)
        assert np.isfinite(found).all()
        assert found.sum(1) == pytest.approx(1)


def test_what_is_no_temporal_model_is_refused(model: TemporalModel, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a temporal model"):
        TemporalModel(find_model("mien-s"))
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="not a usable ONNX model"):
        TemporalModel(ModelEntry("x", tmp_path / "x.onnx", None))
    with pytest.raises(ValueError, match="one of them"):
        Analyzer(smooth_s=0.1, temporal="t")


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"state": 10**12}, "TemporalSpec cannot be read .state: expected 1 to 65536"),
        ({"state": -1}, "state: expected 1 to 65536, got -1"),
        ({"state": 39.0}, "TemporalSpec cannot be read"),
        ({"state": 40}, r"expected 'state' to be float\[n,40\], found float\[n,39\]"),
        ({"labels": ["a", "b"]}, r"expected 'log_probs' to be float\[n,2\], found float\[n,7\]"),
    ],
)
def test_a_temporal_model_that_is_not_what_it_says(
    tmp_path: Path, said: dict[str, Any], says: str
) -> None:
    model = onnx.load(str(find_model("mien-s-temporal").path))
    (entry,) = (each for each in model.metadata_props if each.key == TEMPORAL_METADATA_KEY)
    entry.value = json.dumps(json.loads(entry.value) | said)
    onnx.save(model, str(tmp_path / "odd.onnx"))
    with pytest.raises(ModelError, match=rf"odd\.onnx: .*{says}"):
        TemporalModel(ModelEntry("odd", tmp_path / "odd.onnx", None))


def test_a_temporal_model_for_other_features_is_refused(tmp_path: Path) -> None:
    """It may say that it was made for the classifier, and yet be another network."""
    model = onnx.load(str(find_model("mien-s-temporal").path))
    (wide,) = (each for each in model.graph.input if each.name == "embedding")
    wide.type.tensor_type.shape.dim[1].dim_value = 512
    # The rest gets the first 384 of them, so that the network can be opened.
    for node in model.graph.node:
        node.input[:] = ["narrow" if name == "embedding" else name for name in node.input]
    for name, value in (("from", 0), ("to", 384), ("axis", 1)):
        values = np.array([value], np.int64)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    node = onnx.helper.make_node("Slice", ["embedding", "from", "to", "axis"], ["narrow"])
    model.graph.node.insert(0, node)
    onnx.save(model, str(tmp_path / "wide.onnx"))
    with pytest.raises(ModelError, match=r"goes on from 512 features .*mien-s\.onnx gives 384"):
        Analyzer("mien-s", temporal=tmp_path / "wide.onnx")


def test_recipes_are_checked(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('name = "x"\nmemroy = 3\n')
    with pytest.raises(ConfigError, match="unknown key 'memroy'"):
        load_temporal_recipe(tmp_path / "r.toml")
    (tmp_path / "r.toml").write_text('name = "x"\nexclude = ["S001"]\n')
    recipe = load_temporal_recipe(tmp_path / "r.toml", ["steps=7"])
    assert (recipe.steps, recipe.exclude) == (7, ("S001",))
    for change, expected in (
        ("steps=0", "at least 1, found 0"),
        ("memory=5000", "1 to 4096, found 5000"),
        ("frames=1", "at least 2, found 1"),
        ("holdout=1.5", "0 to 1, found 1.5"),
        ("learning_rate=-1", "more than 0, found -1.0"),
    ):
        with pytest.raises(ConfigError, match=f"{change.partition('=')[0]}: expected {expected}"):
            load_temporal_recipe(tmp_path / "r.toml", [change])


def test_from_pictures_to_answers(
    portrait: UInt8Array, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The verb learns from pictures of two people, and `analyze` uses what it made."""
    face = Image.fromarray(portrait[0:256, 96:352])
    for person in range(2):
        for shade, expression in enumerate(("neutral", "happy", "surprise")):
            folder = tmp_path / "faces" / expression
            folder.mkdir(parents=True, exist_ok=True)
            picture = face if person else face.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            picture.point(lambda v, s=shade: int(v * (1 - 0.1 * s))).save(
                folder / f"{person}_{shade}.png"
            )
    recipe, file = tmp_path / "r.toml", tmp_path / "two.onnx"
    recipe.write_text('name = "two"\nholdout = 0.5\nframes = 8\nsteps = 2\nbatch = 2\n')
    command = ["train-temporal", str(recipe), "--pictures", str(tmp_path / "faces")]
    assert main([*command, "--out", str(file)]) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert 0 <= metrics["temporal_accuracy"] <= 1

    analyzer = Analyzer(temporal=file)
    following = analyzer.following()
    for i in range(3):
        result = analyzer.analyze_frame(Frame(portrait, "p", i, i / 25), following=following)
    (shown,) = [seen for seen in result.faces if seen.box[2] > 80]
    assert sum(shown.probs.values()) == pytest.approx(1)
    other, ours = tmp_path / "other.onnx", file_sha256(find_model().path).encode()
    other.write_bytes(file.read_bytes().replace(ours, b"0" * 64))
    with pytest.raises(ModelError, match="made for another file"):
        Analyzer(temporal=other)


# --- the personal baseline -------------------------------------------------------------------


def probs_of(**odds: float) -> np.ndarray:
    """Probabilities with these log-odds against neutral; -5 for the others."""
    logs = np.array([odds.get(name, 0.0 if name == "neutral" else -5.0) for name in EXPRESSIONS])
    return np.asarray((np.exp(logs) / np.exp(logs).sum())[None])


def test_a_face_that_rests_sadly_is_neutral_after_its_baseline() -> None:
    baseline = Baseline(EXPRESSIONS, seconds=1.0)
    resting, sadder = probs_of(sad=0.5), probs_of(sad=4.0)
    baseline.correct([1], resting, 0.0)
    found = baseline.correct([1], resting, 2.0)
    # Its excess over the usual -1.1 is 1.6, of which three quarters go.
    assert np.log(found[0, 4] / found[0, NEUTRAL]) == pytest.approx(0.5 - 0.75 * 1.6)
    assert baseline.correct([1], sadder, 3.0).argmax() == 4  # true sadness still shows
    assert baseline.correct([2], resting, 3.0).argmax() == NEUTRAL  # a new face learns anew
    # Also where frames come seldom: a face that is taken for a new one would be neutral again.
    baseline.correct([1], resting, 4.0)
    assert baseline.correct([1], probs_of(sad=2.0), 100.0).argmax() == 4


def test_a_usual_face_is_left_alone() -> None:
    baseline = Baseline(EXPRESSIONS, seconds=1.0)
    usual = probs_of(**Baseline.USUAL)
    baseline.correct([1], usual, 0.0)
    smiling = probs_of(happy=3.0)
    assert baseline.correct([1], smiling, 5.0) == pytest.approx(smiling)


def test_a_baseline_can_be_asked_for_in_the_middle() -> None:
    baseline, resting = Baseline(EXPRESSIONS), probs_of(angry=1.0)
    assert baseline.correct([1], resting, 0.0) == pytest.approx(resting)
    baseline.learn(0.5)
    for i in range(1, 10):
        found = baseline.correct([1], resting, i / 10)
    assert found.argmax() == NEUTRAL
    assert baseline.correct([2], resting, 1.0) == pytest.approx(resting)  # was not there


def test_a_baseline_that_is_asked_for_waits_for_a_face() -> None:
    baseline, resting, nobody = Baseline(EXPRESSIONS), probs_of(angry=1.0), np.zeros((0, 7))
    baseline.learn(0.5)
    baseline.correct([], nobody, 0.0)
    assert (baseline.learning, baseline.tracks) == (True, ())
    baseline.correct([4], resting, 3.0)
    assert baseline.learning
    baseline.correct([4], resting, 3.5)
    assert (baseline.learning, baseline.tracks) == (False, (4,))
    assert baseline.correct([4], resting, 4.0).argmax() == NEUTRAL


@pytest.mark.parametrize("logits", [np.full((1, 7), np.nan), np.zeros((2, 7))])
def test_answers_over_time_that_are_none_are_refused(
    monkeypatch: pytest.MonkeyPatch, logits: npt.NDArray[np.float64]
) -> None:
    model = TemporalModel(find_model("mien-s-temporal"))
    state = np.zeros((1, model.spec.state), np.float32)
    monkeypatch.setattr(model._network, "run", lambda *_: [logits, state])
    with pytest.raises(ModelError, match="does not answer with 7 finite numbers"):
        model.update([1], probs_of(sad=1.0), np.zeros((1, model.features), np.float32), 0.0)


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_who_comes_back_keeps_the_baseline_of_before(seconds: float) -> None:
    """Under another number, and laughing: a laugh is no resting face."""
    baseline, resting, laugh = Baseline(EXPRESSIONS, seconds), probs_of(sad=0.5), probs_of(happy=3)
    baseline.learn(1.0)
    for i in range(20):
        baseline.correct([1], resting, i / 10)
        baseline.recognize([1], [None if i < 5 else "Ada"], "a")
    expected = baseline.correct([1], laugh, 2.0), baseline.correct([1], resting, 2.1)
    for i in range(10):
        found = baseline.correct([2], laugh, 9 + i / 10)
        baseline.recognize([2], [None if i < 5 else "Ada"], "b")
    assert found == pytest.approx(expected[0])
    assert baseline.correct([2], resting, 10.0) == pytest.approx(expected[1])
    baseline.learn(1.0)  # what was known is forgotten, of everybody
    assert baseline.correct([2], laugh, 10.1)[0, 3] < expected[0][0, 3] / 2


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_who_was_away_for_long_has_the_baseline_of_before(seconds: float) -> None:
    baseline, resting, sad = Baseline(EXPRESSIONS, seconds), probs_of(sad=0.5), probs_of(sad=3.0)
    baseline.learn(1.0)
    for i in range(20):
        baseline.correct([1], resting, i / 10)
        baseline.recognize([1], ["Ada"], "a")
    expected = baseline.correct([1], sad, 2.0)
    for i in range(3):
        found = baseline.correct([2], sad, 2 * MEMORY_S + i / 10)
        baseline.recognize([2], ["Ada"], "b")
    assert found == pytest.approx(expected)


def test_the_baselines_of_a_camera_do_not_grow_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands pass by; who was seen last is still known, and who comes back often is too."""
    monkeypatch.setattr("mien.temporal._MOST_PEOPLE", 5)
    baseline, resting = Baseline(EXPRESSIONS, 1.0), probs_of(sad=0.5)
    for i in range(40):
        numbers = [2 * i, 2 * i + 1]
        baseline.correct(numbers, np.concatenate([resting, resting]), 100.0 * i)
        baseline.recognize(numbers, ["Ada", f"guest {i}"], ["a", i])
    assert list(baseline._people) == ["guest 36", "guest 37", "guest 38", "Ada", "guest 39"]


@pytest.mark.parametrize("believed", [0, 3])
def test_who_takes_over_a_track_does_not_take_over_its_baseline(believed: int) -> None:
    """It may keep Ada's name until it is known better; that it may be another, the key says."""
    baseline, resting = Baseline(EXPRESSIONS), probs_of(sad=0.5)
    baseline.learn(1.0)
    for i in range(20):
        hers = baseline.correct([1], resting, i / 10)
        baseline.recognize([1], ["Ada"], "a")
    both = np.concatenate([resting, resting])
    for i in range(20, 30):
        baseline.correct([1, 7], both, i / 10)  # 7 has just come in
        baseline.recognize([1, 7], ["Ada" if i < 20 + believed else "Bert", None], "bc")
    taken, new = baseline.correct([1, 7], both, 3.0)
    assert taken == pytest.approx(new)
    assert taken[4] > 1.5 * hers[0, 4]
    baseline.correct([2], resting, 3.1)
    baseline.recognize([2], ["Ada"], "d")
    assert baseline.correct([2], resting, 3.2) == pytest.approx(hers)


def test_a_name_that_is_corrected_keeps_its_baseline() -> None:
    baseline, resting, found = Baseline(EXPRESSIONS), probs_of(sad=0.5), []
    baseline.learn(1.0)
    for i in range(30):
        found.append(baseline.correct([1], resting, i / 10))
        baseline.recognize([1], ["person-1" if i < 20 else "Ada"], "a")
    assert found[29] == pytest.approx(found[19])


def test_a_corrected_name_leaves_no_baseline_with_another() -> None:
    """For a moment Ben is taken for Anna. Her own face at rest looks like nobody else's."""
    baseline, resting, neutral = Baseline(EXPRESSIONS), probs_of(sad=0.5), probs_of(neutral=0.9)
    baseline.learn(1.0)
    for i in range(20):
        baseline.correct([1], resting, i / 10)
        baseline.recognize([1], ["Anna" if i < 5 else "Ben"], "a")
    unknown = Baseline(EXPRESSIONS).correct([2], neutral, 2.0)
    for i in range(20, 25):
        hers = baseline.correct([2], neutral, i / 10)
        baseline.recognize([2], ["Anna"], "b")
    assert hers == pytest.approx(unknown)
    baseline.correct([3], resting, 2.6)
    baseline.recognize([3], ["Ben"], "c")
    assert baseline.correct([3], resting, 2.7)[0, 4] < 0.4


def test_a_baseline_needs_a_neutral_class_and_time() -> None:
    with pytest.raises(ValueError, match="class neutral"):
        Baseline(("bored", "focused"))
    with pytest.raises(ValueError, match="at least 0"):
        Baseline(EXPRESSIONS, -1)
    with pytest.raises(ValueError, match="positive"):
        Baseline(EXPRESSIONS).learn(0)


def test_the_baseline_reaches_the_results(portrait: UInt8Array) -> None:
    """A smiling portrait, taken for a resting face, is no longer so happy."""
    shown = {}
    for seconds in (0.0, 1.0):
        analyzer = Analyzer(baseline_s=seconds, smooth_s=0)
        following = analyzer.following()
        result = analyzer.analyze_frame(Frame(portrait, "p"), following=following)
        face = max(result.faces, key=lambda seen: seen.box[2])
        shown[seconds] = face.probs["happy"] / face.probs["neutral"]
    assert shown[1.0] < shown[0.0] / 5
    following.learn_baseline(1.0)
    assert following.baseline is not None
    assert following.baseline.learning


def test_a_baseline_that_cannot_be_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    for seconds in ("-1", "nan", "inf"):
        assert main(["analyze", "x.png", "--baseline", seconds]) == 2
        assert "--baseline: expected seconds, at least 0" in capsys.readouterr().err


# --- people and their sessions ---------------------------------------------------------------

PUBLISHED = Path(__file__).parents[1] / "recipes" / "temporal" / "mien-s-temporal.toml"


def test_all_sessions_of_a_person_are_held_out(
    bank: FaceBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = tuple((f"p{i}", f"p{i + 6}") for i in range(6))  # twelve sessions of six people
    whole = FaceBank.split
    for seed in range(4):
        asked: list[set[str]] = []

        def split(
            self: FaceBank, groups: set[str], asked: list[set[str]] = asked
        ) -> tuple[FaceBank, FaceBank]:
            asked.append(groups)
            return whole(self, groups)

        monkeypatch.setattr(FaceBank, "split", split)
        short = TemporalRecipe(
            name="t", memory=2, look=2, frames=4, steps=1, batch=2, seed=seed, same_person=sessions,
            holdout=1 / 3,
        )  # fmt: skip
        train_temporal(short, bank, NEUTRAL)
        monkeypatch.undo()
        (held,) = asked
        assert len(held) == 4  # two people
        assert all(len(held & set(person)) != 1 for person in sessions)


def test_who_is_left_out_is_left_out_in_all_sessions() -> None:
    recipe = TemporalRecipe(name="t", same_person=(("3", "55"),), exclude=("55", "S052"))
    assert [recipe.excludes(group) for group in ("3", "55", "S052", "4")] == [1, 1, 1, 0]
    assert [recipe.person(group) for group in ("3", "55", "4")] == ["3", "3", "4"]


def test_the_published_recipe_knows_the_people_of_kdef(data: Path) -> None:
    sessions = [name for pair in load_temporal_recipe(PUBLISHED).same_person for name in pair]
    assert len(sessions) == len(set(sessions)) == 140
    assert {picture.group for picture in load_pictures(data / "kdef")} == set(sessions)


def test_a_holdout_that_leaves_nobody_is_named(bank: FaceBank) -> None:
    for holdout, purpose in ((0.01, "watch"), (1.0, "learn from")):
        with pytest.raises(ConfigError, match=f"leaves nobody with an expression to {purpose}"):
            train_temporal(replace(RECIPE, holdout=holdout), bank, NEUTRAL)


def test_pictures_of_nobody_knows_whom_are_refused(tmp_path: Path) -> None:
    builder = BankBuilder(ExpressionClassifier())
    with pytest.raises(DatasetError, match="does not say whom it shows"):
        builder.add_pictures([LabelledPicture(tmp_path / "smile.png", 3, "")])
    Image.fromarray(np.zeros((48, 48), np.uint8)).save(tmp_path / "nobody.png")
    builder.add_pictures([LabelledPicture(tmp_path / "nobody.png", 3, "F01")])
    with pytest.raises(DatasetError, match="no face to learn from"):
        builder.build()


@pytest.mark.parametrize(
    ("name", "message"),
    [("smile", "smile.png: does not say whom it shows"), ("1_3", "of 1 people leaves nobody")],
)
def test_what_is_refused_is_so_before_faces_are_looked_for(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def search() -> None:
        raise AssertionError("looked for faces")

    monkeypatch.setattr("mien.training.temporal.bank.FaceDetector", search)
    (tmp_path / "r.toml").write_text('name = "t"\n')
    command = ["train-temporal", str(tmp_path / "r.toml")]
    for folder, picture in (("first", "1_2"), ("second", name)):
        (tmp_path / folder / "happy").mkdir(parents=True)
        Image.new("L", (48, 48)).save(tmp_path / folder / "happy" / f"{picture}.png")
        command += ["--pictures", str(tmp_path / folder)]
    assert main([*command, "--out", str(tmp_path / "t.onnx")]) == 2
    assert message in capsys.readouterr().err


def test_a_second_sitting_has_takes_of_its_own(tmp_path: Path, portrait_file: Path) -> None:
    """KDEF's own names give both sittings of a person one group."""

    def takes(*labels: int) -> list[list[int]]:
        builder = BankBuilder(ExpressionClassifier())
        builder.add_pictures([LabelledPicture(portrait_file, label, "F01") for label in labels])
        return [sorted(take.shown) for take in builder.build().takes]

    once = takes(3, 6)
    assert takes(3, 6, 3, 6) == once * 2


def test_a_of_ones_own_gets_no_temporal_model(
    of_ones_own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.toml").write_text('name = "x"\n')
    command = ["train-temporal", str(tmp_path / "r.toml"), "--pictures", str(tmp_path)]
    command += ["--model", str(of_ones_own), "--out", str(tmp_path / "x.onnx")]
    assert main(command) == 2
    assert "Give a --model of these classes" in capsys.readouterr().err


def test_every_setting_of_a_temporal_recipe_is_explained() -> None:
    text = (PUBLISHED.parents[2] / "docs" / "training.md").read_text("utf-8")
    for setting in fields(TemporalRecipe):
        assert f"`{setting.name}`" in text, f"docs/training.md does not explain {setting.name}"
