"""`WS /v1/live`: the protocol, what happens when frames come too fast, and fairness."""

import io
import json
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from mien.following import Following
from mien.pipeline import Analyzer
from mien.server.live import Session
from mien.server.meters import Meters
from mien.server.settings import Settings
from mien.types import Frame, FrameResult, UInt8Array
from tests.servers import running


@pytest.fixture(scope="module")
def client(analyzer: Analyzer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    data = tmp_path_factory.mktemp("data")
    with running(analyzer, data, max_live=5, live_px=600, live_mb=1.0, live_fps=1000.0) as client:
        yield client


@pytest.fixture(scope="module")
def picture(portrait_file: Path) -> bytes:
    return portrait_file.read_bytes()


@contextmanager
def live(client: httpx.Client, **options: Any) -> Iterator[ClientConnection]:
    url = client.base_url.copy_with(scheme="ws", path="/v1/live")
    with connect(str(url), compression=None, proxy=None, **options) as socket:
        yield socket


def message(time_s: float, picture: bytes) -> bytes:
    return struct.pack("<d", time_s) + picture


def heard(socket: ClientConnection) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(socket.recv(timeout=60))
    return answer


def test_the_same_numbers_as_python(
    client: httpx.Client, analyzer: Analyzer, portrait: UInt8Array, picture: bytes
) -> None:
    following = analyzer.following()
    with live(client) as socket:
        spec = analyzer.classifier.spec
        assert heard(socket) == {
            "type": "hello",
            "model": spec.name,
            "labels": list(spec.labels),
            "max_px": 600,
            "max_fps": 1000.0,
        }
        for number, time_s in enumerate([0.0, 0.5, 0.6]):
            socket.send(message(time_s, picture))
            answer = heard(socket)
            frame = Frame(portrait, "live", number, time_s)
            expected = analyzer.analyze_frame(frame, following=following)
            assert answer["result"] == expected.to_dict()
            assert answer["result"]["faces"][0]["track_id"] == 1
            assert (answer["type"], answer["received"], answer["dropped"]) == (
                "result",
                number + 1,
                0,
            )
            assert answer["wait_ms"] >= 0
            assert answer["work_ms"] > 0


def test_bad_frames_leave_the_connection(client: httpx.Client, picture: bytes) -> None:
    large = io.BytesIO()
    Image.new("RGB", (700, 700)).save(large, "PNG")
    with live(client) as socket:
        heard(socket)
        bad_ones: list[tuple[bytes | str, str]] = [
            (message(0.0, b"nonsense"), "not a picture"),
            (message(0.0, b"%!PS-Adobe-3.0 EPSF-3.0"), "not a picture"),
            (message(0.0, picture[:999]), "damaged"),
            (message(0.0, large.getvalue()), "more than the limit of 360,000. Make it smaller, or "
             "raise the limit (--live-px)"),
            (b"", "expected 8 bytes of time"),
            (b"12345678", "expected 8 bytes of time"),
            (message(float("nan"), picture), "time_s"),
            (message(float("inf"), picture), "time_s"),
            (message(-1.0, picture), "time_s"),
            ("hello", "expected a JSON object"),
            ("[" * 100_000, "expected a JSON object"),
            ('{"type": "dance"}', "expected reset or baseline"),
            ('{"type": "baseline", "seconds": "x"}', "seconds: expected a number"),
            ('{"type": "baseline", "seconds": NaN}', "seconds"),
            ('{"type": "baseline", "seconds": -1}', "seconds"),
        ]  # fmt: skip
        for number, (bad, words) in enumerate(bad_ones):
            socket.send(bad)
            answer = heard(socket)
            assert answer["type"] == "error"
            assert answer.get("frame") == (number if isinstance(bad, bytes) else None)
            about = "baseline" if words.startswith("seconds") else None
            assert answer.get("about") == ("frame" if isinstance(bad, bytes) else about)
            assert words in answer["message"]
            assert "\n" not in answer["message"]
        socket.send(message(2.0, picture))
        answer = heard(socket)
        assert (answer["type"], answer["result"]["frame"]) == ("result", 9)
        socket.send(message(1.9, picture))
        answer = heard(socket)
        assert "got 1.9 after 2.0" in answer["message"]
        assert answer["frame"] == 10


def test_reset_begins_anew(client: httpx.Client, picture: bytes) -> None:
    with live(client) as socket:
        heard(socket)
        socket.send(message(5.0, picture))
        first = heard(socket)
        socket.send('{"type": "reset"}')
        assert heard(socket) == {"type": "reset"}
        socket.send(message(0.0, picture))
        again = heard(socket)
    expected = first["result"] | {"time_s": 0.0}
    assert again["result"] == expected
    assert again["received"] == 1


def test_a_baseline_is_learned(client: httpx.Client, picture: bytes) -> None:
    """The portrait smiles. Taken for her resting face, the smile counts for little."""
    with live(client) as socket:
        heard(socket)
        socket.send(message(0.0, picture))
        before = shown(heard(socket))
        socket.send('{"type": "baseline", "seconds": 2}')
        assert heard(socket) == {"type": "baseline", "seconds": 2}
        for i in range(1, 4):
            socket.send(message(i / 10, picture))
            after = shown(heard(socket))
    assert before["happy"] / before["neutral"] > 5 * after["happy"] / after["neutral"]


def test_a_baseline_waits_for_a_face_and_says_whose_it_is(
    client: httpx.Client, picture: bytes
) -> None:
    empty = picture_of_width(64)
    with live(client) as socket:
        heard(socket)
        socket.send('{"type": "baseline", "seconds": 0.25}')
        assert heard(socket)["type"] == "baseline"
        for i, sent in enumerate([empty, empty, picture, picture, empty]):
            socket.send(message(i / 10, sent))
            assert heard(socket)["type"] == "result"
        socket.send(message(0.5, picture))  # a quarter of a second after the first face
        assert heard(socket)["type"] == "result"
        assert heard(socket) == {"type": "baseline_set", "track_ids": [1]}
        socket.send(message(0.6, picture))
        assert heard(socket)["type"] == "result"  # it is said once
        socket.send('{"type": "reset"}')
        assert heard(socket)["type"] == "reset"


def test_a_client_that_sends_nothing_makes_room(analyzer: Analyzer, tmp_path: Path) -> None:
    limits = {"max_live": 1, "live_idle_s": 2.0}
    with running(analyzer, tmp_path, **limits) as client:
        with live(client) as socket:
            heard(socket)
            for _ in range(25):  # longer than the limit in all
                Event().wait(0.1)
                socket.send('{"type": "reset"}')
                assert heard(socket) == {"type": "reset"}
            with pytest.raises(ConnectionClosed):
                socket.recv(timeout=60)
            assert socket.close_code == 4408
            assert socket.close_reason == "nothing came for 2 seconds, the limit"
        until(lambda: "mien_live_connections 0.0" in client.get("/metrics").text)
        with live(client) as another:
            assert heard(another)["type"] == "hello"


def shown(answer: dict[str, Any]) -> dict[str, float]:
    """The probabilities of the largest face in a result."""
    faces = answer["result"]["faces"]
    probs: dict[str, float] = max(faces, key=lambda face: face["box"][2])["probs"]
    return probs


def test_a_baseline_needs_a_neutral_class(analyzer: Analyzer, tmp_path: Path) -> None:
    session = Session(analyzer, Settings(tmp_path), Meters())
    session._following.baseline = None
    with pytest.raises(ValueError, match="class neutral"):
        session.learn_baseline(2)


def test_the_newest_frame_wins(analyzer: Analyzer, tmp_path: Path, picture: bytes) -> None:
    session = Session(analyzer, Settings(tmp_path), Meters())
    for number in range(4):
        session.receive(message(number / 10, picture))
    (answer,) = session.turn()
    assert (answer["result"]["frame"], answer["received"], answer["dropped"]) == (3, 4, 3)
    assert session.turn() == []


class _Held:
    """An analyzer's `analyze_frame` that waits until it is let go."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.entered, self.go = Event(), Event()

    def __call__(self, frame: Frame, *, following: Following | None = None) -> FrameResult:
        self.began.append(f"{frame.width}")
        self.entered.set()
        self.go.wait()
        return FrameResult(frame.source, frame.index, frame.time_s, frame.width, frame.height)


def picture_of_width(width: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, width, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def until(true: Callable[[], bool]) -> None:
    """Wait for something that other threads bring about."""
    for _ in range(6000):
        if true():
            return
        Event().wait(0.01)
    raise AssertionError("it did not come about")


def test_old_results_do_not_follow_a_reset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, picture: bytes
) -> None:
    analyzer, held = Analyzer(), _Held()
    monkeypatch.setattr(analyzer, "analyze_frame", held)
    with running(analyzer, tmp_path, workers=1) as client, live(client) as socket:
        heard(socket)
        socket.send(message(1.0, picture_of_width(11)))
        held.entered.wait()
        socket.send('{"type": "reset"}')
        assert heard(socket) == {"type": "reset"}
        held.go.set()
        socket.send(message(0.0, picture_of_width(12)))
        answer = heard(socket)
        assert (answer["result"]["width"], answer["result"]["frame"]) == (12, 0)


def test_four_cameras_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that sends as fast as it can gets no more than those that send now and then."""
    analyzer, held = Analyzer(), _Held()
    monkeypatch.setattr(analyzer, "analyze_frame", held)
    with running(analyzer, tmp_path, workers=1, live_fps=1000.0) as client, ExitStack() as stack:
        sockets = [stack.enter_context(live(client)) for _ in range(4)]
        for socket in sockets:
            heard(socket)
        sockets[0].send(message(0.0, picture_of_width(10)))
        held.entered.wait()  # the one worker is busy; the others wait in line
        for number, socket in enumerate(sockets[1:], 1):
            socket.send(message(0.0, picture_of_width(10 + number)))
            until(lambda n=number: f'kind="live"}} {n}.0' in client.get("/metrics").text)  # type: ignore[misc]
        for number in range(5):
            sockets[0].send(message(0.1 + number / 10, picture_of_width(10)))
        until(lambda: "mien_live_dropped_total 4.0" in client.get("/metrics").text)
        held.go.set()
        for socket in sockets[1:]:
            assert heard(socket)["type"] == "result"
        first, last = heard(sockets[0]), heard(sockets[0])
        assert (first["result"]["frame"], last["result"]["frame"]) == (0, 5)
        assert (last["received"], last["dropped"]) == (6, 4)
    assert held.began == ["10", "11", "12", "13", "10"]


def test_too_many_connections_are_told_so(client: httpx.Client) -> None:
    until(lambda: "mien_live_connections 0.0" in client.get("/metrics").text)
    with ExitStack() as stack:
        sockets = [stack.enter_context(live(client)) for _ in range(5)]
        for socket in sockets:
            assert heard(socket)["type"] == "hello"
        with live(client) as one_more:
            assert "too many live connections" in heard(one_more)["message"]
            with pytest.raises(ConnectionClosed):
                one_more.recv(timeout=60)
            assert one_more.close_code == 1013
        sockets.pop().close()
        until(lambda: "mien_live_connections 4.0" in client.get("/metrics").text)
        with live(client) as another:
            assert heard(another)["type"] == "hello"


def test_too_large_a_message_ends_the_connection(client: httpx.Client) -> None:
    with live(client) as socket:
        heard(socket)
        socket.send(bytes(1_000_001))
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=60)
        assert socket.close_code == 1009


