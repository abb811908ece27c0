"""Grids of samples from N(agg_mean, agg_var), from the prior, along lines between latents, and of reconstructions."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from annotated_types import Ge
from lightning.pytorch import Trainer
from torch import Tensor

from lehr.evaluation.pictures import image_grid, save_png
from lehr.limits import NonNegativeInt, PositiveInt
from lehr.posterior.density import LatentDensity, Normal
from lehr.posterior.interpolation import interpolate
from lehr.run.directory import RunDirectory
from lehr.run.evaluation_mode import evaluation_mode
from lehr.training.callbacks.at_end import AtTrainingEnd
from lehr.training.module import VAEModule
from lehr.training.tensorboard import tensorboard

_SEED = 0  # of every picture of every run, so that runs can be compared picture by picture


class SampleGrids(AtTrainingEnd):
    """Writes `samples/*.png` when training ends, and shows grids in TensorBoard.

    Images are the means of p(x|z). Reconstructions and interpolations are of the first validation images and use
    the mean of q(z|x).

    Args:
        n: images in a grid.
        interpolations: rows of the interpolation grid.
        steps: images in a row, from one image to the other.
        every_n_validations: how often grids go to TensorBoard during training; 0 for never.
    """

    def __init__(
        self,
        n: PositiveInt = 64,
        interpolations: PositiveInt = 8,
        steps: Annotated[int, Ge(2)] = 10,
        every_n_validations: NonNegativeInt = 5,
    ) -> None:
        super().__init__()
        self.n = n
        self.interpolations = interpolations
        self.steps = steps
        self.every_n_validations = every_n_validations
        self._validations = 0
        self._shown_at = -1  # images seen when grids went to TensorBoard last

    def state_dict(self) -> dict[str, Any]:
        return {"validations": self._validations, "shown_at": self._shown_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._validations, self._shown_at = state_dict["validations"], state_dict["shown_at"]

    def on_validation_end(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        if trainer.state.fn != "fit" or trainer.sanity_checking or not self.every_n_validations:
            return
        self._validations += 1
        writer = tensorboard(trainer)
        if writer is not None and self._validations % self.every_n_validations == 0:
            self._shown_at = pl_module.images_seen
            for name, picture in self.draw(trainer, pl_module).items():
                writer.add_image(f"samples/{name}", picture, self._shown_at)

    def finish(self, trainer: Trainer, module: VAEModule) -> None:
        if not trainer.is_global_zero:
            return
        writer = tensorboard(trainer)
        folder = RunDirectory(trainer.default_root_dir).samples
        for name, picture in self.draw(trainer, module).items():
            save_png(folder / f"{name}.png", picture)
            if writer is not None and (name == "aggregate" or self._shown_at != module.images_seen):
                writer.add_image(f"samples/{name}", picture, module.images_seen)

    @torch.inference_mode()
    def draw(self, trainer: Trainer, module: VAEModule) -> dict[str, Tensor]:
        """Each grid as (c, H, W) uint8; without statistics of q(z) there is none of the aggregate posterior."""
        wanted = max(self.n // 2, 2 * self.interpolations)
        images = _first_validation_images(module, wanted)
        pictures: dict[str, Tensor] = {}
        with evaluation_mode(module), trainer.precision_plugin.forward_context():
            means = module.model.encode(images).mean
            pairs = min(self.interpolations, len(means) // 2)
            if module.aggregate is not None:
                pictures["aggregate"] = self._samples(module, Normal.of(module.aggregate))
            pictures["prior"] = self._samples(module, module.prior.density(module.model.encode))
            if pairs:
                lines = interpolate(means[:pairs], means[pairs : 2 * pairs], self.steps)  # (steps, pairs, *latent)
                pictures["interpolation"] = self._decode(module, lines.transpose(0, 1).flatten(0, 1), self.steps)
            pictures["reconstruction"] = self._reconstruct(module, images[: max(self.n // 2, 1)], means)
        return pictures

    @staticmethod
    def _reconstruct(module: VAEModule, images: Tensor, means: Tensor) -> Tensor:
        """Rows of images, each above the row of their reconstructions; whole rows only."""
        columns = min(8, len(images))
        whole = len(images) // columns * columns
        reconstructed = module.likelihood.mean(module.model.decode(means[:whole]))
        rows = zip(images[:whole].split(columns), reconstructed.split(columns), strict=True)
        return image_grid(torch.cat([row for pair in rows for row in pair]), columns)

    def _samples(self, module: VAEModule, density: LatentDensity) -> Tensor:
        return self._decode(module, density.sample(self.n, _SEED, module.device, stream="samples"))

    def _decode(self, module: VAEModule, z: Tensor, columns: int | None = None) -> Tensor:
        return image_grid(module.likelihood.mean(module.model.decode(z)), columns)


def _first_validation_images(module: VAEModule, n: int) -> Tensor:
    found: list[Tensor] = []
    for batch in module.datamodule.evaluation_loader("val", module.device):
        found.append(batch.images)
        if sum(len(images) for images in found) >= n:
            break
    return torch.cat(found)[:n]
