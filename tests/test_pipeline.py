"""The main job in Python: the same answer whichever way in, and a lazy stream."""

import csv
import json
import os
import pickle
import shutil
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from math import inf
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pytest

import mien
from mien.annotate import COLOURS, OTHER_COLOURS, annotate, anonymize, css_colours
from mien.classifier import ExpressionClassifier
from mien.errors import SourceError
from mien.models import file_sha256, find_model
from mien.pipeline import Analyzer
from mien.results import read_results
from mien.sources import Source
from mien.types import (
    EXPRESSIONS,
    FERPLUS_EXPRESSIONS,
    RESULT_COLUMNS,
    FaceResult,
    Frame,
    FrameResult,
    UInt8Array,
)


def test_the_portrait_smiles(portrait_file: Path) -> None:
    result = mien.analyze(portrait_file)
    assert (result.width, result.height, result.frame, result.time_s) == (512, 512, 0, 0.0)
    (face,) = result.faces
    assert face.expression == "happy"
    assert face.confidence == face.probs["happy"] == max(face.probs.values())
    assert not face.uncertain
    assert list(face.probs) == list(EXPRESSIONS)
    assert sum(face.probs.values()) == pytest.approx(1, abs=1e-12)
    assert face.track_id is None
    assert len(face.landmarks) == 5


def test_every_way_in_gives_the_same_answer(
    analyzer: Analyzer, portrait_file: Path, portrait: UInt8Array
) -> None:
    by_path = mien.analyze(portrait_file).faces
    assert mien.analyze(str(portrait_file)).faces == by_path
    assert mien.analyze(portrait).faces == by_path
    assert analyzer.analyze_frame(Frame(portrait)).faces == by_path
    (streamed,) = analyzer.stream(portrait_file)
    assert streamed.faces == by_path


def test_a_name_that_is_no_text_is_told_by_its_bytes(
    analyzer: Analyzer, portrait: UInt8Array, tmp_path: Path
) -> None:
    """As Python gives names of files that are in no encoding: no table could hold it."""
    result = analyzer.analyze_frame(Frame(portrait, os.fsdecode(b"caf\xe9.jpg")))
    assert result.source == r"caf\xe9.jpg"
    with mien.open_sink(tmp_path / "r.jsonl") as sink:
        sink.write(result)
    assert len(list(read_results(tmp_path / "r.jsonl"))) == 1


def test_the_crop_is_what_the_classifier_answers_for(
    analyzer: Analyzer, portrait: UInt8Array
) -> None:
    """`ExpressionClassifier` on the pipeline's own crop agrees with the pipeline."""
    alone = analyzer.classifier.predict(analyzer.find(Frame(portrait)).crops)
    (face,) = analyzer.analyze_frame(Frame(portrait)).faces
    assert dict(zip(EXPRESSIONS, alone.probs[0], strict=True)) == face.probs
    assert alone.expressions == [face.expression]


def test_mirror_image_and_enlargement_agree(analyzer: Analyzer, portrait: UInt8Array) -> None:
    (face,) = analyzer.analyze_frame(Frame(portrait)).faces
    mirrored = np.ascontiguousarray(portrait[:, ::-1])
    twice = np.asarray(cv2.resize(portrait, None, fx=2, fy=2), np.uint8)
    turned = np.asarray(
        cv2.warpAffine(portrait, cv2.getRotationMatrix2D((227, 120), 20, 1.0), (512, 512)), np.uint8
    )
    for image in (mirrored, twice, turned):
        (other,) = analyzer.analyze_frame(Frame(image)).faces
        assert other.expression == face.expression
    doubled = Analyzer(views="flip").analyze_frame(Frame(portrait)).faces[0]
    reflected = Analyzer(views="flip").analyze_frame(Frame(mirrored)).faces[0]
    assert doubled.probs["happy"] == pytest.approx(reflected.probs["happy"], abs=0.1)


