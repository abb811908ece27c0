"""Splits: what a data set is read as, and how a part of one is held out."""

from __future__ import annotations

from dataclasses import dataclass

from lehr import randomness
from lehr.data.images import Images

IN_WORDS = {"train": "training", "val": "validation", "test": "test"}
"""What the splits are called in sentences."""


@dataclass(frozen=True)
class Splits:
    """A data set as it was read, before validation is split from training.

    Attributes:
        name: what the data set is called in reports.
        train: training and validation examples together, unless there is `val`.
        test: None where there is no test split.
        val: the validation split, where it is not to be split from training.
    """

    name: str
    train: Images
    test: Images | None
    val: Images | None = None


def hold_out(images: Images, fraction: float, seed: int, stream: str) -> tuple[Images, Images]:
    """(the rest, the part held out): a random `fraction` of the rows, a function of (seed, stream).

    Both keep the order of the data set.
    """
    order = randomness.permutation(seed, stream, 0, len(images))
    n = round(len(images) * fraction)
    return images.subset(order[n:].sort().values), images.subset(order[:n].sort().values)


def with_test_held_out(name: str, images: Images, fraction: float, seed: int) -> Splits:
    """Splits of a data set that has no test split of its own; a fraction of 0 leaves it without one."""
    rest, test = hold_out(images, fraction, seed, "split/test")
    return Splits(name, rest, test if len(test) else None)
