"""The second-stage VAE on latents whose density is known in closed form."""

from __future__ import annotations

import math

import pytest
import torch

from lehr import randomness
from lehr.errors import ConfigError, NonFiniteLoss
from lehr.evaluation.mixture import fit_mixture
from lehr.evaluation.two_stage import TwoStage, fit_two_stage
from lehr.posterior.density import Normal
from lehr.posterior.gaussian import DiagonalGaussian

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
    return fit_two_stage(ring(3000), hidden=(64, 64, 64), steps=1500, epochs=1000)


@torch.no_grad()
def test_on_a_ring_both_learned_densities_beat_the_normal_and_near_the_truth(fitted):
    z = held_out(2000)
    truth = float(ring_log_prob(z).mean())
    train = ring(3000).sample(randomness.normal(0, "noise", 0, (3000, 2))).double()
    normal = float(Normal(train.mean(0), train.T.cov(), (2,)).log_prob(z).mean())
    two_stage = float(fitted.density.log_prob(z).mean())
    mixture = float(fit_mixture(ring(3000)).density.log_prob(z).mean())
    print(truth, normal, two_stage, mixture, fitted.held_out, fitted.density.scale)
    assert normal < truth - 0.7
    assert truth - 0.35 < two_stage < truth
    assert truth - 0.15 < mixture < truth


def test_samples_have_the_moments_of_the_latents_and_lie_on_the_ring(fitted):
    z = (fitted.density.sample(5000, seed=0) - SHIFT) / UNITS
    variance = RADIUS**2 / 2 + NOISE**2
    print(z.mean(0), z.T.cov(), z.norm(dim=1).mean(), (z.norm(dim=1) < RADIUS / 2).double().mean())
    torch.testing.assert_close(z.mean(0), torch.zeros(2), rtol=0, atol=0.2)
    torch.testing.assert_close(z.T.cov(), variance * torch.eye(2), rtol=0, atol=0.2 * variance)
    assert float((z.norm(dim=1) < RADIUS / 2).double().mean()) < 0.05  # a normal has a fifth of its samples there
