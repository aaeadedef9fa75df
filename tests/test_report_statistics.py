"""The figures of a report: against values by hand, against SciPy, and what must always hold."""

from math import isnan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mien.metrics import share_interval, student_quantile
from mien.report.recording import FloatArray
from mien.report.statistics import (
    cliffs_delta,
    correlation_time,
    group_difference,
    hedges_g,
    mean_interval,
    shares_over_time,
    shares_over_units,
    trend,
)

values = st.lists(st.floats(-100, 100).map(lambda x: round(x, 2)), min_size=2, max_size=8)


def wilson(share: float, n: int) -> tuple[float, float]:
    found = stats.binomtest(round(share * n), n).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def fewer(n: int) -> float:
    """What Student's quantile makes of so many looks."""
    return float(n * (stats.norm.ppf(0.975) / stats.t.ppf(0.975, n - 1)) ** 2)


def chains(runs: int, steps: int, share: float, stay: float) -> FloatArray:
    """Two-state Markov chains `(runs, steps)` that are 1 for that share of the time, and keep their
    state with probability `stay` before they are drawn again.
    """
    draw = np.random.default_rng(0)
    state = draw.random(runs) < share
    found = np.empty((runs, steps))
    for step in range(steps):
        again = draw.random(runs) > stay
        state = np.where(again, draw.random(runs) < share, state)
        found[:, step] = state
    return found


def test_correlation_times() -> None:
    draw = np.random.default_rng(1)
    noise = draw.normal(size=20_000)
    assert correlation_time(noise) == pytest.approx(1, abs=0.1)
    slow = np.empty_like(noise)
    slow[0] = noise[0]
    for i in range(1, len(noise)):
        slow[i] = 0.8 * slow[i - 1] + noise[i]
    # Of x' = a x + noise it is (1 + a) / (1 - a).
    assert correlation_time(slow) == pytest.approx(9, rel=0.2)
    assert correlation_time(np.tile([1.0, 0.0], 50)) == 1
    assert correlation_time(np.ones(30)) == 30
    assert correlation_time(np.zeros(0)) == 1


def test_shares_of_independent_moments_have_wilsons_interval() -> None:
    (estimate,), looks = shares_over_time(np.tile([[1.0], [0.0]], (50, 1)), np.ones(100))
    assert estimate.value == 0.5
    assert looks == pytest.approx(100)
    assert (estimate.low, estimate.high) == pytest.approx(share_interval(0.5, fewer(100)))
    assert (estimate.low, estimate.high) == pytest.approx(wilson(0.5, 100), abs=0.003)


def test_shares_are_of_the_time_in_sight() -> None:
    shown = np.array([[0.1, 0.1], [0.0, 0.4], [0.0, 0.0]])
    (first, second), _ = shares_over_time(shown, np.array([0.2, 0.6, 0.0]))
    assert (first.value, second.value) == pytest.approx((0.1 / 0.8, 0.5 / 0.8))


def test_what_never_changes_counts_as_one_look() -> None:
    (estimate,), looks = shares_over_time(np.ones((50, 1)), np.ones(50))
    assert looks == 1
    assert (estimate.value, estimate.high) == (1, 1)
    assert estimate.low == pytest.approx(wilson(1, 1)[0])
    # One that was never shown is as well known as the others are.
    mixed = np.column_stack([np.tile([1.0, 0.0], 50), np.zeros(100)])
    (_, never), looks = shares_over_time(mixed, np.ones(100))
    assert looks == pytest.approx(100)
    assert never.high == pytest.approx(share_interval(0, fewer(100))[1])


def test_intervals_hold_the_truth_though_frames_resemble_each_other() -> None:
    share, runs, steps = 0.3, 300, 1500  # docs/reports.md tells what comes of it
    held = naive = 0
    for chain in chains(runs, steps, share, stay=0.95):
        (estimate,), _ = shares_over_time(chain[:, None], np.ones(steps))
        held += estimate.low <= share <= estimate.high
        low, high = wilson(float(chain.mean()), steps)
        naive += low <= share <= high
    assert 0.9 <= held / runs <= 0.98
    assert naive / runs < 0.5  # what counting frames as independent would have claimed


