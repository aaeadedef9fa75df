"""Files that lie elsewhere: `s3://`, `gs://`, `abfs://` and whatever else fsspec knows.

May import fsspec (an extra, inside functions), and from mien: errors.
"""

from __future__ import annotations

from typing import IO, Any, Final

from mien.errors import ConfigError, SourceError

#: Who speaks what, where fsspec itself does not.
_PACKAGES: Final = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "abfss": "adlfs",
    "az": "adlfs", "http": "aiohttp", "https": "aiohttp",
}  # fmt: skip


def is_remote(name: str) -> bool:
    """Whether it is an address and not a path."""
    return "://" in name


def list_remote(address: str) -> list[str]:
    """Every file under an address (a file, a prefix, or a glob), in order of name.

    Raises:
        ConfigError: fsspec, or what speaks this protocol, is not installed.
        SourceError: nobody answers, or there is nothing.
    """
    system, path = _reach(address)
    try:
        if any(mark in path for mark in "*?["):
            found = [name for name in system.glob(path) if not system.isdir(name)]
        else:
            found = system.find(path)
    except Exception as error:  # each file system raises its own kinds
        raise _failed(address, "listed", error) from error
    if not found:
        raise SourceError(f"{address}: there is nothing. Check the address")
    return sorted(system.unstrip_protocol(name) for name in found)


def read_remote(address: str) -> bytes:
    """All bytes of a file; errors as of `list_remote`."""
    system, path = _reach(address)
    try:
        return bytes(system.cat_file(path))
    except Exception as error:
        raise _failed(address, "read", error) from error


def open_remote(address: str) -> IO[bytes]:
    """A file that is read and sought in as needed; errors as of `list_remote`."""
    system, path = _reach(address)
    try:
        file: IO[bytes] = system.open(path, "rb")
    except Exception as error:
        raise _failed(address, "read", error) from error
    return file


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
