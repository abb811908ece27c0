"""What a swept key did: known effects, none, few seeds, missing runs; and what is said of chance, over many sweeps."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from planted import ELBO, grid, layout, results, run

from lehr.evaluation.intervals import mean_interval
from lehr.report.effects import effects, incomparable
from lehr.report.layout import lay_out

SEEDS = [0, 1, 2]
WARMUP = {"kl.warmup": [0, 10], "kl.weight": [1, 4], "seed": SEEDS}


def only(found):
    [one] = found
    return one


def effect_of(found, key):
    return only([effect for effect in found if effect.key == key])


# ---- paired differences


def test_the_difference_of_seeds_and_of_other_keys_cancels():
    gain = {0: 0.6, 1: 0.7, 2: 0.8}
    found = effects(layout(WARMUP, lambda up, w, s: -90 - 10 * w + 5 * s + (gain[s] if up else 0)), ELBO)
    contrast = only(effect_of(found, "kl.warmup").contrasts)
    assert (contrast.value, contrast.against, contrast.kind) == (10, 0, "ends")
    assert contrast.per_seed == pytest.approx([0.6, 0.7, 0.8])
    assert contrast.estimate == pytest.approx(0.7)
    assert contrast.range == pytest.approx((0.6, 0.8))
    assert contrast.std == pytest.approx(0.1)
    assert contrast.combinations == 2
    # t(2) at 97.5% is 4.302653
    assert contrast.interval.low == pytest.approx(0.7 - 4.302653 * 0.1 / math.sqrt(3))
    assert contrast.interval.n == 3
    assert contrast.shown


def test_numbers_are_compared_at_their_ends_and_with_their_neighbours():
    found = only(effects(layout({"kl.weight": [4, 0.5, 1], "seed": SEEDS}, lambda w, s: w + 0.1 * s * w), ELBO))
    assert found.numeric
    assert [(c.value, c.against, c.kind) for c in found.contrasts] == [
        (4, 0.5, "ends"), (1, 0.5, "neighbours"), (4, 1, "neighbours"),
    ]  # fmt: skip
    assert [c.value for c in found.headlines] == [4]
    assert {c.comparisons for c in found.contrasts} == {3}


def test_other_values_are_compared_with_the_most_common_one():
    runs = [run({"x": x, "seed": s}, {ELBO: float(s)}) for x in ("a", "b", "c") for s in SEEDS if x == "b" or s < 2]
    found = only(effects(lay_out(results(["x", "seed"], runs)), ELBO))
    assert [(c.value, c.against) for c in found.contrasts] == [("a", "b"), ("c", "b")]
    assert found.headlines == found.contrasts


@pytest.mark.parametrize("values", [[None, True], [False, True], [[1], [1, 2]], [None, 1.5], ["", "<script>"]])
def test_values_without_an_order_are_compared_with_the_first_of_equals(values):
    found = only(effects(layout({"x": values, "seed": SEEDS}, lambda x, s: s), ELBO))
    assert not found.numeric
    assert [(c.value, c.against) for c in found.contrasts] == [(values[1], values[0])]


def test_one_seed_has_no_interval():
    for values in ({"kl.warmup": [0, 10]}, {"kl.warmup": [0, 10], "seed": [7]}):
        contrast = only(only(effects(layout(values, lambda up, *_: up), ELBO)).contrasts)
        assert (contrast.estimate, contrast.interval, contrast.std, contrast.shown) == (10.0, None, None, False)
        assert math.isnan(contrast.p_adjusted)


def test_what_is_the_same_in_every_seed_is_not_called_beyond_chance():
    contrast = only(only(effects(layout({"n": [1, 2], "seed": SEEDS}, lambda n, s: 2.0 * n), ELBO)).contrasts)
    assert contrast.constant
    assert not contrast.shown
    assert math.isnan(contrast.p_adjusted)


# ---- what is missing


def test_a_failed_run_takes_its_partner_and_its_combination_with_it():
    def elbo(up, w, s):
        return None if (up, w, s) == (10, 4, 1) else 100.0 * w + up + s * 0.1 * up

    contrast = only(effect_of(effects(layout(WARMUP, elbo), ELBO), "kl.warmup").contrasts)
    assert contrast.combinations == 1
    assert contrast.per_seed == pytest.approx([10, 11, 12])
    assert contrast.means == pytest.approx((111, 100))


def test_a_key_of_which_one_value_has_numbers_has_no_effect():
    assert effects(layout({"x": ["a", "b"], "seed": SEEDS}, lambda x, s: s if x == "a" else None), ELBO) == []
    assert effects(layout({"x": ["a"], "seed": SEEDS}, lambda x, s: s), ELBO) == []
    assert effects(layout({"seed": SEEDS}, lambda s: s), ELBO) == []
    assert effects(lay_out(results([], [])), ELBO) == []


def test_runs_that_no_other_one_can_be_compared_with_are_counted():
    runs = [run({"a": a, "b": b}, {ELBO: 0.0}) for a, b in [(1, 1), (2, 2), (3, 3)]]
    for effect in effects(lay_out(results(["a", "b"], runs)), ELBO):
        assert effect.contrasts == ()
        assert effect.alone == 3
        assert [level.matched for level in effect.levels] == [False] * 3


# ---- levels


def test_levels_are_means_over_the_same_combinations_and_seeds():
    def elbo(up, w, s):
        return None if (up, w) == (10, 4) else 100.0 * w + up + s

    none, ten = effect_of(effects(layout(WARMUP, elbo), ELBO), "kl.warmup").levels
    assert (none.value, ten.value) == (0, 10)
    assert (none.mean, ten.mean) == pytest.approx((101, 111))
    expected = mean_interval([100.0, 101, 102])
    assert (none.low, none.high, none.n, none.matched) == (expected.low, expected.high, 3, True)


def test_numbers_of_other_data_are_never_averaged():
    values = {"data": ["digits", "mnist"], "kl.warmup": [0, 10], "seed": SEEDS}
    found = effects(layout(values, lambda data, up, s: up * (1 + s / 10) * (1 if data == "digits" else 3)), ELBO)
    assert [(effect.key, dict(effect.where)) for effect in found] == [
        ("kl.warmup", {"data": "digits"}), ("kl.warmup", {"data": "mnist"}),
    ]  # fmt: skip
    assert [effect.contrasts[0].estimate for effect in found] == pytest.approx([11, 33])
    assert incomparable(layout(values, lambda *_: 1.0), ELBO) == ["data"]


def test_a_loss_at_another_weight_is_another_quantity():
    found = layout({"kl.weight": [1, 4], "kl.warmup": [0, 5], "seed": SEEDS}, lambda w, up, s: w, "test/loss")
    assert incomparable(found, "test/loss") == ["kl.weight"]
    assert {effect.key for effect in effects(found, "test/loss")} == {"kl.warmup"}


# ---- interactions


def test_an_effect_that_turns_round_is_an_interaction():
    random = np.random.default_rng(0)
    found = effects(layout(WARMUP, lambda up, w, s: up * (1 if w == 1 else -1) + 0.1 * random.normal()), ELBO)
    interaction = effect_of(found, "kl.warmup").contrasts[0].interaction
    assert interaction.shown
    assert interaction.opposite
    assert (interaction.lowest_at, interaction.highest_at) == ({"kl.weight": 4}, {"kl.weight": 1})
    assert (interaction.lowest, interaction.highest) == pytest.approx((-10, 10), abs=0.3)


def test_an_effect_that_is_larger_here_than_there_is_not_opposite():
    random = np.random.default_rng(0)
    found = effects(layout(WARMUP, lambda up, w, s: up * w + 0.1 * random.normal()), ELBO)
    interaction = effect_of(found, "kl.warmup").contrasts[0].interaction
    assert interaction.shown
    assert not interaction.opposite


def test_the_f_test_is_that_of_scipy_where_there_are_two_combinations():
    # with two combinations F is the square of the paired t of one against the other
    from scipy.stats import ttest_rel

    random = np.random.default_rng(3)
    table = {(w, up, s): random.normal() for w in (1, 4) for up in (0, 10) for s in range(6)}
    found = effects(layout({**WARMUP, "seed": range(6)}, lambda up, w, s: table[w, up, s]), ELBO)
    differences = [[table[w, 10, s] - table[w, 0, s] for s in range(6)] for w in (1, 4)]
    interaction = effect_of(found, "kl.warmup").contrasts[0].interaction
    assert interaction.p == pytest.approx(ttest_rel(*differences).pvalue)


# ---- chance, over many sweeps

DESIGN = {"a": [1, 2, 3], "b": ["x", "y"], "c": [0, 5], "seed": [0, 1, 2]}


def simulated(rng, a=0.0):
    """A sweep in which seeds differ, b matters a lot, and a by `a` a step."""
    of_seed = rng.normal(size=3)
    return effects(layout(DESIGN, lambda x, b, c, s: of_seed[s] + 5 * (b == "x") + a * x + rng.normal()), ELBO)


@pytest.mark.parametrize("sweeps", [150, pytest.param(1500, marks=pytest.mark.slow)])
def test_where_nothing_differs_one_sweep_in_twenty_says_it_does(sweeps):
    rng = np.random.default_rng(99)
    found = [[e for e in simulated(rng) if e.key != "b"] for _ in range(sweeps)]
    said = sum(any(c.beyond_chance for e in each for c in e.contrasts) for each in found)
    depends = sum(any(c.interaction.shown for e in each for c in e.contrasts) for each in found)
    error = math.sqrt(0.05 * 0.95 * sweeps)
    assert max(said, depends) <= 0.05 * sweeps + 2 * error
    assert said >= 0.05 * sweeps - 3 * error  # or nothing would ever be found


def test_a_large_effect_is_found_and_its_interval_covers_it():
    rng = np.random.default_rng(12)
    contrasts = [effect_of(simulated(rng, 10.0), "a").contrasts[0] for _ in range(150)]
    assert sum(c.beyond_chance for c in contrasts) >= 0.95 * 150
    covered = sum(c.interval.covers(20.0) for c in contrasts)
    assert covered == pytest.approx(0.95 * 150, abs=2.5 * math.sqrt(0.05 * 0.95 * 150))


def test_two_thousand_runs_take_less_than_two_seconds():
    rng = np.random.default_rng(0)
    large = grid({"a": range(10), "b": range(10), "c": "wxyz", "seed": range(5)}, lambda *_: float(rng.normal()))
    began = time.process_time()
    effects(lay_out(large), ELBO)
    assert time.process_time() - began < 2
    points = [{"a": rng.random(), "b": rng.random(), "n": int(rng.integers(100))} for _ in range(2000)]
    search = results(["a", "b", "n"], [run(point, {ELBO: float(rng.normal())}) for point in points])
    began = time.process_time()
    effects(lay_out(search), ELBO)
    assert time.process_time() - began < 2
