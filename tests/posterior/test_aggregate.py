"""Moments and the aggregate posterior against numpy in extended precision, for any partition of the data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lehr.posterior.aggregate import AggregatePosterior, Moments, channel_moments, element_moments, flat_moments
from lehr.posterior.gaussian import DiagonalGaussian


def flat_posterior(n: int, d: int, offset: float = 0.0, spread: float = 1.0, seed: int = 0) -> DiagonalGaussian:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(d, d, generator=generator, dtype=torch.float64)
    mean = offset + spread * torch.randn(n, d, generator=generator, dtype=torch.float64) @ mixing
    return DiagonalGaussian(mean, torch.randn(n, d, generator=generator, dtype=torch.float64) - 1)


def map_posterior(n: int, shape: tuple[int, int, int], seed: int = 0) -> DiagonalGaussian:
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(n, *shape, generator=generator, dtype=torch.float64)
    shared = torch.randn(n, 1, *shape[1:], generator=generator, dtype=torch.float64)  # correlates the channels
    offsets = torch.randn(shape, generator=generator, dtype=torch.float64)
    logvar = torch.randn(n, *shape, generator=generator, dtype=torch.float64) - 1
    return DiagonalGaussian(mean + shared + offsets, logvar)


def part(q: DiagonalGaussian, start: int, stop: int) -> DiagonalGaussian:
    return DiagonalGaussian(q.mean[start:stop], q.logvar[start:stop])


def direct(mean: torch.Tensor, logvar: torch.Tensor) -> dict[str, np.ndarray]:
    """The statistics of rows (n, d), from their definitions, in extended precision."""
    m, lv = mean.numpy().astype(np.longdouble), logvar.numpy().astype(np.longdouble)
    v = np.exp(lv)
    centred = m - m.mean(0)
    return {
        "mean": m.mean(0),
        "mean_of_var": v.mean(0),
        "signal_covariance": centred.T @ centred / (len(m) - 1),
        "kl": ((m**2 + v - 1 - lv) / 2).mean(0),
    }


def assert_agrees(posterior: AggregatePosterior, expected: dict[str, np.ndarray], n: int) -> None:
    assert posterior.n == n
    signal = expected["signal_covariance"]
    variances = np.diag(signal)
    for ours, theirs in [
        (posterior.mean, expected["mean"]),
        (posterior.mean_of_var, expected["mean_of_var"]),
        (posterior.kl, expected["kl"]),
        (posterior.var_of_mean, variances),
        (posterior.var, variances + expected["mean_of_var"]),
    ]:
        assert ours.dtype == torch.float64
        np.testing.assert_allclose(ours.numpy(), theirs.astype(np.float64), rtol=1e-9, atol=1e-14)
    if posterior.signal_covariance is not None:
        scale = float(np.sqrt(variances.max()) ** 2)  # a covariance near 0 is known to the scale of the variances
        theirs = signal.astype(np.float64)
        np.testing.assert_allclose(posterior.signal_covariance.numpy(), theirs, rtol=1e-9, atol=1e-9 * scale)
        total = theirs + np.diag(expected["mean_of_var"].astype(np.float64))
        np.testing.assert_allclose(posterior.covariance.numpy(), total, rtol=1e-9, atol=1e-9 * scale)


def aggregate(q: DiagonalGaussian, batch: int) -> AggregatePosterior:
    n, d = q.mean.shape
    moments = Moments.empty(d, full=True)
    for start in range(0, n, batch):
        moments = moments.merge(flat_moments(part(q, start, start + batch)))
    return AggregatePosterior.from_moments(moments, (d,))


@pytest.mark.parametrize("batch", [1000, 1, 7, 111, 999])  # 999 leaves a last batch of 1
@pytest.mark.parametrize(("offset", "spread"), [(0.0, 1.0), (1e4, 0.01), (-3e4, 1.0)])
def test_batches_of_any_size_give_the_direct_statistics(batch, offset, spread):
    q = flat_posterior(1000, 5, offset, spread)
    assert_agrees(aggregate(q, batch), direct(q.mean, q.logvar), 1000)


def test_float32_posteriors_are_accumulated_in_float64():
    q = flat_posterior(5000, 3, offset=1e4, spread=0.5)
    q = DiagonalGaussian(q.mean.float(), q.logvar.float())
    posterior = aggregate(q, 64)
    expected = direct(q.mean, q.logvar)
    np.testing.assert_allclose(posterior.mean.numpy(), expected["mean"].astype(float), rtol=1e-12)
    np.testing.assert_allclose(
        posterior.signal_covariance.numpy(), expected["signal_covariance"].astype(float), rtol=1e-9
    )


@settings(deadline=None, max_examples=80, derandomize=True)
@given(data=st.data(), n=st.integers(2, 60), d=st.integers(1, 4), full=st.booleans())
def test_any_partition_and_any_order_of_merging_gives_the_same_statistics(data, n, d, full):
    offset, spread = data.draw(st.sampled_from([(0.0, 1.0), (1e4, 0.1), (5.0, 100.0)]))
    q = flat_posterior(n, d, offset, spread, seed=data.draw(st.integers(0, 1000)))
    rows = torch.tensor(data.draw(st.permutations(range(n))))
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=12)))  # repeated cuts make empty batches
    kl = q.kl_per_dimension()
    pieces = [Moments.empty(d, full)] * data.draw(st.integers(0, 1))
    for start, stop in zip([0, *cuts], [*cuts, n], strict=True):
        chosen = rows[start:stop]
        pieces.append(Moments.of(q.mean[chosen], q.var[chosen], kl[chosen], full))
    while len(pieces) > 1:  # any tree of merges: ranks, then nodes, in any order
        left = pieces.pop(data.draw(st.integers(0, len(pieces) - 1)))
        right = pieces.pop(data.draw(st.integers(0, len(pieces) - 1)))
        pieces.append(left.merge(right))
    assert_agrees(AggregatePosterior.from_moments(pieces[0], (d,)), direct(q.mean, q.logvar), n)


def test_merging_with_nothing_changes_nothing():
    q = flat_posterior(9, 4)
    moments, nothing = flat_moments(q), flat_moments(part(q, 0, 0))
    for merged in (moments.merge(nothing), nothing.merge(moments)):
        assert merged.n == 9
        for name in ("mean", "scatter", "var", "kl"):
            assert torch.equal(getattr(merged, name), getattr(moments, name)), name
    assert nothing.merge(nothing).n == 0
    assert torch.equal(nothing.merge(nothing).mean, torch.zeros(4, dtype=torch.float64))


def test_moments_stay_in_float64_with_an_integer_count():
    moments = flat_moments(DiagonalGaussian(torch.randn(3, 2), torch.zeros(3, 2)))
    merged = moments.merge(moments).to("cpu")
    assert merged.n.dtype == torch.int64
    for name in ("mean", "scatter", "var", "kl"):
        assert getattr(merged, name).dtype == torch.float64, name


def aggregate_map(q: DiagonalGaussian, batch: int) -> AggregatePosterior:
    n, *shape = q.mean.shape
    elements = Moments.empty(int(np.prod(shape)), full=False)
    channels = Moments.empty(shape[0], full=True)
    for start in range(0, n, batch):
        chunk = part(q, start, start + batch)
        elements, channels = elements.merge(element_moments(chunk)), channels.merge(channel_moments(chunk))
    return AggregatePosterior.from_moments(elements, tuple(shape), channels)


@pytest.mark.parametrize("batch", [50, 1, 7])
def test_a_latent_map_has_statistics_by_element_and_by_channel(batch):
    q = map_posterior(50, (3, 4, 5))
    posterior = aggregate_map(q, batch)
    assert posterior.latent_shape == (3, 4, 5)
    assert posterior.signal_covariance is None
    assert posterior.covariance is None
    assert_agrees(posterior, direct(q.mean.flatten(1), q.logvar.flatten(1)), 50)
    # by channel every position of every image is an observation
    mean, logvar = (t.permute(0, 2, 3, 1).reshape(-1, 3) for t in (q.mean, q.logvar))
    assert posterior.channels.latent_shape == (3,)
    assert_agrees(posterior.channels, direct(mean, logvar), 50 * 4 * 5)


def test_an_empty_batch_of_latent_maps_counts_nothing():
    q = map_posterior(4, (3, 2, 2))
    whole, none = aggregate_map(q, 4), part(q, 0, 0)
    elements = element_moments(q).merge(element_moments(none))
    channels = channel_moments(none).merge(channel_moments(q))
    posterior = AggregatePosterior.from_moments(elements, (3, 2, 2), channels)
    assert (posterior.n, posterior.channels.n) == (4, 16)
    assert torch.equal(posterior.var, whole.var)
    assert torch.equal(posterior.channels.covariance, whole.channels.covariance)


@pytest.mark.parametrize("is_map", [False, True])
def test_scaling_and_shift_factor_standardise_all_latents_together(is_map):
    n = 40
    q = map_posterior(n, (3, 2, 2)) if is_map else flat_posterior(n, 6, offset=3.0)
    posterior = aggregate_map(q, 11) if is_map else aggregate(q, 11)
    mean, var = q.mean.numpy(), np.exp(q.logvar.numpy())
    assert posterior.shift_factor == pytest.approx(mean.mean(), rel=1e-12)
    # Var of all z = E[z^2] - E[z]^2 over examples, latents and q, but for the n - 1 of Var(E[z|x])
    population = (var + mean**2).mean() - mean.mean() ** 2
    signal = mean.var(axis=0).mean()
    assert 1 / posterior.scaling_factor**2 == pytest.approx(population + signal / (n - 1), rel=1e-9)


def test_the_spread_of_the_latents_means_is_part_of_the_scale():
    n = 1000
    mean = torch.tensor([-2.0, 2.0]).expand(n, 2)
    posterior = aggregate(DiagonalGaussian(mean, torch.full((n, 2), -20.0)), 100)
    assert posterior.shift_factor == 0
    assert posterior.scaling_factor == pytest.approx(0.5, rel=1e-6)


def test_scaled_samples_of_q_have_mean_0_and_variance_1():
    n = 20_000
    q = flat_posterior(n, 4, offset=1.5)
    posterior = aggregate(q, 512)
    noise = torch.randn(n, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    z = (q.sample(noise) - posterior.shift_factor) * posterior.scaling_factor
    assert abs(z.mean().item()) < 0.02
    assert z.var().item() == pytest.approx(1, abs=0.03)


def test_the_law_of_total_variance_agrees_with_samples_of_q():
    n = 100_000
    q = flat_posterior(n, 3, offset=-1.0)
    posterior = aggregate(q, 1000)
    noise = torch.randn(n, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    z = q.sample(noise)
    standard_error = (posterior.var / n).sqrt()
    assert ((z.mean(0) - posterior.mean) / standard_error).abs().max() < 4
    scale = posterior.var.sqrt().outer(posterior.var.sqrt())
    assert ((torch.cov(z.T) - posterior.covariance) / scale).abs().max() < 0.02


def test_the_kl_of_the_aggregate_sums_to_the_mean_rate():
    q = flat_posterior(33, 5)
    assert aggregate(q, 10).kl.sum().item() == pytest.approx(q.kl().mean().item(), rel=1e-12)


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_examples_have_no_aggregate_posterior(n):
    with pytest.raises(ValueError, match=f"at least 2 examples, got {n}"):
        AggregatePosterior.from_moments(flat_moments(part(flat_posterior(2, 3), 0, n)), (3,))
