"""Which images are equal, within a split and across splits: pixel for pixel, as a model is given them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from lehr.data.digests import equal_examples

Place = tuple[str, int]
"""A split, and the number of a row of it."""
MOST_GROUPS = 1000


@dataclass(frozen=True)
class EqualImages:
    """Images that are equal.

    Attributes:
        counts: `train`: images of a split that repeat an earlier one of it; `train test`: images of the second that are
            in the first too.
        groups: images that are equal to each other, at most `MOST_GROUPS` of such groups; those across splits first.
        n_groups: how many there are.
        contradicting: groups whose images have different labels.
    """

    counts: Mapping[str, int]
    groups: tuple[tuple[Place, ...], ...]
    n_groups: int
    contradicting: int

    def within(self, split: str) -> int:
        return self.counts.get(split, 0)

    def across(self) -> dict[tuple[str, str], int]:
        """(one split, another) -> how many images of the second are in the first too."""
        pairs = {tuple(key.split()): n for key, n in self.counts.items() if " " in key}
        return {(one, other): n for (one, other), n in pairs.items()}


def equal_images(digests: Mapping[str, np.ndarray], labels: Mapping[str, Tensor | None]) -> EqualImages:
    """The equal images of all splits.

    Args:
        digests: of the images of each split, (n, 16) uint8.
        labels: of each split, or None.
    """
    counts = equal_examples(digests)
    if not counts:
        return EqualImages({}, (), 0, 0)
    splits = list(digests)
    number = np.concatenate([np.full(len(digests[split]), i) for i, split in enumerate(splits)])
    row = np.concatenate([np.arange(len(digests[split])) for split in splits])
    high, low = np.concatenate(list(digests.values())).view(np.uint64).T
    order = np.lexsort((row, number, low, high))  # stable: within a group by split and row
    high, low = high[order], low[order]
    starts = np.flatnonzero(np.r_[True, (high[1:] != high[:-1]) | (low[1:] != low[:-1])])
    sizes = np.diff(np.r_[starts, len(order)])
    repeated = sizes > 1
    groups = [order[start : start + size] for start, size in zip(starts[repeated], sizes[repeated], strict=True)]
    groups.sort(key=lambda group: (number[group[0]] == number[group[-1]], number[group[0]], row[group[0]]))
    places = tuple(tuple((splits[number[i]], int(row[i])) for i in group.tolist()) for group in groups[:MOST_GROUPS])
    return EqualImages(counts, places, len(groups), _contradicting(groups, labels))


def _contradicting(groups: list[np.ndarray], labels: Mapping[str, Tensor | None]) -> int:
    tables = [table for table in labels.values() if table is not None]
    if len(tables) < len(labels):
        return 0
    joined = np.concatenate([table.numpy().reshape(len(table), -1) for table in tables])
    return sum(bool((joined[group] != joined[group[0]]).any()) for group in groups)
