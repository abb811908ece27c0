"""Which of several models is better on the same images, and whether that is more than chance.

The errors of two models of one image go up and down together, so their differences vary far less than the errors do:
what is judged is d_i = e_i(A) - e_i(B). Shapes: n images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch

from lehr.evaluation.catalogue import find_metric
from lehr.evaluation.image_errors import ImageErrors
from lehr.evaluation.intervals import LEVEL, Interval, paired_difference, wilson

WORST_BY = "psnr"
"""What images are the worst by."""


@dataclass(frozen=True)
class Pair:
    """Two models by one measure.

    Attributes:
        measure: a name of `image_errors.MEASURES`.
        first, second: names of the models.
        difference: mean(first - second), with an interval that holds for all pairs at once.
        better: on how many images the first is better.
        worse: on how many the second; on the rest both are equally good.
        share: the part of the images that are not equal on which the first is better; None where all are equal.
        share_interval: Wilson's, at the same level; None likewise.
        best: the model that is better, where the interval does not hold 0; None where no difference is shown.
    """

    measure: str
    first: str
    second: str
    difference: Interval
    better: int
    worse: int
    share: float | None
    share_interval: tuple[float, float] | None
    best: str | None


def level_of_each(models: int, level: float = LEVEL) -> float:
    """At which the interval of each pair is, so that those of one measure hold all together at `level` (Bonferroni)."""
    return 1 - (1 - level) / max(1, models * (models - 1) // 2)


def paired(errors: Mapping[str, ImageErrors], seed: int = 0, level: float = LEVEL) -> list[Pair]:
    """Every pair of models by every measure that both have.

    Args:
        errors: name of the model -> its errors on the same n >= 2 images, in the same order.
        seed: of the bootstrap, which is used where differences are skewed.
        level: of all pairs together.

    Raises:
        ValueError: for other numbers of images.
    """
    each = level_of_each(len(errors), level)
    names = [name for name in next(iter(errors.values())).values if all(name in one.values for one in errors.values())]
    return [_pair(name, pair, errors, each, seed) for name in names for pair in combinations(errors, 2)]


def _pair(measure: str, models: tuple[str, str], errors: Mapping[str, ImageErrors], level: float, seed: int) -> Pair:
    first, second = (errors[model].values[measure] for model in models)
    more_is_better = _more_is_better(measure)
    difference = paired_difference(first.numpy(), second.numpy(), level, seed)
    ahead = first - second if more_is_better else second - first
    better, worse = int((ahead > 0).sum()), int((ahead < 0).sum())
    unequal = better + worse
    best = None
    if difference.low > 0 or difference.high < 0:
        best = models[0] if (difference.estimate > 0) == more_is_better else models[1]
    return Pair(
        measure=measure,
        first=models[0],
        second=models[1],
        difference=difference,
        better=better,
        worse=worse,
        share=better / unequal if unequal else None,
        share_interval=wilson(better, unequal, level) if unequal else None,
        best=best,
    )


def _more_is_better(measure: str) -> bool:
    metric = find_metric(f"compare/{measure}")
    assert metric is not None, measure
    assert metric.more_is_better is not None, measure
    return metric.more_is_better


@dataclass(frozen=True)
class Worst:
    """An image that is looked at.

    Attributes:
        row: of the images.
        model: which is the furthest behind the best of the others on it; None where all are bad.
    """

    row: int
    model: str | None


def worst_images(errors: Mapping[str, ImageErrors], most: int) -> list[Worst]:
    """At most `most` images, in turn: that on which a model is the furthest behind, of each, and that all are bad at.

    An image that is chosen by the error of one model alone flatters the others, whose errors are then drawn from all
    of theirs. So each model has its turn, and the images that are bad for all are those whose best error is the worst.
    """
    table = torch.stack([one.values[WORST_BY] for one in errors.values()])  # (models, n), in dB: more is better
    orders: list[tuple[str | None, list[int]]] = []
    if len(errors) > 1:
        for i, name in enumerate(errors):
            others = torch.cat([table[:i], table[i + 1 :]]).amax(0)
            behind = others - table[i]
            order = behind.argsort(descending=True, stable=True)
            orders.append((name, [int(row) for row in order if behind[row] > 0]))
    orders.append((None, table.amax(0).argsort(stable=True).tolist()))
    return _in_turn(orders, min(most, table.shape[1]))


def _in_turn(orders: Sequence[tuple[str | None, list[int]]], most: int) -> list[Worst]:
    """Each image once, sorted by what it is there for."""
    found: dict[int, str | None] = {}
    waiting = [(name, iter(rows)) for name, rows in orders]
    while len(found) < most:
        for name, rows in waiting:
            row = next((row for row in rows if row not in found), None)
            if row is not None and len(found) < most:
                found[row] = name
    places = [name for name, _ in orders]
    return sorted((Worst(row, name) for row, name in found.items()), key=lambda one: places.index(one.model))
