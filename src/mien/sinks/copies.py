"""Annotated copies of pictures and videos. Imports numpy, Pillow, av, errors, types, sink."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, Final

import av
import numpy as np
from PIL import Image

from mien.errors import SinkError
from mien.sinks.sink import FileSink
from mien.types import FrameResult, UInt8Array

_CLOCK: Final = Fraction(1, 90_000)  # s; the time base in which video frames are stamped
_RATE: Final = 48_000  # samples a second of sound whose own rate the encoder does not take
_BACK_S: Final = 1.0  # sound whose clock goes back by more belongs to another recording
_AHEAD_S: Final = 0.5  # sound that comes so much before what is wanted is not decoded
_BEGINS_ANEW: Final = 0x200  # FFmpeg's mark of formats whose clock may (AVFMT_TS_DISCONT)


class PictureSink(FileSink):
    """The annotated copy of one picture."""

    needs_image = True

    def _open(self) -> None:
        self._written = False

    def _write(self, result: FrameResult, image: UInt8Array | None) -> None:
        if self._written:
            raise SinkError(
                f"{self.target}: one picture can hold one frame only. For many pictures give a "
                "folder (a name that ends in /), for a video a name that ends in .mp4"
            )
        picture = _required(image)
        lossy = self.target.suffix.lower() in (".jpg", ".jpeg", ".webp")
        settings: dict[str, Any] = {"quality": 92} if lossy else {}
        try:
            Image.fromarray(picture).save(self._partial, **settings)
        except ValueError as error:  # Pillow's, of a size that the format does not have
            raise self._failed(error) from error
        self._written = True

    def _close(self) -> None:
        """Nothing to complete: a picture is written at once."""


class _Sound:
    """The sound of a video file, encoded anew for its annotated copy, as far as the film has come.

    Packets that cannot be decoded are passed over. From sound on that cannot be encoded, or that
    belongs to another recording, the copy is silent. What comes a second time, where recordings
    recordings overlap, is left out.

    Attributes:
        silent_s: from when on the copy is silent, though the film goes on with sound.

    Raises:
        ValueError: there is no sound.
        NotImplementedError: it is coded in a way that is not known.
        av.error.FFmpegError: it cannot be read or encoded.
    """

    silent_s: float | None = None
    _resampler: av.AudioResampler
    _form: tuple[object, ...] = ()  # of the samples that came last
    _heard_s = -np.inf  # up to when it is copied

    def __init__(self, file: str, copy: av.container.OutputContainer, begin_s: float) -> None:
        self._source = av.open(f"file:{file}", metadata_errors="ignore")
        heard = next((s for s in self._source.streams.audio if s.codec_context), None)
        if heard is None:
            raise NotImplementedError if self._source.streams.audio else ValueError
        codec = "libopus" if "webm" in copy.format.name else "aac"
        rate = heard.codec_context.sample_rate
        if rate not in (av.Codec(codec, "w").audio_rates or ()):
            rate = _RATE
        layout = "mono" if heard.codec_context.channels == 1 else "stereo"
        stream = copy.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(stream, av.AudioStream)
        self._copy, self._stream = copy, stream
        stream.codec_context.open()
        # Where the film's clock shows 0: see `mien.sources.video.begins_s`.
        self._zero_s = (self._source.start_time or 0) / av.time_base
        self._begin_s, self._now_s = begin_s, -1.0
        # Where timestamps may begin anew, another recording's sound might be found.
        if begin_s and heard.time_base and not self._source.format.flags & _BEGINS_ANEW:
            stamp_s = begin_s + self._zero_s
            self._source.seek(int(stamp_s / heard.time_base), stream=heard)
        self._frames = self._decoded(heard)

    def play_to(self, time_s: float) -> None:
        """Copy what is heard up to `time_s`."""
        while self._now_s < time_s:
            try:
                frame = next(self._frames, None)
            except av.error.FFmpegError:
                self._fall_silent()
                return
            if frame is None or frame.time is None or not frame.time_base:
                self._now_s = np.inf
                return
            self._now_s = frame.time - self._zero_s
            lasts_s = frame.samples / frame.sample_rate
            if self._now_s >= max(self._begin_s, self._heard_s - lasts_s / 2):
                self._heard_s = self._now_s + lasts_s
                # In samples: what is resampled is stamped so, and the encoder takes one kind alone.
                frame.time_base = Fraction(1, frame.sample_rate)
                frame.pts = round(self._now_s * frame.sample_rate)
                self._encode(frame)

    def close(self) -> None:
        """Encode what is under way."""
        self._encode(None)
        self._source.close()

    def _decoded(self, heard: av.AudioStream) -> Iterator[av.AudioFrame]:
        """What can be decoded of the recording that comes first."""
        last_s = -np.inf
        for packet in self._source.demux(heard):
            if packet.pts is not None and packet.time_base:
                before_s, last_s = last_s, float(packet.pts * packet.time_base) - self._zero_s
                # Where recordings were joined, its clock begins anew, and the film's goes on.
                if last_s < before_s - _BACK_S:
                    self._fall_silent()
                    return
                if last_s < self._begin_s - _AHEAD_S:
                    continue
            try:
                frames = packet.decode()
            except av.error.FFmpegError:  # a damaged one; those after it are good
                continue
            yield from (frame for frame in frames if isinstance(frame, av.AudioFrame))

    def _encode(self, frame: av.AudioFrame | None) -> None:
        """Copy a frame; None for what is under way. Errors of writing it are the copy's."""
        try:
            parts = self._resampled(frame)
            packets = [packet for part in parts for packet in self._stream.encode(part)]
            if frame is None:
                packets += self._stream.encode(None)
        except (av.error.FFmpegError, ValueError):  # as of samples that are no numbers
            self._fall_silent()
            return
        self._copy.mux(packets)

    def _fall_silent(self) -> None:
        self._now_s = np.inf
        if self.silent_s is None:
            self.silent_s = float(max(self._begin_s, self._heard_s))

    def _resampled(self, frame: av.AudioFrame | None) -> Sequence[av.AudioFrame]:
        """As the encoder takes it."""
        if frame is None:
            return self._resampler.resample(None) if self._form else []
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form != self._form:  # as broadcasts change it on the way
            encoder, self._form = self._stream.codec_context, form
            self._resampler = av.AudioResampler(
                encoder.format, encoder.layout, encoder.rate, frame_size=encoder.frame_size or None
            )
        return self._resampler.resample(frame)


