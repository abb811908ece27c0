"""Which examples make up a batch: pure functions of the seed, the epoch, the rank and the number of ranks.

The batch size of training counts examples per optimiser step over all ranks, so that the number of devices does not
change an experiment.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lehr import randomness


@dataclass(frozen=True)
class Share:
    """The examples that one rank has in one batch.

    Attributes:
        indices: (b,) int64, rows of the split.
        start: position of the first of them, in the global batch (training) or in the split (evaluation).
        total: size of the global batch (training) or of the split (evaluation).
        counter: in training which presentation this is, counted from the start of the run whatever the number of
            ranks; 0 in evaluation.
    """

    indices: Tensor
    start: int
    total: int
    counter: int = 0


@dataclass(frozen=True)
class TrainingOrder:
    """Every epoch a new order of all `n` examples, cut in global batches that the ranks share.

    The last batch of an epoch may be smaller. It is dropped only if it has fewer examples than there are ranks.
    """

    n: int
    batch_size: int
    seed: int
    rank: int = 0
    world: int = 1

    def __len__(self) -> int:
        """Batches an epoch, the same on all ranks."""
        full, rest = divmod(self.n, self.batch_size)
        return full + (rest >= self.world)

    def examples(self, batches: int) -> int:
        """How many examples the first so many batches of an epoch have."""
        return min(batches * self.batch_size, self.n)

    def shares(self, epoch: int, first: int = 0) -> Iterator[Share]:
        """What this rank has in the batches of `epoch`, from batch number `first` on."""
        order = randomness.permutation(self.seed, "order", epoch, self.n)
        # Not len(self): a batch that is dropped for its few examples must not shift the noise of the next epochs.
        presentations = -(-self.n // self.batch_size)
        batches = order.split(self.batch_size)
        for k in range(first, len(self)):
            batch = batches[k]
            total = len(batch)
            start, stop = share_of(total, self.rank, self.world)
            yield Share(batch if self.world == 1 else batch[start:stop], start, total, epoch * presentations + k)


@dataclass(frozen=True)
class EvaluationOrder:
    """All `n` examples in order, each exactly once: every rank takes one contiguous range, cut in batches."""

    n: int
    batch_size: int
    rank: int = 0
    world: int = 1

    def __len__(self) -> int:
        """Batches on this rank; ranks may differ by one."""
        start, stop = share_of(self.n, self.rank, self.world)
        return -(-(stop - start) // self.batch_size)

    def shares(self) -> Iterator[Share]:
        """What this rank has, batch by batch."""
        first, last = share_of(self.n, self.rank, self.world)
        for start in range(first, last, self.batch_size):
            yield Share(torch.arange(start, min(start + self.batch_size, last)), start, self.n)


def share_of(n: int, rank: int, world: int) -> tuple[int, int]:
    """Which of `n` examples, from the first to before the last, one rank has."""
    return n * rank // world, n * (rank + 1) // world
