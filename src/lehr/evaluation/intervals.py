"""How far a mean, or a difference of means, can be believed: intervals, p-values and the images that a gap needs.

Student's t where values are about normal, the bootstrap-t (Efron and Tibshirani 1993, section 12.5) where they are
skewed: a percentile interval of 10 values covers 90% in place of 95%, and of a largest gap it covers nothing, as a
largest gap is never 0. Coverage at small n is in the tests.

Everything is float64. `x`, `a`, `b` are (n,) values, one of each image. Images must be independent: crops or positions
of one image are not. Each function raises ValueError for values that are not finite, and for fewer than two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVEL = 0.95
POWER = 0.8
SKEWED = 1.0
"""Skewness from which the bootstrap-t is taken: the t interval of 20 exponential values (2) covers 92% alone."""
_DRAWS = 1999
_BEYOND = 2  # draws at least beyond each end of an interval
_DRAWN_AT_ONCE = 2**22  # numbers
_MANY = 5000  # values whose mean is normal, however skewed they are
_ROUNDING = 1e-12
_GRID, _REACH, _HALVINGS = 2001, 9.0, 30  # of a quadrature of normal densities, in standard deviations to each side
_LEAST_ERROR = 0.02  # of the largest: below it an error adds nothing to a gap, and the grid would miss it


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval.

    Attributes:
        estimate: the mean, or the difference of means.
        low, high: the ends; infinite where so few values say nothing.
        p: two-sided p-value of "it is 0"; NaN where nothing varies and the estimate is 0.
        n: how many values it rests on; of two groups the smaller.
    """

    estimate: float
    low: float
    high: float
    p: float
    n: int

    def covers(self, value: float) -> bool:
        """Whether `value` lies in it, ends included."""
        return self.low <= value <= self.high

    @property
    def half_width(self) -> float:
        """Half of high - low."""
        return (self.high - self.low) / 2


def mean_interval(x: Any, level: float = LEVEL) -> Interval:
    """Student's t interval of a mean."""
    x = _values(x)
    return _student(float(x.mean()), _standard_error(x), len(x) - 1, level, len(x))


def paired_difference(a: Any, b: Any, level: float = LEVEL, seed: int = 0) -> Interval:
    """Of mean(a - b), where a[i] and b[i] are of the same image: t, or bootstrap-t where the differences are skewed."""
    a, b = _values(a), _values(b)
    if len(a) != len(b):
        raise ValueError(f"pairs need as many of both, got {len(a)} and {len(b)}")
    difference = a - b
    if abs(skewness(difference)) >= SKEWED:
        return bootstrap_t(difference, level, seed)
    return mean_interval(difference, level)


def welch(a: Any, b: Any, level: float = LEVEL) -> Interval:
    """Of mean(a) - mean(b) of different images, whose variances may differ (Welch 1947)."""
    a, b = _values(a), _values(b)
    parts = _standard_error(a) ** 2, _standard_error(b) ** 2
    error = math.sqrt(sum(parts))
    below = parts[0] ** 2 / (len(a) - 1) + parts[1] ** 2 / (len(b) - 1)
    # rounding may let both squares vanish
    freedom = error**4 / below if below else float(min(len(a), len(b)) - 1)
    return _student(_gap(a, b), error, freedom, level, min(len(a), len(b)))


def difference(a: Any, b: Any, level: float = LEVEL, seed: int = 0, draws: int = _DRAWS) -> Interval:
    """Of mean(a) - mean(b) of different images: Welch's, or the bootstrap-t where either is skewed."""
    if max(abs(skewness(a)), abs(skewness(b))) >= SKEWED:
        return bootstrap_t_difference(a, b, level, seed, draws)
    return welch(a, b, level)


def bootstrap_t(x: Any, level: float = LEVEL, seed: int = 0, draws: int = _DRAWS) -> Interval:
    """Of a mean, by the distribution of (mean* - mean) / error* over `draws` resamples in place of Student's.

    Of a level so high that these hold no two beyond each end, more are drawn.
    """
    x = _values(x)
    draws = max(draws, round(_BEYOND * 2 / (1 - level)) - 1)
    means, variances = _resampled(x, np.random.default_rng(seed), draws)
    ratios = _ratios(means - x.mean(), np.sqrt(variances / len(x)))
    return _by_ratios(float(x.mean()), _standard_error(x), ratios, level, len(x))


