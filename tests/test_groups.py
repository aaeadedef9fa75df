"""Accuracy by group: whose pictures are whose, the widest gap, and what the command line says."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.classifier import ExpressionClassifier
from mien.cli import main
from mien.errors import DatasetError
from mien.evaluate import Evaluation, format_evaluation, summarize
from mien.evaluation_report import write_report
from mien.groups import by_group
from tests.test_evaluate import answers_of

Capture = pytest.CaptureFixture[str]


def examined(right: dict[str, tuple[int, int]], group_of: dict[str, str] | None) -> Evaluation:
    """Pictures `happy/GROUP-i.jpg`, of each group so many right of so many."""
    said = [3 if i < k else 4 for k, n in right.values() for i in range(n)]
    answers = answers_of([3] * len(said), said, [0.9] * len(said))
    names = tuple(f"set/happy/{group}-{i}.jpg" for group, (_, n) in right.items() for i in range(n))
    answers = replace(answers, names=names)
    if group_of is None:
        group_of = {Path(name).stem: Path(name).stem.partition("-")[0] for name in names}
    evaluation = summarize(answers, ExpressionClassifier().spec, data="set")
    return by_group(evaluation, answers, group_of)


def test_figures_by_hand() -> None:
    found = examined({"women": (56, 70), "men": (48, 80)}, None)
    assert [(row["group"], row["n"]) for row in found.groups] == [("men", 80), ("women", 70)]
    assert [row["accuracy"] for row in found.groups] == [0.6, 0.8]
    low, high = found.groups[1]["accuracy_ci95"]
    assert (low, high) == (pytest.approx(0.6918, abs=1e-4), pytest.approx(0.8770, abs=1e-4))
    assert (found.group_gap["best"], found.group_gap["worst"]) == ("women", "men")
    assert found.group_gap["gap"] == pytest.approx(0.2)
    assert found.group_gap["gap_ci95"] == pytest.approx([0.0524, 0.3339], abs=5e-5)
    assert Evaluation.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    text = format_evaluation(found)
    assert "men           80  60.00%" in text
    assert "20.0 points between women and men, 95% interval 5.2 to 33.4" in text
    assert "chance" not in text


def test_a_gap_among_several_groups_has_to_be_wider_to_be_one() -> None:
    two = examined({"a": (80, 100), "b": (66, 100)}, None)
    three = examined({"a": (80, 100), "b": (66, 100), "c": (73, 100)}, None)
    assert two.group_gap["gap"] == three.group_gap["gap"]
    assert "chance" not in format_evaluation(two)
    assert "which may be chance" in format_evaluation(three)


def test_many_pictures_of_few_people_say_little_of_their_group() -> None:
    """Two people of ten pictures each: all of one are read rightly, and half of the other."""
    said = [3] * 15 + [4] * 5
    answers = answers_of([3] * 40, said * 2, [0.9] * 40)
    names = tuple(f"happy/{i // 10}_{i % 10}.png" for i in range(40))
    answers = replace(answers, names=names)
    group_of = {name: "a" if i < 20 else "b" for i, name in enumerate(names)}
    evaluation = summarize(answers, ExpressionClassifier().spec, data="set")
    strangers = by_group(evaluation, answers, group_of)
    known = replace(answers, groups=tuple(str(i // 10) for i in range(40)))
    found = by_group(evaluation, known, group_of)
    for of_people, of_strangers in zip(found.groups, strangers.groups, strict=True):
        assert (of_people["people"], "people" in of_strangers) == (2, False)
        low, high = of_people["accuracy_ci95"]
        assert low < of_strangers["accuracy_ci95"][0] < of_strangers["accuracy_ci95"][1] < high
    low, high = found.group_gap["gap_ci95"]
    assert low < strangers.group_gap["gap_ci95"][0] < strangers.group_gap["gap_ci95"][1] < high
    assert ", over 2 people" in format_evaluation(found)
    once = replace(answers, groups=tuple(map(str, range(40))))
    assert by_group(evaluation, once, group_of) == strangers


def test_groups_that_are_read_alike_are_still_two() -> None:
    text = format_evaluation(examined({"a": (8, 10), "b": (8, 10)}, None))
    assert "0.0 points between b and a" in text


def test_pictures_are_found_by_what_a_table_calls_them() -> None:
    right = {"a": (3, 4)}
    table = {"set/happy/a-0.jpg": "path", "happy/a-1": "end", "a-2.jpg": "file", "a-3": "stem"}
    table |= {"a-0": "shorter", "elsewhere/a-2.jpg": "another"}
    found = examined(right, table)
    assert [row["group"] for row in found.groups] == ["end", "file", "path", "stem"]
    alone = examined(right, {"a-1": "one"})
    assert [(row["group"], row["n"]) for row in alone.groups] == [("one", 1)]
    assert alone.group_gap == {}
    spreadsheet, mac = "Zo\N{LATIN SMALL LETTER E WITH DIAERESIS}", "Zoe\N{COMBINING DIAERESIS}"
    for there, written in ((mac, spreadsheet), (spreadsheet, mac)):
        assert examined({there: (1, 1)}, {f"{written}-0": "one"}).groups[0]["n"] == 1
    with pytest.raises(DatasetError, match=r"none of the 4 pictures.*set/happy/a-0\.jpg"):
        examined(right, {"b-1": "one"})


def test_groups_on_the_command_line(tmp_path: Path, capsys: Capture) -> None:
    for i in range(3):
        file = tmp_path / "data" / "happy" / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        crop = np.random.default_rng(i).integers(0, 256, (48, 48), np.uint8)
        Image.fromarray(crop).save(file)
    table = tmp_path / "groups.csv"
    table.write_text("source,group\n0.png,old\n1,young\n")
    arguments = ["evaluate", "--data", str(tmp_path / "data"), "--groups", str(table)]
    assert main([*arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    assert [row["group"] for row in json.loads(out)["groups"]] == ["old", "young"]
    assert "says nothing of 1 of 3 pictures" in err
    assert main([*arguments, "--slices"]) == 2
    assert "--groups: not with --slices" in capsys.readouterr().err
    table.write_text("file;who\n0;old\n")
    assert main(arguments) == 2
    assert "expected columns source" in capsys.readouterr().err


def test_the_report_shows_groups(tmp_path: Path) -> None:
    answers = answers_of([3, 4], [3, 4], [0.9, 0.9])
    spec = ExpressionClassifier().spec
    found = by_group(summarize(answers, spec, data="x"), answers, {"0": "old", "1": "young"})
    write_report(tmp_path, found, answers, seed=0)
    assert "widest gap" in (tmp_path / "index.html").read_text("utf-8")
