"""Pictures and videos of every kind come in right; bad ones are refused with a reason."""

import errno
import io
import os
import struct
import threading
import tracemalloc
import warnings
import zlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, features

from mien.errors import SourceError
from mien.picture import is_picture, looks_like_picture, read_picture
from mien.sources import Span, expand_source, is_video, open_source, video
from mien.sources.video import reason
from mien.types import Frame, UInt8Array
from tests.films import write_film


def read(path: Path, **options: Any) -> UInt8Array:
    with open_source(path, **options) as source:
        (frame,) = source
    return frame.image


def gradient() -> UInt8Array:
    """Red grows to the right, green downwards."""
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, :, 0] = np.arange(60) * 4
    image[:, :, 1] = np.arange(40)[:, None] * 6
    return image


def write_video(path: Path, times_s: Sequence[float], *, size: int = 64) -> None:
    """A video whose frame i is of grey level 10 * i, shown at times_s[i]."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.options = {"crf": "5", "bf": "2", "g": "5"}
        for i, time_s in enumerate(times_s):
            image = np.full((size, size, 3), 10 * i % 250, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(time_s * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_a_picture_whose_header_makes_no_sense(tmp_path: Path) -> None:
    """Where its pixels lie is given as a fraction: Pillow fails with a `TypeError`."""
    file = tmp_path / "x.tiff"
    Image.fromarray(gradient()).save(file)
    offsets = b"\x11\x01\x04\x00"  # the tag StripOffsets, of type LONG
    assert offsets in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(offsets, b"\x11\x01\x05\x00"))
    with pytest.raises(SourceError, match=r"x\.tiff: damaged"):
        list(open_source(file))


def test_a_video_in_an_unknown_code(tmp_path: Path) -> None:
    write_video(tmp_path / "v.avi", [0, 0.04, 0.08])
    data = (tmp_path / "v.avi").read_bytes()
    assert b"H264" in data
    (tmp_path / "v.avi").write_bytes(data.replace(b"H264", b"Q9Z!"))
    with pytest.raises(SourceError, match=r"v\.avi: its pictures are coded in a way"):
        open_source(tmp_path / "v.avi")


@pytest.mark.parametrize(
    "suffix", [".png", ".bmp", ".tiff", ".webp", ".jpg", ".jfif", ".jpe", ".ppm", ".pgm"]
)
def test_common_formats(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"x{suffix}"
    settings: dict[str, Any] = {}
    if suffix == ".webp":
        settings["lossless"] = True
    lossy = suffix in (".jpg", ".jfif", ".jpe")
    if lossy:
        settings["quality"] = 98
    picture = Image.fromarray(gradient())
    if suffix == ".pgm":
        picture = picture.convert("L")
    picture.save(file, **settings)
    assert expand_source(str(tmp_path)) == ([str(file)], [])
    image = read(file)
    assert image.shape == (40, 60, 3)
    assert image.dtype == np.uint8
    expected = np.asarray(picture.convert("RGB")).astype(int)
    assert np.abs(image.astype(int) - expected).max() <= (8 if lossy else 0)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bit_grey(tmp_path: Path, suffix: str) -> None:
    deep = (np.arange(40 * 60).reshape(40, 60) * 27).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / f"deep{suffix}")
    image = read(tmp_path / f"deep{suffix}")
    assert np.abs(image[:, :, 1] - deep / 257.0).max() <= 0.5
    assert (image[:, :, 0] == image[:, :, 2]).all()


def test_grey_palette_and_cmyk(tmp_path: Path) -> None:
    picture = Image.fromarray(gradient())
    for mode in ("L", "P", "CMYK", "1"):
        file = tmp_path / f"{mode}.tiff"
        picture.convert(mode).save(file)
        assert read(file).shape == (40, 60, 3)


def test_alpha_is_laid_over_white(tmp_path: Path) -> None:
    colour = np.zeros((4, 4, 4), np.uint8)
    colour[:2, :, 3] = 255  # black above, transparent below
    Image.fromarray(colour).save(tmp_path / "a.png")
    image = read(tmp_path / "a.png")
    assert (image[:2] == 0).all()
    assert (image[2:] == 255).all()


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright
    Image.fromarray(gradient()).save(tmp_path / "e.png", exif=exif)
    image = read(tmp_path / "e.png")
    assert (image == np.rot90(gradient(), -1)).all()


def test_a_picture_is_worth_more_than_its_exif(tmp_path: Path) -> None:
    """It is shown by everything else: what is wrong with the EXIF alone does it no harm."""
    Image.fromarray(gradient()).save(tmp_path / "p.png", exif=b"Exif\0\0no TIFF header at all")
    assert (read(tmp_path / "p.png") == gradient()).all()


def test_a_turned_picture_whose_exif_cannot_be_written_anew_is_turned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(gradient()).save(tmp_path / "e.png", exif=exif)

    def fail(*_: object) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr(Image.Exif, "tobytes", fail)
    assert (read(tmp_path / "e.png") == np.rot90(gradient(), -1)).all()


def test_arrays_and_frames() -> None:
    (frame,) = open_source(gradient())
    assert (frame.image == gradient()).all()
    (grey,) = open_source(gradient()[:, :, 0])
    assert grey.image.shape == (40, 60, 3)
    given = Frame(gradient(), "mine", 7, 1.5)
    assert list(open_source(given)) == [given]
    with pytest.raises(ValueError, match="shape"):
        open_source(np.zeros((4, 4, 2), np.uint8))
    with pytest.raises(ValueError, match="uint8"):
        open_source(np.zeros((4, 4, 3), np.float32))
    with pytest.raises(ValueError, match="at least one pixel"):
        open_source(np.zeros((0, 4, 3), np.uint8))


def png_header(width: int, height: int) -> bytes:
    """A PNG that only announces its size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_a_huge_picture_is_refused_by_its_header(tmp_path: Path) -> None:
    file = tmp_path / "huge.png"
    file.write_bytes(png_header(60_000, 60_000))
    with pytest.raises(SourceError, match=r"60,000 x 60,000 pixels, more than the limit"):
        read(file)
    Image.fromarray(gradient()).save(tmp_path / "small.png")
    with pytest.raises(SourceError, match=r"60 x 40 .* limit of 2,399"):
        read(tmp_path / "small.png", max_pixels=2_399)
    assert read(tmp_path / "small.png", max_pixels=2_400).shape == (40, 60, 3)


