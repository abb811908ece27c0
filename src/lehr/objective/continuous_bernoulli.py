"""The continuous Bernoulli: the cross-entropy of grey values, with the normaliser that makes it a density over [0, 1].

Loaiza-Ganem & Cunningham 2019. With logit t = log(l / (1 - l)) their C(l) l^x (1 - l)^(1-x) is the exponential family
exp(t x - A(t)), A(t) = log((exp(t) - 1) / t). Shapes: b batch, c h w image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lehr.objective.inverse import increasing_inverse
from lehr.objective.likelihood import Likelihood
from lehr.posterior.posterior import at_least_float32

_NEAR = 0.2
"""Logits below which A(t) - t/2 and its derivative are taken from their series, which is then exact in float64."""
_SERIES = (1 / 24, -1 / 2880, 1 / 181440, -1 / 9676800, 1 / 479001600)
"""A(t) - t/2 = log(sinh(t/2) / (t/2)) in powers t^2, t^4, ..., t^10."""
_LEAST_MEAN = 0.001


class ContinuousBernoulli(Likelihood):
    """Independent pixels in [0, 1]; the decoder gives logits, and the mean is not their sigmoid."""

    levels = None

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        logits = at_least_float32(parameters)
        x = x.to(logits.dtype)
        near, size = _split(logits)
        # |t| factored out of A(t), so that nothing large is subtracted from itself
        far = logits * (x - (logits > 0).to(x.dtype)) + size.log() - (-torch.expm1(-size)).log()
        small = torch.where(near, logits, 0.0)
        log_density = torch.where(near, small * (x - 0.5) - _log_normaliser(small), far)
        return log_density.flatten(1).sum(1)

    def mean(self, parameters: Tensor) -> Tensor:
        """A'(t) = 1 / (1 - exp(-t)) - 1 / t."""
        logits = at_least_float32(parameters)
        near, size = _split(logits)
        low = 1 / size - (-size).exp() / -torch.expm1(-size)  # the mean at -|t|
        small = torch.where(near, logits, 0.0)
        return torch.where(near, 0.5 + _slope(small), torch.where(logits > 0, 1 - low, low))

    def parameters_at(self, mean: Tensor) -> Tensor:
        # the mean approaches 0 and 1 as 1 / |logit|
        limit = 1 / _LEAST_MEAN
        return increasing_inverse(self.mean, mean.clamp(_LEAST_MEAN, 1 - _LEAST_MEAN), -limit, limit)


def _split(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Where the series holds, and |logits| elsewhere: 1 is put in its place, so that no gradient there is NaN."""
    size = logits.abs()
    near = size < _NEAR
    return near, size.masked_fill(near, 1.0)


def _log_normaliser(t: Tensor) -> Tensor:
    """A(t) - t/2 for small t."""
    square = t.square()
    a, b, c, d, e = _SERIES
    return square * (a + square * (b + square * (c + square * (d + square * e))))


def _slope(t: Tensor) -> Tensor:
    """A'(t) - 1/2 for small t."""
    square = t.square()
    a, b, c, d, e = _SERIES
    return t * (2 * a + square * (4 * b + square * (6 * c + square * (8 * d + square * 10 * e))))
