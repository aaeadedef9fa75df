"""mien reads facial expressions in pictures and videos.

Imports nothing until it is used: the objects below load their room on first access, so that
`import mien` stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mien.classifier import ExpressionClassifier
    from mien.errors import MienError
    from mien.models import list_models
    from mien.pipeline import Analyzer, analyze
    from mien.sinks import Sink, open_sink
    from mien.sources import Source, Span, open_source
    from mien.types import FaceResult, Frame, FrameResult

__version__ = "0.1.0"

_ROOMS = {
    "Analyzer": "pipeline",
    "ExpressionClassifier": "classifier",
    "FaceResult": "types",
    "Frame": "types",
    "FrameResult": "types",
    "MienError": "errors",
    "Sink": "sinks",
    "Source": "sources",
    "Span": "sources",
    "analyze": "pipeline",
    "list_models": "models",
    "open_sink": "sinks",
    "open_source": "sources",
}

__all__ = [
    "Analyzer",
    "ExpressionClassifier",
    "FaceResult",
    "Frame",
    "FrameResult",
    "MienError",
    "Sink",
    "Source",
    "Span",
    "analyze",
    "list_models",
    "open_sink",
    "open_source",
]


if not TYPE_CHECKING:  # to whom it would say that every name is one of ours

    def __getattr__(name: str) -> Any:
        if name not in _ROOMS:
            raise AttributeError(f"module 'mien' has no attribute {name!r}")
        return getattr(import_module(f"mien.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return ["__version__", *__all__]
