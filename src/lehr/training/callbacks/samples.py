"""Grids of samples and reconstructions: in the loggers during training, and as files when it ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from annotated_types import Ge
from lightning.pytorch import Trainer

from lehr.limits import NonNegativeInt, PositiveInt
from lehr.run.directory import RunDirectory
from lehr.run.latents import MOST_LATENTS
from lehr.run.pictures import Drawn, Grids, draw_grids, write_grids
from lehr.training.callbacks.at_end import AtTrainingEnd, execution_of
from lehr.training.loggers.all import run_loggers
from lehr.training.loggers.run_logger import RunLogger
from lehr.training.module import VAEModule

_AT_END = ("aggregate", "traversal", "extremes")
"""Grids that no validation shows: they need the statistics of q(z), or take a pass of their own."""


class SampleGrids(AtTrainingEnd):
    """Writes `samples/*.png` when training ends, and shows grids in the loggers that take pictures.

    Images are the means of p(x|z). Reconstructions and interpolations are of the first validation images and use
    the mean of q(z|x).

    Args:
        n: images in a grid.
        interpolations: rows of the interpolation grid.
        steps: images in a row, from one image to the other.
        every_n_validations: how often grids go to the loggers during training; 0 for never.
        latents: of how many images of the split that the model is judged by the latents are kept, in
            `posterior/latents.safetensors`, at most; 0 for none. It is `lehr.run.finish` that does so.
    """

    def __init__(
        self,
        n: PositiveInt = 64,
        interpolations: PositiveInt = 8,
        steps: Annotated[int, Ge(2)] = 10,
        every_n_validations: NonNegativeInt = 5,
        latents: NonNegativeInt = MOST_LATENTS,
    ) -> None:
        super().__init__()
        self.latents = latents
        self.grids = Grids(n, interpolations, steps)
        self.every_n_validations = every_n_validations
        self._validations = 0
        self._shown_at = -1  # images seen when grids went to the loggers last

    def state_dict(self) -> dict[str, Any]:
        return {"validations": self._validations, "shown_at": self._shown_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._validations, self._shown_at = state_dict["validations"], state_dict["shown_at"]

    def on_validation_end(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        if trainer.state.fn != "fit" or trainer.sanity_checking or not self.every_n_validations:
            return
        self._validations += 1
        loggers = _showing(trainer)
        if loggers and self._validations % self.every_n_validations == 0:
            self._shown_at = pl_module.images_seen
            for name, picture in self.draw(trainer, pl_module, at_end=False).items():
                for logger in loggers:
                    logger.show_picture(f"samples/{name}", picture.pixels, self._shown_at)

    def finish(self, trainer: Trainer, module: VAEModule) -> None:
        if trainer.is_global_zero:
            pictures = self.draw(trainer, module)
            write_grids(RunDirectory(trainer.default_root_dir).samples, pictures)
            self.show(trainer, module, pictures)

    def draw(self, trainer: Trainer, module: VAEModule, at_end: bool = True) -> dict[str, Drawn]:
        """The grids, see `draw_grids`."""
        execution = execution_of(trainer)
        return draw_grids(module.components, module.datamodule, module.aggregate, self.grids, execution, at_end)

    def show(
        self, trainer: Trainer, module: VAEModule, pictures: Mapping[str, Drawn], images_seen: int | None = None
    ) -> None:
        """Show the loggers the final grids, but for those that the last validation has shown.

        Args:
            trainer: whose loggers are told.
            module: that was trained.
            pictures: by name.
            images_seen: by the weights that drew them; None for all that there were.
        """
        at = module.images_seen if images_seen is None else images_seen
        for name, picture in pictures.items():
            if name in _AT_END or self._shown_at != at:
                for logger in _showing(trainer):
                    logger.show_picture(f"samples/{name}", picture.pixels, at)


def _showing(trainer: Trainer) -> list[RunLogger]:
    """The loggers that take pictures."""
    return [logger for logger in run_loggers(trainer) if logger.shows_pictures]
