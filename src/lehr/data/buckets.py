"""Aspect buckets: every batch of training has one of a few sizes, that nearest to the shape of its pictures.

So less of a picture that is far from square is cut off (as NovelAI, 2022, trained on them). All of it is a function of
the seed, the epoch, the rank and the number of ranks, as without buckets.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lehr import randomness
from lehr.data.order import Share, share_of


def nearest_bucket(sizes: Tensor, buckets: Sequence[Sequence[int]]) -> Tensor:
    """The bucket (n,) whose ratio of width to height is nearest to that of each picture, as a factor.

    Args:
        sizes: width and height of each picture, (n, 2).
        buckets: height and width of each bucket.
    """
    of_buckets = torch.tensor([math.log(width / height) for height, width in buckets], dtype=torch.float64)
    of_pictures = sizes.double().log().diff(dim=1).neg()
    return (of_pictures - of_buckets).abs().argmin(1)


def bucket_problems(buckets: Sequence[Sequence[int]], crop: str, resize: int | None) -> list[str]:
    """A line for everything that is wrong with `data.buckets`."""
    if any(len(bucket) != 2 or min(bucket) < 1 for bucket in buckets):
        return [f"data.buckets={list(map(list, buckets))}: must be pairs of a height and a width in pixels"]
    problems = []
    if crop == "random_resized":
        problems.append(
            "data.buckets: a box of random ratio (data.crop=random_resized) is of no bucket; say centre, random"
        )
    if resize is not None:
        problems.append(
            f"data.buckets: pictures cannot be resized to data.resize={resize} before; say data.resize=null"
        )
    return problems


@dataclass(frozen=True)
class BucketOrder:
    """Every epoch a new order of all examples, cut in global batches of one bucket each, which the ranks share.

    The whole batches come first, in an order of their own, then of each bucket one with what is left, the largest
    first: so how many examples the first k batches of an epoch have is the same in every epoch. One that has fewer
    examples than there are ranks is dropped.

    Attributes:
        buckets: of each example, (n,) int64.
        batch_size, seed, rank, world: as of `TrainingOrder`.
    """

    buckets: Tensor
    batch_size: int
    seed: int
    rank: int = 0
    world: int = 1

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Examples in each batch of an epoch, all ranks together."""
        counts = torch.bincount(self.buckets).tolist()
        rest = sorted((n % self.batch_size for n in counts), reverse=True)
        whole = [self.batch_size] * sum(n // self.batch_size for n in counts)
        return (*whole, *(n for n in rest if n >= self.world and n))

    def __len__(self) -> int:
        """Batches an epoch, the same on all ranks."""
        return len(self.sizes)

    def examples(self, batches: int) -> int:
        """How many examples the first so many batches of an epoch have."""
        return sum(self.sizes[:batches])

    def shares(self, epoch: int, first: int = 0) -> Iterator[Share]:
        """What this rank has in the batches of `epoch`, from batch number `first` on."""
        order = randomness.permutation(self.seed, "order", epoch, len(self.buckets))
        of = self.buckets[order]
        parts = [part for bucket in of.unique().tolist() for part in order[of == bucket].split(self.batch_size)]
        whole = [part for part in parts if len(part) == self.batch_size]
        rest = sorted((part for part in parts if len(part) < self.batch_size), key=len, reverse=True)
        mixed = randomness.permutation(self.seed, "order/buckets", epoch, len(whole)).tolist()
        batches = [*(whole[i] for i in mixed), *rest]
        for k in range(first, len(self)):
            total = len(batches[k])
            start, stop = share_of(total, self.rank, self.world)
            yield Share(batches[k][start:stop], start, total, epoch * len(batches) + k)
