"""Densities over latents against torch.distributions, and against the samples they give."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal
from torch.distributions import Normal as TorchNormal

from lehr import randomness
from lehr.posterior.aggregate import AggregatePosterior, Moments
from lehr.posterior.density import GaussianMixture, LatentDensity, Normal, StandardNormal

F64 = torch.float64
MEAN = torch.tensor([1.0, -2.0, 0.5], dtype=F64)
ROOT = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.5, 0.0], [-0.3, 0.2, 2.0]], dtype=F64)
COVARIANCE = ROOT @ ROOT.T
WEIGHTS = torch.tensor([0.2, 0.5, 0.3], dtype=F64)
MEANS = torch.tensor([[0.0, 0.0, 0.0], [3.0, -1.0, 0.5], [-2.0, 2.0, 1.0]], dtype=F64)
VARIANCES = torch.tensor([[1.0, 0.5, 2.0], [0.1, 0.2, 0.3], [0.7, 1.5, 0.05]], dtype=F64)
COVARIANCES = torch.stack([COVARIANCE, 0.3 * torch.eye(3, dtype=F64), COVARIANCE.flip(0, 1)])


def points(n: int, *shape: int, seed: int = 0) -> torch.Tensor:
    return 2 * torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def mixture(full: bool) -> tuple[GaussianMixture, MixtureSameFamily]:
    """The same mixture here and in torch."""
    parts = MultivariateNormal(MEANS, COVARIANCES) if full else Independent(TorchNormal(MEANS, VARIANCES.sqrt()), 1)
    here = GaussianMixture(WEIGHTS, MEANS, COVARIANCES if full else VARIANCES, (3,))
    return here, MixtureSameFamily(Categorical(WEIGHTS), parts)


def test_the_standard_normal_is_torchs():
    z = points(50, 2, 3, 4)
    expected = TorchNormal(0.0, 1.0).log_prob(z).sum((1, 2, 3))
    torch.testing.assert_close(StandardNormal((2, 3, 4)).log_prob(z), expected)


@pytest.mark.parametrize("covariance", [COVARIANCE.diagonal(), COVARIANCE], ids=["diagonal", "full"])
def test_a_normal_is_torchs(covariance):
    z = points(50, 3)
    matrix = covariance if covariance.ndim == 2 else covariance.diag()
    torch.testing.assert_close(Normal(MEAN, covariance, (3,)).log_prob(z), MultivariateNormal(MEAN, matrix).log_prob(z))


@pytest.mark.parametrize("full", [False, True])
def test_a_mixture_is_torchs(full):
    here, there = mixture(full)
    z = points(50, 3)
    torch.testing.assert_close(here.log_prob(z), there.log_prob(z))


def test_weights_need_not_sum_to_one():
    z = points(10, 3)
    doubled = GaussianMixture(2 * WEIGHTS, MEANS, VARIANCES, (3,))
    torch.testing.assert_close(doubled.log_prob(z), mixture(False)[0].log_prob(z))
    assert torch.equal(doubled.sample(20, seed=1), mixture(False)[0].sample(20, seed=1))


def test_a_mixture_of_very_many_latents_is_computed_in_blocks_that_agree():
    here, there = mixture(True)
    z = points(20_000, 3)
    torch.testing.assert_close(here.log_prob(z), there.log_prob(z))


@pytest.mark.parametrize("full", [False, True])
def test_a_mixture_over_two_latents_integrates_to_one(full):
    covariances = COVARIANCES[:, :2, :2] if full else VARIANCES[:, :2]
    axis = torch.linspace(-12, 12, 601, dtype=F64)
    grid = torch.cartesian_prod(axis, axis)
    step = float(axis[1] - axis[0])
    density = GaussianMixture(WEIGHTS, MEANS[:, :2], covariances, (2,))
    assert density.log_prob(grid).exp().sum() * step**2 == pytest.approx(1, abs=1e-6)


def test_a_mixture_of_a_latent_map_is_that_of_its_elements():
    z = points(7, 3)
    as_map = GaussianMixture(WEIGHTS, MEANS, COVARIANCES, (3, 1, 1))
    torch.testing.assert_close(as_map.log_prob(z.view(7, 3, 1, 1)), mixture(True)[0].log_prob(z))
    assert as_map.sample(5, seed=3).shape == (5, 3, 1, 1)


@pytest.mark.parametrize(
    "density",
    [StandardNormal((3,)), Normal(MEAN, COVARIANCE, (3,)), mixture(False)[0], mixture(True)[0]],
    ids=["standard", "normal", "diagonal mixture", "full mixture"],
)
def test_the_moments_of_samples_are_those_of_the_density(density: LatentDensity):
    z = density.sample(40_000, seed=0)
    assert z.dtype == torch.float32
    again = density.sample(40_000, seed=0)
    assert torch.equal(z, again)
    z = z.double()
    if isinstance(density, GaussianMixture):
        parts = density.covariances if density.covariances.ndim == 3 else torch.diag_embed(density.covariances)
        mean = WEIGHTS @ MEANS
        second = parts + MEANS[:, :, None] * MEANS[:, None, :]
        covariance = (WEIGHTS[:, None, None] * second).sum(0) - mean.outer(mean)
    elif isinstance(density, Normal):
        mean, covariance = MEAN, COVARIANCE
    else:
        mean, covariance = torch.zeros(3, dtype=F64), torch.eye(3, dtype=F64)
    error = 5 * (covariance.diagonal() / len(z)).sqrt()  # five standard errors
    assert ((z.mean(0) - mean).abs() < error).all()
    torch.testing.assert_close(z.T.cov(), covariance, rtol=0.05, atol=0.08)


@pytest.mark.parametrize("full", [False, True])
def test_samples_of_a_mixture_are_as_likely_as_torchs_samples_of_it(full):
    here, there = mixture(full)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = there.log_prob(there.sample((40_000,)))
    mine = there.log_prob(here.sample(40_000, seed=0).double())
    standard_error = (2 * theirs.var() / len(theirs)).sqrt()
    assert abs(mine.mean() - theirs.mean()) < 4 * standard_error


def test_each_component_is_drawn_as_often_as_its_weight_says():
    far = torch.tensor([[0.0], [100.0], [200.0], [300.0]], dtype=F64)
    weights = torch.tensor([0.0, 0.1, 0.6, 0.3], dtype=F64)
    n = 20_000
    drawn = (GaussianMixture(weights, far, torch.ones(4, 1, dtype=F64), (1,)).sample(n, seed=0) / 100).round().long()
    counts = drawn.flatten().bincount(minlength=4).double()
    assert counts[0] == 0
    assert ((counts / n - weights).abs() <= 5 * (weights * (1 - weights) / n).sqrt()).all()


def test_draws_differ_by_seed_stream_and_counter():
    density = mixture(True)[0]
    draws = [
        density.sample(4, seed=0),
        density.sample(4, seed=1),
        density.sample(4, seed=0, stream="other"),
        density.sample(4, seed=0, counter=1),
    ]
    assert len({tuple(z.flatten().tolist()) for z in draws}) == 4


@pytest.mark.parametrize("full", [False, True])
def test_the_aggregate_posterior_is_drawn_from_the_noise_of_the_seed(full):
    aggregate = statistics()
    noise = randomness.normal(7, "sample", 0, (5, 3))
    matrix = aggregate.covariance if full else aggregate.var.diag()
    root = torch.linalg.cholesky(matrix).float()
    expected = aggregate.mean.float() + noise @ root.T
    torch.testing.assert_close(Normal.of(aggregate, full).sample(5, seed=7), expected)
    assert torch.equal(StandardNormal((3,)).sample(5, seed=7), noise)


def test_a_full_covariance_that_does_not_exist_is_refused_with_the_way_out():
    ones, zeros = torch.ones(2, 2, dtype=F64), torch.zeros(2, dtype=F64)
    singular = AggregatePosterior.from_moments(Moments(torch.tensor(5), zeros, ones, zeros, zeros), (2,))
    with pytest.raises(ValueError, match=r"2 latents has rank 1: .* do not vary; use covariance=diag"):
        Normal.of(singular, full=True)
    of_map = AggregatePosterior(
        n=5, latent_shape=(2, 1, 1), mean=zeros, mean_of_var=zeros + 1, var_of_mean=zeros + 1, kl=zeros
    )
    with pytest.raises(ValueError, match="latent map is known only as its diagonal; use covariance=diag"):
        Normal.of(of_map, full=True)
    with pytest.raises(ValueError, match="not positive definite"):
        GaussianMixture(torch.ones(1), zeros[None], ones[None], (2,))


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_a_narrow_component_far_from_zero_loses_no_digits(dtype):
    logvars = torch.full((1, 4), -14.0, dtype=dtype)
    means = torch.full((1, 4), 3.0, dtype=dtype)
    z = (means + 1e-3).repeat(3, 1)
    density = GaussianMixture.diagonal(torch.zeros(1, dtype=dtype), means, logvars, (4,))
    expected = TorchNormal(means.double(), logvars.double().mul(0.5).exp()).log_prob(z.double()).sum(1)
    torch.testing.assert_close(density.log_prob(z).double(), expected, rtol=1e-6, atol=1e-5)
    assert density.log_prob(z).dtype == dtype


def test_the_gradient_of_a_learned_mixture_is_that_of_torchs_even_under_autocast():
    log_weights, means, logvars = points(4, seed=1), points(4, 3, seed=2), 0.3 * points(4, 3, seed=3)
    z = points(6, 3)
    given = [t.clone().requires_grad_() for t in (log_weights, means, logvars, z)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        GaussianMixture.diagonal(*given[:3], (3,)).log_prob(given[3]).sum().backward()
    there = [t.clone().requires_grad_() for t in (log_weights, means, logvars, z)]
    parts = Independent(TorchNormal(there[1], (0.5 * there[2]).exp()), 1)
    MixtureSameFamily(Categorical(logits=there[0]), parts).log_prob(there[3]).sum().backward()
    for mine, theirs in zip(given, there, strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


def statistics() -> AggregatePosterior:
    z = points(40, 3, seed=5) @ ROOT.T + MEAN
    return AggregatePosterior.from_moments(Moments.of(z, torch.full_like(z, 0.1), torch.zeros_like(z), full=True), (3,))
