"""The maximum mean discrepancy against a loop and closed forms, and what InfoVAE makes of it."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch

from lehr import randomness
from lehr.objective.mmd import MMD, Kernel, kernel_matrix, mmd


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def kernel(a, b, name: str, bandwidth: float) -> float:
    square, scale = sum((x - y) ** 2 for x, y in zip(a, b, strict=True)), 2 * len(a) * bandwidth**2
    return math.exp(-square / scale) if name == "rbf" else scale / (scale + square)


def loop(a, b, name: str, bandwidth: float) -> float:
    """The unbiased estimate, pair by pair."""
    n, m = len(a), len(b)
    within_a = sum(kernel(a[i], a[j], name, bandwidth) for i in range(n) for j in range(n) if i != j)
    within_b = sum(kernel(b[i], b[j], name, bandwidth) for i in range(m) for j in range(m) if i != j)
    across = sum(kernel(x, y, name, bandwidth) for x in a for y in b)
    return within_a / (n * (n - 1)) + within_b / (m * (m - 1)) - 2 * across / (n * m)


@pytest.mark.parametrize("bandwidth", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("name", get_args(Kernel))
def test_the_estimate_is_that_of_a_loop(name, bandwidth):
    a, b = randn(5, 3), 1 + 2 * randn(7, 3, seed=1)
    assert mmd(a, b, name, bandwidth).item() == pytest.approx(loop(a.tolist(), b.tolist(), name, bandwidth), rel=1e-10)


@pytest.mark.parametrize("name", get_args(Kernel))
def test_its_mean_is_zero_for_equal_distributions_and_positive_for_others(name):
    equal = np.array([mmd(randn(20, 2, seed=2 * i), randn(20, 2, seed=2 * i + 1), name).item() for i in range(300)])
    assert (equal < 0).any()
    assert abs(equal.mean()) < 3 * equal.std() / math.sqrt(300)
    other = np.mean([mmd(randn(20, 2, seed=2 * i), 1 + randn(20, 2, seed=2 * i + 1), name).item() for i in range(50)])
    assert other > 20 * abs(equal.mean())


def test_the_mean_of_the_rbf_between_two_normals_is_its_closed_form():
    """E k(a, b) for a - b ~ N(m, 2 I): (C / (C + 4))^(d/2) exp(-m^2 / (C + 4)), with C = 2 d."""
    d, shift = 2, 1.0
    a, b = randn(1000, d), randn(1000, d, seed=1)
    b[:, 0] += shift
    scale = 2 * d
    same = (scale / (scale + 4)) ** (d / 2)
    expected = 2 * same - 2 * same * math.exp(-(shift**2) / (scale + 4))
    assert expected > 0.1
    assert mmd(a, b, "rbf").item() == pytest.approx(expected, abs=0.02)


def test_the_scale_is_the_mean_squared_distance_of_two_draws_from_the_prior():
    a, b = randn(2000, 5), randn(2000, 5, seed=1)
    assert ((a - b) ** 2).sum(1).mean().item() == pytest.approx(2 * 5, rel=0.05)
    far = torch.zeros(1, 5, dtype=torch.float64)
    far[0, 0] = math.sqrt(2 * 5)
    origin = torch.zeros(1, 5, dtype=torch.float64)
    assert kernel_matrix(origin, far, "imq", 1.0).item() == pytest.approx(0.5)
    assert kernel_matrix(origin, far, "rbf", 1.0).item() == pytest.approx(math.exp(-1))


def test_latents_far_from_the_origin_lose_no_digits():
    a, b = randn(5, 3).float(), randn(7, 3, seed=1).float()
    near = loop(a.tolist(), b.tolist(), "imq", 1.0)
    assert mmd(a + 1000, b + 1000).item() == pytest.approx(near, abs=1e-4)


@pytest.mark.parametrize(("alpha", "lambda_"), [(0.0, 1000.0), (1.0, 10.0), (-0.5, 3.0)])
@pytest.mark.parametrize("latent_shape", [(4,), (2, 2, 1)])
def test_the_cost_is_that_of_infovae(alpha, lambda_, latent_shape, rate_batch):
    batch = rate_batch(b=5, step=3, latent_shape=latent_shape)
    inputs = batch.inputs()
    term = MMD(alpha, lambda_, "rbf", 2.0, seed=7, weight=0.5)
    prior = randomness.normal(7, "mmd", 3, (5, 4)).tolist()
    discrepancy = loop(inputs.z.detach().flatten(1).tolist(), prior, "rbf", 2.0)
    expected = 0.5 * ((1 - alpha) * inputs.terms.rate.sum().item() + (alpha + lambda_ - 1) * 5 * discrepancy)
    cost = term(inputs)
    assert cost.value.item() == pytest.approx(expected, rel=1e-9)
    assert float(cost.kl_weight) == term.kl_weight(3) == pytest.approx(0.5 * (1 - alpha))


def test_with_alpha_0_and_lambda_1_it_is_the_annealed_kl(rate_batch):
    batch = rate_batch()
    inputs = batch.inputs()
    torch.testing.assert_close(MMD(0.0, 1.0, weight=0.3)(inputs).value, 0.3 * inputs.terms.rate.sum())


def test_the_draws_from_the_prior_are_a_function_of_seed_and_step(rate_batch):
    def cost(seed: int, step: int) -> float:
        return MMD(seed=seed)(rate_batch(step=step).inputs()).value.item()

    assert cost(0, 1) == cost(0, 1)
    assert len({cost(0, 1), cost(0, 2), cost(1, 1)}) == 3


def test_a_batch_of_one_has_no_discrepancy(rate_batch):
    inputs = rate_batch(b=1).inputs()
    assert MMD(0.25, 1000.0)(inputs).value.item() == pytest.approx(0.75 * inputs.terms.rate.item())


def test_descent_on_the_discrepancy_alone_leads_q_of_z_to_the_prior(rate_batch):
    batch = rate_batch(b=100, latent_shape=(2,))
    with torch.no_grad():
        batch.mean.mul_(0.2).add_(1.5)
        batch.logvar.fill_(-4.0)
    term = MMD(1.0, 10.0)
    optimizer = torch.optim.Adam([batch.mean], lr=0.05)
    for step in range(150):
        optimizer.zero_grad()
        batch.step = step
        (term(batch.inputs()).value / 100).backward()
        optimizer.step()
    z = batch.inputs().z.detach()
    assert z.mean(0).abs().max() < 0.3
    assert z.var(0).tolist() == pytest.approx([1, 1], abs=0.6)


def test_an_unknown_kernel_is_refused():
    with pytest.raises(ValueError, match=r"kl.kernel='gauss': expected one of rbf, imq"):
        MMD(kernel="gauss")


@pytest.mark.parametrize(("alpha", "lambda_"), [(0.5, 0.3), (0.0, 0.99), (-1.0, 1.5), (-0.5, 1.0)])
def test_a_weight_that_rewards_discrepancy_is_refused(alpha, lambda_):
    # Zhao et al. 2019, equation 7: the divergence has the weight alpha + lambda - 1, which is not to be negative
    with pytest.raises(ValueError, match=f"kl: alpha={alpha:g} and lambda_={lambda_:g} must add up to 1 or more"):
        MMD(alpha=alpha, lambda_=lambda_)


@pytest.mark.parametrize(("alpha", "lambda_"), [(0.9, 0.1), (0.7, 0.3), (1.0, 0.0), (0.0, 1.0), (-1.0, 2.0)])
def test_the_plain_rate_is_the_least_that_is_allowed(alpha, lambda_):
    assert MMD(alpha=alpha, lambda_=lambda_).values(0)["lambda"] == lambda_
