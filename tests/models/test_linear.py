"""The linear VAE: affine, and at the optimum of probabilistic PCA exactly what theory says.

The objective is quadratic in z, so that its expectation over q(z|x) is exact on a cubature of 2 k points.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from lehr.models.linear import Linear
from lehr.objective.elbo import Terms, elbo_terms
from lehr.objective.likelihood import Gaussian

SPECTRUM = torch.tensor([8, 4, 2, 1, 0.5, 0.25, 0.1, 0.05], dtype=torch.float64)
K = 6
# variance of p(x|z), KL weight, distortion, rate: Tipping & Bishop 1999 with a KL weight, after Lucas et al. 2019
PPCA = [
    (0.3, 1.0, 5.702284, 4.742800),
    (0.3, 2.0, 8.035617, 3.101093),
    (0.3, 0.25, 3.535617, 8.810522),
    (1.5, 1.0, 11.106702, 1.471244),
    (0.05, 4.0, 8.868579, 5.868035),
    (3.0, 3.0, 14.395957, 0.0),
]


def data(n: int = 200) -> torch.Tensor:
    """(n, 1, 2, 4) with mean 0 and covariance (1/n) diag(SPECTRUM), exactly."""
    x = torch.randn(n, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    orthonormal, _ = torch.linalg.qr(x - x.mean(0))
    return (orthonormal * n**0.5 * SPECTRUM.sqrt()).view(n, 1, 2, 4)


def optimum(noise_var: float, weight: float) -> Linear:
    """W = U (L - tau)^(1/2), V = L^-1 W, v = min(1, tau / L), with tau = weight * noise_var."""
    model = Linear((1, 2, 4), K).double()
    spectrum, tau = SPECTRUM[:K], noise_var * weight
    w = torch.zeros(8, K, dtype=torch.float64)
    w[:K] = (spectrum - tau).clamp(min=0).sqrt().diag()
    with torch.no_grad():
        model.decoder[0].weight.copy_(w)
        model.decoder[0].bias.zero_()
        model.encoder[1].weight.copy_((w / SPECTRUM[:, None]).T)
        model.encoder[1].bias.zero_()
        model.raw_logvar.copy_((tau / spectrum).clamp(max=1).log())
    return model


def expected_terms(model: Linear, x: torch.Tensor, likelihood: Gaussian) -> Terms:
    """Distortion and rate, the distortion averaged over q(z|x): exact for a quadratic."""
    points = math.sqrt(K) * torch.cat([torch.eye(K), -torch.eye(K)]).double()
    terms = []
    for point in points:
        posterior, parameters = model(x, point.expand(len(x), K))
        terms.append(elbo_terms(x, posterior, parameters, likelihood))
    return Terms(torch.stack([t.distortion for t in terms]).mean(0), terms[0].rate)


@pytest.mark.parametrize(("noise_var", "weight", "distortion", "rate"), PPCA)
def test_the_optimum_has_its_exact_distortion_and_rate(noise_var, weight, distortion, rate):
    likelihood = Gaussian(math.sqrt(noise_var)).double()
    terms = expected_terms(optimum(noise_var, weight), data(), likelihood)
    assert terms.distortion.mean().item() == pytest.approx(distortion, abs=2e-6)
    assert terms.rate.mean().item() == pytest.approx(rate, abs=2e-6)


@pytest.mark.parametrize(("noise_var", "weight", "distortion", "rate"), PPCA)
def test_the_loss_is_stationary_at_the_optimum(noise_var, weight, distortion, rate):
    model = optimum(noise_var, weight)
    likelihood = Gaussian(math.sqrt(noise_var)).double()
    expected_terms(model, data(), likelihood).loss(weight).mean().backward()
    for name, parameter in model.named_parameters():
        # the fixed scale is kept in float32
        torch.testing.assert_close(parameter.grad, torch.zeros_like(parameter), atol=1e-5, rtol=0, msg=name)


def test_at_the_optimum_of_weight_1_the_elbo_is_the_log_likelihood_of_every_image():
    noise_var, x = 0.3, data()
    model = optimum(noise_var, 1.0)
    elbo = expected_terms(model, x, Gaussian(math.sqrt(noise_var)).double()).elbo
    w = model.decoder[0].weight.detach()
    marginal = MultivariateNormal(torch.zeros(8).double(), w @ w.T + noise_var * torch.eye(8).double())
    torch.testing.assert_close(elbo, marginal.log_prob(x.flatten(1)), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(("start", "loss"), [(0.075, 9.800962)])
def test_a_learned_scale_rests_at_the_mean_of_the_discarded_eigenvalues(start, loss):
    # sigma^2 = (0.1 + 0.05) / 2
    likelihood = Gaussian("learned").double()
    with torch.no_grad():
        likelihood.log_scale.fill_(0.5 * math.log(start))
    value = expected_terms(optimum(start, 1.0), data(), likelihood).loss(1.0).mean()
    assert value.item() == pytest.approx(loss, abs=1e-6)
    value.backward()
    assert likelihood.log_scale.grad.item() == pytest.approx(0, abs=1e-10)


def test_the_posterior_mean_and_the_decoder_are_affine_and_the_variance_constant():
    torch.manual_seed(0)
    model = Linear((3, 4, 5), latent_dim=7).double()
    with torch.no_grad():
        model.raw_logvar.normal_()
    x, y = torch.randn(2, 6, 3, 4, 5).double()
    mixed = model.encode(2.5 * x - 1.5 * y)
    torch.testing.assert_close(mixed.mean, 2.5 * model.encode(x).mean - 1.5 * model.encode(y).mean)
    torch.testing.assert_close(mixed.logvar, model.raw_logvar.expand(6, 7))
    a, b = torch.randn(2, 6, 7).double()
    torch.testing.assert_close(model.decode(2.5 * a - 1.5 * b), 2.5 * model.decode(a) - 1.5 * model.decode(b))


def test_parameters_by_hand():
    model = Linear((3, 4, 5), latent_dim=7)
    assert sum(p.numel() for p in model.parameters()) == (60 * 7 + 7) + 7 + (7 * 60 + 60)
