"""A sampler is a class and its line in the registry: evaluation, files, loading and clean-up then know it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor

import lehr as library
from lehr.config.samplers import SAMPLERS, SamplerEntry
from lehr.config.schema import EvaluateConfig, SampleConfig
from lehr.config.words import words_of
from lehr.evaluation.table import evaluation_table
from lehr.posterior.density import Normal
from lehr.posterior.posterior import Posterior
from lehr.run.directory import RunDirectory
from lehr.run.evaluate import Request, evaluate_run
from lehr.samplers.sampler import FittedDensity, FittedSampler, Report, Sampler, find_sampler

OLD_RUN = Path(__file__).parents[1] / "fixtures" / "old_run"


class Means(FittedSampler[Normal]):
    """A normal with the moments of the posterior means."""

    def _fit(self, latents: Posterior, seed: int, progress: Report | None) -> FittedDensity[Normal]:
        flat = latents.mean.flatten(1).double()
        return FittedDensity(Normal(flat.mean(0), flat.var(0), tuple(latents.mean.shape[1:])), {0: 0.0}, 0)

    def _tensors(self, density: Normal) -> dict[str, Tensor]:
        return {"mean": density.mean, "variance": density.covariance}

    def _density(self, tensors: dict[str, Tensor], latent_shape: tuple[int, ...]) -> Normal:
        return Normal(tensors["mean"], tensors["variance"], latent_shape)


def test_a_sampler_of_one_s_own_is_compared_kept_drawn_from_and_cleared_away(tmp_path, monkeypatch):
    monkeypatch.setitem(SAMPLERS, "means", SamplerEntry(f"{__name__}.Means", "N(E[mean], Var(mean))"))
    path = Path(shutil.copytree(OLD_RUN, tmp_path / "run"))
    run = library.load(path)
    request = Request(examples=30, iwae_samples=2, samplers=("prior", "means"), features="pca")
    table, written = evaluate_run(run, request)
    assert table["generation/left_out"] == {}
    assert table["generation/means/latent_log_prob"] < table["generation/prior/latent_log_prob"]  # means lack the noise
    assert json.loads(written.read_text())["generation/means/frechet"] == table["generation/means/frechet"]
    assert "\n    means " in evaluation_table(table)
    z = run.density("means").sample(2000, 0)
    assert torch.equal(library.load(path).sample_latents(2000, "means", seed=0), z)
    torch.testing.assert_close(z.var(0).double(), run.posterior.var_of_mean, rtol=0.15, atol=1e-4)
    RunDirectory(path).remove_evaluations()
    assert {file.stem for file in (path / "posterior").iterdir()} == {"statistics"}


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_line_of_the_registry_is_a_sampler_of_that_name(name):
    sampler = find_sampler(name)
    assert isinstance(sampler, Sampler)
    assert sampler.name == name
    assert 0 < len(SAMPLERS[name].line) < 60


def test_the_docs_and_the_commands_name_all_samplers():
    docs = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text().partition("\nThe samplers: ")[2]
    assert [name for name in SAMPLERS if f"`{name}`" not in docs] == []
    assert words_of(EvaluateConfig)["samplers"] == [f"[{name}" for name in SAMPLERS]
    assert get_args(SampleConfig.model_fields["method"].annotation) == (*SAMPLERS, "interpolate")
