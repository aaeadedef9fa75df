"""The shape of a face: 468 points on its surface, and what they say about pose and openings.

May import numpy, and from mien: types, geometry, preprocess, inference, weights.

The network is MediaPipe's face mesh (Kartynnik et al., "Real-time Facial Surface Geometry from
Monocular Video on Mobile GPUs", CVPR workshops 2019; Apache licence). Its weights come in with the
build (hatch_build.py).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from mien.geometry import transform_points
from mien.inference import Network
from mien.preprocess import cut_rgb
from mien.types import FaceShape, Frame
from mien.weights import read_weights

_WEIGHTS: Final = "face_mesh.onnx"
POINTS: Final = 468

#: Side of the square that the network is shown, in longer sides of the detector's box. Of 1.2,
#: 1.35, 1.5 and 1.7, this puts ten points nearest to where people have marked them
#: (tests/test_shape.py).
SCALE: Final = 1.35

#: Points of the mesh, left and right in the picture of a face seen from the front.
_OUTER, _INNER = (33, 263), (133, 362)  # corners of the eyes
_UPPER, _LOWER = (159, 386), (145, 374)  # lids
_BROWS: Final = (105, 334)
_MOUTH: Final = (61, 291)  # corners
_LIPS: Final = (13, 14)  # inner edges
_FOREHEAD, _CHIN = 10, 152

#: What the points alone say of people who look into the camera (benchmarks/shape.py): the forehead
#: lies a little further forward than the chin.
_LEVEL_PITCH_DEG: Final = -5.0


class FaceMesh:
    """Lays a mesh over aligned faces.

    Args:
        threads: ONNX Runtime threads.
        device: as of `mien.inference.Network`.

    Raises:
        ModelError: the weights are missing or altered.
        ConfigError: the device cannot be used.
    """

    #: Side of the square that it takes, in pixels.
    INPUT_PX: Final = 192

    def __init__(self, *, threads: int = 1, device: str = "cpu") -> None:
        self._network = Network(read_weights(_WEIGHTS), _WEIGHTS, threads=threads, device=device)

    def shapes(self, frame: Frame, transforms: npt.NDArray[np.float64]) -> list[FaceShape]:
        """The shape of each face.

        Args:
            frame: the picture.
            transforms: `(N, 2, 3)` of `alignment.crop_transforms` with `SCALE` and `INPUT_PX`.
        """
        if not len(transforms):
            return []
        crops = [cut_rgb(frame.image, transform, self.INPUT_PX) for transform in transforms]
        inputs = np.stack(crops) / np.float32(255)
        points, presence = self._network.run(inputs, ["points", "presence"])
        meshes = points.reshape(-1, POINTS, 3).astype(np.float64)
        sure = 1 / (1 + np.exp(-presence[:, 0].astype(np.float64)))
        found = []
        for mesh, transform, p in zip(meshes, transforms, sure, strict=True):
            step = float(np.hypot(*transform[:, 0]))
            flat = transform_points(transform, mesh[:, :2] - 0.5)
            found.append(shape_of(np.column_stack([flat, mesh[:, 2] * step]), float(p)))
        return found


def shape_of(mesh: npt.NDArray[np.float64], presence: float) -> FaceShape:
    """Pose and openings of a mesh `(468, 3)` in pixels, z away from the camera."""
    eyes = (mesh[list(_OUTER)] + mesh[list(_INNER)]) / 2
    between = float(np.linalg.norm(eyes[1] - eyes[0]))
    # Eyes and mouth each say where the face's right is; forehead, eyes, mouth and chin, where down.
    across = mesh[_OUTER[1]] - mesh[_OUTER[0]] + mesh[_MOUTH[1]] - mesh[_MOUTH[0]]
    across /= np.linalg.norm(across)
    down = mesh[list(_MOUTH)].mean(0) - eyes.mean(0) + mesh[_CHIN] - mesh[_FOREHEAD]
    down -= (down @ across) * across
    down /= np.linalg.norm(down)
    outwards = -np.cross(across, down)
    brows = (eyes - mesh[list(_BROWS)]) @ down / between
    lids = np.linalg.norm(mesh[list(_UPPER)] - mesh[list(_LOWER)], axis=1) / between
    lips = np.linalg.norm(mesh[_LIPS[0]] - mesh[_LIPS[1]]) / between
    corners = np.linalg.norm(mesh[_MOUTH[0]] - mesh[_MOUTH[1]]) / between
    x, y, z = (float(value) for value in outwards)
    return FaceShape(
        presence=presence,
        yaw_deg=float(np.degrees(np.arctan2(x, -z))),
        pitch_deg=float(np.degrees(np.arctan2(-y, np.hypot(x, z)))) - _LEVEL_PITCH_DEG,
        roll_deg=float(np.degrees(np.arctan2(across[1], across[0]))),
        eye_opening=(float(lids[0]), float(lids[1])),
        brow_height=(float(brows[0]), float(brows[1])),
        mouth_opening=float(lips),
        mouth_width=float(corners),
        mesh=mesh.astype(np.float32),
    )
