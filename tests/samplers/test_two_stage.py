"""The second-stage VAE on latents whose density is known in closed form."""

from __future__ import annotations

import math

import pytest
import torch

from lehr import randomness
from lehr.errors import ConfigError, NonFiniteLoss
from lehr.posterior.density import Normal
from lehr.posterior.gaussian import DiagonalGaussian
from lehr.posterior.point import Point
from lehr.samplers.mixture import fit_mixture
from lehr.samplers.two_stage import TwoStage, fit_two_stage

F64 = torch.float64
RADIUS, NOISE = 2.0, 0.3
SHIFT = torch.tensor([5.0, -3.0])
UNITS = torch.tensor([10.0, 0.1])


def ring(n: int, seed: int = 0) -> DiagonalGaussian:
    """Means on a circle, in uneven units; q(z) is a blurred circle, nothing like a normal."""
    angle = 2 * math.pi * randomness.uniform(seed, "angle", 0, (n,))
    mean = RADIUS * torch.stack([angle.cos(), angle.sin()], 1)
    return DiagonalGaussian(SHIFT + UNITS * mean, (2 * (NOISE * UNITS).log()).expand(n, 2))


def ring_log_prob(z: torch.Tensor) -> torch.Tensor:
    """log of the average of N(z; c, NOISE^2 I) over c on the circle: a Bessel function I_0."""
    r = ((z - SHIFT) / UNITS).double().norm(dim=1)
    bessel = torch.special.i0e(RADIUS * r / NOISE**2).log() + RADIUS * r / NOISE**2
    square = (r.square() + RADIUS**2) / (2 * NOISE**2)
    return bessel - square - math.log(2 * math.pi * NOISE**2) - float(UNITS.log().sum())


def held_out(n: int) -> torch.Tensor:
    posterior = ring(n, seed=1)
    return posterior.sample(randomness.normal(1, "noise", 0, (n, 2))).double()


@pytest.fixture(scope="module")
def fitted():
    return fit_two_stage(ring(3000), hidden=(64, 64, 64), steps=800, epochs=1000, batch_size=128, lr=3e-3)


@torch.no_grad()
def test_on_a_ring_both_learned_densities_beat_the_normal_and_near_the_truth(fitted):
    z = held_out(1000)
    truth = float(ring_log_prob(z).mean())
    train = ring(3000).sample(randomness.normal(0, "noise", 0, (3000, 2))).double()
    normal = float(Normal(train.mean(0), train.T.cov(), (2,)).log_prob(z).mean())
    two_stage = float(fitted.density.log_prob(z).mean())
    mixture = float(fit_mixture(ring(3000)).density.log_prob(z).mean())
    assert normal < truth - 0.7
    assert truth - 0.4 < two_stage < truth
    assert truth - 0.15 < mixture < truth


def test_samples_have_the_moments_of_the_latents_and_lie_on_the_ring(fitted):
    z = (fitted.density.sample(5000, seed=0) - SHIFT) / UNITS
    variance = RADIUS**2 / 2 + NOISE**2
    torch.testing.assert_close(z.mean(0), torch.zeros(2), rtol=0, atol=0.2)
    torch.testing.assert_close(z.T.cov(), variance * torch.eye(2), rtol=0, atol=0.2 * variance)
    assert float((z.norm(dim=1) < RADIUS / 2).double().mean()) < 0.1  # of a normal it is a fifth


@torch.no_grad()
def test_the_bound_grows_with_the_importance_samples_and_its_exponential_integrates_to_one(fitted):
    z = held_out(500)
    tensors = fitted.density.tensors()
    means = []
    for k in (1, 8, 64):
        density = TwoStage.from_tensors({**tensors, "importance_samples": torch.tensor(k)}, (2,))
        means.append(float(density.log_prob(z).mean()))
    assert means[0] < means[1] < means[2] < means[0] + 1
    axis = torch.linspace(-4.5, 4.5, 46, dtype=F64)
    grid = SHIFT + UNITS * torch.cartesian_prod(axis, axis)
    area = float(axis[1] - axis[0]) ** 2 * float(UNITS.prod())
    # exp of the bound is an unbiased estimate of the density
    assert float(fitted.density.log_prob(grid).exp().sum()) * area == pytest.approx(1, abs=0.03)


