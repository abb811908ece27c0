"""SIGTERM and Ctrl-C: save a checkpoint at the next point where one can be resumed from exactly, then stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from lightning.pytorch import Trainer

from lehr.errors import STOP_SIGNALS, Interrupted
from lehr.run.directory import RunDirectory
from lehr.training.checkpoint import between_steps, save
from lehr.training.lean import LeanCallback
from lehr.training.module import VAEModule

_OF_SCHEDULERS = (signal.SIGUSR1, signal.SIGUSR2)  # a cluster's that a job's time is up, where anybody minds them
# a terminal signals all processes of a command, and the one that started the others passes it on: the same wish twice
_ONE_WISH_SECONDS = 1.0


class Interruption(LeanCallback):
    """Turns a signal into an orderly end. A signal a second later or more ends the process at once.

    In training the step at hand is finished and a checkpoint is written; during a validation it is the epoch's end
    that can be resumed from exactly, so the validation is finished first. Other ranks than the first leave signals
    to it, and are ended by it.

    Where the program around this one has a handler of its own, that is called once the checkpoint is written: it may
    stop a sweep, or put the job of a cluster back into its queue. If it returns, training goes on.
    """

    def __init__(self) -> None:
        self._signum: int | None = None
        self._came_at = 0.0
        self._original: dict[int, Any] = {}

    def setup(self, trainer: Trainer, pl_module: VAEModule, stage: str) -> None:  # type: ignore[override]
        # Lightning's own handlers, which it is about to put before these, would end the other ranks at once and
        # wait for them in the middle of a step
        trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
        handler = self._remember if trainer.is_global_zero else signal.SIG_IGN
        for signum in STOP_SIGNALS:
            original = signal.signal(signum, handler)
            self._original.setdefault(signum, original)
        for signum in _OF_SCHEDULERS:
            if signum not in self._original and callable(theirs := signal.getsignal(signum)):
                self._original[signum] = theirs
                signal.signal(signum, handler)

    def teardown(self, trainer: Trainer, pl_module: VAEModule, stage: str) -> None:  # type: ignore[override]
        for signum, handler in self._original.items():
            signal.signal(signum, handler)
        self._original = {}

    def on_exception(self, trainer: Trainer, pl_module: VAEModule, exception: BaseException) -> None:  # type: ignore[override]
        self.teardown(trainer, pl_module, "")  # Lightning leaves this out after an error
        if isinstance(exception, KeyboardInterrupt):  # before `setup`; Lightning would make a plain exit of it
            raise Interrupted(signal.SIGINT) from exception

    @contextmanager
    def watching(self, trainer: Trainer, module: VAEModule) -> Iterator[None]:
        """Remember signals within the block, which calls `check`: what comes after the training ends in order too."""
        self.setup(trainer, module, "")
        try:
            yield
        finally:
            self.teardown(trainer, module, "")

    def _remember(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._signum is None:
            self._signum, self._came_at = signum, now
        elif now - self._came_at >= _ONE_WISH_SECONDS:
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)

    def check(self) -> None:
        """Raise `Interrupted` if a signal has come: where everything that is to be kept is on disk already."""
        signum = self._signum
        if signum is None:
            return
        theirs = self._original.get(signum)
        if not callable(theirs) or theirs is signal.default_int_handler:
            raise Interrupted(signum)
        self._signum = None
        try:
            theirs(signum, None)
        except Exception as error:  # a job that may not go back into its queue
            raise Interrupted(signum) from error

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: Trainer, pl_module: VAEModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._signum is not None and between_steps(trainer):
            self._save_and_stop(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        if self._signum is not None and trainer.is_last_batch:
            self._save_and_stop(trainer, pl_module)

    def _save_and_stop(self, trainer: Trainer, module: VAEModule) -> None:
        module.finite.flush()
        save(trainer, RunDirectory(trainer.default_root_dir).last_checkpoint)
        self.check()
