"""Diagnostics of posterior collapse, each a pure function of the moments of q(z). Float64 in, float64 out.

Shapes: d number of latents.
"""

from __future__ import annotations

import torch
from torch import Tensor

THRESHOLD = 0.01
"""Variance above which a unit counts as active (Burda, Grosse & Salakhutdinov 2016)."""

CURVE = (1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 0.5, 0.9)
"""Thresholds at which the curve of active units is given."""


def active_units(var_of_mean: Tensor, threshold: float = THRESHOLD) -> int:
    """How many units u have Var_x(E[u|x]) > threshold; `var_of_mean` is (d,). Burda et al. 2016, section 5.2."""
    return int((var_of_mean > threshold).sum())


def active_units_curve(var_of_mean: Tensor, thresholds: tuple[float, ...] = CURVE) -> dict[float, int]:
    """The number of active units at each threshold: the count depends on the scale that is asked for."""
    return {threshold: active_units(var_of_mean, threshold) for threshold in thresholds}


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
