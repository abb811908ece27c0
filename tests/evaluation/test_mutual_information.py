"""Mutual information of Gaussian channels, which is known: where the bounds bracket it, and where they saturate."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from lehr.errors import ConfigError, DataError
from lehr.evaluation import mutual_information as module
from lehr.evaluation.mutual_information import MutualInformation, aggregate_log_prob, mutual_information
from lehr.posterior import density
from lehr.posterior.gaussian import DiagonalGaussian


def channel(information: float, m: int, d: int = 20, seed: int = 0) -> DiagonalGaussian:
    """q(z|x) = N(a x, 1 - a^2), x ~ N(0, I), so that q(z) = N(0, I) and I = -d/2 ln(1 - a^2) = the rate."""
    var = math.exp(-2 * information / d)
    x = torch.randn(m, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    mean = math.sqrt(1 - var) * x
    return DiagonalGaussian(mean, torch.full_like(mean, math.log(var)))


@cache
def estimate(information: float, m: int, seed: int) -> MutualInformation:
    return mutual_information(channel(information, m, seed=seed), seed=seed)


def random_posterior(m: int, shape: tuple[int, ...], seed: int = 0) -> DiagonalGaussian:
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(m, *shape, generator=generator, dtype=torch.float64)
    return DiagonalGaussian(mean, torch.randn(m, *shape, generator=generator, dtype=torch.float64) - 1)


def mixture_log_prob(z: Tensor, q: DiagonalGaussian) -> Tensor:
    """ln of the mean density, by torch.distributions."""
    components = Independent(Normal(q.mean.flatten(1), q.var.flatten(1).sqrt()), 1)
    return MixtureSameFamily(Categorical(torch.ones(len(q.mean)).double()), components).log_prob(z.flatten(1))


# Means of 1 to 100 sets of 20 latents, simulated independently: true I, m, lower bound, upper bound, how far a
# single set may be from them, and whether that is saturated.
TABLE = [
    (2, 50, 1.82, 2.2, 0.5, False),
    (5, 50, 3.36, 6.4, 1.2, True),
    (10, 50, 3.90, 16.8, 2.5, True),
    (25, 50, 3.91, 108, 25, True),
    (2, 512, 2.00, 2.05, 0.25, False),
    (5, 512, 4.45, 5.4, 0.4, False),
    (10, 512, 6.11, 13.1, 0.8, True),
    (25, 512, 6.21, 82, 8, True),
    (2, 5000, 2.03, 2.04, 0.1, False),
    (5, 5000, 4.86, 5.11, 0.15, False),
    (10, 5000, 7.99, 12.2, 0.6, True),
    (25, 5000, 8.52, 63, 2, True),
]


@pytest.mark.parametrize(("information", "m", "lower", "upper", "tolerance", "saturated"), TABLE)
def test_gaussian_channels_have_the_bounds_of_simulation(information, m, lower, upper, tolerance, saturated):
    result = estimate(information, m, 0)
    assert result.m == m
    assert result.cap == math.log(m)
    assert result.lower == pytest.approx(lower, abs=min(tolerance, 0.3))
    assert result.upper == pytest.approx(upper, abs=tolerance)
    assert result.saturated == saturated
    assert result.lower <= result.cap
    assert result.lower < result.upper


@pytest.mark.parametrize(("information", "m"), [(i, m) for i, m, *_, saturated in TABLE if not saturated])
def test_bounds_that_are_not_saturated_bracket_the_truth_in_the_mean(information, m):
    repeats = {50: 40, 512: 10, 5000: 1}[m]
    results = [estimate(information, m, seed) for seed in range(repeats)]
    lower, upper = (torch.tensor([getattr(r, name) for r in results]) for name in ("lower", "upper"))
    error = 3 * math.sqrt(20 / (2 * m * repeats))  # ln q(z|x) alone has variance d/2
    assert lower.mean() - error < information < upper.mean() + error
    assert information - lower.mean() < 0.6 + error
    assert upper.mean() - information < 0.6 + error


def test_no_unsaturated_estimate_is_off_by_more_than_a_nat():
    for information, m in [(i, m) for i in (0.5, 1, 2, 3, 4, 5, 6, 8, 15) for m in (20, 200, 1000)]:
        result = mutual_information(channel(information, m))
        middle = (result.lower + result.upper) / 2
        assert result.saturated or abs(middle - information) < 1 + 3 * math.sqrt(10 / m)


@pytest.mark.parametrize(("mean", "logvar"), [(0.0, 0.0), (3.0, -1.0)])
def test_posteriors_that_are_all_alike_hold_no_information(mean, logvar):
    q = DiagonalGaussian(torch.full((100, 5), mean), torch.full((100, 5), logvar))
    result = mutual_information(q)
    assert result.lower == pytest.approx(0, abs=1e-12)
    assert result.upper == pytest.approx(0, abs=1e-12)
    assert not result.saturated
    # what the rate holds is then all mismatch with the prior
    rate = 5 * 0.5 * (mean**2 + math.exp(logvar) - 1 - logvar)
    assert result.rate == pytest.approx(rate)
    assert result.marginal_kl_lower == pytest.approx(rate)
    assert result.marginal_kl_upper == pytest.approx(rate)


def test_posteriors_that_never_overlap_reach_the_cap_exactly():
    mean = 100 * torch.arange(64).double()[:, None].expand(64, 3)
    result = mutual_information(DiagonalGaussian(mean, torch.full((64, 3), -18.0)))
    assert result.lower == pytest.approx(math.log(64), abs=1e-12)
    assert result.upper > 1e6
    assert result.saturated


def test_the_marginal_kl_of_a_channel_is_that_of_its_aggregate_posterior():
    """q(z) = N(c, I) for a channel whose means are shifted by c: KL = |c|^2 / 2."""
    q = channel(2, 2000, d=10)
    shifted = DiagonalGaussian(q.mean + 0.8, q.logvar)
    result = mutual_information(shifted)
    assert result.marginal_kl_lower - 0.15 < 3.2 < result.marginal_kl_upper + 0.15
    assert result.marginal_kl_upper - result.marginal_kl_lower == pytest.approx(result.upper - result.lower)
    unshifted = mutual_information(q)
    assert unshifted.lower == pytest.approx(result.lower, abs=0.02)
    assert 0 <= unshifted.marginal_kl_lower <= unshifted.marginal_kl_upper < 0.2


def test_the_rate_is_against_the_prior_that_is_given():
    q = channel(2, 2000, d=4)
    prior = density.Normal(torch.full((4,), 0.5).double(), torch.full((4,), 2.0).double(), (4,))
    exact = torch.distributions.kl_divergence(
        torch.distributions.Normal(q.mean, (0.5 * q.logvar).exp()), torch.distributions.Normal(0.5, math.sqrt(2))
    )
    result = mutual_information(q, prior=prior)
    assert result.rate == pytest.approx(exact.sum(1).mean().item(), abs=0.03)
    # q(z) is N(0, I), so this is what is left
    marginal = torch.distributions.kl_divergence(
        torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(0.5, math.sqrt(2))
    )
    assert result.marginal_kl_upper == pytest.approx(4 * marginal.item(), abs=0.1)


def test_log_q_is_the_negative_entropy_of_the_latents():
    result = mutual_information(channel(2, 3000))
    assert result.log_q == pytest.approx(-10 * math.log(2 * math.pi * math.e), abs=0.3)


@pytest.mark.parametrize("shape", [(3,), (2, 2, 3)])
def test_the_aggregate_log_density_is_that_of_a_mixture(shape):
    q = random_posterior(50, shape)
    z = torch.randn(20, *shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    torch.testing.assert_close(aggregate_log_prob(z, q), mixture_log_prob(z, q), rtol=1e-10, atol=1e-10)


def test_far_and_narrow_posteriors_do_not_cancel():
    generator = torch.Generator().manual_seed(0)
    mean = 1000 + 0.1 * torch.randn(40, 8, generator=generator, dtype=torch.float64)
    q = DiagonalGaussian(mean, torch.full((40, 8), -14.0))
    z = q.sample(torch.randn(40, 8, generator=generator, dtype=torch.float64))
    torch.testing.assert_close(aggregate_log_prob(z, q), mixture_log_prob(z, q), rtol=0, atol=1e-6)


@pytest.mark.parametrize("values", [1, 300, 10_000])
def test_the_size_of_the_blocks_changes_nothing(monkeypatch, values):
    q = random_posterior(70, (2, 2, 2))
    whole = mutual_information(q, samples=2)
    monkeypatch.setattr(module, "_VALUES_CPU", values)
    blocked = mutual_information(q, samples=2)
    for name in ("lower", "upper", "log_q", "rate"):
        assert getattr(blocked, name) == pytest.approx(getattr(whole, name), rel=1e-12, abs=1e-12)


def test_both_bounds_are_those_of_their_definition():
    q = random_posterior(9, (4,))
    result = mutual_information(q, samples=3, seed=5)
    lower, upper, zero = [], [], []
    for sample in range(3):
        z = q.sample(module.randomness.rows("normal", 5, f"mutual_information/{sample}", 0, 9, (4,)).double())
        kl_sampled = q.log_prob(z) - torch.distributions.Normal(0, 1).log_prob(z).sum(1)
        zero += (kl_sampled - q.kl()).tolist()
        for i in range(9):
            density = torch.stack([DiagonalGaussian(q.mean[[j]], q.logvar[[j]]).log_prob(z[[i]]) for j in range(9)])
            density = density.squeeze().exp()
            lower.append((density[i] / density.mean()).log())
            upper.append((density[i] / (density.sum() - density[i]) * 8).log())
    # less what the latents happen to miss the exact KL by, as far as it goes with the bound
    zero = torch.tensor(zero, dtype=torch.float64)
    for bound, values in ((result.lower, torch.stack(lower)), (result.upper, torch.stack(upper))):
        slope = ((values * zero).mean() - values.mean() * zero.mean()) / zero.square().mean()
        assert bound == pytest.approx((values.mean() - slope * zero.mean()).item(), rel=1e-10)


def test_information_that_is_nearly_all_of_a_small_rate_does_not_exceed_it():
    q = DiagonalGaussian(
        0.3 * torch.randn(300, 4, generator=torch.manual_seed(0)).double(), torch.zeros(300, 4).double()
    )
    result = mutual_information(q)
    plain = [
        float((q.log_prob(z) - aggregate_log_prob(z, q)).mean())
        for z in [q.sample(module.randomness.normal(i, "z", 0, (300, 4)).double()) for i in range(20)]
    ]
    assert result.lower < result.rate
    assert abs(result.lower - sum(plain) / 20) < 0.025  # the same expectation


def test_more_latents_of_each_posterior_lower_the_variance():
    q = channel(2, 100)
    ones = torch.tensor([mutual_information(q, seed=i).lower for i in range(20)])
    tens = torch.tensor([mutual_information(q, seed=i, samples=10).lower for i in range(20)])
    assert tens.std() < 0.6 * ones.std()


def test_float32_posteriors_are_computed_in_float64():
    q = channel(5, 300)
    narrow = mutual_information(DiagonalGaussian(q.mean.float(), q.logvar.float()))
    wide = mutual_information(q)
    assert narrow.lower == pytest.approx(wide.lower, abs=1e-5)
    assert narrow.upper == pytest.approx(wide.upper, abs=1e-4)


def test_progress_counts_every_latent():
    done = []
    mutual_information(channel(1, 30), samples=2, advance=done.append)
    assert sum(done) == 60


def test_what_is_not_a_number_is_no_measurement():
    assert MutualInformation(m=100, lower=math.nan, upper=1.0, rate=1.0, log_q=0.0).saturated
    assert MutualInformation(m=100, lower=1.0, upper=math.inf, rate=1.0, log_q=0.0).saturated


def test_too_few_images_or_samples_are_an_error():
    with pytest.raises(DataError, match="at least 2 images, got 1"):
        mutual_information(channel(1, 1))
    with pytest.raises(ConfigError, match="samples=0"):
        mutual_information(channel(1, 10), samples=0)
