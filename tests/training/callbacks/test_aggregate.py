"""The statistics of a run against a pass over the training set by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from harness import Tiny, fit, vae

import lehr
from lehr.data import Digits
from lehr.evaluation.statistics import read_statistics
from lehr.training import AggregateStatistics, SampleGrids


def test_the_statistics_of_a_run_are_those_of_its_model_over_its_training_images(finished_run):
    run = lehr.load(finished_run)
    values = {name: value for name, value in run.config["data"].items() if name != "_target_"}
    data = Digits(**values)
    data.setup()
    images = torch.cat([batch.images for batch in data.evaluation_loader("train", "cpu")])
    q = run.encode(images)
    mean, logvar, var = (part.double().numpy() for part in (q.mean, q.logvar, q.var))
    statistics = run.posterior
    assert statistics.n == len(images) == data.n_train
    # the model's float32 outputs depend in their last bits on the size of a batch
    close = {"rtol": 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(statistics.mean, mean.mean(0), **close)
    np.testing.assert_allclose(statistics.mean_of_var, var.mean(0), **close)
    np.testing.assert_allclose(statistics.var_of_mean, mean.var(0, ddof=1), **close)
    np.testing.assert_allclose(statistics.covariance, np.cov(mean, rowvar=False) + np.diag(var.mean(0)), **close)
    np.testing.assert_allclose(statistics.kl, (0.5 * (mean**2 + var - 1 - logvar)).mean(0), **close)
    metrics = json.loads((finished_run / "metrics.json").read_text())
    assert metrics["posterior/active_units"] == (mean.var(0, ddof=1) > 0.01).sum()
    assert metrics["posterior/kl_standard_normal"] == pytest.approx(statistics.kl.sum().item(), rel=1e-12)
    description = json.loads((finished_run / "posterior" / "statistics.json").read_text())
    assert (description["dataset"], description["split"], description["n"]) == ("digits", "train", data.n_train)


@pytest.mark.parametrize("size", [1, 5, 85, 86, 1000])  # 85 leaves a last batch of one of the 86
def test_the_size_of_evaluation_batches_changes_no_statistic(tmp_path, size):
    module, data = vae(), Tiny(eval_batch_size=size)
    fit(tmp_path, AggregateStatistics(), module=module, data=data)
    q = module.model.encode(torch.cat([batch.images for batch in data.evaluation_loader("train", "cpu")]))
    found = read_statistics(tmp_path / "posterior")
    assert found.n == 86
    np.testing.assert_allclose(found.mean, q.mean.detach().double().mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.var_of_mean, q.mean.detach().double().var(0), rtol=1e-5, atol=1e-6)


class Noisy(torch.nn.Module):
    """As dropout or batch normalisation do, it behaves differently in training, and counts how often."""

    def __init__(self):
        super().__init__()
        self.in_training = 0

    def forward(self, x):
        self.in_training += self.training
        return x + self.training * 100


def test_statistics_and_pictures_are_made_in_evaluation_mode_and_leave_every_part_as_it_was(tmp_path):
    module = vae(warmup=0)
    noisy, frozen = Noisy(), torch.nn.Identity()
    module.model.encoder.append(noisy)
    module.model.decoder.append(frozen)
    grids = SampleGrids(n=4, interpolations=2, steps=3)
    fit(tmp_path, AggregateStatistics(), grids, module=module, max_epochs=1, check_val_every_n_epoch=5)
    assert noisy.in_training == 6  # the steps of one epoch, and nothing else
    frozen.eval()
    module.train()
    frozen.eval()
    grids.draw(module.trainer, module)
    assert (module.training, noisy.training, frozen.training) == (True, True, False)


def test_a_second_training_has_statistics_of_its_own(tmp_path):
    module, data = vae(), Tiny()
    fit(tmp_path, AggregateStatistics(), module=module, data=data)
    first = module.aggregate
    fit(tmp_path, AggregateStatistics(), module=module, data=data)
    assert not torch.equal(module.aggregate.mean, first.mean)
