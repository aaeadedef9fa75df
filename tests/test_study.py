"""Studies: variants trained alike, finished once, compared row by row."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.classifier import ExpressionClassifier
from mien.cli import main
from mien.datasets import load_training
from mien.errors import ConfigError, DatasetError, DivergedError, ModelError
from mien.evaluate import summarize
from mien.slices import SLICES
from mien.study import Study, StudyResult, Trial, format_study, load_study, read_result
from mien.study.bench import run_study
from mien.training.data import usable_rows
from mien.training.optimizer import make_optimizer
from mien.training.recipe import Recipe
from mien.training.zoo import build_network
from tests.lessons import KilledError, drawn, taught, tiny, write_splits
from tests.test_evaluate import answers_of

Capture = pytest.CaptureFixture[str]

RECIPE = """
name = "small"
[network]
widths = [8, 16]
depths = [1, 1]
[data]
aligned_share = 0.0
input_px = 48
[fit]
epochs = 2
batch = 14
learning_rate = 0.02
resolutions = [[1.0, 48]]
"""

STUDY = """
name = "small"
question = "Does it help?"
recipe = "r.toml"
seeds = [0, 1]
set = ["fit.epochs=1"]
[[variants]]
name = "as it is"
[[variants]]
name = "longer"
set = ["fit.epochs=2"]
[[variants]]
name = "too fast"
set = ["fit.learning_rate=1e30", "fit.epochs=2"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, portrait_file: Path) -> Path:
    """A study, its recipe, crops to learn from and a full picture to examine on."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "r.toml").write_text(RECIPE)
    (folder / "s.toml").write_text(STUDY)
    write_splits(folder / "crops", 42)
    (folder / "photos" / "happy").mkdir(parents=True)
    shutil.copy(portrait_file, folder / "photos" / "happy" / "a.png")
    return folder


def test_a_study_is_run_once_and_read_again(folder: Path, capsys: Capture) -> None:
    command = ["study", str(folder / "s.toml"), "--data", str(folder / "crops")]
    command += ["--out", str(folder / "runs"), "--pictures", str(folder / "photos")]
    command += ["--threads", "1", "--precision", "32-true"]
    assert main(command) == 0
    first = capsys.readouterr()
    assert "small 6/6: too fast, seed 1" in first.err
    assert "epoch 2/2" in first.err
    assert main([*command, "--json"]) == 0
    second = capsys.readouterr()
    assert "epoch" not in second.err  # nothing was trained again
    trials = json.loads(second.out)["trials"]
    assert [(t["variant"], t["seed"], t["epochs"]) for t in trials] == [
        ("as it is", 0, 1), ("longer", 0, 2), ("too fast", 0, 0),
        ("as it is", 1, 1), ("longer", 1, 2), ("too fast", 1, 0),
    ]  # fmt: skip
    assert "loss became" in trials[2]["failure"]
    for short, long in ((trials[0], trials[1]), (trials[3], trials[4])):
        assert long["trained_tmac"] == pytest.approx(2 * short["trained_tmac"])
        assert [e["data"] for e in long["evaluations"]] == ["crops", "crops", "photos"]
        assert len(long["correct"]) == 42
        assert long["correct"].count("1") == round(42 * long["evaluations"][1]["accuracy"])
    assert main(["study", str(folder / "runs" / "study.json")]) == 0
    table = capsys.readouterr().out
    assert table == first.out
    assert "| too fast | failed" in table
    assert "| longer | " in table
    assert "photos, front" in table
    assert "| variant | PublicTest | of each seed |" in table
    assert "PublicTest (n = 42) with the mirror image" in table


def test_a_study_says_what_it_leaves_out(folder: Path, tmp_path: Path) -> None:
    write_splits(tmp_path / "crops", 14)
    (tmp_path / "crops" / "train" / "happy").rename(tmp_path / "crops" / "train" / "hapy")
    lines: list[str] = []

    def die(text: str) -> None:
        lines.append(text)
        if "small 1/" in text:
            raise KilledError

    study = load_study(folder / "s.toml")
    with pytest.raises(KilledError):
        run_study(study, tmp_path / "crops", tmp_path / "runs", threads=1, note=die)
    assert lines[0].endswith("sad, surprise, neutral: hapy (2)")


def test_what_was_interrupted_goes_on(folder: Path, tmp_path: Path) -> None:
    study = replace(load_study(folder / "s.toml"), seeds=(0,))

    def die(text: str) -> None:
        if "epoch 1/2" in text:
            raise KilledError

    with pytest.raises(KilledError):
        run_study(study, folder / "crops", tmp_path, threads=1, note=die)
    lines: list[str] = []
    broken = run_study(study, folder / "crops", tmp_path, threads=1, note=lines.append)
    epochs = re.findall(r"epoch (\d/\d)", "\n".join(lines))
    assert epochs == ["2/2"]  # the only one that was missing: one variant was finished, one begun
    whole = run_study(study, folder / "crops", tmp_path / "whole", threads=1)
    assert [trial.correct for trial in broken.trials] == [trial.correct for trial in whole.trials]
    assert "| longer | " in format_study(whole)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "small"', "", "lacks `name`"),
        ("seeds = [0, 1]", "seeds = [0.5]", "expected whole numbers"),
        ("seeds = [0, 1]", "seeds = [1, 1]", "expected whole numbers, each once"),
        ("seeds = [0, 1]", "sheep = 3", "unknown key 'sheep'"),
        ("seeds = [0, 1]", "slices = -1", "slices: expected a number of rows, 0 or more"),
        ("seeds = [0, 1]", 'slices = "all"', "slices: expected int"),
        ('name = "longer"', 'name = "as it is"', "names of their own"),
        ('name = "longer"', 'name = "As it+is"', "share the folder as-it-is"),
        ('set = ["fit.epochs=1"]', "set = [1]", "expected texts"),
        ("[[variants]]", "[variants", "not valid TOML"),
        ('question = "Does it help?"', "question = 4", "question: expected str"),
    ],
)
def test_mistakes_in_a_study_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    (tmp_path / "s.toml").write_text(STUDY.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        load_study(tmp_path / "s.toml")


def test_a_wrong_variant_is_found_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(RECIPE)
    (tmp_path / "s.toml").write_text(STUDY.replace("fit.learning_rate=1e30", "fit.lr=1"))
    with pytest.raises(ConfigError, match=r"unknown key 'fit\.lr'"):
        run_study(load_study(tmp_path / "s.toml"), tmp_path / "no data", tmp_path / "out")
    for other in ("data.holdout=0.5", "data.classes=['happy', 'sad']"):
        changed = STUDY.replace("fit.learning_rate=1e30", other)
        (tmp_path / "s.toml").write_text(changed)
        with pytest.raises(ConfigError, match=r"too fast: data\.\w+ is not that of as it is"):
            run_study(load_study(tmp_path / "s.toml"), tmp_path / "no data", tmp_path / "out")
    for start, error, message in (
        ("init=mien-m", ModelError, "mien-m is a fusion, which has no network to train"),
        ("init=mien-s", ConfigError, r"fit\.resolutions is that of the model to start from"),
        ("fit.teachers=['nobody']", ModelError, r"too fast: .*no model of that name"),
        (
            "fit.teachers=['mien-m']\", \"fit.teachers_see=views",
            ConfigError,
            r"too fast: .*no network that could look at views",
        ),
        ("network.frozen=true", ConfigError, r"too fast: network\.frozen: expected false"),
    ):
        own = f'{start}", "fit.resolutions=[[1.0, 48]]'
        (tmp_path / "s.toml").write_text(STUDY.replace("fit.learning_rate=1e30", own))
        with pytest.raises(error, match=message):
            run_study(load_study(tmp_path / "s.toml"), tmp_path / "no data", tmp_path / "out")
    wrong = 'network.name=transfer", "fit.muon_rate=0.02'  # Muon has nothing to move there
    (tmp_path / "s.toml").write_text(STUDY.replace("fit.learning_rate=1e30", wrong))
    with pytest.raises(ConfigError, match=r"too fast: fit\.muon_rate: expected 0"):
        run_study(load_study(tmp_path / "s.toml"), tmp_path / "no data", tmp_path / "out")


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """To train anything is a mistake."""

    def trained(*_: object, **__: object) -> None:
        raise AssertionError("trained")

    monkeypatch.setattr("mien.study.bench.fit", trained)


@pytest.mark.usefixtures("untrained")
def test_pictures_are_opened_before_anything_is_trained(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no photos: no such folder"):
        run_study(
            load_study(folder / "s.toml"), folder / "crops", tmp_path / "out",
            pictures=[tmp_path / "no photos"],
        )  # fmt: skip


def test_other_pictures_and_other_models_are_noticed(folder: Path, tmp_path: Path) -> None:
    """Though they are called as before: the first is examined anew, the second refused."""
    start, photos, lines = tmp_path / "start.onnx", tmp_path / "photos", list[str]()
    taught(start, tiny(epochs=1), drawn(14), drawn(14))
    shutil.copytree(folder / "photos", photos)
    (tmp_path / "r.toml").write_text(RECIPE)
    alone = STUDY.split('[[variants]]\nname = "longer')[0]
    (tmp_path / "s.toml").write_text(alone.replace('epochs=1"', f'epochs=1", "init={start}"'))
    study = replace(load_study(tmp_path / "s.toml"), seeds=(0,))

    def run(asked: Study = study) -> StudyResult:
        return run_study(
            asked, folder / "crops", tmp_path / "runs", pictures=[photos],
            threads=1, note=lines.append,
        )  # fmt: skip

    assert run().trials[0].pictures[0].n == 1
    shutil.copy(photos / "happy" / "a.png", photos / "happy" / "b.png")
    lines.clear()
    assert run().trials[0].pictures[0].n == 2
    assert not any("epoch" in line for line in lines)
    with pytest.raises(ConfigError, match=r"as it is: .*another recipe.* remove .*as-it-is-0, and"):
        run(replace(study, set=(*study.set, "fit.batch=7")))
    taught(tmp_path / "other.onnx", tiny(epochs=1), drawn(14, 1), drawn(14))
    (tmp_path / "other.onnx").replace(start)
    with pytest.raises(ModelError, match=r"as it is: .*another .*start\.onnx than is there now"):
        run()
    shutil.rmtree(tmp_path / "runs" / "as-it-is-0")
    lines.clear()
    run()
    assert any("epoch 1/1" in line for line in lines)


@pytest.mark.usefixtures("untrained")
def test_what_the_rows_lack_is_found_before_anything_is_trained(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "r.toml").write_text(RECIPE)
    changed = STUDY.replace("fit.learning_rate=1e30", "fit.expected_share=0.5")
    (tmp_path / "s.toml").write_text(changed)
    with pytest.raises(DatasetError, match=r"too fast: fit\.expected_share: .* from votes"):
        run_study(load_study(tmp_path / "s.toml"), folder / "crops", tmp_path / "out")


def test_a_variant_may_have_any_name(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(RECIPE)
    (tmp_path / "s.toml").write_text(STUDY.replace('"longer"', "'twice as \"long\", ü'"))
    names = {recipe.name for _, _, recipe in load_study(tmp_path / "s.toml").trials()}
    assert 'twice as "long", ü' in names


def test_a_broken_result_is_named(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text('{"name": 3}')
    with pytest.raises(ConfigError, match=r"not the study\.json"):
        read_result(tmp_path / "study.json")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_result(tmp_path / "nothing.json")


STUDIES = sorted((Path(__file__).parents[1] / "recipes" / "studies").glob("*.toml"))


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_every_study_in_the_repository_can_be_run(file: Path) -> None:
    """With a network and an optimizer for each variant, and no two variants alike."""
    study = replace(load_study(file), seeds=(0,))
    recipes = [recipe for _, _, recipe in study.trials()]
    # Others' weights are not ours to have here, and a network of each kind is enough.
    kinds = {(replace(r.network, weights=""), r.fit.muon_rate): r.fit for r in recipes}
    for (network, _), fitting in kinds.items():
        make_optimizer(build_network(network), fitting)
    told = [json.dumps({**recipe.to_dict(), "name": ""}) for recipe in recipes]
    assert len(set(told)) == len(told)


def test_a_reference_that_failed_leaves_the_others_their_rows() -> None:
    answers = answers_of([3, 4], [3, 3], [0.9, 0.8])
    examined = summarize(answers, ExpressionClassifier().spec, data="crops")
    failed = Trial("reference", 0, failure="the loss became nan")
    good = Trial("other", 0, evaluations=(examined, examined), correct="10")
    table = format_study(StudyResult("s", "Why?", (failed, good)))
    assert "| reference | failed: the loss became infinite |" in table
    assert "| other | 50.0% | no seed in common |" in table
    assert "recall of happy" in table  # of the classes that there are
    lost = Trial("other", 1, failure="the loss became nan")
    table = format_study(StudyResult("s", "Why?", (failed, good, lost)))
    assert "| other | 50.0% | 50.0%, failed | no seed in common |" in table
    assert "Every variant failed" in format_study(StudyResult("s", "Why?", (failed,)))


@pytest.mark.parametrize(("groups", "told"), [(("1", "1", "2"), True), (("1", "2", "3"), False)])
def test_pictures_of_one_person_are_not_taken_for_independent_in_silence(
    groups: tuple[str, ...], told: bool
) -> None:
    answers = replace(answers_of([3, 4, 4], [3, 3, 4], [0.9, 0.8, 0.9]), groups=groups)
    examined = summarize(answers, ExpressionClassifier().spec, data="crops")
    trial = Trial("only", 0, evaluations=(examined, examined), correct="101")
    table = format_study(StudyResult("s", "Why?", (trial,)))
    assert ("\n\nThese rows show 2 people, some of them several times, and" in table) == told


def test_pictures_want_the_seven_classes(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(RECIPE)
    own = STUDY.replace("fit.learning_rate=1e30", 'data.classes=[\\"bored\\", \\"focused\\"]')
    (tmp_path / "s.toml").write_text(own)
    with pytest.raises(
        ConfigError, match=r"too fast: full pictures .* its data\.classes are bored"
    ):
        run_study(
            load_study(tmp_path / "s.toml"), folder / "crops", tmp_path / "out",
            pictures=[folder / "photos"],
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_other_mistakes_than_a_lost_loss_end_the_study(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = load_study(folder / "s.toml")

    def fail(error: Exception) -> None:
        def raised(recipe: Recipe, train: object, watched: object, run: Path, **_: object) -> None:
            run.mkdir(parents=True, exist_ok=True)
            raise error

        monkeypatch.setattr("mien.study.bench.fit", raised)

    fail(DivergedError("lost"))
    trials = run_study(study, folder / "crops", tmp_path, threads=1).trials
    assert {trial.failure for trial in trials} == {"lost"}
    fail(ConfigError("wrong"))
    with pytest.raises(ConfigError, match="wrong"):
        run_study(study, folder / "crops", tmp_path / "again", threads=1)


def test_a_study_from_before_a_key_was_introduced_is_finished(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(RECIPE)
    (tmp_path / "s.toml").write_text(STUDY.split('[[variants]]\nname = "longer')[0])
    write_splits(tmp_path / "crops", 14)
    study = replace(load_study(tmp_path / "s.toml"), seeds=(0,))
    first = run_study(study, tmp_path / "crops", tmp_path / "runs", threads=1)
    (saved,) = (tmp_path / "runs").glob("*/trial.json")
    record = json.loads(saved.read_text())
    del record["made_of"]["recipe"]["fit"]["muon_rate"]
    saved.write_text(json.dumps(record))
    lines: list[str] = []
    again = run_study(study, tmp_path / "crops", tmp_path / "runs", threads=1, note=lines.append)
    assert again == first
    assert not any("epoch" in line for line in lines)  # nothing was trained again
    assert json.loads(saved.read_text()) == record  # nor examined
    assert "as it is | blur" not in format_study(again)

    hard = replace(study, slices=7)
    found = run_study(hard, tmp_path / "crops", tmp_path / "runs", threads=1, note=lines.append)
    assert not any("epoch" in line for line in lines)  # examined anew, and not trained
    (trial,) = found.trials
    assert trial.sliced is not None
    assert replace(trial, sliced=None) == first.trials[0]
    assert [figures.name for figures in trial.sliced.slices] == [part.name for part in SLICES]
    assert {level.n for figures in trial.sliced.slices for level in figures.levels} == {7}
    assert StudyResult.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    next((tmp_path / "crops" / "val").rglob("*.png")).unlink()  # and with other rows to judge by
    fewer = run_study(study, tmp_path / "crops", tmp_path / "runs", threads=1, note=lines.append)
    assert not any("epoch" in line for line in lines)
    assert len(fewer.trials[0].correct) == 13
    mean = sum(level.right for level in trial.sliced.slices[0].levels[1:]) / 21
    head, _, row, _, note = format_study(found).splitlines()[-5:]
    assert head.startswith("| variant | as it is | blur | JPEG | resolution | brightness |")
    assert row.split(" | ")[0] == "| as it is"
    assert row.split(" | ")[2] == f"{mean:.1%}"
    assert note.startswith("7 of those rows (PublicTest), the same for all")


def test_rows_that_were_held_out_are_not_called_public_test(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(RECIPE)
    (tmp_path / "s.toml").write_text(STUDY.split('[[variants]]\nname = "longer')[0])
    write_splits(tmp_path / "crops", 42)
    shutil.rmtree(tmp_path / "crops" / "val")
    half = ("fit.epochs=1", "data.left_out=[0, 2]")
    study = replace(load_study(tmp_path / "s.toml"), seeds=(0, 1), set=half, slices=3)
    found = run_study(study, tmp_path / "crops", tmp_path / "runs", threads=1)
    train, watched = load_training(tmp_path / "crops")
    _, _, recipe = next(study.trials())
    learned = int(usable_rows(recipe, train).sum())
    assert 0 < learned < len(train)
    for trial in found.trials:  # the same rows with every seed
        assert trial.trained_tmac == pytest.approx(3 * trial.macs * learned / 1e12)
        counts = [row["n"] for row in trial.single.per_class.values()]
        assert counts == np.bincount(watched.labels).tolist()
    table = format_study(found)
    assert "| variant | held out | of each seed | against as it is |" in table
    assert "held out (n = 7) with the mirror image" in table
    assert "3 of those rows (held out), the same for all" in table
    assert "PublicTest" not in json.dumps(found.to_dict()) + table
