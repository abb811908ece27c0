"""Codes and factors, checked and brought into the shape that the scores of disentanglement are computed from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lehr import randomness
from lehr.errors import DataError
from lehr.evaluation.representation import (
    Array,
    Floats,
    Integers,
    codes_and_factors,
    factors_with_one_value,
    latents_that_vary,
)

_MOST_ROWS = 15_000  # of which SAP and DCI fit on some and score on others


@dataclass(frozen=True)
class FactorTable:
    """What the scores are computed from.

    Attributes:
        codes: (n, d), latents that do not vary are 0.
        factors: (n, f), the values of each are 0..k-1.
        names: (f,) the number that each factor had.
    """

    codes: Floats
    factors: Integers
    names: tuple[int, ...]
    excluded_latents: tuple[int, ...]
    excluded_factors: tuple[int, ...]

    def by_name(self, values: Floats) -> dict[int, float]:
        return dict(zip(self.names, values.tolist(), strict=True))

    def sizes(self) -> Integers:
        """(f,): how many values each factor has."""
        return self.factors.max(0) + 1

    def parts(self, seed: int, *shares: float) -> Iterator[tuple[Floats, Integers]]:
        """Codes and factors of random parts that do not overlap, of these shares of the examples (at most 15,000)."""
        order = randomness.permutation(seed, "disentanglement/parts", 0, len(self.codes)).numpy()[:_MOST_ROWS]
        stops = np.rint(np.cumsum(shares) * len(order)).astype(int)
        for rows in np.split(order, stops)[: len(shares)]:
            yield self.codes[rows], self.factors[rows]


def factor_table(codes: Array, factors: Array) -> FactorTable:
    x, y = codes_and_factors(codes, factors)
    excluded = factors_with_one_value(y)
    names = tuple(j for j in range(y.shape[1]) if j not in excluded)
    if len(names) < 2:
        raise DataError(
            f"disentanglement is between factors: it needs two or more that vary, got {len(names)} of {y.shape[1]}; "
            "for classes there is the linear probe"
        )
    y = np.stack([np.unique(y[:, j], return_inverse=True)[1] for j in names], axis=1)
    for j, k in zip(names, y.max(0) + 1, strict=True):
        if 2 * k > len(y):
            raise DataError(f"factor {j} has {k} values in {len(y)} examples: each should occur twice or more")
    varies = latents_that_vary(x)
    return FactorTable(np.where(varies, x, 0.0), y, names, tuple(np.flatnonzero(~varies).tolist()), excluded)
