"""Build the sdist and the wheel, look into the wheel, and try it where nothing else is.

    pip install build
    python scripts/check_release.py python3.11 python3.12 python3.13

For each Python that is named: a fresh environment by `requirements.lock`, the wheel into it, and
there, outside the repository, `mien demo`, `mien analyze` on a picture, and `mien models verify`.
Needs a package registry. What was built lies in `dist/` afterwards; `--document docs/release.md`
writes down what was found. Standard library only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
LARGEST_BYTES = 60_000_000

#: What kinds of files may lie in a wheel, outside of its own records.
KINDS = {
    ".py",
    ".typed",
    ".onnx",
    ".json",
    ".md",
    ".txt",
    ".jpg",
    ".html",
    ".css",
    ".js",
    ".svg",
    ".toml",
}
#: What has to.
NEEDED = (
    "mien/__init__.py",
    "mien/py.typed",
    "mien/cli/portrait.jpg",
    "mien/server/page/index.html",
    "mien/SHA256SUMS",
    "mien/assets/SHA256SUMS",
    "mien/assets/centerface-LICENSE.txt",
    "mien/assets/face_mesh-LICENSE.txt",
    "mien/assets/face_recognition-LICENSE.txt",
    "mien/shipped_models/registry.json",
    "mien/shipped_recipes/fine-tune.toml",
    "{info}/licenses/LICENSE",
    "{info}/licenses/licenses/Apache-2.0.txt",
    "{info}/licenses/licenses/THIRD_PARTY.md",
    "{info}/licenses/licenses/portrait.txt",
)


def problems(wheel: Path) -> list[str]:
    """What is wrong with a wheel, one line each."""
    _, version, *_ = wheel.name.split("-")
    info = f"mien-{version}.dist-info"
    found = []
    size = wheel.stat().st_size
    if size > LARGEST_BYTES:
        found.append(f"{size:,} bytes, expected at most {LARGEST_BYTES:,}")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        for name in sorted(names):
            top, *inside = Path(name).parts
            if top not in ("mien", info):
                found.append(f"{name}: expected only mien/ and {info}/")
            elif {"tests", "__pycache__"} & set(inside) or (
                top == "mien" and name not in NEEDED and Path(name).suffix not in KINDS
            ):
                found.append(f"{name}: has no place in a wheel")
        needed = {name.format(info=info) for name in NEEDED}
        sums: dict[str, str] = {}
        for folder in ("mien", "mien/assets"):
            if f"{folder}/SHA256SUMS" in names:
                for line in archive.read(f"{folder}/SHA256SUMS").decode().splitlines():
                    digest, file = line.split()
                    sums[f"{folder}/{file}"] = digest
        if "mien/shipped_models/registry.json" in names:
            for row in json.loads(archive.read("mien/shipped_models/registry.json")):
                if row["wheel"]:
                    sums[f"mien/shipped_models/{row['file']}"] = row["sha256"]
                    needed.add(f"mien/shipped_models/{Path(row['file']).with_suffix('.md')}")
        found += [f"{name}: is missing" for name in sorted((needed | set(sums)) - names)]
        for name in sorted(set(sums) & names):
            if hashlib.sha256(archive.read(name)).hexdigest() != sums[name]:
                found.append(f"{name}: altered: expected SHA-256 {sums[name]}")
        weights = {name for name in names if name.endswith(".onnx")}
        found += [f"{name}: weights without a known hash" for name in sorted(weights - set(sums))]
    return found


def build() -> tuple[Path, Path]:
    """A new sdist, and a wheel made out of it."""
    dist = REPOSITORY / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    run([sys.executable, "-m", "build", "--outdir", str(dist), str(REPOSITORY)])
    (sdist,), (wheel,) = dist.glob("*.tar.gz"), dist.glob("*.whl")
    return sdist, wheel


_DOCUMENT = """\
# What a release is made of

<!-- Made by scripts/check_release.py --document; do not change it by hand. -->

`python scripts/check_release.py {pythons} --document docs/release.md`
on {day}, {system}: the wheel, {size} of at most {largest}, {count} files, holds what it should
and nothing else (hashes of all weights checked), and was installed by `requirements.lock` into an
empty environment and used, outside the repository, on

{tried}

| in the wheel | files | bytes, unpacked |
|---|---|---|
{contents}

