"""The metrics against their definitions in float64, for any batches and any ranks."""

from __future__ import annotations

import gloo
import numpy as np
import pytest
import torch
from harness import forkserver
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf

from lehr.evaluation import AggregatePosteriorMetric, ELBOMetric
from lehr.objective.elbo import Terms
from lehr.posterior.gaussian import DiagonalGaussian


def posterior(n: int, shape: tuple[int, ...], seed: int = 0) -> DiagonalGaussian:
    """As an encoder gives it, in float32: correlated means that lie away from 0."""
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(n, *shape, generator=generator)
    mean = mean + mean.roll(1, dims=1) + 3 * torch.randn(shape, generator=generator)
    return DiagonalGaussian(mean, torch.randn(n, *shape, generator=generator) - 1)


def rows(q: DiagonalGaussian, start: int, stop: int) -> DiagonalGaussian:
    return DiagonalGaussian(q.mean[start:stop], q.logvar[start:stop])


def defined(mean: np.ndarray, logvar: np.ndarray) -> dict[str, np.ndarray]:
    """E[z], E[Var(z|x)], Cov(E[z|x]) and the KL of each unit over the rows (n, d), by numpy."""
    var = np.exp(logvar)
    return {
        "mean": mean.mean(0),
        "mean_of_var": var.mean(0),
        "signal": np.atleast_2d(np.cov(mean, rowvar=False)),
        "kl": 0.5 * (mean**2 + var - 1 - logvar).mean(0),
    }


def assert_is(statistics, expected, n):
    assert statistics.n == n
    var_of_mean = expected["signal"].diagonal()
    for name, theirs in (
        ("mean", expected["mean"]), ("mean_of_var", expected["mean_of_var"]), ("kl", expected["kl"]),
        ("var_of_mean", var_of_mean), ("var", expected["mean_of_var"] + var_of_mean),
    ):  # fmt: skip
        np.testing.assert_allclose(getattr(statistics, name), theirs, rtol=1e-9, atol=1e-12, err_msg=name)
    if statistics.covariance is not None:
        total = expected["signal"] + np.diag(expected["mean_of_var"])
        np.testing.assert_allclose(statistics.covariance, total, rtol=1e-9, atol=1e-9)


def float64_of(q: DiagonalGaussian) -> tuple[np.ndarray, np.ndarray]:
    return q.mean.double().numpy(), q.logvar.double().numpy()


@pytest.mark.parametrize("batch", [101, 100, 10, 7, 1])  # 100 and 10 leave a last batch of 1
@pytest.mark.parametrize("d", [1, 4])
def test_flat_latents_have_the_statistics_of_their_definition(batch, d):
    # exp and the squares of a KL are taken in the precision of the posterior: float64 here, so that 1e-9 can be asked
    q = posterior(101, (d,))
    q = DiagonalGaussian(q.mean.double(), q.logvar.double())
    metric = AggregatePosteriorMetric((d,))
    for start in range(0, 101, batch):
        metric.update(rows(q, start, min(start + batch, 101)))
    assert_is(metric.compute(), defined(*float64_of(q)), 101)


def test_what_a_float32_encoder_gives_is_summed_in_float64():
    q = posterior(5000, (3,))
    q = DiagonalGaussian(q.mean + 1000, q.logvar)  # float32 sums of squares would have lost the variance
    metric = AggregatePosteriorMetric((3,))
    for start in range(0, 5000, 37):
        metric.update(rows(q, start, start + 37))
    mean = q.mean.double().numpy()
    np.testing.assert_allclose(metric.compute().signal_covariance, np.cov(mean, rowvar=False), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("batch", [50, 7])
def test_latent_maps_have_the_statistics_of_each_element_and_of_each_channel(batch):
    shape = (3, 2, 2)
    q = posterior(50, shape)
    q = DiagonalGaussian(q.mean.double(), q.logvar.double())
    metric = AggregatePosteriorMetric(shape)
    for start in range(0, 50, batch):
        metric.update(rows(q, start, start + batch))
    statistics = metric.compute()
    mean, logvar = float64_of(q)
    assert_is(statistics, defined(mean.reshape(50, -1), logvar.reshape(50, -1)), 50)
    assert statistics.covariance is None
    by_channel = [part.reshape(50, 3, 4).transpose(0, 2, 1).reshape(200, 3) for part in (mean, logvar)]
    assert_is(statistics.channels, defined(*by_channel), 200)


def test_an_empty_batch_counts_nothing():
    q = posterior(5, (2,))
    metric = AggregatePosteriorMetric((2,))
    metric.update(rows(q, 0, 0))
    metric.update(q)
    metric.update(rows(q, 5, 5))
    assert metric.compute().n == 5


def test_posteriors_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="expected posteriors of shape"):
        AggregatePosteriorMetric((3,)).update(posterior(4, (2,)))


