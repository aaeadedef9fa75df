"""Parts of videos, and sources that cannot be opened twice: streams, cameras, standard input."""

import errno
import io
import json
import os
import shutil
import socket
import sys
import threading
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import ExifTags, Image, features

from mien.cli import main
from mien.errors import SourceError
from mien.sources import Span, expand_source, live, open_source, shown_name
from mien.sources.video import open_container
from tests.films import write_film
from tests.test_sources import write_video

TIMES = [i / 30 for i in range(30)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One second; frame i is of grey level 10 * i, modulo 250."""
    file = tmp_path_factory.mktemp("clip") / "v.mkv"
    write_video(file, TIMES)
    return file


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (Span(), range(30)),
        (Span(every=4), range(0, 30, 4)),
        (Span(fps=10), range(0, 30, 3)),
        (Span(fps=100), range(30)),
        (Span(fps=20), [i for i in range(30) if i % 3 != 1]),
        (Span(start_s=0.5), range(15, 30)),
        (Span(start_s=0.28, end_s=0.62), range(9, 19)),
        (Span(end_s=0.1), range(3)),
        (Span(start_s=0.5, every=5), [15, 20, 25]),
    ],
)
def test_a_part_of_a_video(clip: Path, span: Span, expected: Any) -> None:
    with open_source(clip, span=span) as source:
        frames = list(source)
    assert [frame.time_s for frame in frames] == pytest.approx(
        [TIMES[i] for i in expected], abs=2e-3
    )
    levels = [frame.image.mean() for frame in frames]
    assert levels == pytest.approx([10 * i % 250 for i in expected], abs=4)


@pytest.mark.parametrize("container", ["ts", "mpg", "mkv"])
def test_a_part_that_begins_far_from_a_key_frame(tmp_path: Path, container: str) -> None:
    """MPEG's containers know no key frames; one every four seconds, and the part begins at 7."""
    noise = np.random.default_rng(0).integers(0, 256, (8, 48, 64, 3), np.uint8)
    options = {"g": "40", "keyint_min": "40", "sc_threshold": "0", "preset": "ultrafast"}
    codec = "mpeg2video" if container == "mpg" else "libx264"
    film, fps = tmp_path / f"v.{container}", 10 if container != "mpg" else 25
    write_film(film, [noise[i % 8] for i in range(8 * fps)], fps=fps, options=options, codec=codec)
    with open_source(film) as source:
        whole = list(source)
    start_s = whole[0].time_s + 7
    with open_source(film, span=Span(start_s=start_s)) as source:
        part = list(source)
    expected = [frame for frame in whole if frame.time_s >= start_s]
    assert len(expected) >= fps - 1
    assert [frame.time_s for frame in part] == [frame.time_s for frame in expected]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(part, expected, strict=True))


def test_uneven_times_are_thinned_by_the_clock(tmp_path: Path) -> None:
    times = [0.0, 0.01, 0.02, 0.5, 0.51, 0.98, 1.1, 3.0, 3.05, 3.2]
    write_video(tmp_path / "v.mkv", times)
    with open_source(tmp_path / "v.mkv", span=Span(fps=5)) as source:
        found = [frame.time_s for frame in source]
    assert found == pytest.approx([0.0, 0.5, 0.98, 3.0, 3.2], abs=2e-3)


def test_a_start_behind_the_end_is_named(clip: Path) -> None:
    with (
        pytest.raises(SourceError, match=r"ends at 0\.967 s, before 7 s"),
        open_source(clip, span=Span(start_s=7)) as source,
    ):
        list(source)


@pytest.mark.parametrize("wrong", [{"start_s": -1}, {"end_s": 0}, {"every": 0}, {"fps": 0}])
def test_a_part_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Span(**wrong)


