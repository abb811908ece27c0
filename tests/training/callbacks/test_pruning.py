"""A run whose ELBO falls behind that of earlier trials is ended, and no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from harness import fit, vae

from lehr.training.callbacks.pruning import Pruned, Pruning

optuna = pytest.importorskip("optuna")
from optuna.trial import TrialState, create_trial  # noqa: E402

EPOCHS = 4
TRAIN = 86  # images of an epoch


class Sweep:
    """A sweep directory with a study in it."""

    def __init__(self, path: Path, pruner: str = "median") -> None:
        self.path = path
        self.study = optuna.create_study(
            storage=self._storage(), study_name="s", direction="maximize", sampler=optuna.samplers.RandomSampler()
        )
        self.study.set_user_attr("search", {"pruner": pruner})

    def _storage(self) -> Any:
        backend = optuna.storages.journal.JournalFileBackend(str(self.path / "optuna.journal"))
        return optuna.storages.JournalStorage(backend)

    def ask(self) -> dict[str, Any]:
        trial = self.study.ask()
        return {"study": "s", "number": trial.number, "id": trial._trial_id, "journal": "optuna.journal"}

    def add(self, curve: dict[int, float]) -> None:
        """A finished trial that reported these values."""
        self.study.add_trial(create_trial(value=max(curve.values()), intermediate_values=curve))

    def reports(self, trial: dict[str, Any]) -> dict[int, float]:
        return self.study.trials[trial["number"]].intermediate_values

    def train(self, trial: dict[str, Any], name: str = "run", warmup: int = 2, **options: Any) -> Any:
        options = {"max_epochs": EPOCHS} | options
        return fit(self.path / name, Pruning(trial), module=vae(warmup=warmup), **options)


@pytest.fixture(scope="module")
def curve(tmp_path_factory) -> dict[int, float]:
    """Images seen -> val/elbo of an undisturbed run, as it reports them."""
    sweep = Sweep(tmp_path_factory.mktemp("curve"))
    trial = sweep.ask()
    module = sweep.train(trial)
    reports = sweep.reports(trial)
    assert reports[EPOCHS * TRAIN] == module.evaluated["val/elbo"]
    return reports


def test_the_elbo_is_reported_by_images_seen_once_the_weight_has_settled(curve, tmp_path):
    assert list(curve) == [2 * TRAIN, 3 * TRAIN, 4 * TRAIN]  # the weight reaches its target with the second epoch
    sweep = Sweep(tmp_path)
    trial = sweep.ask()
    sweep.train(trial, warmup=0)
    assert list(sweep.reports(trial)) == [TRAIN, 2 * TRAIN, 3 * TRAIN, 4 * TRAIN]


def test_a_run_below_the_median_is_ended_and_says_so(curve, tmp_path):
    sweep = Sweep(tmp_path)
    for above in (-1, -1, 1, 2, 3):
        sweep.add({step: value + above for step, value in curve.items()})
    trial = sweep.ask()
    step, value = next(iter(curve.items()))
    with pytest.raises(Pruned) as caught:
        sweep.train(trial)
    reason = f"val/elbo {value:.6g} is below {value + 1:.6g}, the median of 5 trials"
    assert str(caught.value) == f"pruned after 2 epochs: {reason}"
    assert sweep.reports(trial) == {step: value}


def test_a_run_that_is_pruned_within_an_epoch_says_after_how_many_steps(tmp_path):
    sweep = Sweep(tmp_path)
    for _ in range(5):
        sweep.add({3 * 16: 0.0})  # better than any
    with pytest.raises(Pruned, match=r"pruned after 3 steps: val/elbo -"):
        sweep.train(sweep.ask(), warmup=0, val_check_interval=3)


def test_a_run_above_the_median_is_not_ended(curve, tmp_path):
    sweep = Sweep(tmp_path)
    for above in (-3, -2, -1, 1, 2):
        sweep.add({step: value + above for step, value in curve.items()})
    trial = sweep.ask()
    sweep.train(trial)
    assert sweep.reports(trial) == curve


def test_the_first_five_trials_are_never_ended(curve, tmp_path):
    sweep = Sweep(tmp_path)
    for _ in range(4):
        sweep.add({step: value + 1 for step, value in curve.items()})
    sweep.train(sweep.ask())


def test_a_run_that_is_through_is_not_ended(curve, tmp_path):
    sweep = Sweep(tmp_path)
    for _ in range(5):
        sweep.add({EPOCHS * TRAIN: 0.0})  # only at the end is it behind
    trial = sweep.ask()
    sweep.train(trial)
    assert sweep.reports(trial) == curve


@pytest.mark.parametrize(("above", "ends"), [(1.0, True), (-1.0, False)])
def test_hyperband_ends_what_is_not_among_the_best_of_its_bracket(curve, tmp_path, above, ends):
    sweep = Sweep(tmp_path, pruner="hyperband")
    value = curve[2 * TRAIN] + above
    for _ in range(20):  # enough for each bracket to have some, which passed all of its rungs with that value
        rungs = {f"completed_rung_{i}": value for i in range(4)}
        sweep.study.add_trial(create_trial(value=value, system_attrs=rungs))
    trial = sweep.ask()
    if not ends:
        sweep.train(trial)
        return
    with pytest.raises(Pruned, match=r"pruned after 2 epochs: val/elbo -.* is not among the best third of its bracket"):
        sweep.train(trial)


def test_what_was_reported_before_a_kill_is_reported_once(curve, tmp_path):
    sweep = Sweep(tmp_path)
    trial = sweep.ask()
    sweep.train(trial, max_epochs=3)
    sweep.train(trial, name="again")  # passes the same validations once more
    assert sweep.reports(trial) == curve


@pytest.mark.parametrize("why", ["finished", "no such study", "no journal", "no pruner"])
def test_a_trial_that_the_study_does_not_wait_for_is_left_alone(curve, tmp_path, why):
    sweep = Sweep(tmp_path, pruner="none" if why == "no pruner" else "median")
    for _ in range(5):
        sweep.add(dict.fromkeys(curve, 0.0))
    trial = sweep.ask()
    if why == "finished":
        sweep.study.tell(trial["number"], -1.0)
    elif why == "no such study":
        trial["study"] = "other"
    elif why == "no journal":
        trial["journal"] = "other.journal"
    sweep.train(trial)
    assert sweep.reports(trial) == {}
    assert not (tmp_path / "other.journal").exists()


@pytest.mark.slow
def test_a_pruned_run_of_two_processes_ends_both(process, tmp_path):
    sweep = Sweep(tmp_path)
    for _ in range(5):
        sweep.add({1287 * epoch: 0.0 for epoch in range(1, 9)})
    trial = sweep.ask()
    words = ",".join(f"{name}:{value}" for name, value in trial.items())
    pruning = (
        "+callbacks.pruning._target_=lehr.training.callbacks.pruning.Pruning",
        f"+callbacks.pruning.trial={{{words}}}",
    )
    started = process.start(
        "train", *pruning, "data.val_fraction=0.105", "trainer.max_epochs=8", "kl.hold=0", "kl.warmup=2",
        "model.hidden=[16]", "trainer.devices=2", "trainer.accelerator=cpu",
        "trainer.check_val_every_n_epoch=1", f"dir={tmp_path / 'run'}",
    )  # fmt: skip
    started.wait(100)
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert status["state"] == "pruned"
    assert status["error"].startswith("pruned after 2 epochs: val/elbo -")
    assert len(sweep.reports(trial)) == 1
    assert started.left_behind() == []
    assert sweep.study.trials[trial["number"]].state == TrialState.RUNNING  # whoever handed it out will tell
