"""TensorBoard events in the run directory, with images seen on the x-axis."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from lehr.errors import ConfigError
from lehr.evaluation.pictures import png
from lehr.run.contents import EVENTS_SUFFIX
from lehr.run.latents import Latents
from lehr.training.loggers.projector import write_projector
from lehr.training.loggers.run_logger import LoggedRun, RunLogger

_LAYOUT = {
    "lehr": {
        "rate and distortion": ["Multiline", [r"^(train|val)/(rate|distortion)$"]],
        "ELBO in training and validation": ["Multiline", [r"^(train|val)/elbo$"]],
        "KL weight": ["Multiline", [r"^train/kl_weight$"]],
        "active units": ["Multiline", [r"^val/active_units$"]],
    }
}
"""The tab of custom scalars: charts by title, of all tags that match. That of several runs which is the same is one."""
_FIRST_NUMBER = 1_000_000  # of an event file of this process
_LAST_BIN = 1e19  # TensorBoard's bins end at 1e20, and a histogram without a value in them is an error


class _Pages(RunLogger):
    """Shows texts, pictures and histograms with the SummaryWriter that is its `experiment`."""

    shows_pictures = True
    experiment: Any

    def show_text(self, name: str, text: str, images_seen: int) -> None:
        # indented, Markdown shows it as it is
        self.experiment.add_text(name, "\n".join(f"    {line}" for line in text.splitlines()), images_seen)

    def show_picture(self, name: str, picture: Tensor, images_seen: int) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

        # `add_image` would make three channels of one, and compress more
        channels, height, width = picture.shape
        image = Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=png(picture))
        summary = Summary(value=[Summary.Value(tag=name, image=image)])
        self.experiment._get_file_writer().add_summary(summary, images_seen)

    def show_histogram(self, name: str, values: Tensor, images_seen: int) -> None:
        self.experiment.add_histogram(name, values.clamp(max=_LAST_BIN).cpu().numpy(), images_seen)


class TensorBoard(TensorBoardLogger, _Pages):
    """Writes its events straight into the run directory, and no other file.

    Args:
        save_dir: the run directory.
        purge_step: on resuming, events after this many images are hidden: they will be written again.
        projector: whether latents of test images are shown in the projector; None: of single runs, but of none that
            is a point of a sweep.
    """

    def __init__(self, save_dir: str | Path, purge_step: int | None = None, projector: bool | None = None) -> None:
        named: dict[str, Any] = {"filename_suffix": EVENTS_SUFFIX}  # what other programs log here is not the run's
        folder = _writable(save_dir)
        _number_in_one_width()
        super().__init__(folder, name="", version="", default_hp_metric=False, purge_step=purge_step, **named)
        self.is_new = purge_step is None
        self._run = LoggedRun(Path(save_dir))
        self._has_projector = self._run.sweep is None if projector is None else projector

    @rank_zero_only
    def save(self) -> None:
        """Flush; the configuration already lies in the run directory, so no hparams.yaml is written."""
        self.experiment.flush()

    def declare_hyperparameters(self, parameters: Mapping[str, Any], metrics: Sequence[str]) -> None:
        """Fill the HParams table: its metric columns are the scalars of these names, whenever they are written.

        The table keeps what a run was started with. So does the layout of the tab of custom scalars.
        """
        from torch.utils.tensorboard.summary import hparams

        if self.is_new:
            for summary in hparams(dict(parameters), dict.fromkeys(metrics)):
                self.experiment.file_writer.add_summary(summary)
            self.experiment.add_custom_scalars(_LAYOUT)

    def show_latents(self, latents: Latents, model: str) -> None:
        """In the projector, with labels and thumbnails."""
        if self._has_projector:
            write_projector(self._run.path, latents, model)


class AnyTensorBoard(_Pages):
    """One of Lightning's own TensorBoard loggers, which shows its curves itself.

    Args:
        logger: of Lightning's.
    """

    def __init__(self, logger: TensorBoardLogger) -> None:
        super().__init__()
        self.experiment = logger.experiment

    is_new = False  # whose run begins when says Lightning
    name = version = "tensorboard"

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Nothing: the logger itself is told."""


def _number_in_one_width() -> None:
    """Let event files of one second be read in the order in which they were begun.

    TensorBoard reads them by their names, and what stands last in these is a number that counts the files of a process:
    10 would come before 9, and its events would be taken for those of an earlier start, and hidden.
    """
    from tensorboard.summary.writer import event_file_writer  # type: ignore[import-untyped]

    counter = event_file_writer._global_uid
    counter._value = max(counter._value, _FIRST_NUMBER)


def _writable(folder: str | Path) -> str:
    """`folder` as TensorBoard can open it: it takes no name that is no UTF-8.

    Raises:
        ConfigError: if there is no such way to it.
    """
    for path in (str(folder), os.path.relpath(folder)):
        if path.encode("utf-8", "replace").decode() == path:
            return path
    raise ConfigError(f"dir={folder}: TensorBoard writes to no folder whose name is not UTF-8; say logger=none")
