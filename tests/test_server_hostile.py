"""Clients that mean harm or do not know better, and the answer that each of them gets."""

import io
import json
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from queue import Queue

import httpx
import pytest
from PIL import Image

from mien.pipeline import Analyzer
from mien.server import connections, serving, uploads
from tests.servers import running
from tests.test_sources import png_header


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def client(analyzer: Analyzer, data: Path) -> Iterator[httpx.Client]:
    limits = {"max_body_mb": 2.0, "max_video_mb": 2.0, "max_waiting_mb": 4.0}
    with running(analyzer, data, **limits) as client:
        yield client


def connection(client: httpx.Client) -> socket.socket:
    return socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=60)


def head(path: str, *lines: str) -> bytes:
    text = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: image/png", *lines, "", ""]
    return "\r\n".join(text).encode()


HEALTH = head("/healthz").replace(b"POST", b"GET")
UPGRADE = head(
    "/v1/live",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
).replace(b"POST", b"GET")


def answer(opened: socket.socket) -> tuple[int, bytes]:
    """Status and the rest of what came, up to the end of the body."""
    text = b""
    while b"\r\n\r\n" not in text:
        piece = opened.recv(65536)
        if not piece:
            break
        text += piece
    status = int(text.split(b" ", 2)[1])
    header, _, body = text.partition(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in header.split(b"\r\n") if b"content-length" in line), 0
    )
    while len(body) < length:
        body += opened.recv(65536)
    return status, body


def works(client: httpx.Client, portrait_file: Path) -> bool:
    """Whether the server still does its job."""
    sent = {"file": ("a.png", portrait_file.read_bytes())}
    return bool(client.post("/v1/analyze", files=sent).json()["faces"])


def test_a_decompression_bomb_is_refused_by_its_header(client: httpx.Client) -> None:
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    bomb = buffer.getvalue()
    assert len(bomb) < 100_000
    for name, file in {"bomb.png": bomb, "header.png": png_header(60_000, 60_000)}.items():
        answer = client.post("/v1/analyze", files={"file": (name, file)})
        assert answer.status_code == 422
        assert "more than the limit of 50,000,000" in answer.json()["error"]


@pytest.mark.parametrize("path", ["/v1/analyze", "/v1/videos"])
def test_two_gigabytes_that_are_announced(client: httpx.Client, path: str, data: Path) -> None:
    with closing(connection(client)) as opened:
        opened.sendall(head(path, "Content-Length: 2000000000"))
        status, body = answer(opened)
        assert status == 413
        assert json.loads(body) == {"error": "the request is larger than the limit of 2 MB"}
    assert list((data / "videos").iterdir()) == []


@pytest.mark.parametrize("path", ["/v1/analyze", "/v1/videos"])
def test_two_gigabytes_that_are_not(
    client: httpx.Client, path: str, data: Path, portrait_file: Path
) -> None:
    chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
    sent = 0
    with closing(connection(client)) as opened:
        opened.sendall(head(path, "Transfer-Encoding: chunked"))
        while not select.select([opened], [], [], 0)[0]:
            opened.sendall(chunk)
            sent += 65536
            assert sent < 2_000_000_000, "all of it was taken"
        assert answer(opened)[0] == 413
    assert list((data / "videos").iterdir()) == []
    assert works(client, portrait_file)