def test_one_example_has_no_variance():
    metric = AggregatePosteriorMetric((2,))
    metric.update(posterior(1, (2,)))
    with pytest.raises(ValueError, match="at least 2 examples"):
        metric.compute()


def test_a_reset_metric_has_counted_nothing():
    metric = AggregatePosteriorMetric((2,))
    metric.update(posterior(9, (2,), seed=1))
    metric.compute()
    metric.reset()
    q = posterior(5, (2,))
    metric.update(q)
    assert metric.compute().n == 5
    torch.testing.assert_close(metric.compute().mean, q.mean.double().mean(0))


def on_ranks(metrics):
    """The first of `metrics`, which synchronises with the others as torchmetrics does with those of other processes."""
    first = metrics[0]
    names = iter([])

    def gather(value, group=None):
        nonlocal names
        name = next(names, None)
        if name is None:
            names = iter(first._reductions)
            name = next(names)
        assert torch.equal(value, getattr(first, name))
        return [getattr(metric, name) for metric in metrics]

    first.dist_sync_fn = gather
    first.distributed_available_fn = lambda: True
    return first


@st.composite
def partitions(draw, n):
    """Batches of n rows, shared among 1 to 4 ranks, some of which may have none."""
    world = draw(st.integers(1, 4))
    sizes = []
    while (left := n - sum(sizes)) > 0:
        sizes.append(draw(st.integers(1, left)))
    return world, [(size, draw(st.integers(0, world - 1))) for size in sizes]


@pytest.mark.filterwarnings("ignore:The ``compute`` method")  # of a rank that had no batch
@settings(max_examples=40, deadline=None)
@given(partitions(30), st.sampled_from([(3,), (2, 2, 1)]))
def test_no_partition_into_batches_and_ranks_changes_the_statistics(partition, shape):
    world, batches = partition
    q = posterior(30, shape)
    q = DiagonalGaussian(q.mean.double(), q.logvar.double())
    metrics, start = [AggregatePosteriorMetric(shape) for _ in range(world)], 0
    for size, rank in batches:
        metrics[rank].update(rows(q, start, start + size))
        start += size
    mean, logvar = (part.reshape(30, -1) for part in float64_of(q))
    metric = on_ranks(metrics)
    assert_is(metric.compute(), defined(mean, logvar), 30)
    alone = sum(size for size, rank in batches if rank == 0)
    assert metric.latent_n == alone  # what it had counted itself is there again after a synchronisation


@pytest.mark.filterwarnings("ignore:The ``compute`` method")  # of a rank that had no batch
@settings(max_examples=40, deadline=None)
@given(partitions(30))
def test_no_partition_into_batches_and_ranks_changes_the_elbo(partition):
    world, batches = partition
    generator = torch.Generator().manual_seed(0)
    distortion, rate = 1000 + torch.randn(30, generator=generator), torch.rand(30, generator=generator)
    metrics, start = [ELBOMetric() for _ in range(world)], 0
    for size, rank in batches:
        metrics[rank].update(Terms(distortion[start : start + size], rate[start : start + size]))
        start += size
    values = on_ranks(metrics).compute()
    d, r = distortion.double().numpy().mean(), rate.double().numpy().mean()
    for name, expected in (("distortion", d), ("rate", r), ("elbo", -(d + r))):
        assert float(values[name]) == pytest.approx(expected, rel=1e-12), name


