"""Files that lie elsewhere: `s3://`, `gs://`, `abfs://` and whatever else fsspec knows.

May import fsspec (an extra, inside functions), and from mien: errors, types.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, Final, TypeVar

from mien.errors import ConfigError, SourceError
from mien.types import PICTURE_SUFFIXES, VIDEO_SUFFIXES

#: Who speaks what, where fsspec itself does not.
_PACKAGES: Final = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "abfss": "adlfs",
    "az": "adlfs", "http": "aiohttp", "https": "aiohttp",
}  # fmt: skip

_MAGIC: Final = re.compile(r"[*?\[]")

_Value = TypeVar("_Value")


def is_remote(name: str) -> bool:
    """Whether it is an address and not a path."""
    return "://" in name


def file_of(name: str) -> str:
    """A path, or an address without the archive that its file lies in, or a cache before it."""
    return _links(name)[1] if is_remote(name) else name


def _links(address: str) -> tuple[str, str, str]:
    """What is before, is, and is behind the link of a chain that says a file's name.

    Of `simplecache::zip://films/a.mp4::s3://bucket/b.zip` that is the second.
    """
    before, link, behind = re.findall(r"\A((?:\w+::)*)(.*?)(::.*)?\Z", address, re.DOTALL)[0]
    return before, link, behind


def suffix_of(name: str) -> str:
    """How a path or an address ends, from the last dot on, in lower case.

    Of an address of the web, what stands before its `?` or `#` counts (there it may be signed),
    unless only what comes after has a suffix that is known. Of a chain, its file's name counts.
    """
    name = file_of(name)
    ends = [name]
    if name.lower().startswith(("http://", "https://")):
        ends.insert(0, re.split("[?#]", name, maxsplit=1)[0])
    suffixes = [os.path.splitext(end)[1].lower() for end in ends]
    known = (suffix for suffix in suffixes if suffix in PICTURE_SUFFIXES + VIDEO_SUFFIXES)
    return next(known, suffixes[0])


def list_remote(address: str) -> list[str]:
    """Every file under an address (a file, a prefix, or a glob), in order of name.

    Raises:
        ConfigError: fsspec, or what speaks this protocol, is not installed.
        SourceError: nobody answers, there is nothing, or the address holds a password.
    """
    system, path = _reach(address)
    before, link, behind = _links(address)
    if before and _is_cache(system):  # for reading; the names are those of what is read
        return list_remote(link + behind)
    try:
        if _MAGIC.search(path):
            found = [name for name in system.glob(path) if not system.isdir(name)]
        else:
            found = system.find(path)
    except Exception as error:  # each file system raises its own kinds
        raise _failed(address, "listed", error) from error
    if not found:
        raise SourceError(f"{address}: there is nothing. Check the address")
    return sorted(_addresses(address, system, path, found))


def _is_cache(system: Any) -> bool:
    from fsspec.implementations.cached import CachingFileSystem

    return isinstance(system, CachingFileSystem)


def _addresses(address: str, system: Any, path: str, names: list[str]) -> list[str]:
    """How files are addressed by the names that they have where they lie.

    A name may lack what else an address says: a host (`sftp://host/…`), or an archive
    (`zip://…::…`). Then the address by which they were found says it.

    Args:
        address: that one.
        system, path: its file system, and its path there.
        names: what was found, one at least.

    Raises:
        SourceError: nobody would find them so, or the address holds a password.
    """
    before, link, behind = _links(address)
    beside_name = system._get_kwargs_from_urls(link)
    if not (before or behind or beside_name):
        return [system.unstrip_protocol(name) for name in names]
    if beside_name.get("password"):
        protocol = address.partition("://")[0]
        raise SourceError(
            f"{protocol}://…@{link.rpartition('@')[2]}: holds a password, which would stand in all "
            f"results. Leave it out, and set it as FSSPEC_{protocol.upper()}_PASSWORD"
        )
    here, there = (_fixed(link), _fixed(path)) if _MAGIC.search(path) else (link, path)
    if not here.endswith("://"):
        here = here.rstrip("/") + "/"
    found = [
        address if name == path else f"{before}{here}{name[len(there) :].lstrip('/')}{behind}"
        for name in names
    ]
    if _reach(found[0]) != (system, names[0]):
        raise SourceError(
            f"{address}: how its files are addressed one by one is not known. Name them in a "
            "manifest"
        )
    return found


def _fixed(pattern: str) -> str:
    """What of a glob is the same for all that it matches, up to a slash."""
    magic = _MAGIC.search(pattern)
    return pattern[: pattern.rfind("/", 0, magic.start() if magic else None) + 1]


def read_remote(address: str) -> bytes:
    """All bytes of a file; errors as of `list_remote`."""
    system, path = _reach(address)
    try:
        return bytes(system.cat_file(path))
    except Exception as error:
        raise _failed(address, "read", error) from error


class RemoteFile:
    """A file that is read and sought in as needed, as far as FFmpeg wants it.

    It is a context manager. Where it cannot be read, that is a `SourceError`, once: from then on it
    has come to its end. FFmpeg asks again, and PyAV raises the first error and prints the others.
    """

    def __init__(self, address: str, file: IO[bytes]) -> None:
        self._address, self._file = address, file
        self._failed = False

    def __enter__(self) -> RemoteFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, size: int = -1) -> bytes:
        """As a file does."""
        return self._or_said(b"", self._file.read, size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """As a file does."""
        return self._or_said(offset, self._file.seek, offset, whence)

    def tell(self) -> int:
        """As a file does."""
        return self._or_said(0, self._file.tell)

    def close(self) -> None:
        """As a file does. Nothing is lost where that fails."""
        with suppress(Exception):
            self._file.close()

    def _or_said(self, ended: _Value, do: Callable[..., _Value], *arguments: int) -> _Value:
        """Each file system raises its own kinds, at any time."""
        if self._failed:
            return ended
        try:
            return do(*arguments)
        except MemoryError:
            raise
        except Exception as error:
            self._failed = True
            raise _failed(self._address, "read", error) from error


def open_remote(address: str) -> RemoteFile:
    """A file whose parts are read when they are wanted; errors as of `list_remote`."""
    system, path = _reach(address)
    try:
        return RemoteFile(address, system.open(path, "rb"))
    except Exception as error:
        raise _failed(address, "read", error) from error


def _reach(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path there."""
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise ConfigError(
            f"{address}: this needs fsspec, which mien's runtime does without: "
            "pip install 'mien[cloud]'"
        ) from error
    protocol = address.partition("://")[0].lower()
    try:
        system, path = url_to_fs(address)
    except ImportError as error:
        package = _PACKAGES.get(protocol)
        hint = f"this needs {package}: pip install {package}" if package else str(error)
        raise ConfigError(f"{address}: {hint}") from error
    except ValueError as error:  # its own fault: the next address may be a good one
        raise SourceError(
            f"{address}: no kind of address that is known ({error}). Check how it begins"
        ) from error
    except Exception as error:
        raise _failed(address, "reached", error) from error
    return system, path


def _failed(address: str, what: str, error: Exception) -> SourceError:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return SourceError(
        f"{address}: cannot be {what} ({type(error).__name__}: {reason}). Check the address and "
        "your access to it"
    )
