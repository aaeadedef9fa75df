"""The face-quality gate: the right reasons, none for a good face, the same in every table."""

import csv
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from mien import quality, weights
from mien.classifier import are_uncertain
from mien.errors import ModelError, SourceError
from mien.pipeline import Analyzer
from mien.preprocess import resize_crop, to_gray
from mien.results import read_results
from mien.sinks import open_sink
from mien.types import (
    DOUBTFUL,
    QUALITY_REASONS,
    RESULT_COLUMNS,
    Detections,
    FaceQuality,
    FaceResult,
    Float32Array,
    Frame,
    FrameResult,
    UInt8Array,
)


def blurred(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(8))


def shrunk(image: Image.Image) -> Image.Image:
    return image.resize((56, 56))


def burnt(image: Image.Image) -> Image.Image:
    return Image.fromarray((np.asarray(image) * 2.6).clip(0, 255).astype(np.uint8))


def masked(image: Image.Image) -> Image.Image:
    shown = image.copy()
    ImageDraw.Draw(shown).rectangle((180, 124, 280, 190), fill=(120, 150, 170))
    return shown


def seen(analyzer: Analyzer, image: UInt8Array) -> FaceResult:
    faces = analyzer.analyze_frame(Frame(image)).faces
    return max(faces, key=lambda face: face.box[2] * face.box[3])


def reasons(analyzer: Analyzer, image: UInt8Array) -> tuple[str, ...]:
    face = seen(analyzer, image)
    assert face.quality is not None
    assert (face.quality.score < 0.5) == bool(face.quality.reasons)
    return face.quality.reasons


def test_a_good_face_has_no_reason(analyzer: Analyzer, portrait: UInt8Array) -> None:
    assert reasons(analyzer, portrait) == ()


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [(blurred, "blurred"), (shrunk, "small"), (burnt, "badly-lit"), (masked, "covered")],
)
def test_a_spoilt_face_has_its_reason(
    analyzer: Analyzer,
    portrait: UInt8Array,
    spoilt: Callable[[Image.Image], Image.Image],
    reason: str,
) -> None:
    shown = np.asarray(spoilt(Image.fromarray(portrait)), np.uint8)
    found = reasons(analyzer, shown)
    assert reason in found
    if reason == "small":
        assert "blurred" not in found


def test_light_and_contrast_that_a_network_does_not_mind_are_no_reason(
    analyzer: Analyzer, portrait: UInt8Array
) -> None:
    assert reasons(analyzer, (portrait * 0.2).astype(np.uint8)) == ()
    assert "badly-lit" in reasons(analyzer, (portrait * 0.02).astype(np.uint8) + np.uint8(90))


def test_pose_and_doubt_of_the_detector() -> None:
    gate = quality.QualityGate()
    crop = np.random.default_rng(0).integers(0, 255, (1, 44, 44)).astype(np.uint8)
    box = np.array([[0, 0, 60, 60]], np.float32)
    points = np.array([[[20, 25], [40, 25], [30, 35], [22, 45], [38, 45]]], np.float32)
    (front,) = gate.rate(Detections(box, np.array([0.9], np.float32), points), crop)
    assert not {"turned", "unsure-detection"} & set(front.reasons)
    points[0, 2, 0] += 8
    (turned,) = gate.rate(Detections(box, np.array([0.55], np.float32), points), crop)
    assert {"turned", "unsure-detection"} <= set(turned.reasons)
    assert gate.rate(Detections.empty(), crop[:0]) == []


@pytest.mark.parametrize("name", quality.ANCHORS)
def test_scores_fall_from_best_to_worst(name: str) -> None:
    anchors = np.array(quality.ANCHORS[name], np.float32)
    assert quality.scored(name, anchors) == pytest.approx([1, 0.5, 0], abs=1e-6)
    between = np.concatenate(
        [np.linspace(*pair) for pair in ((anchors[0], anchors[1]), anchors[1:])]
    )
    assert (np.diff(quality.scored(name, between)) <= 0).all()


def test_sharpness_does_not_mind_light(portrait: UInt8Array, analyzer: Analyzer) -> None:
    crops = analyzer.find(Frame(portrait)).crops
    dimmed = (crops * 0.5 + 60).astype(np.uint8)
    plain, other = (quality.crop_measures(c)["blurred"][0] for c in (crops, dimmed))
    assert other == pytest.approx(plain, rel=0.02)


def test_an_altered_network_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(weights.PACKAGE / weights.SUMS, tmp_path)
    data = (weights.PACKAGE / "cover.onnx").read_bytes()
    (tmp_path / "cover.onnx").write_bytes(data.replace(b"covered", b"uncover"))
    monkeypatch.setattr(quality, "PACKAGE", tmp_path)
    with pytest.raises(ModelError, match=r"cover\.onnx: altered"):
        quality.QualityGate()


