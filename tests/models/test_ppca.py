"""The linear VAE, trained, is probabilistic PCA: what it reaches and what the diagnostics say of it, in closed form.

Trained on the exact expectation, all data at once, by L-BFGS: gradient descent on samples turns the latents onto the
axes so slowly that a wrong loss would look like an unfinished training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import pytest
import torch
from exact_linear import exact_terms
from torch import Tensor
from torch.distributions import MultivariateNormal

from lehr.evaluation.importance import importance_weighted
from lehr.models import Linear
from lehr.objective import Gaussian
from lehr.objective.elbo import Terms
from lehr.posterior import linear_vae_optimum
from lehr.posterior.aggregate import AggregatePosterior, flat_moments
from lehr.posterior.collapse import active_units, effective_rank, moment_kl
from lehr.posterior.density import StandardNormal

SPECTRUM = torch.tensor([8, 4, 2, 1, 0.5, 0.25, 0.1, 0.05], dtype=torch.float64)
D, K = len(SPECTRUM), 6
MEAN = torch.linspace(-0.3, 0.3, D, dtype=torch.float64)
# found without `linear_vae_optimum`, by minimising the loss:
# variance of p(x|z), KL weight, distortion, rate, Var(E[z_i|x])
FIXED = [
    (0.3, 1.0, 5.702284, 4.742800, [0.9625, 0.925, 0.85, 0.7, 0.4, 0]),
    (0.3, 2.0, 8.035617, 3.101093, [0.925, 0.85, 0.7, 0.4, 0, 0]),
    (0.3, 0.25, 3.535617, 8.810522, [0.990625, 0.98125, 0.9625, 0.925, 0.85, 0.7]),
    (1.5, 1.0, 11.106702, 1.471244, [0.8125, 0.625, 0.25, 0, 0, 0]),
    (0.05, 4.0, 8.868579, 5.868035, [0.975, 0.95, 0.9, 0.8, 0.6, 0.2]),
    (3.0, 3.0, 14.395957, 0.0, [0, 0, 0, 0, 0, 0]),
]
# KL weight, the variance that is learned, loss
LEARNED = [(1.0, 0.075, 9.800962), (0.5, 0.03, 4.144695), (1.2, 0.1875, 11.273225)]
# of every row above: the scale as a likelihood is told it, the KL weight
ROWS = [(math.sqrt(row[0]), row[1]) for row in FIXED] + [("learned", row[0]) for row in LEARNED]


@pytest.mark.parametrize(("variance", "weight", "distortion", "rate", "signal"), FIXED)
def test_the_closed_form_is_the_minimum_of_the_loss(variance, weight, distortion, rate, signal):
    optimum = linear_vae_optimum(SPECTRUM.flip(0), K, math.sqrt(variance), weight)
    assert optimum.distortion == pytest.approx(distortion, abs=1e-6)
    assert optimum.rate == pytest.approx(rate, abs=1e-6)
    assert optimum.var_of_mean.tolist() == pytest.approx(signal, abs=1e-12)
    assert optimum.active == sum(a > 0 for a in signal)
    assert optimum.kl.sum().item() == pytest.approx(rate, abs=1e-6)
    assert optimum.scale == pytest.approx(math.sqrt(variance))


@pytest.mark.parametrize(("weight", "variance", "loss"), LEARNED)
def test_the_closed_form_with_a_learned_scale_is_the_minimum_of_the_loss(weight, variance, loss):
    optimum = linear_vae_optimum(SPECTRUM, K, "learned", weight)
    assert optimum.scale**2 == pytest.approx(variance, rel=1e-12)
    assert optimum.loss == pytest.approx(loss, abs=1e-6)
    assert optimum.active == 6


@pytest.mark.parametrize("weight", [0.3, 1.0, 1.3, 4.0])
@pytest.mark.parametrize("spectrum", [[5, 5, 5, 1, 1, 0.2, 0], [3, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05], [1] * 7])
def test_no_fixed_scale_is_better_than_the_learned_one(spectrum, weight):
    eigenvalues = torch.tensor(spectrum, dtype=torch.float64)
    learned = linear_vae_optimum(eigenvalues, 4, "learned", weight)
    assert linear_vae_optimum(eigenvalues, 4, learned.scale, weight).loss == pytest.approx(learned.loss, abs=1e-9)
    for scale in torch.logspace(-2, 2, 400).tolist():
        assert linear_vae_optimum(eigenvalues, 4, scale, weight).loss >= learned.loss - 1e-9


def test_a_learned_scale_has_no_optimum_where_the_latents_can_hold_everything():
    with pytest.raises(ValueError, match="a learned scale would go to 0"):
        linear_vae_optimum(torch.tensor([3.0, 2.0, 0.0, 0.0]), 2)


def points() -> Tensor:
    """(16, 1, 1, 8): a pair of points on each of 8 axes, whose covariance (1/n) has exactly the eigenvalues SPECTRUM.

    Nothing about them is Gaussian, and the theory does not ask for it.
    """
    axes = (D * SPECTRUM).sqrt().diag() @ directions().T
    return (MEAN + torch.cat([axes, -axes])).view(-1, 1, 1, D)


def directions() -> Tensor:
    """(8, 8), orthonormal columns: the eigenvectors of the covariance of `points`."""
    matrix = torch.randn(D, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.linalg.qr(matrix)[0]


@dataclass(frozen=True)
class Trained:
    model: Linear
    likelihood: Gaussian

    @property
    def weight(self) -> Tensor:
        """(8, 6) of the decoder."""
        return self.model.decoder[0].weight

    def terms(self, x: Tensor) -> Terms:
        return exact_terms(x, self.model, self.likelihood)

    @torch.no_grad()
    def aggregate(self, x: Tensor) -> AggregatePosterior:
        """The statistics of q(z) over `x`, as of a whole population: Var(E[z|x]) with n in place of n - 1."""
        sample = AggregatePosterior.from_moments(flat_moments(self.model.encode(x)), (K,))
        assert sample.signal_covariance is not None
        share = (sample.n - 1) / sample.n
        return AggregatePosterior(
            n=sample.n,
            latent_shape=sample.latent_shape,
            mean=sample.mean,
            mean_of_var=sample.mean_of_var,
            var_of_mean=sample.var_of_mean * share,
            kl=sample.kl,
            signal_covariance=sample.signal_covariance * share,
        )


@cache
def trained(scale: float | str, weight: float) -> Trained:
    """The linear VAE after L-BFGS, and a few steps of Newton's method for the last digits. Not to be changed."""
    torch.manual_seed(0)
    x = points()
    run = Trained(Linear((1, 1, D), K).double(), Gaussian(scale).double())
    parameters = [*run.model.parameters(), *run.likelihood.parameters()]
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=2000, tolerance_change=1e-8, history_size=100, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = run.terms(x).loss(weight).mean()
        value.backward()
        return value

    optimizer.step(loss)
    # a line search ends where the loss differs by its rounding only: half the digits of the parameters are right
    for _ in range(3):
        newton_step(run.terms(x).loss(weight).mean(), parameters)
    return run


