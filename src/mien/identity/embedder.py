"""From a face to its descriptor: 128 numbers that lie close together for one person.

May import numpy, and from mien: types, geometry, preprocess, inference, weights.

The network is dlib's (King, "High Quality Face Recognition with Deep Metric Learning", 2017; public
domain; 99.38% on LFW by its author): a residual network of 29 layers. Its weights come in with the
build (hatch_build.py, dlib_to_onnx.py).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from mien.geometry import invert_transform, similarity_transform, transform_points
from mien.inference import Network
from mien.preprocess import cut_rgb
from mien.types import Detections, Float32Array, Frame
from mien.weights import read_weights

_WEIGHTS: Final = "face_recognition.onnx"
_BATCH: Final = 16  # faces at a time: bounds the memory that a crowd takes

#: Where the network expects the five landmarks in its picture, pixels: those of an average face
#: with a quarter of its size around it, as dlib cuts it. Faces a tenth larger or smaller, or placed
#: without the nose, are told apart no better; by the detector's box alone, ten times worse
#: (benchmarks/identity.py).
PLACES: Final = np.array([[47.5, 46.6], [100.5, 46.6], [74.0, 76.6], [50.4, 103.0], [97.6, 103.0]])


class FaceEmbedder:
    """Describes faces so that two pictures of one person lie close together.

    Args:
        threads: ONNX Runtime threads.
        device: as of `mien.inference.Network`.

    Raises:
        ModelError: the weights are missing or altered.
        ConfigError: the device cannot be used.
    """

    #: Side of the square that the network takes, in pixels.
    INPUT_PX: Final = 150
    #: Numbers in a descriptor.
    SIZE: Final = 128

    def __init__(self, *, threads: int = 1, device: str = "cpu") -> None:
        self._network = Network(read_weights(_WEIGHTS), _WEIGHTS, threads=threads, device=device)

    def describe(self, frame: Frame, faces: Detections) -> Float32Array:
        """The descriptor of each of N faces: `float32 (N, 128)`.

        Euclidean distances between them count: see `SAME_PERSON`.
        """
        descriptors = np.zeros((len(faces), self.SIZE), np.float32)
        for begin in range(0, len(faces), _BATCH):
            part = slice(begin, begin + _BATCH)
            transforms = [face_transform(points) for points in faces.landmarks[part]]
            crops = [cut_rgb(frame.image, transform, self.INPUT_PX) for transform in transforms]
            (descriptors[part],) = self._network.run(np.stack(crops))
        return descriptors


def face_transform(landmarks: Float32Array) -> npt.NDArray[np.float64]:
    """From the network's picture to the frame, `(2, 3)`, for a face's landmarks `(5, 2)`."""
    return similarity_transform(PLACES, landmarks)


def size_px(landmarks: Float32Array) -> float:
    """Size of a face with landmarks `(5, 2)`: between the eyes, or from eyes to mouth if longer.

    Turned to the side, a face keeps its height, and looking up or down its width.
    """
    eyes, mouth = landmarks[:2].mean(0), landmarks[3:].mean(0)
    lengths = np.hypot(*(landmarks[1] - landmarks[0])), np.hypot(*(mouth - eyes))
    return float(max(lengths))


def turned_px(landmarks: Float32Array) -> float:
    """How badly a face's landmarks `(5, 2)` fit their places: root mean square, network's pixels.

    Near 3 for a face seen from the front, near 8 for a half-profile.
    """
    places = invert_transform(face_transform(landmarks))
    off = transform_points(places, landmarks) - PLACES
    return float(np.sqrt((off**2).sum(1).mean()))
