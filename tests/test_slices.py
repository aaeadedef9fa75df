"""Degraded pictures: made worse as promised, read by models, counted, printed and read back.

The command is in test_slices_cli.py.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from mien.classifier import ExpressionClassifier, are_uncertain
from mien.datasets import LitFaces, load_lights, shows_lights
from mien.errors import DatasetError, ModelError
from mien.evaluation_report import write_slices_report
from mien.geometry import transform_points
from mien.slices import (
    SLICES,
    STANDARD_FACE,
    CropReader,
    FacePlace,
    LevelFigures,
    Slice,
    Sliced,
    SliceFigures,
    describe,
    draw_sliced,
    format_sliced,
    read_sliced,
    require_comparable,
    slice_lights,
)
from mien.slices.examine import Said, drawn, read_level, sliced
from mien.types import EXPRESSIONS, Detections, UInt8Array, Views

RESULTS = sorted((Path(__file__).parents[1] / "results" / "slices").glob("*.json"))
HAPPY, SAD, NEUTRAL = (EXPRESSIONS.index(name) for name in ("happy", "sad", "neutral"))
BY_NAME = {part.name: part for part in SLICES}


def noise(*shape: int) -> UInt8Array:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def place(side: float = 100.0, left: float = 40.0, top: float = 30.0) -> FacePlace:
    """A face of about this side in a picture."""
    face, corner = STANDARD_FACE.scaled(side), np.array([left, top], np.float32)
    return FacePlace(face.box + np.tile(corner, 2), face.points + corner)


@pytest.mark.parametrize("part", SLICES, ids=lambda part: part.name)
@pytest.mark.parametrize("shape", [(150, 200), (150, 200, 3)], ids=["grey", "colour"])
def test_a_worse_picture_keeps_its_shape(part: Slice, shape: tuple[int, ...]) -> None:
    image = noise(*shape)
    before, changes = image.copy(), []
    for amount in part.amounts:
        worse = part.apply(image, place(), amount, 1)
        assert worse.shape == shape
        assert worse.dtype == np.uint8
        changes.append(np.abs(worse.astype(int) - image).mean())
    assert (image == before).all()  # the one that came in is left alone
    assert min(changes) > 0
    # From the least to the most; darker and brighter start at the two ends of the table.
    groups = (changes[: part.before][::-1], changes[part.before :])
    assert all(group == sorted(group) for group in groups) or part.name == "rotation"


@pytest.mark.parametrize(
    ("name", "amount"),
    [("blur", 0), ("resolution", 100), ("brightness", 1), ("contrast", 1), ("rotation", 0)],
)
@pytest.mark.parametrize("shape", [(150, 200), (150, 200, 3)], ids=["grey", "colour"])
def test_the_amount_that_changes_nothing(name: str, amount: float, shape: tuple[int, ...]) -> None:
    image = noise(*shape)
    assert (BY_NAME[name].apply(image, place(), amount, 1) == image).all()


def test_amounts_are_in_units_of_the_face() -> None:
    """A picture twice as large is made worse by the same amount in the same way."""
    small = Image.fromarray(noise(20, 20)).resize((200, 200), Image.Resampling.BICUBIC)
    large = small.resize((400, 400), Image.Resampling.BICUBIC)
    for name, amount in (("blur", 8), ("resolution", 12)):
        part = BY_NAME[name]
        one = part.apply(np.asarray(small), place(), amount, 1)
        two = part.apply(np.asarray(large), place(200.0, 80.0, 60.0), amount, 1)
        back = np.asarray(Image.fromarray(two).resize((200, 200), Image.Resampling.BOX))
        kept = np.abs(one.astype(int) - back)[20:-20, 20:-20].mean()
        assert kept < np.abs(one.astype(int) - np.asarray(small)).mean() / 4


def test_few_pixels_are_few() -> None:
    """Stripes of two pixels are gone when a face of 86 pixels is shown with 12."""
    image = np.tile(np.repeat(np.array([0, 255], np.uint8), 2), (200, 50))
    worse = BY_NAME["resolution"].apply(image, place(), 12, 1)
    assert worse[20:-20, 20:-20].std() < image.std() / 10


def test_dark_is_dark_and_flat_is_flat() -> None:
    image = noise(80, 80, 3)
    assert BY_NAME["brightness"].apply(image, place(), 0.1, 1).max() == round(25.5)
    bright = BY_NAME["brightness"].apply(image, place(), 3, 1)
    assert (bright == np.minimum(image.astype(int) * 3, 255)).all()
    flat = BY_NAME["contrast"].apply(image, place(), 0.25, 1)
    assert flat.std() == pytest.approx(image.std() / 4, rel=0.02)
    assert flat.mean() == pytest.approx(image.mean(), abs=1)


def alike(one: UInt8Array, two: UInt8Array) -> bool:
    """Whether they differ by rounding alone."""
    return bool(np.abs(one.astype(int) - two).max() <= 1)


def test_rotation_is_about_the_face_and_to_both_sides() -> None:
    image = noise(100, 100)
    middle = FacePlace(np.array([20, 20, 80, 80], np.float32), place().points)
    turned = BY_NAME["rotation"].apply(image, middle, 90, 1)
    assert alike(turned, np.rot90(image, -1))  # clockwise
    assert alike(BY_NAME["rotation"].apply(image, middle, 90, -1), np.rot90(image))
    # About a face in the corner: what comes in from beyond the picture repeats its edge.
    corner = FacePlace(np.array([0, 0, 40, 40], np.float32), place().points)
    turned = BY_NAME["rotation"].apply(image, corner, 90, 1)
    assert alike(turned[:40, :40], np.rot90(image[:40, :40], -1))
    assert alike(turned[:, 40:], turned[:, 39:40])


def tilted(face: FacePlace, degrees: float) -> FacePlace:
    """The same face, leaning over."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shift = face.centre - turn @ face.centre
    points = transform_points(np.column_stack([turn, shift]), face.points)
    return FacePlace(face.box, np.asarray(points, np.float32))


