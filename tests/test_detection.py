"""Finding faces: on a portrait that may be shown, and on annotated photographs where present."""

import hashlib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from mien import weights
from mien.detection import FaceDetector
from mien.errors import ModelError
from mien.geometry import iou_matrix
from mien.sources import open_source
from mien.types import Detections, Frame, UInt8Array

#: The astronaut's face as a person would draw it: from hairline to chin, ear to ear.
FACE = np.array([[182, 66, 272, 178]])


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector()


def test_the_portrait(detector: FaceDetector, portrait: UInt8Array) -> None:
    faces = detector.find(Frame(portrait))
    assert len(faces) == 1
    assert faces.scores[0] > 0.7
    assert iou_matrix(FACE, faces.boxes)[0, 0] > 0.75
    left_eye, right_eye, nose, left_mouth, right_mouth = faces.landmarks[0]
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < nose[0] < right_mouth[0]
    assert left_eye[1] < nose[1] < left_mouth[1]


@pytest.mark.parametrize("scale", [0.3, 0.7, 1.5, 3.0])
def test_size_does_not_matter(detector: FaceDetector, portrait: UInt8Array, scale: float) -> None:
    resized = np.asarray(cv2.resize(portrait, None, fx=scale, fy=scale), np.uint8)
    faces = detector.find(Frame(resized))
    assert len(faces) == 1
    assert iou_matrix(FACE * scale, faces.boxes)[0, 0] > 0.7


def test_a_face_that_fills_the_picture(detector: FaceDetector, portrait: UInt8Array) -> None:
    """Enlarged to 640 pixels it is too large for one pass; the coarse pass finds it."""
    close = np.ascontiguousarray(portrait[30:200, 150:300])
    faces = detector.find(Frame(close))
    assert len(faces) == 1
    assert iou_matrix(FACE - [150, 30, 150, 30], faces.boxes)[0, 0] > 0.6


def test_a_crowd_is_seen_in_one_look(
    detector: FaceDetector, portrait: UInt8Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where looking at each face would be more work than looking at the whole picture again."""
    frame, looks = Frame(np.tile(portrait, (1, 3, 1))), list[int]()
    near = FaceDetector.detect_near

    def counted(
        self: FaceDetector, frame: Frame, boxes: npt.NDArray[np.float32]
    ) -> tuple[Detections, list[int]]:
        looks.append(len(boxes))
        return near(self, frame, boxes)

    monkeypatch.setattr(FaceDetector, "detect_near", counted)
    measured = detector.find(frame)
    exact = detector.detect(frame)
    assert looks == [3]
    assert iou_matrix(measured.boxes, exact.boxes).max(1) == pytest.approx(1, abs=0.25)
    assert not np.array_equal(measured.scores, exact.scores)
    assert np.array_equal(detector.find(frame, expected=20).boxes, exact.boxes)
    monkeypatch.setattr(FaceDetector, "REGION_PX", 300)
    assert np.array_equal(detector.find(frame).boxes, exact.boxes)
    assert looks == [3]


def test_a_picture_that_seems_empty_is_looked_at_in_exact_numbers(
    detector: FaceDetector, portrait: UInt8Array
) -> None:
    flat = Frame((portrait * 0.02).astype(np.uint8) + np.uint8(90))
    assert not len(detector.search(flat, long_side_px=640))
    assert not len(detector.find(flat, expected=0))  # of a video there will be another frame
    assert len(detector.find(flat)) == len(detector.detect(flat)) == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (700, 3), (31, 33)])
def test_odd_pictures_hold_no_face(detector: FaceDetector, shape: tuple[int, int]) -> None:
    assert len(detector.find(Frame(np.zeros((*shape, 3), np.uint8)))) == 0


def test_noise_holds_no_face(detector: FaceDetector) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    assert len(detector.find(Frame(noise))) == 0


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="long_side_px"):
        FaceDetector(long_side_px=16)
    with pytest.raises(ValueError, match="min_score"):
        FaceDetector(min_score=1.0)


def test_altered_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "centerface.onnx"
    monkeypatch.setattr(weights, "ASSETS", tmp_path)
    with pytest.raises(ModelError, match="weights are missing"):
        FaceDetector()
    file.write_bytes(b"something else")
    digest = hashlib.sha256(b"the real ones").hexdigest()
    (tmp_path / "SHA256SUMS").write_text(f"{digest}  centerface.onnx\n")
    with pytest.raises(ModelError, match="altered"):
        FaceDetector()


def test_every_annotated_face_is_found(detector: FaceDetector, data: Path) -> None:
    """dlib's photographs: every face of at least 40 pixels, at an overlap of 0.4."""
    n = 0
    for listing in sorted((data / "photos" / "dlib_faces").glob("*.xml")):
        for picture in ElementTree.parse(listing).getroot().iter("image"):
            (frame,) = open_source(listing.parent / str(picture.get("file")))
            faces = detector.find(frame)
            for box in picture.iter("box"):
                x, y, w, h = (float(str(box.get(k))) for k in ("left", "top", "width", "height"))
                if max(w, h) >= 40:
                    n += 1
                    overlap = iou_matrix(np.array([[x, y, x + w, y + h]]), faces.boxes)
                    assert overlap.max(initial=0) >= 0.4, (picture.get("file"), x, y)
    assert n >= 20


def test_photographs_hold_the_faces_that_people_counted(detector: FaceDetector, data: Path) -> None:
    photos = data / "photos"
    counted = {
        "free-mountain-vector-01.jpg": 0,
        "single_face.jpg": 1,
        "Image_with_alpha.png": 1,
        "group-2.jpg": 3,
        "group-3.jpg": 4,
        "multi_face.jpg": 5,
        "solvay1927.jpg": 29,
    }
    for name, faces in counted.items():
        (frame,) = open_source(photos / name)
        assert len(detector.find(frame)) == faces, name


def test_a_video_without_a_face(detector: FaceDetector, data: Path) -> None:
    with open_source(data / "clips" / "no_face.mp4") as source:
        for frame in source:
            if frame.index % 5 == 0:
                assert len(detector.find(frame, long_side_px=480)) == 0


def test_detections_check_their_shapes() -> None:
    with pytest.raises(ValueError, match=r"boxes: expected shape \(1, 4\), got \(2, 4\)"):
        Detections(
            np.zeros((2, 4), np.float32), np.zeros(1, np.float32), np.zeros((1, 5, 2), np.float32)
        )
    assert len(Detections.empty().select([])) == 0
    assert len(Detections.concatenate([Detections.empty(), Detections.empty()])) == 0


def test_the_largest_face_is_the_one_with_the_largest_box() -> None:
    boxes = np.array([[0, 0, 9, 1], [5, 5, 9, 9], [0, 0, 2, 2]], np.float32)
    faces = Detections(boxes, np.ones(3, np.float32), np.zeros((3, 5, 2), np.float32))
    assert faces.largest() == 1
    assert faces.sides.tolist() == [9, 4, 2]
    assert Detections.empty().sides.shape == (0,)
    with pytest.raises(ValueError, match="empty"):
        Detections.empty().largest()
