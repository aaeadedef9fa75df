"""The mesh lies on the face; pose and openings are those that a face was given."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from mien.cli import main
from mien.datasets import load_pictures
from mien.geometry import iou_matrix
from mien.pipeline import Analyzer
from mien.results import read_results
from mien.shape import POINTS, shape_of
from mien.sources import open_source
from mien.types import FaceResult, Frame, UInt8Array

#: Points that people have marked (of 68, iBUG's order), and those of the mesh that lie there.
SAME_PLACES = {
    36: 33, 39: 133, 42: 362, 45: 263, 30: 4, 48: 61, 54: 291, 8: 152, 51: 0, 57: 17
}  # fmt: skip


@pytest.fixture(scope="module")
def shaper() -> Analyzer:
    return Analyzer(shape=True, smooth_s=0)


def face_in(analyzer: Analyzer, image: UInt8Array) -> FaceResult:
    (face,) = analyzer.analyze_frame(Frame(image)).faces
    assert face.shape is not None
    return face


def drawn_mesh() -> npt.NDArray[np.float64]:
    """A face from the front: eyes 100 apart, lids 20, brows 40 above, lips 10, mouth 80 wide."""
    mesh = np.zeros((POINTS, 3))
    places = {
        33: (-70, 0), 133: (-30, 0), 362: (30, 0), 263: (70, 0),
        159: (-50, -10), 145: (-50, 10), 386: (50, -10), 374: (50, 10),
        105: (-50, -40), 334: (50, -40), 61: (-40, 100), 291: (40, 100),
        13: (0, 95), 14: (0, 105), 10: (0, -90), 152: (0, 170),
    }  # fmt: skip
    for point, place in places.items():
        mesh[point, :2] = place
    return mesh


def turned(yaw: float, pitch: float, roll: float) -> npt.NDArray[np.float64]:
    """The drawn mesh, turned: first up or down, then sideways, then in the picture's plane."""
    y, p, r = np.radians([yaw, pitch, roll])
    # x right, y down, z away from the camera.
    up = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    side = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    plane = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return np.asarray(drawn_mesh() @ (plane @ side @ up).T)


@pytest.mark.parametrize("scale", [1, 7.5])
def test_openings_by_hand(scale: float) -> None:
    for mesh in (drawn_mesh(), turned(35, 0, 0), turned(0, -20, 15)):
        shape = shape_of(mesh * scale + [300, 200, 5], 0.9)
        assert shape.eye_opening == pytest.approx((0.2, 0.2))
        assert shape.brow_height == pytest.approx((0.4, 0.4))
        assert shape.mouth_opening == pytest.approx(0.1)
        assert shape.mouth_width == pytest.approx(0.8)


def test_pose_by_hand() -> None:
    for angle in (-60, -20, 0, 15, 45):
        assert shape_of(turned(angle, 0, 0), 1).yaw_deg == pytest.approx(angle, abs=1e-6)
        pitch = shape_of(turned(0, angle, 0), 1).pitch_deg - shape_of(drawn_mesh(), 1).pitch_deg
        assert pitch == pytest.approx(angle, abs=1e-6)
        assert shape_of(turned(0, 0, angle), 1).roll_deg == pytest.approx(angle, abs=1e-6)


def test_the_mesh_follows_a_face_that_is_turned_and_moved(
    shaper: Analyzer, portrait: UInt8Array
) -> None:
    plain = face_in(shaper, portrait).shape
    leaning = Image.fromarray(portrait).rotate(-20, Image.Resampling.BILINEAR, center=(227, 120))
    lean = face_in(shaper, np.asarray(leaning, np.uint8)).shape
    mirrored = face_in(shaper, np.ascontiguousarray(portrait[:, ::-1])).shape
    assert plain is not None
    assert lean is not None
    assert mirrored is not None
    assert plain.presence > 0.9
    assert lean.roll_deg - plain.roll_deg == pytest.approx(20, abs=4)
    assert lean.yaw_deg == pytest.approx(plain.yaw_deg, abs=8)
    assert mirrored.yaw_deg == pytest.approx(-plain.yaw_deg, abs=6)
    assert lean.mouth_opening == pytest.approx(plain.mouth_opening, abs=0.1)
    assert plain.mouth_width > 0.7  # she smiles


