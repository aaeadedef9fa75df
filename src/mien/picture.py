"""The one decoder of picture files. May import numpy, Pillow, and from mien: errors, heif,
types.

Pillow reads the formats, all but HEIF; this says which, what becomes of transparency, of 16 bits a
pixel and of a camera that was held sideways, and refuses by its header what would not fit into
memory.
"""

from __future__ import annotations

import threading
import warnings
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from mien.errors import SourceError
from mien.heif import HEIF_BRANDS, HeifError, HeifPicture
from mien.types import UInt8Array

#: Pictures and video frames with more pixels than this are refused unless the caller says
#: otherwise: decoded, it is 300 MB, and no common camera takes more.
MAX_PIXELS: Final = 100_000_000

_PILLOW_LIMIT = threading.Lock()


class _Silence:
    """Nothing warns while somebody is within: of damaged files, errors say enough.

    `catch_warnings` alone puts back, for the whole process, what it found. Two threads that overlap
    would leave all warnings switched off for ever.
    """

    def __init__(self) -> None:
        self._lock, self._within = threading.Lock(), 0
        self._before = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._within:
                self._before = warnings.catch_warnings()
                self._before.__enter__()
                warnings.simplefilter("ignore")
            self._within += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._within -= 1
            if not self._within:
                self._before.__exit__(None, None, None)


_SILENCE: Final = _Silence()

#: What is read, whatever a file is called. Pillow knows more, and what hands PostScript to another
#: program, and waits for it, is not for files from anywhere.
_FORMATS: Final = ("Jpeg", "Png", "WebP", "Avif", "Bmp", "Tiff", "Gif", "Ppm")

_SIGNATURES: Final = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "TIFF": (b"II*\0", b"MM\0*"),
}
_STILL: Final = (*_SIGNATURES["JPEG"], *_SIGNATURES["PNG"], *_SIGNATURES["TIFF"], b"BM")
_LIKE_MP4: Final = (*HEIF_BRANDS, b"ftypavif")
_LARGEST_HEIF: Final = 1 << 29  # bytes, all of which are read


def read_picture(
    file: str | Path | BinaryIO,
    name: str,
    *,
    max_pixels: int = MAX_PIXELS,
    raised_by: str = "--max-pixels",
) -> UInt8Array:
    """Decode a picture as viewers show it: upright, over white, 8 bits: RGB `uint8 (H, W, 3)`.

    Args:
        file: a path, or an open binary file.
        name: what messages call it.
        max_pixels: refuse a picture whose header announces more, before decoding.
        raised_by: the option by which users raise that limit; empty where there is none.

    Raises:
        SourceError: not a picture, empty, damaged, too large, or a path that cannot be opened.
    """
    require_content(file, name)
    if (heif := _open_heif(file, name)) is not None:
        require_pixels(name, heif.width, heif.height, max_pixels, raised_by)
        try:
            return heif.decode(max_pixels)
        except HeifError as error:
            raise _unreadable(name, error) from error
        except MemoryError as error:
            raise no_memory(name, heif.width, heif.height) from error
    # Pillow has one limit for the whole process; ours is per call and stricter by default.
    with _PILLOW_LIMIT, _SILENCE:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            picture = open_picture(file)
        except UnidentifiedImageError as error:
            if form := _begins_as(file):
                raise SourceError(
                    f"{name}: damaged or cut off (it begins as {form} does, and nothing after that "
                    "can be read). Copy or download it again"
                ) from error
            raise SourceError(
                f"{name}: not a picture that can be read (its content is no known format). "
                "Convert it to JPEG or PNG"
            ) from error
        except Exception as error:  # Pillow raises every kind on damaged data
            raise SourceError(f"{name}: damaged picture ({error}). Copy it again") from error
        finally:
            Image.MAX_IMAGE_PIXELS = before
    with picture:
        require_pixels(name, *picture.size, max_pixels, raised_by)
        try:
            with _SILENCE:
                picture.load()
                _turn_upright(picture)
                return _rgb(picture)
        except MemoryError as error:
            raise no_memory(name, *picture.size) from error
        except Exception as error:  # Pillow's decoders raise every kind on damaged data
            raise SourceError(
                f"{name}: damaged or cut off ({error}). Copy or download it again"
            ) from error


def _turn_upright(picture: Image.Image) -> None:
    """As its EXIF says, if that can be read: what is wrong there does the pixels no harm."""
    try:
        ImageOps.exif_transpose(picture, in_place=True)  # else one upright is copied
    except MemoryError:
        raise
    except Exception:  # Pillow raises every kind; once turned, it also writes the EXIF anew
        return


def open_picture(file: str | Path | BinaryIO) -> Image.Image:
    """Pillow's picture, its header read, of the formats that mien reads.

    Raises:
        PIL.UnidentifiedImageError: of no such format; and whatever Pillow raises on damaged data.
    """
    return Image.open(file, formats=_formats())


@cache
def _formats() -> tuple[str, ...]:
    for name in _FORMATS:  # by themselves: for one that it has not loaded, Pillow loads all it has
        with suppress(ImportError):  # AVIF, before Pillow 11.3
            import_module(f"PIL.{name}ImagePlugin")
    return tuple(name.upper() for name in _FORMATS if name.upper() in Image.OPEN)


