"""The average of the weights: what it is, when it stands in their place, and what checkpoints hold of it."""

from __future__ import annotations

import pytest
import torch
from harness import Tiny, trainer, vae
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from lehr.errors import CheckpointError
from lehr.run.directory import RunDirectory
from lehr.training.callbacks.checkpoints import Checkpoints
from lehr.training.ema import EMA, Averaging, EMAPlan


def test_the_average_is_that_of_karras_et_al():
    layer = torch.nn.Linear(1, 1, bias=False)
    ema, expected = EMA(EMAPlan(half_life=64), {"model": layer}), layer.weight.item()
    for k in range(1, 40):
        with torch.no_grad():
            layer.weight.fill_(k)
        ema.update(16, 16 * k)
        kept = 0.5 ** (16 / min(64, 0.09 * 16 * k))  # EDM2, training/phema.py
        expected = kept * expected + (1 - kept) * k
    with ema.applied():
        assert layer.weight.item() == pytest.approx(expected, rel=1e-6)
        with ema.applied():
            assert layer.weight.item() == pytest.approx(expected, rel=1e-6)
    assert layer.weight.item() == 39


def test_the_average_by_decay_of_a_constant_is_the_constant():
    layer = torch.nn.BatchNorm1d(3).to(torch.bfloat16)
    ema = EMA(EMAPlan(decay=0.9), {"model": layer})
    layer.running_mean.fill_(2.0)
    ema.update(1, 1)
    state = ema.state_dict()
    assert state["model.weight"].dtype == torch.float32  # what is added at a step would be lost in bfloat16
    with ema.applied():
        assert torch.equal(layer.weight, torch.ones(3, dtype=torch.bfloat16))
        assert torch.equal(layer.running_mean, torch.full((3,), 2.0, dtype=torch.bfloat16))  # copied, not averaged
    with pytest.raises(CheckpointError, match="another model"):
        ema.load_state_dict({"model.other": torch.zeros(3)})


def averaged_vae():
    module = vae(warmup=0)
    module.averaging = Averaging(EMAPlan(decay=0.9))
    return module


def weights(module):
    return {name: weight.clone() for name, weight in module.state_dict().items()}


def average(module):
    with module.averaged():
        return weights(module)


def differing(a, b):
    assert a.keys() == b.keys()
    return [name for name in a if not torch.equal(a[name], b[name])]


def test_validation_uses_the_average_and_checkpoints_hold_both(tmp_path):
    module, data = averaged_vae(), Tiny()
    module.model.register_buffer("grid", torch.zeros(3), persistent=False)
    module.model.tied = module.model.decoder  # has two names in a state_dict
    best = []

    class Look(Checkpoints):
        def on_validation_end(self, trainer, pl_module):
            before = self.best
            super().on_validation_end(trainer, pl_module)
            if self.best > before:  # written with the average in the weights' place
                best[:] = [trainer.global_step, weights(pl_module)]

        def on_train_batch_end(self, trainer, pl_module, *rest):
            trained[trainer.global_step] = weights(pl_module)

    trained = {}
    one = trainer(tmp_path, Look(), max_epochs=2)
    one.fit(module, datamodule=data)
    step, shown = best
    assert differing(shown, trained[step])
    saved = torch.load(RunDirectory(tmp_path).best_checkpoint, weights_only=True)
    assert differing(saved["state_dict"], trained[step]) == []
    assert differing({name: saved["ema"].get(name, shown[name]) for name in shown}, shown) == []
    averaged = module.evaluated["val/elbo"]
    module.averaging = Averaging(EMAPlan())
    one.validate(module, datamodule=data, verbose=False)
    assert module.evaluated["val/elbo"] != averaged


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
@pytest.mark.parametrize("new", [True, False], ids=["by a new module", "by the module that was trained"])
def test_the_average_in_a_checkpoint_is_what_is_tested(tmp_path, new):
    module, data = averaged_vae(), Tiny()
    saver = ModelCheckpoint(tmp_path, every_n_train_steps=7, save_top_k=-1, filename="{step}")
    trainer(tmp_path, saver, max_epochs=2).fit(module, datamodule=data)
    path = tmp_path / "step=7.ckpt"
    saved = torch.load(path, weights_only=True)
    expected = vae(warmup=0)
    expected.load_state_dict({**saved["state_dict"], **saved["ema"]})
    trainer(tmp_path).test(expected, datamodule=data, verbose=False)
    module = averaged_vae() if new else module
    trainer(tmp_path).test(module, datamodule=data, ckpt_path=path, verbose=False)
    assert module.evaluated == expected.evaluated
    assert differing(weights(module), saved["state_dict"]) == []


def test_a_second_training_goes_on_with_the_average(tmp_path):
    module = averaged_vae()
    one = trainer(tmp_path, max_epochs=2)
    one.fit(module, datamodule=Tiny())
    before = average(module)
    one.fit(module, datamodule=Tiny())  # nothing is left to do
    assert differing(average(module), before) == []
    assert differing(before, weights(module))


def test_after_an_error_within_a_validation_training_goes_on_with_its_own_weights(tmp_path):
    class Fail(Callback):
        def on_validation_batch_end(self, *arguments):
            raise ValueError("there was no paper left")

    class Look(Callback):
        def on_train_start(self, trainer, pl_module):
            self.seen = weights(pl_module)

        def on_train_batch_end(self, trainer, pl_module, *rest):
            self.trained = weights(pl_module)

    module, look = averaged_vae(), Look()
    with pytest.raises(ValueError, match="no paper"):
        trainer(tmp_path, look, Fail(), max_epochs=1).fit(module, datamodule=Tiny())
    last = look.trained
    module.train()
    trainer(tmp_path, look, max_epochs=1).fit(module, datamodule=Tiny())
    assert differing(look.seen, last) == []
