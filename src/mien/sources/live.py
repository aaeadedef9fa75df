"""Sources that cannot be opened twice: cameras, network streams; and standard input, by `pipe`.

Imports av, errors, types, picture and its siblings.

A live source does not wait. A thread reads it as fast as it comes, and whoever iterates gets the
newest frame: where the analysis is slower than the camera, frames are dropped and delay does not
build up. A network stream that breaks off is opened again for a while.
"""

from __future__ import annotations

import io
import os
import platform
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import av

from mien.errors import SourceError
from mien.picture import looks_like_picture
from mien.sources.pipe import one_picture, open_pipe
from mien.sources.shown import Shown
from mien.sources.source import Source, Span
from mien.sources.video import BACK_S, nothing_within, open_container, open_video, reason
from mien.types import Frame

_URL: Final = re.compile(r"[a-z][a-z0-9+.-]+://", re.I)
_ACCESS: Final = re.compile(rf"^({_URL.pattern})[^/?#]*@", re.I)  # up to a user and a password
_OPEN_S: Final = 10.0  # patience with a server that does not answer
_READ_S: Final = 10.0  # and with one that stops sending
_RETRIES: Final = 6  # in a row, with growing pauses: about half a minute
_LONGEST_PAUSE_S: Final = 8.0
#: How FFmpeg goes on with a file where its server breaks off, if that gives parts of files: after
#: pauses that double, up to 15 s; half a minute in all.
_RECONNECT: Final = {
    "reconnect": "1",
    "reconnect_on_network_error": "1",
    "reconnect_delay_max": "15",
    "rw_timeout": f"{_READ_S * 1e6:.0f}",
}
_RECONNECT_S: Final = 40.0
#: A live source's clock that goes forth by so much more than time has passed was set anew.
_FORTH_S: Final = 10.0
_LEAST_STEP_S: Final = 1e-3  # between two frames, whatever their stamps are
_UNDECODABLE: Final = 50  # packets in a row; after so many, a source has broken off
_HALT_S: Final = 1.0  # how long whoever leaves a source waits for it to be released
#: Formats of FFmpeg's whose size is that of a list of parts, to which more may be added.
_PLAYLISTS: Final = ("hls", "dash")
#: And those in which a sender who does not know the length announces one of 0.
_ZERO_FOR_UNKNOWN: Final = ("flv", "live_flv")


def is_live(name: str) -> bool:
    """Whether it names a camera (a number), a network stream (a URL) or standard input (`-`)."""
    camera = name.isdecimal() and not os.path.exists(name)
    return name == "-" or camera or bool(_URL.match(name))


def shown_name(name: str) -> str:
    """What results and messages call a source: as it was given; an address, without the user and
    the password in it.
    """
    return _ACCESS.sub(r"\1", name)


def open_live(file: str, max_pixels: int, span: Span) -> Source:
    """Open a camera, a network stream or standard input.

    Raises:
        SourceError: no such camera, no answer, or nothing that can be decoded.
    """
    if file == "-":
        # There is none where it was closed, as for services.
        stream = sys.stdin.buffer if sys.stdin else io.BufferedReader(io.BytesIO())
        assert isinstance(stream, io.BufferedReader)
        return open_pipe("-", stream, max_pixels, span)
    name = shown_name(file)
    if file.isdecimal():
        device, options = _camera(int(file))
        reader = _Reader(name, device, options, max_pixels, retries=0)
    else:
        options = {"timeout": (_OPEN_S, _READ_S)}
        if file.lower().startswith("rtsp"):
            options["options"] = {"rtsp_transport": "tcp"}
        container, _ = open_container(name, file, max_pixels, **options)
        with container:
            kind = container.format.name
            ends = _ends(container)
            brand = container.metadata.get("major_brand", "")
            if ends and (kind == "image2" or kind.endswith("_pipe")):
                with _said_of(name):
                    data = _bytes_of(container)
                return one_picture(io.BytesIO(data), name, max_pixels)
        if looks_like_picture(b"\0\0\0\0ftyp" + brand.encode()):
            # FFmpeg takes it for a film of its tiles, whose packets are not the whole file.
            with _said_of(name), av.open(file, format="data", **options) as container:
                data = _bytes_of(container)
            return one_picture(io.BytesIO(data), name, max_pixels)
        if ends:
            if file.lower().startswith("http"):  # and it is there: else that is said at once
                options |= {"timeout": (_OPEN_S, _RECONNECT_S), "options": dict(_RECONNECT)}
            return open_video(name, file, max_pixels, span, **options)
        reader = _Reader(name, file, options, max_pixels, retries=_RETRIES)
    reader.start()
    return Source(
        name,
        reader.frames(span),
        is_video=True,
        frame_count=None,
        is_live=True,
        close=reader.halt,
    )


