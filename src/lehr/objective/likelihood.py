"""Likelihoods p(x|z): what the output of a decoder means, and the log-probability of an image under it.

Shapes: b batch, c h w image. A decoder gives (b, c, h, w); log-probabilities are in nats, summed over pixels: (b,).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Self

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from lehr.posterior.gaussian import at_least_float32, bound

_MIN_LOG_SCALE = -6.0  # exp(-6) = 0.0025: less than one of 256 grey levels (Rybkin et al. 2021 use the same)
_MAX_LOG_SCALE = 6.0


class Likelihood(nn.Module):
    """p(x|z). A subclass says what the decoder's output means."""

    continuous: bool
    """Whether `log_prob` is that of a density over real pixel values (else of a probability of binary ones)."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # a likelihood keeps its few numbers in float32 at least, whatever precision the networks are converted to
        def keep(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            narrowed = tensor.is_floating_point() and moved.dtype not in (torch.float32, torch.float64)
            return tensor.to(moved.device) if narrowed else moved

        return super()._apply(keep, recurse)

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """log p(x|z) in nats, summed over pixels: (b,), at least float32."""
        raise NotImplementedError

    def mean(self, parameters: Tensor) -> Tensor:
        """E[x|z], what is shown in pictures: (b, c, h, w)."""
        raise NotImplementedError

    def parameters_at(self, mean: Tensor) -> Tensor:
        """What a decoder should give for E[x|z] to be `mean`, any shape; here `mean` itself."""
        return mean


class Bernoulli(Likelihood):
    """Independent binary pixels; the decoder gives logits.

    On grey values this is a cross-entropy, not a likelihood, and its ELBO bounds nothing.
    """

    continuous = False

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        logits = at_least_float32(parameters)
        return -F.binary_cross_entropy_with_logits(logits, x.to(logits.dtype), reduction="none").flatten(1).sum(1)

    def mean(self, parameters: Tensor) -> Tensor:
        return at_least_float32(parameters).sigmoid()

    def parameters_at(self, mean: Tensor) -> Tensor:
        # pixels that are always off or always on would have infinite logits (Burda et al. 2016 clip the same)
        return mean.clamp(0.001, 0.999).logit()


class Gaussian(Likelihood):
    """N(x; decoder output, scale^2), one scale for all pixels.

    Args:
        scale: a standard deviation > 0; or "learned", one parameter; or "optimal", the root mean squared error of
            each training batch, which maximises its likelihood (sigma-VAE, Rybkin, Daniilidis & Levine 2021,
            section 3.2). Evaluation must not fit the scale to the data it judges, so with "optimal" it uses the
            running mean of the training batches' squared error.
    """

    continuous = True
    _MOMENTUM = 0.01
    log_scale: Tensor
    batches_seen: Tensor

    def __init__(self, scale: float | str = 1.0) -> None:
        super().__init__()
        self.kind = scale if isinstance(scale, str) else "fixed"
        if self.kind not in ("fixed", "learned", "optimal"):
            raise ValueError(f"likelihood.scale={scale!r}: expected a number > 0, 'learned' or 'optimal'")
        if self.kind == "fixed" and not float(scale) > 0:
            raise ValueError(f"likelihood.scale={scale}: must be > 0")
        if self.kind == "learned":
            self.log_scale = nn.Parameter(torch.zeros(()))
        else:
            start = math.log(float(scale)) if self.kind == "fixed" else 0.0
            self.register_buffer("log_scale", torch.tensor(start))
        if self.kind == "optimal":
            self.register_buffer("batches_seen", torch.zeros((), dtype=torch.int64))

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        mean = at_least_float32(parameters)
        square = (x.to(mean.dtype) - mean).square().flatten(1)
        if self.kind == "optimal" and self.training:
            log_scale = self._fit(square.detach())
        elif self.kind == "learned":
            log_scale = bound(self.log_scale, _MIN_LOG_SCALE, _MAX_LOG_SCALE)
        else:
            log_scale = self.log_scale
        d = square.shape[1]
        return -0.5 * square.sum(1) * (-2 * log_scale).exp() - d * (log_scale + 0.5 * math.log(2 * math.pi))

    def _fit(self, square: Tensor) -> Tensor:
        """log of the root mean squared error of the batch over all ranks; remembers its running mean.

        No gradient flows through it: at the optimum of the scale its derivative is zero (envelope theorem).
        """
        total = torch.stack([square.sum(), square.new_tensor(float(square.numel()))])
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(total)
        mse = total[0] / total[1]
        self.batches_seen += 1
        # the plain mean at first, an exponential one later
        momentum = torch.clamp(1 / self.batches_seen, min=self._MOMENTUM)
        before = (2 * self.log_scale).exp()
        running = (1 - momentum) * before + momentum * mse  # in this form the first batch leaves nothing of 1.0
        self.log_scale.copy_((0.5 * running.log()).clamp(_MIN_LOG_SCALE, _MAX_LOG_SCALE))
        return (0.5 * mse.log()).clamp(_MIN_LOG_SCALE, _MAX_LOG_SCALE)

    def mean(self, parameters: Tensor) -> Tensor:
        return at_least_float32(parameters)
