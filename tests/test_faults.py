"""Faults that may come at any time, and what is promised then (docs/reliability.md)."""

import errno
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from mien import weights
from mien.classifier import ExpressionClassifier
from mien.cli import main
from mien.errors import ModelError, SinkError, SourceError
from mien.inference import Network
from mien.models import find_model
from mien.pipeline import Analyzer
from mien.sinks import open_sink
from mien.sources import live, open_source
from mien.types import FrameResult, UInt8Array
from mien.weights import read_weights
from tests.batches import batch, inline, own, pictures, rows, truth
from tests.films import write_film

__all__ = ["inline", "own", "pictures", "truth"]  # fixtures

OUTPUTS = ["r.jsonl", "r.json", "r.csv", "r.parquet", "p.png", "v.mp4", "v.mkv", "v.webm"]
SIDE = 64


def fill(target: Path, frames: int) -> None:
    """Write so many results, and noise for pictures of them, which nothing compresses."""
    noise = np.random.default_rng(0)
    count = 1 if target.suffix == ".png" else frames
    with open_sink(target, overwrite=True) as sink:
        for i in range(count):
            image = noise.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
            sink.write(FrameResult("clip.mp4", i, i / 25, SIDE, SIDE), image)


# A full disk, a folder that takes nothing, a folder that is gone.

SHORT_OF_SPACE = """
import resource, sys
from pathlib import Path
from mien.errors import SinkError
from tests.test_faults import fill
targets = [Path(name) for name in sys.argv[1:]]
for target in targets:
    fill(target.with_name("ample" + target.suffix), 3)  # loads all that is needed
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
for target in targets:
    try:
        fill(target, 3000 if target.suffix in (".json", ".jsonl", ".csv", ".parquet") else 60)
    except SinkError as error:
        print(error)
"""


@pytest.fixture(scope="module")
def short_of_space(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], str]:
    """A folder for which the system has ended every write beyond 4,096 bytes, in one process for
    all kinds of outputs; the lines that it said, and what it complained of.
    """
    folder = tmp_path_factory.mktemp("full")
    done = subprocess.run(
        [sys.executable, "-c", SHORT_OF_SPACE, *(str(folder / name) for name in OUTPUTS)],
        capture_output=True,
        text=True,
        check=False,
    )
    return folder, done.stdout.splitlines(), done.stderr


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_output_for_which_there_is_no_room(
    short_of_space: tuple[Path, list[str], str], name: str
) -> None:
    """One line, and no file that looks whole."""
    folder, lines, complaints = short_of_space
    assert complaints == ""
    (line,) = (line for line in lines if f"{folder / name}: " in line)
    assert "cannot be written (File too large)" in line
    assert len(lines) == len(OUTPUTS)
    assert not (folder / name).exists()


def test_a_gap_is_never_closed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Space comes back between a failed write and the end: the target still does not appear."""
    sink = open_sink(tmp_path / "r.jsonl")
    result = FrameResult("clip.mp4", 0, 0.0, 64, 64)
    sink.write(result)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(sink, "_write", full)
        with pytest.raises(SinkError, match="No space left"):
            sink.write(result)
    sink.close()
    assert not (tmp_path / "r.jsonl").exists()
    assert (tmp_path / ".r.part.jsonl").read_text("utf-8").count("\n") == 1  # what came before it


@contextmanager
def nobody_else() -> Iterator[None]:
    """As a user to whom nothing belongs, where the tests run as one who may do everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A folder that all can see and nobody can write to."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_read_only_folder(tmp_path: Path, closed_folder: Path, name: str) -> None:
    fill(tmp_path / name, 3)  # loads all that is needed
    with (
        nobody_else(),
        pytest.raises(SinkError, match=rf"{name}: cannot be written \(Permission denied"),
    ):
        fill(closed_folder / name, 3)
    assert list(closed_folder.iterdir()) == []


