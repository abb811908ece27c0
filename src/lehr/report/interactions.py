"""Whether what one key does depends on the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lehr.evaluation.intervals import LEVEL
from lehr.report.layout import Floats

_ROUNDING = 1e-12


@dataclass(frozen=True)
class Interaction:
    """The smallest and the largest difference among the combinations of the other keys.

    Attributes:
        lowest, highest: means over the seeds.
        lowest_at, highest_at: values of the other keys there.
        opposite: whether one of the two is below 0 and the other above, each by more than the spread over the seeds
            allows for (at 95%, of all combinations together).
        p: of "it is the same at all combinations"; the F test of combinations by seeds.
        p_adjusted: the same among all that were asked.
    """

    lowest: float
    highest: float
    lowest_at: Mapping[str, Any]
    highest_at: Mapping[str, Any]
    opposite: bool
    p: float
    p_adjusted: float = math.nan

    @property
    def shown(self) -> bool:
        """Whether the differences differ beyond chance."""
        return self.p_adjusted < 1 - LEVEL


def interaction_of(table: Floats, combinations: Sequence[Mapping[str, Any]]) -> Interaction | None:
    """Of differences (combinations, seeds); None where there are too few of either, or nothing varies.

    Two-way analysis of variance without replication: combinations against what combinations and seeds leave over.
    """
    from scipy.special import fdtrc, stdtrit

    c, s = table.shape
    if c < 2 or s < 2:
        return None
    means = table.mean(1)
    left = table - means[:, None] - table.mean(0) + table.mean()
    free = (c - 1) * (s - 1)
    noise, between = float((left**2).sum()) / free, s * float(means.var(ddof=1))
    within = float(((table - means[:, None]) ** 2).sum()) / (c * (s - 1))
    if noise <= (_ROUNDING * float(abs(table).max())) ** 2:
        return None
    half = float(stdtrit(c * (s - 1), 1 - (1 - LEVEL) / (2 * c))) * math.sqrt(within / s)
    low, high = int(means.argmin()), int(means.argmax())
    return Interaction(
        lowest=float(means[low]),
        highest=float(means[high]),
        lowest_at=combinations[low],
        highest_at=combinations[high],
        opposite=bool(means[low] + half < 0 < means[high] - half),
        p=float(fdtrc(c - 1, free, between / noise)),
    )
