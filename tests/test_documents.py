"""What the documents promise works: commands parse, Python runs, links lead somewhere."""

import json
import re
import runpy
import shlex
import shutil
import sys
import tomllib
from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mien
from mien.card import figures_table, model_card
from mien.classifier import ExpressionClassifier
from mien.cli import build_parser
from mien.evaluate import Evaluation
from mien.models import file_sha256, find_model
from mien.types import FrameResult
from tests.scripts import script
from tests.test_sources import write_video

REPOSITORY = Path(__file__).parents[1]
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def blocks(text: str, language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.S | re.M)
    return [code for found, code in fenced if found == language]


@pytest.mark.parametrize(
    "document", [*DOCUMENTS, REPOSITORY / "CONTRIBUTING.md"], ids=lambda path: path.name
)
def test_commands_parse(document: Path) -> None:
    parser = build_parser()
    for block in blocks(document.read_text("utf-8"), ""):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("mien ") and "…" not in line:
                # Exits with an error where a word is unknown.
                parser.parse_args(shlex.split(line.split(" > ")[0], comments=True)[1:])


def test_rooms_import_as_the_linter_holds_it() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    held = [{room.strip().removeprefix("mien.") for room in layer.split("|")} for layer in layers]
    text = (REPOSITORY / "docs" / "architecture.md").read_text("utf-8")
    said = text.split("## Who may import whom")[1].split(". ")[0]
    assert [set(re.findall(r"\w+", rooms)) for rooms in said.split("<")] == held[::-1]


def test_a_file_answers_without_mien_as_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(find_model("mien-s").path, tmp_path / "mine.onnx")
    monkeypatch.chdir(tmp_path)
    crops = np.random.default_rng(0).integers(0, 256, (3, 44, 44)).astype(np.uint8)
    crops[2] = 90  # a blank one
    (code,) = blocks((REPOSITORY / "docs/training.md").read_text("utf-8"), "python")
    shown: dict[str, Any] = {"crops": crops}
    exec(compile(code, "docs/training.md", "exec"), shown)
    expected = ExpressionClassifier("mine.onnx").predict(crops)
    assert shown["probs"] == pytest.approx(expected.probs, abs=1e-5)
    assert shown["uncertain"].tolist() == expected.uncertain.tolist()


def test_make_targets_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    for document in [*DOCUMENTS, REPOSITORY / "CONTRIBUTING.md"]:
        for target in re.findall(r"^make (\w+)", document.read_text("utf-8"), re.M):
            assert re.search(rf"^{target}:", makefile, re.M), target


@pytest.mark.parametrize("name", ["README.md", "docs/usage.md", "docs/identity.md"])
def test_the_python_that_is_shown_runs(
    name: str, tmp_path: Path, portrait_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "people").mkdir()
    for copy in ("photo.jpg", "people/anna.jpg"):
        shutil.copy(portrait_file, tmp_path / copy)
    write_video(tmp_path / "clip.mp4", [0.0, 0.1])
    monkeypatch.chdir(tmp_path)
    with mien.open_sink("faces.jsonl") as sink:
        sink.write(FrameResult("clip.mp4", 0, 0.0, 32, 32))
    (code,) = blocks((REPOSITORY / name).read_text("utf-8"), "python")
    exec(compile(code, name, "exec"), {"crops": np.zeros((2, 48, 48), np.uint8)})
    assert "open_sink" not in code or (tmp_path / "faces.parquet").is_file()


@pytest.mark.parametrize(
    "document", [*DOCUMENTS, REPOSITORY / "CONTRIBUTING.md"], ids=lambda path: path.name
)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", document.read_text("utf-8")):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("name", ["results", "robustness"])
def test_a_document_is_made_of_the_measured_files(name: str) -> None:
    written = (REPOSITORY / "docs" / f"{name}.md").read_text("utf-8")
    made = getattr(script(f"write_{name}"), name)()
    assert written == made, f"run `python scripts/write_{name}.py`"


def test_the_readme_lists_the_models_as_they_were_measured() -> None:
    written = (REPOSITORY / "README.md").read_text("utf-8")
    assert written == script("write_results").readme(), "run `python scripts/write_results.py`"


