"""Which weights a run ends in, and going on from its best checkpoint."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from harness import differences, next_second, visible_events
from safetensors.torch import load_file

import lehr.cli.main
from lehr.run.history import read_history
from lehr.training.checkpoint import read_checkpoint

COMMON = ("kl=constant", "evaluate=none", "model.hidden=[16]", "callbacks.samples=null", "callbacks.progress=null")
STOPPED = (
    *COMMON, "optimizer.lr=0.02", "trainer.max_epochs=60", "trainer.check_val_every_n_epoch=1",
    "trainer.log_every_n_steps=7",
)  # fmt: skip


def train(path, *overrides):
    assert lehr.cli.main.main(["train", *overrides, f"dir={path}"]) == 0
    return path


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that early stopping has ended. Not to be changed; copy it."""
    return train(tmp_path_factory.mktemp("stopped") / "run", *STOPPED, "callbacks.early_stopping.patience=2")


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    """A run with an average of its weights, whose best validation was not its last. Not to be changed; copy it."""
    rhythm = ("trainer.check_val_every_n_epoch=1", "trainer.max_epochs=20")
    return train(tmp_path_factory.mktemp("averaged") / "run", *COMMON, *rhythm, "ema.decay=0.9", "optimizer.lr=0.05")


@pytest.fixture
def copy(tmp_path):
    return lambda run: shutil.copytree(run, tmp_path / "copy")


def validations(run):
    return {point["images"]: point["val/elbo"] for point in read_history(run / "history.jsonl") if "val/elbo" in point}


def read(path):
    return json.loads(path.read_text())


def require_exported(run, weights):
    exported = load_file(run / "model" / "model.safetensors")
    assert [name for name, weight in exported.items() if not torch.equal(weight, weights[name])] == []


def test_a_run_that_was_stopped_early_ends_in_its_best_weights(stopped):
    best, last = (read_checkpoint(stopped / "checkpoints" / f"{name}.ckpt") for name in ("best", "last"))
    assert best["global_step"] == last["global_step"] - 2 * 21
    require_exported(stopped, best["state_dict"])
    elbos = validations(stopped)
    metrics, exported = read(stopped / "metrics.json"), read(stopped / "status.json")["exported"]
    assert metrics["val/elbo"] == max(elbos.values()) == exported["val/elbo"]
    assert exported["weights"] == "best"
    assert exported["step"] == best["global_step"]
    assert elbos[exported["images"]] == exported["val/elbo"]
    # what was measured of them stands where they were
    assert visible_events(stopped)["test/elbo"] == [(exported["images"], pytest.approx(metrics["test/elbo"]))]


def test_statistics_test_and_evaluation_are_of_the_weights_that_are_exported(stopped, copy, lehr):
    run = copy(stopped)
    assert lehr("evaluate", f"run={run}", "level=quick")[0] == 0
    metrics, evaluation = read(run / "metrics.json"), read(run / "evaluation.json")
    assert evaluation["likelihood/rate"] == pytest.approx(metrics["test/rate"], rel=1e-5)
    assert evaluation["model"] == read(run / "status.json")["model"]
    assert read(run / "posterior" / "statistics.json")["model"] == evaluation["model"]


def test_what_is_said_of_a_finished_run_is_what_lets_it_go_on(stopped, copy, lehr):
    run = copy(stopped)
    code, _, err = lehr("train", f"resume={run}")
    assert (code, "to go on raise callbacks.early_stopping.patience\n" in err) == (2, True)
    code, _, err = lehr("train", f"resume={run}", "trainer.max_epochs=90")
    assert (code, "raise callbacks.early_stopping.patience as well" in err) == (2, True)
    before = read_checkpoint(run / "checkpoints" / "last.ckpt")["global_step"]
    assert lehr("train", f"resume={run}", "callbacks.early_stopping.patience=4")[0] == 0
    assert read_checkpoint(run / "checkpoints" / "last.ckpt")["global_step"] >= before + 2 * 21


