"""`debug=overfit`: whether network and optimizer can learn one batch by heart, and if not, what speaks against it."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from lehr.data.batch import Batch
from lehr.errors import DataError, LehrError
from lehr.evaluation.pictures import image_grid, save_png
from lehr.models.components import Components
from lehr.models.wrapped import evaluated
from lehr.run.contents import OVERFIT
from lehr.run.directory import RunDirectory
from lehr.training.debugging.reasons import Evidence, reasons
from lehr.training.freezing import named_parameters
from lehr.training.lean import LeanCallback
from lehr.training.module import VAEModule

LEARNT = 0.95
"""The share of a batch's variance about its mean image that its reconstruction explains, once it is learnt."""
_EVERY = 25  # steps from one look at it to the next
_COLUMNS, _PAIRS = 8, 4  # of the picture: rows of images, each above its reconstructions


class NotLearnt(LehrError):
    """One batch, seen again and again, was not learnt."""


@dataclass
class _Watched:
    """What a training of one batch has come to so far."""

    start: dict[str, Tensor]
    curve: list[tuple[int, float]] = field(default_factory=list)
    """Optimiser step, and the share that is explained after it."""


class Overfit(LeanCallback):
    """Ends the training when the batch is learnt, and fails the run when it is not."""

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory
        self._watched: _Watched | None = None
        self._batch: Batch | None = None
        self._reasons: list[str] = []

    def on_train_start(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        named = named_parameters(pl_module.networks)
        self._watched = _Watched({name: parameter.detach().clone() for name, parameter in named})
        most = pl_module.length.total_steps if pl_module.length else 0
        print(
            f"debug=overfit: one batch, not augmented, until {LEARNT} of its variance is explained or {most:,} steps "
            "are taken; the KL weight is 0, so that network and optimizer are what is tested",
            file=sys.stderr,
            flush=True,
        )

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: Trainer, pl_module: VAEModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        assert self._watched is not None
        if self._batch is None:
            _require_variance(batch.images)
        self._batch, step = batch, trainer.global_step
        is_last = pl_module.length is not None and step >= pl_module.length.total_steps
        if step % _EVERY and not is_last:
            return
        share = explained(batch.images, reconstruction(pl_module.components, batch.images))
        self._watched.curve.append((step, share))
        if share >= LEARNT:
            trainer.should_stop = True
        elif is_last:  # while the gradients of the step are there
            watched = self._watched
            self._reasons = reasons(Evidence.of(pl_module, batch.images, watched.start, watched.curve))

    def on_train_end(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        if self._batch is None or self._watched is None or not self._watched.curve:
            return  # interrupted before anything was seen
        step, share = self._watched.curve[-1]
        picture = self._draw(pl_module, self._batch)
        if share >= LEARNT:
            print(
                f"debug=overfit: learnt: after {step:,} steps {share:.3f} of the variance of the {len(self._batch)} "
                f"images about their mean is explained; {picture}",
                file=sys.stderr,
                flush=True,
            )
        elif self._reasons:
            said = f"{share:.3f} of the variance of the {len(self._batch)} images about their mean is explained"
            raise NotLearnt(
                f"debug=overfit: not learnt: after {step:,} steps {said}, and {LEARNT} would be learnt; {picture}",
                *(f"debug=overfit: {reason}" for reason in self._reasons),
            )

    def _draw(self, module: VAEModule, batch: Batch) -> str:
        images = batch.images[: _COLUMNS * _PAIRS]
        columns = min(_COLUMNS, len(images))
        images = images[: len(images) // columns * columns]
        decoded = reconstruction(module.components, images).to(images)
        pairs = zip(images.split(columns), decoded.split(columns), strict=True)
        path = self._directory.samples / f"{OVERFIT}.png"
        save_png(path, image_grid(torch.cat([row for pair in pairs for row in pair]), columns))
        return f"{path} shows them"


def reconstruction(components: Components, images: Tensor) -> Tensor:
    """E[x|z] at the mean of q(z|x), in evaluation mode: (b, c, h, w)."""
    with evaluated(components.model):
        return components.likelihood.mean(components.model.decode(components.model.encode(images).mean))


def explained(images: Tensor, reconstructed: Tensor) -> float:
    """The share of the variance of `images` (b, c, h, w) about their mean image that `reconstructed` explains.

    1 - sum (x - r)^2 / sum (x - mean)^2: 1 where every pixel is met, 0 where the mean image is all there is, negative
    below that. For binary pixels as for grey ones.
    """
    x, r = images.double(), reconstructed.double()
    share = 1 - float((x - r).square().sum() / (x - x.mean(0)).square().sum())
    return share if math.isfinite(share) else -math.inf


def _require_variance(images: Tensor) -> None:
    if len(images) < 2 or bool((images == images[:1]).all()):
        what = "has one image" if len(images) < 2 else f"has {len(images)} images that are all equal"
        raise DataError(
            f"debug=overfit: the batch {what}, and nothing to tell apart; say another data.batch_size or seed"
        )