def mostly_slow(rows):
    """The first of them, and the others where slow tests are run."""
    return [rows[0], *(pytest.param(*row, marks=pytest.mark.slow) for row in rows[1:])]


def newton_step(loss: Tensor, parameters: list[Tensor]) -> None:
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters, create_graph=True)])
    rows = [torch.autograd.grad(g, parameters, retain_graph=True, materialize_grads=True) for g in gradient]
    hessian = torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])
    step = torch.linalg.solve(hessian, gradient.detach())
    with torch.no_grad():
        for parameter, part in zip(parameters, step.split([p.numel() for p in parameters]), strict=True):
            parameter -= part.view_as(parameter)


@pytest.mark.parametrize(("variance", "weight", "distortion", "rate", "signal"), mostly_slow(FIXED))
def test_training_reaches_the_optimum(variance, weight, distortion, rate, signal):
    terms = trained(math.sqrt(variance), weight).terms(points())
    assert terms.distortion.mean().item() == pytest.approx(distortion, abs=2e-6)
    assert terms.rate.mean().item() == pytest.approx(rate, abs=2e-6)


@pytest.mark.parametrize(("weight", "variance", "loss"), mostly_slow(LEARNED))
def test_training_reaches_the_optimum_with_a_learned_scale(weight, variance, loss):
    run = trained("learned", weight)
    assert run.terms(points()).loss(weight).mean().item() == pytest.approx(loss, abs=2e-6)
    assert (2 * run.likelihood.log_scale).exp().item() == pytest.approx(variance, abs=1e-9)


@pytest.mark.parametrize(("scale", "weight"), ROWS)
def test_the_trained_decoder_has_the_principal_axes_and_the_encoder_inverts_it(scale, weight):
    run, optimum = trained(scale, weight), linear_vae_optimum(SPECTRUM, K, scale, weight)
    n, axes = optimum.active, directions()[:, : optimum.active]
    signal = axes @ (SPECTRUM[:n] - weight * optimum.scale**2).diag() @ axes.T
    torch.testing.assert_close((run.weight @ run.weight.T).detach(), signal, atol=1e-6, rtol=0)
    mean = run.model.decode(run.model.encode(points()).mean).mean(0).flatten()
    torch.testing.assert_close(mean.detach(), MEAN, atol=1e-9, rtol=0)


