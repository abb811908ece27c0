"""Callbacks for runs in other processes: what each rank saw, and what befalls one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback

from lehr.errors import DataError


class Witness(Callback):
    """Writes `rank-R.pt` into `folder`: the noise of each step and the weights at the end."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.noise: list[torch.Tensor] = []

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        if stage != "fit":
            return
        draw = pl_module.objective.draw

        def watched(images: torch.Tensor, posterior: Any, noise: torch.Tensor, *rest: Any) -> Any:
            self.noise.append(noise.clone())
            return draw(images, posterior, noise, *rest)

        pl_module.objective.draw = watched

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        weights = {name: weight.clone() for name, weight in pl_module.state_dict().items()}
        self.folder.mkdir(parents=True, exist_ok=True)
        torch.save({"noise": self.noise, "weights": weights}, self.folder / f"rank-{trainer.global_rank}.pt")


class Spoil(Callback):
    """Puts `value` into a pixel of the first image of one rank at step `at`."""

    def __init__(self, at: int, value: float = float("nan"), rank: int = 0) -> None:
        self.at = at
        self.value = value
        self.rank = rank

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.at and trainer.global_rank == self.rank:
            batch.images = batch.images.clone()
            batch.images[0, 0, 0, 0] = self.value


class Fail(Callback):
    """Raises an error on one rank at step `at`."""

    def __init__(self, at: int, rank: int = 0) -> None:
        self.at = at
        self.rank = rank

    def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
        if trainer.global_step == self.at and trainer.global_rank == self.rank:
            raise DataError("there was no paper left")
