"""Expressions over time: what a face showed a moment ago helps to say what it shows now.

May import numpy, and from mien: errors, inference, metrics, models.

`Smoother` averages a face's answers over the recent past. `TemporalModel` is a trained network that
does so with judgement: it follows a real onset quickly and keeps calm when a mouth only speaks.
`Baseline` takes a person's resting face for neutral, whatever it looks like. All three keep one
small state for each track and forget those that are gone.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, field
from math import inf
from operator import index
from typing import Any, ClassVar, Final, Protocol

import numpy as np
import numpy.typing as npt

from mien.errors import ModelError
from mien.inference import Network
from mien.metrics import softmax
from mien.models import TEMPORAL_METADATA_KEY, ModelEntry, readable_spec, spec_values

Float64Array = npt.NDArray[np.float64]

#: A face that was out of sight for longer starts anew; however rare frames are, not one that was
#: seen in the last of them.
_FORGET_S: Final = 0.5
_LEAST: Final = 1e-6

#: A track that is not seen for longer will not come back.
MEMORY_S: Final = 60.0
#: More numbers are kept of each face by no temporal model, and would fill the memory.
_MOST_STATE: Final = 65_536
#: So many people's resting faces are known, who were seen last. A camera may see them for months.
_MOST_PEOPLE: Final = 2000
#: The gap reported for a track's first frame: so long that nothing earlier counts.
LONG_AGO_S: Final = 1e6


class OverTime(Protocol):
    """Turns answers about single frames into answers that take earlier frames into account."""

    def update(
        self,
        numbers: Sequence[int],
        probs: Float64Array,
        embeddings: npt.NDArray[np.float32],
        time_s: float,
    ) -> Float64Array:
        """Probabilities `(N, K)` of this frame's faces; each row sums to 1.

        Args:
            numbers: the track of each face.
            probs: `(N, K)`, what this frame alone says.
            embeddings: `(N, D)`, the features behind that.
            time_s: when. Not before the last frame's.
        """


class Smoother:
    """Averages the logarithms of each track's probabilities over the recent past.

    The weight of a frame fades with its age in seconds, not in frames, so that 5 and 60 frames a
    second give the same answer.

    Args:
        time_constant_s: age at which a frame counts a third (1 / e). An expression that sets in at
            once is seen about so much later; 0 leaves the answers as they are.
    """

    def __init__(self, time_constant_s: float) -> None:
        if not time_constant_s >= 0:
            raise ValueError(f"time_constant_s: expected at least 0, got {time_constant_s}")
        self.time_constant_s = time_constant_s
        self._known: dict[int, tuple[float, Float64Array]] = {}
        self._before_s = -inf  # when the last frame was

    def update(
        self,
        numbers: Sequence[int],
        probs: Float64Array,
        embeddings: npt.NDArray[np.float32],
        time_s: float,
    ) -> Float64Array:
        """See `OverTime.update`; what is behind the answers does not matter here."""
        if not self.time_constant_s:
            return probs
        since_s = min(self._before_s, time_s - _FORGET_S)
        self._known = {n: k for n, k in self._known.items() if k[0] >= since_s}
        self._before_s = time_s
        smoothed = np.empty(probs.shape)
        for row, (number, p) in enumerate(zip(numbers, probs, strict=True)):
            logs = np.log(np.maximum(p, _LEAST))
            if number in self._known:
                then_s, before = self._known[number]
                gain = 1 - np.exp(-(time_s - then_s) / self.time_constant_s)
                logs = before + gain * (logs - before)
            self._known[number] = (time_s, logs)
            smoothed[row] = logs
        return softmax(smoothed)


@dataclass(frozen=True)
class TemporalSpec:
    """What a temporal model says about itself, inside its file.

    Attributes:
        name, version: what it is called.
        classifier, classifier_sha256: the expression model whose answers it continues, and the only
            file that it was made for.
        labels: the classes, in order.
        state: numbers that it keeps for each track.
        parameters: trained weights.
        training_data, licence: what it learned from, and on which terms it may be used.
        metrics: figures measured when it was made, by name.
        recipe, commit, made_with: how to make it again.

    Raises:
        ValueError: a state of a size that no model has.
    """

    METADATA_KEY: ClassVar[str] = TEMPORAL_METADATA_KEY

    name: str
    version: str
    classifier: str
    classifier_sha256: str
    labels: tuple[str, ...]
    state: int
    parameters: int
    training_data: str
    licence: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    commit: str = ""
    made_with: str = ""

    def __post_init__(self) -> None:
        if not 1 <= index(self.state) <= _MOST_STATE:
            raise ValueError(f"state: expected 1 to {_MOST_STATE}, got {self.state}")

    def to_json(self) -> str:
        """The text that is embedded in the file."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], file: str) -> TemporalSpec:
        """Read the spec out of an ONNX file's metadata.

        Raises:
            ModelError: there is none, or it is not one that this version understands.
        """
        if cls.METADATA_KEY not in metadata:
            raise ModelError(f"{file}: not a temporal model. Make one with `mien train-temporal`")
        with readable_spec(file, "TemporalSpec", "train it again"):
            return cls(**spec_values(metadata[cls.METADATA_KEY], cls))


