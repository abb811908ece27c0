"""The diagonal Gaussian against torch.distributions, and the bound on its log-variance."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from lehr.posterior.gaussian import DiagonalGaussian, bound

SHAPES = [(5, 7), (3, 4, 2, 6)]


def gaussian(shape: tuple[int, ...], dtype: torch.dtype = torch.float64, seed: int = 0) -> DiagonalGaussian:
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(shape, generator=generator, dtype=torch.float64) * 2
    logvar = torch.randn(shape, generator=generator, dtype=torch.float64) * 2
    return DiagonalGaussian.bounded(mean.to(dtype), logvar.to(dtype), -20, 10)


def reference(q: DiagonalGaussian) -> Independent:
    std = (0.5 * q.logvar.double()).exp()
    return Independent(Normal(q.mean.double(), std), q.mean.ndim - 1)


@pytest.mark.parametrize("shape", SHAPES)
def test_kl_is_that_of_torch_distributions_summed_over_latents(shape):
    q = gaussian(shape)
    prior = Independent(Normal(torch.zeros(shape).double(), torch.ones(shape).double()), len(shape) - 1)
    torch.testing.assert_close(q.kl(), kl_divergence(reference(q), prior), rtol=1e-12, atol=1e-12)
    by_latent = kl_divergence(reference(q).base_dist, prior.base_dist)
    torch.testing.assert_close(q.kl_per_dimension(), by_latent, rtol=1e-12, atol=1e-12)


def test_kl_of_hand_written_cases():
    mean, var = torch.tensor([[0.0, 2.0, 0.0, -1.0]]), torch.tensor([[1.0, 1.0, math.e, math.e**2]])
    q = DiagonalGaussian(mean.double(), var.double().log())
    expected = torch.tensor([[0, 2, (math.e - 2) / 2, (1 + math.e**2 - 3) / 2]], dtype=torch.float64)
    torch.testing.assert_close(q.kl_per_dimension(), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("shape", SHAPES)
def test_log_prob_is_that_of_torch_distributions_summed_over_latents(shape):
    q = gaussian(shape)
    z = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(q.log_prob(z), reference(q).log_prob(z), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_any_precision_is_computed_in_float32_at_least(dtype):
    q = gaussian((6, 9), dtype)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    z = torch.randn(6, 9, generator=torch.Generator().manual_seed(1)).to(wide)
    prior = Normal(torch.zeros(6, 9).double(), 1.0)
    for ours, theirs in [
        (q.kl(), kl_divergence(reference(q).base_dist, prior).sum(1)),
        (q.log_prob(z), reference(q).log_prob(z.double())),
        (q.var, q.logvar.double().exp()),
    ]:
        assert ours.dtype == wide
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_sample_is_the_affine_map_of_its_noise(shape):
    q = gaussian(shape)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    z = q.sample(noise)
    torch.testing.assert_close((z - q.mean) / reference(q).base_dist.stddev, noise, rtol=1e-9, atol=1e-9)


def test_samples_have_the_mean_and_variance_of_the_posterior():
    n = 40_000
    mean, logvar = torch.tensor([1.0, -3.0, 0.0]), torch.tensor([0.0, 2.0, -4.0])
    q = DiagonalGaussian(mean.expand(n, 3), logvar.expand(n, 3))
    z = q.sample(torch.randn(n, 3, generator=torch.Generator().manual_seed(0)))
    error = (z.mean(0) - mean) / (logvar.exp() / n).sqrt()
    assert error.abs().max() < 4
    relative = z.var(0) / logvar.exp() - 1
    assert relative.abs().max() < 4 * math.sqrt(2 / n)


def test_gradients_of_the_sample_are_the_pathwise_ones():
    mean = torch.tensor([[0.3, -1.0]], dtype=torch.float64, requires_grad=True)
    logvar = torch.tensor([[0.8, -2.0]], dtype=torch.float64, requires_grad=True)
    noise = torch.tensor([[1.5, -0.5]], dtype=torch.float64)
    DiagonalGaussian(mean, logvar).sample(noise).sum().backward()
    torch.testing.assert_close(mean.grad, torch.ones(1, 2, dtype=torch.float64))
    torch.testing.assert_close(logvar.grad, 0.5 * (0.5 * logvar.detach()).exp() * noise)


LOW, HIGH = -2.0, 3.0
# raw value, gradient from above, gradient that must come through. Descent moves against the gradient.
BOUND_TABLE = [
    (0.0, 1.0, 1.0),
    (0.0, -1.0, -1.0),
    (HIGH, -1.0, -1.0),  # on the bound is inside
    (LOW, 1.0, 1.0),
    (5.0, 0.7, 0.7),  # above, descent leads down: inward
    (5.0, -0.7, 0.0),  # above, descent leads up: outward
    (-5.0, -0.7, -0.7),  # below, descent leads up: inward
    (-5.0, 0.7, 0.0),  # below, descent leads down: outward
]


@pytest.mark.parametrize(("raw", "above", "through"), BOUND_TABLE)
def test_bound_lets_through_only_gradients_that_do_not_lead_further_out(raw, above, through):
    x = torch.tensor(raw, requires_grad=True)
    y = bound(x, LOW, HIGH)
    assert y.item() == min(max(raw, LOW), HIGH)
    y.backward(torch.tensor(above))
    assert x.grad.item() == pytest.approx(through)


def test_bound_has_the_same_gradients_under_torch_func():
    raw, above, through = (torch.tensor(column) for column in zip(*BOUND_TABLE, strict=True))

    def loss(x, weight):
        return (weight * bound(x, LOW, HIGH)).sum()

    torch.testing.assert_close(torch.func.grad(loss)(raw, above), through)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(loss))(raw, above), through)
    torch.testing.assert_close(torch.func.vmap(lambda x: bound(x, LOW, HIGH))(raw), raw.clamp(LOW, HIGH))


def test_bound_passes_gradcheck_inside():
    x = torch.linspace(LOW + 0.1, HIGH - 0.1, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda raw: bound(raw, LOW, HIGH).sin(), (x,))
    assert torch.autograd.gradgradcheck(lambda raw: bound(raw, LOW, HIGH).sin(), (x,))


@pytest.mark.parametrize(("start", "target"), [(8.0, 1.0), (-8.0, 1.0)])
def test_descent_brings_a_value_back_from_outside(start, target):
    x = torch.tensor(start, requires_grad=True)
    optimiser = torch.optim.SGD([x], lr=0.4)
    for _ in range(100):
        optimiser.zero_grad()
        (bound(x, LOW, HIGH) - target).square().backward()
        optimiser.step()
    assert x.item() == pytest.approx(target, abs=1e-4)


def test_descent_does_not_push_a_value_further_out():
    x = torch.tensor(2.9, requires_grad=True)
    optimiser = torch.optim.SGD([x], lr=0.4)
    for _ in range(100):
        optimiser.zero_grad()
        (-bound(x, LOW, HIGH)).backward()
        optimiser.step()
    assert x.item() == pytest.approx(2.9 + 0.4)  # the one step that left


def test_clamped_share_counts_the_log_variances_out_of_bounds():
    raw = torch.tensor([[-30.0, -20.0, 0.0, 10.0], [10.5, 3.0, 11.0, -20.1]])
    q = DiagonalGaussian.bounded(torch.zeros(2, 4), raw, -20, 10)
    assert q.clamped_share().item() == pytest.approx(4 / 8)
    assert q.logvar.min() == -20
    assert q.logvar.max() == 10
    assert DiagonalGaussian(torch.zeros(2, 4), raw).clamped_share() == 0


def test_kl_stays_finite_at_the_ends_of_the_default_bounds():
    raw = torch.tensor([[-torch.inf, torch.inf, 1e30, -1e30]])
    q = DiagonalGaussian.bounded(torch.zeros(1, 4), raw, -20, 10)
    low, high = 0.5 * (math.exp(-20) - 1 + 20), 0.5 * (math.exp(10) - 1 - 10)
    torch.testing.assert_close(q.kl_per_dimension(), torch.tensor([[low, high, high, low]]))
