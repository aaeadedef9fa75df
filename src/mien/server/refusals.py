"""Answers other than the one that was asked for. May import Starlette only."""

from __future__ import annotations

from typing import Final

from starlette.responses import JSONResponse

_RETRY_S: Final = 5  # what `Retry-After` says


class Refusal(Exception):  # noqa: N818  (it is an answer, not a defect)
    """A request that is not served, with the status and the words that say why.

    503 means full for now, and is sent with `Retry-After`.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    def response(self) -> JSONResponse:
        """The answer."""
        headers = {}
        if self.status == 503:
            headers["Retry-After"] = str(_RETRY_S)
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse({"error": str(self)}, self.status, headers)


def too_late(what: str, limit_s: float, *, came: bool = False) -> Refusal:
    """What was sent did not come in time; or, where it came, was not worked off in time."""
    limit = f"{limit_s:g} seconds, the limit"
    if came:
        return Refusal(503, f"not done within {limit}")
    return Refusal(408, f"{what} did not come within {limit}")