@pytest.mark.parametrize(("scale", "weight"), ROWS)
def test_the_diagnostics_of_the_trained_model_are_the_closed_forms(scale, weight):
    optimum = linear_vae_optimum(SPECTRUM, K, scale, weight)
    aggregate = trained(scale, weight).aggregate(points())
    order = aggregate.kl.argsort(descending=True)
    for measured, expected in (
        (aggregate.kl, optimum.kl),
        (aggregate.var_of_mean, optimum.var_of_mean),
        (aggregate.mean_of_var, optimum.mean_of_var),
    ):
        torch.testing.assert_close(measured[order], expected, atol=1e-6, rtol=0)
    for threshold in (0.01, 0.05, 0.35, 0.65, 0.87):
        # Var(E[z|x]) = 1 - tau / l > threshold  <=>  l > tau / (1 - threshold)
        count = int((SPECTRUM[:K] > weight * optimum.scale**2 / (1 - threshold)).sum())
        assert active_units(aggregate.var_of_mean, threshold) == count
    # the law of total variance: signal and noise make the prior, exactly
    torch.testing.assert_close(aggregate.mean, torch.zeros(K).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(aggregate.covariance, torch.eye(K).double(), atol=1e-9, rtol=0)
    assert moment_kl(aggregate.mean, aggregate.covariance) == pytest.approx(0, abs=1e-9)
    assert moment_kl(aggregate.mean, aggregate.var) == pytest.approx(0, abs=1e-9)
    assert effective_rank(aggregate.covariance) == pytest.approx(K, abs=1e-9)
    if optimum.active:  # without any signal it is the rank of rounding errors
        share = optimum.var_of_mean / optimum.var_of_mean.sum()
        rank = math.exp(torch.special.entr(share).sum().item())
        assert effective_rank(aggregate.signal_covariance) == pytest.approx(rank, abs=1e-6)


def images_and_log_likelihood(run: Trained) -> tuple[Tensor, Tensor]:
    """Images, of which most were never trained on, and log p(x) of each: N(x; m, W W^T + s^2 I)."""
    new = MEAN + torch.randn(40, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = torch.cat([points(), new.view(-1, 1, 1, D)])
    noise = (2 * run.likelihood.log_scale).exp() * torch.eye(D).double()
    marginal = MultivariateNormal(run.model.decoder[0].bias, run.weight @ run.weight.T + noise)
    return x, marginal.log_prob(x.flatten(1)).detach()


@pytest.mark.parametrize("scale", [math.sqrt(0.3), math.sqrt(1.5), "learned"])
def test_at_weight_1_the_elbo_of_every_image_is_its_log_likelihood(scale):
    run = trained(scale, 1.0)
    x, log_likelihood = images_and_log_likelihood(run)
    torch.testing.assert_close(run.terms(x).elbo.detach(), log_likelihood, atol=1e-9, rtol=0)
    # of the data it was trained on, the highest mean that any such model can have
    mean = log_likelihood[: len(points())].mean().item()
    assert mean == pytest.approx(-linear_vae_optimum(SPECTRUM, K, scale).loss, abs=1e-6)


def test_at_weight_1_the_importance_weighted_bound_is_the_log_likelihood_for_every_number_of_samples():
    # q(z|x) is the exact posterior: every weight is p(x), whatever z was drawn
    run = trained(math.sqrt(0.3), 1.0)
    x, log_likelihood = images_and_log_likelihood(run)
    result = importance_weighted(x, run.model, run.likelihood, StandardNormal((K,)), [1, 5, 50])
    for samples in (1, 5, 50):
        torch.testing.assert_close(result.curve[samples], log_likelihood, atol=1e-9, rtol=0)
    torch.testing.assert_close(result.ess, torch.full_like(result.ess, 50), atol=1e-9, rtol=0)


def test_at_another_weight_the_importance_weighted_bound_rises_towards_the_log_likelihood():
    run = trained(math.sqrt(0.3), 2.0)
    x, log_likelihood = images_and_log_likelihood(run)
    result = importance_weighted(x, run.model, run.likelihood, StandardNormal((K,)), [1, 5, 500])
    gaps = [(log_likelihood - result.curve[k]).mean().item() for k in (1, 5, 500)]
    assert gaps[0] > gaps[1] > gaps[2] > 0
    assert gaps[0] == pytest.approx((log_likelihood - run.terms(x).elbo.detach()).mean().item(), rel=0.5)