class TemporalModel:
    """A trained recurrent network over each track's answers and features.

    It is told how much time has passed since the last frame, so that any frame rate will do, and
    its state goes out and comes in again with the next frame: it is causal, and its memory does not
    grow.

    Args:
        entry: the file.
        device: as of `mien.inference.Network`.

    Raises:
        ModelError: missing, altered, not a temporal model, or another than it says.
        ConfigError: the device cannot be used.
    """

    def __init__(self, entry: ModelEntry, *, device: str = "cpu") -> None:
        self._network = Network(entry.read(), str(entry.path), device=device)
        self.path = entry.path
        self.spec = TemporalSpec.from_metadata(self._network.metadata, str(entry.path))
        classes, state = len(self.spec.labels), self.spec.state
        self._network.require(
            {
                "log_probs": f"float[n,{classes}]",
                "embedding": "float[n,N]",
                "gap_s": "float[n,1]",
                "state": f"float[n,{state}]",
                "logits": f"float[n,{classes}]",
                "next_state": f"float[n,{state}]",
            },
            "TemporalSpec",
            "Make one with `mien train-temporal`",
        )
        self._known: dict[int, tuple[float, npt.NDArray[np.float32]]] = {}

    @property
    def features(self) -> int:
        """How many numbers the embeddings have that it goes on from."""
        return self._network.width("embedding")

    def afresh(self) -> TemporalModel:
        """The same network with nothing in its memory: for the next video."""
        other = copy(self)
        other._known = {}
        return other

    def update(
        self,
        numbers: Sequence[int],
        probs: Float64Array,
        embeddings: npt.NDArray[np.float32],
        time_s: float,
    ) -> Float64Array:
        """See `OverTime.update`. Raises `ModelError` where the network answers with no numbers."""
        if not numbers:
            return probs
        self._known = {n: k for n, k in self._known.items() if time_s - k[0] <= MEMORY_S}
        nothing = (-inf, np.zeros(self.spec.state, np.float32))
        known = [self._known.get(number, nothing) for number in numbers]
        gaps = [min(time_s - then_s, LONG_AGO_S) for then_s, _ in known]
        logits, states = self._network.run(
            {
                "log_probs": np.log(np.maximum(probs, _LEAST)).astype(np.float32),
                "embedding": embeddings,
                "gap_s": np.array(gaps, np.float32)[:, None],
                "state": np.stack([state for _, state in known]),
            },
            ["logits", "next_state"],
        )
        if logits.shape != probs.shape or not np.isfinite(logits).all():
            raise ModelError(
                f"{self.path}: its network does not answer with {probs.shape[1]} finite numbers "
                "for each face. Make one with `mien train-temporal`, or copy the file again"
            )
        for number, state in zip(numbers, states, strict=True):
            self._known[number] = (time_s, state)
        return softmax(logits)


