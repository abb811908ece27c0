"""The best combination of a sweep, and whether it is more than the luckiest."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from planted import ELBO, grid, layout, results, run

from lehr.evaluation.intervals import welch
from lehr.report.best import best
from lehr.report.conclusions import say_best
from lehr.report.layout import lay_out

SEEDS = [0, 1, 2]
HEIGHT = {0.5: 1.0, 1: 3.0, 4: 2.0}
JITTER = {0: 0.0, 1: 0.01, 2: -0.01}


def of(values, elbo, metric=ELBO):
    [found] = best(layout(values, elbo, metric), metric)
    return found


def said(values, elbo, metric=ELBO):
    return [sentence.text for sentence in say_best(layout(values, elbo, metric), metric)]


def test_the_best_is_compared_with_the_next_over_their_common_seeds():
    found = of({"kl.weight": [0.5, 1, 4], "seed": SEEDS}, lambda w, s: HEIGHT[w] + 10 * s + JITTER[s] * w)
    assert (dict(found.best.values), dict(found.next.values)) == ({"kl.weight": 1}, {"kl.weight": 4})
    assert (found.groups, found.alike, found.left_out, found.ties, found.paired) == (3, 0, 0, 0, True)
    assert found.behind == pytest.approx(1.0)
    # three combinations, two comparisons: t(2) at 98.75% is 6.205347
    assert found.level == pytest.approx(0.975)
    assert found.interval.half_width == pytest.approx(6.205347 * 0.03 / math.sqrt(3))
    assert found.beyond_chance
    assert found.best.runs == ("kl.weight=1,seed=0", "kl.weight=1,seed=1", "kl.weight=1,seed=2")


def test_least_is_best_where_less_is_better():
    found = of({"kl.weight": [0.5, 1, 4], "seed": SEEDS}, lambda w, s: HEIGHT[w] + JITTER[s] * w, "test/distortion")
    assert (dict(found.best.values), dict(found.next.values)) == ({"kl.weight": 0.5}, {"kl.weight": 4})
    assert found.behind == pytest.approx(1.0)
    assert found.beyond_chance


def test_seeds_that_are_not_the_same_are_compared_by_welch():
    runs = [run({"a": a, "seed": s}, {ELBO: a + 0.1 * s}) for a in (1, 2) for s in (range(3) if a == 1 else (7, 8, 9))]
    [found] = best(lay_out(results(["a", "seed"], runs)), ELBO)
    expected = welch([2.7, 2.8, 2.9], [1.0, 1.1, 1.2])
    assert not found.paired
    assert (found.interval.low, found.interval.high) == pytest.approx((expected.low, expected.high))


def test_one_lucky_seed_among_threes_does_not_compete():
    def elbo(w, s):
        return (None if s else 100.0) if w == 0.5 else HEIGHT[w] + JITTER[s] * w

    found = of({"kl.weight": [0.5, 1, 4], "seed": SEEDS}, elbo)
    assert (dict(found.best.values), found.left_out, found.groups) == ({"kl.weight": 1}, 1, 2)


def test_what_has_no_better_has_no_best():
    assert best(layout({"a": [1, 2]}, lambda a: a, "test/rate"), "test/rate") == []
    assert best(layout({"a": [1, 2]}, lambda a: None), ELBO) == []


def test_each_data_set_has_its_best():
    found = best(layout({"data": ["digits", "mnist"], "a": [1, 2]}, lambda data, a: a), ELBO)
    assert [(dict(one.where), one.groups) for one in found] == [({"data": "digits"}, 2), ({"data": "mnist"}, 2)]


def test_where_all_are_equal_the_best_is_rarely_called_so():
    rng = np.random.default_rng(5)
    values = {"a": range(6), "seed": SEEDS}
    said = sum(of(values, lambda a, s: float(rng.normal())).beyond_chance for _ in range(400))
    assert said <= 0.05 * 400


def test_a_best_that_is_far_ahead_is_found():
    rng = np.random.default_rng(6)
    values = {"a": range(6), "seed": SEEDS}
    said = sum(of(values, lambda a, s: 50 * (a == 2) + float(rng.normal())).beyond_chance for _ in range(60))
    assert said >= 57


def test_two_thousand_runs_take_less_than_two_seconds():
    rng = np.random.default_rng(0)
    sweep = lay_out(grid({"a": range(25), "b": range(20), "seed": range(4)}, lambda *_: float(rng.normal())))
    began = time.process_time()
    assert best(sweep, ELBO)[0].groups == 500
    assert time.process_time() - began < 2


# ---- in sentences


def test_a_best_beyond_chance():
    found = said({"kl.weight": [0.5, 1, 4], "seed": SEEDS}, lambda w, s: -100 + HEIGHT[w] + JITTER[s] * w)
    assert found == [
        "The best ELBO of 3 combinations is -97.000 nats (3 seeds), at KL weight 1.",
        "The next, KL weight 4, is 1.00 nats behind (0.89 to 1.11, 3 seeds), beyond chance among 3.",
        "The best of 3 is in part the luckiest: with other seeds it will as a rule do less well.",
    ]


def test_a_best_that_cannot_be_told_apart():
    jitter = {0.5: 2.0, 1: -3.0, 4: 5.0}
    found = said({"kl.weight": [0.5, 1, 4], "seed": SEEDS}, lambda w, s: HEIGHT[w] + jitter[w] * (s - 1))
    assert found[1] == (
        "The next, KL weight 4, is 1 nats behind (-28 to 30, 3 seeds): the two cannot be told apart, "
        "nor can 1 other from the best."
    )


def test_one_seed_ties_and_one_combination():
    assert said({"a": [1, 2]}, lambda a: a / 10)[1] == (
        "The next, a 1, is 0.1000 nats behind, and one seed cannot tell whether that is chance."
    )
    assert said({"a": [1, 2, 3]}, lambda a: 5.5)[1] == "The next, a 2, is as good, as is 1 more."
    assert said({"a": [1, 2]}, lambda a: 5.5)[1] == "The next, a 2, is as good."
    assert said({"a": [1], "seed": [0, 1]}, lambda a, s: 5.5) == [
        "ELBO is 5.500 nats (2 seeds) at a 1, with nothing to compare it with."
    ]
    assert said({"seed": [0, 1]}, lambda s: 5.5) == [
        "ELBO is 5.500 nats (2 seeds) at the one configuration there is, with nothing to compare it with."
    ]


def test_the_condition_is_said_once():
    assert said({"data": ["digits", "mnist"], "a": [1, 2]}, lambda data, a: a)[:2] == [
        "With data set digits, the best ELBO of 2 combinations is 2 nats (1 seed), at a 2.",
        "With data set digits, the next, a 1, is 1 nats behind, and one seed cannot tell whether that is chance.",
    ]
