"""`mien data`: counts, duplicates, leaks and doubtful labels, on a small set with known faults."""

import json
from pathlib import Path

import cv2
import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from mien.annotate import contact_sheet
from mien.classifier import ExpressionClassifier
from mien.cli import main
from mien.datasets import FERPLUS_COLUMNS
from mien.inspection import KINDS, check, describe

Capture = pytest.CaptureFixture[str]


def face(seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (48, 48), np.uint8)


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """Eleven rows: which is what stands in the comments."""
    votes = [0] * 10
    unanimous_sad, no_face = votes.copy(), votes.copy()
    unanimous_sad[3], no_face[9] = 10, 6
    rows = [
        ("Training", 3, face(1), votes),  # fine
        ("Training", 3, face(2), votes),  # leak: also in PublicTest
        ("PublicTest", 3, face(2), votes),
        ("Training", 0, face(3), votes),  # conflict: also sad
        ("Training", 4, face(3), votes),
        ("Training", 5, face(4), votes),  # duplicate
        ("Training", 5, face(4), votes),
        ("Training", 6, np.full((48, 48), 7, np.uint8), votes),  # flat
        ("Training", 3, face(5), unanimous_sad),  # mislabelled
        ("Training", 2, face(6), no_face),  # not a face
        ("Training", 1, None, votes),  # unreadable
    ]
    columns: dict[str, list[object]] = {
        "usage": [row[0] for row in rows],
        "emotion": [row[1] for row in rows],
        "png": [b"?" if r[2] is None else cv2.imencode(".png", r[2])[1].tobytes() for r in rows],
    }
    columns |= {name: [row[3][i] for row in rows] for i, name in enumerate(FERPLUS_COLUMNS)}
    parquet.write_table(pyarrow.table(columns), tmp_path / "fer2013.parquet")
    return tmp_path


def test_description(faulty: Path) -> None:
    found = describe(faulty)
    assert next(iter(found.counts)) == "happy"  # the largest class first
    assert found.counts["happy"] == {"Training": 3, "PublicTest": 1}
    assert found.total == 11
    assert found.splits == ["Training", "PublicTest"]
    assert found.sizes == {(48, 48): 10}
    assert found.unreadable == 1
    assert (found.duplicate_groups, found.conflicting_groups, found.leaking_groups) == (3, 1, 1)


def test_every_fault_is_found_once(faulty: Path) -> None:
    findings = check(faulty, None)
    by_kind = {kind: [f.name.split(":")[1] for f in findings if f.kind == kind] for kind in KINDS}
    assert by_kind == {
        "unreadable": ["11"],
        "flat": ["8"],
        "not-a-face": ["10"],
        "leak": ["2", "3"],
        "copy": [],
        "conflict": ["4", "5"],
        "duplicate": ["6", "7"],
        "mislabelled": ["9"],
    }
    assert [f.kind for f in findings] == sorted((f.kind for f in findings), key=list(KINDS).index)


def test_copies_in_another_split_are_found_in_other_files(tmp_path: Path) -> None:
    """A test set of mirrored, compressed or enlarged training pictures measures memory."""
    for split in ("train", "test"):
        (tmp_path / split / "happy").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(4):  # faces are smooth
        shown = cv2.GaussianBlur(rng.integers(0, 256, (48, 48), np.uint8), (0, 0), 4)
        shown = cv2.normalize(shown, shown, 0, 255, cv2.NORM_MINMAX)
        cv2.imwrite(str(tmp_path / "train" / "happy" / f"{i}.png"), shown)
        changed = [shown[:, ::-1], cv2.resize(shown, (96, 96)), 255 - shown, shown][i]
        file = tmp_path / "test" / "happy" / f"{i}.{'jpg' if i == 3 else 'png'}"
        cv2.imwrite(str(file), changed, [cv2.IMWRITE_JPEG_QUALITY, 60])
    found = check(tmp_path, None)
    assert {finding.kind for finding in found} == {"copy"}
    expected = {f"{split}/happy/{i}" for split in ("train", "test") for i in (0, 1, 3)}
    names = (Path(finding.name).relative_to(tmp_path) for finding in found)
    assert {str(name.with_suffix("")) for name in names} == expected


def test_one_broken_row_does_not_hide_the_others(tmp_path: Path, capsys: Capture) -> None:
    pixels = [" ".join(map(str, face(seed).ravel())) for seed in (1, 2, 2)]
    rows = [f"3,{pixels[0]},Training", "3,1 2 3,Training", f"9,{pixels[1]},Training"]
    rows += [f"3,{pixels[1]},Training", f"3,{pixels[2]},PublicTest"]
    (tmp_path / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *rows]))
    assert main(["data", "check", str(tmp_path), "--no-model", "--json"]) == 3
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["kind"], line["name"].split(":")[1]) for line in lines] == [
        ("unreadable", "2"), ("unreadable", "3"), ("leak", "4"), ("leak", "5"),
    ]  # fmt: skip
    assert "expected a label from 0 to 6, found 9" in lines[1]["detail"]
    assert describe(tmp_path).unreadable == 2


def test_full_photos_are_not_shown_to_the_model_as_crops(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "happy").mkdir()
    photo = np.random.default_rng(0).integers(0, 256, (60, 90), np.uint8)
    Image.fromarray(photo).save(tmp_path / "happy" / "a.png")
    assert main(["data", "check", str(tmp_path), "--model", "nowhere.onnx"]) == 0
    assert "No model looks for wrong labels" in capsys.readouterr().err


