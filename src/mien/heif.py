"""Phones' pictures: HEIF's boxes, read here, and the HEVC in them, decoded by FFmpeg.

May import numpy, and av when a picture is decoded.

A HEIF file is a list of items and of their properties (ISO/IEC 23008-12). The primary item is one
HEVC picture, or a grid of such, as phones write it: tiles of 512 x 512. FFmpeg takes such a file
for a film of its tiles, so it is only given what lies in the items.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

_Picture = npt.NDArray[np.uint8]

#: How such files call themselves, behind the length of their first box.
HEIF_BRANDS: Final = (b"ftypheic", b"ftypheix", b"ftypheim", b"ftypheis", b"ftypmif1")

_MOST_TILES: Final = 4096  # of a grid; 100 million pixels in tiles of 512 x 512 are 400
_TILE_PIXELS: Final = 4096 * 4096  # of a tile, which may reach beyond the picture
FFMPEG_MOST: Final = 2**31 - 1  # pixels; it takes no higher limit
#: Bytes of each box of the index; of the most tiles, they are half a million.
_LARGEST_INDEX: Final = 1 << 21
_UNITS: Final = {1: "B", 2: "H", 4: "I", 8: "Q"}


class HeifError(ValueError):
    """What is wrong with a file, in words that follow its name."""


@dataclass
class _Item:
    kind: bytes = b""
    place: tuple[int, Sequence[tuple[int, int]]] = (0, ())  # in the file (0), its idat (1): extents
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)  # in the order of use
    parts: list[int] = field(default_factory=list)  # of a grid: its tiles

    def value(self, kind: bytes) -> bytes:
        """The first property of a kind; empty where there is none."""
        return next((value for name, value in self.properties if name == kind), b"")


class _Bytes:
    """Big-endian numbers of a box, one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def __bool__(self) -> bool:
        return self.at < len(self.data)

    def take(self, count: int) -> bytes:
        taken = self.data[self.at : self.at + count]
        if len(taken) < count:
            raise HeifError("it ends too early")
        self.at += count
        return taken

    def number(self, size: int) -> int:
        """Of so many bytes; none are 0."""
        value: int = struct.unpack(f">{_UNITS[size]}", self.take(size))[0] if size else 0
        return value

    def version(self) -> tuple[int, int]:
        """With which some boxes begin, and flags."""
        both = self.number(4)
        return both >> 24, both & 0xFFFFFF


