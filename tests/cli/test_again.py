"""The same command once more, in the directory that an earlier one has written: it ends the run that it began."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lehr.evaluation.catalogue import without_execution
from lehr.run import evaluate as evaluating
from lehr.run import finish
from lehr.run.status import Status
from lehr.training import beginning
from lehr.training.module import VAEModule

SMALL = ("trainer.max_epochs=4", "kl.hold=0", "kl.warmup=1", "trainer.check_val_every_n_epoch=2", "model.hidden=[32]")
"""As `finished_run` was trained."""
LAST = Path("checkpoints/last.ckpt")


def signalled(monkeypatch, step: int) -> None:
    """Send this process Ctrl-C in the training step of this number."""
    training_step = VAEModule.training_step

    def watched(self, *arguments):
        if self.trainer.global_step == step:
            signal.raise_signal(signal.SIGINT)
        return training_step(self, *arguments)

    monkeypatch.setattr(VAEModule, "training_step", watched)


@pytest.fixture(scope="module")
def interrupted_run(tmp_path_factory) -> Iterator[Path]:
    """The directory of a run like `finished_run` that was stopped after 30 steps. Not to be changed; copy it."""
    from lehr.cli.main import main

    path = tmp_path_factory.mktemp("interrupted") / "run"
    with pytest.MonkeyPatch.context() as patch:
        signalled(patch, 29)
        assert main(["train", f"dir={path}", *SMALL]) == 130
    return path


@pytest.fixture
def interrupted(interrupted_run, tmp_path) -> Path:
    return Path(shutil.copytree(interrupted_run, tmp_path / "run"))


def set_status(run: Path, **fields) -> None:
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps(status | fields))


def same_as(finished: Path, run: Path) -> None:
    for name in ("model/model.safetensors", "posterior/statistics.safetensors", "posterior/statistics.json"):
        assert (run / name).read_bytes() == (finished / name).read_bytes(), name
    for name in ("metrics.json", "evaluation.json"):
        one, other = (json.loads((folder / name).read_text()) for folder in (finished, run))
        assert numbers(one) == numbers(other)


def numbers(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in without_execution(found).items() if "time" not in name}


@pytest.mark.parametrize("state", ["interrupted", "running"])
def test_a_run_that_was_stopped_or_killed_goes_on(interrupted, finished_run, lehr, state):
    set_status(interrupted, state=state)
    code, _, err = lehr("train", f"dir={interrupted}", *SMALL, "trainer.log_every_n_steps=10")
    assert code == 0
    note = (
        f"note: dir={interrupted}: holds this run, interrupted; it goes on after 30 steps (overwrite=true begins anew)"
    )
    assert err.splitlines()[0] == note
    same_as(finished_run, interrupted)


@pytest.mark.parametrize("where", ["measure_split", "write_grids", "write_model", "write_json"])
def test_a_run_that_was_stopped_in_its_end_is_brought_to_it(tmp_path, finished_run, lehr, monkeypatch, where):
    def stopped(*_):
        raise KeyboardInterrupt

    command = ("train", f"dir={tmp_path}/run", *SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(finish, where, stopped)
        assert lehr(*command)[0] == 130
    code, _, err = lehr(*command)
    assert (code, "it goes on after 84 steps" in err) == (0, True)
    same_as(finished_run, tmp_path / "run")


def test_a_run_that_was_stopped_in_its_evaluation_is_evaluated(tmp_path, finished_run, lehr, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    run, command = tmp_path / "run", ("train", f"dir={tmp_path}/run", *SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(evaluating, "evaluate", stopped)
        assert lehr(*command)[0] == 130  # the training is done, and its record says so
    assert not (run / "evaluation.json").exists()
    before = {path: path.stat().st_mtime_ns for path in (run / "model").iterdir()}
    code, out, err = lehr(*command)
    assert code == 0
    assert err.splitlines()[0] == f"note: dir={run}: holds this run, done but for its evaluation"
    assert "digits, test: 359 examples" in out
    assert "test ELBO" in out
    assert {path: path.stat().st_mtime_ns for path in (run / "model").iterdir()} == before
    same_as(finished_run, run)
    code, _, err = lehr(*command)
    assert (code, err) == (
        2,
        f"lehr train: dir={run}: holds a finished run; choose another directory, or say overwrite=true\n",
    )


def test_a_run_killed_before_its_first_checkpoint_starts_again_in_silence(tmp_path, lehr, trainings, monkeypatch):
    run = tmp_path / "run"
    run.mkdir()
    Status(run / "status.json").start()  # and no config.yaml yet
    code, _, err = lehr("train", f"dir={run}", *SMALL)
    assert (code, err) == (0, "")
    assert not trainings[0].resume


def test_a_key_of_which_a_default_changes_nothing_is_named_with_it(interrupted, refused):
    (line,) = refused("train", f"dir={interrupted}", *SMALL, "export.weights=last", "optimizer.freeze=[encoder]")
    assert "(export.weights=None there, last here; optimizer.freeze=[] there, ['encoder'] here); " in line


def test_a_run_of_another_identity_is_refused_by_the_keys_that_differ(interrupted, refused):
    other = ("seed=1", "model.hidden=[16]", "kl.weight=2", "optimizer.lr=0.01", "data.split_seed=4")
    (line,) = refused("train", f"dir={interrupted}", *SMALL, *other, "evaluate=none", "trainer.log_every_n_steps=7")
    assert line.startswith(f"dir={interrupted}: holds an unfinished run of other values (data.seed=0 there, 1 here; ")
    assert line.endswith(
        f"); resume={interrupted} goes on with it; or choose another directory, or say overwrite=true to begin anew"
    )


def test_overwrite_begins_anew(interrupted, lehr, trainings):
    assert lehr("train", f"dir={interrupted}", *SMALL, "overwrite=true")[0] == 0
    assert [training.resume for training in trainings] == [False]


def test_a_failed_run_is_neither_thrown_away_nor_gone_on_with_unasked(
    interrupted, refused, lehr, trainings, monkeypatch
):
    set_status(interrupted, state="failed")
    assert refused("train", f"dir={interrupted}", *SMALL) == [
        f"dir={interrupted}: holds this run, which has failed after 30 steps; resume={interrupted} goes on with it; or "
        "choose another directory, or say overwrite=true to begin anew"
    ]
    monkeypatch.setattr(
        beginning, "_steps", lambda directory: 0
    )  # a mistake in the first step: there is nothing to lose
    assert lehr("train", f"dir={interrupted}", *SMALL, "seed=1")[0] == 0
    assert [training.resume for training in trainings] == [False]


def test_what_cannot_be_gone_on_with_is_not_thrown_away_either(interrupted, refused):
    (interrupted / LAST).write_bytes(b"half")
    assert refused("train", f"dir={interrupted}", *SMALL) == [
        f"{interrupted}/checkpoints/last.ckpt: is damaged, or is no checkpoint; choose another directory, or say "
        "overwrite=true to begin anew"
    ]


def test_processes_that_were_started_together_are_each_told_to_resume(interrupted, refused, monkeypatch):
    monkeypatch.setattr(beginning, "rank_from_outside", lambda config: 0)
    (line,) = refused("train", f"dir={interrupted}", *SMALL)
    assert line.endswith("of processes that were started together each is to be told: resume=DIR")


def test_a_run_that_another_process_has_finished_meanwhile_is_left_alone(finished_run, tmp_path, lehr, monkeypatch):
    """Two commands at once, of which the second looks before the first has begun, and claims after it has ended."""
    from lehr.api import start as command

    run = tmp_path / "run"
    decide = command.beginning

    def and_then_another_does_it(*arguments):
        found = decide(*arguments)
        shutil.copytree(finished_run, run)
        return found

    monkeypatch.setattr(command, "beginning", and_then_another_does_it)
    code, _, err = lehr("train", f"dir={run}", *SMALL)
    assert (code, err) == (
        1,
        f"lehr train: dir={run}: holds a finished run; choose another directory, or say overwrite=true\n",
    )
    for path in finished_run.rglob("*"):
        if path.is_file():
            assert (run / path.relative_to(finished_run)).read_bytes() == path.read_bytes(), path
