"""Examinations: what counts, what is wrong, and the page that shows it."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.card import command_of, figures_table, model_card
from mien.classifier import ExpressionClassifier
from mien.cli import main
from mien.datasets import FaceCrops, LabelledPicture
from mien.errors import DatasetError
from mien.evaluate import (
    Answers,
    Evaluation,
    answer_crops,
    answer_pictures,
    format_evaluation,
    of_pose,
    summarize,
    turn_of,
)
from mien.evaluation_report import write_report
from mien.models import ModelSpec
from mien.pipeline import Analyzer
from mien.preprocess import resize_crop
from mien.slices.examine import _poses
from mien.types import EXPRESSIONS, Detections, UInt8Array

Capture = pytest.CaptureFixture[str]
REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return ExpressionClassifier().spec


def answers_of(labels: list[int], predicted: list[int], confidence: list[float]) -> Answers:
    n = len(labels)
    probs = np.repeat((1 - np.array(confidence))[:, None] / 6, 7, 1)
    probs[np.arange(n), predicted] = confidence
    crops = np.random.default_rng(0).integers(0, 256, (n, 48, 48), np.uint8)
    names = tuple(map(str, range(n)))
    return Answers(np.array(labels), crops, names, np.ones(n, bool), np.zeros(n, np.float32), probs)


def test_a_model_is_examined_on_its_own_classes(
    of_ones_own: Path, portrait: UInt8Array, tmp_path: Path, capsys: Capture
) -> None:
    smile = Image.fromarray(portrait).convert("L").crop((180, 60, 270, 180))
    for name in ("glad", "no sad"):
        (tmp_path / "set" / name).mkdir(parents=True)
        smile.save(tmp_path / "set" / name / "x.png")
    data, model = str(tmp_path / "set"), str(of_ones_own)
    assert main(["evaluate", "--model", model, "--data", data, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n"], found["accuracy"]) == (2, 0.5)
    assert found["per_class"]["glad"]["recall"] == 1
    assert main(["compare", model, "--data", data]) == 0
    assert "| **own** | 50.0 " in capsys.readouterr().out
    assert main(["compare", model, "mien-s", "--data", data]) == 2
    assert "mien-s: answers in other classes than own" in capsys.readouterr().err
    assert main(["evaluate", "--model", model, "--data", data, "--pipeline"]) == 2
    assert "Examine it on crops" in capsys.readouterr().err
    (tmp_path / "seven" / "happy").mkdir(parents=True)
    smile.resize((96, 96)).save(tmp_path / "seven" / "happy" / "x.png")  # as a crop, square
    assert main(["data", "check", str(tmp_path / "seven"), "--model", model]) == 0


def test_figures_by_hand(spec: ModelSpec) -> None:
    spec = replace(spec, uncertain_below=0.7)
    answers = answers_of([3, 3, 4, 6], [3, 4, 4, 6], [0.9, 0.8, 0.6, 0.5])
    fresh = np.array([True, True, False, False])
    found = summarize(answers, spec, data="x", fresh=fresh)
    assert (found.n, found.accuracy) == (4, 0.75)
    assert found.accuracy_ci95[0] < 0.75 < found.accuracy_ci95[1]
    assert found.confusion[3][3:5] == [1, 1]
    assert found.per_class["sad"] == {
        "n": 1,
        "precision": 0.5,
        "recall": 1.0,
        "f1": pytest.approx(2 / 3),
    }
    assert (found.answered, found.answered_accuracy) == (0.5, 0.5)
    assert (found.deduplicated_n, found.deduplicated_accuracy) == (2, 0.5)
    assert found.nll == pytest.approx(-np.log([0.9, 0.2 / 6, 0.6, 0.5]).mean())
    assert found.coverage == [
        {"coverage": share, "accuracy": right}
        for share, right in ((0.25, 1.0), (0.5, 0.5), (0.75, pytest.approx(2 / 3)), (1.0, 0.75))
    ]
    assert Evaluation.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    text = format_evaluation(found)
    assert "75.00%" in text
    assert "deduplicated" in text


def test_names_of_any_length_keep_their_columns(spec: ModelSpec) -> None:
    long = "out-of-the-ordinary"
    labels = (long, *spec.labels[1:])
    answers = answers_of([0, 3], [0, 3], [0.9, 0.8])
    text = format_evaluation(summarize(answers, replace(spec, labels=labels), data="x"))
    lines = {line.split()[0]: line for line in text.splitlines() if line}
    ends = [lines[name].index(" 1.000") for name in (long, "happy")]
    assert ends[0] == ends[1]


def test_training_duplicates_are_left_out() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48), np.uint8)
    labels = np.zeros(3, np.int64)
    everything = FaceCrops(images, labels, None, tuple("abc"))
    training = FaceCrops(images[1:2], labels[:1], None, ("t",))
    assert everything.unseen(training).tolist() == [True, False, True]
    larger = replace(
        training, images=np.stack([resize_crop(image, 64) for image in training.images])
    )
    assert everything.unseen(larger).tolist() == [True, False, True]


def test_crops_are_answered_as_the_classifier_answers() -> None:
    classifier = ExpressionClassifier()
    images = np.random.default_rng(0).integers(0, 256, (5, 48, 48), np.uint8)
    data = FaceCrops(images, np.arange(5), None, tuple("abcde"))
    for views in ("single", "flip"):
        answers = answer_crops(classifier, data, views=views)
        assert (answers.probs == classifier.predict(images, views=views).probs).all()
        assert (answers.correct == (answers.predicted == data.labels)).all()


def test_pictures_of_one_person_are_not_independent(spec: ModelSpec) -> None:
    """Where every person is read wholly rightly or wholly wrongly, each counts as one."""
    answers = answers_of([3] * 80, [3] * 60 + [4] * 20, [0.9] * 80)
    four_each = tuple(f"S{i // 4}" for i in range(80))
    found = summarize(replace(answers, groups=four_each), spec, data="x")
    assert found.by_person["people"] == 20
    low, high = found.by_person["accuracy_ci95"]
    assert low < found.accuracy_ci95[0] - 0.1
    assert high > found.accuracy_ci95[1] + 0.05
    assert f"{low:.2%} to {high:.2%}, over 20 people" in format_evaluation(found)
    assert Evaluation.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    everybody = tuple(map(str, range(80)))
    for groups in ((), ("",) * 80, (*four_each[:79], ""), ("S1",) * 80, everybody):
        assert summarize(replace(answers, groups=groups), spec, data="x").by_person == {}


def test_a_face_that_is_not_found_is_wrong(
    analyzer: Analyzer, portrait_file: Path, tmp_path: Path, spec: ModelSpec
) -> None:
    Image.new("RGB", (90, 90)).save(tmp_path / "black.png")
    (tmp_path / "text.png").write_text("no picture")
    happy = EXPRESSIONS.index("happy")
    pictures = [
        LabelledPicture(path, happy, "")
        for path in (portrait_file, tmp_path / "black.png", tmp_path / "text.png")
    ]
    answers = answer_pictures(analyzer, pictures)
    assert answers.correct.tolist() == [True, False, False]
    assert answers.found.tolist() == [True, False, False]
    found = summarize(answers, spec, data="x", pose="all")
    assert (found.missed, found.pipeline) == (2, True)
    assert [level["accuracy"] for level in found.coverage] == pytest.approx([1, 1 / 2, 1 / 3])
    assert found.accuracy == pytest.approx(1 / 3)
    assert "no face found" in format_evaluation(found)
    # The astronaut looks at us: she is in front, and pictures without a face count as turned.
    assert len(of_pose(answers, "front")) == 1
    assert len(of_pose(answers, "turned")) == 2
    assert len(of_pose(answers, "all")) == 3
    facing = of_pose(of_pose(answers, "front"), "turned")
    with pytest.raises(DatasetError, match=r"x: nothing to examine.* and a face that is turned"):
        summarize(facing, spec, data="x", pose="turned")


def test_every_picture_is_of_one_pose(portrait_file: Path) -> None:
    """Whose name says from where it was taken, of that one, whatever the nose says."""

    def picture(view: str) -> LabelledPicture:
        return LabelledPicture(portrait_file, 3, "", view)

    def seen(nose_x: float) -> Detections:
        points = np.array([[[10, 10], [20, 10], [nose_x, 15], [11, 20], [19, 20]]], np.float32)
        box = np.array([[5, 5, 25, 25]], np.float32)
        return Detections(box, np.ones(1, np.float32), points)

    assert turn_of(picture(""), seen(15)) == pytest.approx(0)
    assert turn_of(picture(""), seen(19)) == pytest.approx(0.4)
    assert turn_of(picture(""), None) == np.inf
    for face in (None, seen(15), seen(19)):
        assert turn_of(picture("front"), face) == 0
        assert turn_of(picture("half left"), face) == turn_of(picture("full right"), face) == np.inf
    front = np.array([True, False, False])
    poses = _poses([picture(view) for view in ("front", "half left", "full right")], front)
    assert {name: mine.tolist() for name, mine in poses.items()} == {
        "front": [True, False, False],
        "half left": [False, True, False],
        "full right": [False, False, True],
    }
    poses = _poses([picture(view) for view in ("front", "half left", "")], front)
    assert {name: mine.tolist() for name, mine in poses.items()} == {
        "front": [True, False, False],
        "turned": [False, True, True],
    }


def test_the_report_is_complete(tmp_path: Path, spec: ModelSpec) -> None:
    rng = np.random.default_rng(0)
    answers = answers_of(
        rng.integers(0, 7, 200).tolist(),
        rng.integers(0, 7, 200).tolist(),
        rng.uniform(0.3, 1.0, 200).tolist(),
    )
    evaluation = summarize(answers, spec, data="<noise>")
    write_report(tmp_path, evaluation, answers, seed=0)
    page = (tmp_path / "index.html").read_text("utf-8")
    pictures = re.findall(r'<img src="([^"]+)"', page)
    assert len(pictures) == 6
    for name in pictures:
        with Image.open(tmp_path / name) as picture:
            assert picture.width > 300
    assert "<noise>" not in page  # escaped
    assert "http" not in page  # nothing from the network
    assert page.count("<img") == page.count(' alt="')
    for name in EXPRESSIONS:
        assert f"<td>{name}" in page


def test_the_report_without_mistakes(tmp_path: Path, spec: ModelSpec) -> None:
    answers = answers_of([3, 4], [3, 4], [0.9, 0.9])
    write_report(tmp_path, summarize(answers, spec, data="x"), answers, seed=0)
    assert "mistakes.png" not in (tmp_path / "index.html").read_text("utf-8")


def test_the_report_on_the_command_line(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "data" / "happy").mkdir(parents=True)
    crop = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    Image.fromarray(crop).save(tmp_path / "data" / "happy" / "x.png")
    out = tmp_path / "report"
    assert main(["evaluate", "--data", str(tmp_path / "data"), "--report", str(out)]) == 0
    assert (out / "index.html").is_file()
    assert "index.html" in capsys.readouterr().err


def test_the_card_names_the_command_of_each_figure(spec: ModelSpec) -> None:
    answers = answers_of([3, 3, 4, 6], [3, 4, 4, 6], [0.9, 0.8, 0.6, 0.5])
    crops = summarize(
        answers, spec, data="fer2013", split="PublicTest", views="flip", fresh=np.ones(4, bool)
    )
    full = summarize(answers, spec, data="kdef", pose="front")
    assert command_of(crops) == (
        f"--data fer2013 --model {spec.name} --split PublicTest --tta --train-data fer2013"
    )
    assert command_of(full) == f"--data kdef --model {spec.name} --pipeline --pose front"
    balanced = replace(full, expect="balanced")
    assert command_of(balanced).endswith("--pose front --expect balanced")
    voted = replace(crops, classes="ferplus")
    assert "--classes ferplus" in command_of(voted)
    assert "all expressions equally likely" in figures_table([balanced])[-1]
    assert "FER+ classes" in figures_table([voted])[-1]
    table = figures_table([crops, full])
    assert "fer2013 PublicTest, with mirror image" in table[2]
    assert "kdef, front, whole pipeline" in table[3]
    card = model_card(spec, "f" * 64, [crops, full])
    for line in table:
        assert line in card
    assert "f" * 64 in card


def test_the_card_says_what_was_chosen_and_how(spec: ModelSpec) -> None:
    def said(**changes: object) -> str:
        changed = replace(spec, averaged_from=(), recipe={**spec.recipe, "init": "", **changes})
        (line,) = re.findall("What it learned from.*", model_card(changed, "f" * 64, []))
        return str(line).split(" PrivateTest")[0]

    network, training = spec.recipe["network"], spec.recipe["fit"]
    assert "after the last epoch. PublicTest chose how far" in said()
    assert "began as" not in said()
    best = said(fit={**training, "select": "best"})
    assert "last epoch" not in best
    assert "PublicTest chose the epoch whose weights are taken" in best
    assert "it began as `own.onnx`" in said(init="/somewhere/own.onnx")
    assert "it began as `face.json`" in said(network={**network, "weights": "a/face.json"})
    mien_m = ExpressionClassifier("mien-m").spec
    card = model_card(mien_m, "f" * 64, [])
    assert "PublicTest chose the members' weights, how far" in card
    assert "last epoch" not in card
    assert "docs/robustness.md" in card


def test_training_rows_are_not_examined_in_silence(tmp_path: Path, capsys: Capture) -> None:
    noise = np.random.default_rng(0)
    for split in ("train", "val"):
        (tmp_path / split / "happy").mkdir(parents=True)
        crop = Image.fromarray(noise.integers(0, 256, (48, 48), np.uint8))
        crop.save(tmp_path / split / "happy" / "a.png")
    command = ["evaluate", "--data", str(tmp_path)]
    for words, n in (([], 2), (["--split", "PublicTest"], 1), (["--split", "Training"], 1)):
        assert main([*command, *words, "--json"]) == 0
        printed = capsys.readouterr()
        assert json.loads(printed.out)["n"] == n
        assert ("its Training rows count too" in printed.err) == (n == 2)
        assert ("choose others by --split PublicTest" in printed.err) == (n == 2)
    (tmp_path / "val").rename(tmp_path / "test")  # as of RAF-DB
    assert main([*command, "--json"]) == 0
    assert "choose others by --split PrivateTest" in capsys.readouterr().err


def test_the_readme_shows_the_published_figures() -> None:
    saved = json.loads((REPOSITORY / "models" / "mien-s.json").read_text("utf-8"))
    table = figures_table([Evaluation.from_dict(row) for row in saved])
    readme = (REPOSITORY / "README.md").read_text("utf-8")
    assert "\n".join(table) in readme


def test_a_face_that_is_not_found_is_not_an_answer(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = answers_of([3, 3, 4, 6], [3, 4, 4, 0], [0.9, 0.8, 0.6, 1.0])
    seen = summarize(answers, spec, data="x")
    answers = replace(answers, found=np.array([True, True, True, False]))
    found = summarize(answers, replace(spec, uncertain_below=0.7), data="x", pose="all")
    assert (found.accuracy, found.missed) == (0.5, 1)  # it is wrong, yet nobody said so
    assert (found.answered, found.answered_accuracy) == (0.5, 0.5)
    # Nor is it taken for a face that somebody pulls.
    assert [row[7] for row in found.confusion] == [0, 0, 0, 0, 0, 0, 1]
    assert found.per_class["angry"] == {"n": 0, "precision": 0, "recall": 0, "f1": 0}
    assert found.per_class["neutral"] == {"n": 1, "precision": 0, "recall": 0, "f1": 0}
    assert found.macro_f1 == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert " none\n" in format_evaluation(found)
    assert Evaluation.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert found.nll == pytest.approx(-np.log([0.9, 0.2 / 6, 0.6]).mean())
    assert found.ece == pytest.approx((0.1 + 0.8 + 0.4) / 3)
    assert found.ece is not None
    assert seen.ece is not None
    assert found.ece < seen.ece
    always = summarize(answers, replace(spec, uncertain_below=0.0), data="x", pose="all")
    assert always.answered == 0.75

    drawn: dict[str, np.ndarray] = {}
    for name in ("reliability_chart", "coverage_chart"):
        monkeypatch.setattr(
            f"mien.plots.{name}",
            lambda confidence, *rest, name=name: drawn.update({name: confidence}),
        )
    write_report(tmp_path, found, answers, seed=0)
    assert '<span class="wrong">no face</span>' in (tmp_path / "index.html").read_text("utf-8")
    assert drawn["reliability_chart"].tolist() == [0.9, 0.8, 0.6]
    assert drawn["coverage_chart"].tolist() == [0.9, 0.8, 0.6, 0.0]

    nobody = replace(answers, found=np.zeros(4, bool))
    lost = summarize(nobody, spec, data="x", pose="all")
    assert lost.answered == 0
    assert (lost.answered_accuracy, lost.ece, lost.nll) == (None, None, None)  # nothing is perfect
    assert json.loads(json.dumps(lost.to_dict()))["ece"] is None
    assert "calibration error     -   negative log-likelihood -" in format_evaluation(lost)
    assert "| - | 0%, - |" in figures_table([lost])[-1]
    write_report(tmp_path, lost, nobody, seed=0)


def test_what_users_see_as_uncertain_is_not_answered(
    analyzer: Analyzer,
    portrait: UInt8Array,
    portrait_file: Path,
    spec: ModelSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A face that cannot be read is not answered, however sure the model is of it."""
    face = np.asarray(Image.fromarray(portrait[62:178, 168:284]).convert("L").resize((48, 48)))
    crops = FaceCrops(np.stack([face, np.full_like(face, 90)]), np.array([3, 3]), None, ("a", "b"))
    answers = answer_crops(ExpressionClassifier(), crops)
    assert answers.doubtful is not None
    assert answers.doubtful.tolist() == [False, True]
    always = replace(spec, uncertain_below=0.0)
    found = summarize(answers, always, data="x")
    assert (found.answered, found.gated) == (0.5, True)
    drawn: list[list[bool]] = []
    monkeypatch.setattr("mien.plots.coverage_chart", lambda *a: drawn.append(a[2].tolist()))
    write_report(tmp_path, found, answers, seed=0)
    assert drawn == [[True, False]]  # the figure shows what the page says
    alone = summarize(replace(answers, doubtful=None), always, data="x")
    assert (alone.answered, alone.gated) == (1.0, False)
    for evaluation, words in ((found, "whose face cannot be read"), (alone, "by confidence alone")):
        assert words in model_card(spec, "f" * 64, [evaluation])
    seen = of_pose(answer_pictures(analyzer, [LabelledPicture(portrait_file, 3, "")]), "front")
    (result,) = analyzer.stream(portrait_file)
    qualities = [shown.quality for shown in result.faces]
    assert seen.doubtful is not None
    assert seen.doubtful.tolist() == [quality is None or quality.doubtful for quality in qualities]


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ("--folds subject --recipe r.toml --model mien-s", "--model"),
        ("--folds subject --recipe r.toml --tta", "--views, --tta"),
        ("--folds subject --recipe r.toml --views shifts", "--views, --tta"),
        ("--folds subject --recipe r.toml --split val", "--split"),
        ("--folds subject --recipe r.toml --train-data x", "--train-data"),
        ("--folds subject --recipe r.toml --pipeline --pose front", "--pipeline"),
        ("--init mien-s", "--init"),
        ("--out runs", "--out"),
        ("--resume", "--resume"),
    ],
)
def test_what_folds_would_ignore_is_refused(words: str, option: str, capsys: Capture) -> None:
    assert main(["evaluate", "--data", "x", *words.split()]) == 2
    assert re.search(rf"{option}: .*--folds.*Leave it out", capsys.readouterr().err)


