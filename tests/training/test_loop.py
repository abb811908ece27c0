"""lehr's own loop gives way to Lightning's where anybody else takes part in a step."""

from __future__ import annotations

import pytest
import torch
from harness import Tiny, trainer, vae

from lehr.objective.step import AUTOENCODER
from lehr.training.loop import LeanEpochLoop
from lehr.training.module import VAEModule
from lehr.training.players import PlayerPlan


class Counted(VAEModule):
    """Counts what a subclass may do for itself."""

    calls = 0


class Steps(Counted):
    def optimizer_step(self, *arguments, **named):
        self.calls += 1
        super().optimizer_step(*arguments, **named)


class ZeroGrad(Counted):
    def optimizer_zero_grad(self, *arguments):
        self.calls += 1
        super().optimizer_zero_grad(*arguments)


class Clips(Counted):
    def configure_gradient_clipping(self, *arguments, **named):
        self.calls += 1
        super().configure_gradient_clipping(*arguments, **named)


class Backward(Counted):
    def backward(self, loss):
        self.calls += 1
        super().backward(loss)


class Logs(Counted):
    def training_step(self, batch, batch_idx):
        self.calls += 1
        self.log("note", 1.0)
        return super().training_step(batch, batch_idx)


class Transferred(Tiny):
    """Looks at every batch once it is on the device."""

    calls = 0

    def on_after_batch_transfer(self, batch, dataloader_idx):
        self.calls += self.trainer.training
        return batch


def train(folder, module, data=None):
    one = trainer(folder, max_epochs=1)
    LeanEpochLoop.install(one)
    one.fit(module, datamodule=data or Tiny())
    assert one.global_step == 6
    return one


@pytest.mark.parametrize("kind", [Steps, ZeroGrad, Clips, Backward, Logs])
def test_what_a_subclass_of_the_module_does_in_a_step_is_done(tmp_path, kind):
    one = vae(warmup=0)
    module = kind(one.model, one.likelihood, one.rate_term, one.plans[AUTOENCODER])
    used = train(tmp_path, module)
    assert module.calls == 6
    assert ("note" in used.callback_metrics) == (kind is Logs)


def test_what_a_data_module_does_with_a_batch_is_done(tmp_path):
    data = Transferred()
    train(tmp_path, vae(warmup=0), data)
    assert data.calls == 6


def test_an_optimizer_may_compute_the_loss_itself(tmp_path):
    module = vae(warmup=0)
    module.plans[AUTOENCODER] = PlayerPlan(torch.optim.LBFGS, {"lr": 0.1, "max_iter": 2})
    train(tmp_path, module)


def test_a_module_as_it_is_trains_in_lehr_s_own_loop(tmp_path):
    assert train(tmp_path, vae(warmup=0)).fit_loop.epoch_loop._is_lean
