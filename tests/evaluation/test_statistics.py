"""The statistics of q(z) as files: written and read back, and what stands in them for people."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lehr.errors import CheckpointError
from lehr.evaluation import AggregatePosteriorMetric
from lehr.evaluation.statistics import JSON_NAME, TENSORS_NAME, Source, read_statistics, summary, write_statistics
from lehr.posterior.aggregate import AggregatePosterior
from lehr.posterior.collapse import moment_kls
from lehr.posterior.density import StandardNormal
from lehr.posterior.gaussian import DiagonalGaussian
from lehr.samplers import find_sampler


def statistics(shape=(4,), n=200):
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([2.0, 1.0, 0.05, 0.0])[: shape[0]].view(-1, *[1] * (len(shape) - 1))
    mean = 0.5 + scale * torch.randn(n, *shape, generator=generator, dtype=torch.float64)
    metric = AggregatePosteriorMetric(shape)
    metric.update(DiagonalGaussian(mean, torch.full_like(mean, -1.0)))
    return metric.compute(), mean


@pytest.mark.parametrize("shape", [(4,), (1,), (2, 3, 3)])
def test_what_is_written_is_read_back_bit_by_bit(tmp_path, shape):
    written, _ = statistics(shape)
    write_statistics(tmp_path, written, Source("made up", "train"))
    found = read_statistics(tmp_path)
    assert (found.n, found.latent_shape) == (written.n, written.latent_shape)
    for name in ("mean", "mean_of_var", "var_of_mean", "var", "kl", "covariance"):
        ours, theirs = getattr(found, name), getattr(written, name)
        assert (ours is None and theirs is None) or torch.equal(ours, theirs), name
    assert (found.channels is None) == (len(shape) == 1)
    if found.channels:
        assert torch.equal(found.channels.covariance, written.channels.covariance)
        assert found.channels.n == written.channels.n == 200 * 9


def test_the_tensors_are_named_and_typed_as_promised(tmp_path):
    write_statistics(tmp_path, statistics()[0], Source("made up", "train"))
    tensors = load_file(tmp_path / TENSORS_NAME)
    assert {"mean", "var", "mean_of_var", "var_of_mean", "covariance"} <= tensors.keys()
    assert {tensors[name].dtype for name in ("mean", "var", "covariance")} == {torch.float64}
    torch.testing.assert_close(tensors["var"], tensors["mean_of_var"] + tensors["var_of_mean"], rtol=0, atol=0)


def test_the_json_says_what_people_need(tmp_path):
    aggregate, mean = statistics()
    write_statistics(tmp_path, aggregate, Source("made up", "train"))
    found = json.loads((tmp_path / JSON_NAME).read_text())
    assert (found["dataset"], found["split"], found["n"], found["latent_shape"]) == ("made up", "train", 200, [4])
    assert (found["active_units"], found["active_units_of"], found["active_units_threshold"]) == (2, 4, 0.01)
    assert found["active_units_curve"]["0.001"] == 3
    assert found["variance_denominator"] == "n - 1"
    z = mean.numpy()
    var = z.var(0, ddof=1) + np.exp(-1)
    np.testing.assert_allclose(found["per_dimension"]["mean"], z.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found["per_dimension"]["var"], var, rtol=1e-12)
    np.testing.assert_allclose(found["per_dimension"]["var_of_mean"], z.var(0, ddof=1), rtol=1e-12, atol=1e-30)
    # latent diffusion scales by the standard deviation over all latents of all examples together
    assert found["scaling_factor"] == pytest.approx(1 / np.sqrt(var.mean() + z.mean(0).var()), rel=1e-12)
    assert found["shift_factor"] == pytest.approx(z.mean(), rel=1e-12)
    assert found["kl_standard_normal"] == pytest.approx((0.5 * (z**2 + np.exp(-1) - 1 + 1)).mean(0).sum(), rel=1e-12)
    covariance = np.cov(z, rowvar=False) + np.exp(-1) * np.eye(4)
    trace, square = np.trace(covariance), (z.mean(0) ** 2).sum()
    full = 0.5 * (trace + square - 4 - np.linalg.slogdet(covariance)[1])
    assert found["moment_kl_full"] == pytest.approx(full, rel=1e-9)
    assert found["moment_kl_diag"] == pytest.approx(0.5 * (trace + square - 4 - np.log(var).sum()), rel=1e-9)


def test_a_latent_map_has_factors_for_each_channel(tmp_path):
    aggregate, mean = statistics((2, 3, 3))
    write_statistics(tmp_path, aggregate, Source("made up", "train"))
    found = json.loads((tmp_path / JSON_NAME).read_text())["per_channel"]
    z = mean.numpy().transpose(0, 2, 3, 1).reshape(-1, 2)
    np.testing.assert_allclose(found["shift_factor"], z.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found["scaling_factor"], 1 / np.sqrt(z.var(0, ddof=1) + np.exp(-1)), rtol=1e-12)
    assert "moment_kl_full" not in summary(aggregate)


def test_of_many_latents_the_json_has_ranges_and_the_tensors_all_numbers(tmp_path):
    generator = torch.Generator().manual_seed(1)
    mean = torch.randn(6, 4, 64, 64, generator=generator, dtype=torch.float64)
    metric = AggregatePosteriorMetric((4, 64, 64))
    metric.update(DiagonalGaussian(mean, torch.full_like(mean, -1.0)))
    write_statistics(tmp_path, metric.compute(), Source("made up", "train"))
    assert (tmp_path / JSON_NAME).stat().st_size < 10_000
    found = json.loads((tmp_path / JSON_NAME).read_text())["per_dimension"]
    of_means = mean.numpy().mean(0)
    assert found["mean"] == pytest.approx(
        {"least": of_means.min(), "mean": of_means.mean(), "largest": of_means.max()}, abs=1e-12
    )
    assert found.keys() == {"mean", "var", "mean_of_var", "var_of_mean", "kl"}
    read = read_statistics(tmp_path)
    np.testing.assert_allclose(read.mean.numpy(), of_means.flatten(), atol=1e-12)
    assert read.kl.shape == (4 * 64 * 64,)


@pytest.mark.parametrize(("d", "kind"), [(256, list), (257, dict)])
def test_up_to_256_latents_are_listed(tmp_path, d, kind):
    metric = AggregatePosteriorMetric((d,))
    metric.update(DiagonalGaussian(torch.arange(2.0 * d).view(2, d), torch.zeros(2, d)))
    write_statistics(tmp_path, metric.compute(), Source("made up", "train"))
    found = json.loads((tmp_path / JSON_NAME).read_text())
    assert {type(vector) for vector in found["per_dimension"].values()} == {kind}


@pytest.mark.parametrize("collapsed", [0, 2, 4])
@pytest.mark.parametrize(("n", "there"), [(3, False), (5, False), (6, True), (60, True)])
def test_one_rule_says_where_there_is_a_full_covariance(tmp_path, n, there, collapsed):
    """Of 5 latents, of which some have collapsed to the noise alone: evaluation, files, metrics and samples agree."""
    mean = torch.randn(n, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mean[:, :collapsed] = 0
    posterior = AggregatePosterior.of(DiagonalGaussian(mean, torch.zeros_like(mean)))
    assert torch.linalg.cholesky_ex(posterior.covariance).info == 0  # regular all the same, by the noise
    moments = moment_kls(posterior)
    write_statistics(tmp_path, posterior, Source("made up", "train"))
    found = json.loads((tmp_path / JSON_NAME).read_text())
    assert ("moment_kl_full" in summary(posterior)) == there
    assert found["moment_kl_full"] == summary(posterior).get("moment_kl_full") == moments.full
    assert found["moment_kl_problem"] == moments.problem
    sampler = find_sampler("aggregate_full")
    if there:
        assert moments.problem is None
        drawn = sampler.density(StandardNormal((5,)), posterior, tmp_path)
        torch.testing.assert_close(drawn.covariance, posterior.covariance)
        expected = np.cov(mean.numpy(), rowvar=False) + np.eye(5)
        square = (mean.numpy().mean(0) ** 2).sum()
        kl = 0.5 * (np.trace(expected) + square - 5 - np.linalg.slogdet(expected)[1])
        assert moments.full == pytest.approx(kl, rel=1e-9)
    else:
        assert f"needs more than 5 examples, and there are {n}" in moments.problem
        with pytest.raises(ValueError, match=f"there are {n}: its rank is deficient; use covariance=diag"):
            sampler.density(StandardNormal((5,)), posterior, tmp_path)
    assert torch.equal(
        find_sampler("aggregate").density(StandardNormal((5,)), posterior, tmp_path).mean, posterior.mean
    )


def test_a_latent_that_does_not_vary_has_no_full_covariance_anywhere(tmp_path):
    mean = torch.randn(60, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logvar = torch.zeros_like(mean)
    mean[:, 1], logvar[:, 1] = 0.7, -1000.0  # a point, whatever the image
    posterior = AggregatePosterior.of(DiagonalGaussian(mean, logvar))
    numbers = summary(posterior)
    assert not {"moment_kl_diag", "moment_kl_full"} & numbers.keys()
    assert moment_kls(posterior).problem.startswith("1 of 3 latents do not vary")
    with pytest.raises(ValueError, match=r"1 of 3 latents do not vary: .*; use covariance=diag"):
        find_sampler("aggregate_full").density(StandardNormal((3,)), posterior, tmp_path)


def test_a_collapsed_latent_is_finite_in_the_json(tmp_path):
    metric = AggregatePosteriorMetric((2,))
    metric.update(DiagonalGaussian(torch.zeros(5, 2), torch.full((5, 2), -1000.0)))  # no variance at all
    write_statistics(tmp_path, metric.compute(), Source("made up", "train"))
    found = json.loads((tmp_path / JSON_NAME).read_text())
    assert found["moment_kl_diag"] is None  # infinite, for which JSON has no word
    assert found["moment_kl_problem"].startswith("2 of 2 latents do not vary")
    assert found["scaling_factor"] is None
    assert all(np.isfinite(number) for number in summary(metric.compute()).values())
    assert found["active_units"] == 0


def test_statistics_that_are_missing_or_damaged_are_said_to_be_in_one_line(tmp_path):
    with pytest.raises(CheckpointError, match="there are no statistics") as missing:
        read_statistics(tmp_path)
    write_statistics(tmp_path, statistics()[0], Source("made up", "train"))
    whole = (tmp_path / TENSORS_NAME).read_bytes()
    messages = [str(missing.value)]
    for contents in (b"", whole[:7], whole[:100], whole[:-1], b"not safetensors at all"):
        (tmp_path / TENSORS_NAME).write_bytes(contents)
        with pytest.raises(CheckpointError, match="is damaged") as damaged:
            read_statistics(tmp_path)
        messages.append(str(damaged.value))
    save_file({"mean": torch.zeros(2)}, tmp_path / TENSORS_NAME)
    with pytest.raises(CheckpointError, match="is damaged") as other:
        read_statistics(tmp_path)
    for message in (*messages, str(other.value)):
        assert "\n" not in message
        assert str(tmp_path) in message


def test_a_latent_map_has_what_diffusion_scales_by_for_a_sample_and_for_the_mean(tmp_path):
    aggregate, mean = statistics((2, 3, 3))
    source = Source("made up", "train", (24, 24), "centre", encoder_input=(-1.0, 1.0))
    write_statistics(tmp_path, aggregate, source)
    found = json.loads((tmp_path / JSON_NAME).read_text())
    assert (found["resolution"], found["crop"]) == ([24, 24], "centre")
    assert (found["pixels"], found["encoder_input"]) == ([0.0, 1.0], [-1.0, 1.0])
    z = mean.numpy().transpose(1, 0, 2, 3).reshape(2, -1)
    signal, noise = z.var(1, ddof=1), np.exp(-1)
    channel = found["per_channel"]
    np.testing.assert_allclose(channel["latents_mean"], z.mean(1), rtol=1e-12)
    np.testing.assert_allclose(channel["latents_std"], np.sqrt(signal + noise), rtol=1e-12)
    np.testing.assert_allclose(channel["latents_std_of_mean"], np.sqrt(signal), rtol=1e-12)
    whole = mean.numpy().var(0, ddof=1).mean() + mean.numpy().mean(0).var()
    assert found["whole"] == pytest.approx(
        {"mean": z.mean(), "var": whole + noise, "mean_of_var": noise, "var_of_mean": whole}, rel=1e-12
    )
    assert found["scaling_factor"] == pytest.approx(1 / np.sqrt(whole + noise), rel=1e-12)
    assert found["scaling_factor_of_mean"] == pytest.approx(1 / np.sqrt(whole), rel=1e-12)
    assert np.shape(found["per_position"]["var"]) == (3, 3)


def test_extremes_and_tallies_are_kept_and_shares_are_reported(tmp_path):
    raw = torch.full((10, 2, 2, 2), -17.0)
    raw[:3], raw[3] = -40.0, 30.0
    mean = 5 + torch.arange(80.0).view(10, 2, 2, 2) / 100
    metric = AggregatePosteriorMetric((2, 2, 2), detailed=True)
    metric.update(DiagonalGaussian.bounded(mean, raw, -30.0, 20.0))
    written = metric.compute()
    numbers = summary(written)
    assert (numbers["clamped_low"], numbers["clamped_high"]) == (pytest.approx(0.3), pytest.approx(0.1))
    assert numbers["noise_lost_bfloat16"] == pytest.approx(0.9, abs=1e-4)  # all but those clamped to exp(20)
    write_statistics(tmp_path, written, Source("made up", "train"))
    assert json.loads((tmp_path / JSON_NAME).read_text())["clamped_low"] == pytest.approx(0.3)
    found = read_statistics(tmp_path)
    assert torch.equal(found.extremes, written.extremes)
    assert torch.equal(found.largest_deviation, written.largest_deviation)
    assert found.tallies == written.tallies


def test_without_noise_there_are_no_shares_of_it():
    assert not {name for name in summary(statistics()[0]) if name.startswith(("noise_lost", "clamped"))}


def test_maps_of_several_sizes_have_files_too(tmp_path):
    generator = torch.Generator().manual_seed(0)
    maps = [1.5 + torch.randn(4, 2, *size, generator=generator, dtype=torch.float64) for size in ((3, 3), (2, 6))]
    metric = AggregatePosteriorMetric((2, 3, 3), detailed=True)
    for mean in maps:
        metric.update(DiagonalGaussian(mean, torch.full_like(mean, -2.0)))
    write_statistics(tmp_path, metric.compute(), Source("made up", "train"))
    written, found = json.loads((tmp_path / JSON_NAME).read_text()), read_statistics(tmp_path)
    rows = torch.cat([mean.transpose(0, 1).flatten(1) for mean in maps], 1).numpy()
    std = np.sqrt(rows.var(1, ddof=1) + np.exp(-2))
    assert (written["n"], written["latent_shape"], written["per_channel"]["observations"]) == (8, [2], 4 * 9 + 4 * 12)
    np.testing.assert_allclose(written["per_channel"]["latents_std"], std, rtol=1e-12)
    assert written["scaling_factor"] == pytest.approx((np.square(std).mean() + rows.mean(1).var()) ** -0.5, rel=1e-12)
    assert "per_position" not in written
    assert "kl_standard_normal" not in written  # of an example: it has 9 positions or 12
    assert len(written["per_channel"]["kl"]) == 2
    assert (found.n, found.channels.n) == (8, 84)
    np.testing.assert_allclose(found.channels.mean, rows.mean(1), rtol=1e-12)
