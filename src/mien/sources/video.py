"""Videos in files: FFmpeg through PyAV, with the timestamps that the container gives.

Imports av, errors, types, picture, heif and its siblings shown and source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf, isinf
from typing import Any, Final

import av

from mien.errors import SourceError
from mien.heif import FFMPEG_MOST
from mien.picture import no_memory, require_pixels
from mien.sources.shown import Shown, shown_size
from mien.sources.source import Source, Span
from mien.types import Frame

#: A video that ends this much before its announced end is reported as truncated.
_MISSING_S: Final = 1.0
_MISSING_SHARE: Final = 0.05
#: A source's clock that goes back by more than this was set anew.
BACK_S: Final = 1.0
#: Where no key frame is found, it is sought so much earlier, then so many times as much.
_BACK_AT_FIRST_S: Final = 2.0
_BACK_TIMES: Final = 4.0
#: Seconds are sums of floats.
_ROUNDING_S: Final = 1e-6
#: A picture larger than the limit is refused once it is decoded, since a header may say nothing of
#: it; one so many times as large is not decoded, since many of them might be held at a time.
_GROWTH_MOST: Final = 4
#: FFmpeg's marks of formats whose frames carry no times (AVFMT_NOTIMESTAMPS), and of those whose
#: timestamps may begin anew on the way (AVFMT_TS_DISCONT).
_NO_TIMES: Final = 0x80
_BEGINS_ANEW: Final = 0x200


def open_video(
    name: str,
    file: Any,
    max_pixels: int,
    span: Span,
    *,
    threads: int = 0,
    raised_by: str = "--max-pixels",
    watch: Callable[[float], None] = lambda time_s: None,
    **options: Any,
) -> Source:
    """Open a video.

    Args:
        name: what messages call it.
        file: a path, a URL, or an object with `read`.
        max_pixels: refuse a video whose header announces more pixels a frame.
        span: which frames are wanted.
        threads: of the decoder; 0 for as many as there are cores.
        raised_by: the option by which users raise `max_pixels`.
        watch: called with the time of every picture that is decoded, wanted or not; what it raises
            ends the reading. Between two wanted ones there may be hours.
        options: for `av.open`.

    Raises:
        SourceError: not a video, damaged, or too large.
    """
    limit: dict[str, Any] = {"max_pixels": max_pixels, "raised_by": raised_by}
    container, stream = open_container(name, file, **limit, **options)
    seeks = bool(span.start_s) and not container.format.flags & _NO_TIMES
    # Who cut a video up (`first`) has seen that its timestamps go on.
    if seeks and container.format.flags & _BEGINS_ANEW and not span.first:
        try:
            # What lies elsewhere would be fetched twice, and a pipe comes only once.
            seeks = isinstance(file, str) and "://" not in file and _goes_on(name, file, **limit)
        except BaseException:
            container.close()
            raise
    stream.thread_type = "AUTO"
    stream.codec_context.thread_count = threads
    most = min(_GROWTH_MOST * max_pixels, FFMPEG_MOST)
    stream.codec_context.options = {"max_pixels": str(most)}
    return Source(
        name,
        _video_frames(
            container, stream, span, Shown(stream, name, max_pixels, raised_by), watch, seeks=seeks
        ),
        is_video=True,
        frame_count=_frames_to_come(container, stream, span),
        close=container.close,
    )


def open_container(
    name: str, file: Any, max_pixels: int, *, raised_by: str = "--max-pixels", **options: Any
) -> tuple[av.container.InputContainer, av.VideoStream]:
    """Open a container and choose its video stream; arguments and errors as of `open_video`."""
    is_camera = "format" in options
    is_path = isinstance(file, str) and "://" not in file and not is_camera
    try:
        # Named as a file: FFmpeg takes what stands before a colon for a protocol.
        opened = f"file:{file}" if is_path else file
        container = av.open(opened, metadata_errors="ignore", **options)
    except (av.error.FFmpegError, ValueError) as error:
        raise _not_opened(name, reason(error), is_camera=is_camera) from error
    try:
        return container, _video_stream(container, name, max_pixels, raised_by)
    except BaseException:
        container.close()
        raise


def _not_opened(name: str, why: str, *, is_camera: bool) -> SourceError:
    if is_camera:
        return SourceError(
            f"{name}: no camera of this number can be opened ({why}). Check that it is plugged in, "
            "that you may use it, and that no other program does"
        )
    if "://" in name:
        return SourceError(
            f"{name}: cannot be opened as a picture or a video ({why}). Check the address, what it "
            "leads to, and that its server can be reached"
        )
    return SourceError(
        f"{name}: neither a picture nor a video that can be read ({why}). Copy it again if it is "
        "damaged or cut off; otherwise convert it"
    )


def _video_stream(
    container: av.container.InputContainer, name: str, max_pixels: int, raised_by: str
) -> av.VideoStream:
    """The first stream that is a film. Refuses one that cannot be decoded or is too large."""
    streams = [s for s in container.streams.video if not _is_cover(s)]
    # FFmpeg reads text files as "tty" pictures of their letters.
    if not streams or container.format.name == "tty":
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "none"
        raise SourceError(
            f"{name}: holds no video stream (streams: {kinds}). Give a file with pictures, or copy "
            "it again if it is cut off"
        )
    stream = streams[0]
    codec = stream.codec_context
    if not codec:  # there is no decoder of that name
        raise SourceError(
            f"{name}: its pictures are coded in a way that FFmpeg does not know. It may be "
            "damaged; otherwise convert it"
        )
    size = shown_size(codec.width, codec.height, stream.sample_aspect_ratio)
    require_pixels(name, *size, max_pixels, raised_by)
    return stream


def begins_s(container: av.container.InputContainer) -> float:
    """The timestamp with which a container begins, seconds: where its frames' `time_s` is 0.

    Recordings of broadcasts begin anywhere. Players show 0 there, and so do subtitles.
    """
    return float((container.start_time or 0) / av.time_base)


def _goes_on(name: str, file: str, **limit: Any) -> bool:
    """Whether the timestamps of a file go on to its end. Where they begin anew, one moment is found
    in two places, and what is sought may be the other one. Nothing is decoded.
    """
    container, stream = open_container(name, file, **limit)
    watch = ClockWatch()
    with container:
        try:
            return not any(watch.went_back(packet) for packet in container.demux(stream))
        except av.error.FFmpegError:  # whoever reads it from its beginning will say so
            return False


class ClockWatch:
    """Notices, without decoding, where the timestamps of a stream begin anew."""

    def __init__(self) -> None:
        self._last_s = -inf

    def went_back(self, packet: av.Packet[Any]) -> bool:
        """Whether the next packet in turn belongs to another recording than those before."""
        stamp = packet.pts if packet.dts is None else packet.dts
        if stamp is None or not packet.time_base:
            return False
        before_s, self._last_s = self._last_s, float(stamp * packet.time_base)
        # When pictures are decoded always goes on, but is some pictures ahead of when they are
        # shown. Half of what `_Clock` takes for another recording leaves room for those.
        return self._last_s < before_s - BACK_S / 2


def _is_cover(stream: av.VideoStream) -> bool:
    """Whether a stream is an album's cover picture and not a film."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _frames_to_come(
    container: av.container.InputContainer, stream: av.VideoStream, span: Span
) -> int | None:
    """For the progress bar only; time never comes from the frame rate."""
    duration_s = None if container.duration is None else container.duration / av.time_base
    count = stream.frames
    if not count and duration_s is not None and stream.average_rate:
        count = round(duration_s * float(stream.average_rate))
    if not count or span == Span(every=span.every, fps=span.fps):
        return count or None
    if not duration_s:
        return None
    wanted_s = min(span.end_s, duration_s) - span.start_s
    return max(1, round(count * wanted_s / duration_s))


