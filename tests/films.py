"""Films for tests: pictures one after the other, as a video that anyone can play."""

from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path

import av
import numpy as np

from mien.types import UInt8Array


def write_film(
    file: Path, views: Iterable[UInt8Array], *, fps: int, options: Mapping[str, str] | None = None
) -> None:
    """Write RGB pictures of one size, `uint8 (H, W, 3)`, as H.264; `options` are the encoder's."""
    first, *rest = views
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options=dict(options or {}))
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, _ = first.shape
        stream.pix_fmt = "yuv420p"
        for view in chain([first], rest):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(view), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
