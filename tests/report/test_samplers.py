"""Which sampler is nearer to real images than the prior, over the seeds of a sweep."""

from __future__ import annotations

import numpy as np
import pytest
from planted import results, run
from scipy import stats

from lehr.report.samplers import say_samplers


def sweep(distances, seeds=3, **others):
    """Two KL weights by so many seeds; `distances(sampler, weight, seed)` of each sampler."""
    runs = []
    for weight in (1, 4):
        for seed in range(seeds):
            found = {
                f"generation/{name}/frechet": distances(name, weight, seed)
                for name in ("real", "reconstruction", "prior", "aggregate")
            }
            runs.append(run({"kl.weight": weight, "seed": seed}, {**found, "generation/examples": 100, **others}))
    return results(["kl.weight", "seed"], runs)


def test_a_difference_is_of_pairs_of_the_same_run_and_its_interval_over_the_seeds():
    gain = {0: 1.0, 1: 1.25, 2: 1.5}
    # what runs differ in is far larger than what samplers do
    found = say_samplers(
        sweep(lambda name, weight, seed: 10 * weight + 5 * seed - (gain[seed] if name == "aggregate" else 0))
    )
    low, high = stats.t.interval(0.95, 2, -1.25, stats.sem([-1.0, -1.25, -1.5]))
    assert [one.text for one in found] == [
        f"Sampler aggregate instead of prior gives -1.25 Frechet distance ({low:.2f} to {high:.2f}, 3 seeds), better "
        "beyond chance."
    ]
    assert found[0].verdict == "beyond chance"


def test_what_chance_can_make_is_no_difference():
    noise = np.random.default_rng(0).normal(size=(2, 5, 5))
    found = say_samplers(sweep(lambda name, weight, seed: 5 + noise[int(name == "prior"), weight, seed], seeds=4))
    assert [one.verdict for one in found] == ["not shown"]


def test_one_seed_cannot_tell():
    found = say_samplers(sweep(lambda name, weight, seed: float(len(name)), seeds=1))
    assert [one.verdict for one in found] == ["cannot tell"]


@pytest.mark.parametrize("state", ["failed", "running"])
def test_of_runs_without_samples_nothing_is_said(state):
    assert say_samplers(results(["a"], [run({"a": 1}, {"test/elbo": 1.0}), run({"a": 2}, state=state)])) == []
    assert say_samplers(results([], [])) == []