def test_many_at_once_are_as_one_by_one(
    analyzer: Analyzer, portrait: UInt8Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And looked at once: a network's call costs as much as some faces."""
    looks, covers = list[int](), quality.QualityGate.covers

    def counted(self: quality.QualityGate, crops: UInt8Array) -> Float32Array:
        looks.append(len(crops))
        return covers(self, crops)

    monkeypatch.setattr(quality.QualityGate, "covers", counted)
    spoilt = [np.asarray(f(Image.fromarray(portrait)), np.uint8) for f in (blurred, burnt, masked)]
    frames = [Frame(image) for image in (portrait, *spoilt)]
    together = analyzer.classify_found([analyzer.find(frame) for frame in frames])
    assert looks == [sum(len(result.faces) for result in together)]
    for frame, result in zip(frames, together, strict=True):
        alone = analyzer.analyze_frame(frame)
        assert [f.quality for f in result.faces] == [f.quality for f in alone.faces]
        assert [f.uncertain for f in result.faces] == [f.uncertain for f in alone.faces]


def test_some_reasons_make_an_answer_uncertain(
    analyzer: Analyzer, portrait: UInt8Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where answers are recomputed over time, as in a video."""

    def rate(because: Sequence[str]) -> None:
        poor = FaceQuality(0.2, tuple(because))
        monkeypatch.setattr(quality.QualityGate, "rate", lambda self, f, c: [poor] * len(f))

    rate([])
    assert not seen(analyzer, portrait).uncertain
    for reason in QUALITY_REASONS:
        rate([reason])
        doubtful = reason in DOUBTFUL
        assert seen(analyzer, portrait).uncertain == doubtful
        result = analyzer.analyze_frame(Frame(portrait), following=analyzer.following())
        assert [face.uncertain for face in result.faces] == [doubtful] * len(result.faces)


@pytest.fixture
def rated(analyzer: Analyzer, portrait: UInt8Array) -> list[FrameResult]:
    found = replace(analyzer.analyze_frame(Frame(portrait)), source="a.png")
    poor = replace(found.faces[0], quality=FaceQuality(0.125, ("small", "badly-lit")))
    return [
        found,
        replace(found, frame=1, faces=(poor, *found.faces)),
        replace(found, frame=2, faces=()),
    ]


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "parquet"])
def test_tables_keep_it(tmp_path: Path, rated: list[FrameResult], suffix: str) -> None:
    """And where nobody has rated the faces or said who answered, that."""
    unrated = [
        replace(
            result, faces=tuple(replace(face, quality=None) for face in result.faces), model=None
        )
        for result in rated
    ]
    for name, results in (("rated", rated), ("unrated", unrated)):
        file = tmp_path / f"{name}.{suffix}"
        with open_sink(file) as sink:
            for result in results:
                sink.write(result)
        assert list(read_results(file)) == results


def test_a_table_without_the_columns_is_none_of_ours(
    tmp_path: Path, rated: list[FrameResult]
) -> None:
    rows = [row for result in rated for row in result.to_rows()]
    for missing in ("quality", "model"):
        columns = [column for column in RESULT_COLUMNS if column != missing]
        with (tmp_path / "t.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        with pytest.raises(SourceError, match=f"not results of `mien analyze`.*{missing}"):
            list(read_results(tmp_path / "t.csv"))


def test_crops_alone_say_who_cannot_be_read(portrait: UInt8Array) -> None:
    gate, rng = quality.QualityGate(), np.random.default_rng(0)
    face = resize_crop(to_gray(portrait[62:178, 168:284]), 44)
    masked = face.copy()
    masked[26:] = 128
    noise = rng.integers(0, 256, face.shape, np.uint8)
    crops = np.stack([face, np.full_like(face, 90), np.full_like(face, 255), masked, noise])
    n = len(crops)
    boxes = np.tile(np.array([0, 0, 90, 90], np.float32), (n, 1))
    five = np.array([[30, 35], [60, 35], [45, 55], [33, 70], [57, 70]], np.float32)
    faces = Detections(boxes, np.ones(n, np.float32), np.tile(five, (n, 1, 1)))
    found = gate.doubtful(crops)
    assert found.tolist() == [rated.doubtful for rated in gate.rate(faces, crops)]
    assert found[:3].tolist() == [False, True, True]
    assert gate.doubtful(crops[:0]).shape == (0,)
    assert gate.doubtful(np.repeat(crops[:2], 300, axis=0)).sum() == 300  # in several batches


def test_one_place_decides_what_is_uncertain() -> None:
    probs = np.array([[0.7, 0.3], [0.6, 0.4], [0.9, 0.1]])
    assert are_uncertain(probs, 0.65).tolist() == [False, True, False]
    doubtful = np.array([False, False, True])
    assert are_uncertain(probs, 0.65, doubtful).tolist() == [False, True, True]
    assert are_uncertain(probs[:0], 0.65).shape == (0,)
