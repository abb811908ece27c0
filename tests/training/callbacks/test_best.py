"""best.ckpt and early stopping look at the ELBO of the validation only once the KL weight has settled."""

from __future__ import annotations

import math

import pytest
import torch
from harness import Tiny, fit, vae

from lehr.training import Checkpoints, EarlyStopping
from lehr.training.checkpoint import read_checkpoint
from lehr.training.module import VAEModule


class Scripted(VAEModule):
    """Its validations have the ELBOs they are told to have."""

    elbos: list[float]

    def tell_monitors(self, values):
        values["val/elbo"] = self.elbos.pop(0)
        super().tell_monitors(values)


def scripted(elbos, **annealing):
    module = vae(**annealing)
    module.__class__ = Scripted
    module.elbos = list(elbos)
    return module


def epochs_trained(module):
    return module.trainer.global_step // 6  # steps of an epoch of Tiny


BEFORE = [-1.0, -2.0]  # at the ends of the first two of three epochs of warm-up


def test_the_best_checkpoint_is_the_best_after_the_annealing(tmp_path):
    elbos = [*BEFORE, -30.0, -25.0, -20.0, -22.0]
    fit(tmp_path, Checkpoints(), module=scripted(elbos, warmup=3), max_epochs=6)
    best = read_checkpoint(tmp_path / "checkpoints" / "best.ckpt")
    assert best["global_step"] == 5 * 6
    assert best["evaluated"]["val/elbo"] == -20.0
    assert best["callbacks"]["Checkpoints"]["best"] == -20.0
    last = read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    assert (last["global_step"], last["evaluated"]["val/elbo"]) == (36, -22.0)


def test_without_annealing_every_validation_counts(tmp_path):
    fit(tmp_path, Checkpoints(), module=scripted([-1.0, -2.0, -3.0], warmup=0))
    assert read_checkpoint(tmp_path / "checkpoints" / "best.ckpt")["global_step"] == 6


def test_a_validation_that_is_not_finite_is_not_the_best(tmp_path):
    fit(tmp_path, Checkpoints(), module=scripted([math.nan, -5.0, math.nan], warmup=0))
    assert read_checkpoint(tmp_path / "checkpoints" / "best.ckpt")["global_step"] == 12


def test_the_check_before_training_that_plain_trainers_make_is_no_validation(tmp_path):
    fit(tmp_path, Checkpoints(), module=scripted([-0.5, -3.0, -2.0, -4.0], warmup=0), num_sanity_val_steps=1)
    assert read_checkpoint(tmp_path / "checkpoints" / "best.ckpt")["global_step"] == 12


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("patience", [1, 2, 3])
def test_patience_is_counted_from_the_end_of_the_annealing(tmp_path, every, patience):
    elbos = [*BEFORE, -30.0, -25.0, *([-26.0] * 20)]
    module = scripted(elbos, warmup=3 * every)
    fit(tmp_path, EarlyStopping(patience), module=module, check_val_every_n_epoch=every, max_epochs=30)
    assert epochs_trained(module) == (4 + patience) * every


@pytest.mark.parametrize("every", [1, 2])
def test_without_patience_a_falling_elbo_stops_nothing(tmp_path, every):
    module = scripted([-float(k) for k in range(9)], warmup=2)
    fit(tmp_path, EarlyStopping(None), module=module, check_val_every_n_epoch=every, max_epochs=8)
    assert epochs_trained(module) == 8


def test_an_improvement_smaller_than_min_delta_is_none(tmp_path):
    module = scripted([-10.0, -9.95, -9.0, -8.95, -8.91, -8.0], warmup=0)
    fit(tmp_path, EarlyStopping(2, min_delta=0.1), module=module, max_epochs=6)
    assert epochs_trained(module) == 5


def test_the_run_that_is_compared_is_the_real_one(tmp_path):
    """Without a script: the ELBO that is kept is the largest of those of the settled epochs."""

    class Elbos(Checkpoints):
        seen: list[float] = []  # noqa: RUF012

        def on_validation_end(self, trainer, pl_module):
            super().on_validation_end(trainer, pl_module)
            self.seen.append(pl_module.evaluated["val/elbo"])

    callback = Elbos()
    fit(tmp_path, callback, module=vae(warmup=4), data=Tiny(binarize="dynamic"), max_epochs=10)
    assert callback.best == max(callback.seen[3:])
    best = read_checkpoint(tmp_path / "checkpoints" / "best.ckpt")
    assert best["global_step"] == 6 * (4 + callback.seen[3:].index(callback.best))
    assert torch.is_tensor(next(iter(best["state_dict"].values())))
