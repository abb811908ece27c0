"""Intervals against textbooks, scipy and their own promise: how often they cover the truth."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from lehr.evaluation.intervals import (
    bootstrap_t,
    bootstrap_t_difference,
    chance_gap,
    difference,
    holm,
    mean_interval,
    n_paired,
    n_per_group,
    paired_difference,
    skewness,
    welch,
    wilson,
)

RANDOM = np.random.default_rng(0)
A, B = RANDOM.normal(1.0, 2.0, 12), RANDOM.normal(0.0, 0.5, 40)


def test_the_t_interval_and_its_p_value_are_those_of_scipy() -> None:
    found, wanted = mean_interval(A), stats.ttest_1samp(A, 0.0)
    assert (found.low, found.high) == pytest.approx(tuple(wanted.confidence_interval(0.95)))
    assert (found.estimate, found.p, found.n) == (pytest.approx(A.mean()), pytest.approx(wanted.pvalue), 12)


def test_by_hand_three_values_have_a_t_interval_of_two_degrees_of_freedom() -> None:
    found = mean_interval([1.0, 2.0, 3.0])
    assert (found.estimate, found.half_width) == (2.0, pytest.approx(4.302653 / math.sqrt(3), rel=1e-6))


def test_welchs_interval_and_p_value_are_those_of_scipy() -> None:
    found, wanted = welch(A, B, 0.9), stats.ttest_ind(A, B, equal_var=False)
    assert (found.low, found.high) == pytest.approx(tuple(wanted.confidence_interval(0.9)))
    assert (found.p, found.n) == (pytest.approx(wanted.pvalue), 12)


def test_pairs_take_out_what_both_have_in_common() -> None:
    of_image = RANDOM.normal(25, 4, 50)
    found = paired_difference(of_image + 0.3 + RANDOM.normal(0, 0.1, 50), of_image)
    assert found.covers(0.3)
    assert found.half_width < 0.05 < 1 < welch(of_image + 0.3, of_image).half_width
    with pytest.raises(ValueError, match="as many of both, got 3 and 2"):
        paired_difference([1, 2, 3], [1, 2])


def test_wilsons_interval_is_scipys_and_says_something_of_none_and_of_all() -> None:
    for successes, n in ((0, 10), (3, 10), (10, 10), (57, 120)):
        wanted = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
        assert wilson(successes, n) == pytest.approx((wanted.low, wanted.high), abs=1e-12)
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == 1.0
    with pytest.raises(ValueError, match="11 of 10 is no share"):
        wilson(11, 10)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, math.nan, 0.03]) == pytest.approx([0.5, math.nan, 0.06], nan_ok=True)
    assert holm([]) == []


def test_the_bootstrap_t_agrees_with_t_where_values_are_normal_and_leans_where_they_are_skewed() -> None:
    normal, skewed = RANDOM.normal(5, 1, 200), RANDOM.exponential(1, 30)
    assert bootstrap_t(normal).low == pytest.approx(mean_interval(normal).low, abs=0.02)
    leaning = bootstrap_t(skewed)
    assert leaning.high - leaning.estimate > 1.2 * (leaning.estimate - leaning.low)
    assert bootstrap_t(skewed, seed=0) == bootstrap_t(skewed, seed=0) != bootstrap_t(skewed, seed=1)
    # of ever more pairs of models
    assert bootstrap_t(skewed, 1 - 1e-5).low < bootstrap_t(skewed, 1 - 1e-4).low


def test_the_p_value_of_a_bootstrap_t_and_its_interval_agree_about_zero() -> None:
    values = RANDOM.exponential(1, 40)
    edge = bootstrap_t(values).low
    assert bootstrap_t(values - edge * 0.95).p < 0.05 < bootstrap_t(values - edge * 1.05).p


def test_of_very_many_values_the_bootstrap_t_is_welchs_interval() -> None:
    a, b = RANDOM.exponential(1, 20_000), RANDOM.exponential(1, 20_000)
    found, wanted = bootstrap_t_difference(a, b), welch(a, b)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=2e-3)


def test_skewed_values_get_a_bootstrap_t_and_others_welchs() -> None:
    skewed = np.exp(RANDOM.normal(0, 1, 40))
    assert difference(A, B) == welch(A, B)
    assert difference(skewed, B) == bootstrap_t_difference(skewed, B)
    assert skewness(skewed) == pytest.approx(stats.skew(skewed))


@pytest.mark.parametrize(("k", "d2", "upper"), [(2, 1.128, 2.772), (5, 2.326, 3.858), (10, 3.078, 4.474)])
def test_the_gap_of_chance_is_the_d2_and_the_studentized_range_of_tables(k: int, d2: float, upper: float) -> None:
    found = chance_gap([0.4] * k, 0.4 * upper)
    assert found.expected == pytest.approx(0.4 * d2, abs=4e-4)
    assert found.upper == pytest.approx(0.4 * upper, abs=4e-4)
    assert found.p == pytest.approx(0.05, abs=2e-4)


def test_the_gap_of_chance_of_unequal_groups_is_that_of_a_simulation() -> None:
    errors = np.array([1.0, 0.5, 0.2, 0.1, 0.001])
    drawn = np.random.default_rng(1).normal(size=(200_000, 5)) * errors
    gaps = drawn.max(1) - drawn.min(1)
    found = chance_gap(errors.tolist(), 2.0)
    assert found.expected == pytest.approx(gaps.mean(), abs=0.01)
    assert found.upper == pytest.approx(np.quantile(gaps, 0.95), abs=0.02)
    assert found.p == pytest.approx((gaps >= 2).mean(), abs=0.005)


def test_the_images_that_a_gap_needs() -> None:
    assert (n_per_group(4.0, 1.0), n_per_group(4.0, 0.5)) == (252, 1005)
    assert n_paired(0.5, 0.1) == 197
    with pytest.raises(ValueError, match="a gap of 0"):
        n_per_group(1.0, 0.0)


def test_values_that_do_not_vary_have_an_interval_without_width() -> None:
    for interval in (mean_interval([0.1] * 7), welch([0.1] * 7, [0.0] * 3), bootstrap_t([0.1] * 7)):
        assert (interval.low, interval.high, interval.p) == (pytest.approx(0.1), pytest.approx(0.1), 0.0)
    assert math.isnan(welch([0.1] * 7, [0.1] * 3).p)
    assert chance_gap([0.0, 0.0], 0.0).p == 1.0
    assert skewness([0.1] * 7) == 0.0


@pytest.mark.parametrize("values", [[1.0], [], [[1.0, 2.0]], [1.0, math.inf], [1.0, math.nan, 2.0]])
def test_what_is_no_sample_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"two values or more|not finite"):
        mean_interval(values)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "n", "least", "most"),
    [("normal", 5, 0.935, 0.965), ("normal", 50, 0.935, 0.965), ("lognormal", 20, 0.79, 0.89)],
)
def test_the_t_interval_covers_the_mean_of_normal_values_and_not_of_skewed_ones(
    kind: str, n: int, least: float, most: float
) -> None:
    assert least < covered(lambda random: mean_interval(drawn(kind, random, n)), truth(kind), 3000) < most


@pytest.mark.slow
@pytest.mark.parametrize(("n", "least"), [(10, 0.88), (20, 0.89), (100, 0.91)])
def test_the_bootstrap_t_covers_the_mean_of_lognormal_values_better(n: int, least: float) -> None:
    share = covered(lambda random: bootstrap_t(drawn("lognormal", random, n), draws=999), truth("lognormal"), 1000)
    assert least < share < 0.97
    assert share > covered(lambda random: mean_interval(drawn("lognormal", random, n)), truth("lognormal"), 1000)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "n", "least"), [("normal", 5, 0.93), ("normal", 50, 0.93), ("lognormal", 20, 0.88), ("lognormal", 50, 0.9)]
)
def test_the_difference_of_a_small_group_and_a_large_rest_covers_its_truth(kind: str, n: int, least: float) -> None:
    def interval(random: np.random.Generator) -> object:
        return difference(drawn(kind, random, n) + 0.5, drawn(kind, random, 200), draws=999)

    share = covered(interval, 0.5, 1000)
    assert least < share < 0.98


@pytest.mark.slow
def test_holm_over_groups_against_their_rest_is_wrong_in_five_cases_of_a_hundred() -> None:
    random, wrong = np.random.default_rng(5), 0
    for _ in range(2000):
        groups = [random.normal(0, 4, n) for n in (20, 40, 60, 80, 100)]
        rests = [np.concatenate(groups[:i] + groups[i + 1 :]) for i in range(5)]
        adjusted = holm([welch(group, rest).p for group, rest in zip(groups, rests, strict=True)])
        wrong += min(adjusted) < 0.05
    assert 0.035 < wrong / 2000 < 0.065


def drawn(kind: str, random: np.random.Generator, n: int) -> np.ndarray:
    values = random.normal(0, 1, n)
    return np.exp(values) if kind == "lognormal" else values


def truth(kind: str) -> float:
    return math.exp(0.5) if kind == "lognormal" else 0.0


def covered(interval: Callable[[np.random.Generator], object], value: float, times: int) -> float:
    """In what share of `times` simulations an interval covers `value`."""
    random = np.random.default_rng(7)
    return sum(interval(random).covers(value) for _ in range(times)) / times
