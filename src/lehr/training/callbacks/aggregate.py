"""The statistics of the aggregate posterior over the training set, when training ends."""

from __future__ import annotations

import time

import torch
from lightning.pytorch import Trainer

from lehr.errors import ConfigError
from lehr.evaluation.aggregate import AggregatePosteriorMetric
from lehr.evaluation.statistics import write_statistics
from lehr.training.callbacks.interruption import Interruption
from lehr.training.directory import RunDirectory
from lehr.training.evaluation_mode import evaluation_mode
from lehr.training.lean import LeanCallback
from lehr.training.module import VAEModule
from lehr.training.progress_line import ProgressLine


class AggregateStatistics(LeanCallback):
    """Passes the whole training set through the encoder once and writes `posterior/`.

    Evaluation mode, no augmentation, no shuffling, every example counted once on any number of ranks. The result is
    `module.aggregate`.
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    def setup(self, trainer: Trainer, pl_module: VAEModule, stage: str) -> None:  # type: ignore[override]
        if pl_module.datamodule.n_train < 2:
            raise ConfigError("the aggregate posterior needs at least 2 training examples")

    def on_train_end(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        self._compute(trainer, pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        self._if_missing(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        if trainer.state.fn == "validate":
            self._if_missing(trainer, pl_module)

    def _if_missing(self, trainer: Trainer, module: VAEModule) -> None:
        # a run that was killed after its last step has no training left, and so no end of training, when resumed
        if module.aggregate is None:
            self._compute(trainer, module)

    def _compute(self, trainer: Trainer, module: VAEModule) -> None:
        started = time.perf_counter()
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
        self.seconds = time.perf_counter() - started
