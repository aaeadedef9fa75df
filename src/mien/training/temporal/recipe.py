"""A recipe of a temporal model, read as others are. Imports the recipe only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from mien.training.recipe import Limits, filled, read_toml, require_limits

_LIMITS: Final[Limits] = (
    ("dropout holdout wild_share speech_share", "0 to 1", lambda value: 0 <= value <= 1),
    ("crops calm weight_decay seed", "at least 0", lambda value: value >= 0),
    ("steps batch", "at least 1", lambda value: value >= 1),
    ("memory look", "1 to 4096", lambda value: 1 <= value <= 4096),
    ("frames", "at least 2", lambda value: value >= 2),
    ("learning_rate", "more than 0", lambda value: value > 0),
)


@dataclass(frozen=True)
class TemporalRecipe:
    """Everything needed to train a temporal model again, but its data and its classifier."""

    name: str
    version: str = "1"
    training_data: str = ""  # a sentence for the spec: what it learned from
    licence: str = ""  # and on which terms it may be used
    memory: int = 32  # units that remember
    look: int = 16  # numbers that are taken from the classifier's embedding
    dropout: float = 0.3  # of the embedding
    crops: int = 3000  # faces from anywhere, of the classifier's own training set
    same_person: tuple[tuple[str, ...], ...] = ()  # sessions of one person, if names say sessions
    exclude: tuple[str, ...] = ()  # people whose pictures are left out
    holdout: float = 0.15  # share of the people who are only watched
    wild_share: float = 0.3  # share of sequences of a face from anywhere that holds still
    speech_share: float = 0.6  # share of the others in which the face speaks for a while
    calm: float = 0.5  # weight of changes of the answer where nothing changes
    frames: int = 96  # of a sequence
    steps: int = 1500
    batch: int = 48  # sequences
    learning_rate: float = 4e-3
    weight_decay: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        require_limits(self, _LIMITS)

    def person(self, group: str) -> str:
        """Whom a picture's group is: the first of that person's sessions, or the group itself."""
        return next((sessions[0] for sessions in self.same_person if group in sessions), group)

    def excludes(self, group: str) -> bool:
        """Whether a group is left out, itself or as another session of a person who is."""
        return self.person(group) in {self.person(each) for each in self.exclude}

    def to_dict(self) -> dict[str, Any]:
        """The resolved recipe as plain JSON types."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


def load_temporal_recipe(path: str | Path, overrides: Sequence[str] = ()) -> TemporalRecipe:
    """Read a recipe and apply overrides, as of `mien.training.recipe.load_recipe`.

    Raises:
        ConfigError: no such file, broken TOML, unknown key, a value of the wrong type, or a number
            that no run could use.
    """
    table = read_toml(path, "recipe", overrides)
    return filled(TemporalRecipe(name="-"), table, str(path))
