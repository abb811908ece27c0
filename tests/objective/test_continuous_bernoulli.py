"""The continuous Bernoulli against torch.distributions, integrals, and series in exact fractions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import ContinuousBernoulli as TorchContinuousBernoulli

from lehr.objective.continuous_bernoulli import ContinuousBernoulli

LOGITS = [0.0, 1e-12, 1e-6, 1e-3, 0.05, 0.19999, 0.20001, 0.5, 2.0, 15.0, 300.0, 1e4]
SIGNED = [*LOGITS, *(-logit for logit in LOGITS[1:])]


def nodes() -> tuple[torch.Tensor, torch.Tensor]:
    """Gauss-Legendre points of [0, 1] and their weights, ever denser towards both ends."""
    points, weights = np.polynomial.legendre.leggauss(20)
    edges = np.concatenate([[0], 0.5 ** np.arange(30, 0, -1)])
    half = (edges[1:] - edges[:-1]) / 2
    x = ((edges[1:] + edges[:-1]) / 2 + half * points[:, None]).ravel()
    w = (half * weights[:, None]).ravel()
    return torch.from_numpy(np.concatenate([x, 1 - x])), torch.from_numpy(np.concatenate([w, w]))


def densities(logit: float, x: torch.Tensor) -> torch.Tensor:
    x = x.view(-1, 1, 1, 1)
    return ContinuousBernoulli().log_prob(x, torch.full_like(x, logit)).exp()


@pytest.mark.parametrize("logit", SIGNED)
def test_the_density_integrates_to_one_and_has_its_mean(logit):
    x, weight = nodes()
    mass = weight * densities(logit, x)
    assert mass.sum().item() == pytest.approx(1, rel=1e-9)
    mean = ContinuousBernoulli().mean(torch.tensor(logit, dtype=torch.float64)).item()
    assert mean == pytest.approx((mass * x).sum().item(), rel=1e-9)
    assert 0 < mean < 1
    assert 1 - mean == pytest.approx((mass * (1 - x)).sum().item(), rel=1e-9)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_it_is_torch_s_away_from_a_half(dtype, tolerance):
    logits = torch.tensor([-30.0, -8, -2, -0.5, -0.1, 0.1, 0.3, 1, 5, 20], dtype=torch.float64).view(1, 2, 1, 5)
    x = torch.linspace(0, 1, 30, dtype=torch.float64).view(3, 2, 1, 5)
    theirs = TorchContinuousBernoulli(logits=logits)
    likelihood = ContinuousBernoulli()
    got = likelihood.log_prob(x.to(dtype), logits.expand_as(x).to(dtype))
    expected = theirs.log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(got.double(), expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(likelihood.mean(logits.to(dtype)).double(), theirs.mean, rtol=tolerance, atol=tolerance)


def test_the_mean_is_not_the_sigmoid():
    assert ContinuousBernoulli().mean(torch.tensor(2.0)).item() == pytest.approx(1 / (1 - math.exp(-2)) - 0.5)
    assert torch.tensor(2.0).sigmoid().item() == pytest.approx(0.8808, abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_where_the_series_ends_nothing_jumps(dtype):
    edge = torch.tensor(0.2, dtype=dtype)
    logits = torch.stack([torch.nextafter(edge, edge - 1), edge, torch.nextafter(edge, edge + 1)]).requires_grad_()
    x = torch.full((3, 1, 1, 1), 0.3, dtype=dtype)
    log_density = ContinuousBernoulli().log_prob(x, logits.view(3, 1, 1, 1))
    mean = ContinuousBernoulli().mean(logits)
    (slope,) = torch.autograd.grad(log_density.sum(), logits)
    eps = torch.finfo(dtype).eps
    assert (log_density - log_density[1]).abs().max().item() < 8 * eps
    assert (mean - mean[1]).abs().max().item() < 32 * eps
    # the derivative of the log-density is x - E[x]
    torch.testing.assert_close(slope, 0.3 - mean, rtol=0, atol=64 * eps)


@pytest.mark.parametrize("logit", SIGNED)
def test_the_gradient_is_the_distance_from_the_mean(logit):
    x = torch.tensor([0.0, 0.2, 0.5, 1.0], dtype=torch.float64).view(4, 1, 1, 1)
    logits = torch.full_like(x, logit).requires_grad_()
    likelihood = ContinuousBernoulli()
    (gradient,) = torch.autograd.grad(likelihood.log_prob(x, logits).sum(), logits)
    torch.testing.assert_close(gradient, (x - likelihood.mean(logits)).detach(), rtol=1e-9, atol=1e-13)


def test_a_large_logit_loses_no_digits_where_the_density_is_high():
    logits = torch.tensor([1e6, -1e6]).view(2, 1, 1, 1)
    x = torch.tensor([1.0, 0.0]).view(2, 1, 1, 1)
    assert ContinuousBernoulli().log_prob(x, logits).tolist() == pytest.approx([math.log(1e6)] * 2, rel=1e-6)


def test_a_logit_of_zero_is_the_uniform_density():
    x = torch.rand(2, 3, 4, 4)
    likelihood = ContinuousBernoulli()
    assert torch.equal(likelihood.log_prob(x, torch.zeros_like(x)), torch.zeros(2))
    assert likelihood.mean(torch.zeros(1)).item() == 0.5