def _video_frames(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    span: Span,
    shown: Shown,
    watch: Callable[[float], None],
    *,
    seeks: bool,
) -> Iterator[Frame]:
    name = shown.name
    index, time_s, decoded, reached_end = span.first, 0.0, False, False
    step_s = 1 / float(stream.average_rate) if stream.average_rate else 0.04
    begin_s = begins_s(container)
    clock = _Clock(step_s, begin_s)
    wanted, packets = span.picker(), _Packets(container, stream)
    try:
        pictures = packets.pictures_around(span.start_s + begin_s) if seeks else packets.pictures()
        for picture in pictures:
            time_s, decoded = clock.read(picture.time), True
            watch(time_s)
            if time_s >= span.end_s:
                reached_end = True
                break
            if time_s < span.start_s:
                continue
            if wanted(index, time_s):
                yield Frame(shown.rgb(picture), name, index, time_s)
            index += 1
    except MemoryError as error:  # FFmpeg's is one of its errors as well, and no damage
        raise no_memory(name, stream.width, stream.height) from error
    except av.error.FFmpegError as error:
        raise SourceError(
            f"{name}: damaged or cut off after frame {index} at {time_s:.3f} s ({reason(error)}). "
            "The results before it are complete"
        ) from error
    if index == span.first:
        raise nothing_within(name, span, time_s if decoded else None, goes_on=reached_end)
    if not reached_end:
        _require_end(name, packets, time_s, span.end_s)


def nothing_within(name: str, span: Span, last_s: float | None, *, goes_on: bool) -> SourceError:
    """Why a source has no frame within a span.

    Args:
        name: what messages call it.
        span: which frames were wanted.
        last_s: when the last one was shown that was decoded; None where none could be.
        goes_on: whether that is behind the span.
    """
    if goes_on:
        return SourceError(
            f"{name}: shows no frame from {span.start_s:g} s (--start) up to {span.end_s:g} s "
            "(--end)"
        )
    if span.start_s and last_s is not None:
        return SourceError(f"{name}: ends at {last_s:.3f} s, before {span.start_s:g} s (--start)")
    return SourceError(f"{name}: no frame could be decoded: damaged or cut off. Copy it again")


