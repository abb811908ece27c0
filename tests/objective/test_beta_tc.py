"""The parts of the rate: exact where the batch is the data set, unbiased weights, and a Gaussian channel."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from lehr.objective.beta_tc import BetaTC, rate_parts, stratified_log_weights
from lehr.posterior.gaussian import DiagonalGaussian


def loop(mean, logvar, z, weights) -> np.ndarray:
    """(b, 3) the parts, an example and a latent at a time."""
    b, d = mean.shape
    parts = np.zeros((b, 3))
    for i in range(b):
        q = np.array(
            [
                [
                    math.exp(-0.5 * (z[i, j] - mean[k, j]) ** 2 / math.exp(logvar[k, j]))
                    / math.sqrt(2 * math.pi * math.exp(logvar[k, j]))
                    for j in range(d)
                ]
                for k in range(b)
            ]
        )
        log_qzx = math.log(q[i].prod())
        log_qz = math.log(sum(weights[i, k] * q[k].prod() for k in range(b)))
        log_marginals = sum(math.log(sum(weights[i, k] * q[k, j] for k in range(b))) for j in range(d))
        log_pz = sum(-0.5 * z[i, j] ** 2 - 0.5 * math.log(2 * math.pi) for j in range(d))
        parts[i] = log_qzx - log_qz, log_qz - log_marginals, log_marginals - log_pz
    return parts


@pytest.mark.parametrize("latent_shape", [(3,), (2, 2, 1)])
def test_the_parts_are_those_of_a_loop(latent_shape, rate_batch):
    inputs = rate_batch(b=4, latent_shape=latent_shape).inputs()
    parts = rate_parts(inputs.posterior, inputs.z, 9)
    flat = [t.detach().flatten(1).numpy() for t in (inputs.posterior.mean, inputs.posterior.logvar, inputs.z)]
    expected = loop(*flat, stratified_log_weights(4, 9).exp().numpy())
    found = torch.stack([parts.mutual_information, parts.total_correlation, parts.dimension_wise_kl], 1)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-10, atol=1e-12)


def test_the_parts_sum_to_the_log_ratio_of_posterior_and_prior(rate_batch):
    inputs = rate_batch(latent_shape=(2, 3, 1)).inputs()
    parts = rate_parts(inputs.posterior, inputs.z, 1000)
    total = parts.mutual_information + parts.total_correlation + parts.dimension_wise_kl
    q = Normal(inputs.posterior.mean, (0.5 * inputs.posterior.logvar).exp())
    ratio = q.log_prob(inputs.z) - Normal(0.0, 1.0).log_prob(inputs.z)
    torch.testing.assert_close(total, ratio.flatten(1).sum(1))


def test_the_weights_are_the_mean_of_the_paper_s_over_the_order_of_the_others():
    """Chen et al. 2018, appendix C.2: 1/N for the own example, (N - M)/(NM) for one of M others, 1/M for the rest."""
    n, m = 11, 3
    paper = [1 / n, (n - m) / (n * m), *[1 / m] * (m - 1)]
    assert sum(paper) == pytest.approx(1)
    others = np.mean([[paper[1:][i] for i in p] for p in permutations(range(m))], 0)
    weights = stratified_log_weights(m + 1, n).exp().numpy()
    for i in range(m + 1):
        assert weights[i, i] == pytest.approx(paper[0])
        np.testing.assert_allclose(np.delete(weights[i], i), others)


def test_the_weights_give_q_of_z_without_bias():
    """Over all batches that hold example 0, the estimate of q(z_0) has the mean of the whole mixture."""
    n, b = 6, 3
    densities = np.array([0.9, 0.2, 0.05, 0.4, 0.3, 0.7])  # q(z_0|x_k)
    weights = stratified_log_weights(b, n).exp().numpy()
    estimates = [weights[0] @ densities[[0, *others]] for others in permutations(range(1, n), b - 1)]
    assert np.mean(estimates) == pytest.approx(densities.mean())


def test_where_the_batch_is_the_data_set_q_of_z_is_exact(rate_batch):
    inputs = rate_batch(b=6, latent_shape=(2,)).inputs()
    parts = rate_parts(inputs.posterior, inputs.z, 6)
    components = Normal(inputs.posterior.mean, (0.5 * inputs.posterior.logvar).exp())
    each = components.log_prob(inputs.z[:, None]).sum(2)
    mixture = each.logsumexp(1) - math.log(6)
    torch.testing.assert_close(parts.mutual_information, each.diagonal() - mixture)


def test_an_example_alone_has_nothing_but_its_rate(rate_batch):
    inputs = rate_batch(b=1).inputs()
    parts = rate_parts(inputs.posterior, inputs.z, 100)
    assert parts.mutual_information.item() == pytest.approx(0, abs=1e-12)
    assert parts.total_correlation.item() == pytest.approx(0, abs=1e-12)
    assert torch.isfinite(BetaTC(4.0)(inputs).value)


def test_the_parts_of_a_gaussian_channel_are_its_closed_forms():
    """x ~ N(0, S), z|x ~ N(x, v): z ~ N(0, S + v), of which all three parts are known."""
    n, noise = 1000, 0.25
    generator = torch.Generator().manual_seed(0)
    factor = torch.tensor([[0.8, 0.0], [0.5, 0.4]], dtype=torch.float64)
    x = torch.randn(n, 2, generator=generator, dtype=torch.float64) @ factor.T
    posterior = DiagonalGaussian(x, torch.full_like(x, math.log(noise)))
    z = posterior.sample(torch.randn(n, 2, generator=generator, dtype=torch.float64))
    signal = factor @ factor.T
    covariance = signal + noise * torch.eye(2, dtype=torch.float64)
    scale = covariance.diagonal().sqrt()
    correlation = covariance / scale.outer(scale)
    information = 0.5 * (covariance.logdet() - 2 * math.log(noise))
    marginal = 0.5 * (covariance.diagonal() - 1 - covariance.diagonal().log()).sum()
    parts = rate_parts(posterior, z, 10**6)
    found = [
        part.mean().item() for part in (parts.mutual_information, parts.total_correlation, parts.dimension_wise_kl)
    ]
    expected = [information.item(), -0.5 * correlation.logdet().item(), marginal.item()]
    assert expected[1] > 0.1
    assert found == pytest.approx(expected, abs=0.06)


def test_the_cost_is_the_rate_and_what_the_total_correlation_counts_more(rate_batch):
    batch = rate_batch(b=5)
    inputs = batch.inputs()
    flat = [t.detach().numpy() for t in (inputs.posterior.mean, inputs.posterior.logvar, inputs.z)]
    correlation = loop(*flat, stratified_log_weights(5, inputs.n_train).exp().numpy())[:, 1].sum()
    rate = inputs.terms.rate.sum().item()
    cost = BetaTC(3.0, weight=0.5)(inputs)
    assert cost.value.item() == pytest.approx(0.5 * (rate + 2 * correlation), rel=1e-10)
    assert float(cost.kl_weight) == pytest.approx(0.5 * (1 + 2 * correlation / rate), rel=1e-10)


def test_at_beta_1_it_is_the_annealed_kl(rate_batch):
    batch = rate_batch()
    inputs = batch.inputs()
    cost = BetaTC(1.0, weight=0.5)(inputs)
    torch.testing.assert_close(batch.gradients(cost.value), 0.5 * batch.gradients(inputs.terms.rate.sum()))
    assert float(cost.kl_weight) == pytest.approx(0.5)