def test_wrong_options_are_named(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options in (["--start", "2", "--end", "1"], ["--every", "0"], ["--fps", "-3"]):
        assert main(["analyze", str(clip), *options]) == 2
        assert options[0] in capsys.readouterr().err


def test_frames_keep_their_numbers_on_the_command_line(
    clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["analyze", str(clip), "--json", "--every", "10", "--end", "0.9"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["frame"] for row in rows] == [0, 10, 20]


def pipe(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Make `data` the standard input, which cannot be sought in."""

    class Onwards(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: int) -> int:
            raise io.UnsupportedOperation("seek")

    stream = io.TextIOWrapper(io.BufferedReader(Onwards(data)))
    monkeypatch.setattr(sys, "stdin", stream)


def test_standard_input_that_is_closed_or_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)  # as Python has it for a service
    with pytest.raises(SourceError, match="standard input is empty"):
        open_source("-")
    write_video(tmp_path / "v.mp4", TIMES)
    pipe(monkeypatch, (tmp_path / "v.mp4").read_bytes())

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(SourceError, match=r"-: cannot be kept in .*No space left.*TMPDIR"):
        open_source("-")


def test_videos_on_standard_input(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(tmp_path / "v.mp4", TIMES)  # its index lies at the end
    film = (tmp_path / "v.mp4").read_bytes()
    quicktime = film.replace(b"ftyp", b"wide", 1)  # as it once began
    for data, span, frames in (
        (film, Span(), 30),
        (quicktime, Span(), 30),
        (clip.read_bytes(), Span(start_s=0.5), 15),
    ):
        pipe(monkeypatch, data)
        with open_source("-", span=span) as source:
            assert source.is_video
            assert len(list(source)) == frames


def jpegs(count: int) -> bytes:
    """Pictures one after the other, as FFmpeg writes MJPEG; the first has a preview in its head."""
    films = []
    for i in range(count):
        picture = io.BytesIO()
        Image.new("RGB", (64, 48), (9 * i,) * 3).save(picture, "jpeg")
        films.append(picture.getvalue())
    previews = 2 * films[0]
    segment = b"\xff\xef" + (len(previews) + 2).to_bytes(2, "big") + previews
    return films[0][:2] + segment + films[0][2:] + b"".join(films[1:])


def test_jpegs_on_standard_input_are_a_video_where_another_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for data, frames in ((jpegs(1), 1), (jpegs(20), 20)):
        pipe(monkeypatch, data)
        with open_source("-") as source:
            assert source.is_video == (frames > 1)
            assert len(list(source)) == frames
    for name in ("v.mjpeg", "v.mjpg"):
        (tmp_path / name).write_bytes(jpegs(20))
        with open_source(tmp_path / name) as source:
            assert source.is_video
            assert len(list(source)) == 20


def test_a_picture_of_several_views_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of phones: another JPEG follows, and the first one says so."""
    picture = io.BytesIO()
    views = [Image.new("RGB", (64, 48), (90 * i,) * 3) for i in range(2)]
    views[0].save(picture, "MPO", save_all=True, append_images=views[1:])
    assert picture.getvalue().count(b"\xff\xd9\xff\xd8\xff") == 1
    pipe(monkeypatch, picture.getvalue())
    with open_source("-") as source:
        (frame,) = source
    assert not source.is_video
    assert frame.image.max() == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_read_from_its_beginning(tmp_path: Path) -> None:
    """So is a shell's `<(command)`. What is looked at to say what it is would be gone."""
    write_video(tmp_path / "v.ts", TIMES)
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    with open_source(tmp_path / "v.ts") as source:
        whole = [frame.time_s for frame in source]
    for name, times in (("v.ts", whole), ("a.png", [0.0])):
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)
        data = (tmp_path / name).read_bytes()
        writer = threading.Thread(target=fifo.write_bytes, args=(data,))
        writer.start()
        with open_source(fifo) as source:
            assert [frame.time_s for frame in source] == times
        writer.join()
        fifo.unlink()


@pytest.mark.parametrize("form", ["png", "avif"])  # the latter FFmpeg takes for a video
def test_a_picture_on_standard_input(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    if form == "avif" and not features.check("avif"):
        pytest.skip("this build of Pillow does not write AVIF")
    picture = io.BytesIO()
    Image.fromarray(np.full((20, 30, 3), 9, np.uint8)).save(picture, form)
    pipe(monkeypatch, picture.getvalue())
    with open_source("-") as source:
        assert not source.is_video
        (frame,) = source
    assert frame.image.shape == (20, 30, 3)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64), "^-: HEIF picture that cannot be read"),
        (b"", "standard input is empty"),
        (b"words " * 100, "^-: "),
    ],
    ids=["heif", "nothing", "words"],
)
def test_neither_on_standard_input(monkeypatch: pytest.MonkeyPatch, data: bytes, says: str) -> None:
    pipe(monkeypatch, data)
    with pytest.raises(SourceError, match=says):
        open_source("-")