def test_pages_of_other_sites_are_refused(client: httpx.Client) -> None:
    for origin in ("https://evil.example", "null"):
        with pytest.raises(InvalidStatus) as refused, live(client, origin=origin):
            pass
        assert refused.value.response.status_code == 403
    own = str(client.base_url).rstrip("/")
    with live(client, origin=own) as socket:
        assert heard(socket)["type"] == "hello"


def test_a_browser_shows_its_cookie(analyzer: Analyzer, tmp_path: Path) -> None:
    key = "a key of more than sixteen letters"
    with running(analyzer, tmp_path, key=key) as client:
        with pytest.raises(InvalidStatus) as refused, live(client):
            pass
        assert refused.value.response.status_code == 403
        cookie = client.post("/v1/session", headers={"X-API-Key": key}).headers["set-cookie"]
        for headers in ({"Cookie": cookie.split(";")[0]}, {"X-API-Key": key}):
            with live(client, additional_headers=headers) as socket:
                assert heard(socket)["type"] == "hello"


def test_a_defect_is_no_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, picture: bytes
) -> None:
    """A frame that brings the pipeline down ends the connection; the server goes on."""
    analyzer = Analyzer()

    def fail(*_: object, **__: object) -> Future[None]:
        raise RuntimeError("a defect")

    monkeypatch.setattr(analyzer, "analyze_frame", fail)
    with running(analyzer, tmp_path) as client:
        with live(client) as socket:
            heard(socket)
            socket.send(message(0.0, picture))
            answer = heard(socket)
            assert answer["type"] == "error"
            assert "a defect of mien" in answer["message"]
            assert answer["frame"] == 0
        assert client.get("/readyz").status_code == 200
