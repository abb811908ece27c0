"""The part of a LightningModule that validates and tests: both measure a split in the same way."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import torch
from lightning.pytorch import LightningModule

from lehr.data.batch import Batch
from lehr.data.module import ImageDataModule
from lehr.models.components import Components
from lehr.run.measure import SplitMeasurement


class MeasuredModule(LightningModule):
    """Measures its components on the validation and the test split of an `ImageDataModule`.

    Attributes:
        seed: of all noise.
        measurement: of the split that is, or was last, validated or tested.
        evaluated: the metrics of the last validation or test; in the checkpoint, as a resumed run may have none to
            come.
    """

    seed: int

    def __init__(self) -> None:
        super().__init__()
        self.measurement: SplitMeasurement | None = None
        self.evaluated: dict[str, float] = {}
        self._evaluation = ExitStack()

    @property
    def components(self) -> Components:
        """What is measured."""
        raise NotImplementedError

    def averaged(self) -> AbstractContextManager[None]:
        """Within it the weights are those that the run ends in: their average, where there is one."""
        raise NotImplementedError

    @property
    def datamodule(self) -> ImageDataModule:
        datamodule = self.trainer.datamodule  # type: ignore[attr-defined]  # set by the trainer
        assert isinstance(datamodule, ImageDataModule)
        return datamodule

    def setup(self, stage: str) -> None:
        self._evaluation.close()  # a pass that an error has ended was not closed

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["evaluated"] = dict(self.evaluated)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.evaluated = checkpoint["evaluated"]

    def on_validation_start(self) -> None:
        self._evaluation.enter_context(self.averaged())

    def on_validation_end(self) -> None:
        self._evaluation.close()

    def on_test_start(self) -> None:
        self._evaluation.enter_context(self.averaged())

    def on_test_end(self) -> None:
        self._evaluation.close()

    def on_validation_epoch_start(self) -> None:
        self._start_measuring("val")

    def on_test_epoch_start(self) -> None:
        self._start_measuring("test")

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._measure(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._measure(batch)

    def on_validation_epoch_end(self) -> None:
        self._end_measuring()

    def on_test_epoch_end(self) -> None:
        self._end_measuring()

    def _start_measuring(self, split: str) -> None:
        self.measurement = SplitMeasurement(self.components, self.datamodule, split, self.seed, self.device)

    def _measure(self, batch: Batch) -> None:
        assert self.measurement is not None
        self.measurement.update(batch)

    def _end_measuring(self) -> None:
        assert self.measurement is not None
        self.evaluated = self.measurement.compute(self.trainer.global_step)
        self.tell_monitors(self.evaluated)

    def tell_monitors(self, metrics: Mapping[str, float]) -> None:
        """Let the trainer's callbacks see `metrics`; what goes to the loggers is written by the Metrics callback.

        `log_dict(metrics, logger=False)` comes to the same, in twenty times as long.
        """
        self.trainer.callback_metrics.update(
            {name: torch.tensor(value, device=self.device) for name, value in metrics.items()}
        )