def test_a_slow_client_is_not_waited_for(
    analyzer: Analyzer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_STALL_S", 0.2)
    with running(analyzer, tmp_path / "stops") as client:
        for path in ("/v1/analyze", "/v1/videos", "/v1/reports"):
            with closing(connection(client)) as opened:  # stops in the middle
                opened.sendall(head(path, "Content-Length: 1000") + b"half")
                status, body = answer(opened)
                assert status == 408
                assert b"nothing came for 0.2 seconds" in body
        assert list((tmp_path / "stops" / "videos").iterdir()) == []
    monkeypatch.setattr(uploads, "_STALL_S", 60.0)
    limits = {"timeout": 0.6, "upload_timeout": 0.6, "report_timeout": 0.6}
    with running(analyzer, tmp_path / "drips", **limits) as client:
        for path in ("/v1/analyze", "/v1/videos", "/v1/reports"):
            opened = connection(client)  # always has one more byte
            opened.sendall(head(path, "Content-Length: 1000"))
            while not select.select([opened], [], [], 0.05)[0]:
                opened.sendall(b"x")
            status, body = answer(opened)
            assert status == 408
            assert b"did not come within 0.6 seconds" in body
            opened.close()
        assert list((tmp_path / "drips" / "videos").iterdir()) == []


def test_sockets_that_say_nothing_are_closed(
    analyzer: Analyzer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, portrait_file: Path
) -> None:
    monkeypatch.setattr(connections, "_HEADER_S", 0.5)
    with running(analyzer, tmp_path) as client:
        silent, half = connection(client), connection(client)
        half.sendall(b"GET /healthz HTTP/1.1\r\nHost: loc")
        for opened in (silent, half):
            assert opened.recv(1) == b""
            opened.close()
        assert works(client, portrait_file)


@pytest.mark.parametrize("sent", [HEALTH, UPGRADE], ids=["http", "live"])
def test_connections_beyond_the_number_are_told_so(
    analyzer: Analyzer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connections, "_HEADER_S", 600.0)
    with running(analyzer, tmp_path, max_connections=3) as client:
        silent = [connection(client) for _ in range(3)]
        with closing(connection(client)) as opened:
            opened.sendall(sent)
            status, body = answer(opened)
        assert (status, b"too many connections" in body) == (503, True)
        for opened in silent:
            opened.close()
        while client.get("/healthz").status_code != 200:
            pass  # until the server has seen them go


def test_a_client_that_vanished_is_noticed_by_the_system(
    analyzer: Analyzer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hasattr(socket, "TCP_USER_TIMEOUT"):
        pytest.skip("only Linux has all of these options")
    detect, set_up = connections._detect_death, Queue[tuple[int, int, int]]()

    def look(made: socket.socket) -> None:
        detect(made)
        of = partial(made.getsockopt, socket.IPPROTO_TCP)
        probes_s = of(socket.TCP_KEEPINTVL) * of(socket.TCP_KEEPCNT)
        alive = made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        set_up.put((alive, of(socket.TCP_KEEPIDLE) + probes_s, of(socket.TCP_USER_TIMEOUT)))

    monkeypatch.setattr(connections, "_detect_death", look)
    with running(analyzer, tmp_path) as client, closing(connection(client)):
        alive, gone_s, unread_ms = set_up.get(timeout=60)
    assert alive
    assert gone_s <= 60
    assert unread_ms <= 60_000


def test_a_live_client_that_answers_no_ping_is_left(
    analyzer: Analyzer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "_PING_S", 0.2)
    with running(analyzer, tmp_path) as client, closing(connection(client)) as opened:
        opened.sendall(UPGRADE)
        assert opened.recv(100).startswith(b"HTTP/1.1 101 ")
        while "mien_live_connections 1.0" not in client.get("/metrics").text:
            pass
        while "mien_live_connections 0.0" not in client.get("/metrics").text:
            pass  # it took the slot of one who is there


def test_a_client_that_does_not_read_is_left(
    analyzer: Analyzer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, portrait_file: Path
) -> None:
    monkeypatch.setattr(connections, "_STALL_S", 0.3)
    with running(analyzer, tmp_path) as client, closing(connection(client)) as opened:
        request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with pytest.raises(ConnectionError):  # the answers are never read
            while True:
                opened.sendall(100 * request)
        assert works(client, portrait_file)


def test_what_is_not_http(client: httpx.Client, portrait_file: Path) -> None:
    for garbage in (b"\x16\x03\x01 hello\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + bytes(20_000)):
        with closing(connection(client)) as opened:
            opened.sendall(garbage)
            assert opened.recv(100).startswith(b"HTTP/1.1 400 ")
    assert works(client, portrait_file)


@pytest.mark.parametrize("path", ["/v1/analyze", "/v1/videos"])
@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("text/html", b"<script>", 415),
        ("application/x-www-form-urlencoded", b"file=x", 415),
        ("multipart/form-data", b"no boundary", 400),
        ("multipart/form-data; boundary=x", b"no boundary in here", 400),
        ("multipart/form-data; boundary=x", b"", 400),
        ("multipart/form-data; boundary=x", b"--x--\r\n", 422),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="file"; '
         b'filename="a.png"\r\n\r\nhalf', 400),
        ("multipart/form-data; boundary=x", b"--x\r\nA: " + b"a" * 100_000, 400),
        ("multipart/form-data; boundary=" + "x" * 1000, b"--", 400),
    ],
)  # fmt: skip
def test_a_wrong_content_type(
    client: httpx.Client, path: str, kind: str, body: bytes, status: int, data: Path
) -> None:
    answer = client.post(path, content=body, headers={"Content-Type": kind})
    assert answer.status_code == status
    assert [*answer.json()] == ["error"]
    assert list((data / "videos").iterdir()) == []