def looks_like_picture(data: bytes) -> bool:
    """Whether bytes, twelve at least, begin as a JPEG, PNG, WebP, AVIF, HEIF, BMP or TIFF does."""
    return (
        data.startswith(_STILL)
        or (data.startswith(b"RIFF") and data[8:12] == b"WEBP")
        or data[4:].startswith(_LIKE_MP4)
    )


def may_be_picture(data: bytes) -> bool:
    """Whether bytes begin as a picture of any format that is read does, by sixteen of them. Of
    fewer, it takes the whole file to say what is wrong with it.
    """
    if len(data) < 16 or data[4:].startswith(_LIKE_MP4):
        return True
    told = (Image.OPEN[form][1] for form in _formats())
    return any(begins is None or begins(data) for begins in told)


def is_picture(file: str | Path | BinaryIO) -> bool:
    """Whether a file is a picture by its header, however large; the rest may be damaged."""
    try:
        if _start(file)[4:].startswith(_LIKE_MP4):
            return True  # FFmpeg would take it for a film of its tiles
        # It closes what it has opened itself; and may warn that it is large.
        with _SILENCE, open_picture(file):
            return True
    except Image.DecompressionBombError:
        return True
    except (OSError, ValueError):
        return False


def _begins_as(file: str | Path | BinaryIO) -> str:
    """The format whose signature a file begins with; empty for none."""
    start = _start(file)
    return next((name for name, marks in _SIGNATURES.items() if start.startswith(marks)), "")


def _open_heif(file: str | Path | BinaryIO, name: str) -> HeifPicture | None:
    """The picture, its header read; None for what Pillow is to read."""
    try:
        if not _start(file)[4:].startswith(HEIF_BRANDS):
            return None
        data = _start(file, _LARGEST_HEIF)
    except OSError as error:
        raise SourceError(
            f"{name}: damaged or cut off ({error.strerror or error}). Copy or download it again"
        ) from error
    try:
        picture = HeifPicture(data)
    except HeifError as error:
        raise _unreadable(name, error) from error
    return None if picture.kind == "av01" else picture  # AVIF, by a name that both have


def _unreadable(name: str, error: HeifError) -> SourceError:
    return SourceError(
        f"{name}: HEIF picture that cannot be read ({error}). Copy or download it again, or "
        "convert it to JPEG"
    )


def _start(file: str | Path | BinaryIO, size: int = 12) -> bytes:
    """The first bytes, so many at most."""
    if isinstance(file, str | Path):
        with Path(file).open("rb") as opened:
            return opened.read(size)
    file.seek(0)
    return file.read(size)


def require_content(file: str | Path | BinaryIO, name: str) -> None:
    """Raise `SourceError` where a file cannot be opened, or holds nothing."""
    try:
        empty = not _start(file)
    except (OSError, ValueError) as error:  # a manifest's path may hold the character 0
        if not isinstance(file, str | Path) and isinstance(error, ValueError):
            raise  # it is closed, by whoever gave it
        why = getattr(error, "strerror", None) or error
        raise SourceError(f"{name}: cannot be read ({why}). Check the path") from error
    if empty:
        raise SourceError(f"{name}: is empty (0 bytes). Copy or download it again")


def require_pixels(
    name: str, width: int, height: int, max_pixels: int, raised_by: str = "--max-pixels"
) -> None:
    """Raise `SourceError` when a picture or video announces more than `max_pixels`."""
    if width * height > max_pixels:
        raise SourceError(
            f"{name}: {width:,} x {height:,} pixels, more than the limit of {max_pixels:,}. "
            f"Make it smaller{f', or raise the limit ({raised_by})' if raised_by else ''}"
        )


def no_memory(name: str, width: int, height: int) -> SourceError:
    """What to say of a picture or video for whose pixels there is no memory."""
    return SourceError(
        f"{name}: {width:,} x {height:,} pixels need more memory than there is. Make it smaller, "
        "or give more memory"
    )


def _rgb(picture: Image.Image) -> UInt8Array:
    if picture.mode.startswith(("I", "F")):  # 16 or 32 bits a pixel, grey
        return np.repeat(_eight_bits(np.asarray(picture))[:, :, None], 3, axis=2)
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        colour = picture.convert("RGBA")
        # Transparent pixels hold arbitrary colours; over white is how viewers show them.
        white = Image.new("RGBA", colour.size, "white")
        picture = Image.alpha_composite(white, colour)
    if picture.mode != "RGB":  # of one that has it, a copy would be made
        picture = picture.convert("RGB")
    return np.asarray(picture, np.uint8)


def _eight_bits(deep: npt.NDArray[Any]) -> UInt8Array:
    """Any numeric picture to `uint8`: by the range of its type, or 0..1 for real numbers."""
    if deep.dtype == np.uint8:
        return deep
    top = float(np.nanmax(deep, initial=0.0))
    if deep.dtype.kind == "f":
        full = 1.0 if top <= 1.0 else 255.0 if top <= 255.0 else 65535.0
    else:
        full = 255.0 if deep.dtype.itemsize > 2 and top <= 255 else 65535.0
    flat = np.empty(deep.shape, np.uint8)
    for row, values in zip(flat, deep, strict=True):  # all at once would fill the memory
        scaled = np.nan_to_num(values.astype(np.float64) * (255.0 / full))
        row[:] = scaled.clip(0, 255).round()
    return flat
