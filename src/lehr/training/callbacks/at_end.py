"""What is done once, when training ends."""

from __future__ import annotations

import time

from lightning.pytorch import Trainer

from lehr.training.lean import LeanCallback
from lehr.training.module import VAEModule


class AtTrainingEnd(LeanCallback):
    """Calls `finish` when training ends; a subclass says what that does.

    A run that was killed after its last step has no training left when it is resumed, and so no end of training: then
    it is called before the test, or the validation that stands for it.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        """What `finish` took; 0 before."""
        self._finished = False

    def finish(self, trainer: Trainer, module: VAEModule) -> None:
        """Called once on every rank."""
        raise NotImplementedError

    def on_train_end(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        started = time.perf_counter()
        self.finish(trainer, pl_module)
        self._finished = True
        self.seconds = time.perf_counter() - started

    def on_test_start(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        if not self._finished:
            self.on_train_end(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        if trainer.state.fn == "validate" and not self._finished:
            self.on_train_end(trainer, pl_module)
