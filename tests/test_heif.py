"""Phones' pictures come in right and upright; what is damaged or would take for ever does not."""

import errno
import io
import random
import struct
import tracemalloc
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import av
import numpy as np
import pytest

from mien.errors import SourceError
from mien.picture import read_picture
from mien.sources import expand_source, open_source
from mien.types import UInt8Array

#: Red grows to the right and green downwards, on 60 x 40 pixels, which are to be turned clockwise.
#: Written by libheif 1.23.0, in one piece that is larger than the picture.
PHONE: Final = Path(__file__).with_name("phone.heic")
GRID: Final = Path(__file__).with_name("grid.heic")


def read(data: bytes, **options: Any) -> UInt8Array:
    return read_picture(io.BytesIO(data), "x.heic", **options)


def test_it_is_read_upright_under_any_name(tmp_path: Path) -> None:
    for name in ("a.heic", "b.HEIF", "c.jpg", "d"):  # some programs call them so
        (tmp_path / name).write_bytes(PHONE.read_bytes())
    found, errors = expand_source(str(tmp_path))
    assert ([Path(name).name for name in found], errors) == (["a.heic", "b.HEIF", "c.jpg"], [])
    rows, columns = np.mgrid[:60, :40]
    for name in (*found, str(tmp_path / "d")):
        with open_source(name) as source:
            assert not source.is_video
            (frame,) = source
        assert frame.image.shape == (60, 40, 3)
        assert np.abs(frame.image[:, :, 0] - rows * 4.0).mean() < 8
        assert np.abs(frame.image[:, :, 1] - (39 - columns) * 6.0).mean() < 8


def test_one_that_is_too_large_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(SourceError, match=r"x\.heic: 64 x 64 pixels, more than the limit of 4,000"):
        read(PHONE.read_bytes(), max_pixels=4000)
    assert read(PHONE.read_bytes(), max_pixels=10**30).shape == (60, 40, 3)


def test_damage_is_said_and_nothing_else_happens() -> None:
    chance = random.Random(1)
    for whole in (PHONE.read_bytes(), GRID.read_bytes()):
        for size in (12, 40, 200, len(whole) // 2, len(whole) - 60):
            with pytest.raises(SourceError, match=r"^x\.heic: HEIF picture that cannot be read \("):
                read(whole[:size])
        good = 0
        for _ in range(200):
            data = bytearray(whole)
            for _ in range(chance.choice((1, 2, 5, 20))):
                data[chance.randrange(12, len(data))] = chance.randrange(256)
            with suppress(SourceError):
                good += read(bytes(data)).ndim == 3
        assert 0 < good < 200


# --- grids of tiles, as phones write them ------------------------------------------------------


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", len(body) + 8, kind) + body


def full(kind: bytes, *parts: bytes, version: int = 0) -> bytes:
    return box(kind, bytes((version, 0, 0, 0)), *parts)


def heif(
    tiles: list[tuple[bytes, bytes]],
    rows: int,
    columns: int,
    size: tuple[int, int],
    *,
    extents: int = 1,
) -> bytes:
    """A file whose item 1 is a grid of the items from 2 on; each is named so often in the index."""
    numbers = range(2, 2 + len(tiles))
    grid = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, *size)
    head = box(b"ftyp", b"heic\0\0\0\0mif1heic")

    def meta(start: int) -> bytes:
        places, at = struct.pack(">HHHHII", 1, 1, 0, 1, 0, len(grid)), start
        for number, (data, _) in zip(numbers, tiles, strict=True):
            extent = struct.pack(">II", at, len(data))
            places += struct.pack(">HHHH", number, 0, 0, extents) + extent * extents
            at += len(data)
        kinds = [(1, b"grid"), *((number, b"hvc1") for number in numbers)]
        uses = [(1, (1,)), *((number, (2,)) for number in numbers)]
        return full(
            b"meta",
            full(b"pitm", struct.pack(">H", 1)),
            full(
                b"iinf",
                struct.pack(">H", len(kinds)),
                *(
                    full(b"infe", struct.pack(">HH", *k[:1], 0), k[1], b"\0", version=2)
                    for k in kinds
                ),
            ),
            full(b"iloc", b"\x44\0", struct.pack(">H", len(kinds)), places, version=1),
            full(
                b"iref", box(b"dimg", struct.pack(f">HH{len(numbers)}H", 1, len(numbers), *numbers))
            ),
            box(
                b"iprp",
                box(b"ipco", full(b"ispe", struct.pack(">II", *size)), box(b"hvcC", tiles[0][1])),
                full(
                    b"ipma",
                    struct.pack(">I", len(uses)),
                    *(struct.pack(f">HB{len(of)}B", number, len(of), *of) for number, of in uses),
                ),
            ),
            box(b"idat", grid),
        )

    start = len(head) + len(meta(0)) + 8
    return head + meta(start) + box(b"mdat", *(data for data, _ in tiles))


