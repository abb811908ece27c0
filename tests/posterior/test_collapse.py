"""Diagnostics of collapse against numpy, torch.distributions and the exact optimum of the linear VAE."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import MultivariateNormal, kl_divergence

from lehr.posterior.aggregate import AggregatePosterior, flat_moments
from lehr.posterior.collapse import active_units, active_units_curve, effective_rank, moment_kl
from lehr.posterior.gaussian import DiagonalGaussian


def covariance(d: int, seed: int = 0) -> torch.Tensor:
    factor = torch.randn(d, d + 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return factor @ factor.T / d


def test_active_units_are_those_strictly_above_the_threshold():
    var = torch.tensor([0.0, 0.0099, 0.01, 0.0101, 0.5, 2.0], dtype=torch.float64)
    assert active_units(var) == 3
    assert active_units(var, threshold=0.4) == 2
    assert active_units(var, threshold=0.0) == 5


def test_the_curve_of_active_units_counts_at_each_threshold():
    var = torch.tensor([1e-6, 2e-5, 2e-3, 0.2, 0.95], dtype=torch.float64)
    assert active_units_curve(var) == {
        1e-5: 4, 1e-4: 3, 1e-3: 3, 3e-3: 2, 1e-2: 2, 3e-2: 2, 0.1: 2, 0.3: 1, 0.5: 1, 0.9: 1
    }  # fmt: skip


@pytest.mark.parametrize("d", [1, 2, 7])
def test_effective_rank_is_the_exponential_of_the_entropy_of_the_spectrum(d):
    matrix = covariance(d)
    values = np.linalg.eigvalsh(matrix.numpy())
    share = values / values.sum()
    expected = math.exp(-(share * np.log(share)).sum())
    assert effective_rank(matrix) == pytest.approx(expected, rel=1e-12)
    assert effective_rank(torch.from_numpy(values)) == pytest.approx(expected, rel=1e-12)
    assert effective_rank(100 * matrix) == pytest.approx(expected, rel=1e-12)


def test_effective_rank_at_its_ends():
    assert effective_rank(torch.eye(6, dtype=torch.float64)) == pytest.approx(6)
    assert effective_rank(torch.tensor([3.0, 0.0, 3.0, 0.0])) == pytest.approx(2)
    direction = torch.tensor([1.0, 2.0, -2.0], dtype=torch.float64)
    assert effective_rank(direction.outer(direction)) == pytest.approx(1)
    assert effective_rank(torch.zeros(4, 4)) == 0
    assert effective_rank(torch.zeros(4)) == 0


@pytest.mark.parametrize("d", [1, 3, 10])
def test_moment_kl_is_the_kl_of_the_matching_gaussian(d):
    mean, cov = torch.linspace(-1, 2, d, dtype=torch.float64), covariance(d)
    prior = MultivariateNormal(torch.zeros(d).double(), torch.eye(d).double())
    expected = kl_divergence(MultivariateNormal(mean, cov), prior).item()
    assert moment_kl(mean, cov) == pytest.approx(expected, rel=1e-10)
    diagonal = kl_divergence(MultivariateNormal(mean, cov.diagonal().diag()), prior).item()
    assert moment_kl(mean, cov.diagonal()) == pytest.approx(diagonal, rel=1e-10)


@settings(deadline=None, max_examples=50, derandomize=True)
@given(d=st.integers(1, 8), seed=st.integers(0, 10_000), scale=st.sampled_from([1e-3, 1.0, 1e3]))
def test_full_moment_kl_is_the_diagonal_one_and_the_total_correlation(d, seed, scale):
    cov = scale * covariance(d, seed)
    mean = torch.randn(d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    std = cov.diagonal().sqrt()
    total_correlation = -0.5 * torch.linalg.slogdet(cov / std.outer(std)).logabsdet.item()
    full, diagonal = moment_kl(mean, cov), moment_kl(mean, cov.diagonal())
    assert full == pytest.approx(diagonal + total_correlation, rel=1e-8, abs=1e-8)
    assert full >= diagonal - 1e-9
    assert diagonal >= 0


def test_moment_kl_is_zero_at_the_prior_and_infinite_for_a_singular_covariance():
    zeros = torch.zeros(3, dtype=torch.float64)
    assert moment_kl(zeros, torch.eye(3, dtype=torch.float64)) == 0
    assert moment_kl(zeros, torch.ones(3, dtype=torch.float64)) == 0
    assert moment_kl(zeros, torch.zeros(3, 3, dtype=torch.float64)) == math.inf
    assert moment_kl(zeros, torch.tensor([1.0, 0.0, 2.0])) == math.inf


def test_moment_kl_is_finite_for_a_badly_scaled_but_regular_covariance():
    variances = torch.logspace(-12, 6, 10, dtype=torch.float64)
    zeros = torch.zeros(10, dtype=torch.float64)
    expected = 0.5 * (variances.sum() - 10 - variances.log().sum()).item()
    assert moment_kl(zeros, variances.diag()) == pytest.approx(expected)
    near = torch.tensor([[1.0, 1 - 1e-10], [1 - 1e-10, 1.0]], dtype=torch.float64)
    assert moment_kl(zeros[:2], near) == pytest.approx(-0.5 * math.log(2e-10), rel=1e-4)


# The optimum of the linear beta-VAE on data of covariance diag(SPECTRUM) is known exactly (probabilistic PCA;
# Tipping & Bishop 1999; Lucas et al. 2019). Columns: variance of p(x|z), KL weight, rate, Var(E[z_i|x]).
SPECTRUM = torch.tensor([8, 4, 2, 1, 0.5, 0.25, 0.1, 0.05], dtype=torch.float64)
PPCA = [
    (0.3, 1.0, 4.742800, [0.9625, 0.925, 0.85, 0.7, 0.4, 0]),
    (0.3, 2.0, 3.101093, [0.925, 0.85, 0.7, 0.4, 0, 0]),
    (0.3, 0.25, 8.810522, [0.990625, 0.98125, 0.9625, 0.925, 0.85, 0.7]),
    (1.5, 1.0, 1.471244, [0.8125, 0.625, 0.25, 0, 0, 0]),
    (0.05, 4.0, 5.868035, [0.975, 0.95, 0.9, 0.8, 0.6, 0.2]),
    (3.0, 3.0, 0.0, [0, 0, 0, 0, 0, 0]),
]


def data_of_covariance(spectrum: torch.Tensor, n: int, correction: int) -> torch.Tensor:
    """(n, d) Gaussian-looking rows whose sample mean is 0 and sample covariance diag(spectrum), both exactly."""
    x = torch.randn(n, len(spectrum), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    orthonormal, _ = torch.linalg.qr(x - x.mean(0))
    return orthonormal * (n - correction) ** 0.5 * spectrum.sqrt()


def optimum(x: torch.Tensor, noise_var: float, weight: float, k: int = 6) -> DiagonalGaussian:
    """q(z|x) of the optimal linear VAE."""
    spectrum, tau = SPECTRUM[:k], noise_var * weight
    mean = x[:, :k] * (spectrum - tau).clamp(min=0).sqrt() / spectrum
    return DiagonalGaussian(mean, (tau / spectrum).clamp(max=1).log().expand_as(mean))


@pytest.mark.parametrize(("noise_var", "weight", "rate", "signal"), PPCA)
def test_the_linear_optimum_has_its_exact_rate_and_active_units(noise_var, weight, rate, signal):
    n = 500
    moments = flat_moments(optimum(data_of_covariance(SPECTRUM, n, correction=0), noise_var, weight))
    posterior = AggregatePosterior.from_moments(moments, (6,))
    assert posterior.kl.sum().item() == pytest.approx(rate, abs=1e-6)
    expected = torch.tensor(signal, dtype=torch.float64)
    torch.testing.assert_close(posterior.var_of_mean * (n - 1) / n, expected, rtol=1e-10, atol=1e-12)
    assert active_units(posterior.var_of_mean) == sum(a > 0 for a in signal)
    # Var(E[z|x]) = 1 - tau / l > threshold  <=>  l > tau / (1 - threshold)
    for threshold in (0.05, 0.35, 0.65, 0.87):
        count = int((SPECTRUM[:6] > noise_var * weight / (1 - threshold)).sum())
        assert active_units(posterior.var_of_mean, threshold) == count


@pytest.mark.parametrize(("noise_var", "weight", "rate", "signal"), PPCA)
def test_the_linear_optimum_has_the_prior_for_its_aggregate_posterior(noise_var, weight, rate, signal):
    x = data_of_covariance(SPECTRUM, 500, correction=1)
    posterior = AggregatePosterior.from_moments(flat_moments(optimum(x, noise_var, weight)), (6,))
    identity = torch.eye(6, dtype=torch.float64)
    torch.testing.assert_close(posterior.mean, torch.zeros(6, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(posterior.covariance, identity, atol=1e-12, rtol=0)
    assert moment_kl(posterior.mean, posterior.covariance) == pytest.approx(0, abs=1e-11)
    assert moment_kl(posterior.mean, posterior.var) == pytest.approx(0, abs=1e-11)
    assert posterior.scaling_factor == pytest.approx(1, rel=1e-12)
    # on the total covariance a collapsed unit counts as a whole one; on the signal it counts as nothing
    assert effective_rank(posterior.covariance) == pytest.approx(6, rel=1e-10)
    share = np.array([a for a in signal if a > 0]) / max(sum(signal), 1e-300)
    expected = math.exp(-(share * np.log(share)).sum()) if sum(signal) else 0.0
    assert effective_rank(posterior.var_of_mean) == pytest.approx(expected, rel=1e-9)
