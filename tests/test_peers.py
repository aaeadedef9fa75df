"""The page that compares mien with its peers: who found what, who failed, and how tables say it."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import page
import peers
import pytest
import slices
import tables
from crowd import Portrait, crowd
from limits import conv_macs
from onnx import TensorProto, helper
from peers import Answer, PeerError, Program, found_and_false, read_rightly

from mien.detection import FaceDetector
from mien.types import EXPRESSIONS, Frame, UInt8Array

TRUE = [100.0, 100.0, 80.0, 100.0]  # x, y, width, height


def answer(
    *frames: list[tuple[list[float], str]], rate: float = 10.0, peak_mb: float = 100.0
) -> Answer:
    """A run that found these faces."""
    return Answer(rate, list(frames), 0.5, 1.25, peak_mb, {"peer": "1.2"})


@pytest.mark.parametrize(
    ("found", "share", "false"),
    [
        ([TRUE], 1.0, 0.0),
        ([[60.0, 60.0, 170.0, 170.0]], 1.0, 0.0),  # with hair and shoulders: the same face
        ([[141.0, 100.0, 80.0, 100.0]], 0.0, 1.0),  # its centre is beside the face
        ([[130.0, 140.0, 20.0, 20.0]], 0.0, 1.0),  # a nose
        ([[-60.0, 0.0, 400.0, 300.0]], 0.0, 1.0),  # somebody's coat
        ([TRUE, [102.0, 101.0, 80.0, 100.0]], 1.0, 1.0),  # twice
        ([], 0.0, 0.0),
    ],
)
def test_a_box_is_the_face_whose_middle_and_size_it_has(
    found: list[list[float]], share: float, false: float
) -> None:
    assert found_and_false([[TRUE]], answer([(box, "sad") for box in found])) == (share, false)


def test_each_true_face_takes_the_nearest_box() -> None:
    other = [170.0, 100.0, 80.0, 100.0]
    # The first box lies in both faces and is nearer to the second.
    both: list[tuple[list[float], str]] = [
        ([138.0, 100.0, 80.0, 100.0], "sad"),
        ([101.0, 100.0, 80.0, 100.0], "sad"),
    ]
    assert found_and_false([[TRUE, other]], answer(both)) == (1.0, 0.0)
    # A run that ended early is judged by the frames that it got through.
    assert found_and_false([[TRUE], [TRUE]], answer([(TRUE, "sad")])) == (1.0, 0.0)


def test_the_largest_face_is_the_answer_and_none_is_wrong() -> None:
    small = [0.0, 0.0, 9.0, 9.0]
    run = answer([(small, "sad"), (TRUE, "happy")], [], [(TRUE, "sad")])
    assert read_rightly(["happy", "happy", "happy"], run) == (3, 2, 1)


def test_programs_take_turns_and_a_failing_one_costs_the_others_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def program(name: str, body: str) -> Program:
        code = f"open({str(log)!r}, 'a').write({name + ' '!r})\n{body}"
        return Program(name, lambda task, started: [sys.executable, "-c", code], tmp_path)

    said = json.dumps(
        {
            "rate": 4.0,
            "faces": [[[TRUE, "Fearful"]]],
            "import_s": 0.1,
            "first_s": 0.2,
            "peak_mb": 50.0,
            "versions": {},
        }
    )
    good, bad = f"print('noise'); print({said!r})", "raise ValueError('no weights')"
    programs = [program("a", good), program("b", bad), program("c", good)]
    found = peers.by_turns(programs, tmp_path / "task.json", 2)
    assert log.read_text("utf-8").split() == ["a", "b", "c", "a", "c"]
    assert isinstance(found["b"], PeerError)
    assert str(found["b"]) == "ValueError: no weights"
    runs = found["c"]
    assert not isinstance(runs, PeerError)
    assert [run.faces for run in runs] == [[[(TRUE, "fear")]]] * 2  # the class, in our spelling


def test_a_program_that_is_not_there_is_a_failure() -> None:
    missing = Program("x", lambda task, started: ["/nowhere/python"], Path("/nowhere"))
    with pytest.raises(PeerError, match="cannot be started"):
        peers.run(missing, Path("task.json"))


@pytest.mark.parametrize("is_video", [True, False])
def test_mien_is_run_as_its_peers_are(is_video: bool, portrait: UInt8Array, tmp_path: Path) -> None:
    task = peers.write_task(tmp_path, [portrait] * 3, is_video=is_video)
    run = peers.run(peers.python_program("mien", sys.executable), task)
    assert [[shown for _, shown in faces] for faces in run.faces] == [["happy"]] * 3
    ((x, y, width, height), _) = run.faces[0][0]
    assert x < 224 < x + width  # the tip of her nose
    assert y < 124 < y + height
    assert run.rate > 0
    assert 0 < run.import_s < run.first_s
    assert 50 < run.peak_mb < 5000
    assert run.versions["mien"]


def test_films_have_a_face_where_they_say(portrait: UInt8Array) -> None:
    detector = FaceDetector()
    person = Portrait(portrait, detector.detect(Frame(portrait)).boxes[0])
    image, boxes = list(crowd([person] * 5, 640, 480, 3))[2]
    assert image.shape == (480, 640, 3)
    assert len(boxes) == 5
    found = detector.detect(Frame(image)).boxes
    said = [([x, y, u - x, v - y], "") for x, y, u, v in found.tolist()]
    assert found_and_false([boxes], answer(said)) == (1.0, 0.0)


def test_macs_of_convolutions_are_counted_where_they_happen() -> None:
    weights = {"w": (4, 3, 3, 3), "d": (4, 1, 3, 3), "t": (4, 2, 2, 2)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "d"], ["b"], group=4, pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["b", "t"], ["y"], strides=[2, 2]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2, "u", "v"])],
        [
            helper.make_tensor(name, TensorProto.FLOAT, dims, np.zeros(dims, np.float32).ravel())
            for name, dims in weights.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model)
    halved = 10 * 8  # of 20 x 16
    expected = halved * (4 * 3 * 9) + halved * (4 * 9) + halved * (4 * 2 * 4)
    assert conv_macs(model.SerializeToString(), 20, 16) == expected


def film(answers: peers.Answers, faces: int = 1) -> tables.Film:
    """A film of one frame."""
    alone = {
        "frames": 100,
        "frames_per_s": 50.0,
        "slowest": 40.0,
        "fastest": 60.0,
        "decode_frames_per_s": 200.4,
        "latency_ms": {"p50": 20.0, "p95": 30.0, "p99": 40.0},
        "stage_ms": {"decode": 5.0, "detect": 15.0},
    }
    return tables.Film(1280, 720, faces, [[(100.0, 100.0, 80.0, 100.0)]], answers, alone, 300.0)


def test_a_cell_says_speed_and_recall_and_a_failure_is_told_once() -> None:
    notes = tables.Notes()
    runs = [answer([(TRUE, "sad")], rate=rate) for rate in (10.0, 30.0, 20.0)]
    answers: peers.Answers = {"mien": list(runs), "x": PeerError("out of memory")}
    lines = tables.films_table([film(answers), film(answers, 5)], notes).splitlines()
    assert lines[0] == "| film | mien | x |"
    assert lines[2] == "| 1280 x 720, 1 face | 20.0 (10.0 to 30.0); 100%; 0.00 | failed |"
    where = "1280 x 720, 1 face; 1280 x 720, 5 faces"
    assert notes.lines() == [f"- x failed ({where}): out of memory"]


@pytest.mark.parametrize(
    ("make", "row"),
    [
        (
            lambda answers, notes: tables.pictures_table(answers, ["sad"], notes),
            "| mien | 10.0 (10.0 to 10.0) | 1 | 100.0% | 100.0% (20.7% to 100.0%) |",
        ),
        (
            lambda answers, notes: tables.costs_table(answers, {"mien": 354.2}, notes),
            "| mien | 0.50 (0.50 to 0.50) | 1.25 (1.25 to 1.25) | 100 (100 to 100) | 354 |",
        ),
        (
            lambda answers, notes: tables.alone_table([film(answers)]),
            "| 1280 x 720, 1 face | 50.0 (40.0 to 60.0) | 200 | 300 | 20.0, 30.0, 40.0 |",
        ),
        (
            lambda answers, notes: tables.growth_table({}, [film(answers, 5)]),
            "| 100 frames, 5 faces | 2.00 | 20.00 | 4.00 |",
        ),
        (
            lambda answers, notes: tables.stages_table(film(answers).alone),
            "| decode | 5.00 | 25.0% |",
        ),
        (lambda answers, notes: tables.versions_table([answers]), "| mien | peer 1.2 |"),
    ],
)
def test_rows(make: Callable[[peers.Answers, tables.Notes], str], row: str) -> None:
    lines = make({"mien": [answer([(TRUE, "sad")])]}, tables.Notes()).splitlines()
    assert lines[2] == row
    assert all(line.count("|") == lines[0].count("|") for line in lines)


def test_the_command_on_the_page_names_no_place_of_this_machine() -> None:
    parser = page.make_parser()
    options = parser.parse_args(
        ["--fer", "/home/me/python", "--data", "kdef", "--sizes", "640x480", "320x240"]
    )
    assert page.command_of(options, parser) == (
        "python benchmarks/page.py --fer PYTHON --data kdef --sizes 640x480 320x240"
    )


def test_paragraphs_are_wrapped_and_tables_are_not() -> None:
    long = "word " * 60
    assert max(map(len, tables.wrapped(long).splitlines())) <= 105
    assert tables.wrapped(f"| {long} |") == f"| {long} |"


def test_fer_reads_the_boxes_of_our_detector(
    portrait: UInt8Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fer itself is not here; what it would be given is, and what is made of its answer."""
    tasks = []

    def run(program: Program, task: Path, *, patience_s: float) -> Answer:
        tasks.append(json.loads(task.read_text("utf-8")))
        return Answer(1.0, [[(TRUE, "sad")], [(TRUE, "happy")]], 0.1, 0.2, 9.0, {"fer": version})

    monkeypatch.setattr(slices, "run", run)
    reader, version = slices.FerReader(sys.executable), slices.FerReader.version
    face = FaceDetector().detect(Frame(portrait)).select([0])
    crop = portrait[62:178, 168:284, 0]
    for image, found in ((portrait, face), (crop, None)):
        for _ in range(2):
            reader.look(image, found)
        probs, uncertain = reader.answers()
        assert not uncertain.any()
        assert [EXPRESSIONS[i] for i in probs.argmax(1)] == ["sad", "happy"]
    pictures, crops = tasks
    left, top, right, bottom = face.boxes[0]
    assert pictures["boxes"][0] == pytest.approx([left, top, right - left, bottom - top], abs=1)
    assert (pictures["reach"], pictures["sizes"]) == (10, [[512, 512]] * 2)
    assert (crops["reach"], crops["boxes"]) == (0, [[0, 0, 116, 116]] * 2)

    reader.look(crop, None)  # one picture, two answers
    with pytest.raises(PeerError, match=r"1 answers, got 25\.10\.3 and 2"):
        reader.answers()
    version = "1"
    for _ in range(2):
        reader.look(crop, None)
    with pytest.raises(PeerError, match=r"expected fer 25\.10\.3 and 2 answers, got 1 "):
        reader.answers()
