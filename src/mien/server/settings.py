"""Every limit of the server, with its default. May import the standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """How a server is set up; each field is an option of `mien serve`.

    Attributes:
        workers: threads that compute, each with one core.
        max_live: live connections at a time.
        live_px: longer side of a live frame; one with more pixels than its square is refused.
        live_mb: a live frame's size, in megabytes.
        live_fps: frames a second that one live connection gets analysed.
    """

    workers: int = 2
    max_live: int = 16
    live_px: int = 1280
    live_mb: float = 4.0
    live_fps: float = 30.0
