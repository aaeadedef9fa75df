"""The temporal network. Imports torch and the recipe.

It is a smoother with judgement. Like `mien.temporal.Smoother` it averages the logarithms of the
probabilities, with a weight that fades by the clock; but how fast is decided for every class in
every frame by a small recurrent memory, which may also lean the answer towards what it knows of the
face. Before training it is that smoother exactly. The memory's units each have their own pace, set
by the network and multiplied by the time that has passed, so that any frame rate will do (compare
Hasani et al., "Closed-form continuous-time neural networks", Nature Machine Intelligence 4, 2022).
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn

from mien.training.temporal.recipe import TemporalRecipe

START_S: Final = 0.2  # the smoother that it begins as
_PACES_S: Final = (0.05, 10.0)  # time constants of the memory's units at the beginning


class TemporalNetwork(nn.Module):
    """One step in time for any number of faces.

    Args:
        recipe: its size.
        classes: K.
        features: D, length of the classifier's embedding.
    """

    def __init__(self, recipe: TemporalRecipe, classes: int, features: int) -> None:
        super().__init__()
        self.classes, self.memory = classes, recipe.memory
        self.mean = nn.Buffer(torch.zeros(features))
        self.scale = nn.Buffer(torch.ones(features))
        self.look = nn.Linear(features, recipe.look, bias=False)
        self.drop = nn.Dropout(recipe.dropout)
        seen = classes + recipe.look
        self.candidate = nn.Linear(seen + recipe.memory, recipe.memory)
        self.pace = nn.Linear(seen + recipe.memory, recipe.memory)
        self.trust = nn.Linear(seen + recipe.memory, classes)
        self.lean = nn.Linear(recipe.memory, classes)
        slowest, fastest = (math.log(1 / s) for s in reversed(_PACES_S))
        nn.init.zeros_(self.pace.weight)
        self.pace.bias.data = torch.linspace(slowest, fastest, recipe.memory)
        nn.init.zeros_(self.trust.weight)
        nn.init.constant_(self.trust.bias, math.log(1 / START_S))
        nn.init.zeros_(self.lean.weight)
        nn.init.zeros_(self.lean.bias)

    @property
    def state_size(self) -> int:
        """Numbers that are kept for each face."""
        return self.classes + self.memory

    def standardize(self, embeddings: Tensor) -> None:
        """Take mean and deviation of embeddings `(M, D)` as what is usual."""
        self.mean.copy_(embeddings.mean(0))
        self.scale.copy_(1 / embeddings.std(0).clamp_min(1e-3))

    def features(self, log_probs: Tensor, embedding: Tensor) -> Tensor:
        """What is seen of a frame, `(..., K + look)`."""
        usual = (embedding - self.mean) * self.scale
        # Log-probabilities range to -14; most of them lie within a few units of their mean.
        return torch.cat([log_probs / 4 + 0.5, self.look(self.drop(usual))], -1)

    def step(
        self, log_probs: Tensor, seen: Tensor, gap_s: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits `(N, K)` and the next state `(N, S)`.

        Args:
            log_probs: `(N, K)`, what this frame alone says.
            seen: `(N, K + look)`, its features.
            gap_s: `(N, 1)`, seconds since the last frame; very many for a new face.
            state: `(N, S)`, zeros for a new face.
        """
        smooth, memory = state[:, : self.classes], state[:, self.classes :]
        known = torch.cat([seen, memory], 1)
        pace = torch.exp(self.pace(known).clamp(-6, 6))
        memory = memory + (1 - torch.exp(-pace * gap_s)) * (
            torch.tanh(self.candidate(known)) - memory
        )
        trust = torch.exp(self.trust(torch.cat([seen, memory], 1)).clamp(-4, 5))
        smooth = smooth + (1 - torch.exp(-trust * gap_s)) * (log_probs - smooth)
        return smooth + self.lean(memory), torch.cat([smooth, memory], 1)

    def forward(
        self, log_probs: Tensor, embedding: Tensor, gap_s: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One frame: what the exported file computes. See `step`; embedding is `(N, D)`."""
        return self.step(log_probs, self.features(log_probs, embedding), gap_s, state)

    def run(self, log_probs: Tensor, embeddings: Tensor, gaps_s: Tensor) -> Tensor:
        """Whole sequences at once: `(B, T, K)`, `(B, T, D)`, `(B, T)` to logits `(B, T, K)`."""
        seen = self.features(log_probs, embeddings)
        state = log_probs.new_zeros(len(log_probs), self.state_size)
        logits = []
        for t in range(log_probs.shape[1]):
            answer, state = self.step(log_probs[:, t], seen[:, t], gaps_s[:, t, None], state)
            logits.append(answer)
        return torch.stack(logits, 1)
