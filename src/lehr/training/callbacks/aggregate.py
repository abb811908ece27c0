"""The statistics of the aggregate posterior over the training set, when training ends."""

from __future__ import annotations

from lightning.pytorch import Trainer

from lehr.errors import ConfigError
from lehr.run.directory import RunDirectory
from lehr.run.finish import measure_statistics
from lehr.training.callbacks.at_end import AtTrainingEnd, execution_of
from lehr.training.module import VAEModule


class AggregateStatistics(AtTrainingEnd):
    """Passes the whole training set through the encoder once and writes `posterior/`.

    Evaluation mode, no augmentation, no shuffling, every example counted once on any number of ranks. The result is
    `module.aggregate`.
    """

    def setup(self, trainer: Trainer, pl_module: VAEModule, stage: str) -> None:  # type: ignore[override]
        if pl_module.datamodule.n_train < 2:
            raise ConfigError("the aggregate posterior needs at least 2 training examples")

    def finish(self, trainer: Trainer, module: VAEModule) -> None:
        directory = RunDirectory(trainer.default_root_dir)
        module.aggregate = measure_statistics(module.components, module.datamodule, directory, execution_of(trainer))