def _ends(container: av.container.InputContainer) -> bool:
    """Whether it is a file that lies on a server, and no stream.

    Recordings of browsers, and pictures, say no duration, and parts of an MP4 one of 0.
    """
    kind, duration = container.format.name, container.duration
    if duration or (duration == 0 and kind not in _ZERO_FOR_UNKNOWN):
        return True
    return container.size > 0 and kind not in _PLAYLISTS


@contextmanager
def _said_of(name: str) -> Iterator[None]:
    """Raise `SourceError` where a picture behind an address breaks off."""
    try:
        yield
    except av.error.FFmpegError as error:
        raise SourceError(
            f"{name}: broke off ({reason(error)}). Try again, or download it first"
        ) from error


def _bytes_of(container: av.container.InputContainer) -> bytes:
    return b"".join(bytes(packet) for packet in container.demux())


def _camera(number: int) -> tuple[str, dict[str, Any]]:
    """The name and the options by which this system's FFmpeg knows a camera."""
    system = platform.system()
    if system == "Linux":
        return f"/dev/video{number}", {"format": "v4l2"}
    if system == "Darwin":
        return f"{number}:none", {"format": "avfoundation", "options": {"framerate": "30"}}
    raise SourceError(
        f"{number}: cameras are not opened by number on this system. Let a program such as FFmpeg "
        "send the camera's pictures to standard input as Matroska (`-f matroska -`), and analyse "
        "`-`"
    )


class _Newest(NamedTuple):
    """What came last from a live source, not yet turned into RGB: few frames are asked for."""

    number: int
    time_s: float
    picture: av.VideoFrame
    shown: Shown