def test_a_pipe_that_begins_slowly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three bytes, then the rest: still the MP4 that it is."""
    write_video(tmp_path / "v.mp4", TIMES)
    data = (tmp_path / "v.mp4").read_bytes()
    parts = [data[:3], data[3:]]

    class Slow(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            part = parts.pop(0) if parts else b""
            taken, rest = part[: len(buffer)], part[len(buffer) :]
            if rest:
                parts.insert(0, rest)
            buffer[: len(taken)] = taken
            return len(taken)

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Slow())))
    with open_source("-") as source:
        assert len(list(source)) == 30


def test_names_of_live_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("-", "0", "rtsp://host/a?b=*", "HTTP://host/x.mp4"):
        assert live.is_live(name)
        assert expand_source(name) == ([name], [])
    Path("0").write_bytes(b"x")
    for name in ("0", "a.mp4", "C:/x.mp4", "-x", "1.5"):
        assert not live.is_live(name)


def play(
    monkeypatch: pytest.MonkeyPatch, clip: Path, rate: float, damaged: Container[int] = ()
) -> None:
    """Let every camera show the clip, frame by frame as fast as a camera would, and to one reader
    at a time. Packets of these numbers cannot be decoded.
    """
    original, held = open_container, threading.Lock()

    class Damaged:
        def decode(self) -> None:
            raise av.error.InvalidDataError(errno.EINVAL, "Invalid data found")

    class Slow:
        def __init__(self, container: av.container.InputContainer) -> None:
            self.container = container

        def __enter__(self) -> None:
            pass

        def __exit__(self, *_: object) -> None:
            self.container.close()
            held.release()

        def demux(self, stream: av.VideoStream) -> Iterator[Any]:
            for number, packet in enumerate(self.container.demux(stream)):
                time.sleep(1 / rate)
                yield Damaged() if number in damaged else packet

    def opened(*arguments: Any, **options: Any) -> Any:
        if not held.acquire(blocking=False):
            raise SourceError("0: is busy")
        container, stream = original(*arguments, **options)
        return Slow(container), stream

    monkeypatch.setattr(live, "open_container", opened)
    monkeypatch.setattr(live, "_camera", lambda number: (str(clip), {}))


def test_a_slow_reader_gets_the_newest_frame(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, clip, rate=100)
    with open_source("0") as source:
        assert source.is_live
        assert source.frame_count is None
        numbers, times = [], []
        for frame in source:
            numbers.append(frame.index)
            times.append(frame.time_s)
            time.sleep(0.05)
    assert 3 <= len(numbers) <= 12  # of 30
    assert numbers[-1] == 29  # never far behind, and the end is not lost
    assert times == pytest.approx([TIMES[i] for i in numbers], abs=2e-3)


@pytest.mark.parametrize(
    ("span", "says"),
    [
        (Span(7), r"^0: ends at 0\.967 s, before 7 s \(--start\)"),
        (Span(0.01, 0.02), r"^0: shows no frame from 0\.01 s \(--start\) up to 0\.02 s \(--end\)"),
    ],
)
def test_a_camera_that_shows_nothing_when_it_should(
    clip: Path, monkeypatch: pytest.MonkeyPatch, span: Span, says: str
) -> None:
    """As of a file: there would be no output, and no word why."""
    play(monkeypatch, clip, rate=100)
    with pytest.raises(SourceError, match=says), open_source("0", span=span) as source:
        list(source)


def test_a_cameras_frames_are_numbered_from_the_start_too(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, clip, rate=50)
    with open_source("0", span=Span(start_s=0.4, every=3)) as source:
        found = [(frame.index, frame.time_s) for frame in source]
    first, first_s = found[0]
    assert first == 0
    assert first_s >= 0.4 - 2e-3
    assert all(index % 3 == 0 for index, _ in found)
    times = [first_s + index / 30 for index, _ in found]
    assert [time_s for _, time_s in found] == pytest.approx(times, abs=0.01)


def test_leaving_a_camera_ends_its_thread(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, clip, rate=50)
    with open_source("0", span=Span(end_s=0.2)) as source:
        assert max(frame.index for frame in source) == 5
    deadline = time.monotonic() + 5
    while any(t.name == "mien reads 0" for t in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_camera_can_be_opened_again_at_once(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has left it holds it no longer: a system gives it to one reader at a time."""
    play(monkeypatch, clip, rate=30)
    for _ in range(3):
        with open_source("0", span=Span(end_s=0.1)) as source:
            assert list(source)


