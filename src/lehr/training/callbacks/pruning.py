"""Pruning: a search ends a trial whose ELBO falls behind that of the trials before it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Trainer

from lehr.run.measure import score
from lehr.training.lean import LeanCallback
from lehr.training.module import VAEModule

if TYPE_CHECKING:
    from optuna import Study
    from optuna.pruners import BasePruner
    from optuna.trial import FrozenTrial

_SHORTEST = 27
"""Hyperband first looks after this part of a run, and has log3 of it + 1 = 4 brackets."""


class Pruned(BaseException):
    """A search has ended the run early; what it says is why."""


class Pruning(LeanCallback):
    """Reports `val/elbo`, at KL weight 1, to the study of a search, and ends the run when its pruner says so.

    While the weight anneals the ELBO may fall for good reason, so nothing is reported before it has settled; and a run
    that is through is not ended. A trial that the study takes for finished, or a study that is gone, is left alone.

    Args:
        trial: which one of which study, as `Point.trial` says; its journal lies beside the run directory.
    """

    def __init__(self, trial: Mapping[str, Any]) -> None:
        self._trial = trial
        self._study: Study | None = None
        self._is_open = False

    def on_validation_end(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        # the first rank decides, and ends the others when it stops
        if trainer.state.fn != "fit" or trainer.sanity_checking or not trainer.is_global_zero:
            return
        if trainer.global_step < pl_module.settled:
            return
        study = self._opened(Path(trainer.default_root_dir).parent / self._trial["journal"])
        if study is None or (pruner := _pruner(study, pl_module)) is None:
            return
        trial = self._reported(study, pl_module.images_seen, score(pl_module.evaluated))
        assert pl_module.length is not None
        if trial is None or trainer.should_stop or trainer.global_step >= pl_module.length.total_steps:
            return
        if pruner.prune(study, trial):
            raise Pruned(f"pruned after {_done(trainer)}: {_reason(study, trial)}")

    def _opened(self, journal: Path) -> Study | None:
        if not self._is_open:
            self._is_open = True
            if journal.exists():
                self._study = _study(journal, self._trial["study"])
        return self._study

    def _reported(self, study: Study, step: int, elbo: float) -> FrozenTrial | None:
        """The trial with this value, or None if it is finished: another process has done it meanwhile."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        storage, trial_id = study._storage, self._trial["id"]
        trial = storage.get_trial(trial_id)
        if trial.state != TrialState.RUNNING:
            return None
        if step in trial.intermediate_values:  # by a run that was killed after this validation and has come here again
            return trial
        try:
            storage.set_trial_intermediate_value(trial_id, step, elbo)
        except UpdateFinishedTrialError:
            return None
        return storage.get_trial(trial_id)


def _done(trainer: Trainer) -> str:
    """How much has been trained, in words: epochs, or steps within one."""
    n, word = (trainer.current_epoch + 1, "epoch") if trainer.is_last_batch else (trainer.global_step, "step")
    return f"{n} {word}{'s'[: n != 1]}"


def _study(journal: Path, name: str) -> Study | None:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        return optuna.load_study(study_name=name, storage=JournalStorage(JournalFileBackend(str(journal))))
    except KeyError:
        return None


def _pruner(study: Study, module: VAEModule) -> BasePruner | None:
    from optuna.pruners import HyperbandPruner, MedianPruner

    match study.user_attrs["search"]["pruner"]:
        case "median":
            return MedianPruner()
        case "hyperband":
            assert module.length is not None
            length = module.length
            images = length.total_steps * length.examples_per_epoch // length.steps_per_epoch
            return HyperbandPruner(max(1, images // _SHORTEST), images, reduction_factor=3)
    return None


def _reason(study: Study, trial: FrozenTrial) -> str:
    from optuna.trial import TrialState

    best = max(trial.intermediate_values.values())
    if study.user_attrs["search"]["pruner"] == "hyperband":
        return f"val/elbo {best:.6g} is not among the best third of its bracket"
    others = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    values = [t.intermediate_values[trial.last_step] for t in others if trial.last_step in t.intermediate_values]
    return f"val/elbo {best:.6g} is below {median(values):.6g}, the median of {len(values)} trials"
