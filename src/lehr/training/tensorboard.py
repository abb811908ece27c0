"""TensorBoard events in the run directory, with images seen on the x-axis."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from lehr.errors import ConfigError
from lehr.run.contents import EVENTS_SUFFIX


class TensorBoard(TensorBoardLogger):
    """Writes its events straight into the run directory, and no other file.

    Args:
        save_dir: the run directory.
        purge_step: on resuming, events after this many images are hidden: they will be written again.
    """

    def __init__(self, save_dir: str | Path, purge_step: int | None = None) -> None:
        named: dict[str, Any] = {"filename_suffix": EVENTS_SUFFIX}  # what other programs log here is not the run's
        folder = _writable(save_dir)
        super().__init__(folder, name="", version="", default_hp_metric=False, purge_step=purge_step, **named)

    @rank_zero_only
    def save(self) -> None:
        """Flush; the configuration already lies in the run directory, so no hparams.yaml is written."""
        self.experiment.flush()

    def declare_hyperparameters(self, parameters: dict[str, Any], metrics: list[str]) -> None:
        """Fill the HParams table: its metric columns are the scalars of these names, whenever they are written."""
        from torch.utils.tensorboard.summary import hparams

        for summary in hparams(parameters, dict.fromkeys(metrics)):
            self.experiment.file_writer.add_summary(summary)


def _writable(folder: str | Path) -> str:
    """`folder` as TensorBoard can open it: it takes no name that is no UTF-8.

    Raises:
        ConfigError: if there is no such way to it.
    """
    for path in (str(folder), os.path.relpath(folder)):
        if path.encode("utf-8", "replace").decode() == path:
            return path
    raise ConfigError(f"dir={folder}: TensorBoard writes to no folder whose name is not UTF-8; say logger=none")


def tensorboard(trainer: Trainer) -> Any:
    """The SummaryWriter of the run, None where it has none (another logger, or another rank)."""
    if not trainer.is_global_zero:
        return None
    return next((logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)), None)