def test_no_face_is_an_empty_list_and_a_row(analyzer: Analyzer) -> None:
    result = analyzer.analyze_frame(Frame(np.zeros((90, 120, 3), np.uint8)))
    assert result.faces == ()
    (row,) = result.to_rows()
    assert list(row) == list(RESULT_COLUMNS)
    assert row["expression"] is None
    assert row["width"] == 120
    frame = result.to_pandas()
    assert len(frame) == 1


def test_frames_of_a_video_come_in_order(analyzer: Analyzer, portrait: UInt8Array) -> None:
    following = analyzer.following()
    for time_s in (0.0, 1.0, 1.0):
        analyzer.analyze_frame(Frame(portrait, "a", 0, time_s), following=following)
    with pytest.raises(ValueError, match=r"0\.5 comes after 1.*another video"):
        analyzer.analyze_frame(Frame(portrait, "b", 0, 0.5), following=following)


def test_results_name_their_model(tmp_path: Path, analyzer: Analyzer, portrait: UInt8Array) -> None:
    """By name and file; in a video also what read the answers over time. In every sink."""

    def named(model: str) -> str:
        return f"{model}@{file_sha256(find_model(model).path)[:12]}"

    def of_frame(analyzer: Analyzer, *, in_video: bool) -> FrameResult:
        following = analyzer.following() if in_video else None
        return analyzer.analyze_frame(Frame(portrait, "a"), following=following)

    still, moving = (of_frame(analyzer, in_video=in_video) for in_video in (False, True))
    assert still.model == named("mien-s")
    assert analyzer.classify_found([analyzer.find(Frame(portrait, "a"))]) == [still]
    assert moving.model == f"{named('mien-s')} + {named('mien-s-temporal')}"
    file = tmp_path / "copy.onnx"
    file.write_bytes(find_model("mien-s-int8").path.read_bytes())
    unsmoothed = of_frame(Analyzer(file, smooth_s=0), in_video=True)
    assert unsmoothed.model == named("mien-s-int8")  # whatever the file is called

    nobody = replace(still, source="b", faces=())
    assert list(nobody.to_dict())[-2:] == ["model", "faces"]
    assert nobody.to_rows()[0]["model"] == still.model
    for suffix in ("jsonl", "json", "csv", "parquet"):
        with mien.open_sink(tmp_path / f"t.{suffix}") as sink:
            for result in (moving, nobody):
                sink.write(result)
        assert list(read_results(tmp_path / f"t.{suffix}")) == [moving, nobody]


def test_a_sink_has_columns_for_all_that_is_answered(portrait_file: Path, tmp_path: Path) -> None:
    analyzer = Analyzer("mien-m", classes="ferplus", shape=True, identity=True)
    with analyzer.open_sink(tmp_path / "t.csv") as sink:
        sink.write(analyzer.analyze(portrait_file))
    head, row = csv.reader((tmp_path / "t.csv").read_text("utf-8").splitlines())
    found = dict(zip(head, row, strict=True))
    assert all(found[name] for name in ("prob_contempt", "yaw_deg", "person"))


def test_results_survive_json(portrait_file: Path) -> None:
    result = mien.analyze(portrait_file)
    plain = json.loads(json.dumps(result.to_dict()))
    assert plain == result.to_dict()
    assert plain["faces"][0]["probs"] == dict(result.faces[0].probs)


@pytest.mark.parametrize(
    ("threads", "ahead"),
    [(1, 0), (2, 7)],  # side by side, two wait before each of two stages, and three are in hand
)
def test_the_stream_is_lazy_and_its_memory_constant(threads: int, ahead: int) -> None:
    """Frames are pulled as they are needed, or a few ahead, and none is kept."""
    pulled = 0

    def endless() -> Iterator[Frame]:
        nonlocal pulled
        while True:
            pulled += 1
            yield Frame(np.zeros((240, 320, 3), np.uint8), "endless", pulled - 1, pulled / 30)

    source = Source("endless", endless(), is_video=True, frame_count=None)
    results = Analyzer(threads=threads).run(source)
    for _ in range(3):
        next(results)
    assert 3 <= pulled <= 3 + ahead
    tracemalloc.start()
    for _ in range(20):
        next(results)
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(40):
        next(results)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    # Less than one of the forty frames; side by side, what is under way differs by the moment.
    assert grown < (20 if ahead else 1) * 240 * 320 * 3
    source.close()  # ends the threads