def test_packets_that_cannot_be_decoded(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One costs its picture. Where nothing else comes, the source has broken off."""
    play(monkeypatch, clip, rate=100, damaged={2, 29})
    with open_source("0") as source:
        assert max(frame.time_s for frame in source) > 0.8
    monkeypatch.setattr(live, "_UNDECODABLE", 9)
    play(monkeypatch, clip, rate=100, damaged=range(10, 30))
    with (
        pytest.raises(SourceError, match=r"^0: the stream broke off \(Invalid data found"),
        open_source("0") as source,
    ):
        list(source)


def test_a_live_sources_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes by the stamps, as long as they go on; else by the time that has passed here."""
    now_s = [50.0]
    monkeypatch.setattr("mien.sources.live.time.monotonic", lambda: now_s[0])
    clock = live._Clock()

    def read(at_s: float, stamp_s: float | None) -> float:
        now_s[0] = at_s
        return clock.read(stamp_s)

    assert read(50.0, 7200.0) == 0.0
    assert read(50.3, 7200.04) == pytest.approx(0.04)  # it came late
    assert read(50.3, 7200.02) == pytest.approx(0.041)  # never back
    assert read(53.0, 9.0) == pytest.approx(3.0)  # set back
    assert read(53.1, 9.1) == pytest.approx(3.1)
    assert read(54.0, 900.0) == pytest.approx(4.0)  # and forth
    assert read(94.0, 940.0) == pytest.approx(44.0)  # a pause is no leap
    clock.source_opened()
    assert read(99.0, 940.5) == pytest.approx(49.0)
    clock.source_opened()
    assert read(100.0, None) == pytest.approx(50.0)
    assert read(100.5, None) == pytest.approx(50.5)


def test_a_camera_that_is_not_there_is_named() -> None:
    with (
        pytest.raises(SourceError, match=r"^99: no camera of this number"),
        open_source("99") as source,
    ):
        list(source)


@contextmanager
def server(answers: list[bytes | None]) -> Iterator[tuple[str, list[str]]]:
    """A server that gives one answer after the other, then none; yields its address and a log."""
    log: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            log.append(self.path)
            answer = answers.pop(0) if answers else None
            if answer is None:
                self.send_error(404)
                return
            self.send_response(200)
            if self.path.endswith(".mkv"):
                self.send_header("Content-Length", str(len(answer)))
            else:  # nobody knows how long it will be
                self.send_header("Transfer-Encoding", "chunked")
                answer = b"%x\r\n%b\r\n0\r\n\r\n" % (len(answer), answer)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    with listening(Handler) as address:
        yield address, log


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server of one's own; yields its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_file_on_a_server_is_read_to_its_end(clip: Path) -> None:
    with server([clip.read_bytes()] * 9) as (address, _), open_source(f"{address}/v.mkv") as source:
        assert not source.is_live
        assert len(list(source)) == 30


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff", "bmp", "avif", "heic"])
def test_a_picture_on_a_server_is_one_on_this_machine(suffix: str, tmp_path: Path) -> None:
    """Lying on its side: who decodes it as a film does not turn it. Of tiles, that sees one."""
    if suffix == "avif" and not features.check("avif"):
        pytest.skip("this build of Pillow does not write AVIF")
    rows = np.arange(40 * 24 * 3).reshape(40, 24, 3) % 251
    upright = Image.fromarray(rows.astype(np.uint8))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    if suffix == "heic":
        shutil.copy(Path(__file__).with_name("tiles.heic"), tmp_path / "a.heic")
    else:
        upright.save(tmp_path / f"a.{suffix}", exif=exif)
    data = (tmp_path / f"a.{suffix}").read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    name = f"a.{suffix}"
    with listening(Handler) as address, open_source(f"{address}/{name}") as source:
        (frame,) = source
        assert not source.is_video
        with pytest.raises(SourceError, match="more than the limit of 100"):
            open_source(f"{address}/{name}", max_pixels=100)
    (expected,) = open_source(tmp_path / name)
    assert np.array_equal(frame.image, expected.image)


@pytest.mark.parametrize("form", ["jpeg", "avif"])
def test_a_picture_on_a_server_that_breaks_off(form: str) -> None:
    if form == "avif" and not features.check("avif"):
        pytest.skip("this build of Pillow does not write AVIF")
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8)
    picture = io.BytesIO()
    Image.fromarray(noise).save(picture, form)
    data = picture.getvalue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])

        def log_message(self, *_: Any) -> None:
            pass

    with listening(Handler) as address, pytest.raises(SourceError, match=r"/a: broke off"):
        open_source(f"{address}/a")