def _file_called(source: str) -> str:
    """The file of a source, in whose name bytes that are no text may have become escapes."""
    if os.path.isfile(source):
        return source
    escaped = rb"\\x([89a-f][0-9a-f])"
    return os.fsdecode(
        re.sub(escaped, lambda byte: bytes.fromhex(byte[1].decode()), os.fsencode(source))
    )


class VideoSink(FileSink):
    """The annotated copy of one video: H.264 and its sound, each frame at the time it had."""

    needs_image = True
    _errors = (OSError, av.error.FFmpegError)

    def _open(self) -> None:
        self._container = av.open(f"file:{self._partial}", "w")
        self._stream: av.VideoStream | None = None
        self._sound: _Sound | None = None
        self._source: str | None = None
        self._last = -1
        self._stands = 0  # for how long the last picture is shown, by the step before it

    def _write(self, result: FrameResult, image: UInt8Array | None) -> None:
        if self._source not in (None, result.source):
            raise SinkError(
                f"{self.target}: is the copy of {self._source}, and {result.source} follows it. "
                "Give a folder (a name that ends in /) for several sources"
            )
        self._source = result.source
        picture = _required(image)
        if self._stream is None:
            self._stream = self._add_stream(*picture.shape[:2])
            self._sound = self._sound_of(result.source, result.time_s)
        fitting = _fitted(picture, self._stream.height, self._stream.width)
        frame = av.VideoFrame.from_ndarray(fitting, format="rgb24")
        before, self._last = self._last, max(self._last + 1, round(result.time_s / _CLOCK))
        self._stands = self._last - before if before >= 0 else 0
        frame.pts, frame.time_base = self._last, _CLOCK
        self._container.mux(self._stream.encode(frame))
        if self._sound is not None:
            self._sound.play_to(result.time_s)

    def _sound_of(self, source: str, begin_s: float) -> _Sound | None:
        """The sound of a file; None where there is none, or no file to open again."""
        file = _file_called(source)
        if not os.path.isfile(file):
            return None
        try:
            return _Sound(file, self._container, begin_s)
        except ValueError:
            return None
        except (av.error.FFmpegError, NotImplementedError):
            self.remarks = [f"{self.target}: is silent: the sound of {source} cannot be read"]
            return None

    def _add_stream(self, height: int, width: int) -> av.VideoStream:
        codec = "libvpx-vp9" if self.target.suffix.lower() == ".webm" else "libx264"
        stream = self._container.add_stream(codec, rate=30)
        assert isinstance(stream, av.VideoStream)
        # Most codecs store colour for blocks of 2 x 2 pixels: an odd last line is left out, unless
        # it is the only one.
        stream.width, stream.height = (max(2, n - n % 2) for n in (width, height))
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = _CLOCK
        stream.options = {"preset": "veryfast", "crf": "20"} if codec == "libx264" else {}
        return stream

    def _close(self) -> None:
        if self._sound is not None:
            self._sound.play_to(float((self._last + self._stands) * _CLOCK))
            self._sound.close()
            if self._sound.silent_s is not None:
                self.remarks = [
                    f"{self.target}: is silent from {self._sound.silent_s:.1f} s on, where the "
                    f"sound of {self._source} cannot be copied"
                ]
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()


def _fitted(picture: UInt8Array, height: int, width: int) -> UInt8Array:
    """A picture as it fits into a video of this size, RGB `uint8`.

    Broadcasts and calls change their size on the way. Such a picture gets black bars where it has
    another shape; the encoder resizes it.
    """
    tall, wide = picture.shape[:2]
    if (tall - tall % 2, wide - wide % 2) == (height, width):
        return np.ascontiguousarray(picture[:height, :width])
    shape = max(tall, round(wide * height / width)), max(wide, round(tall * width / height))
    canvas = np.zeros((*shape, 3), np.uint8)
    top, left = (shape[0] - tall) // 2, (shape[1] - wide) // 2
    canvas[top : top + tall, left : left + wide] = picture
    return canvas


def _required(image: UInt8Array | None) -> UInt8Array:
    if image is None:
        raise ValueError("this sink draws: give `write` the annotated image")
    return image