def _require_end(name: str, packets: _Packets, last_s: float, wanted_s: float) -> None:
    """Raise `SourceError` where a video ended long before its header says.

    Args:
        name: what messages call it.
        packets: all of its own are read.
        last_s: when its last picture came.
        wanted_s: up to when it is wanted; what would come later is not missed.
    """
    # What the streams say goes before the container, whose end is that of the longest of them.
    container, stream = packets.container, packets.stream
    longest_s = container.duration / av.time_base if container.duration else inf
    end_s = min(_announced_end_s(container, stream) or inf, longest_s)
    seen_s = last_s + float(packets.last_stands * (stream.time_base or 0))
    if not stream.duration:
        seen_s = max(seen_s, packets.others_end_s - begins_s(container))
    due_s = min(end_s, wanted_s)
    if not isinf(end_s) and due_s - seen_s > max(_MISSING_S, _MISSING_SHARE * due_s):
        raise SourceError(
            f"{name}: ends at {seen_s:.3f} s of {end_s:.3f} s: cut off or damaged. The results "
            "before it are complete"
        )


@dataclass
class _Packets:
    """Decodes one stream of a container.

    Attributes:
        last_stands: for how long its latest picture is shown, in the stream's own unit; 0 where
            the container does not say.
        others_end_s: the timestamp with which the last packet of all other streams ends.
    """

    container: av.container.InputContainer
    stream: av.VideoStream
    last_stands: int = 0
    others_end_s: float = -inf

    def pictures_around(self, start_s: float) -> Iterator[av.VideoFrame]:
        """All pictures stamped from `start_s` on, and perhaps some before.

        The container seeks a key frame before; some (MPEG) know none and land between two, where
        nothing can be decoded up to the next. So what comes too late is sought further back. Where
        nothing can be sought (a pipe), everything is decoded.
        """
        first: av.VideoFrame | None = None
        pictures, back_s = self.pictures(), 0.0
        lowest_s = begins_s(self.container) - _BACK_AT_FIRST_S
        target_s = start_s
        while base := self.stream.time_base:
            try:
                self.container.seek(round(target_s / base), stream=self.stream)
            except av.error.FFmpegError:
                own_s = float((self.stream.start_time or 0) * base)
                if target_s == own_s:
                    break
                # Some (FLV) refuse what lies before their first picture, and lose their place.
                target_s = lowest_s = own_s
                continue
            pictures = self.pictures()
            first = next(pictures, None)
            came_s = -inf if first is None or first.time is None else first.time
            is_late = first is None or came_s > start_s + _ROUNDING_S
            if not is_late or target_s <= lowest_s:
                break
            back_s = max(_BACK_AT_FIRST_S, back_s * _BACK_TIMES)
            target_s = max(start_s - back_s, lowest_s)
        if first is not None:
            yield first
        yield from pictures

    def pictures(self) -> Iterator[av.VideoFrame]:
        for packet in self.container.demux():
            if packet.stream.index == self.stream.index:  # also of the empty one that ends it
                for picture in packet.decode():
                    if isinstance(picture, av.VideoFrame):
                        self.last_stands = picture.duration or 0
                        yield picture
            elif packet.pts is not None and packet.time_base:
                ends = (packet.pts + (packet.duration or 0)) * packet.time_base
                self.others_end_s = max(self.others_end_s, float(ends))


@dataclass
class _Clock:
    """When each frame in turn is shown, seconds: by its timestamp, and never before the last one.

    It counts from the timestamp `begin_s`; what is stamped earlier is shown at once. A frame
    without a timestamp follows its predecessor. Where the timestamps begin anew, as in recordings
    that were joined end to end, the clock goes on.
    """

    step_s: float
    begin_s: float
    _last_s: float | None = None
    _added_s: float = 0.0

    def read(self, stamp_s: float | None) -> float:
        stamped_s = None if stamp_s is None else float(stamp_s) - self.begin_s
        if self._last_s is None:
            self._last_s = max(stamped_s or 0.0, 0.0)
            return self._last_s
        following_s = self._last_s + self.step_s
        time_s = following_s if stamped_s is None else stamped_s + self._added_s
        if time_s < self._last_s - BACK_S:
            self._added_s += following_s - time_s
            time_s = following_s
        self._last_s = max(time_s, self._last_s)
        return self._last_s


def _announced_end_s(
    container: av.container.InputContainer, stream: av.VideoStream
) -> float | None:
    """When the video ends by its header; None where that does not say."""
    if not stream.duration or not stream.time_base:
        return None
    stamp_s = float((stream.duration + (stream.start_time or 0)) * stream.time_base)
    return stamp_s - begins_s(container)


def reason(error: Exception) -> str:
    """Why, in FFmpeg's words, on one line."""
    text = str(getattr(error, "strerror", None) or error) or type(error).__name__
    return text.splitlines()[0]