def test_what_is_wrong_with_a_request_is_said_to_its_client_alone() -> None:
    """In a process of its own: pytest hears what is logged, and would keep it from stderr."""
    code = """
import io
from mien.server.uploads import FormParserError, _Multipart
try:
    _Multipart(b"x", io.BytesIO, 1).write(b"no boundary in here")
except FormParserError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "boundary" in done.stdout
    assert done.stderr == ""


def test_a_path_as_a_files_name(client: httpx.Client, portrait_file: Path) -> None:
    picture = portrait_file.read_bytes()
    for name in ("../../etc/passwd", "/etc/passwd", r"..\..\etc\passwd", "http://x/passwd"):
        sent = client.post("/v1/analyze", files={"file": (name, picture)})
        assert sent.json()["source"] == "passwd"
    for path in ("/page/../settings.py", "/page/%2e%2e/settings.py", "/page/..%2fsettings.py"):
        with closing(connection(client)) as opened:
            opened.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert answer(opened)[0] == 404, path


def test_a_script_as_a_files_name(client: httpx.Client, portrait_file: Path) -> None:
    name = "<script>alert(1)<script>\r\n\x1b[31m.png"
    sent = client.post(
        "/v1/analyze",
        params={"name": name},
        content=portrait_file.read_bytes(),
        headers={"Content-Type": "image/png"},
    )
    assert sent.json()["source"] == "<script>alert(1)<script>[31m.png"
    # It stays text: nothing here is ever shown as a page.
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["x-content-type-options"] == "nosniff"
    bad = client.post("/v1/analyze", files={"file": ("<img onerror=x>.png", b"x")})
    assert bad.headers["content-type"] == "application/json"


def test_a_zip_of_nothing_and_other_non_pictures(client: httpx.Client) -> None:
    for name, file in {
        "empty.zip": b"PK\x05\x06" + bytes(18),
        "page.png": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "script.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(w) run",
        "": b"",
    }.items():
        answer = client.post("/v1/analyze", files={"file": (name or "x", file)})
        assert answer.status_code == 422
        words = "is empty" if not file else "not a picture"
        assert words in answer.json()["error"]


def test_more_files_than_the_limit(client: httpx.Client) -> None:
    files = [("file", (f"{i}.png", b"x")) for i in range(17)]
    answer = client.post("/v1/analyze", files=files)
    assert (answer.status_code, answer.json()["error"]) == (413, "more files than the limit of 16")


def test_uploads_that_are_cut_off_hold_nothing(
    client: httpx.Client, data: Path, portrait_file: Path
) -> None:
    for path in ("/v1/analyze", "/v1/videos"):
        for _ in range(5):  # more than may be held at a time
            with closing(connection(client)) as opened:
                opened.sendall(head(path, "Content-Length: 1500000", "Expect: 100-continue"))
                assert opened.recv(100).startswith(b"HTTP/1.1 100")
                opened.sendall(bytes(1_000_000))
    while any((data / "videos").iterdir()):
        select.select([], [], [], 0.01)
    assert works(client, portrait_file)
    assert client.get("/v1/videos").json()["videos"] == []


def test_pictures_beyond_what_may_be_held_are_refused(
    analyzer: Analyzer, tmp_path: Path, portrait_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_STALL_S", 600.0)
    with running(analyzer, tmp_path, max_waiting_mb=2.0, timeout=600.0) as client:
        with closing(connection(client)) as slow:
            slow.sendall(head("/v1/analyze", "Content-Length: 1900000", "Expect: 100-continue"))
            assert slow.recv(100).startswith(b"HTTP/1.1 100")
            slow.sendall(bytes(1_750_000))
            while 'mien_held_bytes{kind="picture"} 1.75e+06' not in client.get("/metrics").text:
                pass
            with closing(connection(client)) as opened:
                opened.sendall(head("/v1/analyze", "Content-Length: 500000") + bytes(500_000))
                status, body = answer(opened)
            assert status == 503
            assert b"too many pictures are waiting" in body
        files = {"file": ("a.png", portrait_file.read_bytes())}
        while client.post("/v1/analyze", files=files).status_code != 200:
            pass  # until the server has seen the slow one go
