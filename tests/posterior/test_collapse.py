"""Diagnostics of collapse against numpy, torch.distributions and the exact optimum of the linear VAE."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import MultivariateNormal, kl_divergence

from lehr.posterior.aggregate import AggregatePosterior, element_moments, flat_moments
from lehr.posterior.collapse import (
    active_units,
    active_units_curve,
    collapsed_units,
    count_uninformed,
    covariance_problem,
    effective_rank,
    informative_units,
    moment_kl,
    moment_kls,
    numerical_rank,
    participation_ratio,
    total_correlation,
)
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


def kl_of_shift(kl: float) -> float:
    """The mean at which KL(N(mean, 1) || N(0, 1)) is `kl`."""
    return math.sqrt(2 * kl)


def test_a_latent_is_collapsed_if_almost_all_examples_are_uninformed():
    """Of 100 examples 0, 1, 2 and 100 have a KL of 0.02 nats, the others of 0.005."""
    mean = torch.full((100, 4), kl_of_shift(0.005), dtype=torch.float64)
    for j, informed in enumerate((0, 1, 2, 100)):
        mean[:informed, j] = kl_of_shift(0.02)
    q = DiagonalGaussian(mean, torch.zeros(100, 4).double())
    uninformed = count_uninformed(q)
    assert uninformed.tolist() == [100, 99, 98, 0]
    assert collapsed_units(uninformed, 100) == 2
    assert collapsed_units(uninformed, 100, delta=0.02) == 3
    assert collapsed_units(uninformed, 100, delta=0.0) == 1
    assert collapsed_units(count_uninformed(q, epsilon=0.001), 100) == 0
    assert collapsed_units(count_uninformed(q, epsilon=0.03), 100) == 4
    # the mean KL of the third is 0.0053: no unit but the last is informative on average
    assert informative_units(q.kl_per_dimension().mean(0)) == 1


@pytest.mark.parametrize(("n", "delta", "allowed"), [(100, 0.29, 29), (100, 0.07, 7), (1000, 0.01, 10), (99, 0.01, 0)])
def test_the_share_of_informed_examples_is_not_missed_by_rounding(n, delta, allowed):
    assert collapsed_units(torch.tensor([n - allowed, n - allowed - 1]), n, delta) == 1


@pytest.mark.parametrize("shape", [(6,), (3, 1, 2)])
def test_counts_of_batches_add_up(shape):
    generator = torch.Generator().manual_seed(0)
    q = DiagonalGaussian(0.2 * torch.randn(50, *shape, generator=generator), torch.zeros(50, *shape))
    parts = [DiagonalGaussian(q.mean[i : i + 7], q.logvar[i : i + 7]) for i in range(0, 50, 7)]
    whole = count_uninformed(q)
    assert whole.shape == (6,)
    assert whole.min() > 0
    assert whole.max() < 50
    assert torch.equal(sum(count_uninformed(part) for part in parts), whole)
    assert torch.equal(whole, (q.kl_per_dimension().flatten(1) < 0.01).sum(0))


def test_constant_posteriors_are_collapsed_in_every_unit_by_every_measure():
    q = DiagonalGaussian(torch.zeros(60, 5), torch.zeros(60, 5))
    posterior = AggregatePosterior.from_moments(flat_moments(q), (5,))
    assert collapsed_units(count_uninformed(q), 60) == 5
    assert informative_units(posterior.kl) == 0
    assert active_units(posterior.var_of_mean) == 0
    assert participation_ratio(posterior.signal_covariance) == 0
    moments = moment_kls(posterior)
    assert (moments.diagonal, moments.full, moments.total_correlation, moments.problem) == (0, 0, 0, None)


def test_the_participation_ratio_counts_equal_directions():
    assert participation_ratio(torch.eye(6, dtype=torch.float64)) == pytest.approx(6)
    assert participation_ratio(torch.tensor([3.0, 0.0, 3.0, 0.0])) == pytest.approx(2)
    assert participation_ratio(torch.ones(4, 4)) == pytest.approx(1)
    assert participation_ratio(torch.zeros(4, 4)) == 0
    values = np.linalg.eigvalsh(covariance(7).numpy())
    assert participation_ratio(covariance(7)) == pytest.approx(values.sum() ** 2 / (values**2).sum())
    assert participation_ratio(torch.from_numpy(values)) == pytest.approx(values.sum() ** 2 / (values**2).sum())


def test_the_total_correlation_of_two_latents_is_known():
    for rho in (0.0, 0.5, -0.9):
        cov = torch.tensor([[4.0, 6 * rho], [6 * rho, 9.0]], dtype=torch.float64)
        assert total_correlation(cov) == pytest.approx(-0.5 * math.log(1 - rho**2), abs=1e-14)
    assert total_correlation(torch.ones(2, 2).double()) == math.inf
    assert total_correlation(torch.diag(torch.tensor([1.0, 0.0, 1e-12])).double()) == pytest.approx(0, abs=1e-14)


@pytest.mark.parametrize("d", [1, 4, 9])
def test_the_full_moment_kl_splits_into_diagonal_and_total_correlation(d):
    x = torch.randn(500, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64) @ covariance(d) + 0.3
    posterior = AggregatePosterior.from_moments(flat_moments(DiagonalGaussian(x, torch.full_like(x, -2.0))), (d,))
    moments = moment_kls(posterior)
    assert moments.problem is None
    assert moments.diagonal == pytest.approx(moment_kl(posterior.mean, posterior.var))
    assert moments.full == pytest.approx(moment_kl(posterior.mean, posterior.covariance))
    assert moments.full == pytest.approx(moments.diagonal + total_correlation(posterior.covariance))


@pytest.mark.parametrize(("n", "full"), [(2000, True), (60, True), (60, False)])
def test_the_bias_of_the_moment_kl_is_what_examples_of_the_prior_show(n, full):
    d = 5 if full else 100
    kls = []
    for seed in range(200 if full else 20):
        x = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        q = DiagonalGaussian(x, torch.full_like(x, -60.0))
        moments = moment_kls(AggregatePosterior.from_moments(flat_moments(q), (d,)))
        assert (moments.full is None) != full
        kls.append(moments.full if full else moments.diagonal)
    assert np.mean(kls) == pytest.approx(moments.bias, rel=0.12)


@pytest.mark.parametrize(("n", "problem"), [(4, True), (5, True), (6, False)])
def test_too_few_examples_for_a_covariance_are_said(n, problem):
    q = DiagonalGaussian(torch.randn(n, 5, generator=torch.Generator().manual_seed(0)), torch.zeros(n, 5))
    posterior = AggregatePosterior.from_moments(flat_moments(q), (5,))
    assert numerical_rank(posterior.signal_covariance) == min(n - 1, 5)
    text = covariance_problem(posterior)
    moments = moment_kls(posterior)
    assert moments.problem == text
    if problem:
        assert f"needs more than 5 examples, and there are {n}" in text
        assert moments.full is None
        assert moments.total_correlation is None
        assert math.isfinite(moments.diagonal)
    else:
        assert text is None
        assert math.isfinite(moments.full)


def test_latents_that_follow_from_others_are_said():
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = torch.cat([x, x[:, :1] - x[:, 1:2]], 1)
    posterior = AggregatePosterior.from_moments(flat_moments(DiagonalGaussian(x, torch.full_like(x, -200.0))), (4,))
    assert "rank 3" in moment_kls(posterior).problem
    scaled = DiagonalGaussian(x[:, :3] * torch.tensor([1e-8, 1.0, 1e8]).double(), torch.full((50, 3), -200.0).double())
    assert covariance_problem(AggregatePosterior.from_moments(flat_moments(scaled), (3,))) is None


def test_a_latent_map_has_no_full_covariance_and_says_so():
    q = DiagonalGaussian(torch.randn(9, 2, 3, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(9, 2, 3, 3))
    posterior = AggregatePosterior.from_moments(element_moments(q), (2, 3, 3))
    moments = moment_kls(posterior)
    assert moments.full is None
    assert "latent map" in moments.problem


def test_numerical_rank_is_that_of_numpy():
    factor = torch.randn(8, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for matrix in (factor @ factor.T, covariance(8), torch.zeros(8, 8).double()):
        assert numerical_rank(matrix) == np.linalg.matrix_rank(matrix.numpy(), hermitian=True)
