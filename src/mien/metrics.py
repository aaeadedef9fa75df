"""How good a set of predictions is. Imports numpy only.

Labels are `int (N,)`, probabilities `float (N, K)` with rows that sum to 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import atan, cos, exp, hypot, lgamma, log, pi, sin, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.integer]
FloatArray = npt.NDArray[np.floating]

Z95 = 1.959963984540054  # two-sided 95% quantile of the normal distribution


def accuracy_interval(correct: int, n: int) -> tuple[float, float]:
    """95% interval of an accuracy, 0..1 (Wilson, JASA 22, 1927); (0, 1) when `n` is 0."""
    return share_interval(correct / n, n) if n else (0.0, 1.0)


def share_interval(share: float, n: float, z: float = Z95) -> tuple[float, float]:
    """The same for a share of `n` independent observations, which need not be a whole number.

    `z` is the two-sided quantile of the normal distribution, where another than 95% is wanted.
    """
    centre = share + z**2 / (2 * n)
    spread = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    scale = 1 + z**2 / n
    return float(max(0.0, (centre - spread) / scale)), float(min(1.0, (centre + spread) / scale))


def interval_over_people(
    correct: npt.NDArray[np.bool_], people: Sequence[str], z: float = Z95
) -> tuple[float, float]:
    """95% interval of an accuracy for other people, where each shows in several pictures.

    A person's pictures are read alike, and say less than as many strangers'. Wilson's interval at
    the number of strangers that would say as much (Rao & Scott, "A simple method for the analysis
    of clustered binary data", Biometrics 48, 1992), made smaller by Student's quantile for few
    people (Korn & Graubard, Survey Methodology 24, 1998).

    Args:
        correct: `bool (N,)`, which pictures are read rightly.
        people: N, whom each shows; at least two people.
        z: as of `share_interval`.
    """
    _, whose = np.unique(np.asarray(people), return_inverse=True)
    shown, right = np.bincount(whose), np.bincount(whose, correct)
    n, m, share = len(correct), len(shown), float(correct.mean())
    spread = m / (m - 1) * float(((right - share * shown) ** 2).sum()) / n**2
    strangers = min(n, share * (1 - share) / spread) if spread > 0 else n
    if share in (0.0, 1.0):  # nobody knows how alike a person's are: wholly, to be safe
        strangers = m
    return share_interval(share, strangers * (z / student_quantile(m - 1, z)) ** 2, z)


def shown_again(people: Sequence[str]) -> bool:
    """Whether all of these are known, several, and some are shown more than once."""
    return "" not in people and 2 <= len({*people}) < len(people)


def by_person(correct: npt.NDArray[np.bool_], people: Sequence[str]) -> dict[str, Any]:
    """What to say of an accuracy beside Wilson's interval, where pictures are no independent ones.

    Args:
        correct: `bool (N,)`, which pictures or clips are read rightly.
        people: N, whom each shows; empty texts where unknown.

    Returns:
        `people`, how many there are, and `accuracy_ci95`, the interval over them. Empty where one
        is unknown, where there are not two, and where each shows once.
    """
    if not shown_again(people):
        return {}
    interval = interval_over_people(correct, people)
    return {"people": len({*people}), "accuracy_ci95": list(interval)}


def told_by_person(found: Mapping[str, Any]) -> str:
    """What `by_person` found, in words; empty where it is."""
    if not found:
        return ""
    low, high = found["accuracy_ci95"]
    return (
        f"95% interval {low:.2%} to {high:.2%}, over {found['people']:,} people, as file names "
        "tell them"
    )


def warned_of_people(people: int) -> str:
    """What to know of intervals that take rows for independent where they are not; without a dot.

    Args:
        people: how many the rows show, where `shown_again` says so.
    """
    return (
        f"These rows show {people:,} people, some of them several times, and a person's pictures "
        "are read alike: the intervals are too narrow"
    )


@lru_cache
def student_quantile(freedom: int, z: float = Z95) -> float:
    """Student's two-sided quantile, where that of the normal distribution is z, by bisection."""
    if freedom > 1000:  # 1.962 and less, of 95%
        return z
    inside = 0.95 if z == Z95 else 2 * NormalDist().cdf(z) - 1
    low, high = z, 13.0  # that of one degree of freedom is 12.71, of 95%
    while _student_inside(high, freedom) < inside:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_inside(middle, freedom) < inside else (low, middle)
    return (low + high) / 2


def _student_inside(t: float, freedom: int) -> float:
    """P(|T| < t), by the sums for whole numbers (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    angle = atan(t / sqrt(freedom))
    odd = freedom % 2
    term, total = (cos(angle), 0.0) if odd else (1.0, 0.0)
    for k in range(odd, freedom - 1, 2):
        total += term
        term *= cos(angle) ** 2 * (k + 1) / (k + 2)
    if odd:
        return 2 / pi * (angle + sin(angle) * total)
    return sin(angle) * total


def joint_quantile(comparisons: int) -> float:
    """Which `z` lets the intervals of so many differences hold at once in 95% of cases: Bonferroni.

    For one that was chosen among them because it is the widest, say.
    """
    return NormalDist().inv_cdf(1 - 0.025 / comparisons)


def share_difference(
    first: tuple[float, float, float], second: tuple[float, float, float]
) -> tuple[float, float, float]:
    """How much larger the first of two shares of different rows is, with its interval.

    A hybrid of both shares' intervals: Newcombe's method 10 (Statistics in Medicine 17, 1998) where
    these are Wilson's; others do as well (Zou & Donner, Statistics in Medicine 27, 2008).

    Args:
        first, second: each a share with the ends of its interval, 0..1.

    Returns:
        The difference and the ends of its interval, -1..1.
    """
    (p, p_low, p_high), (q, q_low, q_high) = first, second
    down = hypot(p - p_low, q_high - q)
    up = hypot(p_high - p, q - q_low)
    return p - q, p - q - down, p - q + up


def confusion_matrix(labels: IntArray, predicted: IntArray, classes: int) -> npt.NDArray[np.int64]:
    """Counts `(K, K)`: row = true class, column = predicted class.

    Where some are predicted as K, which is no class, there is a column more for them.
    """
    columns = classes + int(np.any(predicted == classes))
    cells = np.bincount(labels * columns + predicted, minlength=classes * columns)
    return cells.reshape(classes, columns).astype(np.int64)


def precision_recall_f1(
    confusion: IntArray,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Per-class precision, recall and F1, each `(K,)`; 0 where nothing was predicted or true."""
    hits = np.diag(confusion).astype(np.float64)
    predicted, true = confusion.sum(0)[: len(hits)], confusion.sum(1)
    zeros = np.zeros_like(hits)
    precision = np.divide(hits, predicted, out=zeros.copy(), where=predicted > 0)
    recall = np.divide(hits, true, out=zeros.copy(), where=true > 0)
    f1 = np.divide(2 * hits, predicted + true, out=zeros.copy(), where=predicted + true > 0)
    return precision, recall, f1


def macro_f1(confusion: IntArray) -> float:
    """Mean F1 over the classes that occur as truth or as prediction."""
    _, _, f1 = precision_recall_f1(confusion)
    present = (confusion.sum(0)[: len(f1)] + confusion.sum(1)) > 0
    return float(f1[present].mean()) if present.any() else 0.0


def mean_recall(confusion: IntArray) -> float:
    """Mean over the classes that occur of how many of them were found: the accuracy where all of
    them are equally common.
    """
    _, recall, _ = precision_recall_f1(confusion)
    present = confusion.sum(1) > 0
    return float(recall[present].mean()) if present.any() else 0.0


def expected_calibration_error(labels: IntArray, probs: FloatArray, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equal-width bins, weighted by their size.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """
    confidence = probs.max(1)
    correct = probs.argmax(1) == labels
    # Bins are closed above, as in the paper: a confidence of exactly 1 falls in the last.
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(index, minlength=bins)
    gap = np.bincount(index, correct - confidence, minlength=bins)
    return float(np.abs(gap).sum() / max(counts.sum(), 1))


def accuracy_at_coverage(
    confidence: FloatArray, correct: npt.NDArray[np.bool_], levels: int = 10
) -> list[tuple[float, float]]:
    """How often answers are right when only the surest are given: the risk-coverage curve.

    El-Yaniv & Wiener, "On the Foundations of Noise-free Selective Classification", JMLR 11, 2010.

    Args:
        confidence: `(N,)`, how sure each answer is; answers of the same confidence count in their
            order.
        correct: `(N,)`, whether it is right.
        levels: how many shares to look at, equally far apart; the last is all answers.

    Returns:
        Pairs of a share of answers given, 0..1, and the share of those that are right; as many as
        there are levels, or answers if there are fewer.
    """
    surest = correct[np.argsort(-confidence, kind="stable")]
    counts = sorted({-(-len(surest) * i // levels) for i in range(1, levels + 1)} - {0})
    return [(n / len(surest), float(surest[:n].mean())) for n in counts]


def negative_log_likelihood(truth: IntArray | FloatArray, probs: FloatArray) -> float:
    """Mean of -log p(true class), in nats. The truth may be distributions `(N, K)` as well."""
    logs = -np.log(np.maximum(probs, 1e-12))
    if truth.ndim == 2:
        return float((truth * logs).sum(1).mean())
    return float(logs[np.arange(len(truth)), truth].mean())


def softmax(logits: FloatArray, temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Probabilities `(N, K)` of logits `(N, K)` divided by a temperature."""
    scaled = np.asarray(logits, np.float64) / temperature
    exp = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(exp / exp.sum(axis=1, keepdims=True), np.float64)


def log_softmax(logits: FloatArray) -> npt.NDArray[np.float64]:
    """Logarithms of the probabilities `(N, K)` of logits `(N, K)`."""
    shifted = np.asarray(logits, np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)), np.float64)