def test_a_file_on_a_server_that_breaks_off_goes_on(tmp_path: Path) -> None:
    """Each connection gives a part of the file and is lost; the next one is asked for the rest."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 64, 64, 3), np.uint8)
    write_film(tmp_path / "v.mkv", noise, fps=10)
    data = (tmp_path / "v.mkv").read_bytes()
    asked: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            first = int(self.headers.get("Range", "bytes=0-").partition("=")[2].partition("-")[0])
            asked.append(first)
            self.send_response(206)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(data) - first))
            self.end_headers()
            self.wfile.write(data[first : first + len(data) // 3])

        def log_message(self, *_: Any) -> None:
            pass

    with listening(Handler) as address, open_source(f"{address}/v.mkv") as source:
        assert not source.is_live
        assert len(list(source)) == 60
    assert max(asked) > len(data) // 2


def test_a_file_on_a_server_that_says_no_duration(tmp_path: Path) -> None:
    """As browsers record it: it is not a stream that ended and must be opened again."""
    with av.open(str(tmp_path / "v.mkv"), "w", format="matroska", options={"live": "1"}) as film:
        stream = film.add_stream("libx264", rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(9):
            picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            film.mux(stream.encode(picture))
        film.mux(stream.encode(None))
    sent = (tmp_path / "v.mkv").read_bytes()
    with av.open(str(tmp_path / "v.mkv")) as film:
        assert film.duration is None
    with server([sent] * 9) as (address, _), open_source(f"{address}/v.mkv") as source:
        assert not source.is_live
        assert len(list(source)) == 9


def test_streams_that_look_like_files(tmp_path: Path) -> None:
    """A list of parts has a size, and a sender of FLV announces a length of 0. A list that ends is
    a recording, and so is an MP4 in parts, which announces the same.
    """
    views = [np.full((64, 64, 3), i, np.uint8) for i in range(20)]
    write_film(tmp_path / "a.ts", views, fps=10)
    write_film(tmp_path / "a.flv", views, fps=10, codec="flv1")
    parts = {"movflags": "empty_moov+frag_keyframe"}
    write_film(tmp_path / "a.mp4", views, fps=10, container_options=parts)
    flv = (tmp_path / "a.flv").read_bytes()
    at = flv.index(b"duration") + 9
    playlist = b"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\na.ts\n"
    kept = {
        "/live.m3u8": playlist,
        "/ended.m3u8": playlist + b"#EXT-X-ENDLIST\n",
        "/a.ts": (tmp_path / "a.ts").read_bytes(),
    }
    chunked = {
        "/live.flv": flv[:at] + bytes(8) + flv[at + 8 :],
        "/parts.mp4": (tmp_path / "a.mp4").read_bytes(),
    }

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer = (kept | chunked)[self.path]
            self.send_response(200)
            if self.path in kept:
                self.send_header("Content-Length", str(len(answer)))
            else:
                self.send_header("Transfer-Encoding", "chunked")
                answer = b"%x\r\n%b\r\n0\r\n\r\n" % (len(answer), answer)
            self.send_header("Connection", "close")
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    with listening(Handler) as address:
        for name, is_live in (
            ("live.m3u8", True), ("live.flv", True), ("ended.m3u8", False), ("parts.mp4", False)
        ):  # fmt: skip
            with open_source(f"{address}/{name}") as source:
                assert next(iter(source)).width == 64
                assert source.is_live == is_live, name


def test_a_stream_that_breaks_off_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_RETRIES", 2)
    monkeypatch.setattr(live, "_LONGEST_PAUSE_S", 0.05)
    write_video(tmp_path / "v.ts", TIMES)
    sent = (tmp_path / "v.ts").read_bytes()
    with open_source(tmp_path / "v.ts") as source:
        whole = len(list(source))
    seen: list[tuple[int, float]] = []
    # The first answer tells what it is; then it is played, fails, is played again, and is gone.
    with (
        server([sent, sent, None, sent]) as (address, log),
        pytest.raises(SourceError, match=r"live\.ts"),
        open_source(f"{address}/live.ts") as source,
    ):
        assert source.is_live
        seen.extend((frame.index, frame.time_s) for frame in source)
    assert len(log) >= 6
    assert seen == sorted(seen)
    assert seen[-1][0] == 2 * whole - 1
    assert len({when for _, when in seen}) == len(seen)


def test_who_may_see_a_camera_is_in_no_result(clip: Path) -> None:
    """Results and reports are passed on; an address's user and password are for its server."""

    def with_key(address: str) -> str:
        return address.replace("://", "://me:my@secret@")

    with server([clip.read_bytes()] * 9) as (address, log):
        with open_source(f"{with_key(address)}/v.mkv") as source:
            frame = next(iter(source))
        assert source.name == frame.source == f"{address}/v.mkv"
        assert set(log) == {"/v.mkv"}
    with server([]) as (address, _), pytest.raises(SourceError) as error:
        open_source(f"{with_key(address)}/v.mkv")
    assert str(error.value).startswith(f"{address}/v.mkv: cannot be opened")
    for name in ("me@cam.mp4", "-", "0", "rtsp://cam/a?to=b@c"):
        assert shown_name(name) == name


def test_a_server_that_does_not_have_it(tmp_path: Path) -> None:
    with (
        server([]) as (address, _),
        pytest.raises(SourceError, match=r"live\.ts: cannot be opened .* Check the address"),
    ):
        open_source(f"{address}/live.ts")


def test_an_address_where_nobody_listens_is_said_at_once() -> None:
    """What goes on where a recording breaks off would ask again for half a minute. Nor is anybody
    told to copy or convert what is not there."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]  # bound, and nobody listens
        began = time.monotonic()
        with pytest.raises(SourceError, match=r"Connection refused.*Check the address") as caught:
            open_source(f"http://127.0.0.1:{port}/film.mp4")
    assert time.monotonic() - began < 5
    assert "convert it" not in str(caught.value)
