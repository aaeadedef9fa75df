"""`mien serve` as its clients meet it: pictures, keys, headers, health."""

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event

import httpx
import numpy as np
import pytest
from PIL import Image

import mien
from mien.cli import main
from mien.pipeline import Analyzer
from mien.server.app import Application
from mien.server.job_runner import FILES
from mien.server.meters import Meters
from mien.server.schema import RESULT
from mien.server.settings import Settings
from mien.server.workers import Full, Workers
from mien.sinks import to_json
from mien.types import UInt8Array
from tests.servers import running

KEY = "a key of more than sixteen letters"


@pytest.fixture(scope="module")
def client(analyzer: Analyzer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with running(analyzer, tmp_path_factory.mktemp("data")) as client:
        yield client


@pytest.fixture(scope="module")
def locked(analyzer: Analyzer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The same with a key."""
    with running(analyzer, tmp_path_factory.mktemp("data"), key=KEY) as client:
        yield client


@pytest.fixture(scope="module")
def pictures(portrait: UInt8Array) -> dict[str, bytes]:
    """The portrait in several formats and sizes, two of it in one, and a picture without a face."""
    twice = np.concatenate([portrait, portrait[:, ::-1]], 1)
    made = {
        "a.png": Image.fromarray(portrait),
        "b.jpg": Image.fromarray(portrait[40:, 60:]),
        "c.webp": Image.fromarray(portrait).resize((300, 300)),
        "d.bmp": Image.fromarray(twice),
        "e.tif": Image.fromarray(portrait).convert("L"),
        "f.png": Image.new("RGB", (64, 48)),
    }
    files = {}
    for name, picture in made.items():
        buffer = io.BytesIO()
        picture.save(buffer, {"jpg": "jpeg", "tif": "tiff"}.get(name[2:], name[2:]))
        files[name] = buffer.getvalue()
    return files


def post(client: httpx.Client, *files: tuple[str, bytes]) -> httpx.Response:
    return client.post("/v1/analyze", files=[("file", file) for file in files])


def test_the_same_bytes_as_command_line_and_python(
    client: httpx.Client,
    analyzer: Analyzer,
    pictures: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, data in pictures.items():
        Path(name).write_bytes(data)
    assert main(["analyze", *pictures, "--json"]) == 0
    printed = dict(zip(pictures, capsys.readouterr().out.splitlines(), strict=True))
    assert len(json.loads(printed["d.bmp"])["faces"]) == 2
    for name, data in pictures.items():
        answer = post(client, (name, data))
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.text == printed[name]
        (streamed,) = analyzer.stream(name)
        assert answer.text == to_json(streamed)
        raw = client.post(
            "/v1/analyze", params={"name": name}, content=data, headers={"Content-Type": "image/x"}
        )
        assert raw.text == printed[name]
    # In one request, and in many at once, which share batches.
    many = post(client, *pictures.items())
    assert many.text == f"[{', '.join(printed.values())}]"
    with ThreadPoolExecutor(12) as pool:
        names = [*pictures] * 4
        answers = list(pool.map(lambda name: post(client, (name, pictures[name])).text, names))
    assert answers == [printed[name] for name in names]


def test_a_bad_picture_costs_the_others_nothing(
    client: httpx.Client, pictures: dict[str, bytes]
) -> None:
    cut = pictures["a.png"][:2000]
    answer = post(client, ("a.png", pictures["a.png"]), ("cut.png", cut), ("no.txt", b"hello"))
    good, damaged, text = answer.json()
    assert answer.status_code == 200
    assert good["faces"][0]["expression"] == "happy"
    assert damaged["source"] == "cut.png"
    assert "cut.png: damaged or cut off" in damaged["error"]
    assert text == {
        "source": "no.txt",
        "error": "no.txt: not a picture. Expected JPEG, PNG, WebP, AVIF, HEIF, BMP or TIFF",
    }
    alone = post(client, ("cut.png", cut))
    assert alone.status_code == 422
    assert alone.json() == {"error": damaged["error"]}
    both = post(client, ("cut.png", cut), ("", b""))
    assert both.status_code == 422
    assert "empty" in both.json()[1]["error"]


def test_pictures_found_together_are_answered_as_alone(
    analyzer: Analyzer, pictures: dict[str, bytes], tmp_path: Path
) -> None:
    for name, data in pictures.items():
        (tmp_path / name).write_bytes(data)
    frames = [next(iter(analyzer.open(tmp_path / name))) for name in pictures]
    together = analyzer.classify_found([analyzer.find(frame) for frame in frames])
    assert together == [analyzer.analyze_frame(frame) for frame in frames]
    assert analyzer.classify_found([]) == []


def test_the_answer_is_as_openapi_says(client: httpx.Client, pictures: dict[str, bytes]) -> None:
    document = client.get("/openapi.json").json()
    assert {"/v1/analyze", "/v1/models", "/v1/videos", "/v1/videos/{job_id}"} <= {
        *document["paths"]
    }
    result = post(client, ("a.png", pictures["a.png"])).json()
    assert list(result) == RESULT["required"]
    assert list(result["faces"][0]) == RESULT["properties"]["faces"]["items"]["required"]
    for path in ("/docs", "/redoc"):  # these would load scripts from elsewhere
        assert client.get(path).status_code == 404


def test_openapi_knows_errors_files_and_keys(client: httpx.Client, locked: httpx.Client) -> None:
    document = locked.get("/openapi.json", headers={"X-API-Key": KEY}).json()
    paths = document["paths"]

    def kinds(path: str, method: str = "get") -> set[str]:
        return {*paths[path][method]["responses"]["200"]["content"]}

    assert kinds("/metrics") == {"text/plain"}
    assert kinds("/v1/reports", "post") == {"text/html"}
    assert kinds("/v1/videos/{job_id}/events") == {"text/event-stream"}
    assert kinds("/v1/videos/{job_id}/files/{name}") == {*FILES.values()}
    assert "HTTPValidationError" not in json.dumps(document)
    sent = paths["/v1/videos"]["post"]
    assert {part["name"] for part in sent["parameters"]} == {
        "name",
        "annotated",
        "anonymize",
        "fps",
    }
    refusals = {"400", "401", "403", "408", "413", "415", "422", "503", "507"}
    assert {*sent["responses"]} == {"202", *refusals}
    assert {"404", "422"} <= {*paths["/v1/videos/{job_id}"]["get"]["responses"]}
    schemes = document["components"]["securitySchemes"]
    for path, operations in paths.items():
        is_open = path in ("/healthz", "/readyz", "/v1/session")
        for operation in operations.values():
            assert ("security" not in operation) == is_open, path
            for way in operation.get("security", []):
                assert {*way} <= {*schemes}
                assert way
            for status, answer in operation["responses"].items():
                said = json.dumps(answer.get("content", {}))
                assert status < "400" or '"error"' in said, (path, status)
    without = client.get("/openapi.json").json()["paths"]["/v1/models"]["get"]
    assert {} in without["security"]


def test_without_a_key_no_foreign_name_is_answered(analyzer: Analyzer, tmp_path: Path) -> None:
    """A page of evil.example may have its name point to a server in the reader's network."""
    foreign = ("evil.example", "evil.example:8080", "nas.local.evil.example", "evil.")
    near = (
        "192.168.1.5:8080",
        "[fe80::1]:8080",
        "localhost",
        "nas:8080",
        "NAS.local",
        "good.example",
    )
    with running(
        analyzer, tmp_path / "open", loopback=False, origins=("http://good.example",)
    ) as client:
        for host in foreign:
            refused = client.get("/v1/models", headers={"Host": host})
            assert refused.status_code == 403, host
            assert f"not to {host}" in refused.json()["error"]
            assert "--allow-origin" in refused.json()["error"]
        for host in near:
            assert client.get("/v1/models", headers={"Host": host}).status_code == 200, host
    with running(analyzer, tmp_path / "locked", loopback=False, key=KEY) as client:
        headers = {"Host": "mien.example", "X-API-Key": KEY}
        assert client.get("/v1/models", headers=headers).status_code == 200


def test_the_time_for_the_end_is_spent_once(
    analyzer: Analyzer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    application = Application(analyzer, Settings(tmp_path, shutdown_s=10.0))
    given: list[float] = []
    end = application._runner.close

    def close(patience_s: float) -> None:
        given.append(patience_s)
        end(0.0)

    monkeypatch.setattr(application._runner, "close", close)
    application.stop()
    Event().wait(0.3)  # for requests that are under way
    application.close()
    assert 0 <= given[0] <= 9.7


def test_models_health_and_metrics(
    client: httpx.Client, pictures: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    for entry in listed:  # where they lie is nobody's business
        entry["file"] = Path(entry["file"]).name
    assert client.get("/v1/models").json() == listed
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}
    post(client, ("f.png", pictures["f.png"]))
    client.get("/nonesuch")
    client.request("FROBNICATE", "/nonesuch/else")
    text = client.get("/metrics").text
    assert 'mien_requests_total{method="POST",path="/v1/analyze",status="200"}' in text
    assert 'mien_frames_total{kind="picture"}' in text
    assert 'mien_waiting{kind="live"} 0.0' in text
    # Clients cannot make new labels.
    assert "nonesuch" not in text
    assert "FROBNICATE" not in text


@pytest.mark.parametrize("path", ["/", "/v1/models", "/nonesuch", "/metrics"])
def test_every_answer_keeps_browsers_from_going_elsewhere(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


def test_errors_say_what_and_stay_json(client: httpx.Client) -> None:
    assert client.get("/nonesuch").json() == {"error": "Not Found"}
    assert client.get("/v1/analyze").status_code == 405
    missing = client.post("/v1/analyze", files={"other": ("a.jpg", b"x")})
    assert (missing.status_code, missing.json()["error"]) == (
        422,
        "a field 'other' came, expected only `file`",
    )
    listing = client.get("/v1/videos", params={"limit": "many"})
    assert listing.status_code == 422
    assert listing.json()["error"].startswith("limit: ")


def test_without_the_key_nothing_is_told(locked: httpx.Client, pictures: dict[str, bytes]) -> None:
    for path in ("/v1/models", "/v1/videos", "/metrics", "/openapi.json", "/nonesuch", "/v1/live"):
        answer = locked.get(path)
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"] == "Bearer"
    assert post(locked, ("f.png", pictures["f.png"])).status_code == 401
    for path in ("/healthz", "/readyz", "/v1/session"):
        assert locked.get(path).status_code == 200, path
    for name, value in {
        "X-API-Key": KEY[:-1],
        "Authorization": "Bearer x",
        "X-Api-Key": "é",
    }.items():
        wrong = [(name.encode(), value.encode("latin-1"))]
        assert locked.get("/v1/models", headers=wrong).status_code == 401
        assert locked.post("/v1/session", headers=wrong).status_code == 401
    for right in ({"X-API-Key": KEY}, {"Authorization": f"bearer {KEY}"}):
        assert locked.get("/v1/models", headers=right).status_code == 200


def test_a_browser_gets_a_cookie_for_the_key(locked: httpx.Client) -> None:
    with httpx.Client(base_url=locked.base_url, trust_env=False) as browser:
        needed = {"key_required": True, "signed_in": False}
        assert browser.get("/v1/session").json() == needed
        signed = browser.post("/v1/session", headers={"X-API-Key": KEY})
        assert signed.status_code == 204
        told = signed.headers["set-cookie"]
        assert "HttpOnly" in told
        assert "SameSite=strict" in told
        assert KEY not in told
        assert browser.get("/v1/session").json() == needed | {"signed_in": True}
        assert browser.get("/v1/models").status_code == 200
        assert browser.delete("/v1/session").status_code == 204
        assert browser.get("/v1/models").status_code == 401


def test_other_sites_may_not_use_a_reader(
    client: httpx.Client, pictures: dict[str, bytes], analyzer: Analyzer, tmp_path: Path
) -> None:
    file = {"file": ("f.png", pictures["f.png"])}
    foreign = ("https://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1.evil")
    for origin in (*foreign, "http://[", "http://127.0.0.1:x"):
        answer = client.post("/v1/analyze", files=file, headers={"Origin": origin})
        assert answer.status_code == 403, origin
    own = str(client.base_url).rstrip("/")
    assert client.post("/v1/analyze", files=file, headers={"Origin": own}).status_code == 200
    # A foreign name that points to this computer.
    assert client.get("/v1/models", headers={"Host": "evil.example"}).status_code == 403
    assert client.get("/v1/models", headers={"Host": "localhost:8080"}).status_code == 200
    with running(analyzer, tmp_path, origins=("https://good.example",)) as open_client:
        good = {"Origin": "https://good.example"}
        answer = open_client.post("/v1/analyze", files=file, headers=good)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://good.example"
        host = {"Host": "good.example"}  # a proxy stands before it
        assert open_client.get("/v1/models", headers=host).status_code == 200
        bad = {"Origin": "https://evil.example"}
        assert open_client.post("/v1/analyze", files=file, headers=bad).status_code == 403


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0: others can reach it, and no key is set"),
        (["--port", "70000"], "--port: expected 0 to 65535, got 70000"),
        (["--host", "nonesuch.invalid", "--insecure"], "cannot listen there"),
        (["--host", "192.168.0..1", "--insecure"], "192.168.0..1 --port 0: cannot listen"),
        (["--max-live", "0"], "--max-live: expected a positive number, got 0"),
        (["--allow-origin", "example.org/x"], "--allow-origin: expected an address like https"),
        (["--allow-origin", "http://["], "--allow-origin: expected an address like https"),
        (["--certificate", "nonesuch.pem"], "--certificate: cannot be used"),
        (["--model", "nonesuch"], "nonesuch: no model of that name"),
        (["--smooth", "-1"], "--smooth: expected seconds, at least 0, got -1"),
        (["--temporal", "nonesuch"], "nonesuch: no model of that name"),
    ],
)
def test_wrong_use_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data = ["--data", str(tmp_path)]
    assert main(["serve", *data, "--port", "0", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_answers_are_averaged_over_time_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    served: list[mien.Analyzer] = []
    monkeypatch.setattr(
        "mien.server.serving.Server.__init__", lambda _, one, *__, **___: served.append(one)
    )
    monkeypatch.setattr("mien.server.serving.Server.address", "", raising=False)
    monkeypatch.setattr("mien.server.serving.Server.run", lambda _: None)
    for words in ([], ["--smooth", "0.2"]):
        assert main(["serve", "--data", str(tmp_path), *words]) == 0
    usual, averaged = served
    assert usual.temporal is not None
    assert averaged.temporal is None


def test_a_short_key_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("MIEN_API_KEY", "1234")
    assert main(["serve", "--data", str(tmp_path), "--port", "0"]) == 2
    assert "MIEN_API_KEY: expected at least 16 characters" in capsys.readouterr().err


@pytest.mark.parametrize(
    "key",
    ["ein-schl\u00fcssel-zum-testen", f"{KEY}\n", f" {KEY}", KEY.replace(" ", "\t"), " " * 16],
)
def test_a_key_that_nobody_can_send_is_refused(key: str, tmp_path: Path) -> None:
    with pytest.raises(mien.MienError, match=r"MIEN_API_KEY: expected .* of ASCII") as caught:
        Settings(tmp_path, key=key)
    assert key not in str(caught.value)


def test_one_folder_has_one_server(
    client: httpx.Client, analyzer: Analyzer, tmp_path: Path
) -> None:
    with (
        running(analyzer, tmp_path),
        pytest.raises(mien.MienError, match="Another server may be using it"),
        running(analyzer, tmp_path),
    ):
        pass


def test_kinds_of_work_take_turns() -> None:
    done: list[str] = []
    busy, go = Event(), Event()
    workers = Workers(1, max_waiting=3)

    def block() -> None:
        busy.set()
        go.wait()

    workers.submit("video", block)
    busy.wait()
    for number in range(3):
        workers.submit("picture", partial(done.append, f"picture {number}"))
        workers.submit("live", partial(done.append, f"live {number}"))
    with pytest.raises(Full):
        workers.submit("picture", lambda: None)
    assert workers.lines() == {"live": 3.0, "picture": 3.0, "report": 0.0, "video": 0.0}
    go.set()
    workers.close()
    assert done == ["live 0", "picture 0", "live 1", "picture 1", "live 2", "picture 2"]
    with pytest.raises(Full):
        workers.submit("live", lambda: None)
    assert not workers.alive


def test_reports_leave_a_thread_to_the_others() -> None:
    """They take minutes, and live views would stand still as long."""
    begun: list[int] = []
    go = Event()
    workers = Workers(2, max_waiting=3)

    def write(number: int) -> None:
        begun.append(number)
        go.wait()

    reports = [workers.submit("report", partial(write, number)) for number in range(3)]
    for _ in range(5):
        workers.submit("live", lambda: None).result(timeout=20)
    assert begun == [0]
    go.set()
    for report in reports:
        report.result(timeout=20)
    assert begun == [0, 1, 2]
    workers.close()


def test_metrics_of_two_servers_are_apart() -> None:
    first, second = Meters(), Meters()
    first.analyzed("live", 2)
    assert b'mien_faces_total{kind="live"} 2.0' in first.text()
    assert b'mien_faces_total{kind="live"}' not in second.text()
