"""Metrics against scikit-learn and against values worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix as sk_confusion
from sklearn.metrics import f1_score, log_loss, precision_recall_fscore_support

from mien.metrics import (
    Z95,
    accuracy_at_coverage,
    accuracy_interval,
    confidence_for_accuracy,
    confusion_matrix,
    expected_calibration_error,
    fit_temperature,
    interval_over_people,
    joint_quantile,
    log_softmax,
    macro_f1,
    mcnemar_p,
    negative_log_likelihood,
    paired_difference,
    precision_recall_f1,
    share_difference,
    share_interval,
    softmax,
    student_quantile,
)

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 7, 500)
LOGITS = RNG.normal(size=(500, 7)) + 2 * np.eye(7)[LABELS]
PROBS = softmax(LOGITS)


def test_confusion_and_scores_agree_with_scikit_learn() -> None:
    confusion = confusion_matrix(LABELS, PROBS.argmax(1), 7)
    assert (confusion == sk_confusion(LABELS, PROBS.argmax(1), labels=range(7))).all()
    expected = precision_recall_fscore_support(LABELS, PROBS.argmax(1), zero_division=0)
    for ours, theirs in zip(precision_recall_f1(confusion), expected[:3], strict=True):
        assert ours == pytest.approx(theirs)
    assert macro_f1(confusion) == pytest.approx(f1_score(LABELS, PROBS.argmax(1), average="macro"))


def test_the_surest_answers_come_first() -> None:
    confidence = np.array([0.5, 0.9, 0.7, 0.7, 0.6])
    correct = np.array([False, True, True, False, True])
    curve = accuracy_at_coverage(confidence, correct)
    assert curve == [(0.2, 1.0), (0.4, 1.0), (0.6, 2 / 3), (0.8, 0.75), (1.0, 0.6)]
    assert accuracy_at_coverage(confidence, correct, levels=2) == [(0.6, 2 / 3), (1.0, 0.6)]
    assert accuracy_at_coverage(confidence[:0], correct[:0]) == []
    full = accuracy_at_coverage(PROBS.max(1), PROBS.argmax(1) == LABELS)
    assert [share for share, _ in full] == pytest.approx(np.arange(1, 11) / 10)
    assert full[0][1] > full[-1][1] == pytest.approx((PROBS.argmax(1) == LABELS).mean())


def test_likelihood_agrees_with_scikit_learn() -> None:
    assert negative_log_likelihood(LABELS, PROBS) == pytest.approx(log_loss(LABELS, PROBS))


def test_interval_by_hand() -> None:
    # Wilson 1927, worked out with a pocket calculator for 8 of 10.
    assert accuracy_interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert accuracy_interval(0, 0) == (0.0, 1.0)
    low, high = accuracy_interval(2512, 3589)
    assert high - low == pytest.approx(0.03, abs=0.001)


def test_calibration_error_by_hand() -> None:
    probs = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]])
    # Confidence 0.9 is right in half (gap 0.4), 0.6 always (gap 0.4).
    assert expected_calibration_error(np.array([0, 1, 0, 1]), probs) == pytest.approx(0.4)


def test_temperature_undoes_overconfidence() -> None:
    sampled = np.array([RNG.choice(7, p=p) for p in softmax(LOGITS)])
    assert fit_temperature(sampled, 3 * LOGITS) == pytest.approx(3.0, rel=0.2)


def test_threshold_reaches_its_accuracy() -> None:
    threshold = confidence_for_accuracy(LABELS, PROBS, 0.85)
    answered = PROBS.max(1) >= threshold
    assert (PROBS.argmax(1) == LABELS)[answered].mean() >= 0.85
    assert confidence_for_accuracy(np.array([1]), np.array([[0.9, 0.1]]), 0.85) == 1.0


def test_answers_of_one_confidence_stay_together() -> None:
    probs = np.array([[0.9, 0.1], [0.6, 0.4], [0.6, 0.4], [0.6, 0.4]])
    assert confidence_for_accuracy(np.array([0, 0, 1, 1]), probs, 0.85) == 0.9
    assert confidence_for_accuracy(np.array([0, 0, 0, 0]), probs, 0.85) == 0.6


@given(
    st.lists(st.lists(st.floats(-500, 500), min_size=7, max_size=7), min_size=1, max_size=5),
    st.floats(0.05, 20),
)
def test_softmax_stays_on_the_simplex(logits: list[list[float]], temperature: float) -> None:
    probs = softmax(np.array(logits), temperature)
    assert np.isfinite(probs).all()
    assert (probs >= 0).all()
    assert probs.sum(1) == pytest.approx(1)


def test_mcnemar_by_hand() -> None:
    # 1 against 5 disagreements: 2 * (C(6,0) + C(6,1)) / 2**6.
    first = np.array([True] * 5 + [False] + [True] * 4)
    second = np.array([False] * 5 + [True] + [True] * 4)
    assert mcnemar_p(first, second) == pytest.approx(2 * 7 / 64)
    assert mcnemar_p(second, first) == pytest.approx(2 * 7 / 64)
    assert mcnemar_p(first, first) == 1.0
    many = np.zeros(5000, bool)
    many[:2600] = True
    assert 0.004 < mcnemar_p(many, ~many) < 0.006  # scipy.stats.binomtest: 0.00492


def test_log_softmax_is_the_logarithm() -> None:
    logits = np.random.default_rng(0).normal(0, 50, (20, 7))
    assert log_softmax(logits) == pytest.approx(np.log(softmax(logits)), abs=1e-9)


def test_paired_difference_by_hand() -> None:
    first = np.array([1, 1, 0, 0, 1, 0, 1, 0], float)
    second = np.array([1, 1, 1, 1, 1, 0, 0, 0], float)
    mean, low, high = paired_difference(first, second)
    assert mean == pytest.approx(1 / 8)
    # Two rows gained and one lost, and one more of each: 5 of 10, variance 5/10 - 1/100.
    assert (high + low) / 2 == pytest.approx(1 / 10)
    assert (high - low) / 2 == pytest.approx(1.959964 * np.sqrt((5 / 10 - 1 / 100) / 10))


def test_a_paired_difference_is_as_sure_as_mcnemars_test() -> None:
    """Both call a difference one from about the same number of rows on, also where few differ."""

    def gains(lost: int, gained: int, n: int = 300) -> tuple[bool, bool]:
        row = np.arange(n)
        first, second = row < lost, (row >= lost) & (row < lost + gained)
        low = paired_difference(first.astype(float), second.astype(float))[1]
        return low > 0, mcnemar_p(first, second) < 0.05

    for lost in (0, 1, 2, 5):
        called = [gains(lost, lost + more) for more in range(1, 20)]
        by_interval, by_test = zip(*called, strict=True)
        assert abs(by_interval.index(True) - by_test.index(True)) <= 1
    mean, low, high = paired_difference(np.ones(300), np.ones(300))
    assert mean == 0
    assert low == -high == pytest.approx(-0.009, abs=0.0005)  # the next row may differ


def test_copies_of_a_persons_picture_say_nothing_new() -> None:
    right = np.random.default_rng(0).random(200) < 0.8
    people = [f"S{i}" for i in range(200)]
    once = interval_over_people(right, people)
    assert once == pytest.approx(accuracy_interval(int(right.sum()), 200), abs=0.001)
    assert interval_over_people(np.repeat(right, 3), people_of(people, 3)) == pytest.approx(once)
    every = interval_over_people(np.ones(600, bool), people_of(people, 3))
    assert every == pytest.approx(accuracy_interval(200, 200), abs=0.001)


def test_an_interval_over_people_holds_for_other_people() -> None:
    """Of 300 samples of 12 people, each with a skill of their own, about 95% hold the truth."""
    rng = np.random.default_rng(0)
    people = people_of([f"S{i}" for i in range(12)], 20)
    holds = {"people": 0, "pictures": 0}
    for _ in range(300):
        right = rng.random(240) < np.repeat(rng.beta(3.5, 1.5, 12), 20)  # 0.7 on average
        low, high = interval_over_people(right, people)
        holds["people"] += low < 0.7 < high
        low, high = accuracy_interval(int(right.sum()), 240)
        holds["pictures"] += low < 0.7 < high
    assert 279 <= holds["people"] <= 294
    assert holds["pictures"] < 240


def people_of(people: list[str], pictures: int) -> list[str]:
    """Whom that many pictures of each show."""
    return [person for person in people for _ in range(pictures)]


def test_the_difference_of_two_shares_agrees_with_its_paper() -> None:
    """Newcombe (1998), table II, method 10."""
    for first, second, interval in (
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((10, 10), (0, 10), (0.6075, 1.0)),
    ):
        gap, low, high = share_difference(wilson(*first), wilson(*second))
        assert gap == pytest.approx(first[0] / first[1] - second[0] / second[1])
        assert (low, high) == pytest.approx(interval, abs=5e-5)
    # The widest of three differences says less: its interval is wider.
    z = joint_quantile(3)
    wider = share_difference(wilson(56, 70, z), wilson(48, 80, z))
    assert wider[1] < 0.0524 < 0.3339 < wider[2]


def wilson(k: int, n: int, z: float = Z95) -> tuple[float, float, float]:
    """A share with the ends of its interval."""
    return k / n, *share_interval(k / n, n, z)


def test_an_interval_over_people_grows_with_what_it_is_to_hold() -> None:
    """Student's quantiles for few people, of 95% and of 98.33%."""
    for comparisons, quantile in ((1, 12.7062), (3, 38.1885), (45, 572.957)):
        z = joint_quantile(comparisons)
        assert student_quantile(1, z) == pytest.approx(quantile, rel=1e-3)
    right, people = np.arange(40) % 4 > 0, people_of([f"S{i}" for i in range(8)], 5)
    low, high = interval_over_people(right, people)
    lower, higher = interval_over_people(right, people, joint_quantile(3))
    assert lower < low < high < higher
