"""Pictures one after the other, as a film that anyone can play. Imports PyAV and mien's types."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import av
import numpy as np

from mien.types import UInt8Array


def write_film(
    target: Path, views: Iterable[UInt8Array], *, fps: int, options: dict[str, str] | None = None
) -> None:
    """Write RGB pictures of one size, `uint8 (H, W, 3)`, as H.264; `options` are the encoder's."""
    views = iter(views)
    first = next(views)
    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, _ = first.shape
        stream.pix_fmt = "yuv420p"
        for view in chain([first], views):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(view), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
