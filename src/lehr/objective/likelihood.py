"""Likelihoods p(x|z): what the output of a decoder means, and the log-probability of an image under it.

Here are the base and those of binary and of real pixels; the discretised logistic and the continuous Bernoulli have
files of their own. Shapes: b batch, c h w image. A decoder gives (b, c, h, w); log-probabilities are in nats, summed
over pixels: (b,).
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal, get_args

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lehr.limits import PositiveFloat
from lehr.objective.cross_entropy import cross_entropy
from lehr.objective.keep_float32 import KeepsFloat32
from lehr.posterior.gaussian import bound
from lehr.posterior.posterior import at_least_float32

Learned = Literal["learned"]
FittedScale = Literal["learned", "optimal"]
_MIN_LOG_SCALE = -6.0  # exp(-6) = 0.0025: less than one of 256 grey levels (Rybkin et al. 2021 use the same)
_MAX_LOG_SCALE = 6.0


class Likelihood(KeepsFloat32):
    """p(x|z). A subclass says what the decoder's output means."""

    numbers: ClassVar[tuple[str, ...]] = ()
    """Which of its arguments, where they are numbers, are in a buffer alone: one program serves runs with others."""
    levels: int | None
    """What `log_prob` is of: the probability of pixels of so many grey levels, evenly spaced over [0, 1] (2: binary
    pixels); None: the density of real ones."""

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """log p(x|z) in nats, summed over pixels: (b,), at least float32."""
        raise NotImplementedError

    def mean(self, parameters: Tensor) -> Tensor:
        """E[x|z], what is shown in pictures: (b, c, h, w)."""
        raise NotImplementedError

    def parameters_at(self, mean: Tensor) -> Tensor:
        """What a decoder should give for E[x|z] to be `mean`, any shape; here `mean` itself."""
        return mean

    def error_weight(self) -> Tensor | float:
        """What an error of a pixel value costs, in nats per unit of the error that the likelihood is of: 1 by itself.

        The error is measured with pixels in [-1, 1], as in the losses of latent diffusion's first stages (Rombach et
        al. 2022): e^-s, where such a loss is error e^-s + s.
        """
        return 1.0

    def fixed_error_weight(self) -> float:
        """`error_weight` where the configuration says it; 1 where it is learned or fitted, as in sgm's losses.

        Beside a learned scale a KL weight is in nats as it stands: the error is divided by the scale, the rate is not.
        """
        return 1.0


class Bernoulli(Likelihood):
    """Independent binary pixels; the decoder gives logits.

    On grey values this is a cross-entropy, not a likelihood, and its ELBO bounds nothing.
    """

    levels = 2

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        logits = at_least_float32(parameters)
        return -cross_entropy(x.to(logits.dtype), logits).flatten(1).sum(1)

    def mean(self, parameters: Tensor) -> Tensor:
        return at_least_float32(parameters).sigmoid()

    def parameters_at(self, mean: Tensor) -> Tensor:
        # pixels that are always off or always on would have infinite logits (Burda et al. 2016 clip the same)
        return mean.clamp(0.001, 0.999).logit()


class Scaled(Likelihood):
    """A likelihood with one scale for all pixels, in units of pixels (which lie in [0, 1]).

    Args:
        scale: a number > 0; or "learned", one parameter, within exp(-6) and exp(6).
    """

    numbers = ("scale",)
    words: ClassVar[tuple[str, ...]] = get_args(Learned)
    """What the scale may be besides a number."""
    start: ClassVar[float] = 0.1
    """What a learned scale starts at: the size of the errors of a model that has learned a little."""
    log_scale: Tensor

    def __init__(self, scale: float | str) -> None:
        super().__init__()
        if isinstance(scale, str) and scale not in self.words:
            *others, last = ["a number > 0", *(repr(word) for word in self.words)]
            raise ValueError(f"likelihood.scale={scale!r}: expected {', '.join(others)} or {last}")
        if not isinstance(scale, str) and not scale > 0:
            raise ValueError(f"likelihood.scale={scale}: must be > 0")
        self.kind = scale if isinstance(scale, str) else "fixed"
        self.fixed_scale = None if isinstance(scale, str) else float(scale)
        log_scale = torch.tensor(math.log(self.start if isinstance(scale, str) else scale))
        if self.kind == "learned":
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale)

    def bounded_log_scale(self) -> Tensor:
        """log of the scale as `log_prob` uses it, a scalar."""
        return bound(self.log_scale, _MIN_LOG_SCALE, _MAX_LOG_SCALE) if self.kind == "learned" else self.log_scale


class Gaussian(Scaled):
    """N(x; decoder output, scale^2), one scale for all pixels.

    Args:
        scale: a standard deviation > 0; or "learned", one parameter; or "optimal", the root mean squared error of
            each training batch, which maximises its likelihood (sigma-VAE, Rybkin, Daniilidis & Levine 2021,
            section 3.2). Evaluation must not fit the scale to the data it judges, so with "optimal" it uses the
            running mean of the training batches' squared error.
    """

    levels = None
    words = get_args(FittedScale)
    start = 1.0
    _MOMENTUM = 0.01
    batches_seen: Tensor

    def __init__(self, scale: PositiveFloat | FittedScale = "learned") -> None:
        super().__init__(scale)
        if self.kind == "optimal":
            self.register_buffer("batches_seen", torch.zeros((), dtype=torch.int64))

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        mean = at_least_float32(parameters)
        square = (x.to(mean.dtype) - mean).square().flatten(1)
        fits = self.kind == "optimal" and self.training
        log_scale = self._fit(square.detach()) if fits else self.bounded_log_scale()
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

    def error_weight(self) -> Tensor:
        return (-2 * self.bounded_log_scale()).exp() / 8  # (2 d)^2 costs d^2 / (2 scale^2)

    def fixed_error_weight(self) -> float:
        return 1.0 if self.fixed_scale is None else 1 / (8 * self.fixed_scale**2)


class Laplace(Scaled):
    """Laplace(x; decoder output, scale): the absolute error in place of the squared one.

    Args:
        scale: the mean absolute deviation, a number > 0; or "learned", one parameter.
    """

    levels = None

    def __init__(self, scale: PositiveFloat | Learned = "learned") -> None:
        super().__init__(scale)

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        mean = at_least_float32(parameters)
        error = (x.to(mean.dtype) - mean).abs().flatten(1)
        log_scale = self.bounded_log_scale()
        return -error.sum(1) * (-log_scale).exp() - error.shape[1] * (log_scale + math.log(2))

    def mean(self, parameters: Tensor) -> Tensor:
        return at_least_float32(parameters)

    def error_weight(self) -> Tensor:
        return (-self.bounded_log_scale()).exp() / 2  # 2 |d| costs |d| / scale

    def fixed_error_weight(self) -> float:
        return 1.0 if self.fixed_scale is None else 1 / (2 * self.fixed_scale)
