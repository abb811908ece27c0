"""The statistics of the aggregate posterior over the training set, when training ends."""

from __future__ import annotations

import torch
from lightning.pytorch import Trainer

from lehr.errors import ConfigError
from lehr.evaluation.aggregate import AggregatePosteriorMetric
from lehr.evaluation.statistics import write_statistics
from lehr.run.directory import RunDirectory
from lehr.run.evaluation_mode import evaluation_mode
from lehr.run.progress_line import ProgressLine
from lehr.training.callbacks.at_end import AtTrainingEnd
from lehr.training.callbacks.interruption import Interruption
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
        data = module.datamodule
        loader = data.evaluation_loader("train", module.device, trainer.global_rank, trainer.world_size)
        metric = AggregatePosteriorMetric(module.model.latent_shape).to(module.device)
        interruption = next((c for c in trainer.callbacks if isinstance(c, Interruption)), None)  # type: ignore[attr-defined]
        line = ProgressLine("aggregate posterior", len(loader), shown=trainer.is_global_zero)
        with torch.inference_mode(), evaluation_mode(module), trainer.precision_plugin.forward_context(), line:
            for batch in loader:
                metric.update(module.model.encode(batch.images))
                line.advance()
                if interruption:
                    interruption.check()
        module.aggregate = metric.compute()
        if trainer.is_global_zero:
            write_statistics(
                RunDirectory(trainer.default_root_dir).posterior, module.aggregate, str(data.name), "train"
            )