class _Reader(threading.Thread):
    """Reads a live source in the background and keeps its newest frame.

    Args:
        name: what messages call it.
        file, options: of `av.open`.
        max_pixels: refuse a source that announces more pixels a frame.
        retries: how often in a row it is opened again where it breaks off or ends.
    """

    def __init__(
        self, name: str, file: str, options: dict[str, Any], max_pixels: int, *, retries: int
    ) -> None:
        super().__init__(name=f"mien reads {name}", daemon=True)
        self._name, self._file, self._options = name, file, options
        self._max_pixels, self._retries = max_pixels, retries
        self._changed = threading.Condition()
        self._newest: _Newest | None = None
        self._count = 0  # of frames that have come
        self._error: SourceError | None = None
        self._ended = False
        self._halt = threading.Event()

    def halt(self) -> None:
        """End the thread. The source is released when the frame that it waits for comes: of a
        camera, when this returns.
        """
        self._halt.set()
        with self._changed:
            self._changed.notify_all()
        self.join(_HALT_S)

    def frames(self, span: Span) -> Iterator[Frame]:
        """The newest frame, again and again, until the source ends or `span` does.

        Raises:
            SourceError: it broke off, or ended without a frame within the span.
        """
        wanted, given = span.picker(), False
        first = None if span.start_s else 0  # as in files, frames are numbered from there
        last_s: float | None = None
        while True:
            with self._changed:
                self._changed.wait_for(self._has_news)
                newest, self._newest = self._newest, None
            if newest is None:
                if self._error is not None:
                    raise self._error
                if not given and not self._halt.is_set():
                    raise nothing_within(self._name, span, last_s, goes_on=False)
                return
            number, last_s, picture, shown = newest
            if last_s >= span.end_s:
                if not given:
                    raise nothing_within(self._name, span, last_s, goes_on=True)
                return
            if last_s < span.start_s:
                continue
            first = number if first is None else first
            if wanted(number - first, last_s):
                given = True
                yield Frame(shown.rgb(picture), self._name, number - first, last_s)

    def _has_news(self) -> bool:
        return self._newest is not None or self._ended or self._halt.is_set()

    def run(self) -> None:
        """Read to the end. Whatever happens here, whoever waits for a frame hears of it."""
        try:
            self._read()
        except Exception as error:  # a driver's, or a defect of ours
            self._error = SourceError(f"{self._name}: cannot be read any more ({reason(error)})")
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _read(self) -> None:
        """Read, and where the source breaks off or ends, open it again."""
        clock, failures = _Clock(), 0
        while not self._halt.is_set():
            before, broken = self._count, True
            try:
                self._read_once(clock)
                error, broken = SourceError(f"{self._name}: the stream ended"), False
            except SourceError as failure:
                error = failure
            except av.error.FFmpegError as failure:
                error = SourceError(
                    f"{self._name}: the stream broke off ({reason(failure)}). The results before "
                    "it are complete"
                )
            failures = failures + 1 if self._count == before else 1
            if failures > self._retries:
                # A camera may end well, once it has shown something; a stream is not meant to.
                if broken or not self._count or self._retries:
                    self._error = error
                return
            self._halt.wait(min(0.5 * 2**failures, _LONGEST_PAUSE_S))

    def _read_once(self, clock: _Clock) -> None:
        """Open the source and read it until it ends, or nobody wants it any more."""
        container, stream = open_container(
            self._name, self._file, self._max_pixels, **self._options
        )
        with container:
            shown = Shown(stream, self._name, self._max_pixels)
            clock.source_opened()
            for picture in _pictures(container, stream):
                if self._halt.is_set():
                    return
                self._give(_Newest(self._count, clock.read(picture.time), picture, shown))

    def _give(self, newest: _Newest) -> None:
        with self._changed:
            self._newest = newest
            self._count += 1
            self._changed.notify_all()


def _pictures(
    container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[av.VideoFrame]:
    """All that can be decoded. What cannot is passed over: a cable or the air damages a packet now
    and then, and those after it are good.
    """
    failures = 0
    for packet in container.demux(stream):
        try:
            pictures = packet.decode()
        except av.error.FFmpegError:  # each decoder has its own kinds
            failures += 1
            if failures > _UNDECODABLE:
                raise
            continue
        for picture in pictures:
            failures = 0
            assert isinstance(picture, av.VideoFrame)
            yield picture


@dataclass
class _Clock:
    """When each frame of a live source in turn came: seconds since the first, always more.

    It goes as the source's own clock does. Where that was set anew, by a driver or because the
    source was opened again, it goes on with the time that has passed here.
    """

    _began_s: float | None = None  # when the first frame came, by the clock here
    _came_s: float = 0.0  # and the last one
    _stamp_s: float | None = None  # of the last frame, by the source's clock; None before any
    _added_s: float = 0.0  # to the source's clock
    _last_s: float = -_LEAST_STEP_S

    def source_opened(self) -> None:
        """What comes next is stamped by another clock."""
        self._stamp_s = None

    def read(self, stamp_s: float | None) -> float:
        """When a frame came that comes now, by its stamp; None where it has none."""
        came_s = time.monotonic()
        if self._began_s is None:
            self._began_s = came_s
        if stamp_s is None:
            stamp_s = came_s
        least_s = self._last_s + _LEAST_STEP_S
        if self._was_set(stamp_s, came_s):
            self._added_s = max(came_s - self._began_s, least_s) - stamp_s
        self._came_s, self._stamp_s = came_s, stamp_s
        self._last_s = max(stamp_s + self._added_s, least_s)
        return self._last_s

    def _was_set(self, stamp_s: float, came_s: float) -> bool:
        """Whether the source's clock was set since the last frame."""
        if self._stamp_s is None:
            return True
        waited_s = came_s - self._came_s
        return not -BACK_S <= stamp_s - self._stamp_s <= waited_s + _FORTH_S
