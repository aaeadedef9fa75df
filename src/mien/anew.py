"""What cannot be sent to another process, but made there of the same. Imports the standard library.

Networks that are open cannot be pickled. Who holds some says what it was made of instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from uuid import uuid4


@dataclass(frozen=True)
class MadeOf:
    """What an object was made of.

    Attributes:
        kind: what makes it.
        options: and of which arguments.
        key: of this object alone.
    """

    kind: Callable[..., Any] = field(compare=False)
    options: Mapping[str, Any] = field(compare=False)
    key: str = field(default_factory=lambda: uuid4().hex)


@lru_cache(maxsize=1)
def made_anew(made_of: MadeOf) -> Any:
    """Another of the same. One that comes with every task of a process is made with the first."""
    return made_of.kind(**made_of.options)