def at(covered: npt.NDArray[np.bool_], point: npt.NDArray[np.float32]) -> bool:
    """Whether nearly all of the surroundings of a point are covered."""
    x, y = (round(float(value)) for value in point)
    return bool(covered[y - 2 : y + 3, x - 2 : x + 3].mean() > 0.9)


@pytest.mark.parametrize("degrees", [0, 25, -40])
@pytest.mark.parametrize("shape", [(160, 200), (160, 200, 3)], ids=["grey", "colour"])
def test_bars_lie_where_the_landmarks_are(degrees: float, shape: tuple[int, ...]) -> None:
    image, face = noise(*shape), tilted(place(), degrees)

    def covered(name: str, amount: float, side: int = 1) -> npt.NDArray[np.bool_]:
        worse = BY_NAME[name].apply(image, face, amount, side)
        changed = worse != image
        if image.ndim == 3:
            changed = changed.any(axis=2)
        (colour,) = np.unique(worse[changed].reshape(-1, *shape[2:]), axis=0)  # one, the mean
        assert np.abs(colour.astype(float) - 127.5).max() < 6
        return np.asarray(changed, bool)

    eyes, mouth = covered("eyes covered", 20), covered("mouth covered", 25)
    left_eye, right_eye, nose, left_mouth, right_mouth = face.points
    assert [at(eyes, p) for p in face.points] == [True, True, False, False, False]
    assert [at(mouth, p) for p in face.points] == [False, False, False, True, True]
    width, height = face.box[2:] - face.box[:2]
    wide, high = 1.1 * width, 0.2 * height  # the height is the longer side
    assert wide * high * 0.98 < eyes.sum() < (wide + 2) * (high + 2)  # edges count whole
    left, right = covered("side covered", 35, -1), covered("side covered", 35, 1)
    assert [at(left, p) for p in (left_eye, left_mouth)] == [True, True]
    assert not any(at(left, p) for p in (right_eye, right_mouth, nose))
    assert [at(right, p) for p in (right_eye, right_mouth)] == [True, True]
    assert not any(at(right, p) for p in (left_eye, left_mouth, nose))


class Fixed:
    """A reader that always gives the same answers."""

    name, version, uncertain_below, gated = "fixed", "1", 0.6, False
    views: Views = "single"

    def __init__(self, said: Iterable[tuple[int, float]]) -> None:
        self.said = list(said)
        self.seen = 0

    def look(self, image: UInt8Array, face: Detections | None) -> None:
        """Count."""
        self.seen += 1

    def answers(self) -> Said:
        """What was said of it."""
        assert self.seen == len(self.said)
        self.seen = 0
        probs = np.zeros((len(self.said), 7))
        for row, (label, confidence) in zip(probs, self.said, strict=True):
            row[:] = (1 - confidence) / 6
            row[label] = confidence
        return probs, are_uncertain(probs, self.uncertain_below)


