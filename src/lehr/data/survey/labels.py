"""The labels of a data set: classes or factors, and how even they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

UNEVEN = 3.0
"""A class that is so many times as frequent as another one makes the classes uneven."""
MOST_CLASSES = 1000
"""Of more values than these no counts are kept: they are no classes."""


@dataclass(frozen=True)
class Factor:
    """One label of every image: its class, or one factor of several.

    Attributes:
        name: "class", or "factor 0", ...
        values: that occur in any split, sorted.
        counts: split -> how many images have each of `values`, in order; empty where these are more than
            `MOST_CLASSES`.
        titles: what the values are called; the numbers themselves where they have no names.
        n_values: how many values there are.
    """

    name: str
    values: tuple[int, ...]
    counts: Mapping[str, tuple[int, ...]]
    titles: tuple[str, ...]
    n_values: int

    @property
    def imbalance(self) -> float | None:
        """How many times as frequent the commonest value of the training split is as its rarest; None: not known.

        What does not occur there at all is another matter, see `missing`.
        """
        counts = [n for n in self.counts.get("train", ()) if n]
        return max(counts) / min(counts) if counts else None

    @property
    def missing(self) -> dict[str, list[str]]:
        """Split -> the values that no image there has, though an image of another split has."""
        found = {
            split: [title for title, n in zip(self.titles, counts, strict=True) if not n]
            for split, counts in self.counts.items()
        }
        return {split: titles for split, titles in found.items() if titles}

    def extremes(self) -> tuple[tuple[str, int], tuple[str, int]]:
        """The rarest and the commonest value of the training split that occur there, each with its count."""
        pairs = [(title, n) for title, n in zip(self.titles, self.counts["train"], strict=True) if n]
        return min(pairs, key=lambda pair: pair[1]), max(pairs, key=lambda pair: pair[1])

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        counts = {split: dict(zip(self.titles, numbers, strict=True)) for split, numbers in self.counts.items()}
        return {"name": self.name, "values": self.n_values, "counts": counts, "imbalance": self.imbalance}


def factors_of(labels: Mapping[str, Tensor | None], classes: Sequence[str] = ()) -> tuple[Factor, ...]:
    """The factors of the labels of each split, (n,) classes or (n, f) factors; none where a split has no labels.

    Args:
        labels: of each split.
        classes: what class i is called, if they have names.
    """
    tables = {split: table.numpy() for split, table in labels.items() if table is not None}
    if len(tables) < len(labels) or len({table.shape[1:] for table in tables.values()}) != 1:
        return ()
    if next(iter(tables.values())).ndim == 1:
        return (_factor("class", tables, classes),)
    n = next(iter(tables.values())).shape[1]
    return tuple(_factor(f"factor {i}", {split: table[:, i] for split, table in tables.items()}) for i in range(n))


def _factor(name: str, columns: Mapping[str, np.ndarray], classes: Sequence[str] = ()) -> Factor:
    values = np.unique(np.concatenate(list(columns.values())))
    if len(values) > MOST_CLASSES:
        return Factor(name, (), {}, (), len(values))
    counts = {
        split: tuple(np.bincount(np.searchsorted(values, column), minlength=len(values)).tolist())
        for split, column in columns.items()
    }
    numbers = tuple(values.tolist())
    titles = tuple(classes[i] if 0 <= i < len(classes) else str(i) for i in numbers)
    return Factor(name, numbers, counts, titles, len(values))