The licences and hashes of third-party weights, and of the packages that come along, are listed in
[THIRD_PARTY.md](../licenses/THIRD_PARTY.md).
"""


def document(wheel: Path, pythons: Sequence[str], tried: Sequence[str]) -> str:
    """A page on a wheel: its size, what lies in it, and where it was used."""
    kinds: dict[str, list[int]] = {}
    with zipfile.ZipFile(wheel) as archive:
        entries = archive.infolist()
        for entry in entries:
            path = Path(entry.filename)
            large = path.suffix in (".onnx", ".jpg")
            kind = path.as_posix() if large else f"{path.parts[0]}/…{path.suffix or ' (records)'}"
            kinds.setdefault(kind, []).append(entry.file_size)
    rows = sorted(kinds.items(), key=lambda kind: -sum(kind[1]))
    return _DOCUMENT.format(
        pythons=" ".join(Path(python).name for python in pythons),
        day=f"{datetime.now(UTC):%Y-%m-%d}",
        system=f"{platform.system()} {platform.machine()}",
        size=f"{wheel.stat().st_size / 1e6:.1f} MB",
        largest=f"{LARGEST_BYTES / 1e6:.0f} MB",
        count=len(entries),
        tried="\n".join(f"- {line}" for line in tried),
        contents="\n".join(f"| `{kind}` | {len(n):,} | {sum(n):,} |" for kind, n in rows),
    )


def try_out(wheel: Path, python: str) -> str:
    """Install the wheel for a Python and use it. Returns what was tried."""
    with tempfile.TemporaryDirectory() as folder:
        home, env = Path(folder), Path(folder) / "env"
        run([python, "-m", "venv", str(env)])
        scripts = env / ("Scripts" if os.name == "nt" else "bin")
        install = [str(scripts / "python"), "-m", "pip", "install", "--quiet"]
        lock = str(REPOSITORY / "requirements.lock")
        run([*install, "--no-deps", "--require-hashes", "-r", lock], cwd=home)
        run([*install, "--no-deps", str(wheel)], cwd=home)
        run([str(scripts / "python"), "-m", "pip", "check"], cwd=home)
        mien = str(scripts / "mien")
        table = run([mien, "demo", "--out", "demo"], cwd=home)
        require("happy" in table, f"mien demo: expected a happy face, found {table!r}")
        require((home / "demo" / "portrait.png").is_file(), "mien demo: no annotated picture")
        picture = home / "photo.jpg"
        shutil.copy(REPOSITORY / "src" / "mien" / "cli" / "portrait.jpg", picture)
        (line,) = run([mien, "analyze", picture.name], cwd=home).splitlines()
        shown = [face["expression"] for face in json.loads(line)["faces"]]
        require(shown == ["happy"], f"mien analyze: expected one happy face, found {shown}")
        said = run([mien, "models", "verify"], cwd=home).splitlines()
        verified = {row.split()[1] for row in said if row.startswith("good")}
        shipped = shipped_models(wheel)
        require(
            verified == shipped, f"mien models verify: expected {sorted(shipped)}, found {said}"
        )
        version = run([str(scripts / "python"), "-c", "import sys; print(sys.version.split()[0])"])
        return f"Python {version.strip()}: demo, analyze, {len(verified)} models verified"


def shipped_models(wheel: Path) -> set[str]:
    """The names of the models that lie in a wheel; its registry names others too."""
    with zipfile.ZipFile(wheel) as archive:
        rows = json.loads(archive.read("mien/shipped_models/registry.json"))
    return {row["name"] for row in rows if row["wheel"]}


def run(command: list[str], cwd: Path | None = None) -> str:
    """A command's standard output; its failure ends the program."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    require(done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
    return done.stdout


def require(good: bool, what: str) -> None:
    """End with a line on what is wrong."""
    if not good:
        sys.exit(f"check_release: {what}")


def main() -> None:
    """Build, look and try."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("python", nargs="*", default=[sys.executable], help="interpreters to try")
    parser.add_argument("--wheel", type=Path, help="take this one, and build none")
    parser.add_argument("--document", type=Path, help="write a page on it, in Markdown")
    options = parser.parse_args()
    if options.wheel:
        wheel: Path = options.wheel.resolve()
    else:
        sdist, wheel = build()
        print(f"{sdist.name}: {sdist.stat().st_size:,} bytes")
    found = problems(wheel)
    require(not found, f"{wheel.name}:\n" + "\n".join(found))
    with zipfile.ZipFile(wheel) as archive:
        count = len(archive.namelist())
    print(f"{wheel.name}: {wheel.stat().st_size:,} bytes, {count} files, as they should be")
    tried = []
    for python in options.python:
        tried.append(try_out(wheel, python))
        print(tried[-1], flush=True)
    if options.document:
        options.document.write_text(document(wheel, options.python, tried), encoding="utf-8")


if __name__ == "__main__":
    main()
