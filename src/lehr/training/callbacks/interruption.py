"""A signal to end: save a checkpoint at the next point where one can be resumed from exactly, then stop."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import Trainer

from lehr.errors import Interrupted
from lehr.run.directory import RunDirectory
from lehr.signals import Remembered, give_back, hand_on, put
from lehr.training.checkpoint import between_steps, save
from lehr.training.lean import LeanCallback
from lehr.training.module import VAEModule


class Interruption(LeanCallback):
    """Turns a signal into an orderly end. Another wish to end, a second later or more, ends the process at once.

    In training the step at hand is finished and a checkpoint is written; during a validation it is the epoch's end
    that can be resumed from exactly, so the validation is finished first. Other ranks than the first leave signals
    to it, and are ended by it.

    Where the program around this one has a handler of its own, that is called once the checkpoint is written: it may
    stop a sweep, or put the job of a cluster back into its queue. If it returns, training goes on.
    """

    def __init__(self) -> None:
        self._come = Remembered()
        self._original: dict[int, Any] = {}
        self.before_check: Callable[[], None] = lambda: None
        """Called first where a signal is looked for at the end of a run."""

    def setup(self, trainer: Trainer, pl_module: VAEModule, stage: str) -> None:  # type: ignore[override]
        # Lightning's own handlers, which it is about to put before these, would end the other ranks at once and
        # wait for them in the middle of a step
        trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
        handler = self._come if trainer.is_global_zero else signal.SIG_IGN
        if not self._original:
            self._original = put(handler, over_others=True)

    def teardown(self, trainer: Trainer, pl_module: VAEModule, stage: str) -> None:  # type: ignore[override]
        give_back(self._original)
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

    def remember(self, signum: int) -> None:
        """Take a signal for come, which has come to the program around."""
        self._come.signum = self._come.signum or signum

    def check(self) -> None:
        """Raise `Interrupted` if a signal has come: where everything that is to be kept is on disk already."""
        self.before_check()
        signum = self._come.signum
        if signum is None:
            return
        try:
            hand_on(signum, self._original.get(signum))
            self._come.signum = None
        except Exception as error:  # a job that may not go back into its queue
            raise Interrupted(signum) from error

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: Trainer, pl_module: VAEModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._come.signum is not None and between_steps(trainer):
            self._save_and_stop(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        if self._come.signum is not None and trainer.is_last_batch:
            self._save_and_stop(trainer, pl_module)

    def _save_and_stop(self, trainer: Trainer, module: VAEModule) -> None:
        module.finite.flush()
        save(trainer, RunDirectory(trainer.default_root_dir).last_checkpoint)
        self.check()
