"""Bits per dimension against sums over all images, and which likelihoods of which pixels have none."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from lehr.objective.bits import bits_per_dim, dequantize, levels_problem
from lehr.objective.continuous_bernoulli import ContinuousBernoulli
from lehr.objective.discretized_logistic import DiscretizedLogistic
from lehr.objective.likelihood import Bernoulli, Gaussian, Laplace


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_dequantised_levels_fill_their_share_of_the_unit_interval(levels):
    x = (torch.arange(levels) / (levels - 1)).view(-1, 1, 1, 1)
    noise = torch.rand(levels, 1, 50, 50, generator=torch.Generator().manual_seed(0)).double()
    spread = dequantize(x, levels, noise)
    assert torch.equal((spread * levels).floor(), torch.arange(levels).view(-1, 1, 1, 1).expand_as(noise).double())
    assert spread.min() >= 0
    assert spread.max() <= 1
    assert torch.equal(dequantize(x, levels, torch.zeros_like(x)).flatten(), torch.arange(levels) / levels)


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_a_uniform_density_costs_the_logarithm_of_the_levels(levels):
    likelihood = ContinuousBernoulli()
    how = bits_per_dim(likelihood, levels)
    x = torch.randint(levels, (3, 1, 4, 4)) / (levels - 1)
    nats = -likelihood.log_prob(how.pixels(x, torch.rand_like(x)), torch.zeros_like(x)).double().mean().item()
    assert how.kind == "dequantized"
    assert how.bits(nats, 16) == math.log2(levels)


def test_a_uniform_probability_costs_the_logarithm_of_the_levels():
    assert bits_per_dim(DiscretizedLogistic(256), 256).bits(12 * math.log(256), 12) == pytest.approx(8, rel=1e-15)
    x = torch.randint(2, (3, 1, 4, 4)).float()
    nats = -Bernoulli().log_prob(x, torch.zeros_like(x)).double().mean().item()
    assert bits_per_dim(Bernoulli(), 2).bits(nats, 16) == pytest.approx(1, rel=1e-7)


def test_a_discretised_logistic_costs_its_entropy_on_its_own_images():
    locations, scale, levels = np.array([0.3, 0.9]), 0.15, 5
    edges = np.concatenate([[-np.inf], (np.arange(1, levels) - 0.5) / (levels - 1), [np.inf]])
    masses = np.diff(1 / (1 + np.exp(-(edges - locations[:, None]) / scale)), axis=1)  # (pixel, level)
    expected = -(masses * np.log2(masses)).sum() / 2

    likelihood = DiscretizedLogistic(levels, scale).double()
    how = bits_per_dim(likelihood, levels)
    images = torch.tensor(list(itertools.product(range(levels), repeat=2))).view(-1, 1, 1, 2).double() / (levels - 1)
    assert torch.equal(how.pixels(images, torch.rand_like(images)), images)
    log_prob = likelihood.log_prob(images, torch.from_numpy(locations).view(1, 1, 1, 2).expand_as(images))
    assert log_prob.exp().sum().item() == pytest.approx(1, rel=1e-12)
    nats = -(log_prob.exp() * log_prob).sum().item()
    assert how.bits(nats, 2) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("scale", [0.2, 0.5])
def test_a_dequantised_density_bounds_the_bits_of_the_levels_from_above(scale):
    levels, mean = 17, 0.4
    likelihood = Gaussian(scale).double()
    how = bits_per_dim(likelihood, levels)
    x = (torch.arange(levels).double() / (levels - 1)).view(-1, 1, 1, 1)
    noise = (torch.arange(1000).double() + 0.5) / 1000  # of every level, evenly
    pixels = how.pixels(x.expand(-1, 1, 1, 1000), noise.expand(levels, 1, 1, 1000))
    nats = -likelihood.log_prob(pixels, torch.full_like(pixels, mean)) / 1000
    got = torch.tensor([how.bits(value, 1) for value in nats.tolist()])

    edges = torch.arange(levels + 1).double() / levels
    exact = -Normal(mean, scale).cdf(edges).diff().log2().float()  # of the level that x is
    assert (got > exact).all()
    # within a level of width h a density of scale s varies by about h/s: the bound is that tight
    slack = (1 / levels / scale) ** 2 + (1 / levels) ** 2 / scale**4
    assert (got - exact).max().item() < slack


KINDS = [
    (Bernoulli(), 2, "discrete"),
    (Bernoulli(), 256, "none"),
    (Bernoulli(), None, "none"),
    (DiscretizedLogistic(256), 256, "discrete"),
    (DiscretizedLogistic(256), 17, "none"),
    (DiscretizedLogistic(256), 2, "none"),
    (DiscretizedLogistic(256), None, "none"),
    (Gaussian(), 256, "dequantized"),
    (Laplace(), 17, "dequantized"),
    (ContinuousBernoulli(), 2, "dequantized"),
    (Gaussian(), None, "none"),
    (ContinuousBernoulli(), None, "none"),
]


@pytest.mark.parametrize(("likelihood", "levels", "kind"), KINDS)
def test_there_are_bits_where_there_is_a_probability_of_levels(likelihood, levels, kind):
    how = bits_per_dim(likelihood, levels)
    assert how.kind == kind
    assert (how.bits(1.0, 1) is None) == (kind == "none")
    assert how.reason
    assert "\n" not in how.reason


def test_the_reason_names_what_was_done_or_is_missing():
    assert "cross-entropy" in bits_per_dim(Bernoulli(), 256).reason
    assert "256 grey levels dequantised by uniform noise" in bits_per_dim(Gaussian(), 256).reason
    assert "likelihood.levels=17" in bits_per_dim(DiscretizedLogistic(256), 17).reason
    assert "not known" in bits_per_dim(Laplace(), None).reason


@pytest.mark.parametrize(
    ("likelihood", "data", "advice"),
    [(256, 17, "say likelihood.levels=17"), (256, 2, "say data.binarize=none"), (17, None, "save them as uint8")],
)
def test_levels_that_do_not_match_are_a_problem_of_one_line(likelihood, data, advice):
    problem = levels_problem(likelihood, data)
    assert problem is not None
    assert problem.startswith(f"likelihood.levels={likelihood}: ")
    assert advice in problem
    assert "\n" not in problem


@pytest.mark.parametrize(("likelihood", "data"), [(256, 256), (2, 2), (2, 256), (2, None), (None, 256), (None, None)])
def test_densities_and_cross_entropies_take_all_pixels(likelihood, data):
    assert levels_problem(likelihood, data) is None


def test_the_check_of_a_configuration_waits_for_no_torch():
    code = "import sys; from lehr.objective import levels_problem as p; p(256, 2); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