def test_points_lie_where_people_marked_them(shaper: Analyzer, data: Path) -> None:
    """dlib's example pictures with 68 points, in units of the outer eye corners' distance."""
    folder, errors = data / "photos" / "dlib_faces", []
    if not folder.is_dir():
        pytest.skip("needs the photographs of MIEN_DATA")
    for file in sorted(folder.glob("*.xml")):
        for entry in ElementTree.parse(file).getroot().iter("image"):
            picture = folder / str(entry.get("file"))
            if picture.is_file():
                errors += list(_errors(shaper, picture, entry))
    assert len(errors) > 30
    assert np.median(errors) < 0.06
    assert np.mean(errors) < 0.065


def _errors(shaper: Analyzer, picture: Path, entry: ElementTree.Element) -> Any:
    with open_source(picture) as source:
        faces = shaper.analyze_frame(next(iter(source))).faces
    for box in entry.iter("box"):
        marked = {
            int(str(part.get("name"))): np.array([float(str(part.get(axis))) for axis in "xy"])
            for part in box.iter("part")
        }
        if len(marked) < 68 or not faces:
            continue
        x, y, w, h = (float(str(box.get(key))) for key in ("left", "top", "width", "height"))
        found = np.array([(a, b, a + c, b + d) for a, b, c, d in (f.box for f in faces)])
        overlap = iou_matrix(np.array([[x, y, x + w, y + h]]), found)[0]
        shape = faces[int(overlap.argmax())].shape
        if overlap.max() < 0.3 or shape is None or shape.mesh is None:
            continue
        away = [
            np.linalg.norm(shape.mesh[mesh, :2] - marked[point])
            for point, mesh in SAME_PLACES.items()
        ]
        yield float(np.mean(away) / np.linalg.norm(marked[45] - marked[36]))


def test_half_profiles_are_turned_and_fronts_are_not(shaper: Analyzer, data: Path) -> None:
    yaws, agree = [], []
    for picture in load_pictures(data / "kdef")[::40]:
        with open_source(picture.path) as source:
            faces = shaper.analyze_frame(next(iter(source))).faces
        for face in faces:
            assert face.shape is not None
            yaws.append(abs(face.shape.yaw_deg))
            (left, _), (right, _), (nose, _) = face.landmarks[:3]
            if yaws[-1] >= 20:  # the nose points where the face looks
                agree.append((nose > (left + right) / 2) == (face.shape.yaw_deg > 0))
    front = [yaw for yaw in yaws if yaw < 20]
    aside = [yaw for yaw in yaws if yaw >= 20]
    assert len(front) > 15  # a third of the set
    assert len(aside) > 30
    assert np.median(front) < 8
    assert 30 < np.median(aside) < 60
    assert np.mean(agree) > 0.95


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_shapes_are_written_and_read_back(portrait_file: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"r{suffix}"
    arguments = ["analyze", str(portrait_file), "--shape", "--quiet", "--out", str(out)]
    assert main(arguments) == 0
    (result,) = read_results(out)
    (face,) = result.faces
    assert face.shape is not None
    assert face.shape.mesh is None
    with open_source(portrait_file) as source:
        (again,) = Analyzer(shape=True).analyze_frame(next(iter(source))).faces
    assert face.shape == again.shape
    if suffix == ".jsonl":
        shape = json.loads(out.read_text())["faces"][0]["shape"]
        assert list(shape) == [
            "presence", "yaw_deg", "pitch_deg", "roll_deg", "eye_opening", "brow_height",
            "mouth_opening", "mouth_width",
        ]  # fmt: skip


def test_nobody_has_no_shape(shaper: Analyzer) -> None:
    assert shaper.analyze_frame(Frame(np.zeros((64, 64, 3), np.uint8))).faces == ()
