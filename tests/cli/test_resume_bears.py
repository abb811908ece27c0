"""What a resumed run can bear: its counters, splits and scores go on as they were, or it is refused, or said."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import yaml

from lehr.run.directory import RunDirectory
from lehr.training.length import Length
from lehr.training.resuming import Resumption

TINY = ("evaluate=none", "model.hidden=[8]", "logger=none", "callbacks.samples=null", "data.batch_size=200")
# of 7 steps an epoch


@pytest.fixture
def run(finished_run) -> Path:
    """A copy of the finished run, of four epochs, in the current directory."""
    shutil.copytree(finished_run, "run")
    return Path("run")


KEPT = [
    ("data.batch_size=32", "data.batch_size=64: batches, steps and images are counted by it"),
    ("trainer.accumulate_grad_batches=2",
     "trainer.accumulate_grad_batches=1: batches, steps and images are counted by it"),
    ("data.seed=7", "data.seed=0: it says which images are held out"),
    ("data.split_seed=7", "data.split_seed=0: it says which images are held out"),
    ("data.val_fraction=0.2", "data.val_fraction=0.1: it says which images are held out"),
    ("data.test_fraction=0.1", "data.test_fraction=0.2: it says which images are held out"),
    ("data.binarize=threshold", "data.binarize=dynamic: it says what the pixels are"),
    ("model.latent_dim=5", "model.latent_dim=20: the weights are of it"),
    ("likelihood._target_=lehr.objective.ContinuousBernoulli",
     "likelihood._target_=lehr.objective.Bernoulli: the best ELBO so far is of it"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "own"), KEPT)
def test_what_counters_splits_and_scores_cannot_bear_is_refused_untouched(run, refused, said, own):
    (line,) = refused("train", "resume=run", "trainer.max_epochs=6", said)
    assert line == f"{said}: a resumed run keeps its own {own}"


@pytest.mark.parametrize("said", [said for said, _ in KEPT if said.startswith(("data.", "trainer."))])
def test_a_config_that_was_edited_meanwhile_is_held_to_the_checkpoint(run, lehr, said):
    key, _, value = said.partition("=")
    section, _, name = key.partition(".")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config[section][name] = yaml.safe_load(value)
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    code, _, err = lehr("train", "resume=run", "trainer.max_epochs=6")
    assert code == 1
    assert err.startswith(f"lehr train: {said}: a resumed run keeps its own {key}=")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("trainer.max_steps=10", "trainer.max_steps=10: the run is as far as that already; raise it"),
        ("trainer.max_epochs=3", "trainer.max_epochs=3: the run is as far as that already; raise it"),
    ],
)
def test_a_run_is_not_made_shorter_than_it_is(run, lehr, said, line):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert lehr("train", "resume=run", said) == (2, "", f"lehr train: {line}\n")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_run_on_devices_that_give_an_epoch_other_batches_is_refused(run, lehr):
    path = run / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["data"]["batches_per_epoch"] += 1
    torch.save(checkpoint, path)
    code, _, err = lehr("train", "resume=run", "trainer.max_epochs=6")
    assert code == 1
    assert "digits: an epoch has 21 batches on these devices, and had 22; say as many trainer.devices" in err


def trained(lehr, *words: str) -> None:
    assert lehr("train", *TINY, *words, "dir=run")[0] == 0


def test_a_schedule_that_is_a_part_of_the_training_does_not_jump_unsaid(lehr):
    trained(lehr, "kl.unit=fraction", "kl.hold=0", "kl.warmup=0.8", "trainer.max_epochs=5")
    code, _, err = lehr("train", "resume=run", "trainer.max_epochs=10")
    assert code == 1
    assert err == (
        "lehr train: trainer.max_epochs=10: with kl.unit=fraction the KL weight (now 1, then 0.625) jumps at step 35; "
        "say kl.unit=step kl.hold=0 kl.warmup=28 to keep it\n"
    )
    code, _, err = lehr("train", "resume=run", "trainer.max_epochs=10", "kl.unit=step", "kl.hold=0", "kl.warmup=28")
    assert code == 0, err
    assert "note: kl" not in err


def test_a_weight_that_one_changes_oneself_is_said(lehr):
    trained(lehr, "kl.unit=fraction", "kl.hold=0", "kl.warmup=0.8", "trainer.max_epochs=5")
    code, _, err = lehr("train", "resume=run", "trainer.max_epochs=6", "kl.weight=2")
    assert code == 0
    assert "note: kl: the KL weight (now 1, then 2) at step 35\n" in err


def test_cycles_that_a_longer_training_would_stretch_are_kept_by_more_of_them(lehr):
    trained(lehr, "kl.cycles=2", "kl.hold=0", "kl.warmup=1", "trainer.max_epochs=4", "trainer.max_steps=25")
    code, _, err = lehr("train", "resume=run", "trainer.max_steps=50", "trainer.max_epochs=null")
    assert code == 1
    assert err == (
        "lehr train: trainer.max_epochs=null, trainer.max_steps=50: with kl.unit=epoch and kl.cycles=2 the KL weight "
        "(now 1, then 0) jumps at step 25; say kl.cycles=4 to keep it\n"
    )
    code, _, err = lehr("train", "resume=run", "trainer.max_steps=40", "trainer.max_epochs=null", "optimizer.lr=0.01")
    assert "say a length in which cycles of 12.5 steps go without a rest, or what kl is to be" in err


def test_what_only_moves_what_is_still_to_come_is_said(lehr, capsys):
    trained(lehr, "kl.unit=fraction", "kl.hold=0.5", "kl.warmup=0.2", "trainer.max_epochs=4")
    config = yaml.safe_load(Path("run/config.yaml").read_text())
    longer = config | {"trainer": config["trainer"] | {"max_epochs": 8}}
    killed_in_its_hold = {"global_step": 7}
    Resumption(killed_in_its_hold, RunDirectory("run"), longer).require_length(Length(7, 7, 56, 1294, 200), ())
    assert capsys.readouterr().err == (
        "note: trainer.max_epochs=8: with kl.unit=fraction the KL weight (now 0.1786, then 0) at step 15 is not "
        "what it was to be\n"
    )


def test_a_rate_that_decays_over_the_whole_training_is_said(lehr):
    trained(lehr, "kl=constant", "optimizer.decay=cosine", "trainer.max_epochs=2")
    code, _, err = lehr("train", "resume=run", "trainer.max_epochs=4")
    assert code == 0
    assert (
        "note: trainer.max_epochs=4: optimizer.decay=cosine is over the whole training, so the learning rate goes from "
        "0 to 0.0005 at step 14\n"
    ) in err


def test_how_it_is_computed_and_shown_may_change(run, lehr):
    words = ("data.eval_batch_size=50", "trainer.check_val_every_n_epoch=1", "callbacks.early_stopping.patience=9")
    code, _, err = lehr("train", "resume=run", "trainer.max_epochs=5", "optimizer.lr=0.0005", *words)
    assert code == 0
    assert "note" not in err
