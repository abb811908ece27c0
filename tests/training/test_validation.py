"""When a training validates: in its rhythm of epochs or steps, and always at its end; once, resumed or not."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from harness import Tiny, trainer, vae
from lightning.pytorch import Callback

from lehr.run.history import read_history
from lehr.training import Checkpoints, EarlyStopping
from lehr.training.callbacks import checkpoints
from lehr.training.checkpoint import read_checkpoint
from lehr.training.lean import LeanCallback
from lehr.training.loop import LeanEpochLoop

SMALL = ("model.hidden=[8]", "kl=constant", "evaluate=none", "callbacks.samples=null", "logger=none")
PER_EPOCH = 21  # steps of the digits, of 64 images and at the end of an epoch 14


def images(step):
    epochs, rest = divmod(step, PER_EPOCH)
    return epochs * 1294 + rest * 64


def validated(run):
    return [point["images"] for point in read_history(run / "history.jsonl") if "val/elbo" in point]


@pytest.mark.parametrize(
    ("of_the_trainer", "steps"),
    [
        (["max_epochs=null", "max_steps=30"], [30]),
        (["max_epochs=null", "max_steps=42"], [42]),
        (["max_steps=30"], [30]),
        (["max_epochs=7"], [5 * 21, 7 * 21]),
        (["max_epochs=2", "check_val_every_n_epoch=null"], [42]),
        (["max_epochs=2", "check_val_every_n_epoch=1", "check_val_every_n_steps=15"], [15, 21, 30, 42]),
        (["max_epochs=2", "check_val_every_n_epoch=null", "check_val_every_n_steps=21"], [21, 42]),
        (["max_epochs=null", "max_steps=30", "check_val_every_n_steps=15"], [15, 30]),
    ],
    ids=lambda value: " ".join(map(str, value)),
)
def test_the_last_step_is_validated_whatever_the_rhythm(lehr, tmp_path, of_the_trainer, steps):
    run = tmp_path / "run"
    assert lehr("train", *SMALL, *(f"trainer.{value}" for value in of_the_trainer), f"dir={run}")[0] == 0
    assert validated(run) == [images(step) for step in steps]
    last = read_checkpoint(run / "checkpoints" / "last.ckpt")
    assert last["global_step"] == steps[-1]
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["val/elbo"] == last["evaluated"]["val/elbo"]
    assert (run / "checkpoints" / "best.ckpt").exists()


class Diary(LeanCallback):
    """(step, ELBO) of each validation of a training, and of whatever it was resumed from."""

    def __init__(self):
        self.seen = []

    def on_validation_end(self, trainer, pl_module):
        self.seen.append((trainer.global_step, pl_module.evaluated["val/elbo"]))


class Foreign(Callback):
    """Listens to steps as callbacks of anyone may, so that Lightning's own loop runs; may end the training."""

    def __init__(self, stop_at=None):
        self.stop_at = stop_at

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.stop_at:
            trainer.should_stop = True


def train(folder, *callbacks, every=None, lean=True, checkpoint=None, **options):
    """A training of Tiny, 6 batches an epoch: its trainer and its diary."""
    diary = Diary()
    values = {"check_val_every_n_epoch": 100, "max_epochs": 4} | options
    one = trainer(folder, *callbacks, diary, Checkpoints(every_seconds=0), *([] if lean else [Foreign()]), **values)
    LeanEpochLoop.install(one, every)
    one.fit(vae(warmup=0), datamodule=Tiny(), ckpt_path=checkpoint)
    assert checkpoint or one.fit_loop.epoch_loop._is_lean == lean
    return one, diary.seen


def weights(one):
    return {name: weight.clone() for name, weight in one.lightning_module.state_dict().items()}


RHYTHMS = {
    "steps": {"every": 4, "max_epochs": 3},
    "steps and epochs": {"every": 5, "check_val_every_n_epoch": 1, "max_epochs": 3},
    "every step": {"every": 1, "max_epochs": 1},
    "max_steps within an epoch": {"max_steps": 15, "max_epochs": -1},
    "max_steps and steps": {"max_steps": 15, "every": 5, "max_epochs": -1},
    "max_steps at the end of an epoch": {"max_steps": 12, "max_epochs": -1, "every": 5},
    "accumulated": {"every": 2, "accumulate_grad_batches": 4, "max_epochs": 3},
    "accumulated, max_steps": {"max_steps": 7, "accumulate_grad_batches": 4, "max_epochs": -1},
}
USUAL = ("steps and epochs", "max_steps and steps", "accumulated")