def test_a_large_picture_without_suffix_is_one_in_silence(tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(png_header(10_000, 10_000))  # Pillow warns of so many pixels
    assert not is_video(str(file))


class _Held(io.BytesIO):
    """A picture that says when it is looked at, and is read only once something has happened."""

    def __init__(self, data: bytes, looked_at: threading.Event, then: threading.Event) -> None:
        super().__init__(data)
        self._looked_at, self._then = looked_at, then

    def read(self, size: int | None = -1) -> bytes:
        self._looked_at.set()
        self._then.wait(10)
        return super().read(size)


def test_pictures_that_are_read_side_by_side_leave_warnings_as_they_were() -> None:
    """Whoever uses mien in a service still hears its own."""
    before = list(warnings.filters)
    first, second, first_done = (threading.Event() for _ in range(3))

    def look(picture: io.BytesIO, done: threading.Event) -> None:
        assert is_picture(picture)
        done.set()

    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    data = buffer.getvalue()
    earlier = threading.Thread(target=look, args=(_Held(data, first, second), first_done))
    later = threading.Thread(target=look, args=(_Held(data, second, first_done), first_done))
    earlier.start()
    first.wait(10)
    later.start()
    for thread in (earlier, later):
        thread.join(20)
    assert list(warnings.filters) == before


def test_pillows_own_limit_does_not_interfere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.fromarray(gradient()).save(tmp_path / "x.png")
    assert read(tmp_path / "x.png").shape == (40, 60, 3)
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.jpg", b"", "is empty"),
        ("text.jpg", b"this is no picture\n" * 20, "not a picture"),
        ("text.mp4", b"this is no video\n" * 20, "neither a picture nor a video"),
        ("text.txt", b"letters that FFmpeg would draw\n" * 20, "no video|neither"),
        ("cut.png", b"\x89PNG\r\n\x1a\n", "damaged or cut off .* as PNG does"),
        ("noise.jpg", b"\xff\xd8\xff" + b"no segments\n" * 20, "damaged or cut off .* as JPEG"),
    ],
)
def test_bad_files_say_why(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(SourceError, match=says) as caught, open_source(file) as source:
        list(source)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_decoder_itself_says_why_a_file_cannot_be_read(tmp_path: Path) -> None:
    """Data sets, batches and the server hand it files that nobody has opened before."""
    (tmp_path / "empty.jpg").touch()
    for empty in (tmp_path / "empty.jpg", io.BytesIO()):
        with pytest.raises(SourceError, match=r"^x: is empty \(0 bytes\)"):
            read_picture(empty, "x")
    for missing in (tmp_path / "nowhere.jpg", tmp_path):
        with pytest.raises(SourceError, match=r"^x: cannot be read \("):
            read_picture(missing, "x")


def test_missing_and_folder(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file"):
        open_source(tmp_path / "nowhere.jpg")
    with pytest.raises(SourceError, match="is a folder"):
        open_source(tmp_path)
    with pytest.raises(SourceError, match=r"read \(File name too long"):
        open_source("a" * 300)
    with pytest.raises(SourceError, match=r"read \(embedded null byte"):
        open_source("a\0.jpg")


def write_still(path: Path, image: UInt8Array, pixels: str) -> None:
    """A video of one frame, in a pixel format of FFmpeg's."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = image.shape[:2]
        stream.pix_fmt, stream.options = pixels, {"crf": "1"}
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le"])
def test_odd_pixel_formats_of_videos(tmp_path: Path, pixels: str) -> None:
    image = np.repeat(gradient()[:, :, :1], 3, axis=2)
    write_still(tmp_path / "v.mp4", image, pixels)
    assert np.abs(read(tmp_path / "v.mp4").astype(int) - image).max() <= 6


@pytest.mark.parametrize(
    ("matrix", "turns", "mirrored"),
    [
        ((0, 1, -1, 0), 1, False),
        ((-1, 0, 0, -1), 2, False),
        ((0, -1, 1, 0), 3, False),
        ((-1, 0, 0, 1), 0, True),
        ((1, 0, 0, -1), 2, True),
        ((0, 1, 1, 0), 1, True),
        ((0, -1, -1, 0), 3, True),
    ],
)
def test_videos_come_as_they_are_shown(
    tmp_path: Path, matrix: tuple[int, int, int, int], turns: int, mirrored: bool
) -> None:
    """The track's header says how: turned clockwise, by quarters, as phones are held, and then
    mirrored from left to right, as some cameras of phones do."""
    write_still(tmp_path / "v.mp4", gradient(), "yuv444p")
    plain = read(tmp_path / "v.mp4")

    def header(a: int, b: int, c: int, d: int) -> bytes:
        rows = [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30]
        return struct.pack(">9i", *rows)

    before, unity, after = (tmp_path / "v.mp4").read_bytes().rpartition(header(1, 0, 0, 1))
    (tmp_path / "v.mp4").write_bytes(before + header(*matrix) + after)
    assert unity
    turned = np.rot90(plain, -turns)
    expected = turned[:, ::-1] if mirrored else turned
    assert np.array_equal(read(tmp_path / "v.mp4"), expected)


@pytest.mark.parametrize(
    ("aspect", "size"), [(Fraction(16, 11), (40, 87)), (Fraction(1, 2), (80, 60)), (0, (40, 60))]
)
def test_pixels_that_are_not_square(
    tmp_path: Path, aspect: Fraction | int, size: tuple[int, int]
) -> None:
    """As of DVDs and broadcasts: what is stored is stretched to what is shown."""
    with av.open(str(tmp_path / "v.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "1"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 60, 40, "yuv444p"
        if aspect:
            stream.codec_context.sample_aspect_ratio = Fraction(aspect)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(gradient(), format="rgb24")))
        container.mux(stream.encode(None))
    image = read(tmp_path / "v.mkv")
    assert image.shape == (*size, 3)
    assert np.diff(image[20].astype(int)[:, 0]).min() >= -3  # red still grows to the right
    with pytest.raises(SourceError, match="more than the limit"):
        read(tmp_path / "v.mkv", max_pixels=size[0] * size[1] - 1)


def test_a_part_between_two_frames(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", [0.0, 0.5, 1.0, 1.5])
    span = Span(start_s=0.6, end_s=0.9)
    with (
        pytest.raises(SourceError, match=r"no frame from 0\.6 s \(--start\) up to 0\.9 s"),
        open_source(tmp_path / "v.mp4", span=span) as source,
    ):
        list(source)


def test_a_part_after_the_only_frame_is_no_damage(tmp_path: Path) -> None:
    write_still(tmp_path / "v.mp4", gradient(), "yuv444p")
    with (
        pytest.raises(SourceError, match=r"ends at 0\.000 s, before 2 s \(--start\)"),
        open_source(tmp_path / "v.mp4", span=Span(start_s=2)) as source,
    ):
        list(source)


def test_reasons_are_never_empty() -> None:
    assert reason(MemoryError()) == "MemoryError"


def test_a_truncated_jpeg_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "x.jpg")
    data = (tmp_path / "x.jpg").read_bytes()
    (tmp_path / "x.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError, match="cut off"):
        read(tmp_path / "x.jpg")


def test_video_times_are_the_containers(tmp_path: Path) -> None:
    """Uneven times, B-frames: each frame keeps the time at which it is shown."""
    times = [0.0, 0.04, 0.08, 0.2, 0.23, 0.5, 0.75, 0.76, 0.9]
    write_video(tmp_path / "v.mp4", times)
    with open_source(tmp_path / "v.mp4") as source:
        frames = list(source)
        assert source.is_video
        assert source.frame_count == len(times)
    assert [frame.time_s for frame in frames] == pytest.approx(times, abs=1e-3)
    assert [frame.index for frame in frames] == list(range(len(times)))
    levels = [frame.image.mean() for frame in frames]
    assert levels == pytest.approx([10 * i for i in range(len(times))], abs=4)


def test_the_clock_goes_on_where_recordings_were_joined(tmp_path: Path) -> None:
    part, joined = tmp_path / "part.ts", tmp_path / "joined.ts"
    write_film(part, [np.full((64, 64, 3), 90, np.uint8)] * 40, fps=20)
    joined.write_bytes(2 * part.read_bytes())
    with open_source(joined) as source:
        times = [frame.time_s for frame in source]
    assert times == pytest.approx([times[0] + i / 20 for i in range(80)], abs=1e-3)


@pytest.mark.parametrize("start_s", [3, 8, 12])
def test_a_part_of_recordings_that_were_joined(tmp_path: Path, start_s: int) -> None:
    """Both are stamped 0 to 10 s: what is sought by its stamp may be the other one's."""
    options = {"g": "5", "keyint_min": "5", "sc_threshold": "0"}
    joined = tmp_path / "joined.ts"
    for level in (0, 100):
        views = [np.full((64, 64, 3), level + 2 * i, np.uint8) for i in range(50)]
        write_film(tmp_path / "part.ts", views, fps=5, options=options)
        with joined.open("ab") as file:
            file.write((tmp_path / "part.ts").read_bytes())
    with open_source(joined) as source:
        expected = [frame for frame in source if frame.time_s >= start_s]
    with open_source(joined, span=Span(start_s=start_s)) as source:
        part = list(source)
    assert [frame.time_s for frame in part] == [frame.time_s for frame in expected]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(part, expected, strict=True))


@pytest.mark.parametrize("begin_s", [12_345, 95_440])
def test_a_recording_of_a_broadcast_begins_at_zero(tmp_path: Path, begin_s: int) -> None:
    """Its timestamps begin anywhere; those of the second film begin anew after 3.7 s (2^33)."""
    film, views = tmp_path / "v.ts", [np.full((64, 64, 3), i, np.uint8) for i in range(60)]
    write_film(film, views, fps=10, begin_s=begin_s)
    with open_source(film) as source:
        frames = list(source)
    assert [frame.index for frame in frames] == list(range(60))
    assert [f.time_s for f in frames] == pytest.approx([i / 10 for i in range(60)], abs=1e-3)
    with open_source(film, span=Span(start_s=1.95, end_s=4.95)) as source:
        times = [frame.time_s for frame in source]
    assert times == pytest.approx([i / 10 for i in range(20, 50)], abs=1e-3)


def test_a_part_of_a_film_without_timestamps(tmp_path: Path) -> None:
    bare = tmp_path / "bare.h264"
    write_film(bare, [np.full((64, 64, 3), i, np.uint8) for i in range(50)], fps=25)
    with open_source(bare, span=Span(start_s=1.0)) as source:
        found = [(frame.index, frame.time_s) for frame in source]
    assert [index for index, _ in found] == list(range(25))
    assert [time_s for _, time_s in found] == pytest.approx([1 + i / 25 for i in range(25)])


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(".3gp", "libx264"), (".mts", "libx264"), (".m2ts", "libx264"), (".ogv", "libvpx")],
)
def test_videos_of_phones_and_camcorders(tmp_path: Path, suffix: str, codec: str) -> None:
    file = tmp_path / f"v{suffix}"
    write_film(file, [gradient()] * 3, fps=10, codec=codec)
    assert expand_source(str(tmp_path)) == ([str(file)], [])
    with open_source(file) as source:
        assert [round(frame.time_s, 2) for frame in source] == [0.0, 0.1, 0.2]