def maps(*sizes: tuple[int, ...]) -> list[torch.Tensor]:
    """Batches of means whose channels, positions and examples differ, float64."""
    generator = torch.Generator().manual_seed(0)
    offset = torch.tensor([3.0, -1.0], dtype=torch.float64).view(-1, 1, 1)
    return [offset + torch.randn(n, 2, *size, generator=generator, dtype=torch.float64) for n, *size in sizes]


MAPS = maps((5, 3, 3), (1, 3, 3), (4, 3, 3), (2, 3, 3), (3, 6, 2), (1, 1, 9), (7, 3, 3))


def assert_maps(found, batches, of_elements):
    """The statistics of latent maps with log-variances cos(mean) - 9, from their definitions."""
    n, rows = sum(len(batch) for batch in batches), torch.cat([b.transpose(0, 1).flatten(1) for b in batches], 1)
    mean, var = rows.numpy(), np.exp(np.cos(rows.numpy()) - 9)
    assert found["n"] == n
    np.testing.assert_allclose(found["channel_mean"], mean.mean(1), rtol=1e-12)
    np.testing.assert_allclose(found["channel_covariance"], np.cov(mean) + np.diag(var.mean(1)), rtol=1e-12)
    np.testing.assert_allclose(found["channel_var"], mean.var(1, ddof=1) + var.mean(1), rtol=1e-12)
    # of all latents together: the variance of the channels' means is part of it
    m = mean.size // 2
    within = mean.var(1, ddof=1).mean()
    if of_elements:
        elements = torch.cat(batches).flatten(1).numpy()
        within, m = elements.var(0, ddof=1).mean() + elements.mean(0).var() - mean.mean(1).var(), n
        np.testing.assert_array_equal(found["extremes"], np.stack([elements.min(0), elements.max(0)]))
    else:
        assert found["extremes"] is None
    signal = within + mean.mean(1).var()
    np.testing.assert_allclose(found["var_of_mean"], signal, rtol=1e-12)
    assert signal == pytest.approx(mean.var(), rel=1.5 / m)  # but for n - 1 the variance of all numbers there are
    np.testing.assert_allclose(found["mean_of_var"], var.mean(), rtol=1e-12)
    np.testing.assert_allclose(found["mean"], mean.mean(), rtol=1e-12)
    lost = erf(2.0 ** (np.floor(np.log2(np.abs(mean))) - 7) / np.sqrt(8 * var))
    assert found["tallies"]["latents"] == mean.size
    assert found["tallies"]["lost_in_bfloat16"] == pytest.approx(lost.sum(), rel=1e-12)


@pytest.mark.parametrize("of_elements", [True, False])
def test_latent_maps_of_one_size_or_of_several_have_the_statistics_of_their_definition(of_elements):
    batches = MAPS[:4] if of_elements else MAPS
    metric = AggregatePosteriorMetric((2, 3, 3), detailed=True)
    for mean in batches:
        metric.update(DiagonalGaussian(mean, mean.cos() - 9))
    found = metric.compute()
    assert found.latent_shape == ((2, 3, 3) if of_elements else (2,))
    channels = {f"channel_{name}": getattr(found.channels, name) for name in ("mean", "var", "covariance")}
    whole = {name: getattr(found.whole, name) for name in ("mean", "mean_of_var", "var_of_mean")}
    about = {"n": found.n, "extremes": found.extremes, "tallies": found.tallies}
    assert_maps(channels | whole | about, batches, of_elements)
    posteriors = [DiagonalGaussian(mean, mean.cos() - 9) for mean in batches]
    kl = torch.cat([q.kl_per_dimension().sum((2, 3)) for q in posteriors]).mean(0)  # of each channel of an example
    torch.testing.assert_close(found.kl_of_latents, kl, rtol=1e-12, atol=0)
    torch.testing.assert_close(kl.sum(), torch.cat([q.kl() for q in posteriors]).mean(), rtol=1e-12, atol=0)


