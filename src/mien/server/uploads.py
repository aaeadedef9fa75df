"""What a request carries: files, read as they come.

May import Starlette, python-multipart and its sibling refusals.

Starlette would write an upload to the system's temporary folder before we see it. Here each piece
goes where it belongs as it comes, and a body that is too large ends when it becomes so.
"""

from __future__ import annotations

import asyncio
import logging
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from mien.server.refusals import Refusal

_FIELD: Final = "file"
_LONGEST_NAME: Final = 200
_STALL_S: Final = 20.0
_RAW: Final = ("image/", "video/", "application/octet-stream", "binary/octet-stream")

# It would say on stderr what is wrong with a client's request; the client is told.
logging.getLogger("python_multipart").addHandler(logging.NullHandler())

_HOW: Final = (
    "Send multipart/form-data with a field `file`, or the file's bytes as image/…, video/… or "
    "application/octet-stream"
)


async def read_files(
    request: Request,
    open_file: Callable[[], BinaryIO],
    *,
    max_files: int,
    max_bytes: float,
    take: Callable[[int], None],
    on_disk: bool = False,
) -> list[tuple[str, BinaryIO]]:
    """The files in a request's body, each with the client's name for it.

    Args:
        request: the request; its body is not read yet.
        open_file: makes what a file is written to.
        max_files: at most so many.
        max_bytes: of the whole body, by its header or counted.
        take: called with the size of every piece before it is kept.
        on_disk: whether writing may take long.

    Raises:
        Refusal: no file, too many, too large, or not in a form that is understood.
        ClientDisconnect: the client went away in the middle.
    """
    if _announced(request) > max_bytes:
        raise _too_large(max_bytes)
    parts = _parts(request, open_file, max_files)
    size = 0
    async for piece in _pieces(request):
        size += len(piece)
        if size > max_bytes:
            raise _too_large(max_bytes)
        take(len(piece))
        try:
            if on_disk:
                await run_in_threadpool(parts.write, piece)
            else:
                parts.write(piece)
        except FormParserError as error:
            raise Refusal(400, f"the multipart body cannot be read ({error})") from error
    return parts.finish()


async def save_files(
    request: Request, paths: Sequence[Path], *, max_bytes: float, take: Callable[[int], None]
) -> list[tuple[str, Path]]:
    """`read_files` onto the disk: where each file lies, and the client's name for it.

    Args:
        request: the request; its body is not read yet.
        paths: names that are free, taken in their order; there are as many as files may come.
        max_bytes: as of `read_files`.
        take: as of `read_files`.

    Raises:
        Refusal: as `read_files`.
        ClientDisconnect: as `read_files`.
        OSError: the disk does not take them.
    """
    free, opened = iter(paths), list[BinaryIO]()

    def open_file() -> BinaryIO:
        opened.append(next(free).open("xb"))
        return opened[-1]

    try:
        named = await read_files(
            request,
            open_file,
            max_files=len(paths),
            max_bytes=max_bytes,
            take=take,
            on_disk=True,
        )
    finally:
        for file in opened:
            file.close()
    return [(name, path) for (name, _), path in zip(named, paths, strict=False)]


def _announced(request: Request) -> int:
    """How many bytes a request's header says that there are; 0 where it does not say."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() else 0


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes, unless it stops coming."""
    stream = aiter(request.stream())
    while True:
        try:
            async with asyncio.timeout(_STALL_S):
                piece = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Refusal(408, f"nothing came for {_STALL_S:g} seconds") from None
        yield piece


def clean_name(name: str) -> str:
    """A client's name for a file as text: its last part, without what cannot be printed.

    It is not fit to be a path: it may be empty, `..`, or too long for a file.
    """
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(c for c in last if unicodedata.category(c)[0] != "C")[:_LONGEST_NAME]


class Room:
    """How much may lie in the data folder, what is still coming in counted.

    Args:
        used: how many bytes lie there.
        most: how many may.
    """

    def __init__(self, used: Callable[[], int], most: float) -> None:
        self._used, self._most = used, most
        self._coming = 0

    @contextmanager
    def hold(self, request: Request) -> Iterator[Callable[[int], None]]:
        """Room for a request's body within the block. What it gives is `take` of `read_files`.

        Raises:
            Refusal: there is no room for what the request announces, or from `take` for what came.
        """
        self._require(_announced(request))
        held = 0

        def take(size: int) -> None:
            nonlocal held
            self._require(size)
            held += size
            self._coming += size

        try:
            yield take
        finally:
            self._coming -= held

    def _require(self, size: int) -> None:
        """Refuse so many bytes if they do not fit."""
        if self._used() + self._coming + size > self._most:
            raise Refusal(507, "the folder for videos is full. Delete some, or wait until they go")


class _Raw:
    """A body that is one file."""

    def __init__(self, name: str, file: BinaryIO) -> None:
        self._name, self._file = name, file

    def write(self, piece: bytes) -> None:
        self._file.write(piece)

    def finish(self) -> list[tuple[str, BinaryIO]]:
        return [(self._name, self._file)]


class _Multipart:
    """A body of parts, of which those called `file` are kept."""

    def __init__(self, boundary: bytes, open_file: Callable[[], BinaryIO], max_files: int) -> None:
        self._open, self._max_files = open_file, max_files
        self._files: list[tuple[str, BinaryIO]] = []
        self._file: BinaryIO | None = None
        self._header = self._value = b""
        self._disposition = b""
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._on_header,
                "on_header_value": self._on_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers,
                "on_part_data": self._on_data,
                "on_end": self._on_end,
            },
        )

    def write(self, piece: bytes) -> None:
        self._parser.write(piece)

    def finish(self) -> list[tuple[str, BinaryIO]]:
        if not self._ended:
            raise Refusal(400, "the multipart body ends before its last boundary")
        if not self._files:
            raise Refusal(422, f"no file came. {_HOW}")
        return self._files

    def _begin(self) -> None:
        self._disposition, self._file = b"", None

    def _on_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._disposition.decode("latin-1"))
        field = _decoded(options.get(b"name", b""))
        if field != _FIELD:
            raise Refusal(422, f"a field {clean_name(field)!r} came, expected only `{_FIELD}`")
        if len(self._files) == self._max_files:
            raise Refusal(413, f"more files than the limit of {self._max_files}")
        self._file = self._open()
        self._files.append((clean_name(_decoded(options.get(b"filename", b""))), self._file))

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(data[start:end])

    def _on_end(self) -> None:
        self._ended = True


def _parts(
    request: Request, open_file: Callable[[], BinaryIO], max_files: int
) -> _Raw | _Multipart:
    kind = request.headers.get("content-type", "application/octet-stream")
    media, options = parse_options_header(kind)
    if media == b"multipart/form-data":
        try:
            return _Multipart(options.get(b"boundary", b""), open_file, max_files)
        except FormParserError as error:
            raise Refusal(400, f"the multipart body cannot be read ({error})") from error
    if media.decode("latin-1").startswith(_RAW):
        return _Raw(clean_name(request.query_params.get("name", "")), open_file())
    raise Refusal(415, f"Content-Type {kind[:80]!r} is not understood. {_HOW}")


def _too_large(max_bytes: float) -> Refusal:
    return Refusal(413, f"the request is larger than the limit of {max_bytes / 1e6:g} MB")


def _decoded(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")
