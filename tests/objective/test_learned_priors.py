"""Learned priors against mixtures of torch.distributions."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from lehr.models.conv import Conv
from lehr.models.mlp import MLP
from lehr.objective.learned_priors import MixturePrior, VampPrior

IMAGE = (1, 4, 4)


@pytest.fixture
def model() -> MLP:
    torch.manual_seed(0)
    return MLP(IMAGE, latent_dim=3, hidden=(8,))


@pytest.fixture
def prior() -> VampPrior:
    torch.manual_seed(1)
    return VampPrior((3,), IMAGE, components=5)


def images(n: int) -> torch.Tensor:
    return torch.rand(n, *IMAGE, generator=torch.Generator().manual_seed(2))


def mixture(log_weights, means, logvars) -> MixtureSameFamily:
    components = Independent(Normal(means.double(), (0.5 * logvars.double()).exp()), 1)
    return MixtureSameFamily(Categorical(logits=log_weights.double()), components)


def test_the_vampprior_is_the_mixture_of_the_posteriors_of_its_images(model, prior):
    z = torch.randn(7, 3, dtype=torch.float64)
    posterior = model.encode(prior.pseudo_inputs)
    expected = mixture(torch.zeros(5), posterior.mean, posterior.logvar).log_prob(z)
    density = prior.density(model.encode)
    torch.testing.assert_close(density.log_prob(z), expected)
    assert density.exact


def test_the_vampprior_of_a_latent_map_takes_it_as_one_vector():
    torch.manual_seed(0)
    model = Conv((1, 8, 8), latent_dim=2, channels=(4,), hidden=0)
    prior = VampPrior(model.latent_shape, (1, 8, 8), components=3)
    posterior = model.encode(prior.pseudo_inputs)
    z = torch.randn(5, *model.latent_shape, dtype=torch.float64)
    expected = mixture(torch.zeros(3), posterior.mean.flatten(1), posterior.logvar.flatten(1)).log_prob(z.flatten(1))
    density = prior.density(model.encode)
    torch.testing.assert_close(density.log_prob(z), expected)
    assert density.sample(4, seed=0).shape == (4, *model.latent_shape)


def test_its_rate_trains_the_pseudo_inputs_and_the_encoder(model, prior):
    posterior = model.encode(images(6))
    z = posterior.sample(torch.randn(6, 3)).detach()
    (-prior.density(model.encode).log_prob(z).sum()).backward()
    assert prior.raw.grad.abs().sum() > 0
    assert all(p.grad.abs().sum() > 0 for p in model.encoder.parameters())
    # and the density rises along the gradient
    before = prior.density(model.encode).log_prob(z).sum()
    with torch.no_grad():
        prior.raw -= 0.01 * prior.raw.grad
    assert prior.density(model.encode).log_prob(z).sum() > before


def test_pseudo_inputs_start_at_training_images_and_stay_images(prior):
    given = images(12)
    prior.start_at(given)
    found = prior.pseudo_inputs
    assert found.min() >= 0
    assert found.max() <= 1
    for k, image in enumerate(found):  # of 12 images every 2.4th
        assert (image - given[k * 12 // 5]).abs().max() < 0.05
    with torch.no_grad():
        prior.raw.add_(5.0)
    assert prior.pseudo_inputs.max() == 1


def test_a_pixel_beyond_a_bound_can_come_back(prior):
    with torch.no_grad():
        prior.raw.fill_(1.2)
    prior.pseudo_inputs.sum().backward()  # descent lowers them
    assert torch.all(prior.raw.grad == 1)
    prior.raw.grad = None
    (-prior.pseudo_inputs.sum()).backward()
    assert torch.all(prior.raw.grad == 0)


def test_fewer_images_than_pseudo_inputs_give_none_that_are_equal(prior):
    prior.start_at(images(2))
    flat = prior.pseudo_inputs.flatten(1)
    distances = torch.cdist(flat, flat) + torch.eye(5)
    assert distances.min() > 0


@pytest.mark.parametrize("weights", ["learned", "equal"])
def test_the_mixture_is_that_of_its_numbers(weights, model):
    prior = MixturePrior((3,), IMAGE, components=4, weights=weights)
    with torch.no_grad():
        prior.logvars.copy_(torch.randn(4, 3))
        if weights == "learned":
            prior.log_weights.copy_(torch.randn(4))
    z = torch.randn(7, 3, dtype=torch.float64)
    expected = mixture(prior.log_weights, prior.means, prior.logvars).log_prob(z)
    torch.testing.assert_close(prior.density(model.encode).log_prob(z), expected)
    (-prior.density(model.encode).log_prob(z).sum()).backward()
    trained = {name for name, p in prior.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert trained == {"means", "logvars"} | ({"log_weights"} if weights == "learned" else set())


@pytest.mark.parametrize("components", [1, 2, 50])
def test_the_mixture_starts_with_the_moments_of_the_standard_normal(components):
    torch.manual_seed(3)
    prior = MixturePrior((2, 2, 1), IMAGE, components=components)
    mean = prior.means.mean(0)
    var = prior.logvars.exp().mean(0) + prior.means.square().mean(0) - mean.square()
    torch.testing.assert_close(mean, torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(var, torch.ones(4), atol=1e-5, rtol=0)


def test_a_mixture_learns_the_distribution_it_is_shown(model):
    """Two clusters: its cross-entropy comes down to their entropy."""
    torch.manual_seed(0)
    prior = MixturePrior((1,), IMAGE, components=2)
    generator = torch.Generator().manual_seed(0)
    z = 0.2 * torch.randn(1000, 1, generator=generator) + torch.where(
        torch.rand(1000, 1, generator=generator) < 0.3, -1.5, 1.0
    )
    optimizer = torch.optim.Adam(prior.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        loss = -prior.density(model.encode).log_prob(z).mean()
        loss.backward()
        optimizer.step()
    entropy = 0.5 * math.log(2 * math.pi * math.e * 0.04) - 0.3 * math.log(0.3) - 0.7 * math.log(0.7)
    assert loss.item() == pytest.approx(entropy, abs=0.06)


def test_the_rate_against_a_mixture_of_one_standard_normal_is_the_closed_one_on_average(model):
    prior = MixturePrior((3,), IMAGE, components=1)
    posterior = model.encode(images(1).expand(20000, *IMAGE))
    z = posterior.sample(torch.randn(20000, 3, generator=torch.Generator().manual_seed(0)))
    estimate = (posterior.log_prob(z) - prior.density(model.encode).log_prob(z)).mean().item()
    assert estimate == pytest.approx(posterior.kl()[0].item(), abs=0.03)


@pytest.mark.parametrize("make", [lambda: VampPrior((3,), IMAGE, 4), lambda: MixturePrior((3,), IMAGE, 4)])
def test_a_prior_stays_in_float32_and_its_density_with_it(make, model):
    prior = make()
    z = torch.randn(5, 3)
    before = prior.density(model.encode).log_prob(z)
    prior.to(torch.bfloat16)
    assert {p.dtype for p in prior.parameters()} == {torch.float32}
    after = prior.density(model.encode).log_prob(z)
    assert torch.equal(before, after)
    with torch.autocast("cpu", torch.bfloat16):
        narrow = prior.density(model.to(torch.bfloat16).encode).log_prob(z)
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow, before, atol=0.2, rtol=0.05)


@pytest.mark.parametrize("make", [lambda: VampPrior((3,), IMAGE, 4), lambda: MixturePrior((3,), IMAGE, 4)])
def test_a_prior_is_read_back_from_its_state(make, model):
    torch.manual_seed(5)
    one, two = make(), make()
    z = torch.randn(5, 3)
    assert not torch.equal(one.density(model.encode).log_prob(z), two.density(model.encode).log_prob(z))
    two.load_state_dict(one.state_dict())
    assert torch.equal(one.density(model.encode).log_prob(z), two.density(model.encode).log_prob(z))


def test_unknown_weights_are_refused():
    with pytest.raises(ValueError, match=r"prior.weights='free': expected one of learned, equal"):
        MixturePrior((3,), IMAGE, weights="free")