def test_maps_of_several_sizes_have_as_many_channels():
    with pytest.raises(ValueError, match="expected posteriors of shape"):
        AggregatePosteriorMetric((3, 2, 2)).update(posterior(4, (2, 2, 2)))


def test_each_position_has_the_statistics_of_all_its_channels_and_a_bright_spot_is_found():
    (mean,) = maps((50, 4, 5))
    mean[7, 1, 2, 3] = 40.0
    metric = AggregatePosteriorMetric((2, 4, 5), detailed=True)
    for part in mean.split(11):
        metric.update(DiagonalGaussian(part, torch.full_like(part, -2.0)))
    found = metric.compute()
    z = mean.numpy()
    np.testing.assert_allclose(found.positions.mean, z.mean((0, 1)), rtol=1e-12)
    signal = z.var(0, ddof=1).mean(0) + z.mean(0).var(0)
    np.testing.assert_allclose(found.positions.var_of_mean, signal, rtol=1e-12)
    np.testing.assert_allclose(found.positions.var, signal + np.exp(-2), rtol=1e-12)
    centre = z.mean((0, 2, 3))[:, None, None]
    std = np.sqrt(z.transpose(1, 0, 2, 3).reshape(2, -1).var(1, ddof=1) + np.exp(-2))[:, None, None]
    np.testing.assert_allclose(found.largest_deviation, (np.abs(z - centre).max(0) / std).max(0), rtol=1e-12)
    assert divmod(int(found.largest_deviation.argmax()), 5) == (2, 3)


@pytest.mark.slow
def test_two_processes_count_each_example_once(tmp_path):
    n, batch = 103, 10  # divisible neither by 2 nor by the batch; the second rank has 52, a last batch of 2
    q = posterior(n, (3,))
    generator = torch.Generator().manual_seed(1)
    terms = {"distortion": 50 + torch.randn(n, generator=generator), "rate": torch.rand(n, generator=generator)}
    path = tmp_path / "data"
    torch.save({"mean": q.mean.double(), "logvar": q.logvar.double(), "maps": MAPS, **terms}, path)
    context = forkserver()
    processes = [context.Process(target=gloo.count, args=(rank, 2, str(path), batch)) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    expected = defined(*float64_of(q))
    for rank in (0, 1):
        found = torch.load(f"{path}.{rank}", weights_only=True)
        assert found["n"] == n
        np.testing.assert_allclose(found["mean"], expected["mean"], rtol=1e-9)
        np.testing.assert_allclose(found["kl"], expected["kl"], rtol=1e-9)
        total = expected["signal"] + np.diag(expected["mean_of_var"])
        np.testing.assert_allclose(found["covariance"], total, rtol=1e-9, atol=1e-9)
        for name in ("distortion", "rate"):
            assert float(found[name]) == pytest.approx(terms[name].double().mean().item(), rel=1e-12)
        for kind, batches in (("equal", MAPS[:4]), ("mixed", MAPS)):
            of_kind = {name.removeprefix(f"{kind}."): found[name] for name in found if name.startswith(kind)}
            assert_maps(of_kind, batches, of_elements=kind == "equal")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_sums_stay_float64_in_a_module_of_any_precision(dtype):
    module = torch.nn.Module()
    module.posterior, module.elbo = AggregatePosteriorMetric((2,)), ELBOMetric()
    module.to(dtype)
    q = posterior(7, (2,))
    module.posterior.update(q)
    module.elbo.update(Terms(torch.full((7,), 1234.5), torch.full((7,), 90.3)))
    assert module.posterior.compute().mean.dtype == torch.float64
    assert module.elbo.compute()["distortion"] == 1234.5  # bfloat16 has no such number
    module.posterior.reset()
    assert module.posterior.latent_mean.dtype == torch.float64