def test_a_folder_that_cannot_be_made(
    closed_folder: Path, portrait_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        nobody_else(),
        pytest.raises(SinkError, match=r"copies/: cannot be made \(Permission denied"),
    ):
        open_sink(f"{closed_folder}/copies/")
    assert main(["analyze", str(portrait_file), "--out", f"{os.devnull}/copies/"]) == 2
    assert main(["demo", "--out", f"{os.devnull}/demo"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all("cannot be made" in line for line in lines)


def test_failures_that_cannot_be_listed(
    tmp_path: Path, portrait_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The list of failures has no place: said in one line, and the results are there."""
    (tmp_path / "failures.jsonl").mkdir()
    out = tmp_path / "r.jsonl"
    bad = tmp_path / "gone.jpg"
    assert main(["analyze", str(portrait_file), str(bad), "--out", str(out)]) == 2
    err = capsys.readouterr().err
    assert "failures.jsonl: cannot be written (Is a directory)" in err
    assert "Traceback" not in err
    assert out.read_text("utf-8").count("\n") == 1


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_output_folder_removed_meanwhile(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    sink = open_sink(folder / name)
    sink.write(FrameResult("clip.mp4", 0, 0.0, 64, 64), np.full((64, 64, 3), 90, np.uint8))
    shutil.rmtree(folder)
    with pytest.raises(SinkError, match=rf"{name}: cannot be written \(No such file"):
        sink.close()
    assert not folder.exists()


def test_a_batchs_folder_removed_meanwhile(
    tmp_path: Path,
    pictures: Path,
    truth: list[dict[str, Any]],
    inline: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One line; the same command makes the batch again."""
    out, find, count = tmp_path / "out", Analyzer.run, [0]

    def run(self: Analyzer, source: Any) -> Any:
        count[0] += 1
        if count[0] == 3:
            shutil.rmtree(out)
        return find(self, source)

    monkeypatch.setattr(Analyzer, "run", run)
    with pytest.raises(SinkError, match=r"cannot be written \(No such file.*the same command"):
        batch([str(pictures)], out, part_size=2)
    assert batch([str(pictures)], out, part_size=2).before == 0
    assert rows(out) == truth


# Memory.

SHORT_OF_MEMORY = """
import sys
from mien.batch.worker import limit_memory
from mien.cli import main
from mien.pipeline import analyze
analyze(sys.argv[1])  # loads all that is needed
limit_memory(700)
sys.exit(main(["analyze", *sys.argv[1:], "--threads", "1"]))
"""


def test_a_picture_for_which_there_is_no_memory(tmp_path: Path, portrait_file: Path) -> None:
    """It is a failure like any other, and costs the others nothing."""
    large = tmp_path / "large.png"
    Image.new("RGB", (10_000, 10_000)).save(large, compress_level=1)
    sound = tmp_path / "a.png"
    shutil.copy(portrait_file, sound)
    after = tmp_path / "z.png"
    shutil.copy(portrait_file, after)
    done = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY, str(sound), str(large), str(after)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 3, done.stderr
    assert [line.split('"')[7] for line in done.stdout.splitlines()] == [str(sound), str(after)], (
        done.stderr
    )
    assert re.search(r"large\.png: .*more memory", done.stderr)
    assert "Traceback" not in done.stderr


def test_no_memory_after_decoding(
    tmp_path: Path,
    portrait_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(portrait_file, tmp_path / "a.png")
    shutil.copy(portrait_file, tmp_path / "b.png")
    find = Analyzer.run

    def run(self: Analyzer, source: Any) -> Any:
        if source.name.endswith("a.png"):
            raise MemoryError
        return find(self, source)

    monkeypatch.setattr(Analyzer, "run", run)
    out = tmp_path / "r.jsonl"
    assert main(["analyze", str(tmp_path), "--out", str(out)]) == 3
    assert "a.png: needs more memory than there is" in capsys.readouterr().err
    assert '"happy"' in out.read_text("utf-8")


# Clocks.


@pytest.mark.parametrize("jump_s", [-1e9, 1e9], ids=["back", "forth"])
def test_the_systems_clock_is_set_meanwhile(
    tmp_path: Path, portrait: UInt8Array, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    """Following, tracks, segments and times of a video come from the video alone."""
    small = np.asarray(Image.fromarray(portrait).resize((280, 280)))
    clip = tmp_path / "clip.mp4"
    write_film(clip, [small[i : i + 256, i : i + 256] for i in range(12)], fps=10)

    def seen() -> str:
        out = tmp_path / "faces.segments.csv"
        with open_sink(out, overwrite=True) as sink:
            results = list(Analyzer().stream(clip))
            for result in results:
                sink.write(result)
        return str([result.to_dict() for result in results]) + out.read_text("utf-8")

    before, count, clock = seen(), [0], time.time

    def jumping() -> float:
        count[0] += 1
        return clock() + jump_s * (count[0] % 2)

    monkeypatch.setattr(time, "time", jumping)
    assert seen() == before


def picture(time_s: float) -> av.VideoFrame:
    """A frame of a live source."""
    frame = av.VideoFrame.from_ndarray(np.zeros((2, 2, 3), np.uint8), format="rgb24")
    frame.time_base = Fraction(1, 1000)
    frame.pts = round(time_s * 1000)
    return frame


class Camera:
    """A live source that gives frames with these times, then ends as it is told to."""

    def __init__(self, times: list[float], end: Callable[[], None], seen: list[float]) -> None:
        self.times, self.end, self.seen = times, end, seen

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def demux(self, _stream: object) -> Iterator[SimpleNamespace]:
        for number, time_s in enumerate(self.times):
            shown = picture(time_s)
            yield SimpleNamespace(decode=lambda shown=shown: [shown])
            deadline = time.monotonic() + 10
            while len(self.seen) <= number and time.monotonic() < deadline:
                time.sleep(0.001)
        self.end()


def watch(
    monkeypatch: pytest.MonkeyPatch, times: list[float], end: Callable[[], None] = lambda: None
) -> Iterator[float]:
    """The times of the frames that come from a camera with these."""
    seen: list[float] = []
    camera, stream = Camera(times, end, seen), SimpleNamespace(sample_aspect_ratio=None)
    monkeypatch.setattr(live, "open_container", lambda *_, **__: (camera, stream))
    monkeypatch.setattr(live, "_camera", lambda number: ("", {}))
    with open_source("0") as source:
        for frame in source:
            seen.append(frame.time_s)
            yield frame.time_s


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0], ids=["back", "forth"])
def test_a_cameras_clock_is_set_meanwhile(monkeypatch: pytest.MonkeyPatch, jump_s: float) -> None:
    """Times go on: they neither stand still nor leap."""
    times = [7200.0, 7200.04, 7200.08]
    seen = list(watch(monkeypatch, [*times, *(each + jump_s for each in (7200.12, 7200.16))]))
    assert len(seen) == 5
    assert seen[:3] == pytest.approx([0.0, 0.04, 0.08])
    assert 0.08 < seen[3] < 20
    assert seen[4] - seen[3] == pytest.approx(0.04, abs=1e-3)


# Cameras.


def unplugged() -> None:
    raise av.error.FFmpegError(errno.ENODEV, "No such device")


def crashed() -> None:
    raise RuntimeError("the driver is gone")


@pytest.mark.parametrize(
    ("end", "says"),
    [
        (unplugged, r"^0: the stream broke off \(No such device\)\. The results before it"),
        (crashed, r"^0: cannot be read any more \(the driver is gone\)"),
    ],
)
def test_a_camera_unplugged(
    monkeypatch: pytest.MonkeyPatch, end: Callable[[], None], says: str
) -> None:
    """The frames before are kept, and whoever watches is told, not left waiting."""
    frames = watch(monkeypatch, [0.0, 0.1, 0.2], end)
    assert [next(frames) for _ in range(3)] == pytest.approx([0.0, 0.1, 0.2])
    with pytest.raises(SourceError, match=says):
        next(frames)


def test_a_camera_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(watch(monkeypatch, [0.0, 0.1])) == pytest.approx([0.0, 0.1])


# Model files.


class Trap:
    """What a pickle can do to whoever opens it."""

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return Path.write_text, (Path(os.environ["MIEN_TRAP"]), "sprung")  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["m.onnx", "m.pkl", "m.pt"])
def test_a_pickle_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("MIEN_TRAP", str(tmp_path / "trap"))
    file = tmp_path / name
    file.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ModelError, match="not a usable ONNX model"):
        ExpressionClassifier(file)
    assert not (tmp_path / "trap").exists()
    pickle.loads(file.read_bytes())  # it would have gone off
    assert (tmp_path / "trap").exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_model_file_cut_off(tmp_path: Path, share: float) -> None:
    data = find_model().path.read_bytes()
    file = tmp_path / "m.onnx"
    file.write_bytes(data[: round(share * len(data))])
    with pytest.raises(ModelError, match=r"m\.onnx: (not a usable|an ONNX file without)"):
        ExpressionClassifier(file)


@pytest.mark.parametrize(
    ("home", "name"),
    [
        (weights.ASSETS, "centerface.onnx"),
        (weights.ASSETS, "face_mesh.onnx"),
        (weights.ASSETS, "face_recognition.onnx"),
        (weights.PACKAGE, "cover.onnx"),
        (weights.PACKAGE, "centerface-int8.onnx"),
    ],
)
def test_weights_altered_by_one_byte(tmp_path: Path, home: Path, name: str) -> None:
    data = bytearray(read_weights(name, home))
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    shutil.copy(home / weights.SUMS, tmp_path)
    with pytest.raises(ModelError, match="altered or incomplete: expected SHA-256"):
        read_weights(name, tmp_path)


def test_every_network_in_the_package_has_its_hash() -> None:
    shipped = weights.PACKAGE / "shipped_models"  # these stand in the registry
    files = [file for file in weights.PACKAGE.rglob("*.onnx") if file.parent != shipped]
    assert len(files) >= 4
    for file in files:
        read_weights(file.name, file.parent)


def model_with_outside_weights(location: str) -> bytes:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "16")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in ("x", "y")]
    node = helper.make_node("Add", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [tensor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("place", ["secret.bin", "./secret.bin", "../secret.bin", "{}/secret.bin"])
def test_a_model_that_wants_other_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Neither beside it, nor above, nor anywhere, nor in the current folder."""
    inside = tmp_path / "inside"
    inside.mkdir()
    for folder in (tmp_path, inside):
        np.arange(4, dtype=np.float32).tofile(folder / "secret.bin")
    monkeypatch.chdir(inside)
    model = model_with_outside_weights(place.format(tmp_path))
    # It is sound: with the file in its place, the library that wrote it reads it.
    if place == "secret.bin":
        (inside / "m.onnx").write_bytes(model)
        (tensor,) = onnx.load("m.onnx").graph.initializer
        assert np.frombuffer(tensor.raw_data, np.float32).tolist() == [0, 1, 2, 3]
    with pytest.raises(ModelError, match=r"m\.onnx: not a usable ONNX model .*External data path"):
        Network(model, "m.onnx")


# A process that is killed.

KILLED = """
import os, signal, sys
from mien.sinks import open_sink
from mien.types import FrameResult
sink = open_sink(sys.argv[1])
for i in range(5000):
    sink.write(FrameResult("clip.mp4", i, i / 25, 128, 128))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("name", ["r.jsonl", "r.csv", "r.json"])
def test_a_killed_process_leaves_no_half_file(tmp_path: Path, name: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / name)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [file.name for file in tmp_path.iterdir()] == [f".r.part{Path(name).suffix}"]
    fill(tmp_path / name, 3)  # the next run takes its place
    assert [file.name for file in tmp_path.iterdir()] == [name]
