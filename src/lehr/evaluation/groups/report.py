"""Is one group of images reconstructed worse than the others? Gaps with intervals, and what chance alone would give.

Each group is compared with all other images. Of PSNR a gap can have two reasons that lie in the images alone: dark or
plain ones have smaller errors. So it is said a second time for images of equal brightness and detail.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lehr.evaluation.groups.grouping import Grouping
from lehr.evaluation.image_errors import ImageErrors
from lehr.evaluation.intervals import (
    ChanceGap,
    Interval,
    chance_gap,
    detectable_gap,
    difference,
    holm,
    n_per_group,
    paired_difference,
)

FEWEST = 20
"""Images of a group below which its gap is shown, but not judged: an interval of so few skewed values covers too
seldom."""
SIGNIFICANT = 0.05
MEASURES = ("psnr", "ssim", "lpips")
"""Of which each group has a gap, where they were measured."""
_FEWEST_DRAWS, _DRAWS_PER_GROUP = 1999, 100  # so that Holm's smallest p-value of many groups is below 0.05


@dataclass(frozen=True)
class Covariates:
    """What of an image itself makes its error large or small; (n,) float64 each.

    Attributes:
        brightness: mean pixel value.
        detail: mean squared gradient in dB: 10 log10 of it, at least -60.
    """

    brightness: Tensor
    detail: Tensor

    @property
    def matrix(self) -> Tensor:
        """(n, 2)."""
        return torch.stack([self.brightness, self.detail], 1)


@dataclass(frozen=True)
class Gap:
    """Of a group to all other images.

    Attributes:
        interval: of mean(group) - mean(others).
        p: its p-value, adjusted for the number of groups that are judged (Holm); None of a group that is not.
    """

    interval: Interval
    p: float | None

    @property
    def is_real(self) -> bool:
        """Whether it is judged, and more than chance."""
        return self.p is not None and self.p < SIGNIFICANT


@dataclass(frozen=True)
class Group:
    """What was found of a group.

    Attributes:
        title: what it is called.
        n: how many images it has.
        n_others: how many all other groups have.
        means: of each measure, and `psnr_of_mse`; and of brightness and detail.
        gaps: measure -> gap; none of a group, or others, of a single image.
        adjusted: the gap of PSNR for images of equal brightness and detail.
        detectable: the gap of PSNR in dB that would be found in 80% of cases with so many images.
        against: how much higher its PSNR is than with the other model, paired by image; None without one.
    """

    title: str
    n: int
    n_others: int
    means: Mapping[str, float]
    gaps: Mapping[str, Gap]
    adjusted: Gap | None
    detectable: float | None
    against: Gap | None = None

    @property
    def judged(self) -> bool:
        """Whether it and the others have enough images to say something of it."""
        return min(self.n, self.n_others) >= FEWEST


@dataclass(frozen=True)
class GroupReport:
    """What was found by one grouping.

    Attributes:
        name: what the groups are by.
        groups: worst first, by the gap of PSNR.
        n: images in groups; n_without: those in none.
        overall: the means of all of them.
        largest: the gap in dB between the best and the worst of the groups that are judged, and the titles of these;
            None of fewer than two.
        chance: what that gap would be where nothing differs.
        explained: share of the variance of PSNR within groups that brightness and detail explain.
        n_for_a_decibel: images that each of two groups needs for a gap of 1 dB to be found.
    """

    name: str
    groups: tuple[Group, ...]
    n: int
    n_without: int
    overall: Mapping[str, float]
    largest: tuple[float, str, str] | None
    chance: ChanceGap | None
    explained: float | None
    n_for_a_decibel: int | None

    @property
    def judged(self) -> list[Group]:
        """The groups with enough images."""
        return [group for group in self.groups if group.judged]


def compare_groups(
    grouping: Grouping,
    errors: ImageErrors,
    covariates: Covariates,
    other: ImageErrors | None = None,
    seed: int = 0,
) -> GroupReport:
    """Compare the groups of n images.

    Args:
        grouping: of the images.
        errors: of their reconstructions.
        covariates: of the images themselves.
        other: the errors of another model on the same images.
        seed: of the bootstrap.
    """
    there = grouping.codes >= 0
    codes, errors, matrix = grouping.codes[there], errors.pick(there), covariates.matrix[there]
    values = {name: errors.values[name].numpy() for name in MEASURES if name in errors.values}
    adjusted, explained = adjust(errors.values["psnr"], matrix, codes)
    rows = [(codes == i).numpy() for i in range(len(grouping.titles))]
    gaps = {name: _gaps(of, rows, seed) for name, of in values.items()}
    level = _gaps(adjusted.numpy(), rows, seed)
    against = [None] * len(rows) if other is None else _against(errors, other.pick(there), rows, seed)
    groups = [
        Group(
            title,
            int(of.sum()),
            int((~of).sum()),
            {
                **errors.pick(torch.from_numpy(of)).means(),
                "brightness": float(matrix[of, 0].mean()),
                "detail": float(matrix[of, 1].mean()),
            },
            {name: gap for name in gaps if (gap := gaps[name][i]) is not None},
            level[i],
            detectable_gap(values["psnr"][of], values["psnr"][~of]) if _is_comparable(of) else None,
            against[i],
        )
        for i, (title, of) in enumerate(zip(grouping.titles, rows, strict=True))
    ]
    largest, chance = _largest(groups, rows, values["psnr"])
    sd = _sd_within(values["psnr"], rows)
    return GroupReport(
        grouping.name,
        tuple(sorted(groups, key=lambda group: group.means["psnr"])),
        len(codes),
        grouping.n_without,
        errors.means(),
        largest,
        chance,
        explained,
        n_per_group(sd, 1.0) if sd else None,
    )


def adjust(values: Tensor, covariates: Tensor, codes: Tensor) -> tuple[Tensor, float | None]:
    """Values (n,) as they would be with the mean covariates (n, k) of all, and what share of variance that takes.

    A regression with one slope for all groups, estimated within them (analysis of covariance): what groups differ in
    beside the covariates is left. Where nothing varies within groups the values are left as they are, and there is no
    share.
    """
    x, y = (_within(one.double(), codes) for one in (covariates, values[:, None]))
    scale = x.square().mean(0).sqrt()
    varies = scale > 1e-9
    if not varies.any() or not y.any():
        return values, None
    x = x[:, varies] / scale[varies]
    slopes = torch.linalg.lstsq(x, y, driver="gelsd").solution
    centred = (covariates.double() - covariates.double().mean(0))[:, varies] / scale[varies]
    explained = 1 - float((y - x @ slopes).square().sum() / y.square().sum())
    return values - (centred @ slopes)[:, 0], explained


def _within(values: Tensor, codes: Tensor) -> Tensor:
    """(n, k) less the mean of each one's group."""
    n = torch.bincount(codes).clamp(min=1)
    sums = values.new_zeros(len(n), values.shape[1]).index_add_(0, codes, values)
    return values - (sums / n[:, None])[codes]


