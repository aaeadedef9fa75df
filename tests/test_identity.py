"""Faces are described, compared and named from file to file; nothing of that happens unasked."""

import csv
import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from mien.annotate import annotate, stand_in
from mien.cli import main
from mien.detection import FaceDetector
from mien.identity import SAME_PERSON, FaceEmbedder
from mien.identity.embedder import face_transform, turned_px
from mien.inference import Network
from mien.pipeline import Analyzer
from mien.results import read_results
from mien.sinks import open_sink
from mien.sources import Source
from mien.types import (
    EXPRESSIONS,
    IDENTITY_COLUMNS,
    FaceIdentity,
    FaceResult,
    Float32Array,
    Frame,
    FrameResult,
    UInt8Array,
)

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def embedder() -> FaceEmbedder:
    return FaceEmbedder()


@pytest.fixture(scope="module")
def recognizing() -> Analyzer:
    return Analyzer(identity=True)


def described(embedder: FaceEmbedder, image: UInt8Array) -> Float32Array:
    frame = Frame(np.ascontiguousarray(image))
    faces = FaceDetector().detect(frame)
    assert len(faces) == 1
    return np.asarray(embedder.describe(frame, faces)[0], np.float32)


# --- the network ---------------------------------------------------------------------------------


def test_changes_of_a_picture_are_not_another_person(
    embedder: FaceEmbedder, portrait: UInt8Array
) -> None:
    usual = described(embedder, portrait)
    assert usual.shape == (FaceEmbedder.SIZE,)
    picture = Image.fromarray(portrait)
    changed = {
        "mirrored": portrait[:, ::-1],
        "twice as large": np.asarray(picture.resize((1024, 1024))),
        "half as large": np.asarray(picture.resize((256, 256))),
        "turned": np.asarray(picture.rotate(20, Image.Resampling.BILINEAR, center=(227, 120))),
        "darker": (portrait * 0.6).astype(np.uint8),
        "grey": np.asarray(picture.convert("L").convert("RGB")),
    }
    for name, image in changed.items():
        away = float(np.linalg.norm(described(embedder, image) - usual))
        assert away < 0.8 * SAME_PERSON, f"{name}: {away:.2f}"


def test_landmarks_are_brought_to_their_places() -> None:
    places = np.array([[47.5, 46.6], [100.5, 46.6], [74, 76.6], [50.4, 103], [97.6, 103]])
    angle, scale = np.radians(30), 0.4
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    landmarks = (places @ turn.T + [300, 200]).astype(np.float32)
    transform = face_transform(landmarks)
    assert transform[:, :2] == pytest.approx(turn, abs=1e-3)
    assert transform[:, 2] == pytest.approx([300, 200], abs=0.05)
    assert turned_px(landmarks) == pytest.approx(0, abs=0.01)
    landmarks[2] += [4, 0]  # the nose points aside: 10 of the network's pixels
    assert 2 < turned_px(landmarks) < 10
    assert np.isfinite(face_transform(np.zeros((5, 2), np.float32))).all()


def test_a_batch_and_nobody(embedder: FaceEmbedder, portrait: UInt8Array) -> None:
    frame = Frame(portrait)
    faces = FaceDetector().detect(frame)
    assert embedder.describe(frame, faces.select([])).shape == (0, FaceEmbedder.SIZE)
    twice = embedder.describe(frame, faces.select([0, 0]))
    assert twice[0] == pytest.approx(twice[1], abs=1e-5)


# --- dlib's file ---------------------------------------------------------------------------------


