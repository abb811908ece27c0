"""A callback that sends its own process a signal at a chosen moment, as a user's own component."""

from __future__ import annotations

import os
import signal as signals
from typing import Any

from lightning.pytorch import Callback

from lehr.run import finish, pictures
from lehr.run.measure import SplitMeasurement
from lehr.training import checkpoint

MOMENTS = ("step", "validation", "epoch", "saving", "aggregate", "pictures", "test", "export")


class Kill(Callback):
    """Sends the signal of this name to the first rank, or to everyone in its process group, at the `after`-th moment
    of a kind (0 is the first).

    step: a training batch has been processed; validation: a batch of validation; epoch: the end of an epoch, after
    its validation; saving: half of a checkpoint has been written; aggregate: a batch of the aggregate pass;
    pictures: one of the final pictures is about to be written; test: a batch of the test; export: the model is
    written, the metrics are not.
    """

    def __init__(self, at: str, after: int = 0, signal: str = "SIGKILL", everyone: bool = False) -> None:
        if at not in MOMENTS:
            raise ValueError(f"at={at!r}: expected one of {', '.join(MOMENTS)}")
        self.at = at
        self.left = after
        self.signum = signals.Signals[signal]
        self.everyone = everyone
        self.armed = False

    def _moment(self, name: str) -> None:
        if name == self.at and self.armed:
            self.left -= 1
            if self.left == -1:
                os.kill(0 if self.everyone else os.getpid(), self.signum)

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        if self.armed or not trainer.is_global_zero:
            return
        self.armed = True
        self._cut_checkpoints_short()
        pictures.save_png = self._before("pictures", pictures.save_png)
        finish.write_json = self._before("export", finish.write_json)
        self._watch_the_test()
        encode = pl_module.model.encode

        def watched(x: Any) -> Any:
            if not pl_module.model.training and trainer.state.fn == "fit" and not trainer.validating:
                self._moment("aggregate")
            return encode(x)

        pl_module.model.encode = watched

    def _before(self, name: str, function: Any) -> Any:
        def watched(*args: Any) -> Any:
            self._moment(name)
            return function(*args)

        return watched

    def _watch_the_test(self) -> None:
        update = SplitMeasurement.update

        def watched(measurement: SplitMeasurement, batch: Any) -> None:
            update(measurement, batch)
            if measurement.split == "test":
                self._moment("test")

        SplitMeasurement.update = watched

    def _cut_checkpoints_short(self) -> None:
        save = checkpoint.torch.save

        def in_two_halves(state: Any, file: Any) -> None:
            if self.at == "saving":
                save(state, file)
                file.truncate(file.tell() // 2)
                file.flush()
                self._moment("saving")
                file.seek(0)
                file.truncate()
            save(state, file)

        checkpoint.torch.save = in_two_halves

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self._moment("step")

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self._moment("validation")

    def on_train_epoch_end(self, *args: Any, **kwargs: Any) -> None:
        self._moment("epoch")