class Baseline:
    """Corrects people whose resting face looks angry or sad.

    For a while a face counts as neutral. How much more it leans to each expression than faces at
    rest usually do is remembered, and most of that is taken away from then on, as log-odds against
    neutral. (benchmarks/baseline.py measures what it is worth.)

    Args:
        labels: the classes, `neutral` among them.
        seconds: how long every new track counts as neutral, from its first frame; 0 for not at all.

    Raises:
        ValueError: there is no class `neutral`, or `seconds` is negative.
    """

    #: Mean log-odds against neutral of 70 people at rest, twice each (KDEF, from the front,
    #: an early mien-s; with those of version 5 baselines help no more).
    USUAL: Final[Mapping[str, float]] = {
        "angry": -2.3, "disgust": -3.7, "fear": -1.9, "happy": -3.4, "sad": -1.1, "surprise": -3.7
    }  # fmt: skip
    _USUAL_OF_OTHERS: Final = -2.5
    #: Share of the excess that is taken away: all of it would cost true expressions.
    STRENGTH: Final = 0.75

    def __init__(self, labels: Sequence[str], seconds: float = 0.0) -> None:
        if "neutral" not in labels:
            raise ValueError(f"a baseline needs the class neutral; there are {', '.join(labels)}")
        if not seconds >= 0:
            raise ValueError(f"seconds: expected at least 0, got {seconds}")
        self.seconds = seconds
        self._neutral = list(labels).index("neutral")
        usual = [self.USUAL.get(label, self._USUAL_OF_OTHERS) for label in labels]
        usual[self._neutral] = 0.0
        self._usual = np.array(usual)
        self._asked = 0.0
        self._until_s = self._now_s = -inf
        self._known: dict[int, _Resting] = {}
        self._people: dict[str, _Resting] = {}

    def learn(self, seconds: float) -> None:
        """From the next frame with a face on, everyone in it rests for so long; forget what was
        known.
        """
        if not seconds > 0:
            raise ValueError(f"seconds: expected a positive number, got {seconds}")
        self._asked = seconds

    @property
    def learning(self) -> bool:
        """Whether what `learn` asked for is still to come or under way."""
        return self._asked > 0 or self._now_s < self._until_s

    @property
    def tracks(self) -> tuple[int, ...]:
        """The tracks whose resting faces are known, in order."""
        return tuple(sorted(self._known))

    def recognize(
        self, numbers: Sequence[int], people: Sequence[str | None], keys: Sequence[Hashable]
    ) -> None:
        """Whose the tracks of the last frame are: who comes back keeps the baseline of before.

        Args:
            numbers: the track of each face.
            people: each one's name; None where it is not known.
            keys: what changes where a track may have become another's.
        """
        for number, person, key in zip(numbers, people, keys, strict=True):
            resting = self._known.get(number)
            if person in self._people:
                resting = self._known[number] = self._people.pop(person)
                self._people[person] = resting  # the last to be forgotten
                resting.seen_s = self._now_s  # else who was long away would be forgotten again
            elif resting is not None:
                resting.key = key if resting.key is None else resting.key
                if resting.key != key:
                    del self._known[number]
                elif person is not None:
                    # What was learned under a name that is corrected now is not that person's.
                    others = [name for name, kept in self._people.items() if kept is resting]
                    for name in others:
                        del self._people[name]
                    self._people[person] = resting
        while len(self._people) > _MOST_PEOPLE:
            del self._people[next(iter(self._people))]

    def correct(self, numbers: Sequence[int], probs: Float64Array, time_s: float) -> Float64Array:
        """Probabilities `(N, K)` as they are for people with these resting faces.

        Args:
            numbers: the track of each face.
            probs: `(N, K)`, of this frame.
            time_s: when. Not before the last frame's.
        """
        since_s = min(self._now_s, time_s - MEMORY_S)  # however seldom frames come
        self._known = {n: k for n, k in self._known.items() if k.seen_s >= since_s}
        self._now_s = time_s
        if self._asked and numbers:
            self._until_s, self._asked, self._people = time_s + self._asked, 0.0, {}
            self._known = {n: _Resting(self._until_s) for n in numbers}
        corrected = np.array(probs, np.float64)
        for row, number in enumerate(numbers):
            resting = self._known.get(number)
            if resting is None:
                if not self.seconds:
                    continue
                resting = self._known[number] = _Resting(time_s + self.seconds)
            logs = np.log(np.maximum(probs[row], _LEAST))
            resting.seen_s = time_s
            if time_s <= resting.until_s:
                resting.learn(logs - logs[self._neutral])
            excess = np.maximum(resting.odds - self._usual, 0)
            corrected[row] = softmax((logs - self.STRENGTH * excess)[None])[0]
        return corrected


@dataclass
class _Resting:
    """How one face looks at rest: its mean log-odds against neutral."""

    until_s: float
    seen_s: float = inf
    odds: Float64Array = field(default_factory=lambda: np.zeros(0))
    frames: int = 0
    key: Hashable = None  # of the sighting that it was first learned from

    def learn(self, odds: Float64Array) -> None:
        self.frames += 1
        if self.frames == 1:
            self.odds = odds
        else:
            self.odds = self.odds + (odds - self.odds) / self.frames
