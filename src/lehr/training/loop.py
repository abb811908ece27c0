"""Lightning's loop over the batches of an epoch, without what nobody listens to.

A step of a small model takes a few milliseconds, of which Lightning's hooks, closures and contexts take a good part. So
where all that takes part in a step is lehr's own, on one device, a batch goes straight through `training_step`,
backward and the optimizers. The progress counters, which checkpoints hold and resuming hangs on, are advanced as
Lightning does; wherever anything else listens, Lightning's own loop runs.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy

from lehr.data.batch import Batch
from lehr.training.lean import LeanCallback, NoProfiler
from lehr.training.module import VAEModule

_OF_A_STEP = (
    "on_train_batch_start", "on_train_batch_end", "on_before_zero_grad", "on_before_backward", "on_after_backward",
    "on_before_optimizer_step",
)  # fmt: skip
_OF_AN_OPTIMIZER = ("optimizer_step", "optimizer_zero_grad", "configure_gradient_clipping")
_OF_A_BATCH = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")


class LeanEpochLoop(_TrainingEpochLoop):
    """The batches of an epoch, each with no more between it and the next than has to be."""

    _is_lean = False
    validate_every: int | None = None
    """Optimiser steps from one validation to the next, besides those that the trainer asks for."""

    @classmethod
    def install(cls, trainer: Trainer, validate_every: int | None = None) -> None:
        """Let `trainer` train by this loop, and validate every so many steps."""
        before = trainer.fit_loop.epoch_loop
        trainer.fit_loop.epoch_loop = loop = cls(trainer, before.min_steps, before.max_steps)
        loop.validate_every = validate_every

    def on_run_start(self, data_fetcher: Any) -> None:
        super().on_run_start(data_fetcher)
        trainer = self.trainer
        self._is_lean = _may_be_lean(trainer)
        if self._is_lean:
            data_fetcher._start_profiler = data_fetcher._stop_profiler = _do_nothing
        self._listeners = [c for c in trainer.callbacks if _takes_part(c, "on_train_batch_end", Callback)]
        self._forward_context = forward_context(trainer)
        self._validates_at_end = (
            trainer.check_val_every_n_epoch is not None
            and trainer._val_check_time_interval is None
            and trainer.val_check_batch == trainer.num_training_batches
        )

    def advance(self, data_fetcher: Any) -> None:
        if self.restarted_on_train_batch_end and self._should_check_val_fx(data_fetcher):
            self.val_loop.restarting = False
            return  # what was saved right before a validation goes on with it
        if not self._is_lean or self.restarting:
            super().advance(data_fetcher)
            return
        self.val_loop.restarting = False
        self._advance_lean(data_fetcher)

    def _advance_lean(self, data_fetcher: Any) -> None:
        module, progress = self.trainer.lightning_module, self.batch_progress
        assert isinstance(module, VAEModule)
        profile = self.trainer.profiler.profile  # does nothing, unless a profile was asked for
        with profile("train_dataloader_next"):
            batch, _, _ = next(data_fetcher)
        batch_idx = self.batch_idx + 1
        progress.is_last_batch = data_fetcher.done
        progress.increment_ready()
        progress.increment_started()
        self._step(module, batch, batch_idx)
        progress.increment_processed()
        with profile("on_train_batch_end"):
            for callback in self._listeners:
                callback.on_train_batch_end(self.trainer, module, None, batch, batch_idx)
        progress.increment_completed()

    def _step(self, module: VAEModule, batch: Batch, batch_idx: int) -> None:
        players, accumulate = module.players, self.trainer.accumulate_grad_batches
        assert players is not None
        profile = self.trainer.profiler.profile
        with profile("training_step"), self._forward_context():
            loss = module.training_step(batch, batch_idx)
        if accumulate > 1:
            loss = loss / accumulate
        if batch_idx % accumulate == 0:
            with profile("optimizer_zero_grad"):
                players.zero_grad()
        with profile("backward"):
            loss.backward()
        if not self._should_accumulate():
            step = self.automatic_optimization.optim_progress.optimizer.step
            step.increment_ready()
            with profile("optimizer_step"):
                players.clip()
                players.step()
            step.increment_completed()
            module.after_step(batch_idx)

    def on_advance_end(self, data_fetcher: Any) -> None:
        trainer = self.trainer
        nothing_due = self._validates_at_end and not self.batch_progress.is_last_batch and not self._validates_now()
        if not self._is_lean or not nothing_due or self._skip_next_val or trainer.received_sigterm:
            super().on_advance_end(data_fetcher)
        elif not self._should_accumulate():
            self._batches_that_stepped += 1

    def _should_check_val_fx(self, data_fetcher: Any) -> bool:
        return super()._should_check_val_fx(data_fetcher) or (self.trainer.enable_validation and self._validates_now())

    def _validates_now(self) -> bool:
        """Whether, whatever the rhythm of epochs, a validation follows the step that was just taken, if it was one.

        One follows the last step of the training, whatever ends it: its ELBO is what is reported, and it may be the
        best.
        """
        if self._should_accumulate():
            return False
        trainer, step = self.trainer, self.global_step
        return (
            (self.validate_every is not None and step % self.validate_every == 0)
            or 0 <= self.max_steps <= step
            or trainer.should_stop
            or (self.batch_progress.is_last_batch and trainer.max_epochs == trainer.current_epoch + 1)
        )


def forward_context(trainer: Trainer) -> Callable[[], AbstractContextManager[Any]]:
    """What the forward pass of a step runs in, for the sake of its precision."""
    precision = trainer.precision_plugin
    # whose context does nothing, and takes its time for it
    return nullcontext if type(precision) is Precision else precision.train_step_context


def _do_nothing() -> None:
    """In place of a profiler's start and stop."""


def _may_be_lean(trainer: Trainer) -> bool:
    """Whether nothing takes part in a step but what `LeanEpochLoop` calls."""
    module, precision = trainer.lightning_module, trainer.precision_plugin
    return (
        isinstance(module, VAEModule)
        and isinstance(trainer.profiler, NoProfiler | PassThroughProfiler)  # type: ignore[attr-defined]
        and module.automatic_optimization
        and module.players is not None
        and not module.players.want_closures
        and type(trainer.strategy) is SingleDeviceStrategy
        and getattr(precision, "scaler", None) is None
        and trainer.gradient_clip_val is None
        and not trainer.lr_scheduler_configs
        and not any(_takes_part(module, hook, VAEModule) for hook in ("training_step", *_OF_AN_OPTIMIZER))
        and not any(_takes_part(module, hook, LightningModule) for hook in ("backward", *_OF_A_STEP, *_OF_A_BATCH))
        and not any(_takes_part(module.datamodule, hook, LightningDataModule) for hook in _OF_A_BATCH)
        and not any(
            _takes_part(callback, hook, Callback)
            for callback in trainer.callbacks  # type: ignore[attr-defined]
            for hook in _OF_A_STEP
            if not (isinstance(callback, LeanCallback) and hook == "on_train_batch_end")
        )
    )


def _takes_part(listener: Any, hook: str, base: type) -> bool:
    """Whether a hook of `listener` does anything."""
    method = getattr(listener, hook, None)
    return callable(method) and getattr(method, "__func__", method) is not getattr(base, hook)