def test_a_face_that_is_lost_is_neither_right_nor_answered() -> None:
    reader = Fixed([(HAPPY, 0.9), (SAD, 0.9), (HAPPY, 0.5)])
    image = noise(8, 8)
    shown = [(image, None), None, (image, None), (image, None)]
    labels = np.array([HAPPY, 0, HAPPY, HAPPY])  # 0 is also what no answer would look like
    (read,), _ = read_level([reader], shown, labels)
    assert read.figures("x") == LevelFigures("x", 4, 2, 1, 2, 1)
    assert read.figures("x", np.array([True, True, False, False])) == LevelFigures(
        "x", 2, 1, 1, 1, 1
    )


def test_a_face_that_cannot_be_read_is_not_answered() -> None:
    """As users see it, however sure the model is."""
    reader = CropReader(ExpressionClassifier())
    reader.uncertain_below = 0.0
    flat = np.full((48, 48), 90, np.uint8)
    (read,), (said,) = read_level([reader], [(flat, None), (noise(48, 48), None)], np.zeros(2, int))
    assert read.found.all()
    assert not read.answered[0]
    assert not are_uncertain(said, 0.0).any()  # by confidence alone all are answered
    assert sliced(reader, (), name="x").to_dict()["gated"]
    assert "gated" not in made().to_dict()


def test_a_sample_is_drawn_once_and_for_all() -> None:
    assert drawn(10, None, 0).tolist() == list(range(10))
    rows = drawn(1000, 50, 3)
    assert len(set(rows.tolist())) == 50
    assert (np.diff(rows) > 0).all()
    assert (rows == drawn(1000, 50, 3)).all()
    assert (rows != drawn(1000, 50, 4)).any()
    with pytest.raises(ValueError, match="at least 1"):
        drawn(10, 0, 0)


def made(model: str = "m", *, pipeline: bool = False, uncertain_below: float = 0.6) -> Sliced:
    """Results of two slices, by hand."""
    plain = LevelFigures("as it is", 50, 40, 0, 30, 27)
    slices = (
        SliceFigures("blur", "per cent", (plain, LevelFigures("4", 50, 20, 5, 10, 8))),
        SliceFigures("<light>", "factor", (LevelFigures("0.1", 50, 10, 0, 0, 0), plain)),
    )
    return Sliced(
        model, "2", "faces", "all", "single", pipeline, "all", 50, 0, uncertain_below, slices
    )


def test_results_come_back_from_json(tmp_path: Path) -> None:
    both = [made(), made("n", pipeline=True, uncertain_below=0.0)]
    file = tmp_path / "x.json"
    file.write_text(json.dumps([s.to_dict() for s in both]))
    assert read_sliced(file) == both
    assert both[0].slices[0].levels[1].accuracy == 0.4
    assert both[0].slices[0].levels[1].interval == pytest.approx((0.2761, 0.5382), abs=1e-4)


@pytest.mark.parametrize("file", RESULTS, ids=lambda file: file.stem)
def test_the_measured_files_are_whole(file: Path) -> None:
    found = read_sliced(file)
    require_comparable(found)
    written = json.loads(json.dumps([s.to_dict() for s in found]))
    assert written == json.loads(file.read_text("utf-8"))
    if file.stem != "yaleb":
        for figures, part in zip(found[0].slices, SLICES, strict=False):
            levels = [f"{amount:g}" for amount in part.amounts]
            levels.insert(part.before, "as it is")
            assert (figures.name, figures.unit) == (part.name, part.unit)
            assert [level.level for level in figures.levels] == levels