def bootstrap_t_difference(a: Any, b: Any, level: float = LEVEL, seed: int = 0, draws: int = _DRAWS) -> Interval:
    """Of mean(a) - mean(b) of different images: the bootstrap-t with Welch's error, each resampled within itself."""
    a, b = _values(a), _values(b)
    random = np.random.default_rng(seed)
    (mean_a, var_a), (mean_b, var_b) = (_resampled(part, random, draws) for part in (a, b))
    estimate = _gap(a, b)
    ratios = _ratios(mean_a - mean_b - estimate, np.sqrt(var_a / len(a) + var_b / len(b)))
    error = math.hypot(_standard_error(a), _standard_error(b))
    return _by_ratios(estimate, error, ratios, level, min(len(a), len(b)))


def wilson(successes: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """The ends of Wilson's score interval (1927) of a share, `successes` of `n` independent trials."""
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"{successes} of {n} is no share")
    z, share = normal_quantile((1 + level) / 2), successes / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # rounding must not leave out the share itself
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def holm(p: Sequence[float]) -> list[float]:
    """p-values that are adjusted for how many there are (Holm 1979), in their order; NaN stays, and is not counted.

    Those that are below 0.05 afterwards hold a true "it is 0" in 5% of cases at most, however many were asked.
    """
    there = sorted((value, i) for i, value in enumerate(p) if not math.isnan(value))
    adjusted, largest = [math.nan] * len(p), 0.0
    for rank, (value, i) in enumerate(there):
        largest = max(largest, min(1.0, value * (len(there) - rank)))
        adjusted[i] = largest
    return adjusted


@dataclass(frozen=True)
class ChanceGap:
    """The gap between the highest and the lowest of some means that would come of chance alone.

    Attributes:
        expected: its mean where all true means are equal.
        upper: what it exceeds in 1 - level of cases.
        p: how often it is as large as the one observed.
    """

    expected: float
    upper: float
    p: float


def chance_gap(errors: Sequence[float], observed: float, level: float = LEVEL) -> ChanceGap:
    """What the largest gap of k independent normal means with these standard errors is where nothing differs.

    E[max - min] = int 1 - prod F_i(x) - prod (1 - F_i(x)) dx, and
    P(max - min <= r) = sum_i int f_i(x) prod_{j != i} (F_j(x + r) - F_j(x)) dx. With equal errors the first is d2 of
    quality control: 1.13, 2.33, 3.08 errors for 2, 5, 10 means.

    Raises:
        ValueError: for fewer than two, or errors that are negative or not finite.
    """
    s = np.asarray(errors, dtype=np.float64)
    if s.ndim != 1 or len(s) < 2 or not np.isfinite(s).all() or (s < 0).any():
        raise ValueError(f"a gap is between two means or more with finite errors, got {list(errors)}")
    if not s.any():
        return ChanceGap(0.0, 0.0, 1.0 if observed <= 0 else 0.0)
    s = np.maximum(s, s.max() * _LEAST_ERROR)
    x = np.linspace(-_REACH * s.max(), _REACH * s.max(), _GRID)
    below = _normal_cdf(x[:, None] / s)
    expected = float(x[1] - x[0]) * float((1 - below.prod(1) - (1 - below).prod(1)).sum())
    low, high = 0.0, 2 * _REACH * float(s.max())
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _range_at_most(middle, x, s) < level else (low, middle)
    return ChanceGap(expected, high, min(1.0, max(0.0, 1.0 - _range_at_most(observed, x, s))))


def _range_at_most(r: float, x: Floats, s: Floats) -> float:
    """P(max - min <= r) of normal numbers about 0 with standard deviations `s` (k,), on the grid `x`."""
    if r <= 0:
        return 0.0
    density = np.exp(-0.5 * (x[:, None] / s) ** 2) / (s * math.sqrt(2 * math.pi))
    within = np.maximum(_normal_cdf((x[:, None] + r) / s) - _normal_cdf(x[:, None] / s), np.finfo(np.float64).tiny)
    return float(x[1] - x[0]) * float(((density / within).sum(1) * within.prod(1)).sum())


def n_per_group(sd: float, gap: float, power: float = POWER, level: float = LEVEL) -> int:
    """Images in each of two groups of standard deviation `sd` for a gap to be found so often: 15.7 (sd / gap)^2."""
    return math.ceil(2 * _needed(sd, gap, power, level))


def n_paired(sd: float, gap: float, power: float = POWER, level: float = LEVEL) -> int:
    """Pairs whose differences have standard deviation `sd` for their mean `gap` to be found: 7.85 (sd / gap)^2."""
    return math.ceil(_needed(sd, gap, power, level))


