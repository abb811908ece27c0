"""How long the steps of a training take; which ends early then."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from lehr.training.callbacks.pruning import Pruned
from lehr.training.lean import LeanCallback

_WARMING_UP = 3


class Stopwatch(LeanCallback):
    """Ends a training after so many seconds: in order where it has few images, or else by the way that `Pruned` goes.

    Args:
        limit: seconds of steps.
        few: the most training images with which the end of training is worth to be waited for.

    Attributes:
        seconds: that `steps` have taken, the first ones left out.
        is_whole: whether the training has gone to its end, though early.
    """

    def __init__(self, limit: float, few: int) -> None:
        self._limit, self._few = limit, few
        self._seen, self._began = 0, 0.0
        self.steps, self.seconds, self.is_whole = 0, 0.0, False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._seen += 1
        if self._seen <= _WARMING_UP:
            self._began = time.perf_counter()
            return
        self.steps, self.seconds = self._seen - _WARMING_UP, time.perf_counter() - self._began
        if self.seconds >= self._limit:
            if trainer.datamodule.n_train > self._few:  # type: ignore[attr-defined]
                raise Pruned("it has been seen how long a step takes")
            trainer.should_stop = self.is_whole = True
