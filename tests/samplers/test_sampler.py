"""Samplers by name, and the files of those that are fitted."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from lehr.config.samplers import SAMPLERS
from lehr.errors import CheckpointError, ConfigError, DataError
from lehr.posterior.aggregate import AggregatePosterior, flat_moments
from lehr.posterior.density import GaussianMixture, Normal, StandardNormal
from lehr.posterior.gaussian import DiagonalGaussian
from lehr.samplers.sampler import FittedDensity, FittedSampler, find_sampler
from lehr.samplers.two_stage import TwoStage, fit_two_stage

F64 = torch.float64
FITTED = ("mixture", "two_stage")


def fitted_sampler(name: str) -> FittedSampler:
    sampler = find_sampler(name)
    assert isinstance(sampler, FittedSampler)
    return sampler


def mixture(full: bool) -> FittedDensity:
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(3, 4, generator=generator, dtype=F64)
    variances = torch.rand(3, 4, generator=generator, dtype=F64) + 0.1
    weights = torch.tensor([0.1, 0.2, 0.7], dtype=F64) / 3  # not normalised, nor representable
    density = GaussianMixture(weights, means, variances.diag_embed() if full else variances, (4, 1, 1))
    return FittedDensity(density, {1: -5.5, 3: -4.25}, 3)


def two_stage() -> FittedDensity:
    mean = torch.randn(30, 4, 1, 1, generator=torch.Generator().manual_seed(0))
    return fit_two_stage(DiagonalGaussian(mean, torch.full_like(mean, -1.0)), hidden=(6, 5), steps=12)


@pytest.mark.parametrize(
    ("name", "fitted"),
    [("mixture", mixture(True)), ("mixture", mixture(False)), ("two_stage", two_stage())],
    ids=["full mixture", "diagonal mixture", "two stages"],
)
def test_a_sampler_read_back_gives_the_same_bits(tmp_path, name, fitted):
    fitted_sampler(name).save(tmp_path, fitted)
    density = fitted_sampler(name).load(tmp_path)
    z = fitted.density.sample(50, seed=1)
    assert z.shape == (50, 4, 1, 1)
    assert torch.equal(density.sample(50, seed=1), z)
    assert torch.equal(density.log_prob(z.double()), fitted.density.log_prob(z.double()))
    assert density.exact == (name == "mixture")
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.safetensors", f"{name}.json"}
    described = json.loads((tmp_path / f"{name}.json").read_text())
    assert described["held_out"] == {str(key): value for key, value in fitted.held_out.items()}
    assert described["chosen"] == fitted.chosen


def test_a_mixture_is_kept_in_float64(tmp_path):
    fitted_sampler("mixture").save(tmp_path, mixture(True))
    tensors = load_file(tmp_path / "mixture.safetensors")
    assert {key: (t.dtype, tuple(t.shape)) for key, t in tensors.items()} == {
        "weights": (F64, (3,)),
        "means": (F64, (3, 4)),
        "covariances": (F64, (3, 4, 4)),
        "latent_shape": (torch.int64, (3,)),
    }


@pytest.mark.parametrize("name", FITTED)
def test_a_sampler_that_was_not_fitted_says_what_fits_it(tmp_path, name):
    run = tmp_path / "run"
    with pytest.raises(CheckpointError) as caught:
        fitted_sampler(name).load(run / "posterior")
    assert str(caught.value) == f"{run}: has no {name} sampler; lehr evaluate run={run} samplers=[{name}] fits it"


@pytest.mark.parametrize("name", FITTED)
def test_a_damaged_file_is_one_line(tmp_path, name):
    path = tmp_path / f"{name}.safetensors"
    fitted_sampler(name).save(tmp_path, mixture(True) if name == "mixture" else two_stage())
    whole = path.read_bytes()
    tensors = load_file(path)
    first = "means" if name == "mixture" else "mean"
    damages = [
        whole[: len(whole) // 2],
        b"",
        {key: t for key, t in tensors.items() if key != first},
        {**tensors, first: tensors[first][..., :2].clone()},
        {**tensors, "latent_shape": torch.tensor([7])},
    ]
    for damage in damages:
        path.unlink()  # the tensors read from it are still mapped
        path.write_bytes(damage) if isinstance(damage, bytes) else save_file(damage, path)
        with pytest.raises(CheckpointError) as caught:
            fitted_sampler(name).load(tmp_path)
        assert str(caught.value).startswith(f"{path}: is damaged (")
        assert "\n" not in str(caught.value)


def test_a_covariance_that_is_none_is_damage(tmp_path):
    fitted_sampler("mixture").save(tmp_path, mixture(True))
    path = tmp_path / "mixture.safetensors"
    save_file({**load_file(path), "covariances": -torch.eye(4, dtype=F64).repeat(3, 1, 1)}, path)
    with pytest.raises(CheckpointError, match=r"is damaged .*not positive definite"):
        fitted_sampler("mixture").load(tmp_path)


def test_each_name_is_its_density(tmp_path):
    posterior = DiagonalGaussian(torch.randn(20, 4, generator=torch.Generator().manual_seed(0)), torch.zeros(20, 4))
    aggregate = AggregatePosterior.from_moments(flat_moments(posterior), (4,))
    fitted_sampler("mixture").save(tmp_path, mixture(False))
    fitted_sampler("two_stage").save(tmp_path, two_stage())
    prior = StandardNormal((4,))
    densities = {name: find_sampler(name).density(prior, aggregate, tmp_path) for name in SAMPLERS}
    z = torch.zeros(1, 4, dtype=F64)
    assert densities["prior"] is prior
    for name, covariance in (("aggregate", aggregate.var.diag()), ("aggregate_full", aggregate.covariance)):
        expected = torch.distributions.MultivariateNormal(aggregate.mean, covariance).log_prob(z)
        assert isinstance(densities[name], Normal)
        torch.testing.assert_close(densities[name].log_prob(z), expected)
    assert isinstance(densities["mixture"], GaussianMixture)
    assert isinstance(densities["two_stage"], TwoStage)


def test_another_name_is_refused_with_those_there_are():
    with pytest.raises(ConfigError) as caught:
        find_sampler("flow")
    expected = "samplers=flow: expected one of prior, aggregate, aggregate_full, mixture, two_stage"
    assert caught.value.problems == (expected,)


@pytest.mark.parametrize("name", FITTED)
def test_latents_of_a_run_that_failed_are_refused(name):
    mean = torch.zeros(20, 2)
    mean[3, 1] = torch.nan
    with pytest.raises(DataError, match=f"samplers={name}: some latents of the training examples are NaN"):
        fitted_sampler(name).fit(DiagonalGaussian(mean, torch.zeros(20, 2)))
