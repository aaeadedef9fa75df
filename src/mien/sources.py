"""Where frames come from: pictures, videos, arrays. May import numpy, Pillow, av, and from
mien: errors, types, picture.

A video is decoded by FFmpeg through PyAV, with the timestamps that the container gives. It says
its size before it is decoded, so one that would not fit into memory is refused by its header.
"""

from __future__ import annotations

import glob
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import av
import numpy as np
from PIL import Image

from mien.errors import SourceError
from mien.picture import MAX_PIXELS, read_picture, require_pixels
from mien.types import PICTURE_SUFFIXES, VIDEO_SUFFIXES, Frame, UInt8Array

#: A video that ends this much before its announced end is reported as truncated.
_MISSING_S: Final = 1.0
_MISSING_SHARE: Final = 0.05


class Source:
    """An opened source. Iterate it once for its frames; it is a context manager.

    Attributes:
        name: what the user called it.
        is_video: whether its frames follow each other in time.
        frame_count: how many frames its header announces; None when it does not say.
    """

    def __init__(
        self,
        name: str,
        frames: Iterator[Frame],
        *,
        is_video: bool,
        frame_count: int | None,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.is_video = is_video
        self.frame_count = frame_count
        self._frames = frames
        self._close = close

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the file. Iterating afterwards is an error."""
        self._close()


def open_source(
    source: str | os.PathLike[str] | UInt8Array | Frame, *, max_pixels: int = MAX_PIXELS
) -> Source:
    """Open a picture, a video, an array or a frame.

    Args:
        source: a path; an RGB `uint8 (H, W, 3)` or grey `uint8 (H, W)` array; or a `Frame`.
        max_pixels: refuse pictures and videos whose header announces more, before decoding.

    Raises:
        SourceError: no such file, empty, not a picture or video, damaged, or too large.
        ValueError: an array of another shape or type.
    """
    if isinstance(source, Frame):
        return Source(source.source, iter([source]), is_video=False, frame_count=1)
    if isinstance(source, np.ndarray):
        image = source if source.ndim != 2 else np.repeat(source[:, :, None], 3, axis=2)
        return Source("", iter([Frame(image)]), is_video=False, frame_count=1)
    name = os.fspath(source)
    path = Path(name)
    if path.is_dir():
        raise SourceError(f"{name}: is a folder. `mien analyze` takes folders; here give one file")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise SourceError(f"{name}: cannot be read ({error.strerror}). Check the path") from error
    if empty:
        raise SourceError(f"{name}: is empty (0 bytes). Copy or download it again")
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return _open_video(name, max_pixels)
    if suffix in PICTURE_SUFFIXES or _is_picture(path):
        return Source(name, _picture_frames(name, max_pixels), is_video=False, frame_count=1)
    return _open_video(name, max_pixels)


def expand_source(argument: str) -> tuple[list[str], list[SourceError]]:
    """Every file that an argument names: itself, a folder's content (recursively), or a glob's.

    In folders and globs only files with a known suffix count, and hidden ones do not. The order
    is that of the names. What cannot be listed is returned as errors beside the rest.
    """
    if os.path.isdir(argument):
        errors: list[SourceError] = []

        def note(error: OSError) -> None:
            errors.append(
                SourceError(f"{error.filename}: folder cannot be listed ({error.strerror})")
            )

        files = []
        for folder, folders, names in os.walk(argument, onerror=note):
            folders[:] = [name for name in folders if not name.startswith(".")]
            files += [os.path.join(folder, name) for name in names]
        found = _known(files)
        if not found and not errors:
            errors.append(
                SourceError(
                    f"{argument}: holds no picture or video. Known suffixes: "
                    f"{' '.join(PICTURE_SUFFIXES + VIDEO_SUFFIXES)}"
                )
            )
        return found, errors
    if not os.path.exists(argument) and glob.has_magic(argument):
        found = _known(glob.glob(argument, recursive=True))
        if not found:
            return [], [SourceError(f"{argument}: matches no picture or video")]
        return found, []
    return [argument], []


def _known(files: list[str]) -> list[str]:
    suffixes = PICTURE_SUFFIXES + VIDEO_SUFFIXES
    return sorted(
        file
        for file in files
        if file.lower().endswith(suffixes)
        and not os.path.basename(file).startswith(".")
        and os.path.isfile(file)
    )


# --- pictures ------------------------------------------------------------------------------


def _is_picture(path: Path) -> bool:
    try:
        with warnings.catch_warnings(), Image.open(path):
            return True
    except Image.DecompressionBombError:
        return True
    except (OSError, ValueError):
        return False


def _picture_frames(name: str, max_pixels: int) -> Iterator[Frame]:
    """The one frame of a picture, decoded when it is asked for."""
    yield Frame(read_picture(name, name, max_pixels=max_pixels), name)


# --- videos --------------------------------------------------------------------------------


def _open_video(name: str, max_pixels: int) -> Source:
    try:
        container = av.open(name, metadata_errors="ignore")
    except (av.error.FFmpegError, ValueError) as error:
        raise SourceError(
            f"{name}: neither a picture nor a video that can be read "
            f"({_reason(error)}). It may be damaged, cut off or of another kind"
        ) from error
    try:
        streams = [s for s in container.streams.video if not _is_cover(s)]
        # FFmpeg reads text files as "tty" pictures of their letters.
        if not streams or container.format.name == "tty":
            kinds = ", ".join(sorted({s.type for s in container.streams})) or "none"
            raise SourceError(f"{name}: holds no video stream (streams: {kinds})")
        stream = streams[0]
        width, height = stream.codec_context.width, stream.codec_context.height
        require_pixels(name, width, height, max_pixels)
    except BaseException:
        container.close()
        raise
    stream.thread_type = "AUTO"
    count = stream.frames or _estimated_frames(container, stream)
    return Source(
        name,
        _video_frames(name, container, stream),
        is_video=True,
        frame_count=count,
        close=container.close,
    )


def _is_cover(stream: av.VideoStream) -> bool:
    """Whether a stream is an album's cover picture and not a film."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _estimated_frames(container: av.container.InputContainer, stream: av.VideoStream) -> int | None:
    """For the progress bar only; time never comes from the frame rate."""
    if container.duration is None or not stream.average_rate:
        return None
    return round(container.duration / av.time_base * float(stream.average_rate))


def _video_frames(
    name: str, container: av.container.InputContainer, stream: av.VideoStream
) -> Iterator[Frame]:
    index, time_s = 0, 0.0
    step_s = 1 / float(stream.average_rate) if stream.average_rate else 0.04
    try:
        for picture in container.decode(stream):
            if picture.pts is not None:
                time_s = float(picture.time)
            elif index:  # a frame without a timestamp follows its predecessor
                time_s += step_s
            image = np.asarray(picture.to_ndarray(format="rgb24"), np.uint8)
            turns = round(picture.rotation / 90) % 4
            if turns:  # the display matrix turns counter-clockwise, and so does rot90
                image = np.ascontiguousarray(np.rot90(image, turns))
            yield Frame(image, name, index, time_s)
            index += 1
    except av.error.FFmpegError as error:
        raise SourceError(
            f"{name}: damaged or cut off after frame {index} at {time_s:.3f} s ({_reason(error)}). "
            "The results before it are complete"
        ) from error
    if not index:
        raise SourceError(f"{name}: no frame could be decoded. It may be damaged or cut off")
    end_s = _announced_end_s(container, stream)
    if end_s is not None and end_s - time_s > max(_MISSING_S, _MISSING_SHARE * end_s):
        raise SourceError(
            f"{name}: ends at {time_s:.3f} s of {end_s:.3f} s: cut off or damaged. The results "
            "before it are complete"
        )


def _announced_end_s(
    container: av.container.InputContainer, stream: av.VideoStream
) -> float | None:
    """When the video ends by its header; None where that does not say."""
    if stream.duration and stream.time_base:
        return float((stream.duration + (stream.start_time or 0)) * stream.time_base)
    # A container's duration is that of its longest stream, which may be sound.
    if container.duration and len(container.streams) == 1:
        return container.duration / av.time_base
    return None


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0]
