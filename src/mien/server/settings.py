"""Every limit of the server, with its default. May import the standard library and mien.errors."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from mien.errors import ConfigError

MB = 1_000_000

_N = TypeVar("_N", int, float)


def default_data() -> Path | None:
    """The folder for videos and their results, in the user's cache; None for a user without a home,
    as in some containers.
    """
    try:
        if sys.platform == "win32":
            home = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        elif sys.platform == "darwin":
            home = Path.home() / "Library" / "Caches"
        else:
            home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    return home / "mien" / "serve"


def _limit(default: _N, about: str) -> _N:
    """A field that is an option of the command line, with its description."""
    made: _N = field(default=default, metadata={"help": about})
    return made


@dataclass(frozen=True)
class Settings:
    """How a server is set up. Each limit is an option of `mien serve`: `max_live`, `--max-live`.

    Attributes:
        data: folder of the videos and their results.
        key: what a client must show; empty for nothing.
        origins: sites beside the server's own whose pages may talk to it, as `https://host:port`.
        loopback: whether only this computer can reach the server.
        anonymize: whether no annotated copy may show faces, whatever its job asked for.

    Raises:
        ConfigError: a limit is not positive, an origin is none, or the key is short or such that no
            header can hold it.
    """

    data: Path
    key: str = ""
    origins: tuple[str, ...] = ()
    loopback: bool = True
    anonymize: bool = False

    workers: int = _limit(min(4, os.cpu_count() or 1), "threads that compute")
    max_connections: int = _limit(512, "open connections at a time")
    max_waiting: int = _limit(64, "pictures, live frames, reports that may wait; 503 beyond")
    max_waiting_mb: float = _limit(256.0, "megabytes of pictures that may be held at a time")
    max_body_mb: float = _limit(32.0, "size of a request with pictures, in megabytes")
    max_pictures: int = _limit(16, "pictures in one request")
    max_pixels: int = _limit(50_000_000, "pixels of a picture")
    timeout: float = _limit(30.0, "seconds that a request for pictures may take")
    max_report_mb: float = _limit(500.0, "size of a request for a report, in megabytes")
    report_timeout: float = _limit(300.0, "seconds that a request for a report may take")
    max_live: int = _limit(16, "live connections at a time")
    live_px: int = _limit(1280, "a live frame has at most the pixels of a square of this side")
    live_mb: float = _limit(4.0, "size of a live frame, in megabytes")
    live_fps: float = _limit(30.0, "frames a second that each live connection gets analysed")
    live_idle_s: float = _limit(300.0, "seconds after which a silent live connection ends")
    max_video_mb: float = _limit(1000.0, "size of a video, in megabytes")
    max_video_s: float = _limit(3600.0, "length of a video, in seconds")
    max_video_pixels: int = _limit(10_000_000, "pixels of a video's frame")
    upload_timeout: float = _limit(3600.0, "seconds that the upload of a video may take")
    max_job_s: float = _limit(21_600.0, "seconds for which one video may be worked on")
    max_jobs: int = _limit(32, "videos that may wait; more are refused with 503")
    max_data_mb: float = _limit(20_000.0, "megabytes of videos and results; 507 beyond")
    keep_hours: float = _limit(24.0, "hours after which a finished video's results are deleted")
    shutdown_s: float = _limit(30.0, "seconds in which to finish what is under way at the end")

    def __post_init__(self) -> None:
        for limit in limits():
            value = getattr(self, limit)
            if not 0 < value < float("inf"):
                raise ConfigError(f"{option(limit)}: expected a positive number, got {value}")
        for origin in self.origins:
            if not re.fullmatch(r"https?://[^/]+", origin) or origin_of(origin) != origin:
                raise ConfigError(
                    f"--allow-origin: expected an address like https://example.org, got {origin}"
                )
        if self.key and len(self.key) < 16:
            raise ConfigError(
                "MIEN_API_KEY: expected at least 16 characters, since it can be guessed at from "
                "the network. Make one with: python -c 'import secrets; "
                "print(secrets.token_urlsafe())'"
            )
        if self.key and not re.fullmatch(r"[!-~][ -~]*[!-~]", self.key):
            raise ConfigError(
                "MIEN_API_KEY: expected letters, digits and signs of ASCII, without blanks or line "
                "ends around them: no client can send another key in a header"
            )


def limits() -> dict[str, str]:
    """The names of the fields that are options, and what they mean."""
    return {f.name: f.metadata["help"] for f in fields(Settings) if "help" in f.metadata}


def option(limit: str) -> str:
    """What a limit is called on the command line."""
    return f"--{limit.replace('_', '-')}"


def origin_of(address: str) -> str:
    """`scheme://host[:port]` of an address, in lower case and without the scheme's own port; empty
    where it is none.
    """
    try:
        parts = urlsplit(address.lower())
        port = parts.port
    except ValueError:
        return ""
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, usual) else "")


def is_loopback(host: str) -> bool:
    """Whether a host's name or number means this computer."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")


def is_local(host: str) -> bool:
    """Whether a host is a number, or a name that nobody can have in the internet."""
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        own = (".local", ".localhost", ".internal", ".home.arpa")
        return host != "" and ("." not in host or host.lower().endswith(own))
    return True
