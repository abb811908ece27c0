"""Samples of the aggregate posterior, and interpolations: moments over many draws, exact ends."""

from __future__ import annotations

import pytest
import torch

from lehr.posterior.aggregate import AggregatePosterior, Moments
from lehr.posterior.density import Normal
from lehr.posterior.interpolation import interpolate, traverse


def sample_aggregate(posterior, noise, full=False):
    return Normal.of(posterior, full).from_noise(noise)


SIGNAL = torch.tensor([[2.0, 1.5, 0.0], [1.5, 3.0, -0.5], [0.0, -0.5, 0.4]], dtype=torch.float64)
NOISE = torch.tensor([0.5, 0.1, 0.6], dtype=torch.float64)
MEAN = torch.tensor([1.0, -2.0, 5.0], dtype=torch.float64)
FLAT = AggregatePosterior(
    n=100,
    latent_shape=(3,),
    mean=MEAN,
    mean_of_var=NOISE,
    var_of_mean=SIGNAL.diagonal(),
    kl=torch.zeros(3, dtype=torch.float64),
    signal_covariance=SIGNAL,
)


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def assert_moments(z: torch.Tensor, covariance: torch.Tensor) -> None:
    var = covariance.diagonal()
    assert ((z.mean(0) - MEAN) / (var / len(z)).sqrt()).abs().max() < 4
    assert ((torch.cov(z.T) - covariance) / var.sqrt().outer(var.sqrt())).abs().max() < 0.02


def test_diagonal_draws_have_the_variances_and_no_correlation():
    z = sample_aggregate(FLAT, noise(100_000, 3))
    assert_moments(z, (SIGNAL.diagonal() + NOISE).diag())


def test_full_draws_have_the_covariance():
    z = sample_aggregate(FLAT, noise(100_000, 3), full=True)
    assert_moments(z, SIGNAL + NOISE.diag())


def test_full_draws_of_the_unit_vectors_give_a_root_of_the_covariance():
    root = sample_aggregate(FLAT, torch.eye(3, dtype=torch.float64), full=True) - MEAN
    torch.testing.assert_close(root.T @ root, SIGNAL + NOISE.diag())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("full", [False, True])
def test_draws_have_the_type_of_the_noise(dtype, full):
    assert sample_aggregate(FLAT, noise(4, 3, dtype=dtype), full).dtype == dtype


def test_a_latent_map_is_drawn_element_by_element():
    shape = (2, 3, 2)
    mean, var = torch.arange(12.0, dtype=torch.float64), torch.linspace(0.1, 2, 12, dtype=torch.float64)
    zeros = torch.zeros(12, dtype=torch.float64)
    posterior = AggregatePosterior(
        n=50, latent_shape=shape, mean=mean, mean_of_var=var / 4, var_of_mean=3 * var / 4, kl=zeros
    )
    e = noise(5, *shape)
    expected = mean.view(shape) + var.sqrt().view(shape) * e
    torch.testing.assert_close(sample_aggregate(posterior, e), expected)
    with pytest.raises(ValueError, match="diag"):
        sample_aggregate(posterior, e, full=True)


def test_a_singular_covariance_is_refused_with_the_way_out():
    scatter = torch.ones(2, 2, dtype=torch.float64)
    zeros = torch.zeros(2, dtype=torch.float64)
    posterior = AggregatePosterior.from_moments(Moments(torch.tensor(5), zeros, scatter, zeros, zeros), (2,))
    with pytest.raises(ValueError, match=r"rank 1: .*; use covariance=diag"):
        sample_aggregate(posterior, noise(4, 2), full=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("steps", [2, 3, 8, 11])
def test_an_interpolation_has_both_ends_exactly_and_even_steps(steps, dtype):
    start, end = 1e3 * noise(5, 2, 3, seed=1, dtype=dtype), noise(5, 2, 3, seed=2, dtype=dtype)
    z = interpolate(start, end, steps)
    assert z.shape == (steps, 5, 2, 3)
    assert torch.equal(z[0], start)
    assert torch.equal(z[-1], end)
    even = ((end - start) / (steps - 1)).expand(steps - 1, -1, -1, -1)
    torch.testing.assert_close(z.diff(dim=0), even, rtol=1e-4, atol=1e-3)


def test_along_one_dimension_all_others_stay_where_they_are():
    mean, std = torch.tensor([1.0, -2.0, 5.0]), torch.tensor([0.5, 2.0, 7.0])
    z = traverse(mean, std, torch.tensor([1, 0]), 5, 2.0)
    along = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0])
    assert z.shape == (2, 5, 3)
    assert torch.equal(z[0], torch.stack([torch.full((5,), 1.0), -2 + 2 * along, torch.full((5,), 5.0)], 1))
    assert torch.equal(z[1], torch.stack([1 + 0.5 * along, torch.full((5,), -2.0), torch.full((5,), 5.0)], 1))
