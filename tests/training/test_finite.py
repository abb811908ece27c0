"""A loss that is not finite stops the run, says where, and spoils nothing that was saved."""

from __future__ import annotations

import json
import math
import signal

import pytest
import torch
from harness import Tiny, fit, vae
from lightning.pytorch import Callback
from witness import Spoil

from lehr.errors import Interrupted, NonFiniteLoss
from lehr.training import Checkpoints
from lehr.training.callbacks.interruption import Interruption
from lehr.training.checkpoint import read_checkpoint

SHORT = (
    "trainer.max_epochs=3", "kl.warmup=1", "model.hidden=[32]", "trainer.check_val_every_n_epoch=1",
    "callbacks.checkpoints.every_seconds=0",
)  # fmt: skip


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_run_whose_loss_is_not_finite_fails_in_one_line_and_can_be_resumed(lehr, tmp_path, value):
    spoil = ("+callbacks.spoil._target_=witness.Spoil", "+callbacks.spoil.at=30", f"+callbacks.spoil.value={value}")
    code, _, err = lehr("train", *SHORT, *spoil, "trust=[witness]", f"dir={tmp_path}/run")
    assert code == 1
    last = err.splitlines()[-1]
    assert last.startswith("lehr train: step 30 (KL weight 1): the distortion is nan")
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert status["state"] == "failed"
    assert "step 30" in status["error"]
    good = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert good["global_step"] == 30  # all that was trained before
    assert all(torch.isfinite(weight).all() for weight in good["state_dict"].values())
    assert lehr("train", f"resume={tmp_path}/run", "callbacks.spoil=null")[0] == 0
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "done"


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ((math.nan, 1.0), "the distortion is nan"),
        ((1.0, math.inf), "the rate is inf"),
        ((-math.inf, math.nan), "the distortion is -inf and the rate is nan"),
    ],
)
def test_the_step_and_the_term_are_named(terms, message):
    with pytest.raises(NonFiniteLoss) as error:
        vae().finite.check(("distortion", "rate"), torch.tensor(terms), 17, 0.25)
    assert str(error.value) == f"step 17 (KL weight 0.25): {message}"


def test_a_rate_that_is_not_finite_counts_at_kl_weight_0_too(tmp_path):
    module = vae(hold=2, warmup=0)
    with torch.no_grad():
        module.model.encoder[-1].bias[0] = math.inf  # of a mean
    with pytest.raises(NonFiniteLoss, match=r"step 0 \(KL weight 0\)"):
        fit(tmp_path, module=module)


class Break(Callback):
    """Makes a weight NaN after a step, as an infinite gradient does, and may send for the end at the same time."""

    def __init__(self, at, interruption=None):
        self.at = at
        self.interruption = interruption

    def on_train_batch_end(self, trainer, pl_module, *args):
        if trainer.global_step == self.at:
            with torch.no_grad():
                pl_module.model.decoder[0].bias[0] = math.nan
            if self.interruption:
                self.interruption._signum = 15


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    with pytest.raises(NonFiniteLoss, match="step 8"):
        fit(tmp_path, Break(at=8), Checkpoints(every_seconds=0))
    assert read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["global_step"] == 7


def test_a_signal_does_not_save_weights_that_are_not_finite_either(tmp_path):
    interruption = Interruption()
    with pytest.raises(Interrupted):
        fit(tmp_path, Break(8, interruption), interruption, Checkpoints(every_seconds=0), data=Tiny())
    assert read_checkpoint(tmp_path / "checkpoints" / "last.ckpt")["global_step"] == 7


def test_after_an_error_signals_go_where_they_went_before(tmp_path):
    before = [signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(NonFiniteLoss):
        fit(tmp_path, Spoil(at=4), Interruption())
    fit(tmp_path, Interruption())
    assert [signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)] == before


def test_a_spoilt_batch_is_noticed_in_its_own_step(tmp_path):
    with pytest.raises(NonFiniteLoss, match="step 4 "):
        fit(tmp_path, Spoil(at=4))
