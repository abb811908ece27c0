"""The loop over the batches of an epoch of a lane: asks for as many steps at once as nobody looks between."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import Trainer

from lehr.data.loader import Awaited
from lehr.training.fused.lanes import Lane, Steps
from lehr.training.loop import LeanEpochLoop
from lehr.training.module import VAEModule

_MOST_SECONDS = 5.0
"""Of steps that are taken as one: so long a signal, or a checkpoint that is due, waits for them at most."""


class LaneEpochLoop(LeanEpochLoop):
    """Where nothing but lehr takes part in a step, the steps up to the next entry of the log are taken as one."""

    lane: Lane
    _most = 1  # until it is known how long one takes

    @classmethod
    def of_lane(cls, trainer: Trainer, lane: Lane, validate_every: int | None) -> None:
        """Let `trainer` train by this loop."""
        cls.install(trainer, validate_every)
        loop = trainer.fit_loop.epoch_loop
        assert isinstance(loop, cls)
        loop.lane = lane

    def _advance_lean(self, data_fetcher: Any) -> None:
        trainer, progress = self.trainer, self.batch_progress
        module = trainer.lightning_module
        assert isinstance(module, VAEModule)
        step, counter, index = self.global_step, progress.total.ready, self.batch_idx
        batches: list[Awaited] = []
        while not batches or (len(batches) < self._until_looked_at(module, step) and not data_fetcher.done):
            batch, _, _ = next(data_fetcher)
            batches.append(batch)
        number = len(batches)
        progress.is_last_batch = data_fetcher.done
        began = time.perf_counter()
        module.last_step = self.lane.take(Steps(module, batches, step, counter))
        self._most = max(1, int(_MOST_SECONDS * number / max(time.perf_counter() - began, 1e-6)))
        for tracked in (progress.total, progress.current):
            tracked.ready += number
            tracked.started += number  # type: ignore[attr-defined]  # Lightning says too little of what they are
            tracked.processed += number  # type: ignore[attr-defined]
            tracked.completed += number - 1  # as a checkpoint has it while the last of them is looked at
        taken = self.automatic_optimization.optim_progress.optimizer.step
        for tracked in (taken.total, taken.current):
            tracked.increment_by(number)
        self._batches_that_stepped += number - 1  # the last is counted when it has ended
        for callback in self._listeners:
            callback.on_train_batch_end(trainer, module, None, batches[-1], index + number)
        progress.increment_completed()

    def _until_looked_at(self, module: VAEModule, step: int) -> int:
        """Steps from `step` on until something is logged, validated or over."""
        rhythms = [every for every in (module.logged_every, self.validate_every) if every]
        ends = [(step // every + 1) * every for every in rhythms]
        if self.max_steps >= 0:
            ends.append(self.max_steps)
        return max(1, min(min(ends, default=step + 1) - step, self._most))