def number(value: int) -> bytes:
    size = max(1, (abs(value).bit_length() + 7) // 8)
    return bytes([size | (0x80 if value < 0 else 0)]) + abs(value).to_bytes(size, "little")


def numbers(*values: int) -> bytes:
    return b"".join(map(number, values))


def text(value: str) -> bytes:
    return number(len(value)) + value.encode()


def tensor(*values: float, shape: tuple[int, int, int, int]) -> bytes:
    return numbers(2, *shape) + struct.pack(f"<{len(values)}f", *values)


ONE, NOTHING = numbers(1, 0), tensor(shape=(0, 0, 0, 0))
END = b"110" + 3 * NOTHING  # of a layer


def convolution(weights: list[float], bias: float, factor: float, offset: float) -> bytes:
    """One of 3 x 3 (or 1 x 1), with one output, and its factor and offset."""
    inputs, size = (3, 1) if len(weights) == 3 else (1, 3)
    params = tensor(*weights, bias, shape=(len(weights) + 1, 1, 1, 1))
    settings = numbers(1, size, size, 1, 1, size // 2, size // 2)
    parts = numbers(1, 1, inputs, size, size) + numbers(1, 1, 1, 1, 1)
    scaled = text("affine_") + tensor(factor, offset, shape=(2, 1, 1, 1))
    scaled += 2 * numbers(1, 1, 1, 1, 1) + number(0) + END
    first = number(1) if inputs == 3 else b""
    return text("con_4") + params + settings + parts + 4 * ONE + END + first + scaled


def small_network() -> bytes:
    """Red plus twice green; pooled by 2; plus three times itself, positive; the mean, times 5."""
    head = number(1) + text("loss_metric_2") + 2 * ONE + numbers(2, 2, 1, 3)
    head += text("input_rgb_image_sized") + numbers(10, 0, 20, 0, 30, 0) + numbers(4, 4)
    pool = text("max_pool_2") + numbers(2, 2, 2, 2, 0, 0) + END
    centre = [0.0] * 4 + [1.0] + [0.0] * 4
    block = convolution(centre, 0, 3, 0) + text("add_prev_") + END + text("relu_") + END
    mean = text("avg_pool_2") + numbers(0, 0, 1, 1, 0, 0) + END
    product = text("fc_2") + numbers(1, 1) + tensor(5, shape=(1, 1, 1, 1))
    product += 2 * numbers(1, 1, 1, 1, 1) + number(1) + 4 * ONE + END
    return head + convolution([1, 2, 0], 0.25, 2, 1) + pool + block + mean + product


@pytest.fixture(scope="module")
def converter() -> ModuleType:
    spec = spec_from_file_location("dlib_to_onnx", REPOSITORY / "dlib_to_onnx.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_dlibs_file_by_hand(converter: ModuleType) -> None:
    network = Network(converter.convert(small_network()), "small")
    pixels = np.zeros((1, 3, 4, 4), np.float32)
    pixels[:, 0], pixels[:, 1] = 10 + 256, 20 + 256  # 1 and 1, less the means
    pixels[0, 0, :2, :2] += 256  # red 2 in one corner
    (answer,) = network.run(pixels)
    # Convolved: (3 or 4 + 0.25) * 2 + 1; a pooled corner of four is higher; times 4; mean; times 5.
    assert answer == pytest.approx(5 * 4 * (3 * 7.5 + 9.5) / 4)


def test_a_damaged_file_is_refused(converter: ModuleType) -> None:
    whole = small_network()
    for cut in (0, 3, 40, len(whole) // 2, len(whole) - 1):
        with pytest.raises(ValueError, match=r"ends at byte|expected"):
            converter.convert(whole[:cut])
    for found, other in ((b"relu_", b"sigm_"), (b"add_prev_", b"mul_prev_"), (b"con_4", b"con_9")):
        with pytest.raises(ValueError, match="expected"):
            converter.convert(whole.replace(found, other, 1))


# --- the main job --------------------------------------------------------------------------------


def test_off_unless_asked_for(analyzer: Analyzer, portrait: UInt8Array, tmp_path: Path) -> None:
    result = analyzer.analyze_frame(Frame(portrait))
    assert analyzer.recognizer is None
    assert result.faces[0].identity is None
    assert result.faces[0].person is None
    assert "identity" not in result.to_dict()["faces"][0]
    assert not set(IDENTITY_COLUMNS) & set(result.to_rows()[0])
    with open_sink(tmp_path / "r.csv") as sink:
        sink.write(result)
    assert "person" not in (tmp_path / "r.csv").read_text()


def test_one_person_in_several_pictures(recognizing: Analyzer, portrait: UInt8Array) -> None:
    assert recognizing.recognizer is not None
    recognizing.recognizer.forget_strangers()
    similarities = []
    for image in (portrait, portrait[:, ::-1], portrait[:, 20:]):
        (face,) = recognizing.analyze_frame(Frame(np.ascontiguousarray(image))).faces
        assert face.person == "person-1"
        assert face.identity is not None
        assert face.identity.descriptor is not None
        assert "descriptor" not in repr(face)
        similarities.append(face.identity.similarity)
    assert similarities[0] is None  # met for the first time
    assert all(s is not None and 1 - SAME_PERSON <= s < 1 for s in similarities[1:])


def test_who_leaves_a_video_and_returns_keeps_the_name(
    recognizing: Analyzer, portrait: UInt8Array
) -> None:
    assert recognizing.recognizer is not None
    recognizing.recognizer.forget_strangers()
    picture = Image.fromarray(portrait).crop((100, 0, 356, 256))

    def frames() -> Iterator[Frame]:
        for i in range(24):
            image = Image.new("RGB", (512, 288), "grey")
            if not 8 <= i < 14:  # away for 2.1 seconds, then elsewhere and mirrored
                later = i >= 14
                shown = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if later else picture
                image.paste(shown, (240 if later else 10, 16))
            yield Frame(np.asarray(image, np.uint8), "film", i, 0.3 * i)

    source = Source("film", frames(), is_video=True, frame_count=24)
    faces = [result.faces[0] for _, result in recognizing.run(source) if result.faces]
    assert len(faces) == 18
    assert {face.track_id for face in faces[:8]} != {face.track_id for face in faces[8:]}
    assert faces[0].person is None
    assert {face.person for face in faces[3:]} == {"person-1"}


def gallery_of(folder: Path, portrait: UInt8Array) -> Path:
    """One good picture, and all that can be wrong."""
    (folder / "Eileen").mkdir(parents=True)
    Image.fromarray(portrait).save(folder / "Eileen" / "official.jpg")
    Image.fromarray(np.tile(portrait[:300], (1, 2, 1))).save(folder / "Eileen" / "two.png")
    (folder / "Eileen" / "text.png").write_text("not a picture")
    (folder / "Nobody.jpg").write_bytes(b"")
    Image.new("RGB", (90, 90), "green").save(folder / "Grass.png")
    return folder


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_names_are_written_and_read_back_and_descriptors_are_not(
    portrait_file: Path,
    portrait: UInt8Array,
    tmp_path: Path,
    suffix: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gallery, out = gallery_of(tmp_path / "people", portrait), tmp_path / f"r{suffix}"
    arguments = ["analyze", str(portrait_file), "--gallery", str(gallery), "--out", str(out)]
    assert main(arguments) == 0
    said = capsys.readouterr().err
    for problem in ("two.png: shows 2 faces", "text.png: not a picture", "Nobody.jpg: is empty",
                    "Grass.png: no face found", "no usable picture of Nobody"):  # fmt: skip
        assert said.count(problem) == 1, problem
    assert "1 name known" in said
    assert "biometric" in said
    (result,) = read_results(out)
    (face,) = result.faces
    assert face.person == "Eileen"
    assert face.identity is not None
    assert face.identity.descriptor is None
    assert face.identity.similarity is not None
    assert face.identity.similarity > 0.8  # the same picture, through JPEG
    if suffix == ".jsonl":
        identity = json.loads(out.read_text())["faces"][0]["identity"]
        assert list(identity) == ["person", "similarity"]
    assert list(result.to_pandas()["person"]) == ["Eileen"]


def test_a_useless_gallery_is_one_line(
    portrait_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for gallery in (tmp_path / "missing", portrait_file, tmp_path):
        assert main(["analyze", str(portrait_file), "--gallery", str(gallery)]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert str(gallery) in said


# --- what sinks and pictures say -----------------------------------------------------------------


def face(person: str | None, similarity: float | None = None) -> FaceResult:
    probs = dict.fromkeys(EXPRESSIONS, 0.02) | {"happy": 0.88}
    return FaceResult(
        (20.0, 40.0, 60.0, 60.0), 0.9, ((0.0, 0.0),) * 5, "happy", 0.88, False, probs, 7,
        identity=FaceIdentity(person, similarity),
    )  # fmt: skip


NAMES = [None, None, "a <b> ---> c", "a <b> ---> c", "a <b> ---> c"]
FILM = [FrameResult("v.mp4", i, i / 5, 200, 150, (face(name),)) for i, name in enumerate(NAMES)]


def written(target: Path, *, identity: bool = True) -> str:
    with open_sink(target, identity=identity) as sink:
        for result in FILM:
            sink.write(result)
    return target.read_text("utf-8")


def test_segments_and_subtitles_say_the_person(tmp_path: Path) -> None:
    (row,) = csv.DictReader(written(tmp_path / "a.segments.csv").splitlines())
    assert row["person"] == "a <b> ---> c"
    plain = written(tmp_path / "b.segments.csv", identity=False)
    assert "person" not in plain
    assert plain.splitlines()[1].startswith("v.mp4,7,happy,")
    vtt = written(tmp_path / "a.vtt")
    assert "a &lt;b&gt; ---&gt; c: happy 88%" in vtt
    assert vtt.count("-->") == 1  # the cue's own arrow
    assert written(tmp_path / "a.srt").count("-->") == 1


def test_a_face_that_is_not_yet_known_is_empty_and_null(tmp_path: Path) -> None:
    rows = list(csv.DictReader(written(tmp_path / "a.csv").splitlines()))
    assert [row["person"] for row in rows] == [name or "" for name in NAMES]
    assert rows[0]["person_similarity"] == ""
    first, *_, last = read_results(tmp_path / "a.csv")
    assert first.faces[0].identity == FaceIdentity(None, None)
    assert last.faces[0].person == NAMES[-1]
    line = json.loads(written(tmp_path / "a.jsonl").splitlines()[0])
    assert line["faces"][0]["identity"] == {"person": None, "similarity": None}


def test_annotated_copies_show_the_name() -> None:
    grey = np.full((150, 200, 3), 128, np.uint8)
    numbered = annotate(grey, [replace(face(None), identity=None)])
    assert (annotate(grey, [face(None)]) == numbered).all()  # not yet known: the track's number
    named = annotate(grey, [face("Anna")])
    changed = np.argwhere((named != numbered).any(axis=2))
    assert len(changed)
    assert changed[:, 0].max() < 40  # in the tag above the box, and nowhere else
    endless = annotate(grey, [face("x" * 5000)])
    assert endless.shape == grey.shape


def test_long_names_stay_apart(
    portrait_file: Path, portrait: UInt8Array, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By their ends; where these are the same, by another name, which stderr explains."""
    grey = np.full((150, 200, 3), 128, np.uint8)
    names = [f"study of autumn, participant {i:02}" for i in range(3)]
    names += [f"participant {i:02} of the study of spring" for i in range(3)]
    drawn = [annotate(grey, [face(name)]) for name in names]
    assert len({picture.tobytes() for picture in drawn}) == 6
    assert not any(map(stand_in, names[:4]))
    (tmp_path / "people" / names[-1]).mkdir(parents=True)
    Image.fromarray(portrait).save(tmp_path / "people" / names[-1] / "a.png")
    arguments = ["--gallery", str(tmp_path / "people"), "--out", str(tmp_path / "copy.png")]
    assert main(["analyze", str(portrait_file), *arguments]) == 0
    said = capsys.readouterr().err
    assert f"{names[-1]} is “{stand_in(names[-1])}” in annotated copies" in said


def test_names_that_the_font_lacks_stay_apart(
    portrait_file: Path,
    portrait: UInt8Array,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pillow's font has the letters of English: all others were the same box."""
    grey = np.full((150, 200, 3), 128, np.uint8)
    names = ("Анна", "Иван", "李雷")
    drawn = [annotate(grey, [face(name)]) for name in names]
    assert len({picture.tobytes() for picture in drawn}) == 3
    assert (annotate(grey, [face(names[0])]) == drawn[0]).all()  # by the same number again
    for name, plain in (("Zoë", "Zoe"), ("Łukasz", "Lukasz")):
        accented = annotate(grey, [face(name)])
        assert stand_in(name) == ""
        monkeypatch.setattr("mien.annotate._owners", {})
        assert (accented == annotate(grey, [face(plain)])).all()
        assert stand_in(name)  # beside one who is called just that
    (tmp_path / "people" / "Анна").mkdir(parents=True)
    Image.fromarray(portrait).save(tmp_path / "people" / "Анна" / "a.png")
    arguments = ["--gallery", str(tmp_path / "people"), "--out", str(tmp_path / "copy.png")]
    assert main(["analyze", str(portrait_file), *arguments]) == 0
    said = capsys.readouterr().err
    assert f"Анна is “{stand_in('Анна')}” in annotated copies" in said


# --- real people ---------------------------------------------------------------------------------


def test_people_of_orl_are_told_apart(embedder: FaceEmbedder, data: Path) -> None:
    """Ten people, one picture of each enrolled, three others asked."""
    if not (data / "orl").is_dir():
        pytest.skip("needs ORL in MIEN_DATA")
    detector = FaceDetector()
    rows = {}
    for person in range(1, 41, 4):
        for k in (1, 4, 7, 10):
            image = Image.open(data / "orl" / f"s{person}" / f"{k}.pgm").convert("RGB")
            frame = Frame(np.asarray(image, np.uint8))
            faces = detector.detect(frame)
            assert len(faces) >= 1
            rows[person, k] = embedder.describe(frame, faces.select([0]))[0]
    people = sorted({person for person, _ in rows})
    known = np.stack([rows[person, 1] for person in people])
    for (person, _), row in rows.items():
        away = np.linalg.norm(known - row, axis=1)
        assert people[int(away.argmin())] == person
        others = away[np.array(people) != person]
        assert others.min() > SAME_PERSON - 0.05