@pytest.fixture(scope="module")
def picture() -> UInt8Array:
    rows, columns = np.mgrid[:128, :192]
    return np.stack([rows, columns, (rows + columns) // 2], axis=-1).astype(np.uint8)


@pytest.fixture(scope="module")
def tiles() -> list[tuple[bytes, bytes]]:
    """That picture in pieces of 64 x 64, row by row: HEVC, and its parameters.

    libheif wrote them into one file, as six pictures.
    """
    data = Path(__file__).with_name("tiles.heic").read_bytes()
    setup = data.index(b"hvcC") + 4
    (length,) = struct.unpack(">I", data[setup - 8 : setup - 4])
    pieces = io.BytesIO(data[data.index(b"mdat") + 4 :])
    return [
        (pieces.read(size), data[setup : setup + length - 8]) for size in (104, 99, 99, 100, 98, 98)
    ]


def test_tiles_are_put_together(picture: UInt8Array, tiles: list[tuple[bytes, bytes]]) -> None:
    """The last ones reach beyond the picture."""
    data = heif(tiles, 2, 3, (180, 100))
    assert data == GRID.read_bytes()  # which others damage: benchmarks/fuzz.py
    image = read(data)
    assert image.shape == (100, 180, 3)
    assert np.abs(image.astype(int) - picture[:100, :180]).mean() < 3


def test_what_reaches_beyond_the_picture_takes_no_memory(tiles: list[tuple[bytes, bytes]]) -> None:
    """256 tiles of 64 x 64, of which the first column is shown."""
    data = heif(tiles[:1] * 256, 256, 1, (1, 64 * 256))
    tracemalloc.start()
    try:
        image = read(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert image.shape == (64 * 256, 1, 3)
    assert np.abs(image[:64] - image[-64:].astype(int)).max() == 0
    assert peak < 64 * 64 * 256  # a third of all the tiles' pixels


@pytest.mark.parametrize(
    ("rows", "columns", "size", "count", "words"),
    [
        (2, 3, (180, 60), 6, "tiles do not make up the picture"),  # one row would do
        (2, 3, (193, 128), 6, "tiles do not make up the picture"),
        (2, 3, (192, 128), 5, "tiles do not make up the picture"),
    ],
)
def test_tiles_that_do_not_fit(
    tiles: list[tuple[bytes, bytes]],
    rows: int,
    columns: int,
    size: tuple[int, int],
    count: int,
    words: str,
) -> None:
    with pytest.raises(SourceError, match=words):
        read(heif(tiles[:count], rows, columns, size))


def test_a_damaged_tile_is_not_passed_over(tiles: list[tuple[bytes, bytes]]) -> None:
    data = heif(tiles, 2, 3, (192, 128))
    last = len(tiles[-1][0])
    with pytest.raises(SourceError, match="cannot be read"):
        read(data[:-last] + bytes(last))


def test_a_small_file_does_not_become_a_large_one(tiles: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(SourceError, match="its parts overlap"):
        read(heif(tiles, 2, 3, (192, 128), extents=500))


def test_an_index_does_not_grow_in_memory() -> None:
    """Of extents without offset and length, 65,535 lie in no byte."""
    items = range(1, 4)
    kinds = [full(b"infe", struct.pack(">HH", i, 0), b"hvc1", b"\0", version=2) for i in items]
    places = [struct.pack(">HHH", i, 0, 65535) for i in items]
    data = box(b"ftyp", b"heic\0\0\0\0mif1heic") + full(
        b"meta",
        full(b"pitm", struct.pack(">H", 1)),
        full(b"iinf", struct.pack(">H", len(kinds)), *kinds),
        full(b"iloc", b"\0\0", struct.pack(">H", len(kinds)), *places),
        box(b"iprp", box(b"ipco"), full(b"ipma", bytes(4))),
    )
    with pytest.raises(SourceError, match="its index is not read"):
        read(data)
    begin = data.index(b"iprp") - 4
    much = box(b"iprp", box(b"ipco", bytes(8) + bytes(1 << 21)))
    end = struct.unpack_from(">I", data, begin)[0] + begin
    meta = data.index(b"meta") - 4
    longer = struct.pack(">I", len(data) - meta + len(much) - (end - begin))
    with pytest.raises(SourceError, match="its index is too large"):
        read(data[:meta] + longer + data[meta + 4 : begin] + much)


def test_tiles_that_are_too_large_end_with_the_first(tiles: list[tuple[bytes, bytes]]) -> None:
    """A tile of 64 x 64 where one of 4 x 4 was announced; of those after it nothing is decoded."""
    data, setup = tiles[0]
    broken = (bytes(len(data)), setup)
    with pytest.raises(SourceError, match="do not make up the picture"):
        read(heif([tiles[0], *[broken] * 63], 8, 8, (32, 32)))


def test_one_that_is_larger_than_it_says_is_refused() -> None:
    data = PHONE.read_bytes()
    says = struct.pack(">II", 64, 64)
    assert data.count(says) == 1
    lies = data.replace(says, struct.pack(">II", 32, 32))
    with pytest.raises(SourceError, match="larger than its header says"):
        read(lies, max_pixels=2000)


class Broken(io.BytesIO):
    """A file on a disk of which only the beginning can be read."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= 12:
            raise OSError(errno.EIO, "Input/output error")
        return super().read(size)


def test_a_disk_that_fails_is_said() -> None:
    words = r"^x\.heic: damaged or cut off \(Input/output error\)\. Copy"
    with pytest.raises(SourceError, match=words):
        read_picture(Broken(PHONE.read_bytes()), "x.heic")


def test_one_for_which_there_is_no_memory_is_not_called_damaged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Decoder:
        def decode(self, _packet: object) -> None:
            raise av.error.MemoryError(errno.ENOMEM, "Cannot allocate memory")

    made = SimpleNamespace(create=lambda *_: Decoder())
    monkeypatch.setattr("av.codec.context.CodecContext", made)
    monkeypatch.setattr(av, "VideoCodecContext", Decoder)
    with pytest.raises(SourceError, match=r"^x\.heic: 64 x 64 pixels need more memory"):
        read(PHONE.read_bytes())