@pytest.mark.parametrize(
    "lean",
    [pytest.param(False, id="Lightning's loop", marks=pytest.mark.slow), pytest.param(True, id="lehr's loop")],
)
@pytest.mark.parametrize(
    "rhythm",
    [name if name in USUAL else pytest.param(name, marks=pytest.mark.slow) for name in RHYTHMS],
)
def test_whatever_checkpoint_a_training_goes_on_from_it_validates_the_same_steps_once(
    tmp_path, monkeypatch, rhythm, lean
):
    kept = []

    def save(trainer, path):
        before(trainer, path)
        diary = next(c for c in trainer.callbacks if isinstance(c, Diary))
        copy = tmp_path / f"{len(kept)}-{path.name}"
        shutil.copy(path, copy)
        kept.append((copy, len(diary.seen), trainer.global_step))

    before = checkpoints.save
    options = {"lean": lean, **RHYTHMS[rhythm]}
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save", save)
        one, seen = train(tmp_path / "whole", **options)
    whole = weights(one)
    assert seen[-1][0] == one.global_step  # the last step
    steps = [step for step, _ in seen]
    assert steps == sorted(set(steps))
    assert {path.name.partition("-")[2] for path, _, _ in kept} == {"best.ckpt", "last.ckpt"}
    for i, (path, validations, step) in enumerate(kept):
        if not (step in steps or step + 1 in steps or step % 5 == 0):
            continue
        again, rest = train(tmp_path / f"again{i}", checkpoint=path, **options)
        assert [*seen[:validations], *rest] == seen, path
        assert all(torch.equal(weight, whole[name]) for name, weight in weights(again).items()), path


@pytest.mark.parametrize("lean", [False, True], ids=["Lightning's loop", "lehr's loop"])
def test_a_training_that_max_steps_cut_short_goes_on_in_the_middle_of_its_epoch(tmp_path, lean):
    train(tmp_path / "short", lean=lean, max_steps=9, max_epochs=-1)
    path = tmp_path / "short" / "checkpoints" / "last.ckpt"
    again, seen = train(tmp_path / "again", lean=lean, max_steps=20, max_epochs=-1, checkpoint=path)
    whole, expected = train(tmp_path / "whole", lean=lean, max_steps=20, max_epochs=-1)
    assert seen == expected
    assert all(torch.equal(weight, weights(whole)[name]) for name, weight in weights(again).items())


def test_early_stopping_within_an_epoch_validates_once_and_stays_stopped(tmp_path):
    stopping = {"every": 4, "max_epochs": 50}
    _, seen = train(tmp_path / "run", EarlyStopping(2, min_delta=1e9), **stopping)
    assert [step for step, _ in seen] == [4, 8, 12]
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    again, rest = train(tmp_path / "again", EarlyStopping(2, min_delta=1e9), checkpoint=path, **stopping)
    assert (again.global_step, rest) == (12, [])
    further, rest = train(tmp_path / "further", EarlyStopping(4, min_delta=1e9), checkpoint=path, **stopping)
    assert [step for step, _ in rest] == [16, 20]
    assert further.global_step == 20


def test_a_training_that_a_callback_ends_is_validated_at_its_end(tmp_path):
    one, seen = train(tmp_path, Foreign(stop_at=9), lean=False)
    assert [step for step, _ in seen] == [one.global_step] == [9]


def test_without_checkpoints_the_last_step_is_validated_too(lehr, tmp_path):
    run = tmp_path / "run"
    assert lehr("train", *SMALL, "trainer.max_epochs=2", "callbacks.checkpoints=null", f"dir={run}")[0] == 0
    assert validated(run) == [images(42)]
    assert not list(run.glob("**/*.ckpt"))  # nor Lightning's own