def test_a_video_without_suffix_and_a_gif(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", [0, 0.1])
    (tmp_path / "v.mp4").rename(tmp_path / "clip")
    with open_source(tmp_path / "clip") as source:
        assert len(list(source)) == 2
    pictures = [Image.new("RGB", (32, 32), (80 * i, 0, 0)) for i in range(3)]
    pictures[0].save(tmp_path / "g.gif", save_all=True, append_images=pictures[1:], duration=200)
    with open_source(tmp_path / "g.gif") as source:
        assert [round(frame.time_s, 2) for frame in source] == [0.0, 0.2, 0.4]


def test_a_truncated_video_gives_what_it_has(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    file = tmp_path / "v.mkv"
    noise = [rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(60)]
    write_film(file, noise, fps=10)
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    frames: list[Frame] = []
    with pytest.raises(SourceError, match="cut off"), open_source(file) as source:
        frames.extend(source)
    assert 10 < len(frames) < 60
    cut_s = frames[-1].time_s
    with open_source(file, span=Span(end_s=cut_s - 0.5)) as source:  # it is all there
        assert 5 < len(list(source)) < len(frames)
    found: list[Frame] = []
    with (
        pytest.raises(SourceError, match=r"s of 6\.\d+ s: cut off"),
        open_source(file, span=Span(end_s=cut_s + 1.5)) as source,
    ):
        found.extend(source)
    assert len(found) == len(frames)


@pytest.mark.parametrize("container", ["mp4", "mkv", "gif"])
def test_a_last_picture_that_stands_for_long_is_no_damage(tmp_path: Path, container: str) -> None:
    """Slides, of five seconds each."""
    file, step = tmp_path / f"v.{container}", Fraction(5)
    if container == "gif":
        slides = [Image.new("RGB", (64, 64), (60 * i, 0, 0)) for i in range(4)]
        slides[0].save(file, save_all=True, append_images=slides[1:], duration=5000)
    else:
        with av.open(str(file), "w") as film:
            stream = film.add_stream("libx264", rate=1 / step, options={"bf": "0"})
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            stream.codec_context.time_base = step
            packets: list[av.Packet[Any]] = []
            for i in range(4):
                gray = np.full((64, 64, 3), 60 * i, np.uint8)
                picture = av.VideoFrame.from_ndarray(gray, format="rgb24")
                picture.pts, picture.time_base = i, step
                packets += stream.encode(picture)
            for packet in [*packets, *stream.encode(None)]:
                packet.duration = 1
                film.mux(packet)
    with open_source(file) as source:
        assert [round(frame.time_s) for frame in source] == [0, 5, 10, 15]


@pytest.mark.parametrize("container", ["flv", "mkv"])
def test_a_truncated_video_with_sound_is_noticed(tmp_path: Path, container: str) -> None:
    """Their headers say how long the longest stream is; a whole film may end before its sound."""
    whole, cut = tmp_path / f"v.{container}", tmp_path / f"cut.{container}"
    noise = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), np.uint8)
    write_film(whole, noise, fps=10, silence_s=8)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 3])
    with open_source(whole) as source:
        assert len(list(source)) == 40
    with pytest.raises(SourceError, match=r"s of 8\.\d+ s: cut off"), open_source(cut) as source:
        list(source)


