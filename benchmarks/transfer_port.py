"""Whether the transfer network's port gives the descriptors of the JavaScript it was ported from.

    npm pack @vladmandic/face-api@1.7.15 && tar xf vladmandic-face-api-1.7.15.tgz
    python benchmarks/transfer_port.py --package package --pictures ../shared/data/photos

Needs node. Finds up to ten faces in the pictures, gives the same pixels to both, and prints how far
their descriptors lie from each other and how far those of different faces lie apart.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mien.detection import FaceDetector
from mien.sources import expand_source, first_frame
from mien.training.zoo.transfer import MEANS, FaceFeatures, load_face_features
from mien.types import UInt8Array

SIDE = 150
FACES = 10
SMALLEST_PX = 60
LOOSENESS = 1.2  # side of the square, in longer sides of the detector's box
#: face-api divides colours by 255 where dlib, whose weights these are, divides by 256.
FACE_API_DIVISOR = 255.0
SCRIPT = Path(__file__).with_name("face_api_descriptors.mjs")


def main() -> None:
    """Compare, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--package", type=Path, required=True, help="@vladmandic/face-api, unpacked"
    )
    parser.add_argument("--pictures", required=True, help="a folder of photographs of faces")
    options = parser.parse_args()
    crops = faces_in(options.pictures)
    manifest = options.package / "model" / "face_recognition_model-weights_manifest.json"
    ours, theirs = descriptors(crops, manifest), face_api_descriptors(crops, options.package)
    apart = np.linalg.norm(theirs[:, None] - theirs[None], axis=2)[np.triu_indices(len(crops), 1)]
    print(f"{len(crops)} faces")
    print(f"port and original: at most {np.linalg.norm(ours - theirs, axis=1).max():.1e} apart")
    print(f"one face and another: {apart.min():.2f} to {apart.max():.2f}")


def faces_in(folder: str) -> UInt8Array:
    """The first large faces in a folder's pictures: RGB `uint8 (N, 150, 150, 3)`."""
    detector, crops = FaceDetector(), []
    for file in expand_source(folder)[0]:
        frame = first_frame(file)
        for box in detector.detect(frame).boxes:
            if min(box[2:] - box[:2]) < SMALLEST_PX:
                continue
            centre, reach = (box[:2] + box[2:]) / 2, LOOSENESS / 2 * max(box[2:] - box[:2])
            corners = np.concatenate([centre - reach, centre + reach])
            left, top, right, bottom = (float(value) for value in corners)
            picture = Image.fromarray(frame.image).crop(
                (round(left), round(top), round(right), round(bottom))
            )
            crops.append(np.asarray(picture.resize((SIDE, SIDE)), np.uint8))
            if len(crops) == FACES:
                return np.stack(crops)
    return np.stack(crops)


def descriptors(crops: UInt8Array, manifest: Path) -> np.ndarray[tuple[int, int], np.dtype]:
    """Our descriptors `(N, 128)`."""
    features = FaceFeatures().eval()
    last = load_face_features(features, manifest)
    pixels = torch.from_numpy(crops).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        maps = features((pixels - torch.tensor(MEANS).view(1, 3, 1, 1)) / FACE_API_DIVISOR)
        return np.asarray((maps.mean((2, 3)) @ last).numpy())


def face_api_descriptors(crops: UInt8Array, package: Path) -> np.ndarray[tuple[int, int], np.dtype]:
    """The original's descriptors `(N, 128)`."""
    with tempfile.TemporaryDirectory() as folder:
        pixels, out = Path(folder) / "crops", Path(folder) / "out.json"
        pixels.write_bytes(crops.tobytes())
        command = ["node", str(SCRIPT), str(package), str(pixels), str(out)]
        subprocess.run(command, check=True, capture_output=True)
        return np.array(json.loads(out.read_text()))


if __name__ == "__main__":
    main()