def mcnemar_p(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> float:
    """How likely two equally good models differ by as much as these on the same rows, 0..1.

    McNemar's exact test (Psychometrika 12, 1947): only rows count that one reads rightly and the
    other wrongly, and of those each is as likely as the other. Two-sided.

    Args:
        first, second: `bool (N,)`, which rows each model reads rightly.
    """
    only_first = int((first & ~second).sum())
    only_second = int((second & ~first).sum())
    n, fewer = only_first + only_second, min(only_first, only_second)
    # The binomial distribution's lower tail, summed in logarithms: n may be thousands.
    logs = [lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) for k in range(fewer + 1)]
    tail = sum(exp(value - n * log(2)) for value in logs)
    return min(1.0, 2 * tail)


def paired_difference(first: FloatArray, second: FloatArray) -> tuple[float, float, float]:
    """How much better the second of two models is on the same rows, with its 95% interval.

    As if two rows more were known, of which each model reads one alone (Bonett & Price, "Adjusted
    Wald confidence interval for a difference of binomial proportions based on paired data", Journal
    of Educational and Behavioral Statistics 37, 2012): few differences would else look certain, and
    none at all quite certain.

    Args:
        first, second: `(N,)`, 1 where a model reads a row rightly, 0 where not; between them for
            the mean of several models of a kind.

    Returns:
        The mean difference and the ends of its interval, as fractions. For single models the
        interval leaves out zero when McNemar's test rejects at 5%, but for a row or so.
    """
    differences = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    more = np.append(differences, [1.0, -1.0])
    centre, reach = float(more.mean()), Z95 * float(more.std()) / len(more) ** 0.5
    return float(differences.mean()), max(-1.0, centre - reach), min(1.0, centre + reach)


def fit_temperature(truth: IntArray | FloatArray, logits: FloatArray) -> float:
    """The temperature that minimises the negative log-likelihood (golden-section search).

    The likelihood has one minimum in log(temperature), between 1/20 and 20.
    """
    low, high = np.log(1 / 20), np.log(20)
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(60):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if negative_log_likelihood(truth, softmax(logits, np.exp(left))) < (
            negative_log_likelihood(truth, softmax(logits, np.exp(right)))
        ):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def confidence_for_accuracy(labels: IntArray, probs: FloatArray, accuracy: float) -> float:
    """The lowest confidence such that answers at or above it are right in `accuracy` of cases.

    Returns 1.0 if no threshold reaches it.
    """
    order = np.argsort(-probs.max(1), kind="stable")
    confidence = probs.max(1)[order]
    correct = (probs.argmax(1) == labels)[order]
    reached = np.cumsum(correct) / np.arange(1, len(labels) + 1) >= accuracy
    reached[:-1] &= confidence[1:] < confidence[:-1]  # all answers of one confidence, or none
    if not reached.any():
        return 1.0
    return float(confidence[np.nonzero(reached)[0][-1]])