def correlated(n: int, seed: int = 0) -> tuple[DiagonalGaussian, Normal]:
    """Posteriors whose average is a normal with correlations, and that normal."""
    root = torch.eye(5, dtype=F64) + 0.4 * torch.ones(5, 5, dtype=F64).tril(-1)
    truth = Normal(torch.arange(5.0, dtype=F64), 3 * root @ root.T, (5,))
    mean = Normal(truth.mean, truth.covariance - torch.eye(5, dtype=F64), (5,)).sample(n, seed=seed)
    return DiagonalGaussian(mean, torch.zeros_like(mean)), truth


@torch.no_grad()
def test_on_normal_latents_the_bound_is_below_minus_the_entropy_and_close():
    posterior, truth = correlated(4000)
    fitted = fit_two_stage(posterior, hidden=(32,), steps=400, epochs=1000, batch_size=128, lr=3e-3)
    z = truth.sample(4000, seed=1).double()
    bound = fitted.density.log_prob(z)
    assert bound.dtype == F64
    gap = truth.log_prob(z) - bound
    assert 0 < float(gap.mean()) < 0.2
    diagonal = Normal(truth.mean, truth.covariance.diagonal(), (5,))
    assert float(bound.mean()) > float(diagonal.log_prob(z).mean()) + 0.5  # it has learnt the correlations


@torch.no_grad()
def test_before_training_it_is_the_diagonal_normal_of_the_aggregate():
    mean, std = torch.tensor([3.0, -1.0, 0.5], dtype=F64), torch.tensor([10.0, 0.1, 1.0], dtype=F64)
    density = TwoStage(mean, std, (3, 1, 1), hidden=(8, 8))
    normal = Normal(mean, std.square(), (3, 1, 1))
    z = normal.sample(600, seed=0)
    torch.testing.assert_close(density.log_prob(z.double()), normal.log_prob(z.double()), rtol=1e-5, atol=1e-5)
    draws = density.sample(20_000, seed=0)
    assert draws.shape == (20_000, 3, 1, 1)
    torch.testing.assert_close(draws.flatten(1).double().std(0), std, rtol=0.03, atol=0)


@torch.no_grad()
def test_the_bound_of_a_latent_depends_on_no_later_one(fitted):
    z = held_out(700)
    torch.testing.assert_close(fitted.density.log_prob(z[:300]), fitted.density.log_prob(z)[:300])
    assert fitted.density.log_prob(z[:0]).shape == (0,)


def test_a_fit_is_a_function_of_the_seed_and_can_be_made_in_inference_mode():
    z = ring(200)
    first = fit_two_stage(z, hidden=(8,), steps=20)
    with torch.inference_mode():
        inside = DiagonalGaussian(z.mean.clone(), z.logvar.clone())
        again = fit_two_stage(inside, hidden=(8,), steps=20)
    other = fit_two_stage(z, seed=1, hidden=(8,), steps=20)
    assert first.held_out == again.held_out
    assert torch.equal(first.density.sample(5, seed=0), again.density.sample(5, seed=0))
    assert first.held_out != other.held_out


def test_the_weights_kept_are_those_of_the_best_held_out_bound():
    fitted = fit_two_stage(ring(200), hidden=(8,), steps=20, lr=5.0)  # so fast that it only gets worse
    assert fitted.chosen == 0
    assert min(fitted.held_out.values()) < fitted.held_out[0]
    untrained = TwoStage(fitted.density.mean, fitted.density.std, (2,), (8,))
    assert torch.equal(fitted.density.sample(5, seed=0), untrained.sample(5, seed=0))


def test_what_cannot_be_fitted_is_said_in_one_line():
    few, wide = torch.zeros(9, 2), torch.zeros(20, 17, 16, 16)
    with pytest.raises(ConfigError, match="9 training examples are too few"):
        fit_two_stage(DiagonalGaussian(few, few))
    with pytest.raises(ConfigError, match="4352 latents are too many"):
        fit_two_stage(DiagonalGaussian(wide, wide))
    with pytest.raises(ConfigError, match="1 of 2 latents do not vary"):
        fit_two_stage(Point(torch.arange(20.0)[:, None] * torch.tensor([1.0, 0.0])))
    with pytest.raises(NonFiniteLoss, match="two_stage: the loss turned NaN or infinite within 2 steps"):
        fit_two_stage(ring(100), hidden=(8,), steps=20, lr=1e30)