def test_a_label_that_the_model_cannot_believe(portrait_file: Path, tmp_path: Path) -> None:
    """The smiling astronaut, filed under angry and under happy."""
    image = cv2.imread(str(portrait_file))
    assert image is not None
    for name in ("angry", "happy"):
        (tmp_path / name).mkdir()
        # Two shades, so that they are no pixel-identical twins.
        crop = image[62:178, 168:284] // (1 if name == "angry" else 2)
        cv2.imwrite(str(tmp_path / name / "x.png"), crop)
    (finding,) = check(tmp_path, ExpressionClassifier())
    assert finding.kind == "mislabelled"
    assert finding.expression == "angry"
    assert "says happy" in finding.detail


def test_info_and_check_on_the_command_line(faulty: Path, capsys: Capture) -> None:
    chart = faulty / "counts.png"
    assert main(["data", "info", str(faulty), "--plot", str(chart)]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[1].split() == ["happy", "4", "3", "1"]
    assert "3 groups, of which 1 carry different labels and 1 stand" in out
    with Image.open(chart) as picture:
        assert picture.width > 500
    before = chart.read_bytes()
    assert main(["data", "info", str(faulty), "--plot", str(chart)]) == 2
    assert f"--plot {chart}: is already there" in capsys.readouterr().err
    assert chart.read_bytes() == before
    nowhere = faulty / "chrats" / "a.png"
    assert main(["data", "info", str(faulty), "--plot", str(nowhere)]) == 2
    assert f"there is no folder {nowhere.parent}" in capsys.readouterr().err
    assert not nowhere.parent.exists()
    assert main(["data", "info", str(faulty), "--plot", str(chart), "--overwrite"]) == 0
    capsys.readouterr()
    assert main(["data", "info", str(faulty), "--plot", "x.txt"]) == 2
    assert "--plot: expected a file that ends in .png" in capsys.readouterr().err
    assert main(["data", "info", str(faulty), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sizes"] == {"48x48": 10}
    assert main(["data", "check", str(faulty), "--no-model"]) == 3
    assert "not a picture that can be read" in capsys.readouterr().out
    assert main(["data", "check", str(faulty), "--no-model", "--json"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert set(json.loads(lines[0])) == {"kind", "name", "expression", "split", "detail"}


def test_names_of_folders_steer_no_terminal(tmp_path: Path, capsys: Capture) -> None:
    for name in ("happy", "\x1b[2Jsad"):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "a.png"), np.zeros((48, 48), np.uint8))
    assert main(["data", "info", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\N{REPLACEMENT CHARACTER}[2jsad" in out


def test_a_sound_set_is_sound(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "happy").mkdir()
    Image.fromarray(face(1)).save(tmp_path / "happy" / "a.png")
    assert main(["data", "check", str(tmp_path), "--no-model"]) == 0
    capsys.readouterr()
    assert main(["data", "info", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["all"]
    (tmp_path / "test" / "happy").mkdir(parents=True)
    Image.fromarray(face(2)).save(tmp_path / "test" / "happy" / "b.png")
    assert main(["data", "info", str(tmp_path)]) == 0
    heads, happy, *_ = capsys.readouterr().out.splitlines()
    assert heads.split() == ["all", "PrivateTest", "none"]
    assert happy.split() == ["happy", "2", "1", "1"]


@pytest.mark.parametrize("extra", [[], ["--augmented"]])
def test_samples(tmp_path: Path, capsys: Capture, extra: list[str]) -> None:
    for name in ("happy", "sad"):
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.fromarray(face(i)).save(tmp_path / name / f"{i}.png")
    out = tmp_path / "grid.png"
    arguments = ["data", "samples", str(tmp_path), "--out", str(out), "--per-class", "3", *extra]
    assert main(arguments) == 0
    with Image.open(out) as picture:
        assert picture.width > 3 * 96
        assert picture.height > 2 * 96
    assert main(arguments) == 2
    assert "already there" in capsys.readouterr().err
    before = out.read_bytes()
    arguments[6] = "1000000000"  # more than there are
    assert main([*arguments, "--overwrite"]) == 0
    assert extra or out.read_bytes() == before
    assert main([*arguments[:4], str(tmp_path / "grid.txt")]) == 2
    assert "picture's suffix" in capsys.readouterr().err


def test_the_sheet_puts_every_picture_in_its_place() -> None:
    shades = [np.full((10, 10), value, np.uint8) for value in (10, 60, 110)]
    sheet = contact_sheet(shades, ["a", "b", "c"], columns=2, cell_px=48)
    assert sheet[20, 20].tolist() == [10, 10, 10]
    assert sheet[20, 75].tolist() == [60, 60, 60]
    assert sheet[-40, 20].tolist() == [110, 110, 110]
    assert sheet[-40, 75].tolist() == [255, 255, 255]


def test_the_known_faults_of_fer2013(data: Path) -> None:
    found = describe(data / "fer2013")
    assert list(found.counts)[:2] == ["happy", "neutral"]
    assert list(found.counts)[-1] == "disgust"
    assert found.leaking_groups == 270


def test_samples_of_ones_own_classes(tmp_path: Path) -> None:
    for name in ("focused", "bored", "sad"):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.fromarray(face(len(name))).save(tmp_path / "set" / name / "x.png")
    out = tmp_path / "grid.png"
    arguments = ["data", "samples", str(tmp_path / "set"), "--per-class", "1"]
    assert main([*arguments, "--out", str(out)]) == 0
    with Image.open(out) as picture:
        assert picture.height > 3 * 96
