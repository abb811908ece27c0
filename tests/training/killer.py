"""A callback that kills its own process with SIGKILL at a chosen moment, as a user's own component."""

import os
import signal

from lightning.pytorch import Callback

from lehr.training import checkpoint


def die():
    os.kill(os.getpid(), signal.SIGKILL)


class Kill(Callback):
    """`at`: step, validation, saving, aggregate, test or export; `after`: how many such moments are survived."""

    def __init__(self, at, after=0):
        self.at = at
        self.left = after

    def _moment(self, name):
        if name == self.at:
            self.left -= 1
            if self.left < 0:
                die()

    def setup(self, trainer, pl_module, stage):
        if self.at == "saving":
            save = checkpoint.torch.save

            def half(state, file):
                save(state, file)
                file.seek(file.tell() // 2)
                file.truncate()
                file.flush()
                self._moment("saving")
                file.seek(0)
                file.truncate()
                save(state, file)

            checkpoint.torch.save = half
        encode = pl_module.model.encode

        def watched(x):
            if not pl_module.training and trainer.state.fn == "fit" and not trainer.validating:
                self._moment("aggregate")
            return encode(x)

        pl_module.model.encode = watched

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self._moment("step")

    def on_validation_batch_end(self, *args, **kwargs):
        self._moment("validation")

    def on_test_batch_end(self, *args, **kwargs):
        self._moment("test")

    def on_test_end(self, *args, **kwargs):
        self._moment("export")