def test_what_is_not_examined_is_said(
    tmp_path: Path, portrait: UInt8Array, capsys: Capture
) -> None:
    """A folder of another name, a broken picture, and full pictures that are taken for crops."""
    for name in ("happy", "hapy"):
        (tmp_path / name).mkdir()
        Image.fromarray(portrait[:, 100:400]).save(tmp_path / name / "a.png")
    (tmp_path / "happy" / "b.jpg").write_text("no picture")
    assert main(["evaluate", "--data", str(tmp_path), "--pipeline", "--json"]) == 0
    said = capsys.readouterr()
    figures = json.loads(said.out)
    assert (figures["n"], figures["missed"]) == (2, 1)
    assert "surprise, neutral: hapy (1)" in said.err
    assert "b.jpg: not a picture" in said.err
    assert "Training" not in said.err
    (tmp_path / "happy" / "b.jpg").unlink()
    assert main(["evaluate", "--data", str(tmp_path), "--json"]) == 0
    assert "300 x 512 are taken for face crops" in capsys.readouterr().err


def test_full_pictures_to_learn_from_are_named_and_can_be_left_out(
    tmp_path: Path, portrait: UInt8Array, capsys: Capture
) -> None:
    for name in ("train/happy", "val/happy"):
        (tmp_path / name).mkdir(parents=True)
        Image.fromarray(portrait[:, 100:400]).save(tmp_path / name / "a.png")
    command = ["evaluate", "--data", str(tmp_path), "--pipeline"]
    assert main([*command, "--json"]) == 0
    said = capsys.readouterr()
    assert (json.loads(said.out)["n"], json.loads(said.out)["split"]) == (2, "all")
    assert "its Training rows count too" in said.err
    assert "choose others by --split PublicTest" in said.err
    assert main([*command, "--split", "val"]) == 0
    said = capsys.readouterr()
    assert f" on {tmp_path.name}, PublicTest, all poses, whole pipeline, n = 1," in said.out
    assert "Training" not in said.err
    assert main([*command, "--split", "test"]) == 2
    assert "no labelled picture of the split 'PrivateTest'" in capsys.readouterr().err
