"""Faces over time to learn from, composed out of a `FaceBank`. Imports numpy, temporal, the bank.

Every sequence is drawn anew: rest, onset, hold and offset, speech, mistakes of a few frames, at any
frame rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mien.temporal import LONG_AGO_S
from mien.training.temporal.bank import CUTS, DEGREES, FaceBank, Take
from mien.types import Float32Array


@dataclass(frozen=True)
class Sequences:
    """B sequences of T frames each.

    Attributes:
        log_probs: `float32 (B, T, K)`, what each frame alone says.
        embeddings: `float32 (B, T, D)`.
        gaps_s: `float32 (B, T)`, seconds since the frame before; the first is a long time.
        targets: `float32 (B, T, K)`, what is shown; rows sum to 1.
    """

    log_probs: Float32Array
    embeddings: Float32Array
    gaps_s: Float32Array
    targets: Float32Array


@dataclass
class Composer:
    """Draws sequences from a bank.

    Attributes:
        bank: the crops.
        neutral: the label of a face at rest.
        frames: T.
        wild_share: share of sequences of a face from anywhere that holds still.
        speech_share: share of the others in which the face speaks for a while.
        seed: of the draws.
    """

    bank: FaceBank
    neutral: int
    frames: int = 96
    wild_share: float = 0.3
    speech_share: float = 0.6
    seed: int = 0
    _random: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)
        self._wild = [take for take in self.bank.takes if take.wild]
        self._people = [take for take in self.bank.takes if not take.wild and take.shown]

    def draw(self, count: int) -> Sequences:
        """`count` sequences."""
        logs, embeddings, gaps, targets = [], [], [], []
        for _ in range(count):
            gap_s = self._gaps()
            wild = self._wild and (self._random.random() < self.wild_share or not self._people)
            takes = self._wild if wild else self._people
            take = takes[self._random.integers(len(takes))]
            script = self._still(take) if wild else self._play(take, gap_s)
            logs.append(script.log_probs)
            embeddings.append(script.embeddings)
            targets.append(script.targets)
            gaps.append(gap_s)
        return Sequences(np.stack(logs), np.stack(embeddings), np.stack(gaps), np.stack(targets))

    def _gaps(self) -> Float32Array:
        """Frame intervals: any rate from 5 to 60 a second, unsteady, with a pause now and then."""
        random = self._random
        rate = np.exp(random.uniform(np.log(5), np.log(60)))
        gaps = random.gamma(20, 1 / 20, self.frames) / rate
        gaps[random.random(self.frames) < 0.01] += random.uniform(0.1, 1.0)
        gaps[0] = LONG_AGO_S
        return np.asarray(gaps, np.float32)

    def _cuts(self) -> npt.NDArray[np.intp]:
        """Which cut each frame is: it changes every few frames."""
        picks = self._random.integers(CUTS, size=self.frames)
        stays = self._random.random(self.frames) < 0.6
        for i in range(1, self.frames):
            if stays[i]:
                picks[i] = picks[i - 1]
        return picks

    def _still(self, take: Take) -> _Script:
        """A face from anywhere that holds still shows what its crops say on the whole."""
        (rows,) = take.shown.values()
        mean = np.exp(self.bank.log_probs[rows[0]].mean(0))
        return self._script(rows[0][self._cuts()], mean / mean.sum())

    def _play(self, take: Take, gaps_s: Float32Array) -> _Script:
        """Rest and expressions by turns, with speech and mistakes."""
        times = np.cumsum(np.concatenate([[0.0], gaps_s[1:]]))
        cuts, certain = self._cuts(), np.eye(self.bank.log_probs.shape[1])
        if not len(take.rest):
            label = self._any(list(take.shown))
            script = self._script(take.shown[label][0][cuts], certain[label])
        else:
            script = self._script(take.rest[cuts], certain[self.neutral])
            self._speak(script, take, times, cuts)
            for label, degree in self._episodes(list(take.shown), times):
                self._show(script, take.shown[label][:, cuts], label, degree)
        self._err(script, take, times)
        return script

    def _script(self, rows: npt.NDArray[np.intp], target: npt.NDArray[np.floating]) -> _Script:
        """A script that plays these rows of the bank `(T,)` and shows one thing throughout."""
        targets = np.tile(target, (self.frames, 1)).astype(np.float32)
        return _Script(self.bank.log_probs[rows], self.bank.embeddings[rows], targets)

    def _any(self, things: Sequence[int]) -> int:
        return things[int(self._random.integers(len(things)))]

    def _episodes(
        self, labels: Sequence[int], times: npt.NDArray[np.float64]
    ) -> Iterable[tuple[int, npt.NDArray[np.float64]]]:
        """One expression after the other, with its degree `(T,)` over time."""
        random = self._random
        now_s = 0.0 if random.random() < 0.2 else random.exponential(1.2)
        while now_s < times[-1]:
            onset_s = 0.0 if now_s == 0 else random.uniform(0.08, 0.8)
            hold_s, offset_s = 0.3 + random.exponential(1.2), random.uniform(0.15, 1.0)
            highest = random.uniform(0.6, 1.0)
            knots = np.cumsum([now_s, max(onset_s, 1e-3), hold_s, offset_s])
            degree = np.interp(times, knots, [0, highest, highest, 0])
            if now_s == 0:
                degree[0] = highest
            yield self._any(labels), degree
            now_s = knots[-1] + random.exponential(1.2)

    def _show(
        self,
        script: _Script,
        rows: npt.NDArray[np.intp],
        label: int,
        degree: npt.NDArray[np.float64],
    ) -> None:
        """Fade an expression in and out: between the rows `(degrees, T)` of the bank."""
        for i in map(int, np.nonzero(degree > 0)[0]):
            place = degree[i] * len(DEGREES)
            below = min(int(place), len(DEGREES) - 1)
            script.mix(
                i, self.bank, rows[below, i], place - below, rows[below - 1, i] if below else -1
            )
            seen = np.clip((degree[i] - 0.15) / 0.35, 0, 1)
            script.targets[i] = 0
            script.targets[i, self.neutral] = 1 - seen
            script.targets[i, label] += seen

    def _speak(
        self,
        script: _Script,
        take: Take,
        times: npt.NDArray[np.float64],
        cuts: npt.NDArray[np.intp],
    ) -> None:
        """For a while, the mouth opens and closes some times a second."""
        if not len(take.spoken) or self._random.random() > self.speech_share:
            return
        random = self._random
        begin_s = random.uniform(-2, times[-1])
        end_s = begin_s + random.uniform(1, 8)
        rate, now_s = random.uniform(1.5, 5), begin_s
        while now_s < end_s:  # one syllable after the other, each with a mouth of its own
            length_s = random.uniform(0.6, 1.6) / rate
            mouth, widest = take.spoken[random.integers(len(take.spoken))], random.uniform(0.3, 1)
            for i in map(int, np.nonzero((times >= now_s) & (times < now_s + length_s))[0]):
                opening = np.sin(np.pi * (times[i] - now_s) / length_s) * widest
                script.mix(i, self.bank, mouth[cuts[i]], opening)
            now_s += length_s

    def _err(self, script: _Script, take: Take, times: npt.NDArray[np.float64]) -> None:
        """Now and then a few frames look like something else: a blink, a hand, a bad crop."""
        random = self._random
        rows = np.concatenate([take.rest, *(shown.ravel() for shown in take.shown.values())])
        for start_s in random.uniform(0, times[-1], random.poisson(0.3 * times[-1])):
            during = np.nonzero((times >= start_s) & (times < start_s + random.uniform(0.02, 0.15)))
            row = int(rows[random.integers(len(rows))])
            for i in map(int, during[0]):
                script.mix(i, self.bank, row, 1.0)


@dataclass
class _Script:
    """One sequence under way: arrays of T rows."""

    log_probs: Float32Array
    embeddings: Float32Array
    targets: Float32Array

    def mix(self, i: int, bank: FaceBank, row: int, share: float, other: int = -1) -> None:
        """Move frame i towards a row of the bank, from what it is or from another row."""
        for mine, theirs in ((self.log_probs, bank.log_probs), (self.embeddings, bank.embeddings)):
            start = mine[i] if other < 0 else theirs[other]
            mine[i] = start + np.float32(share) * (theirs[row] - start)
