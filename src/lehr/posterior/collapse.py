"""Diagnostics of posterior collapse, each a pure function of the moments of q(z). Float64 in, float64 out.

Shapes: b batch, d number of latents, `*latent` is (d,) or (zc, zh, zw).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from lehr.posterior.aggregate import AggregatePosterior
from lehr.posterior.posterior import Posterior

THRESHOLD = 0.01
"""Variance above which a unit counts as active (Burda, Grosse & Salakhutdinov 2016)."""

CURVE = (1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 0.5, 0.9)
"""Thresholds at which the curve of active units is given."""

EPSILON = 0.01
"""KL in nats below which a latent says nothing of an example (Lucas et al. 2019), or on average of any."""

DELTA = 0.01
"""Share of examples that a collapsed latent may say something of (Lucas et al. 2019)."""


def active_units(var_of_mean: Tensor, threshold: float = THRESHOLD) -> int:
    """How many units u have Var_x(E[u|x]) > threshold; `var_of_mean` is (d,). Burda et al. 2016, section 5.2."""
    return int((var_of_mean > threshold).sum())


def active_units_curve(var_of_mean: Tensor, thresholds: tuple[float, ...] = CURVE) -> dict[float, int]:
    """The number of active units at each threshold: the count depends on the scale that is asked for."""
    return {threshold: active_units(var_of_mean, threshold) for threshold in thresholds}


def informative_units(kl: Tensor, threshold: float = EPSILON) -> int:
    """How many latents have E_x[KL(q(z_j|x) || N(0, 1))] > threshold nats; `kl` is (d,)."""
    return int((kl > threshold).sum())


def count_uninformed(posterior: Posterior, epsilon: float = EPSILON) -> Tensor:
    """Of how many examples latent j says nothing, KL(q(z_j|x) || N(0, 1)) < epsilon nats: (d,) int64.

    Counts of batches (b, *latent) add up to that of the data set, for `collapsed_units`.
    """
    return (posterior.kl_per_dimension().flatten(1) < epsilon).sum(0)


def collapsed_units(uninformed: Tensor, n: int, delta: float = DELTA) -> int:
    """How many latents are (epsilon, delta)-collapsed: P_x(KL_j < epsilon) >= 1 - delta. Lucas et al. 2019.

    Args:
        uninformed: (d,) of how many of the n examples KL_j < epsilon.
        n: the number of examples.
        delta: the share of examples that may be informed.
    """
    return int((n - uninformed <= delta * n + 1e-9).sum())  # 0.07 * 100 lies above 7, and 0.29 * 100 below 29


def effective_rank(spectrum: Tensor) -> float:
    """exp of the entropy of the normalised eigenvalues (Roy & Vetterli 2007), between 1 and d; 0 if all are 0.

    Args:
        spectrum: (d, d) a covariance, or (d,) the variances of a diagonal one.
    """
    values = torch.linalg.eigvalsh(spectrum) if spectrum.ndim == 2 else spectrum
    values = values.clamp(min=0)
    total = values.sum()
    if total <= 0:
        return 0.0
    share = values / total
    return float(torch.special.entr(share).sum().exp())


def participation_ratio(spectrum: Tensor) -> float:
    """(sum l)^2 / sum l^2 of the eigenvalues l, between 1 and d; 0 if all are 0. `spectrum` is (d, d) or (d,)."""
    square = spectrum.square().sum()  # of a covariance, the squared Frobenius norm: sum l^2
    trace = spectrum.trace() if spectrum.ndim == 2 else spectrum.sum()
    return float(trace.square() / square) if square > 0 else 0.0


def numerical_rank(covariance: Tensor) -> int:
    """How many eigenvalues of a covariance (d, d) rounding leaves above 0: l > d * eps * max l."""
    values = torch.linalg.eigvalsh(covariance)
    return int((values > len(values) * torch.finfo(values.dtype).eps * values[-1].clamp(min=0)).sum())


def total_correlation(covariance: Tensor) -> float:
    """-1/2 ln|Corr| in nats of a covariance (d, d): the total correlation of the Gaussian that has it.

    What `moment_kl` of the full covariance exceeds that of its diagonal by. Infinite for a singular correlation; a
    latent of variance 0 has no correlation and is left out.
    """
    factor, info = torch.linalg.cholesky_ex(_correlation(covariance))
    return max(0.0, float(-factor.diagonal().log().sum())) if info == 0 else math.inf


def _correlation(covariance: Tensor) -> Tensor:
    """Of the latents that vary at all."""
    std = covariance.diagonal().clamp(min=0).sqrt()
    kept = std > 0
    return covariance[kept][:, kept] / std[kept].outer(std[kept])


def moment_kl(mean: Tensor, covariance: Tensor) -> float:
    """KL(N(mean, covariance) || N(0, I)) in nats: a lower bound on KL(q(z) || N(0, I)) for q(z) of these moments.

    Args:
        mean: (d,)
        covariance: (d, d), or (d,) for a diagonal one.

    Returns:
        Never negative up to rounding; infinite for a singular covariance, or large where rounding hides that it is.
    """
    diagonal = covariance.diagonal() if covariance.ndim == 2 else covariance
    if covariance.ndim == 2:
        factor, info = torch.linalg.cholesky_ex(covariance)
        logdet = 2 * factor.diagonal().log().sum() if info == 0 else covariance.new_tensor(-torch.inf)
    else:
        logdet = covariance.log().sum()
    return float(0.5 * (diagonal.sum() + mean.square().sum() - mean.numel() - logdet))


@dataclass(frozen=True)
class MomentKL:
    """KL of the Gaussian with the moments of q(z) to N(0, I), in nats: a lower bound on KL(q(z) || N(0, I)).

    Attributes:
        diagonal: from the variances alone; None where it is infinite, as some latents do not vary.
        full: from the whole covariance, `diagonal + total_correlation`; None if that is not known.
        total_correlation: of the Gaussian; None if the covariance is not known.
        bias: by how much at most, about, moments of n examples make `full`, or else `diagonal`, too high.
        problem: why `full` is not known; None if it is.
    """

    diagonal: float | None
    full: float | None
    total_correlation: float | None
    bias: float
    problem: str | None


@lru_cache(maxsize=1)  # of many latents it takes seconds, and is asked for by files and by metrics
def moment_kls(posterior: AggregatePosterior) -> MomentKL:
    """The moment KL of q(z), diagonal and full, or why there is no full one."""
    diagonal, d = moment_kl(posterior.mean, posterior.var), len(posterior.mean)
    if still := _still(posterior):
        return MomentKL(None, None, None, d / posterior.n, still)
    problem = covariance_problem(posterior)
    if problem or posterior.covariance is None:
        return MomentKL(diagonal, None, None, d / posterior.n, problem)
    correlation = total_correlation(posterior.covariance)
    return MomentKL(diagonal, diagonal + correlation, correlation, d * (d + 3) / (4 * posterior.n), None)


def covariance_problem(posterior: AggregatePosterior) -> str | None:
    """Why there is no full covariance of q(z) to rely on, or None: the one rule, for every number and for sampling.

    There is one of more examples than latents whose correlation has full rank. With n <= d examples the covariance of
    the means has rank n - 1 at most: the noise E[Var(z|x)] makes the sum regular, but the directions that no example
    shows are counted as if all latents were independent and silent there, and its KL is mostly bias, about d / 4 nats
    and more. Latents that have collapsed to the noise alone are no problem, latents that do not vary are.
    """
    if posterior.covariance is None:
        return "the covariance of a latent map is known only as its diagonal"
    n, d = posterior.n, len(posterior.mean)
    if n <= d:
        return f"the covariance of {d} latents needs more than {d} examples, and there are {n}: its rank is deficient"
    if still := _still(posterior):
        return still
    # of the correlation, as variances may be of very different sizes and yet be known well
    if (rank := numerical_rank(_correlation(posterior.covariance))) < d:
        return f"the covariance of {d} latents has rank {rank}: the others follow from them, or do not vary"
    return None


def _still(posterior: AggregatePosterior) -> str | None:
    """What there is to say of latents that are the same number for every example, but for rounding."""
    rounding = 4 * torch.finfo(posterior.mean.dtype).eps * posterior.mean.abs()
    count = int((posterior.var <= rounding.square()).sum())
    if not count:
        return None
    return f"{count} of {len(posterior.mean)} latents do not vary: a normal distribution of them has no density"
