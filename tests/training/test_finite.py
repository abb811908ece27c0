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

from lehr.errors import Interrupted, NonFinite, NonFiniteLoss
from lehr.run.directory import RunDirectory
from lehr.run.execution import Execution
from lehr.run.finish import Options, Trained, finish
from lehr.training import Checkpoints
from lehr.training.callbacks.interruption import Interruption
from lehr.training.checkpoint import read_checkpoint

SHORT = (
    "trainer.max_epochs=3", "kl.hold=0", "kl.warmup=1", "model.hidden=[32]", "trainer.check_val_every_n_epoch=1",
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
    assert str(error.value) == f"step 17 (KL weight 0.25): {message}; debug=anomaly says what has made it so"


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
                self.interruption.remember(15)


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


ONE_STEP = ("kl=constant", "evaluate=none", "model.hidden=[32]", "trainer.max_steps=1", "data.batch_size=2000")


@pytest.mark.parametrize("lr", ["1e20", "1e38", "1e39"])
def test_a_last_step_that_diverges_ends_the_run_in_a_line(lehr, tmp_path, lr):
    """Nothing has looked at the loss after it: the validation does, the weights and the statistics."""
    code, _, err = lehr("train", *ONE_STEP, f"optimizer.lr={lr}", f"dir={tmp_path}/run")
    assert code == 1
    last = err.splitlines()[-1]
    assert last.startswith("lehr train: ")
    assert "NaN or infinite" in last or " is nan" in last or " is inf" in last
    assert last.endswith("; training has diverged, a smaller optimizer.lr may help")
    assert "Traceback" not in err
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert status["state"] == "failed"
    assert status["error"].removeprefix("NonFinite: ") == last.removeprefix("lehr train: ")
    assert not (tmp_path / "run" / "metrics.json").exists()
    assert not (tmp_path / "run" / "model").exists()


def finished(module, data, folder):
    trained = Trained(module.components, 7, {"val/elbo": -1.0})
    config = {"seed": 0, "model": {}, "likelihood": {}, "prior": {}}
    return finish(trained, data, RunDirectory(folder), Options(config), Execution(torch.device("cpu")))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda module: module.model.decoder[0].weight.view(-1)[0].fill_(math.nan), "weights after step 7: 1 of 16 "),
        (lambda module: module.model.encoder[-1].bias[0].fill_(1e38).mul_(2), "latents of 86 examples: "),
        (lambda module: module.model.decoder[-2].bias.fill_(-3e38), "test after step 7: the elbo is -inf"),
    ],
)
def test_weights_statistics_and_the_test_are_checked_and_nothing_is_written(tmp_path, spoil, message):
    module = fit(tmp_path / "fit")
    with torch.no_grad():
        spoil(module)
    with pytest.raises(NonFinite) as error:
        finished(module, module.datamodule, tmp_path / "run")
    assert str(error.value).startswith(message)
    assert not (tmp_path / "run").exists()


def test_a_validation_that_is_not_finite_ends_the_training(tmp_path):
    class Spoil(Callback):
        def on_validation_start(self, trainer, pl_module):
            if trainer.global_step == 12:
                with torch.no_grad():
                    pl_module.model.decoder[0].weight.fill_(math.nan)

    with pytest.raises(NonFinite, match=r"val after step 12: the elbo is nan"):
        fit(tmp_path, Spoil())


def test_posteriors_next_to_points_end_in_a_table_without_a_traceback(lehr, tmp_path):
    small = ("kl=constant", "trainer.max_epochs=2", "model.logvar_min=-1000", "optimizer.lr=1")
    code, out, err = lehr("train", *small, f"dir={tmp_path}/run")
    assert code == 0
    assert "Traceback" not in err
    assert "information I(x; z)" in out
    assert "not known: an estimate is not finite" in out
    table = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert table["collapse/mi_problem"].startswith(
        "the information in the latents is not known: the lower bound is nan"
    )
    for name in ("mi_lower", "mi_upper", "marginal_kl_lower", "marginal_kl_upper", "mi_saturated"):
        assert table[f"collapse/{name}"] is None


def test_a_kl_beyond_the_bins_of_tensorboard_is_no_error(lehr, tmp_path):
    code, _, err = lehr(
        "train", "kl=constant", "evaluate=none", "trainer.max_epochs=1", "data.batch_size=2000", "optimizer.lr=1e5",
        f"dir={tmp_path}/run",
    )  # fmt: skip
    assert "histogram" not in err
    assert code == 0
