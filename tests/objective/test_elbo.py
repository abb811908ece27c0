"""The terms of the ELBO: sums over pixels and latents, one number an example."""

from __future__ import annotations

import torch
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Normal, kl_divergence

from lehr.objective.elbo import Terms, elbo_terms
from lehr.objective.likelihood import Bernoulli
from lehr.posterior.gaussian import DiagonalGaussian


def test_terms_are_distortion_and_rate_in_nats_per_example():
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(3, 2, 4, 5, generator=generator) > 0.5).double()
    logits = torch.randn(3, 2, 4, 5, generator=generator, dtype=torch.float64)
    mean, logvar = torch.randn(2, 3, 6, generator=generator, dtype=torch.float64)
    terms = elbo_terms(x, DiagonalGaussian(mean, logvar), logits, Bernoulli())
    log_likelihood = TorchBernoulli(logits=logits).log_prob(x).sum((1, 2, 3))
    prior = Normal(torch.zeros(3, 6).double(), 1.0)
    rate = kl_divergence(Normal(mean, (0.5 * logvar).exp()), prior).sum(1)
    torch.testing.assert_close(terms.distortion, -log_likelihood)
    torch.testing.assert_close(terms.rate, rate)
    torch.testing.assert_close(terms.elbo, log_likelihood - rate)


def test_the_weight_scales_the_rate_in_the_loss_and_never_in_the_elbo():
    terms = Terms(distortion=torch.tensor([10.0, 20.0]), rate=torch.tensor([2.0, 4.0]))
    assert terms.loss(0.0).tolist() == [10.0, 20.0]
    assert terms.loss(0.5).tolist() == [11.0, 22.0]
    assert terms.loss(4.0).tolist() == [18.0, 36.0]
    assert torch.equal(terms.loss(1.0), -terms.elbo)
    assert terms.elbo.tolist() == [-12.0, -24.0]
