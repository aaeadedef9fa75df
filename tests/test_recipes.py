"""Recipes: found, read, changed and checked."""

import json
import re
from pathlib import Path

import pytest

from mien.errors import ConfigError
from mien.models import find_model
from mien.training.recipe import load_recipe, recipe_from_dict
from mien.training.zoo import build_network, count_macs
from mien.types import EXPRESSIONS
from tests.lessons import tiny

REPOSITORY = Path(__file__).parents[1]


def test_every_recipe_in_the_repository_loads() -> None:
    for file in (REPOSITORY / "recipes").glob("*.toml"):
        assert load_recipe(file).name == file.stem


def test_recipes_are_found_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mien.cli import main

    monkeypatch.chdir(tmp_path)  # not where the repository is
    assert main(["train", "mien-fer", "--dry-run", "--set", "fit.epochs=3"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["fit"]["muon_rate"] == 0.02
    assert "164.1 MMAC at 44 px, 3 epochs" in err
    for words, expected in (
        (["mien-x", "--dry-run"], "Give a recipe: a file, or one of ckplus, fine-tune, mien-deep"),
        (["--dry-run"], "no recipe: give one, or by --init"),
        (["mien-v", "--data", "x"], "--data and --out: each is needed"),
    ):
        assert main(["train", *words]) == 2
        assert expected in capsys.readouterr().err


def test_recipe_mistakes_are_named(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    with pytest.raises(ConfigError, match="cannot be read"):
        load_recipe(file)
    file.write_text("name = 'x'\n[fit]\nepohcs = 3\n")
    with pytest.raises(ConfigError, match=r"unknown key 'fit\.epohcs'"):
        load_recipe(file)
    file.write_text("name = 'x'\n[fit]\nepochs = 'many'\n")
    with pytest.raises(ConfigError, match=r"fit\.epochs: expected int"):
        load_recipe(file)
    for line, says in (
        ("widths = ['a', 2, 3, 4]", r"network\.widths: expected int, found 'a'"),
        ("widths = 32", r"network\.widths: expected a list, found 32"),
    ):
        file.write_text(f"name = 'x'\n[network]\n{line}\n")
        with pytest.raises(ConfigError, match=says):
            load_recipe(file)
    for line, says in (
        ("resolutions = [[0.5, 32], 1.0]", r"fit\.resolutions: expected a list, found 1\.0"),
        ("resolutions = [[0.5, 32, 4]]", r"fit\.resolutions: expected 2 values"),
        ("batch = 0", r"fit\.batch: expected at least 1, found 0"),
        ("epochs = -1", r"fit\.epochs: expected at least 1, found -1"),
    ):
        file.write_text(f"name = 'x'\n[fit]\n{line}\n")
        with pytest.raises(ConfigError, match=says):
            load_recipe(file)
    file.write_text("name = ")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_recipe(file)
    file.write_text("version = '1'")
    with pytest.raises(ConfigError, match="lacks `name`"):
        load_recipe(file)


def test_overrides(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text("name = 'x'\n")
    recipe = load_recipe(file, ["fit.epochs=3", "fit.learning_rate=1", "version=two"])
    assert (recipe.fit.epochs, recipe.fit.learning_rate, recipe.version) == (
        3,
        1.0,
        "two",
    )
    with pytest.raises(ConfigError, match=r"data\.input_px: expected 44, at which .* found 96"):
        load_recipe(file, ["data.input_px=96"])
    larger = load_recipe(file, ["data.input_px=96", "fit.resolutions=[[1.0, 96]]"])
    assert larger.data.input_px == 96
    with pytest.raises(ConfigError, match=r"section\.key=value"):
        load_recipe(file, ["fit.epochs"])
    with pytest.raises(ConfigError, match="A shell takes quotes away"):
        load_recipe(file, ["data.classes=[bored, focused]"])
    for classes in ("[]", "['bored']", "['bored', 'bored']"):
        with pytest.raises(ConfigError, match=r"data\.classes: expected at least two, each once"):
            load_recipe(file, [f"data.classes={classes}"])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("network.dropout=30", "0 to 1, found 30.0"),
        ("network.widths=[8, 0, 8, 8]", "at least 1, found [8, 0, 8, 8]"),
        ("augment.scale_min=0", "more than 0, found 0.0"),
        ("augment.scale_min=1.5", "at most augment.scale_max"),
        ("augment.rotate_deg=-5", "at least 0, found -5.0"),
        ("augment.blur=nan", "0 to 1, found nan"),
        ("fit.learning_rate=0", "more than 0, found 0.0"),
        ("fit.momentum=0", "more than 0, found 0.0"),
        ("fit.teacher_weight=2", "0 to 1, found 2.0"),
        ("fit.ferplus_share=-1", "0 to 1, found -1.0"),
        ("fit.seed=-1", "at least 0, found -1"),
        ("data.input_px=0", "16 to 1024, found 0"),
        ("fit.resolutions=[[1.0, 2]]", "pairs [share, px]"),
    ],
)
def test_numbers_that_no_run_could_use_are_named(change: str, expected: str) -> None:
    key = change.split("=")[0]
    with pytest.raises(ConfigError, match=re.escape(f"{key}: expected {expected}")):
        load_recipe(REPOSITORY / "recipes" / "mien-v.toml", [change])


@pytest.mark.parametrize(
    ("written", "ours"), [("anger", "angry"), ("sadness", "sad"), ("Bored", "bored")]
)
def test_classes_that_no_row_is_called_by_are_refused(written: str, ours: str) -> None:
    with pytest.raises(ConfigError, match=f"data.classes: expected '{ours}'.*found '{written}'"):
        load_recipe("fine-tune", [f'data.classes=["{written}", "calm"]'])
    assert load_recipe("fine-tune", [f'data.classes=["{ours}", "calm"]'])


def test_what_goes_on_from_a_model_keeps_its_classes(of_ones_own: Path, tmp_path: Path) -> None:
    init, labels = f"init={of_ones_own}", find_model(of_ones_own).spec().labels
    assert labels[3] == "glad"
    assert load_recipe("fine-tune", [init]).data.classes == labels
    assert load_recipe("fine-tune").data.classes == EXPRESSIONS
    assert load_recipe("fine-tune", [init, 'data.classes=["a", "b"]']).data.classes == ("a", "b")
    own = tmp_path / "own.toml"
    own.write_text('name = "own"\n[data]\nclasses = ["sad", "glad"]\n')
    assert load_recipe(own, [init]).data.classes == ("sad", "glad")


def test_stages_for_which_nothing_is_left_are_refused() -> None:
    fresh = REPOSITORY / "recipes" / "mien-fer.toml"
    six, seven = ([f"network.widths={[8] * n}", f"network.depths={[1] * n}"] for n in (6, 7))
    recipe = load_recipe(fresh, six)  # which halve 32 pixels, with which it begins, to one
    assert count_macs(build_network(recipe.network), 32) > 0
    with pytest.raises(ConfigError, match=r"at most 6 stages, found 7: .* of 32 px"):
        load_recipe(fresh, seven)
    load_recipe(fresh, [*seven, "network.name=resnet18"])  # which has stages of its own
    load_recipe(fresh, [*seven, "fit.resolutions=[[1.0, 64]]", "data.input_px=64"])


@pytest.mark.parametrize("change", ["stem_stride=2", "weights=w.json", "enlarged_px=131"])
def test_what_a_network_makes_no_use_of_is_refused(change: str) -> None:
    fresh = REPOSITORY / "recipes" / "mien-fer.toml"
    with pytest.raises(ConfigError, match=r"network\.\w+: only of use where network\.name is"):
        load_recipe(fresh, [f"network.{change}"])
    name = "resnet18" if "stem" in change else "transfer"
    load_recipe(fresh, [f"network.{change}", f"network.name={name}"])


def test_a_recipe_survives_its_own_dictionary() -> None:
    assert recipe_from_dict(tiny().to_dict()) == tiny()
