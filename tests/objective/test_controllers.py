"""GECO and ControlVAE against their recursions in plain Python, and on a plant whose equilibrium is known."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from lehr.objective.controllers import GECO, ControlVAE
from lehr.objective.elbo import Terms
from lehr.objective.rate import RateInputs
from lehr.posterior.gaussian import DiagonalGaussian


def measured(distortion: float, rate: float) -> RateInputs:
    """A batch of one with this distortion and rate."""
    posterior = DiagonalGaussian(torch.zeros(1, 1), torch.zeros(1, 1))
    terms = Terms(torch.tensor([distortion]), torch.tensor([rate], dtype=torch.float64))
    means = torch.tensor([distortion, rate], dtype=torch.float64)
    return RateInputs(0, posterior, torch.zeros(1, 1), terms, means, 1, 10, lambda values: values)


class Plant:
    """Four linear latents with eigenvalues l at noise variance 1, which follow the KL weight w at a distance.

    At the optimum of w the rate is 1/2 sum ln(l / w) and the distortion (1/2) 4 w + a constant, where w < l.
    """

    EIGENVALUES = (40.0, 30.0, 20.0, 10.0)

    def __init__(self, lag: float) -> None:
        self.log_w = 0.0
        self.lag = lag

    @classmethod
    def at(cls, w: float) -> tuple[float, float]:
        rate = sum(0.5 * math.log(max(eigenvalue / w, 1.0)) for eigenvalue in cls.EIGENVALUES)
        return 10.0 + sum(0.5 * min(w, eigenvalue) for eigenvalue in cls.EIGENVALUES), rate

    def step(self, w: float) -> tuple[float, float]:
        self.log_w += (math.log(max(w, 1e-3)) - self.log_w) / self.lag
        return self.at(math.exp(self.log_w))


def run(term, plant: Plant, steps: int) -> list[tuple[float, float, float]]:
    """(distortion, rate, KL weight) at each step."""
    history, weight = [], term.kl_weight(0)
    for _ in range(steps):
        distortion, rate = plant.step(weight)
        weight = float(term(measured(distortion, rate)).kl_weight)
        history.append((distortion, rate, weight))
    return history


def test_geco_is_its_recursion():
    term = GECO(20.0, speed=0.05, alpha=0.9, weight=0.5, min_weight=0.1, max_weight=2.0)
    multiplier, average, limited = 1 / 0.5, None, 0
    for distortion in [30.0, 26.0, 21.0, 19.0, 12.0, 8.0, 5.0, 5.0, 5.0, 5.0, 5.0, 40.0, 90.0, 90.0]:
        cost = term(measured(distortion, 3.0))
        # the batch is weighted by the multiplier of those before it
        assert float(cost.kl_weight) == pytest.approx(1 / multiplier, rel=1e-12)
        assert cost.value.item() == pytest.approx(3.0 / multiplier, rel=1e-12)
        average = distortion - 20 if average is None else 0.9 * average + 0.1 * (distortion - 20)
        multiplier *= math.exp(0.05 * average)
        limited += not 1 / 2.0 < multiplier < 1 / 0.1
        multiplier = min(max(multiplier, 1 / 2.0), 1 / 0.1)
        assert term.kl_weight(0) == pytest.approx(1 / multiplier, rel=1e-12)
    assert 0 < limited < 14


def test_geco_weighs_the_rate_less_while_the_distortion_is_too_large():
    large, small = GECO(20.0), GECO(20.0)
    large(measured(25.0, 1.0))
    small(measured(15.0, 1.0))
    assert large.kl_weight(1) < 1 < small.kl_weight(1)


@pytest.mark.parametrize("weight", [0.01, 1.0, 100.0])
def test_geco_leads_the_distortion_to_its_target(weight):
    term = GECO(16.0, speed=0.005, alpha=0.9, weight=weight)  # 10 + 4 w / 2 at w = 3
    history = run(term, Plant(lag=5.0), 1200)
    assert history[-1][0] == pytest.approx(16.0, abs=0.01)
    assert history[-1][2] == pytest.approx(3.0, rel=0.01)


def test_geco_comes_back_from_a_limit_at_once():
    term = GECO(20.0, speed=0.1, alpha=0.0, min_weight=0.01, max_weight=100.0)
    for _ in range(1000):
        term(measured(50.0, 1.0))
    assert term.kl_weight(0) == 0.01
    term(measured(10.0, 1.0))
    assert term.kl_weight(0) == pytest.approx(0.01 * math.e)


def test_control_is_its_equation():
    term = ControlVAE(5.0, kp=0.3, ki=0.02, min_weight=0.1, max_weight=50.0)
    total = 0.0
    for rate in [9.0, 8.0, 7.0, 6.0, 5.5, 4.9, 4.0, 5.1]:
        error = 5.0 - rate
        total += error
        expected = 0.3 / (1 + math.exp(error)) - 0.02 * total + 0.1
        cost = term(measured(30.0, rate))
        assert float(cost.kl_weight) == term.kl_weight(0) == pytest.approx(expected, rel=1e-12)
        assert cost.value.item() == pytest.approx(expected * rate, rel=1e-12)


def test_control_weighs_the_rate_more_while_it_is_too_large():
    term = ControlVAE(5.0)
    weights = [float(term(measured(30.0, 9.0)).kl_weight) for _ in range(3)]
    assert weights[0] < weights[1] < weights[2]
    weights = [float(term(measured(30.0, 4.5)).kl_weight) for _ in range(3)]
    assert weights[0] > weights[1] > weights[2]


@pytest.mark.parametrize("target", [2.0, 4.0, 5.0])
def test_control_leads_the_rate_to_its_target(target):
    history = run(ControlVAE(target, ki=0.05, max_weight=50.0), Plant(lag=5.0), 1500)
    assert history[-1][1] == pytest.approx(target, abs=0.01)
    assert 0 < history[-1][2] < 50


@pytest.mark.parametrize(("rate", "limit", "back"), [(9.0, 2.0, 4.0), (1.0, 0.5, 6.0)])
def test_control_comes_back_from_a_limit_at_once(rate, limit, back):
    term = ControlVAE(5.0, kp=0.0, ki=0.1, min_weight=0.5, max_weight=2.0)
    for _ in range(100):
        term(measured(30.0, rate))
    assert term.kl_weight(0) == limit
    term(measured(30.0, back))
    assert abs(term.kl_weight(0) - limit) == pytest.approx(0.1)


def test_control_reaches_its_lower_limit_from_beyond_the_upper_one():
    """With a large kp the weight starts beyond its limit; a sum that stopped there would stop for good."""
    term = ControlVAE(5.0, kp=3.0, ki=0.1, min_weight=0.0, max_weight=1.0)
    assert [float(term(measured(30.0, 8.0)).kl_weight) for _ in range(5)] == [1.0] * 5
    for _ in range(100):
        term(measured(30.0, 4.0))
    assert term.kl_weight(0) == 0.0


@pytest.mark.parametrize("make", [lambda: GECO(16.0), lambda: ControlVAE(4.0)])
def test_a_controller_goes_on_from_its_checkpoint_bit_by_bit(make):
    term, plant = make(), Plant(lag=5.0)
    run(term, plant, 50)
    resumed, again = make(), copy.copy(plant)
    resumed.load_state_dict(copy.deepcopy(term.state_dict()))
    assert run(resumed, again, 50) == run(term, plant, 50)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GECO(1.0, weight=2.0, max_weight=1.0), "kl: weight=2 must be at most max_weight=1"),
        (lambda: GECO(1.0, min_weight=0.0), "kl.min_weight=0: must be greater than 0"),
        (lambda: ControlVAE(1.0, min_weight=2.0, max_weight=1.0), "kl: min_weight=2 must be at most max_weight=1"),
    ],
)
def test_limits_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