@pytest.mark.parametrize(
    "text", ["no json", "{}", "[]", "[1]", '[{"model": "m"}]', '{"slices": 3}']
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(DatasetError, match=r"x\.json: expected what `mien evaluate --slices"):
        read_sliced(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none\.json: cannot be read"):
        read_sliced(tmp_path / "none.json")


def test_the_table_by_hand() -> None:
    lines = format_sliced([made(), made("n", uncertain_below=0.0)]).splitlines()
    assert lines == [
        "| slice | level | m: right | answers | right of them | n: right |",
        "| --- | --- | --- | --- | --- | --- |",
        "|  | as it is | 80 (67 to 89) | 60 | 90 (74 to 97) | 80 (67 to 89) |",
        "| **blur**: per cent | 4 | 40 (28 to 54) | 20 | 80 (49 to 94) | 40 (28 to 54) |",
        "| **<light>**: factor | 0.1 | 20 (11 to 33) | 0 | - | 20 (11 to 33) |",
    ]
    assert "| slice | level | found |" in format_sliced([made(pipeline=True)])
    assert "|  | as it is | 100 |" in format_sliced([made(pipeline=True)])
    assert "| 4 | 90 |" in format_sliced([made(pipeline=True)])
    assert describe([made()]) == (
        "m v2 on faces, n = 50, drawn with seed 0, face crops. In per cent."
    )


def test_other_pictures_are_not_laid_beside() -> None:
    with pytest.raises(ValueError, match="same pictures"):
        format_sliced([made(), made("n", pipeline=True)])


def test_the_page_shows_the_table_and_the_plot(tmp_path: Path) -> None:
    write_slices_report(tmp_path / "new", [made(), made("n", uncertain_below=0.0)])
    page = (tmp_path / "new" / "index.html").read_text("utf-8")
    assert "<light>" not in page
    assert "<td>&lt;light&gt;: factor<td>0.1<td>20 (11 to 33)<td>0<td>-<td>20 (11 to 33)" in page
    with Image.open(tmp_path / "new" / "slices.png") as picture:
        assert picture.width > picture.height > 200
    three = [made(name) for name in "abc"]
    draw_sliced(three, tmp_path / "three.png")
    assert (tmp_path / "three.png").is_file()


def lit(people: str, degrees: list[float]) -> LitFaces:
    return LitFaces(noise(len(people), 48, 48), tuple(people), np.array(degrees, float))


def test_a_label_that_changes_with_the_light() -> None:
    # a is neutral and turns sad; b is sad from the front, and stays it; c has no frontal picture.
    faces = lit("aaabbc", [0, 10, 80, 0, 40, 5])
    reader = Fixed([(NEUTRAL, 0.9), (NEUTRAL, 0.5), (SAD, 0.9), (SAD, 0.9), (SAD, 0.9)])
    (found,) = slice_lights([reader], faces, name="x")
    same, neutral = found.slices
    assert same.levels == (
        LevelFigures("as it is", 2, 2, 0, 2, 2),
        LevelFigures("up to 12", 1, 1, 0, 0, 0),
        LevelFigures("up to 50", 1, 1, 0, 1, 1),
        LevelFigures("over 77", 1, 0, 0, 1, 0),
    )
    assert [level.right for level in neutral.levels] == [1, 1, 0, 0]
    assert "n = 5," in describe([found])
    # What differs from slice to slice is shown in each.
    assert format_sliced([found]).count("| as it is |") == 2
    with pytest.raises(DatasetError, match="frontal light"):
        slice_lights([reader], lit("c", [5]), name="x")
    with pytest.raises(DatasetError, match="Add others"):
        slice_lights([reader], lit("cd", [0, 0]), name="x")


def test_a_files_name_says_whence_the_light_comes(tmp_path: Path) -> None:
    names = ("yaleB11_P00A+000E+00", "yaleB11_P00A-035E+40", "yaleB12_P00A+120E+00")
    for name in names:
        Image.fromarray(noise(192, 168)).save(tmp_path / f"{name}.pgm")
    Image.fromarray(noise(8, 8)).save(tmp_path / "yaleB11_P00_Ambient.png")
    faces = load_lights(tmp_path)
    assert faces.people == ("yaleB11", "yaleB11", "yaleB12")
    expected = np.rad2deg(np.arccos(np.cos(np.deg2rad(35)) * np.cos(np.deg2rad(40))))
    assert faces.angles == pytest.approx([0, expected, 120])
    assert faces.images.shape == (3, 48, 48)
    assert shows_lights(tmp_path)
    assert not shows_lights(tmp_path / "none")


def test_a_model_of_other_classes_is_refused() -> None:
    classifier = ExpressionClassifier("mien-s-int8")
    object.__setattr__(classifier.spec, "labels", ("yes", "no"))
    with pytest.raises(ModelError, match=r"mien-s-int8: .*its own are yes, no"):
        CropReader(classifier)