def _is_comparable(rows: np.ndarray) -> bool:
    return min(int(rows.sum()), int((~rows).sum())) >= 2


def _gaps(values: np.ndarray, rows: list[np.ndarray], seed: int) -> list[Gap | None]:
    """Of each group to the others."""
    draws = max(_FEWEST_DRAWS, _DRAWS_PER_GROUP * len(rows))
    found = [difference(values[of], values[~of], seed=seed, draws=draws) if _is_comparable(of) else None for of in rows]
    judged = [bool(min(of.sum(), (~of).sum()) >= FEWEST) for of in rows]
    return _judged(found, judged, mirrored=len(rows) == 2)


def _against(mine: ImageErrors, other: ImageErrors, rows: list[np.ndarray], seed: int) -> list[Gap | None]:
    """Of the PSNR of each group to that with another model."""
    a, b = mine.values["psnr"].numpy(), other.values["psnr"].numpy()
    found = [paired_difference(a[of], b[of], seed=seed) if of.sum() >= 2 else None for of in rows]
    return _judged(found, [bool(of.sum() >= FEWEST) for of in rows])


def _judged(found: list[Interval | None], judged: list[bool], mirrored: bool = False) -> list[Gap | None]:
    """With p-values that are adjusted for the number of judged ones. Of two groups both gaps are the same one."""
    p = [one.p if one and is_judged else math.nan for one, is_judged in zip(found, judged, strict=True)]
    p = p if mirrored else holm(p)
    return [
        None if interval is None else Gap(interval, value if is_judged else None)
        for interval, value, is_judged in zip(found, p, judged, strict=True)
    ]


def _largest(
    groups: list[Group], rows: list[np.ndarray], psnr: np.ndarray
) -> tuple[tuple[float, str, str] | None, ChanceGap | None]:
    """The gap between the best and the worst of those that are judged, and what chance would give."""
    judged = [(group, psnr[of]) for group, of in zip(groups, rows, strict=True) if group.judged]
    if len(judged) < 2:
        return None, None
    worst, best = (choose(judged, key=lambda one: one[1].mean())[0] for choose in (min, max))
    gap = best.means["psnr"] - worst.means["psnr"]
    errors = [float(values.std(ddof=1)) / math.sqrt(len(values)) for _, values in judged]
    return (gap, worst.title, best.title), chance_gap(errors, gap)


def _sd_within(values: np.ndarray, rows: list[np.ndarray]) -> float:
    """Standard deviation about the mean of each one's group."""
    square = sum(float(((values[of] - values[of].mean()) ** 2).sum()) for of in rows if of.any())
    freedom = len(values) - sum(bool(of.any()) for of in rows)
    return math.sqrt(square / freedom) if freedom > 0 else 0.0