@pytest.mark.parametrize(
    ("limits", "advice"),
    [
        (["trainer.max_epochs=1"], "trainer.max_epochs"),
        (["trainer.max_epochs=null", "trainer.max_steps=5"], "trainer.max_steps"),
        (["trainer.max_epochs=1", "trainer.max_steps=21"], "trainer.max_epochs and trainer.max_steps"),
        (["trainer.max_epochs=3", "trainer.max_steps=21"], "trainer.max_steps"),
    ],
)
def test_the_limit_that_has_ended_a_run_is_the_one_to_raise(tmp_path, lehr, limits, advice):
    run = train(tmp_path / "run", *COMMON, "logger=none", *limits)
    code, _, err = lehr("train", f"resume={run}")
    assert (code, err) == (2, f"lehr train: resume={run}: the run is finished; to go on raise {advice}\n")
    longer = [f"{key}=6" for key in advice.split(" and ") if key == "trainer.max_epochs"]
    longer += [f"{key}=30" for key in advice.split(" and ") if key == "trainer.max_steps"]
    before = read_checkpoint(run / "checkpoints" / "last.ckpt")["global_step"]
    assert lehr("train", f"resume={run}", *longer)[0] == 0
    assert read_checkpoint(run / "checkpoints" / "last.ckpt")["global_step"] > before


def test_going_on_from_the_best_checkpoint_is_going_on_from_where_it_was(stopped, copy, lehr, tmp_path):
    whole = train(tmp_path / "whole", *STOPPED, "callbacks.early_stopping.patience=4")
    run = copy(stopped)
    code, _, err = lehr("train", f"resume={run}", "resume_from=best")
    assert (code, "from best.ckpt it would be trained in the same way again" in err) == (2, True)
    last = (run / "checkpoints" / "last.ckpt").read_bytes()
    next_second()
    code, _, err = lehr("train", f"resume={run}", "resume_from=best", "callbacks.early_stopping.patience=4")
    assert code == 0
    step = read_checkpoint(stopped / "checkpoints" / "best.ckpt")["global_step"]
    assert f"note: goes on from the best checkpoint, step {step}, and drops what was logged after it; " in err
    assert "checkpoints/last.ckpt is kept as checkpoints/replaced.ckpt\n" in err
    kept = run / "checkpoints" / "replaced.ckpt"
    assert kept.read_bytes() == last
    kept.unlink()
    assert [
        line for line in differences(whole, run) if "TensorBoard test/" not in line and "posterior/" not in line
    ] == []
    assert "resume_from: last\n" in (run / "config.yaml").read_text()  # once more it is the last


def test_what_was_kept_aside_is_not_lost_if_going_back_is_killed_and_asked_for_again(stopped, copy):
    from lehr.run.directory import RunDirectory

    directory = RunDirectory(copy(stopped))
    last = directory.last_checkpoint.read_bytes()
    kept = directory.go_back_to_best()
    assert directory.last_checkpoint.read_bytes() == directory.best_checkpoint.read_bytes()
    assert directory.go_back_to_best() is None
    assert kept.read_bytes() == last


def test_with_an_average_each_choice_is_what_it_says(averaged, copy, lehr):
    last, best = (read_checkpoint(averaged / "checkpoints" / f"{name}.ckpt") for name in ("last", "best"))
    assert best["global_step"] < last["global_step"]
    require_exported(averaged, {**last["state_dict"], **last["ema"]})  # the default
    assert read(averaged / "metrics.json")["val/elbo"] == last["evaluated"]["val/elbo"]
    run = copy(averaged)
    expected = {
        "best": ({**best["state_dict"], **best["ema"]}, best["evaluated"]["val/elbo"]),
        "ema": ({**last["state_dict"], **last["ema"]}, last["evaluated"]["val/elbo"]),
        "last": (last["state_dict"], None),
    }
    for choice, (weights, elbo) in expected.items():
        code, out, _ = lehr("train", f"resume={run}", f"export.weights={choice}")
        assert code == 0
        require_exported(run, weights)
        metrics, exported = read(run / "metrics.json"), read(run / "status.json")["exported"]
        assert (exported["weights"], exported["val/elbo"]) == (choice, metrics["val/elbo"])
        assert ("These are the" in out) == (choice != "last")
        assert elbo is None or metrics["val/elbo"] == elbo
        code, *_ = lehr("evaluate", f"run={run}", "level=quick", "split=val")
        assert code == 0
        evaluation = read(run / "evaluation-val.json")
        assert evaluation["likelihood/rate"] == pytest.approx(metrics["val/rate"], rel=1e-5), choice


