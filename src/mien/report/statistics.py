"""Intervals and effect sizes for things that follow each other in time. Imports numpy and metrics.

Frames of a video are not independent: a face that smiles now smiles in the next frame too. Shares
of time are therefore judged by an effective sample size, and groups by recordings, not frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt
from typing import Final

import numpy as np
import numpy.typing as npt

from mien.metrics import Z95, share_interval, student_quantile

FloatArray = npt.NDArray[np.float64]

RESAMPLES: Final = 2000  # of a bootstrap
_WINDOW: Final = 2.5  # so many correlation times are summed over
_SEED: Final = 0  # the same tables give the same report


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95% interval; NaN where there is none."""

    value: float
    low: float = float("nan")
    high: float = float("nan")


def correlation_time(series: FloatArray) -> float:
    """Integrated autocorrelation time of a series `(N,)`, in steps, at least 1.

    So many successive values count as one independent one. Sums the autocorrelation up to the first
    lag that is 2.5 such times away (Sokal, "Monte Carlo Methods in Statistical Mechanics", 1997).
    Taking the mean away takes about time / N from the correlation at each lag; that is put back.
    A series that never changes counts as one value: its time is N.
    """
    n = len(series)
    centred = series - series.mean() if n else series
    power = float(centred @ centred)
    if n < 2 or power <= 1e-12 * n:
        return float(max(n, 1))
    # By Fourier transform, with zeros behind so that the end does not meet the beginning.
    spectrum = np.fft.rfft(centred, 2 * n)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2, 2 * n)[:n] / power
    times = 2 * np.cumsum(correlation) - 1
    window = np.arange(n) >= _WINDOW * times
    stop = int(np.argmax(window)) if window.any() else n - 1
    return float(np.clip(times[stop] * (1 + 2 * stop / n), 1.0, n))


def shares_over_time(shown: FloatArray, seen: FloatArray) -> tuple[list[Estimate], float]:
    """Shares of a time in sight, with intervals that know that moments resemble their neighbours.

    The effective number of looks at a class is p (1 - p) / V, where V is the variance of its share
    (a ratio, linearized) with the correlation time of its own series; Wilson's interval is taken at
    that number, made smaller by Student's quantile. A class that never varies takes the smallest
    number of the others, and a recording in which nothing varies counts as one look.

    Args:
        shown: `(N, K)`, seconds that each class was shown in each of N equal spans of time.
        seen: `(N,)`, seconds in sight; spans without any are left out.

    Returns:
        An estimate a class, and the smallest effective number of looks.
    """
    shown, seen = shown[seen > 0], seen[seen > 0]
    n, total = len(seen), float(seen.sum())
    if not n:
        return [Estimate(float("nan"))] * shown.shape[1], 0.0
    shares = shown.sum(0) / total
    numbers = np.full(len(shares), inf)
    for k, share in enumerate(shares):
        residual = shown[:, k] - share * seen
        variance = float(residual @ residual) * correlation_time(residual) / total**2
        if variance > 1e-12 * share:
            numbers[k] = min(share * (1 - share) / variance, n)
    if np.isinf(numbers).all():
        return [_share(p, 1.0) for p in shares], 1.0
    fewest = float(numbers.min())
    numbers[np.isinf(numbers)] = fewest
    return [
        _share(p, looks * _fewer(looks)) for p, looks in zip(shares, numbers, strict=True)
    ], fewest


def shares_over_units(shares: FloatArray) -> list[Estimate]:
    """Mean shares of several recordings or people `(N, K)`, with intervals for others like them.

    Wilson's interval at the number p (1 - p) / (s^2 / N), made smaller by Student's quantile for
    few units (Korn and Graubard, Survey Methodology 24, 1998).
    """
    n = len(shares)
    if n < 2:
        return [Estimate(float(p)) for p in shares.mean(0)] if n else []
    estimates = []
    for p, spread in zip(shares.mean(0), shares.var(0, ddof=1), strict=True):
        looks = p * (1 - p) / (spread / n) if spread > 1e-12 else float(n)
        estimates.append(_share(float(p), float(looks) * _fewer(n)))
    return estimates


def _fewer(n: float) -> float:
    """By what a number shrinks because the spread is known from so few."""
    return (Z95 / student_quantile(max(1, round(n) - 1))) ** 2


def _share(share: float, looks: float) -> Estimate:
    low, high = share_interval(share, looks)
    # Rounding may put an end on the wrong side of a share of 0 or 1.
    return Estimate(float(share), min(low, float(share)), max(high, float(share)))


