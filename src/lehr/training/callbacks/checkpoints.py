"""checkpoints/last.ckpt, to go on from, and checkpoints/best.ckpt, the best ELBO on the validation data."""

from __future__ import annotations

import math
import time
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint

from lehr.limits import NonNegativeFloat
from lehr.run.directory import RunDirectory
from lehr.run.measure import score
from lehr.training.checkpoint import between_steps, save
from lehr.training.lean import LeanCallback
from lehr.training.length import is_over
from lehr.training.module import VAEModule


class Checkpoints(LeanCallback, Checkpoint):
    """Saves the state of training by the clock, at its start and at its end, and whenever the ELBO is a new best.

    The best is looked for only once the KL weight has reached its target: before, the model is another one. Weights
    that are not finite are never saved.

    Args:
        every_seconds: the most work that is lost when a run is killed.
    """

    def __init__(self, every_seconds: NonNegativeFloat = 60.0) -> None:
        self.every_seconds = every_seconds
        self.best = -math.inf
        self._is_new = False  # and not saved yet
        self._saved_at = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]

    def on_train_start(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        self._saved_at = time.monotonic()
        _validate_if_last(trainer)
        if trainer.global_step == 0:
            self._save_last(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        _validate_if_last(trainer)

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: Trainer, pl_module: VAEModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if between_steps(trainer) and (self._is_due() or trainer.global_step == trainer.max_steps):
            self._save_last(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        if trainer.global_step >= pl_module.settled:
            self._look_for_best(trainer, pl_module)
        if is_over(trainer) and not trainer.is_last_batch:
            self._save_last(trainer, pl_module)

    def _look_for_best(self, trainer: Trainer, pl_module: VAEModule) -> None:
        found = score(pl_module.evaluated)
        if found > self.best:
            self.best, self._is_new = found, True
            # at the end of an epoch it is after the epoch that one may go on
            if not trainer.is_last_batch:
                self._save_best(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        if self._is_new:
            self._save_best(trainer)
        # an epoch that was cut short was saved after its last validation: it is in its middle that one may go on
        if trainer.is_last_batch and (self._is_due() or is_over(trainer)):
            self._save_last(trainer, pl_module)

    def _is_due(self) -> bool:
        return time.monotonic() - self._saved_at >= self.every_seconds

    def _save_best(self, trainer: Trainer) -> None:
        save(trainer, RunDirectory(trainer.default_root_dir).best_checkpoint)
        self._is_new = False

    def _save_last(self, trainer: Trainer, module: VAEModule) -> None:
        module.finite.flush()
        save(trainer, RunDirectory(trainer.default_root_dir).last_checkpoint)
        self._saved_at = time.monotonic()


def _validate_if_last(trainer: Trainer) -> None:
    """Validate the last epoch too, whatever the rhythm: it may be the best, and its ELBO is what is reported."""
    if trainer.max_epochs == trainer.current_epoch + 1 and trainer.check_val_every_n_epoch is not None:
        trainer.check_val_every_n_epoch = 1
