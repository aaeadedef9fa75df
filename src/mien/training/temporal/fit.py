"""Train, examine and write the temporal network. Imports torch, onnx, and the training side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mien
from mien.datasets import LabelledPicture
from mien.errors import ConfigError
from mien.models import ModelEntry, ModelSpec, file_sha256
from mien.temporal import LONG_AGO_S, TemporalSpec
from mien.training.export import current_commit, save_model, traced
from mien.training.temporal.bank import FaceBank, require_groups
from mien.training.temporal.network import TemporalNetwork
from mien.training.temporal.recipe import TemporalRecipe
from mien.training.temporal.sequences import Composer, Sequences
from mien.training.zoo import count_parameters


def train_temporal(
    recipe: TemporalRecipe,
    bank: FaceBank,
    neutral: int,
    report: Callable[[str], None] = lambda text: None,
) -> tuple[TemporalNetwork, dict[str, float]]:
    """Learn from sequences composed out of a bank; returns the network and its figures.

    A share of the people is held out and only watched, with all their sessions: the figures are of
    sequences of theirs, and stand beside those of plain smoothing and of single frames on the same
    sequences.

    Args:
        recipe: how. Which groups of the bank are one person, its `same_person` says.
        bank: what the classifier says about many crops.
        neutral: the label of a face at rest.
        report: called with a line of text now and then.

    Raises:
        ConfigError: the holdout leaves nobody to learn from, or nobody to watch.
    """
    torch.manual_seed(recipe.seed)
    watched, learned = _hold_out(recipe, bank)
    size = (bank.log_probs.shape[1], bank.embeddings.shape[1])
    smoother = TemporalNetwork(recipe, *size).eval()  # which it is until it is trained
    network = TemporalNetwork(recipe, *size)
    network.standardize(torch.from_numpy(bank.embeddings))
    shares = {"wild_share": recipe.wild_share, "speech_share": recipe.speech_share}
    composer = Composer(learned, neutral, recipe.frames, seed=recipe.seed + 1, **shares)
    shares["wild_share"] = 0.0
    drawn = Composer(watched, neutral, recipe.frames, seed=recipe.seed + 2, **shares).draw(256)
    optimizer = torch.optim.AdamW(
        network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    # Of ten steps or fewer a tenth is none, which torch would divide by.
    warmup = 0.1 if recipe.steps > 10 else 0.0
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, recipe.steps, pct_start=warmup
    )
    network.train()
    for step in range(recipe.steps):
        loss = _loss(network, composer.draw(recipe.batch), recipe.calm)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % max(recipe.steps // 10, 1) == 0:
            network.eval()
            figures = _examine(network, smoother, drawn)
            network.train()
            report(
                f"step {step + 1:5}/{recipe.steps}  loss {loss.item():.3f}  people held out: "
                + "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
            )
    network.eval()
    return network, _examine(network, smoother, drawn)


def require_people(
    recipe: TemporalRecipe, pictures: Sequence[LabelledPicture], neutral: int
) -> None:
    """Refuse pictures on which `train_temporal` could not learn, before faces are looked for.

    Raises:
        DatasetError: one does not say whom it shows.
        ConfigError: the holdout leaves nobody to learn from, or nobody to watch.
    """
    require_groups(pictures)
    groups = {picture.group for picture in pictures}
    _held_out(recipe, groups, {p.group for p in pictures if p.label != neutral})


def _hold_out(recipe: TemporalRecipe, bank: FaceBank) -> tuple[FaceBank, FaceBank]:
    """The takes of the people who are only watched, and the others."""
    takes = [take for take in bank.takes if not take.wild]
    shown = {take.group for take in takes if take.shown}
    return bank.split(_held_out(recipe, {take.group for take in takes}, shown))


def _held_out(recipe: TemporalRecipe, groups: set[str], shown: set[str]) -> set[str]:
    """The groups of the people who are only watched; `shown` are those with an expression."""
    people = sorted({recipe.person(group) for group in groups})
    random = np.random.default_rng(recipe.seed)
    chosen = set(random.permutation(people)[: round(recipe.holdout * len(people))])
    held = {group for group in groups if recipe.person(group) in chosen}
    for part, purpose in ((held, "watch"), (groups - held, "learn from")):
        if not part & shown:
            raise ConfigError(
                f"holdout: {recipe.holdout:g} of {len(people)} people leaves nobody with an "
                f"expression to {purpose}. Choose another share, or give more people"
            )
    return held


def _tensors(drawn: Sequences) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    arrays = (drawn.log_probs, drawn.embeddings, drawn.gaps_s, drawn.targets)
    first, second, third, fourth = (torch.from_numpy(array) for array in arrays)
    return first, second, third, fourth


def _loss(network: TemporalNetwork, drawn: Sequences, calm: float) -> Tensor:
    """Cross-entropy, and how much the answer changes between frames where the truth does not."""
    log_probs, embeddings, gaps_s, targets = _tensors(drawn)
    logits = network.run(log_probs, embeddings, gaps_s)
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(0, 1))
    probs = logits.softmax(2)
    moved = (probs[:, 1:] - probs[:, :-1]).abs().sum(2)
    still = (targets[:, 1:] == targets[:, :-1]).all(2)
    return loss + calm * (moved * still).mean()


@torch.no_grad()
def _examine(
    network: TemporalNetwork, smoother: TemporalNetwork, drawn: Sequences
) -> dict[str, float]:
    """Share of frames read rightly and changes a second: of this network, smoothing, frames."""
    log_probs, embeddings, gaps_s, targets = _tensors(drawn)
    answers = {
        "temporal": network.run(log_probs, embeddings, gaps_s),
        "smooth": smoother.run(log_probs, embeddings, gaps_s),
        "single": log_probs,
    }
    truth, seconds = targets.argmax(2), float(gaps_s[:, 1:].sum())
    figures = {}
    for name, logits in answers.items():
        shown = logits.argmax(2)
        figures[f"{name}_accuracy"] = float((shown == truth).float().mean())
        figures[f"{name}_changes_per_s"] = float((shown[:, 1:] != shown[:, :-1]).sum()) / seconds
    return figures


def export_temporal(
    network: TemporalNetwork,
    recipe: TemporalRecipe,
    classifier: ModelEntry,
    spec: ModelSpec,
    file: Path,
    metrics: dict[str, float],
) -> TemporalSpec:
    """Write a trained network with its `TemporalSpec` as ONNX.

    In go `log_probs`, `embedding`, `gap_s` and `state`; out come `logits` and `next_state`.

    Args:
        network: in eval mode.
        recipe: what it was trained by.
        classifier, spec: the expression model that it continues.
        file: the ONNX file to write.
        metrics: figures for the spec.
    """
    described = TemporalSpec(
        name=recipe.name,
        version=recipe.version,
        classifier=spec.name,
        classifier_sha256=file_sha256(classifier.path),
        labels=spec.labels,
        state=network.state_size,
        parameters=count_parameters(network),
        training_data=recipe.training_data,
        licence=recipe.licence,
        metrics=metrics,
        recipe=recipe.to_dict(),
        commit=current_commit(),
        made_with=f"mien {mien.__version__}, torch {torch.__version__}",
    )
    examples = {
        "log_probs": torch.full((2, network.classes), -2.0),
        "embedding": torch.zeros(2, network.look.in_features),
        "gap_s": torch.full((2, 1), LONG_AGO_S),
        "state": torch.zeros(2, network.state_size),
    }
    save_model(traced(network, examples, ["logits", "next_state"]), described, file)
    return described
