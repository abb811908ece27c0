"""Numbers by combination and seed, some of them missing: the block that is whole and says most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lehr.evaluation.intervals import LEVEL
from lehr.report.layout import Flags, Floats, Ints


@dataclass(frozen=True, eq=False)
class Block:
    """Numbers of which every seed has every combination.

    Attributes:
        table: (combinations, seeds).
        rows: which combinations these are.
        kept: (n,) flags, which of the numbers are in it.
    """

    table: Floats
    rows: Ints
    kept: Flags

    @property
    def per_seed(self) -> Floats:
        """(seeds,), the means over the combinations."""
        found: Floats = self.table.mean(0)
        return found


def block_of(combinations: Ints, seeds: Ints, values: Floats) -> Block:
    """The block of (n,) numbers whose mean is known best; all of them where none is missing.

    Of the seeds those with the most combinations come first, and as many are taken as let the interval
    t(seeds - 1) / sqrt(seeds * combinations) be narrowest. With one seed at best all its combinations are taken.
    """
    rows, row = np.unique(combinations, return_inverse=True)
    columns, column = np.unique(seeds, return_inverse=True)
    table = np.full((len(rows), len(columns)), np.nan)
    table[row, column] = values
    there = ~np.isnan(table)
    if there.all():
        return Block(table, rows, np.ones(len(values), np.bool_))
    order = np.argsort(-there.sum(0), kind="stable")
    whole = np.logical_and.accumulate(there[:, order], axis=1)
    taken = int(np.argmin(_widths(whole.sum(0)))) + 1
    own, of = whole[:, taken - 1], np.sort(order[:taken])
    return Block(table[own][:, of], rows[own], own[row] & np.isin(column, of))


def _widths(combinations: Ints) -> Floats:
    """Of 1, 2, 3, ... seeds with so many combinations each, in proportion; of one seed wider than of any two."""
    from scipy.special import stdtrit

    seeds = np.arange(1, len(combinations) + 1)
    with np.errstate(divide="ignore"):
        width = stdtrit(np.maximum(seeds - 1, 1), (1 + LEVEL) / 2) / np.sqrt(seeds * combinations)
    width[0] = np.finfo(np.float64).max
    found: Floats = width
    return found
