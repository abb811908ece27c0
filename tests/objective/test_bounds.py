"""Bounds on the log-likelihood, and their gradients, on a linear Gaussian model whose log p(x) is known."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lehr import randomness
from lehr.objective.bounds import ELBO, IWAE
from lehr.objective.elbo import elbo_terms
from lehr.objective.likelihood import Gaussian
from lehr.posterior.density import Normal, StandardNormal
from lehr.posterior.gaussian import DiagonalGaussian

D, PIXELS, SCALE = 2, 3, 0.7
PRIOR = StandardNormal((D,))
UNIT = DiagonalGaussian(torch.zeros(1, D), torch.zeros(1, D))
LIKELIHOOD = Gaussian(SCALE).double()


class LinearGaussian(nn.Module):
    """x = W z + noise; q(z|x) = N(V x + a, v)."""

    def __init__(self, exact: bool) -> None:
        super().__init__()
        # orthogonal columns make the true posterior diagonal
        self.w = nn.Parameter(torch.tensor([[1.0, 0.5], [2.0, -0.25], [0.0, 1.0]], dtype=torch.float64))
        precision = torch.eye(D, dtype=torch.float64) + self.w.T @ self.w / SCALE**2
        covariance = torch.linalg.inv(precision).detach()
        v, logvar = covariance @ self.w.T.detach() / SCALE**2, covariance.diagonal().log()
        self.v = nn.Parameter(v if exact else v + 0.2)
        self.logvar = nn.Parameter(logvar if exact else logvar + 0.5)

    def encode(self, x):
        mean = x.flatten(1) @ self.v.T
        return DiagonalGaussian(mean, self.logvar.expand_as(mean))

    def decode(self, z):
        return (z @ self.w.T).view(-1, 1, 1, PIXELS)

    def log_marginal(self, x):
        covariance = self.w @ self.w.T + SCALE**2 * torch.eye(PIXELS, dtype=torch.float64)
        return torch.distributions.MultivariateNormal(torch.zeros(PIXELS).double(), covariance).log_prob(x.flatten(1))


def parts_of(model):
    """The parts that a draw is made with."""
    return SimpleNamespace(model=model, likelihood=LIKELIHOOD)


def images(n):
    return randomness.normal(0, "x", 0, (n, 1, 1, PIXELS)).double()


def noise(objective, n, counter=0):
    return randomness.normal(1, "noise", counter, (n, *objective.noise_shape(UNIT))).double()


def gradients(model, loss):
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


def iwae_loss(model, objective, x, eps, weight=1.0, prior=PRIOR):
    draw = objective.draw(x, model.encode(x), eps, parts_of(model), prior)
    return objective.bound_loss(draw.weights, weight)


@pytest.mark.parametrize("k", [1, 2, 7])
@pytest.mark.parametrize("gradient", ["dreg", "standard"])
def test_with_the_exact_posterior_the_importance_weighted_bound_is_the_log_likelihood(k, gradient):
    model, objective, x = LinearGaussian(exact=True), IWAE(k, gradient), images(5)
    loss = iwae_loss(model, objective, x, noise(objective, 5))
    assert -loss.item() == pytest.approx(model.log_marginal(x).sum().item(), rel=1e-8)


@pytest.mark.parametrize("gradient", ["dreg", "standard"])
@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_the_bound_is_the_log_of_the_mean_weight(gradient, weight):
    model, objective, x = LinearGaussian(exact=False), IWAE(4, gradient), images(3)
    eps = noise(objective, 3)
    expected = 0.0
    for i in range(3):
        log_w = []
        for j in range(4):
            q = model.encode(x[i : i + 1])
            z = q.sample(eps[i : i + 1, j])
            ratio = PRIOR.log_prob(z) - q.log_prob(z)
            log_w.append(LIKELIHOOD.log_prob(x[i : i + 1], model.decode(z)) + weight * ratio)
        expected += torch.cat(log_w).exp().mean().log().item()
    assert -iwae_loss(model, objective, x, eps, weight).item() == pytest.approx(expected, rel=1e-8)


def test_the_decoder_gets_the_same_gradient_either_way():
    model, x = LinearGaussian(exact=False), images(6)
    eps = noise(IWAE(5), 6)
    dreg, standard = (gradients(model, iwae_loss(model, IWAE(5, kind), x, eps)) for kind in ("dreg", "standard"))
    torch.testing.assert_close(dreg["w"], standard["w"], rtol=1e-12, atol=0)
    assert not torch.allclose(dreg["v"], standard["v"])


@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_both_gradients_of_the_encoder_have_the_same_expectation(weight):
    model, n = LinearGaussian(exact=False), 100_000
    x = images(1).expand(n, 1, 1, PIXELS)  # so that the sum over examples is one over draws
    for name in ("v", "logvar"):
        means = {}
        for kind in ("dreg", "standard"):
            objective = IWAE(3, kind)
            parts = [
                gradients(model, iwae_loss(model, objective, x[:5000], noise(objective, 5000, i), weight))[name] / 5000
                for i in range(20)
            ]
            stacked = torch.stack(parts).flatten(1)
            means[kind] = stacked.mean(0), stacked.var(0) / len(parts)
        difference = (means["dreg"][0] - means["standard"][0]).abs()
        error = (means["dreg"][1] + means["standard"][1]).sqrt()
        assert (difference < 4.5 * error).all(), name
        assert (means["dreg"][0].abs() > 4 * error).any()  # there is something to be seen


def test_at_the_exact_posterior_the_doubly_reparameterised_gradient_of_the_encoder_has_no_noise():
    model, x = LinearGaussian(exact=True), images(4)
    eps = noise(IWAE(6), 4)
    dreg, standard = (gradients(model, iwae_loss(model, IWAE(6, kind), x, eps)) for kind in ("dreg", "standard"))
    for name in ("v", "logvar"):
        assert dreg[name].abs().max() < 1e-7
        assert standard[name].abs().max() > 1e-2


def test_one_sample_of_the_standard_bound_is_the_elbo_with_a_sampled_rate():
    model, objective, x = LinearGaussian(exact=False), IWAE(1, "standard"), images(4)
    eps = noise(objective, 4)
    q = model.encode(x)
    z = q.sample(eps[:, 0])
    elbo = LIKELIHOOD.log_prob(x, model.decode(z)) + PRIOR.log_prob(z) - q.log_prob(z)
    assert -iwae_loss(model, objective, x, eps).item() == pytest.approx(elbo.sum().item(), rel=1e-8)


def test_the_terms_beside_the_bound_are_those_of_the_elbo():
    model, x = LinearGaussian(exact=False), images(4)
    eps = noise(IWAE(5), 4)
    elbo, iwae = (objective.draw(x, model.encode(x), eps, parts_of(model), PRIOR) for objective in (ELBO(5), IWAE(5)))
    torch.testing.assert_close(elbo.terms.rate, model.encode(x).kl())
    torch.testing.assert_close(iwae.terms.rate, elbo.terms.rate)
    torch.testing.assert_close(iwae.terms.distortion, elbo.terms.distortion)
    single = [ELBO().draw(x, model.encode(x), eps[:, j], parts_of(model), PRIOR).terms.distortion for j in range(5)]
    torch.testing.assert_close(elbo.terms.distortion, torch.stack(single).mean(0))
    assert torch.equal(elbo.z, model.encode(x).sample(eps[:, 0]))


def test_another_prior_has_a_sampled_rate():
    model, x = LinearGaussian(exact=False), images(2)
    prior = Normal(torch.tensor([1.0, -1.0]).double(), torch.tensor([0.5, 2.0]).double(), (D,))
    eps = noise(ELBO(1), 2)
    draw = ELBO(1).draw(x, model.encode(x), eps, parts_of(model), prior)
    q = model.encode(x)
    expected = q.log_prob(draw.z) - prior.log_prob(draw.z)
    torch.testing.assert_close(draw.terms.rate, expected)
    same = elbo_terms(x, q, model.decode(draw.z), LIKELIHOOD, draw.z, prior)
    torch.testing.assert_close(same.rate, expected)
    several = noise(ELBO(500), 2)
    mean = ELBO(500).draw(x, model.encode(x), several, parts_of(model), prior).terms.rate
    exact = torch.distributions.kl_divergence(
        torch.distributions.Normal(q.mean, (0.5 * q.logvar).exp()),
        torch.distributions.Normal(torch.tensor([1.0, -1.0]).double(), torch.tensor([0.5, 2.0]).double().sqrt()),
    ).sum(1)
    torch.testing.assert_close(mean, exact, rtol=0.1, atol=0.1)


def test_latent_maps_are_weighted_like_flat_latents():
    class Map(LinearGaussian):
        def encode(self, x):
            q = super().encode(x)
            return DiagonalGaussian(q.mean.view(-1, 2, 1, 1), q.logvar.view(-1, 2, 1, 1))

        def decode(self, z):
            return super().decode(z.flatten(1))

    x, eps = images(3), noise(IWAE(4), 3)
    flat = LinearGaussian(exact=False)
    maps = Map(exact=False)
    one = iwae_loss(flat, IWAE(4), x, eps)
    two = iwae_loss(maps, IWAE(4), x, eps.view(3, 4, 2, 1, 1), prior=StandardNormal((2, 1, 1)))
    assert one.item() == pytest.approx(two.item(), rel=1e-8)
    for name, gradient in gradients(flat, one).items():
        torch.testing.assert_close(gradients(maps, iwae_loss(
            maps, IWAE(4), x, eps.view(3, 4, 2, 1, 1), prior=StandardNormal((2, 1, 1))
        ))[name], gradient)  # fmt: skip


def test_wrong_values_are_refused():
    with pytest.raises(ValueError, match="samples"):
        ELBO(0)
    with pytest.raises(ValueError, match="gradient"):
        IWAE(2, "double")
    unit = DiagonalGaussian(torch.zeros(2, 4), torch.zeros(2, 4))
    assert IWAE(3).noise_shape(unit) == (3, 4)
    assert ELBO(1).noise_shape(unit) == (4,)