class HeifPicture:
    """The primary picture of a HEIF file, whose pixels are decoded when they are asked for.

    Args:
        data: the whole file.

    Attributes:
        width, height: of the pixels as they are stored, by the header: before anything is turned.
        kind: how it is stored: `hvc1` is HEVC, `grid` tiles, `av01` AV1.

    Raises:
        HeifError: not such a file, or damaged.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._inline = b""
        self._items: dict[int, _Item] = {}
        meta = next((body for kind, body in _boxes(data) if kind == b"meta"), None)
        if meta is None:
            raise HeifError("it names no picture")
        boxes = dict(_boxes(meta[4:]))
        if missing := {b"pitm", b"iinf", b"iloc", b"iprp"} - boxes.keys():
            raise HeifError(f"it lacks {', '.join(sorted(name.decode() for name in missing))}")
        if any(len(body) > _LARGEST_INDEX for kind, body in boxes.items() if kind != b"idat"):
            raise HeifError("its index is too large")
        self._inline = boxes.get(b"idat", b"")
        self._read_kinds(boxes[b"iinf"])
        self._read_places(boxes[b"iloc"])
        self._read_properties(dict(_boxes(boxes[b"iprp"])))
        self._read_parts(boxes.get(b"iref", b""))
        primary = _Bytes(boxes[b"pitm"])
        version, _ = primary.version()
        self._item = self._find(primary.number(2 if version == 0 else 4))
        self.kind = self._item.kind.decode("latin-1")
        self.width, self.height = _size(self._item)

    def decode(self, max_pixels: int) -> _Picture:
        """The picture as viewers show it, cut and turned as the file says: RGB `uint8 (H, W, 3)`.

        Args:
            max_pixels: it may not have more, whatever the header says.

        Raises:
            HeifError: what it consists of is not read here, damaged, or does not fit together.
        """
        if self.kind == "hvc1":
            ((_, image),) = self._decode([self._item], max_pixels)
            if image.shape[0] * image.shape[1] > max_pixels:
                raise HeifError("it is larger than its header says")
        elif self.kind == "grid":
            image = self._joined(max_pixels)
        else:
            raise HeifError(f"its kind {self.kind!r} is not read")
        return np.ascontiguousarray(_shown(image, self._item.properties))

    def _joined(self, max_pixels: int) -> _Picture:
        """The tiles of a grid, put together."""
        grid = _Bytes(self._content(self._item))
        _, flags = grid.number(1), grid.number(1)
        rows, columns = grid.number(1) + 1, grid.number(1) + 1
        width, height = (grid.number(4 if flags & 1 else 2) for _ in range(2))
        tiles = [self._find(number) for number in self._item.parts]
        if (width, height) != (self.width, self.height) or len(tiles) != rows * columns:
            raise HeifError("its tiles do not make up the picture")
        if len(tiles) > _MOST_TILES or any(tile.kind != b"hvc1" for tile in tiles):
            raise HeifError("a grid of such tiles is not read")
        whole = first = np.empty((0, 0, 3), np.uint8)
        for i, image in self._decode(tiles, max_pixels):
            tall, wide = image.shape[:2]
            # Those at the right and lower edge may reach beyond it; none is missing or too many.
            if -(-width // wide) != columns or -(-height // tall) != rows:
                raise HeifError("its tiles do not make up the picture")
            if not whole.size:
                whole, first = np.empty((height, width, 3), np.uint8), image
            if image.shape != first.shape:
                raise HeifError("its tiles differ in size")
            top, left = i // columns * tall, i % columns * wide
            place = whole[top : top + tall, left : left + wide]
            place[:] = image[: place.shape[0], : place.shape[1]]
        return whole

    def _decode(self, items: Sequence[_Item], max_pixels: int) -> Iterator[tuple[int, _Picture]]:
        """HEVC pictures, all with the parameters of the first, each with its number.

        One by one: the first tile of thousands tells whether all of them together are too large.
        """
        import av
        from av.codec.context import CodecContext

        setup = items[0].value(b"hvcC")
        if any(item.value(b"hvcC") != setup for item in items) or not setup:
            raise HeifError("its tiles have no common parameters")
        if sum(length for item in items for _, length in item.place[1]) > len(self._data):
            raise HeifError("its parts overlap")  # thousands of them may be one and the same
        decoder = CodecContext.create("hevc", "r")
        assert isinstance(decoder, av.VideoCodecContext)
        decoder.extradata = setup
        most = min(max(max_pixels, _TILE_PIXELS), FFMPEG_MOST)
        decoder.options = {"max_pixels": str(most)}
        found: set[int] = set()
        try:
            for i, item in enumerate([*items, None]):
                packet = None
                if item is not None:
                    packet = av.Packet(self._content(item))
                    packet.pts = i
                for frame in decoder.decode(packet):
                    if frame.pts is not None and frame.pts not in found:
                        found.add(frame.pts)
                        yield frame.pts, np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
        except MemoryError:  # FFmpeg's is one of its errors as well, and no damage
            raise
        except av.FFmpegError as error:
            raise HeifError(f"its pixels cannot be decoded: {error.strerror}") from error
        if len(found) < len(items):
            raise HeifError(f"{len(items) - len(found)} of its {len(items)} parts are damaged")

    def _content(self, item: _Item) -> bytes:
        method, extents = item.place
        held = (self._data, self._inline)[method]
        if any(start + length > len(held) for start, length in extents) or not extents:
            raise HeifError("it ends too early")
        if sum(length for _, length in extents) > len(held):
            raise HeifError("its parts overlap")
        return b"".join(held[start : start + length] for start, length in extents)

    def _find(self, number: int) -> _Item:
        if number not in self._items:
            raise HeifError(f"it lacks item {number}")
        return self._items[number]

    def _read_kinds(self, body: bytes) -> None:
        reader = _Bytes(body)
        version, _ = reader.version()
        reader.number(2 if version == 0 else 4)
        for kind, entry in _boxes(body[reader.at :]):
            one = _Bytes(entry)
            version, _ = one.version()
            if kind == b"infe" and version in (2, 3):
                number = one.number(2 if version == 2 else 4)
                one.take(2)
                self._items[number] = _Item(one.take(4))

    def _read_places(self, body: bytes) -> None:
        reader = _Bytes(body)
        version, _ = reader.version()
        sizes = reader.number(2)
        of_offset, of_length, of_base, of_index = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
        # Without lengths, thousands of extents would take no room in the file, but much in memory.
        if not {of_offset, of_base} <= {0, 4, 8} or of_length not in (4, 8) or version > 2:
            raise HeifError("its index is not read")
        for _ in range(reader.number(2 if version < 2 else 4)):
            item = self._items.get(reader.number(2 if version < 2 else 4), _Item())
            method = reader.number(2) & 15 if version else 0
            reader.take(2)
            base = reader.number(of_base)
            extents = []
            for _ in range(reader.number(2)):
                reader.take(of_index if version else 0)
                extents.append((base + reader.number(of_offset), reader.number(of_length)))
            item.place = (method, extents) if method < 2 else (0, ())  # 2: in another item

    def _read_properties(self, boxes: dict[bytes, bytes]) -> None:
        known = list(_boxes(boxes.get(b"ipco", b"")))
        reader = _Bytes(boxes.get(b"ipma", b""))
        version, flags = reader.version()
        for _ in range(reader.number(4)):
            item = self._items.get(reader.number(2 if version == 0 else 4), _Item())
            item.properties = []  # an item is named once: else it could be turned a million times
            for _ in range(reader.number(1)):
                index = reader.number(2) & 0x7FFF if flags & 1 else reader.number(1) & 0x7F
                if index > len(known):
                    raise HeifError(f"it lacks property {index}")
                if index:
                    item.properties.append(known[index - 1])

    def _read_parts(self, body: bytes) -> None:
        if not body:
            return
        version, _ = _Bytes(body).version()
        size = 2 if version == 0 else 4
        for kind, entry in _boxes(body[4:]):
            reader = _Bytes(entry)
            item = self._items.get(reader.number(size), _Item())
            parts = [reader.number(size) for _ in range(reader.number(2))]
            if kind == b"dimg":
                item.parts = parts


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The boxes that lie one behind the other, by kind and content."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1 and at + 16 <= len(data):
            (size,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        elif size == 0:  # to the end
            size = len(data) - at
        if size < head or at + size > len(data):
            raise HeifError("it ends too early")
        yield kind, data[at + head : at + size]
        at += size


def _size(item: _Item) -> tuple[int, int]:
    reader = _Bytes(item.value(b"ispe"))
    reader.version()
    width, height = reader.number(4), reader.number(4)
    if not width or not height:
        raise HeifError("it has no pixels")
    return width, height


def _shown(image: _Picture, properties: Sequence[tuple[bytes, bytes]]) -> _Picture:
    """The picture cut, turned and mirrored, in the order in which the file says it.

    What EXIF says of that is for readers that know nothing of these.
    """
    changes: dict[bytes, Callable[[_Picture, _Bytes], _Picture]] = {
        b"clap": _cut,
        b"irot": lambda picture, value: np.rot90(picture, value.number(1) & 3),
        b"imir": lambda picture, value: np.flip(picture, value.number(1) & 1),
    }
    for kind, value in properties:
        if kind in changes:
            image = changes[kind](image, _Bytes(value))
    return image


def _cut(image: _Picture, value: _Bytes) -> _Picture:
    """What `clap` leaves: width, height, and how far its middle lies from the whole one's."""
    numbers = [struct.unpack(">iI", value.take(8)) for _ in range(4)]
    if any(not below for _, below in numbers):
        raise HeifError("it is cut to nothing")
    width, height, right, down = (above / below for above, below in numbers)
    tall, wide = image.shape[:2]
    left, top = (wide - width) / 2 + right, (tall - height) / 2 + down
    x, y, w, h = (round(v) for v in (left, top, width, height))
    if x < 0 or y < 0 or w < 1 or h < 1 or x + w > wide or y + h > tall:
        raise HeifError("it is cut to more than there is")
    return image[y : y + h, x : x + w]