def test_where_there_is_no_best_it_is_said_which_are_exported_and_why(tmp_path, lehr):
    code, _, err = lehr(
        "train", *COMMON, "logger=none", "trainer.max_epochs=1", "callbacks.early_stopping.patience=3",
        "callbacks.checkpoints=null", f"dir={tmp_path}/run",
    )  # fmt: skip
    assert code == 0
    why = "callbacks.checkpoints=null, so none was kept"
    assert f"note: the last weights are exported, not the best: {why}\n" in err
    assert read(tmp_path / "run" / "status.json")["exported"]["weights"] == "last"


def test_the_best_of_steps_that_were_trained_in_another_way_since_is_not_exported(stopped, copy, lehr):
    run = copy(stopped)
    path = run / "checkpoints" / "best.ckpt"
    other = read_checkpoint(path)
    other["callbacks"]["Checkpoints"]["best"] += 1.0
    torch.save(other, path)
    code, _, err = lehr("train", f"resume={run}", "evaluate=quick", "export.weights=best")
    assert code == 0
    assert "the last weights are exported, not the best" in err
    assert "trained in another way since" in err
    require_exported(run, read_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"])


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["export.weights=ema"], "export.weights=ema: there is no average of the weights; say ema.half_life or"),
        (
            ["export.weights=best", "callbacks.checkpoints=null"],
            "export.weights=best: callbacks.checkpoints=null keeps",
        ),
        (["export.weights=first"], "export.weights=first: must be"),
        (["resume_from=best"], "resume_from=best: of which run? say resume=DIR too"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_a_line(lehr, tmp_path, overrides, problem):
    code, _, err = lehr("train", *overrides, f"dir={tmp_path}/run")
    assert code == 2
    assert problem in err
    assert len(err.splitlines()) == 1


def test_best_weights_are_the_average_that_was_validated_also_where_there_is_to_be_none_by_now(averaged, copy, lehr):
    run = copy(averaged)
    best = read_checkpoint(run / "checkpoints" / "best.ckpt")
    assert lehr("train", f"resume={run}", "ema.decay=null", "export.weights=best")[0] == 0
    require_exported(run, best["state_dict"] | best["ema"])
    assert read(run / "metrics.json")["val/elbo"] == best["evaluated"]["val/elbo"]


def test_last_weights_are_not_said_to_have_the_elbo_of_an_average_that_is_no_more(averaged, tmp_path, lehr):
    elbos = []
    for number, change in enumerate(("ema.decay=null", "export.weights=last")):
        run = shutil.copytree(averaged, tmp_path / f"copy{number}")
        last = read_checkpoint(run / "checkpoints" / "last.ckpt")
        assert lehr("train", f"resume={run}", change)[0] == 0
        require_exported(run, last["state_dict"])
        elbos.append(read(run / "metrics.json")["val/elbo"])
    assert elbos[0] == elbos[1] != last["evaluated"]["val/elbo"]


@pytest.mark.parametrize("weights", ["best", "last"])
def test_all_that_is_reported_is_of_one_weight_of_the_kl(averaged, copy, lehr, weights):
    run = copy(averaged)
    before = read(run / "metrics.json")
    assert lehr("train", f"resume={run}", "kl.weight=3", f"export.weights={weights}")[0] == 0
    metrics, status = read(run / "metrics.json"), read(run / "status.json")
    assert metrics["val/kl_weight"] == metrics["test/kl_weight"] == 3 != before["val/kl_weight"]
    assert metrics["val/loss"] == pytest.approx(metrics["val/distortion"] + 3 * metrics["val/rate"])
    assert metrics["val/elbo"] == status["exported"]["val/elbo"]
    if weights == "best":
        best = read_checkpoint(run / "checkpoints" / "best.ckpt")
        assert metrics["val/elbo"] == best["evaluated"]["val/elbo"]
