"""KL weights of other conventions, against the losses they come from and against published numbers."""

from __future__ import annotations

import pytest
import torch

from lehr.objective import MMD, AnnealedKL, Bernoulli, BetaTC, FreeBits, Gaussian, Laplace
from lehr.objective.convention import in_nats
from lehr.objective.elbo import Terms, elbo_terms
from lehr.posterior import DiagonalGaussian

PIXELS, LATENTS = 3 * 256 * 256, 4 * 32 * 32
"""Nx and Nz of Stable Diffusion's first stage at 256 pixels."""


@pytest.mark.parametrize(
    ("published", "convention", "on_means"),
    [
        (1e-6, "ldm", 2.1e-8),  # Rombach et al. 2022: sums of both
        (0.1 * LATENTS / PIXELS, "mean", 2.1e-3),  # mosaicml's diffusion: means of both
        (1e-6 * PIXELS, "ldm", 4.1e-3),  # REPA-E: 1e-6 of the sum beside the mean over pixels
        (1.0, "ldm", 2.1e-2),  # sgm's example, kl 1.0
    ],
)
def test_published_weights_are_what_they_are_on_means(published, convention, on_means):
    nats = published * in_nats(convention, PIXELS, LATENTS, 1.0)
    assert nats * LATENTS / PIXELS == pytest.approx(on_means, rel=0.02)


def test_repa_e_is_a_fifth_of_a_unit_of_latent_diffusion():
    assert pytest.approx(0.197, abs=5e-4) == 1e-6 * PIXELS


def published_loss(x, mean, kl, weight, convention, power):
    """Of a batch as others write it: r and KL, summed over an example or averaged over it, pixels in [-1, 1]."""
    error = ((2 * x - 1) - (2 * mean - 1)).abs().pow(power)
    if convention == "mean":
        return error.mean() + weight * kl.mean()
    return (error.sum() + weight * kl.sum()) / len(x)


@pytest.mark.parametrize("convention", ["ldm", "mean"])
@pytest.mark.parametrize(("cls", "power", "scale"), [(Laplace, 1, 0.5), (Laplace, 1, 0.02), (Gaussian, 2, 0.1)])
def test_the_gradient_has_the_direction_of_the_published_loss(convention, cls, power, scale):
    """nats = constant + published loss * a factor that is the same for error and KL, whatever the scale."""
    generator = torch.Generator().manual_seed(0)
    x, mean = torch.rand(5, 3, 4, 4, generator=generator).double(), torch.rand(5, 3, 4, 4, generator=generator).double()
    q = DiagonalGaussian(*torch.randn(2, 5, 2, 2, 2, generator=generator).double())
    likelihood, term = cls(scale), AnnealedKL(0.03, hold=0, warmup=0, convention=convention)
    term.convert(48, 8, likelihood.fixed_error_weight())

    def ours(shift: float, tighter: float) -> torch.Tensor:
        other = DiagonalGaussian(q.mean + shift, q.logvar)
        terms = elbo_terms(x, other, mean + tighter * (x - mean), likelihood)
        return Terms(terms.distortion, terms.rate).loss(term.kl_weight(0)).mean()

    def theirs(shift: float, tighter: float) -> torch.Tensor:
        kl = DiagonalGaussian(q.mean + shift, q.logvar).kl_per_dimension()
        return published_loss(x, mean + tighter * (x - mean), kl, 0.03, convention, power)

    by_kl = (ours(0.5, 0) - ours(0, 0)) / (theirs(0.5, 0) - theirs(0, 0))
    by_error = (ours(0, 0.3) - ours(0, 0)) / (theirs(0, 0.3) - theirs(0, 0))
    assert float(by_kl) == pytest.approx(float(by_error), rel=1e-5)  # the scale is kept in float32


@pytest.mark.parametrize(
    ("likelihood", "weight"),
    [(Laplace(0.5), 1.0), (Laplace(0.1), 5.0), (Laplace("learned"), 1.0), (Gaussian(8**-0.5), 1.0),
     (Gaussian(0.1), 12.5), (Gaussian("optimal"), 1.0), (Bernoulli(), 1.0)],
)  # fmt: skip
def test_the_error_weight_is_that_of_a_fixed_scale_and_1_otherwise(likelihood, weight):
    assert likelihood.fixed_error_weight() == pytest.approx(weight, rel=1e-12)
    if getattr(likelihood, "kind", "") == "fixed":
        assert float(likelihood.error_weight()) == pytest.approx(weight, rel=1e-5)


@pytest.mark.parametrize("make", [AnnealedKL, lambda **k: BetaTC(2.0, **k), lambda **k: FreeBits(0.1, **k), MMD])
def test_every_weighted_rate_term_takes_a_convention(make):
    term = make(weight=0.01, hold=1, warmup=2, unit="step", convention="mean")
    term.convert(48, 8, 2.0)
    term.convert(48, 8, 2.0)  # a second time it is the same
    term.start(total_steps=10, steps_per_epoch=5)
    assert term.values(5)["weight"] == pytest.approx(0.01 * 6 * 2)
    assert term.values(2)["weight"] == pytest.approx(0.01 * 6)
    other = make(weight=0.01 * 6 * 2, hold=1, warmup=2, unit="step")
    other.start(total_steps=10, steps_per_epoch=5)
    assert term.kl_weight(5) == pytest.approx(other.kl_weight(5))


def test_an_unknown_convention_is_refused():
    with pytest.raises(ValueError, match=r"kl\.convention"):
        AnnealedKL(convention="sum")