def coded(size: int) -> list[bytes]:
    """Packets of VP8, whose key frames say how large they are."""
    with av.open(io.BytesIO(), "w", format="webm") as container:
        stream = container.add_stream("libvpx", rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        grey = np.full((size, size, 3), 90, np.uint8)
        pictures = [av.VideoFrame.from_ndarray(grey, format="rgb24"), None]
        return [bytes(packet) for each in pictures for packet in stream.encode(each)]


def test_a_video_that_grows_on_the_way_is_held_to_the_limit(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "v.webm"), "w") as container:
        stream = container.add_stream("libvpx", rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for i, data in enumerate([*coded(64), *coded(640)]):
            packet = av.Packet(data)
            packet.stream, packet.pts, packet.dts = stream, i, i
            packet.time_base, packet.is_keyframe = Fraction(1, 10), True
            container.mux(packet)
    shapes: list[tuple[int, ...]] = []
    with (
        pytest.raises(SourceError, match=r"v\.webm: 640 x 640 pixels, more than the limit"),
        open_source(tmp_path / "v.webm", max_pixels=320 * 320) as source,
    ):
        shapes.extend(frame.image.shape for frame in source)
    assert shapes == [(64, 64, 3)]
    with (  # a hundred times as large: it is not even decoded
        pytest.raises(SourceError, match=r"v\.webm: damaged or cut off after frame 1"),
        open_source(tmp_path / "v.webm", max_pixels=64 * 64, threads=1) as source,
    ):
        shapes.extend(frame.image.shape for frame in source)
    assert shapes == [(64, 64, 3)] * 2
    assert len(list(open_source(tmp_path / "v.webm", max_pixels=10**30))) == 2


def test_a_video_for_which_there_is_no_memory_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(_packets: object) -> None:
        raise av.error.MemoryError(errno.ENOMEM, "Cannot allocate memory")

    write_video(tmp_path / "v.mp4", [0.0, 0.1])
    monkeypatch.setattr(video._Packets, "pictures", none)
    with (
        pytest.raises(SourceError, match=r"v\.mp4: 64 x 64 pixels need more memory"),
        open_source(tmp_path / "v.mp4") as source,
    ):
        list(source)


def test_16_bits_a_pixel_take_no_more_memory_than_the_picture(tmp_path: Path) -> None:
    """A hundred kilobytes may be 50 million pixels."""
    Image.fromarray(np.full((1500, 1500), 30_000, np.uint16)).save(tmp_path / "x.png")
    tracemalloc.start()
    try:
        image = read(tmp_path / "x.png")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (image == round(30_000 / 257)).all()
    assert most < 3 * image.nbytes


def test_audio_alone_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(SourceError, match=r"no video stream \(streams: audio\)\. Give"):
        open_source(tmp_path / "a.mp4")


def test_folders_and_globs(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.PNG", "sub/c.mp4", "sub/.hidden/d.jpg", ".e.jpg", "notes.txt"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    names = [str(tmp_path / name) for name in ("a.PNG", "b.jpg", "sub/c.mp4")]
    assert expand_source(str(tmp_path)) == (names, [])
    assert expand_source(f"{tmp_path}/*.jpg") == ([names[1]], [])
    assert expand_source(f"{tmp_path}/**/*.mp4") == ([names[2]], [])
    assert expand_source("missing.jpg") == (["missing.jpg"], [])
    hidden = tmp_path / "sub/.hidden"  # where it is named itself, it counts
    assert expand_source(str(hidden)) == ([str(hidden / "d.jpg")], [])
    _, (error,) = expand_source(f"{tmp_path}/*.tiff")
    assert "matches no" in str(error)
    (tmp_path / "bare").mkdir()
    _, (error,) = expand_source(str(tmp_path / "bare"))
    assert "holds no picture" in str(error)


def test_linked_folders_are_followed(tmp_path: Path) -> None:
    """As in data sets; a link to where it lies itself would have no end."""
    (tmp_path / "disk/new").mkdir(parents=True)
    (tmp_path / "disk/new/a.jpg").write_bytes(b"x")
    (tmp_path / "disk/new/up").symlink_to(tmp_path / "disk")
    (tmp_path / "holidays").mkdir()
    (tmp_path / "holidays/spain").symlink_to(tmp_path / "disk/new")
    (tmp_path / "holidays/again").symlink_to(tmp_path / "holidays")
    (tmp_path / "holidays/gone").symlink_to(tmp_path / "nowhere")
    assert expand_source(str(tmp_path / "disk")) == ([str(tmp_path / "disk/new/a.jpg")], [])
    found = [str(tmp_path / "holidays/spain/a.jpg")]
    assert expand_source(str(tmp_path / "holidays")) == (found, [])


def test_a_folder_that_cannot_be_listed_costs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may list every folder, so the refusal is played."""
    (tmp_path / "locked").mkdir()
    (tmp_path / "a.jpg").write_bytes(b"x")
    real = os.scandir

    def scandir(path: Any) -> Any:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    files, (error,) = expand_source(str(tmp_path))
    assert files == [str(tmp_path / "a.jpg")]
    assert "Permission denied" in str(error)


@pytest.mark.parametrize("form", ["jpeg", "png", "webp", "bmp", "tiff"])
def test_still_pictures_are_known_by_how_they_begin(form: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, form)
    assert looks_like_picture(file.getvalue()[:12])


@pytest.mark.parametrize("begin", [b"", b"RIFF\0\0\0\0AVI ", b"GIF89a......", b"%!PS-Adobe-3"])
def test_others_are_not_taken_for_pictures(begin: bytes) -> None:
    assert not looks_like_picture(begin)


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{} loop\n"


@pytest.mark.parametrize("name", ["holiday.jpg", "holiday.eps", "holiday"])
def test_postscript_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Pillow would give it to Ghostscript, and wait for that as long as it takes."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "gs").write_text('#!/bin/sh\ntouch "$0.ran"\n')
    (programs / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # it remembers that there is none
    (tmp_path / name).write_bytes(POSTSCRIPT)
    with pytest.raises(SourceError, match="not a picture" if name.endswith("g") else name):
        read(tmp_path / name)
    assert [file.name for file in programs.iterdir()] == ["gs"]


@pytest.mark.parametrize("form", ["jpeg", "png", "webp", "avif", "bmp", "tiff", "gif", "ppm"])
def test_a_picture_is_known_by_its_content(tmp_path: Path, form: str) -> None:
    if form == "avif" and not features.check("avif"):
        pytest.skip("this build of Pillow does not write AVIF")
    Image.fromarray(gradient()).save(tmp_path / "x.jpg", form)
    assert read(tmp_path / "x.jpg").shape == (40, 60, 3)


def test_what_is_no_source_is_said(tmp_path: Path) -> None:
    """Bytes, pictures of Pillow and lists are what other tools take."""
    for given in (b"\xff\xd8\xff", Image.new("RGB", (8, 8)), ["a.jpg"], 0, io.BytesIO()):
        with pytest.raises(TypeError, match=f"got {type(given).__name__}. .*a Pillow picture"):
            open_source(given)  # type: ignore[arg-type]


def test_avif_is_a_picture(tmp_path: Path) -> None:
    if not features.check("avif"):
        pytest.skip("this build of Pillow does not write AVIF")
    for name in ("a.avif", "b.jpg", "c"):
        Image.fromarray(gradient()).save(tmp_path / name, format="AVIF")
        assert read(tmp_path / name).shape == (40, 60, 3)
    (tmp_path / "a.avif").write_bytes((tmp_path / "c").read_bytes()[:30])
    with pytest.raises(SourceError, match=r"a\.avif: (damaged|not a picture)"):
        read(tmp_path / "a.avif")


def test_a_container_that_refuses_what_lies_before_its_first_picture(tmp_path: Path) -> None:
    """As FLV does, whose streams begin a little late; after that its place is lost."""
    film = tmp_path / "late.mp4"
    write_film(film, [np.full((32, 32, 3), shade, np.uint8) for shade in range(0, 200, 20)], fps=10)
    with av.open(str(film)) as container:
        stream = container.streams.video[0]

        class Refusing:
            """What is sought before the beginning is refused, and the first picture passed over."""

            start_time = container.start_time
            demux = container.demux

            def seek(self, place: int, *, stream: av.VideoStream) -> None:
                if place < 0:
                    next(container.demux(stream))  # the key frame is gone
                    raise av.error.PermissionError(1, "Operation not permitted")
                container.seek(place, stream=stream)

        packets = video._Packets(Refusing(), stream)  # type: ignore[arg-type]
        first = next(iter(packets.pictures_around(-0.002)))
        assert first.time == 0