def test_side_by_side_or_one_after_another_the_answers_are_the_same(
    portrait: UInt8Array,
) -> None:
    """The stages of a video share nothing but what flows from one to the next."""

    def frames() -> Iterator[Frame]:
        for i in range(30):
            view = np.ascontiguousarray(np.roll(portrait, 3 * i, axis=1))
            yield Frame(view, "film", i, i / 25)

    def answers(threads: int) -> list[FrameResult]:
        source = Source("film", frames(), is_video=True, frame_count=None)
        return [result for _, result in Analyzer(threads=threads, baseline_s=0.2).run(source)]

    alone, together = answers(1), answers(2)
    assert len(alone) == len(together) == 30
    for one, other in zip(alone, together, strict=True):
        assert [face.track_id for face in one.faces] == [face.track_id for face in other.faces]
        for mine, theirs in zip(one.faces, other.faces, strict=True):
            assert mine.box == pytest.approx(theirs.box, abs=0.01)
            assert dict(mine.probs) == pytest.approx(dict(theirs.probs), abs=1e-4)


def analyzed(analyzer: Analyzer, path: Path) -> tuple[int, FrameResult]:
    return id(analyzer), analyzer.analyze(path)


def test_an_analyzer_is_opened_anew_in_other_processes(
    portrait_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(find_model("mien-s").path, tmp_path / "own.onnx")
    monkeypatch.chdir(tmp_path)
    analyzer = Analyzer("own.onnx", views="flip", threads=1, smooth_s=0.3)
    monkeypatch.chdir(portrait_file.parent)  # the model is found all the same
    here = analyzer.analyze(portrait_file)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        tasks = [pool.submit(analyzed, analyzer, portrait_file) for _ in range(2)]
        (first, there), (second, _) = (task.result() for task in tasks)
    assert there == here
    assert first == second  # it was opened once


def test_a_gallery_goes_along(portrait_file: Path, tmp_path: Path) -> None:
    shutil.copy(portrait_file, tmp_path / "Eileen.jpg")
    analyzer = Analyzer(identity=True)
    strange = pickle.loads(pickle.dumps(analyzer))
    assert [face.person for face in strange.analyze(portrait_file).faces] == ["person-1"]
    analyzer.recognizer.learn(tmp_path, analyzer._find_in)  # type: ignore[union-attr]
    (tmp_path / "Eileen.jpg").unlink()
    known = pickle.loads(pickle.dumps(analyzer))
    assert [face.person for face in known.analyze(portrait_file).faces] == ["Eileen"]
    assert pickle.loads(pickle.dumps(analyzer)) is known


def test_what_cannot_be_pickled_says_so(analyzer: Analyzer) -> None:
    with pytest.raises(TypeError, match=r"mien-s\.onnx: an open network cannot be pickled"):
        pickle.dumps(analyzer.classifier)


def test_bad_sources_raise_one_kind_of_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        mien.analyze(tmp_path / "missing.jpg")
    with pytest.raises(mien.MienError):
        mien.analyze(tmp_path)


def test_batches_do_not_change_an_answer(analyzer: Analyzer, portrait: UInt8Array) -> None:
    """Crops of several sizes, in colour and grey; alone or 64 and more together."""
    crops = [portrait[60 + i % 5 : 180, 180 : 270 + i % 7] for i in range(70)]
    crops += [crop[:, :, 1] for crop in crops[:5]]
    together = analyzer.classifier.predict(crops)
    assert len(together) == 75
    assert together.embeddings.shape[0] == 75
    for i in (0, 33, 63, 64, 74):
        alone = analyzer.classifier.predict([crops[i]])
        assert alone.logits[0] == pytest.approx(together.logits[i], abs=1e-5)
    assert together.probs.sum(1) == pytest.approx(1)
    nothing = analyzer.classifier.predict([])
    assert nothing.probs.shape == (0, 7)
    assert nothing.expressions == []


def test_uncertain_follows_the_models_threshold(analyzer: Analyzer) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 60, 60), np.uint8)
    predictions = analyzer.classifier.predict(noise)
    below = predictions.probs.max(1) < analyzer.classifier.spec.uncertain_below
    assert (predictions.uncertain == below).all()


