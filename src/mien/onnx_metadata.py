"""What an ONNX file says about itself, read without opening its network.

Imports nothing from mien.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

_METADATA_PROPS: Final = 14  # the field's number in ONNX's ModelProto


def read_metadata(path: Path) -> dict[str, str]:
    """What an ONNX file says about itself: its `metadata_props`, read without opening its network.

    Raises:
        OSError: it cannot be read.
        LookupError, ValueError: not an ONNX file.
    """
    model = memoryview(path.read_bytes())
    entries = [
        dict(_fields(field)) for number, field in _fields(model) if number == _METADATA_PROPS
    ]
    return {bytes(entry[1]).decode(): bytes(entry[2]).decode() for entry in entries}


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Numbers and contents of the fields with a length in a message of Protocol Buffers."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        length, at = _varint(message, at)
        if kind == 2:
            yield number, message[at : at + length]
            at += length
        elif kind != 0:  # a number, read already; ONNX has no other kinds here
            raise ValueError("not an ONNX file")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """The whole number at a place, seven bits a byte from the lowest on, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        value |= (message[at] & 0x7F) << shift
        at += 1
        if message[at - 1] < 0x80:
            return value, at
    raise ValueError("not an ONNX file")
