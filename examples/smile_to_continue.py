"""Turn pages without hands: a smile turns forward, a look of surprise turns back.

    mien serve
    python examples/smile_to_continue.py          # the first camera
    python examples/smile_to_continue.py clip.mp4 ws://127.0.0.1:8080/v1/live

Sends each frame over mien's WebSocket and waits for its answer, so it is never ahead of the
server. Needs `pip install 'mien[server]'` for `websockets`; a client on another computer needs only
that, and something that takes pictures.
"""

from __future__ import annotations

import io
import json
import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from PIL import Image
from websockets.sync.client import connect

import mien

ADDRESS = "ws://127.0.0.1:8080/v1/live"

#: An expression must last so long before it counts: nobody wants a page turned by a twitch.
HOLD_S = 0.5


@dataclass
class Switch:
    """Fires once when an expression has been held, and again only after it was let go."""

    expression: str
    since_s: float | None = None
    fired: bool = False

    def update(self, face: dict[str, Any] | None, time_s: float) -> bool:
        """Whether to act now, given the face in a frame (None if there is none)."""
        shows = face is not None and face["expression"] == self.expression
        if face is not None and face["uncertain"]:
            return False  # no answer is not the answer no: wait for the next frame
        if not shows:
            self.since_s, self.fired = None, False
            return False
        if self.since_s is None:
            self.since_s = time_s
        if self.fired or time_s - self.since_s < HOLD_S:
            return False
        self.fired = True
        return True


def results(source: str, address: str) -> Iterator[dict[str, Any]]:
    """The server's result for every frame of a camera or video."""
    key = os.environ.get("MIEN_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else None
    with connect(address, additional_headers=headers) as socket, mien.open_source(source) as frames:
        hello = json.loads(socket.recv())
        if hello["type"] == "error":  # no room for one more
            raise SystemExit(hello["message"])
        for frame in frames:
            picture = Image.fromarray(frame.image)
            picture.thumbnail((hello["max_px"], hello["max_px"]))
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=85)
            socket.send(struct.pack("<d", frame.time_s) + buffer.getvalue())
            answer = json.loads(socket.recv())
            if answer["type"] == "result":
                yield answer["result"]
            else:
                print(answer["message"], file=sys.stderr)


def main(source: str = "0", address: str = ADDRESS) -> None:
    """Turn pages until the source ends."""
    page, forward, back = 1, Switch("happy"), Switch("surprise")
    for result in results(source, address):
        # The largest face is the reader's.
        face = max(result["faces"], key=lambda face: face["box"][2] * face["box"][3], default=None)
        turned = forward.update(face, result["time_s"]) - back.update(face, result["time_s"])
        if turned:
            page = max(1, page + turned)
            print(f"{result['time_s']:7.2f} s  page {page}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
