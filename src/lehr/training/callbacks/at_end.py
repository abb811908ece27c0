"""What is done once, when training ends."""

from __future__ import annotations

from lightning.pytorch import Trainer

from lehr.run.execution import Execution
from lehr.training.callbacks.interruption import Interruption
from lehr.training.lean import LeanCallback
from lehr.training.module import VAEModule


class AtTrainingEnd(LeanCallback):
    """Calls `finish` when training ends; a subclass says what that does.

    A run that was killed after its last step has no training left when it is resumed, and so no end of training: then
    it is called before the test, or the validation that stands for it.
    """

    def __init__(self) -> None:
        self.left_to_session = False
        """Whether what trains does this by itself, after the training; then `finish` is not called."""
        self._finished = False

    def finish(self, trainer: Trainer, module: VAEModule) -> None:
        """Called once on every rank."""
        raise NotImplementedError

    def on_train_end(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        if not self.left_to_session:
            with pl_module.averaged():
                self.finish(trainer, pl_module)
            self._finished = True

    def on_test_start(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        if not self._finished:
            self.on_train_end(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        if trainer.state.fn == "validate" and not self._finished:
            self.on_train_end(trainer, pl_module)


def execution_of(trainer: Trainer) -> Execution:
    """How `trainer` would pass over a data set."""
    interruption = next((c for c in trainer.callbacks if isinstance(c, Interruption)), None)  # type: ignore[attr-defined]
    return Execution(
        trainer.strategy.root_device,
        trainer.global_rank,
        trainer.world_size,
        **({"check": interruption.check} if interruption else {}),
    )