@given(st.lists(st.lists(st.floats(0, 1), min_size=2, max_size=2), min_size=1, max_size=30))
def test_shares_lie_within_their_intervals(rows: list[list[float]]) -> None:
    estimates, looks = shares_over_time(np.array(rows), np.ones(len(rows)))
    assert 0 < looks <= len(rows)
    for estimate in estimates + shares_over_units(np.array(rows)):
        if not isnan(estimate.low):
            assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_shares_of_several_recordings() -> None:
    (estimate,) = shares_over_units(np.array([[0.0], [1.0], [1.0], [0.0]]))
    # The variance is 1/3, so that p (1 - p) / (s^2 / 4) is 3; Student's 3.182 makes it 1.138.
    n = 3 * fewer(4) / 4
    z = stats.norm.ppf(0.975)
    reach = z * sqrt(0.25 / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    assert (estimate.low, estimate.high) == pytest.approx((0.5 - reach, 0.5 + reach))
    (never,) = shares_over_units(np.zeros((5, 1)))
    assert (never.value, never.low) == (0, 0)
    assert 0.3 < never.high < 0.8
    (alone,) = shares_over_units(np.array([[0.4]]))
    assert alone.value == 0.4
    assert isnan(alone.low)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 8, 13, 30, 101, 1000, 5000])
def test_students_quantiles(freedom: int) -> None:
    assert student_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-3)


@given(values)
def test_means_have_students_interval(given_values: list[float]) -> None:
    array = np.array(given_values)
    found = mean_interval(array)
    assert found.value == pytest.approx(array.mean())
    if array.std():
        expected = stats.t.interval(0.95, len(array) - 1, array.mean(), stats.sem(array))
        assert (found.low, found.high) == pytest.approx(expected)
    assert isnan(mean_interval(array[:1]).low)


def test_effects_by_hand() -> None:
    first, second = np.array([1.0, 2.0, 3.0]), np.array([3.0, 4.0, 5.0])
    # Two deviations apart; 1 - 3 / (4 * 6 - 9) corrects for the few.
    assert hedges_g(first, second) == pytest.approx(2 * 0.8)
    assert cliffs_delta(first, second) == pytest.approx(8 / 9)
    assert isnan(hedges_g(np.ones(3), np.ones(3)))
    assert isnan(hedges_g(np.ones(1), second))


@given(values, values)
def test_effects_turn_around_with_the_groups(one: list[float], other: list[float]) -> None:
    a, b = np.array(one), np.array(other)
    assert cliffs_delta(a, b) == -cliffs_delta(b, a)
    assert cliffs_delta(a, b) == pytest.approx(np.sign(b[:, None] - a[None, :]).mean())
    g = hedges_g(a, b)
    assert isnan(g) or g == pytest.approx(-hedges_g(b, a))


def test_groups_have_bootstrap_intervals() -> None:
    draw = np.random.default_rng(2)
    first, second = draw.normal(0, 1, 40), draw.normal(1, 1, 40)
    g, delta = group_difference(first, second)
    assert (g, delta) == group_difference(first, second)  # the same tables, the same report
    # The normal approximation of g's deviation (Hedges and Olkin 1985) for groups of this size.
    deviation = sqrt(2 / 40 + g.value**2 / (2 * 78))
    assert g.low == pytest.approx(g.value - 1.96 * deviation, abs=0.15)
    assert g.high == pytest.approx(g.value + 1.96 * deviation, abs=0.15)
    assert -1 <= delta.low < delta.value < delta.high <= 1
    lone, _ = group_difference(first, second[:1])
    assert isnan(lone.low)


def test_people_in_both_groups_are_drawn_for_both() -> None:
    """People differ more from each other than each does from before to after."""
    draw = np.random.default_rng(3)
    before = draw.normal(0.5, 0.1, 12)
    after = before + 0.05 + draw.normal(0, 0.01, 12)
    order = draw.permutation(12)
    strangers = group_difference(before, after[order])
    known = group_difference(before, after[order], [(int(i), j) for j, i in enumerate(order)])
    for unpaired, paired in zip(strangers, known, strict=True):
        assert paired.value == unpaired.value
        assert unpaired.low < 0 < paired.low < paired.value < paired.high < unpaired.high


def test_trends_are_theils_and_sens() -> None:
    days = np.array([0.0, 3, 7, 14, 21, 30])
    shares = np.array([0.1, 0.2, 0.15, 0.3, 0.9, 0.4])
    found = trend(days, shares)
    assert found.value == pytest.approx(7 * stats.theilslopes(shares, days).slope)
    assert found.low <= found.value <= found.high
    assert isnan(trend(days[:4], shares[:4]).low)
    assert isnan(trend(np.zeros(6), shares).value)
    straight = trend(days, days / 70)
    assert (straight.value, straight.low, straight.high) == pytest.approx((0.1, 0.1, 0.1))
