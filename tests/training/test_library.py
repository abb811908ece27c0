"""lehr's module and callbacks with a plain Lightning trainer, without configuration or command line."""

from __future__ import annotations

import math

import pytest
import torch
from harness import Tiny, fit, trainer, vae, visible_events
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger

from lehr.errors import ConfigError
from lehr.evaluation.statistics import read_statistics
from lehr.objective import IWAE, Capacity, FreeBits
from lehr.training import AggregateStatistics, Progress, SampleGrids
from lehr.training.callbacks.metrics import Metrics
from lehr.training.module import VAEModule


def test_a_plain_trainer_trains_tests_and_computes_the_statistics(tmp_path, capfd):
    module, data = vae(), Tiny(binarize="dynamic")
    plain = trainer(tmp_path, AggregateStatistics(), SampleGrids(n=4, steps=3), Progress(), max_epochs=12)
    plain.fit(module, datamodule=data)
    assert plain.callback_metrics["val/elbo"] == pytest.approx(module.evaluated["val/elbo"], rel=1e-6)
    plain.test(module, datamodule=data, verbose=False)
    tested = plain.callback_metrics
    assert module.aggregate.n == data.n_train
    assert torch.equal(read_statistics(tmp_path / "posterior").mean, module.aggregate.mean)
    assert {path.name for path in (tmp_path / "samples").iterdir()} == {
        "aggregate.png", "prior.png", "interpolation.png", "reconstruction.png", "traversal.png", "extremes.png",
    }  # fmt: skip
    assert tested["test/elbo"] == pytest.approx(module.evaluated["test/elbo"], rel=1e-6)
    # 16 pixels that nothing is known of have -11.09 nats
    assert -16 * math.log(2) < tested["test/elbo"] < 0
    assert "training 100%" in capfd.readouterr().err


def test_lightning_s_own_early_stopping_and_checkpoints_can_watch_the_elbo(tmp_path):
    stopping = EarlyStopping(monitor="val/elbo", mode="max", patience=2, min_delta=100.0)
    best = ModelCheckpoint(tmp_path / "best", monitor="val/elbo", mode="max", filename="best")
    module = fit(tmp_path, stopping, best, max_epochs=10)
    assert module.trainer.current_epoch == 3
    assert best.best_model_score == pytest.approx(module.evaluated["val/elbo"], abs=0.5)
    state = torch.load(tmp_path / "best" / "best.ckpt", weights_only=True)["state_dict"]
    assert state.keys() == module.state_dict().keys()


def test_a_module_can_be_validated_and_tested_without_training(tmp_path):
    module, data, plain = vae(weight=0.3), Tiny(), trainer(tmp_path)
    plain.validate(module, datamodule=data, verbose=False)
    found = module.evaluated
    assert found["val/elbo"] == pytest.approx(-found["val/distortion"] - found["val/rate"], rel=1e-6)
    assert found["val/kl_weight"] == 0.3
    plain.test(module, datamodule=data, verbose=False)
    assert module.evaluated.keys() == {name.replace("val/", "test/") for name in found}


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_resuming_with_a_plain_trainer_goes_on_in_the_middle_of_an_epoch(tmp_path):
    data, options = Tiny(binarize="dynamic"), {"max_epochs": 4, "check_val_every_n_epoch": 2}
    whole = fit(tmp_path, data=data, **options)

    def saver(folder):
        return ModelCheckpoint(tmp_path / folder, every_n_train_steps=1, save_top_k=-1, filename="{step}")

    fit(tmp_path, saver("steps"), data=data, **options)
    for step in (1, 4, 8, 17):
        module = vae(seed=0)
        saved = tmp_path / "steps" / f"step={step}.ckpt"
        trainer(tmp_path, saver(f"after-{step}"), **options).fit(module, datamodule=data, ckpt_path=saved)
        for name, weight in whole.state_dict().items():
            assert torch.equal(module.state_dict()[name], weight), (step, name)
        assert module.evaluated == whole.evaluated


def test_any_logger_gets_what_the_metrics_callback_measures(tmp_path):
    logger = TensorBoardLogger(tmp_path, name="", version="", default_hp_metric=False)
    module = fit(tmp_path, Metrics({}), logger=logger, log_every_n_steps=2)
    events = visible_events(tmp_path)
    assert [x for x, _ in events["train/loss"]] == [32, 64, 86, 118, 150, 172, 204, 236, 258]
    assert events["val/elbo"][-1] == (258, pytest.approx(module.evaluated["val/elbo"], rel=1e-6))


def test_the_same_seed_trains_the_same_model_and_another_another(tmp_path):
    one, same, other = (fit(tmp_path, module=vae(seed=seed)).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["model.encoder.1.weight"], other["model.encoder.1.weight"])


@pytest.mark.parametrize("term", [Capacity(3.0), FreeBits(0.1)], ids=["capacity", "free bits"])
def test_a_rate_term_that_an_objective_has_no_rate_for_is_refused(term):
    one = vae()
    with pytest.raises(ConfigError, match=f"^{type(term).__name__} with IWAE: needs a rate by itself"):
        VAEModule(one.model, one.likelihood, term, one.plans["autoencoder"], objective=IWAE(3))
