"""What mien is made of: versions, hashes and licences are written down, and nothing unpickles."""

import ast
import json
import re
import tomllib
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parents[1]
SOURCES = sorted((REPOSITORY / "src" / "mien").rglob("*.py"))


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Opens one of the repository's scripts as a module."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "scripts"))
    return import_module


def test_every_dependency_at_run_time_is_locked(scripts: Any) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["server"]]
    pins = scripts("write_licenses").locked()
    for requirement in map(Requirement, wanted):
        versions = [pin.version for pin in pins if pin.name == requirement.name]
        assert versions, f"{requirement} is not in requirements.lock: see CONTRIBUTING.md"
        assert all(requirement.specifier.contains(version) for version in versions), requirement


@pytest.mark.parametrize(
    ("package", "weak"),
    [
        ("starlette", "0.49.0"),  # CVE-2025-62727: minutes for one header `Range`
        ("python-multipart", "0.0.26"),  # a part with an endless header
    ],
)
def test_versions_with_known_weaknesses_are_not_installed(package: str, weak: str) -> None:
    """Whoever installs without the lock gets what pyproject.toml allows."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    server = map(Requirement, project["optional-dependencies"]["server"])
    (wanted,) = (requirement for requirement in server if requirement.name == package)
    assert not wanted.specifier.contains(weak)


def test_every_locked_version_has_hashes(scripts: Any) -> None:
    text = (REPOSITORY / "requirements.lock").read_text("utf-8")
    pins = scripts("write_licenses").locked()
    assert len(pins) == len(re.findall(r"^[^\s#]", text, re.M))
    for pin in pins:
        assert re.fullmatch(r"(--hash=sha256:[0-9a-f]{64}\s*)+", pin.hashes), pin


def test_the_licences_are_up_to_date(scripts: Any) -> None:
    """The weights wholly; of the packages, which versions they are."""
    script = scripts("write_licenses")
    written = (REPOSITORY / "licenses" / "THIRD_PARTY.md").read_text("utf-8")
    rows = re.findall(r"^\| ([\w.-]+) \| (\S+)(?: \(where `(.*)`\))? \| (.+) \|$", written, re.M)
    head, *listed = rows
    assert head[:2] == ("package", "version")
    known = [tuple(row[:3]) for row in listed]
    assert known == [(pin.name, pin.version, pin.condition) for pin in script.locked()]
    assert not [row for row in listed if row[3] == "not stated"]
    again = script.page(iter(()))
    assert written.startswith(again.partition("## Installed with it")[0]), (
        "run `python scripts/write_licenses.py`"
    )


def test_the_bill_of_materials_knows_the_weights(scripts: Any) -> None:
    found = {each["bom-ref"]: each for each in scripts("write_sbom").weights()}
    shipped = json.loads((REPOSITORY / "models" / "registry.json").read_text("utf-8"))
    shipped = [entry for entry in shipped if entry["wheel"]]
    third_party, own = 3, 2  # CenterFace, mesh, face recognition; cover and the rounded CenterFace
    assert len(found) == len(shipped) + third_party + own
    for entry in shipped:
        weights = REPOSITORY / "models" / entry["file"]
        (digest,) = found[f"mien/shipped_models/{entry['file']}"]["hashes"]
        assert digest["content"] == sha256(weights.read_bytes()).hexdigest()
    for each in found.values():
        (digest,) = each["hashes"]
        assert digest["alg"] == "SHA-256"
        assert re.fullmatch(r"[0-9a-f]{64}", digest["content"])


# The wheel.


def wheel(path: Path, script: ModuleType, changes: dict[str, bytes | None]) -> Path:
    """A wheel of what has to be in one, and then of these changes (None: without that file)."""
    info = "mien-0.1.0.dist-info"
    network = b"network"
    registry = [
        {"name": "m", "file": "m.onnx", "wheel": True, "sha256": sha256(network).hexdigest()}
    ]
    files: dict[str, bytes | None] = {name.format(info=info): b"x" for name in script.NEEDED}
    files |= {
        f"{info}/RECORD": b"",
        "mien/SHA256SUMS": f"{sha256(network).hexdigest()}  cover.onnx\n".encode(),
        "mien/cover.onnx": network,
        "mien/assets/SHA256SUMS": f"{sha256(network).hexdigest()}  face.onnx\n".encode(),
        "mien/assets/face.onnx": network,
        "mien/shipped_models/registry.json": json.dumps(registry).encode(),
        "mien/shipped_models/m.onnx": network,
        "mien/shipped_models/m.md": b"card",
    }
    target = path / "mien-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in (files | changes).items():
            if data is not None:
                archive.writestr(name, data)
    return target


def test_a_sound_wheel(tmp_path: Path, scripts: Any) -> None:
    script = scripts("check_release")
    assert script.problems(wheel(tmp_path, script, {})) == []


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("tests/test_x.py", b"", "expected only mien/"),
        ("mien/tests/x.py", b"", "no place"),
        ("mien/__pycache__/x.py", b"", "no place"),
        ("mien/__init__.pyc", b"", "no place"),
        ("mien/fer2013.csv", b"", "no place"),
        ("mien/run.pt", b"", "no place"),
        ("mien/py.typed", None, "missing"),
        ("mien/shipped_models/m.onnx", None, "missing"),
        ("mien/shipped_models/m.md", None, "missing"),
        ("mien/shipped_recipes/fine-tune.toml", None, "missing"),
        ("mien/assets/face.onnx", None, "missing"),
        ("mien/assets/face_mesh-LICENSE.txt", None, "missing"),
        ("mien-0.1.0.dist-info/licenses/LICENSE", None, "missing"),
        ("mien/assets/face.onnx", b"other", "altered"),
        ("mien/cover.onnx", None, "missing"),
        ("mien/cover.onnx", b"other", "altered"),
        ("mien/shipped_models/m.onnx", b"other", "altered"),
        ("mien/assets/stray.onnx", b"network", "without a known hash"),
    ],
)
def test_an_unsound_wheel(
    tmp_path: Path, scripts: Any, name: str, data: bytes | None, says: str
) -> None:
    script = scripts("check_release")
    (problem,) = script.problems(wheel(tmp_path, script, {name: data}))
    assert name in problem
    assert says in problem


def test_a_wheel_that_is_too_large(
    tmp_path: Path, scripts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = scripts("check_release")
    monkeypatch.setattr(script, "LARGEST_BYTES", 100)
    (problem,) = script.problems(wheel(tmp_path, script, {}))
    assert "expected at most 100" in problem


def test_models_that_are_not_shipped_are_not_expected(tmp_path: Path, scripts: Any) -> None:
    script = scripts("check_release")
    rows = [{"name": "m", "wheel": True}, {"name": "large", "wheel": False}]
    registry: dict[str, bytes | None] = {
        "mien/shipped_models/registry.json": json.dumps(rows).encode()
    }
    assert script.shipped_models(wheel(tmp_path, script, registry)) == {"m"}


def test_a_page_on_a_wheel(tmp_path: Path, scripts: Any) -> None:
    script = scripts("check_release")
    made = wheel(tmp_path, script, {"mien/big.onnx": b"x" * 12345, "mien/a.py": b"x" * 90_000})
    page = script.document(made, ["/usr/bin/python3.11"], ["Python 3.11.7: demo"])
    assert "check_release.py python3.11 --document" in page
    assert "- Python 3.11.7: demo" in page
    assert "| `mien/big.onnx` | 1 | 12,345 |" in page
    assert page.index("`mien/….py`") < page.index("`mien/big.onnx`")


# Code that must not be there.

#: Modules that make objects out of bytes by running what the bytes say.
UNPICKLERS = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
#: What may be imported from them: an error is not dangerous.
HARMLESS = {"UnpicklingError", "PicklingError", "PickleError"}


def unpickles(source: str) -> list[str]:
    """Where code unpickles, or may."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                bad = any(alias.name.split(".")[0] in UNPICKLERS for alias in names)
            case ast.ImportFrom(module=str(module), names=names):
                of_pickle = module.split(".")[0] in UNPICKLERS
                bad = of_pickle and not {alias.name for alias in names} <= HARMLESS
            case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=called)):
                given = {word.arg: ast.unparse(word.value) for word in node.keywords}
                bad = (
                    (owner, called) == ("torch", "load") and given.get("weights_only") != "True"
                ) or (
                    (owner, called) == ("np", "load") and given.get("allow_pickle", "") != "False"
                )
                bad |= called in ("read_pickle", "read_hdf")
            case _:
                bad = False
        if bad:
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "import numpy, joblib",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "np.load(f)",
        "np.load(f, allow_pickle=True)",
        "pd.read_pickle(f)",
    ],
)
def test_unpickling_is_found(code: str) -> None:
    assert unpickles(code)


def test_nothing_unpickles() -> None:
    harmless = "from pickle import UnpicklingError\ntorch.load(f, weights_only=True)"
    assert unpickles(harmless) == []
    for file in SOURCES:
        assert unpickles(file.read_text("utf-8")) == [], file


def wall_clocks(file: Path) -> Iterator[str]:
    """Where code asks what time the system thinks it is."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Attribute):
            asked = ast.unparse(node)
            if asked in ("time.time", "time.time_ns", "datetime.now", "datetime.utcnow"):
                yield asked


def test_only_dates_come_from_the_systems_clock() -> None:
    """It may be set at any time: durations and deadlines come from one that nobody sets."""
    found = {
        file.relative_to(REPOSITORY / "src" / "mien").as_posix(): list(wall_clocks(file))
        for file in SOURCES
    }
    assert {name: asked for name, asked in found.items() if asked} == {
        "report/write.py": ["datetime.now"],  # the page's date
        "server/jobs.py": ["time.time"],  # once, when the server starts
    }
