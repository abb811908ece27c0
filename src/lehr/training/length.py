"""How long a training is, and how far it has come: the x-axis of everything that is logged is images seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lehr.data.order import TrainingOrder
from lehr.errors import ConfigError
from lehr.objective.terms.timing import TrainingLength

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from lehr.data.buckets import BucketOrder
    from lehr.data.module import ImageDataModule


@dataclass(frozen=True)
class Length:
    """How long a training is.

    Attributes:
        batches_per_epoch: batches each rank sees in an epoch.
        steps_per_epoch: optimiser steps in an epoch; the last may have fewer accumulated batches.
        total_steps: optimiser steps of the whole training.
        examples_per_epoch: images of all ranks together.
        batch_size: images of all ranks together in one batch.
        buckets: where batches are of several sizes the order of an epoch; each epoch has the same sizes.
    """

    batches_per_epoch: int
    steps_per_epoch: int
    total_steps: int
    examples_per_epoch: int
    batch_size: int
    buckets: BucketOrder | None = None

    @classmethod
    def of(cls, trainer: Trainer, data: ImageDataModule) -> Length:
        """How long `trainer` trains on `data`, also before it has started its ranks.

        Raises:
            ConfigError: if it would never end.
        """
        # what data ask of a trainer is the number of ranks there are by now
        ranks = trainer.num_devices * trainer.num_nodes
        order = data.training_order(world=ranks)
        batches = len(order)
        limit = trainer.limit_train_batches
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * (1.0 if limit is None else limit))
        steps = math.ceil(batches / trainer.accumulate_grad_batches)
        limits = []
        if trainer.max_epochs is not None and trainer.max_epochs >= 0:
            limits.append(trainer.max_epochs * steps)
        if trainer.max_steps >= 0:
            limits.append(trainer.max_steps)
        if not limits:
            raise ConfigError("the trainer has neither max_epochs nor max_steps: give one of them")
        examples = order.examples(batches)
        buckets = None if isinstance(order, TrainingOrder) else order
        return cls(batches, steps, min(limits), examples, data.batch_size, buckets)

    def images(self, batches: int) -> int:
        """Images in the first `batches` batches of training; the last of an epoch may have fewer than the others."""
        epochs, rest = divmod(batches, self.batches_per_epoch)
        if self.buckets is not None:
            return epochs * self.examples_per_epoch + self.buckets.examples(rest)
        return epochs * self.examples_per_epoch + min(rest * self.batch_size, self.examples_per_epoch)

    def of_training(self, accumulate: int) -> TrainingLength:
        """What terms of the loss are scheduled by."""
        return TrainingLength(
            self.total_steps, self.steps_per_epoch, self.examples_per_epoch, self.batch_size * accumulate
        )

    def batches_in_step(self, batch_idx: int, accumulate: int) -> int:
        """How many batches of its epoch make the optimiser step that batch `batch_idx` is part of."""
        first = batch_idx - batch_idx % accumulate
        return min(accumulate, self.batches_per_epoch - first)

    def images_in_step(self, batch_idx: int, accumulate: int) -> int:
        """How many images of all ranks make the optimiser step that batch `batch_idx` of its epoch is part of."""
        first = batch_idx - batch_idx % accumulate
        return self.images(first + self.batches_in_step(batch_idx, accumulate)) - self.images(first)


def is_over(trainer: Trainer) -> bool:
    """Whether the epoch that is ending is the last one."""
    epochs = trainer.fit_loop.epoch_progress.current.processed  # type: ignore[attr-defined]
    return (
        trainer.should_stop
        or (trainer.max_epochs is not None and 0 <= trainer.max_epochs <= epochs)
        or 0 <= trainer.max_steps <= trainer.global_step
    )