def detectable_gap(a: Any, b: Any, power: float = POWER, level: float = LEVEL) -> float:
    """The true gap of mean(a) and mean(b) that groups of these sizes and spreads would show so often: 2.8 errors."""
    error = math.hypot(_standard_error(_values(a)), _standard_error(_values(b)))
    return (normal_quantile((1 + level) / 2) + normal_quantile(power)) * error


def _needed(sd: float, gap: float, power: float, level: float) -> float:
    if not gap:
        raise ValueError("no number of images finds a gap of 0")
    return ((normal_quantile((1 + level) / 2) + normal_quantile(power)) * sd / gap) ** 2


def skewness(x: Any) -> float:
    """The third moment about the mean in standard deviations; 0 where nothing varies."""
    x = _values(x)
    centred = x - x.mean()
    spread = math.sqrt(float((centred**2).mean()))
    return float((centred**3).mean()) / spread**3 if _standard_error(x) else 0.0


def normal_quantile(p: float) -> float:
    """Below which a standard normal number lies with probability `p`."""
    from scipy.special import ndtri

    return float(ndtri(p))


def _normal_cdf(x: Floats) -> Floats:
    from scipy.special import ndtr

    found: Floats = ndtr(x)
    return found


def _values(x: Any) -> Floats:
    """`x` as (n,) float64, checked."""
    found = np.asarray(x, dtype=np.float64)
    if found.ndim != 1 or len(found) < 2:
        raise ValueError(f"an interval is of two values or more, got {found.shape}")
    if not np.isfinite(found).all():
        raise ValueError(f"{int((~np.isfinite(found)).sum())} of {len(found)} values are not finite")
    return found


def _standard_error(x: Floats) -> float:
    """Of the mean of `x`; 0 where nothing varies but by rounding."""
    spread = float(x.std(ddof=1))
    return spread / math.sqrt(len(x)) if spread > _ROUNDING * float(np.abs(x).max()) else 0.0


def _gap(a: Floats, b: Floats) -> float:
    """mean(a) - mean(b); 0 where they differ by rounding alone."""
    gap = float(a.mean() - b.mean())
    return gap if abs(gap) > _ROUNDING * float(max(np.abs(a).max(), np.abs(b).max())) else 0.0


def _student(estimate: float, error: float, freedom: float, level: float, n: int) -> Interval:
    from scipy.special import stdtr, stdtrit

    if not error:
        return _certain(estimate, n)
    half = float(stdtrit(freedom, (1 + level) / 2)) * error
    p = 2 * float(stdtr(freedom, -abs(estimate) / error))
    return Interval(estimate, estimate - half, estimate + half, p, n)


def _certain(estimate: float, n: int) -> Interval:
    """Of values that do not vary."""
    return Interval(estimate, estimate, estimate, 0.0 if estimate else math.nan, n)


def _by_ratios(estimate: float, error: float, ratios: Floats, level: float, n: int) -> Interval:
    """The bootstrap-t interval of (draws,) resampled ratios, equally often exceeded on both sides."""
    if not error:
        return _certain(estimate, n)
    low = np.quantile(ratios, (1 - level) / 2, method="lower")  # no interpolation, as ratios may be infinite
    high = np.quantile(ratios, (1 + level) / 2, method="higher")
    beyond = min(int((ratios >= estimate / error).sum()), int((ratios <= estimate / error).sum()))
    p = min(1.0, 2 * (beyond + 1) / (len(ratios) + 1))
    return Interval(estimate, estimate - float(high) * error, estimate - float(low) * error, p, n)


def _ratios(differences: Floats, errors: Floats) -> Floats:
    """Quotients; of resamples that hold one value alone infinite, or 0 where there is no difference either."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(differences == 0, 0.0, differences / errors)


def _resampled(x: Floats, random: np.random.Generator, draws: int) -> tuple[Floats, Floats]:
    """Means and variances (n - 1), (draws,) each, of samples with replacement; of very many values a normal mean."""
    n = len(x)
    if n > _MANY:
        return x.mean() + _standard_error(x) * random.standard_normal(draws), np.full(draws, x.var(ddof=1))
    at_once = max(1, _DRAWN_AT_ONCE // n)
    parts = []
    for start in range(0, draws, at_once):
        sample = x[random.integers(0, n, (min(at_once, draws - start), n))]
        parts.append((sample.mean(1), sample.var(1, ddof=1)))
    means, variances = (np.concatenate(part) for part in zip(*parts, strict=True))
    return means, variances