def mean_interval(values: FloatArray, most: int | None = None) -> Estimate:
    """The mean of values `(N,)` with Student's 95% interval; none for one value.

    Where some values may be one person's, the interval counts only as `most` of them as are surely
    independent: it is then too wide rather than too narrow.
    """
    n = len(values) if most is None else min(len(values), most)
    if not n:
        return Estimate(float("nan"))
    mean = float(values.mean())
    if n == 1:
        return Estimate(mean)
    reach = student_quantile(n - 1) * float(values.std(ddof=1)) / sqrt(n)
    return Estimate(mean, mean - reach, mean + reach)


def hedges_g(first: FloatArray, second: FloatArray) -> float:
    """How many standard deviations the second group's mean lies above the first's.

    Standardized by the pooled deviation and corrected for small groups (Hedges, Journal of
    Educational Statistics 6, 1981). NaN where no group varies, or one has no second member.
    """
    n, m = len(first), len(second)
    if min(n, m) < 2:
        return float("nan")
    pooled = ((n - 1) * first.var(ddof=1) + (m - 1) * second.var(ddof=1)) / (n + m - 2)
    if pooled <= 1e-12:
        return float("nan")
    correction = 1 - 3 / (4 * (n + m) - 9)
    return float(correction * (second.mean() - first.mean()) / sqrt(pooled))


def cliffs_delta(first: FloatArray, second: FloatArray) -> float:
    """How much more often one of the second group lies above one of the first than below, -1..1.

    Cliff, Psychological Bulletin 114, 1993. NaN where a group is empty.
    """
    if not len(first) or not len(second):
        return float("nan")
    ordered = np.sort(first)
    below = np.searchsorted(ordered, second, "left")
    above = len(first) - np.searchsorted(ordered, second, "right")
    return float((below - above).sum() / (len(first) * len(second)))


def group_difference(
    first: FloatArray, second: FloatArray, both: Sequence[tuple[int, int]] = ()
) -> tuple[Estimate, Estimate]:
    """Hedges' g and Cliff's delta with percentile bootstrap intervals over the members `(N,)`.

    Each group is drawn again from its own members, 2,000 times. No interval for groups of one, and
    none for g where more than one drawing in twenty has no spread.

    Args:
        first, second: a figure of each member.
        both: places in the first and in the second of whoever is in both: drawn for both at once,
            since what one person shows resembles what they show at another time.
    """
    g, delta = hedges_g(first, second), cliffs_delta(first, second)
    if min(len(first), len(second)) < 2:
        return Estimate(g), Estimate(delta)
    draw = np.random.default_rng(_SEED)
    shared = np.array(both, np.int64).reshape(-1, 2)
    alone = [
        np.setdiff1d(np.arange(len(group)), s)
        for group, s in zip((first, second), shared.T, strict=True)
    ]

    def drawn(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return rows[draw.integers(0, len(rows), len(rows))] if len(rows) else rows

    pairs = []
    for _ in range(RESAMPLES):
        of_both = drawn(shared)
        a, b = (np.concatenate([of_both[:, i], drawn(alone[i])]) for i in (0, 1))
        pairs.append((first[a], second[b]))
    return (
        Estimate(g, *_percentiles([hedges_g(a, b) for a, b in pairs])),
        Estimate(delta, *_percentiles([cliffs_delta(a, b) for a, b in pairs])),
    )


def trend(days: FloatArray, values: FloatArray) -> Estimate:
    """Change in 7 days: the median slope between all pairs (Theil 1950; Sen, JASA 63, 1968).

    The interval is a percentile bootstrap over the sessions `(N,)`; none below five of them. NaN
    where all are of one moment.
    """
    slope = _median_slope(days, values)
    if len(days) < 5:
        return Estimate(slope)
    draw = np.random.default_rng(_SEED)
    rows = draw.integers(0, len(days), (RESAMPLES // 2, len(days)))
    return Estimate(slope, *_percentiles([_median_slope(days[i], values[i]) for i in rows]))


def _median_slope(days: FloatArray, values: FloatArray) -> float:
    i, j = np.triu_indices(len(days), 1)
    apart = days[j] - days[i]
    different = np.abs(apart) > 1e-9
    if not different.any():
        return float("nan")
    return 7 * float(np.median((values[j] - values[i])[different] / apart[different]))


def _percentiles(values: list[float]) -> tuple[float, float]:
    array = np.array(values)
    known = array[~np.isnan(array)]
    if len(known) < 0.95 * len(array):
        return float("nan"), float("nan")
    low, high = np.percentile(known, (2.5, 97.5))
    return float(low), float(high)