def test_annotation_draws_on_a_copy(analyzer: Analyzer, portrait: UInt8Array) -> None:
    result: FrameResult = analyzer.analyze_frame(Frame(portrait))
    before = portrait.copy()
    drawn = annotate(portrait, result.faces)
    assert (portrait == before).all()
    assert drawn.shape == portrait.shape
    x, y, w, h = (round(value) for value in result.faces[0].box)
    changed = (drawn != portrait).any(axis=2)
    assert changed[y : y + h, x].mean() > 0.9  # the left edge of the box
    assert not changed[y + h // 3 : y + h // 2, x + w // 3 : x + w // 2].any()  # not the face
    assert not changed[400:, 400:].any()
    assert (annotate(portrait, []) == portrait).all()


def test_every_class_has_a_colour_of_its_own() -> None:
    own = [f"mood {i}" for i in range(len(OTHER_COLOURS))]
    labels = (*own[:3], *EXPRESSIONS, "contempt", *own[3:])
    assert len(set(css_colours(labels))) == len(labels)
    assert css_colours(FERPLUS_EXPRESSIONS)[-1] == "#e69f00"
    box = (20.0, 60.0, 90.0, 90.0)
    probs = dict.fromkeys(own, 0.05)
    drawn = [
        annotate(np.full((200, 300, 3), 128, np.uint8), [
            FaceResult(box, 0.9, ((0.0, 0.0),) * 5, name, 0.05, False, probs)
        ])
        for name in own
    ]  # fmt: skip
    corners = [tuple(picture[150, 60].tolist()) for picture in drawn]  # the lower edge of the box
    assert corners == list(OTHER_COLOURS)


@pytest.mark.parametrize(
    ("expression", "colour"), [*COLOURS.items(), *((str(c), c) for c in OTHER_COLOURS)]
)
def test_tags_can_be_read_on_every_colour(
    monkeypatch: pytest.MonkeyPatch, expression: str, colour: tuple[int, int, int]
) -> None:
    """At least 4.5 to 1 (WCAG 2.2, AA)."""

    def luminance(pixel: UInt8Array) -> float:
        c = pixel / 255
        linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    box = (20.0, 60.0, 90.0, 90.0)
    monkeypatch.setitem(COLOURS, expression, colour)
    face = FaceResult(box, 0.9, ((0.0, 0.0),) * 5, expression, 0.9, False, {expression: 0.9})
    drawn = annotate(np.full((200, 300, 3), 128, np.uint8), [face])
    pixels = drawn[50:58, 20:80].reshape(-1, 3)  # within the tag, which sits on the box
    ground = np.array(colour)
    ink = pixels[np.abs(pixels.astype(int) - ground).sum(1).argmax()]
    dark, bright = sorted((luminance(ground), luminance(ink)))
    assert (bright + 0.05) / (dark + 0.05) >= 4.5


def test_an_anonymous_face_is_a_few_squares(analyzer: Analyzer, portrait: UInt8Array) -> None:
    found = analyzer.analyze_frame(Frame(portrait)).faces
    hidden = anonymize(portrait, found)
    face = max(found, key=lambda seen: seen.box[2])
    x, y, w, h = map(round, face.box)
    inside = hidden[y : y + h, x : x + w].reshape(-1, 3)
    assert len(np.unique(inside, axis=0)) <= 25
    assert (hidden[300:, :60] == portrait[300:, :60]).all()  # what is no face stays
    assert not analyzer.analyze_frame(Frame(hidden)).faces
    for box in (
        (-20.0, -20.0, 40.0, 40.0),
        (500.0, 500.0, 40.0, 40.0),
        (600.0, 0.0, 9.0, 9.0),
        (0.0, 0.0, inf, 9.0),
    ):
        anonymize(portrait, [replace(face, box=box)])  # at the edges, and outside


def test_bars_cover_no_face(analyzer: Analyzer, portrait: UInt8Array) -> None:
    (face,) = analyzer.analyze_frame(Frame(portrait)).faces
    grey = np.full((512, 640, 3), 128, np.uint8)
    crowds = {
        "at the bottom": [(200.0, 300.0, 150.0, 200.0)],
        "one above the other": [(200.0, 50.0, 150.0, 150.0), (220.0, 280.0, 150.0, 200.0)],
        "side by side": [(20.0 + 160 * i, 330.0, 150.0, 170.0) for i in range(4)],
        "filling it": [(0.0, 60.0, 640.0, 450.0)],
    }
    for name, boxes in crowds.items():
        drawn = annotate(grey, [replace(face, box=box) for box in boxes])
        for x, y, w, h in boxes:
            # The next face's tag may reach a little into this one.
            inside = drawn[round(y) + 6 : round(y + 0.7 * h), round(x) + 6 : round(x + w) - 6]
            assert (inside == 128).all(), name
    alone = annotate(grey, [replace(face, box=crowds["at the bottom"][0])])
    assert (alone[300:, 360:] != 128).any()  # the bars stand beside it


@pytest.mark.parametrize("box", [(-40, -30, 90, 120), (480, 470, 80, 90), (0, 0, 512, 512)])
def test_annotation_at_the_edges(
    analyzer: Analyzer, portrait: UInt8Array, box: tuple[float, float, float, float]
) -> None:
    (face,) = analyzer.analyze_frame(Frame(portrait)).faces
    for size in (portrait, portrait[:100, :80], portrait[:3, :2]):
        for uncertain in (True, False):
            shifted = replace(face, box=box, uncertain=uncertain, track_id=3)
            assert annotate(size, [shifted]).shape == size.shape


def test_posed_expressions_are_read_in_full_pictures(data: Path) -> None:
    """A quick look at real faces: every tenth of CK+ and of KDEF's frontal pictures.

    The full figures are in the model's card; this only catches a broken pipeline.
    """
    from mien.datasets import load_pictures
    from mien.evaluate import answer_pictures, of_pose

    analyzer = Analyzer()
    ckplus = answer_pictures(analyzer, load_pictures(data / "ckplus")[::10])
    assert ckplus.found.all()
    assert ckplus.correct.mean() > 0.6
    pictures = load_pictures(data / "kdef")[::10]
    answers = answer_pictures(analyzer, pictures)
    front, turned = of_pose(answers, "front"), of_pose(answers, "turned")
    assert len(front) + len(turned) - (~front.found).sum() == len(pictures)
    assert 0.27 < len(front) / len(pictures) < 0.40
    assert front.correct.mean() > 0.6


def test_a_model_by_path(analyzer: Analyzer) -> None:
    by_path = ExpressionClassifier(find_model().path)
    assert by_path.spec == analyzer.classifier.spec


@pytest.mark.parametrize("argument", ["views", "expect", "explain"])
def test_values_that_there_are_not_are_refused(argument: str) -> None:
    with pytest.raises(ValueError, match=f"{argument}: expected one of"):
        Analyzer(**{argument: "Balanced"})  # type: ignore[arg-type]