def test_documents_speak_of_the_project_alone() -> None:
    for document in [*DOCUMENTS, *(REPOSITORY / "src").rglob("*.py")]:
        text = document.read_text("utf-8")
        for path in re.findall(r"(?<![\w.])/(?:work|root|home|tmp)/\S+", text):
            pytest.fail(f"{document.name} names a path outside the repository: {path}")


CARDS = sorted(card for card in (REPOSITORY / "models").glob("*.md") if "temporal" not in card.name)


@pytest.mark.parametrize("card", CARDS, ids=lambda path: path.name)
def test_a_card_is_made_of_its_model_and_what_was_measured(card: Path) -> None:
    file = card.with_suffix(".onnx")
    spec = find_model(file).spec()
    saved = json.loads(card.with_suffix(".json").read_text("utf-8"))
    made = model_card(spec, file_sha256(file), [Evaluation.from_dict(values) for values in saved])
    again = f"run `python scripts/publish_model.py {card.stem} --card --data ../shared/data`"
    assert card.read_text("utf-8") == made, again


def test_published_intervals_are_over_people_where_they_are_known(tmp_path: Path) -> None:
    file = REPOSITORY / "results" / "folds" / "ckplus-six.json"
    values = json.loads(file.read_text("utf-8"))
    values |= {"accuracy": 0.9, "by_person": {"people": 9, "accuracy_ci95": [0.7, 0.95]}}
    told = "| 90.0% (70.0% to 95.0%, over 9 people) |"
    assert told in figures_table([Evaluation.from_dict(values)])[-1]
    (tmp_path / "results" / "folds").mkdir(parents=True)
    (tmp_path / "results" / "folds" / file.name).write_text(json.dumps(values))
    written = script("write_results")
    written.ROOT = tmp_path  # type: ignore[attr-defined]
    assert told in "\n".join(written._folds())


def test_a_card_counts_its_models_own_classes() -> None:
    spec = replace(find_model("mien-s").spec(), labels=("bored", "focused"), class_shares=())
    assert "| output | 2 probabilities that sum to 1" in model_card(spec, "", [])


def test_a_card_says_who_taught_its_model() -> None:
    spec = find_model("mien-taught").spec()
    told = "Other models taught it: `mien-fer`, `mien-deep`, `resnet18`."
    assert told in model_card(spec, "", [])
    assert "taught it" not in model_card(find_model("mien-fer").spec(), "", [])


def test_the_card_of_the_temporal_model_is_made_of_its_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    card = REPOSITORY / "models" / "mien-s-temporal.md"
    monkeypatch.syspath_prepend(str(REPOSITORY / "scripts"))
    found = re.search(r"is counted:\n\n(.+?)\n\nFive", card.read_text("utf-8"), re.S)
    assert found
    made = script("publish_temporal").card(card.with_suffix(".onnx"), found[1])
    assert card.read_text("utf-8") == made, "run `python scripts/publish_temporal.py`"


def test_every_model_has_a_card() -> None:
    for file in (REPOSITORY / "models").glob("*.onnx"):
        assert file.with_suffix(".md").is_file(), f"{file.name} has no card"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_scripts_take_the_arguments_that_are_shown(
    document: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ParsedError(Exception):
        pass

    parse = ArgumentParser.parse_args

    def only_parse(parser: ArgumentParser) -> None:
        parse(parser)  # exits with an error where something is unknown or missing
        raise ParsedError

    monkeypatch.setattr(ArgumentParser, "parse_args", only_parse)
    for folder in ("scripts", "benchmarks"):  # some of them import others
        monkeypatch.syspath_prepend(REPOSITORY / folder)
    shown = r"^python ((?:scripts|benchmarks)/[^\n#>]*)|`python ((?:scripts|benchmarks)/[^`]*)`"
    for parts in re.findall(shown, document.read_text("utf-8").replace("\\\n", " "), re.M):
        words = shlex.split("".join(parts).split("&&")[0])
        if "parse_args()" in (REPOSITORY / words[0]).read_text("utf-8"):
            monkeypatch.setattr(sys, "argv", words)
            with pytest.raises(ParsedError):
                runpy.run_path(str(REPOSITORY / words[0]), run_name="__main__")
