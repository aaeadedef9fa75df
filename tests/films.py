"""Films for tests: pictures one after the other, as a video that anyone can play."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Final

import av
import numpy as np

from mien.types import UInt8Array

_RATE: Final = 16_000  # samples of sound a second


def write_film(
    file: Path,
    views: Iterable[UInt8Array],
    *,
    fps: int,
    options: Mapping[str, str] | None = None,
    silence_s: int = 0,
    codec: str = "libx264",
    begin_s: int = 0,
    container_options: Mapping[str, str] | None = None,
) -> None:
    """Write RGB pictures of one size, `uint8 (H, W, 3)`; `options` are the encoder's.

    With `silence_s` there is a second stream, of sound, that long. Timestamps begin at `begin_s`.
    """
    first, *rest = views
    with av.open(str(file), "w", container_options=dict(container_options or {})) as container:
        stream = container.add_stream(codec, rate=fps, options=dict(options or {}))
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, _ = first.shape
        stream.pix_fmt = "yuv420p"
        if silence_s:
            sound = container.add_stream("aac", rate=_RATE, layout="mono")
            assert isinstance(sound, av.AudioStream)
            silence = av.AudioFrame.from_ndarray(
                np.zeros((1, silence_s * _RATE), np.float32), format="fltp", layout="mono"
            )
            silence.sample_rate, silence.pts = _RATE, begin_s * _RATE
            container.mux([*sound.encode(silence), *sound.encode(None)])
        for i, view in enumerate(chain([first], rest)):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(view), format="rgb24")
            picture.pts, picture.time_base = begin_s * fps + i, Fraction(1, fps)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
