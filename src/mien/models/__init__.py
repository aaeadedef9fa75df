"""Models: what a file says about itself, and where files are found.

A model is one ONNX file. Its `ModelSpec` lies inside it as JSON, under the metadata key `mien`;
nothing is ever guessed from a file's name. `registry.json` lists the models that come with mien
and the SHA-256 that each must have. `spec.py` has the one, `registry.py` the other; they import
errors, onnx_metadata and types only.
"""

from mien.models.registry import (
    ModelEntry,
    file_sha256,
    find_member,
    find_model,
    find_temporal,
    list_models,
    require_another_file,
    signature,
)
from mien.models.spec import (
    METADATA_KEY,
    TEMPORAL_METADATA_KEY,
    FusionMember,
    ModelSpec,
    readable_spec,
    require_classes,
    spec_values,
)

__all__ = [
    "METADATA_KEY",
    "TEMPORAL_METADATA_KEY",
    "FusionMember",
    "ModelEntry",
    "ModelSpec",
    "file_sha256",
    "find_member",
    "find_model",
    "find_temporal",
    "list_models",
    "readable_spec",
    "require_another_file",
    "require_classes",
    "signature",
    "spec_values",
]
