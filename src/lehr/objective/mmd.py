"""InfoVAE: the maximum mean discrepancy between q(z) and p(z) beside, or in place of, the rate (Zhao et al. 2019).

Shapes: n, m numbers of latents, d latents (a latent map is flattened).
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Le
from torch import Tensor

from lehr import randomness
from lehr.limits import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Together,
    check_order,
    check_word,
)
from lehr.needs import DENSITY, RATE, STANDARD_NORMAL_PRIOR, TWO_EXAMPLES, WHOLE_BATCH
from lehr.objective.annealing import ANNEALED, Annealing, Shape, Unit
from lehr.objective.convention import Convention
from lehr.objective.rate import Cost, CostTerm, RateInputs, RateTerm, Values

Kernel = Literal["rbf", "imq"]


def kernel_matrix(a: Tensor, b: Tensor, kernel: str, bandwidth: float) -> Tensor:
    """k(a_i, b_j) for `a` (n, d) and `b` (m, d): (n, m) in float64.

    With C = 2 d bandwidth^2, at bandwidth 1 the mean squared distance of two draws from N(0, I): rbf is exp(-|a - b|^2
    / C), imq is C / (C + |a - b|^2) (Tolstikhin et al. 2018).
    """
    a, b = a.double(), b.double()  # the expanded square would cancel in less, and autocast leaves float64 alone
    square = (a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T).clamp(min=0)
    scale = 2 * a.shape[1] * bandwidth**2
    return (-square / scale).exp() if kernel == "rbf" else scale / (scale + square)


def mmd(a: Tensor, b: Tensor, kernel: str = "imq", bandwidth: float = 1.0) -> Tensor:
    """The squared maximum mean discrepancy of samples `a` (n, d) and `b` (m, d), n, m >= 2: a scalar in float64.

    The unbiased estimate, without the kernel of a sample with itself (Gretton et al. 2012, equation 3): its mean is 0
    for equal distributions, and it may be negative.
    """

    def between(x: Tensor) -> Tensor:
        k = kernel_matrix(x, x, kernel, bandwidth)
        return (k.sum() - k.diagonal().sum()) / (len(x) * (len(x) - 1))

    return between(a) + between(b) - 2 * kernel_matrix(a, b, kernel, bandwidth).mean()


class MMD(RateTerm):
    """kl_weight(step) * ((1 - alpha) * rate + (alpha + lambda - 1) * MMD^2(q(z), p(z))).

    q(z) is the batch, one z of each example; p(z) is as many draws from N(0, I), a function of the seed and the step. A
    batch of one, as the last of an epoch may be, has no MMD. The KL weight in effect is that of the rate alone,
    (1 - alpha) * weight.

    Args:
        alpha: 0 leaves the whole rate beside the MMD, 1 the MMD alone.
        lambda_: `lambda` of the paper; the MMD of one batch counts as if each of its examples had it. At least 1 -
            alpha: a negative weight would reward discrepancy.
        kernel: "imq" (inverse multiquadratic, heavy tails) or "rbf".
        bandwidth: of the kernel, where 1 fits N(0, I): see `kernel_matrix`.
        seed: of the draws from the prior.
        weight, hold, warmup, shape, cycles, unit, convention: as of `AnnealedKL`.
    """

    needs = (RATE, DENSITY, STANDARD_NORMAL_PRIOR, WHOLE_BATCH, TWO_EXAMPLES)
    ordered = (Together("alpha", "lambda_", 1.0),)
    numbers = ("weight", "alpha", "lambda_", "seed")
    annealed = ANNEALED

    def __init__(
        self,
        alpha: Annotated[float, Le(1)] = 0.5,
        lambda_: NonNegativeFloat = 100.0,
        kernel: Kernel = "imq",
        bandwidth: PositiveFloat = 1.0,
        seed: NonNegativeInt = 0,
        weight: NonNegativeFloat = 1.0,
        hold: NonNegativeFloat = 0,
        warmup: NonNegativeFloat = 0,
        shape: Shape = "linear",
        cycles: PositiveInt = 1,
        unit: Unit = "epoch",
        convention: Convention = "nats",
    ) -> None:
        super().__init__(Annealing(weight, hold, warmup, shape, cycles, unit), convention)
        check_word("kl.kernel", kernel, Kernel)
        check_order(self.ordered, "kl", alpha=alpha, lambda_=lambda_)
        self.alpha = alpha
        self.lambda_ = lambda_
        self.kernel = kernel
        self.bandwidth = bandwidth
        self.seed = seed

    def kl_weight(self, step: int) -> float:
        return (1 - self.alpha) * self.schedule(step)

    def values(self, step: int) -> Values:
        return {"weight": self.schedule(step), "alpha": self.alpha, "lambda": self.lambda_}

    def cost(self, inputs: RateInputs, values: Values) -> Cost:
        weight, alpha = values["weight"], values["alpha"]
        z, rate = inputs.z.flatten(1), inputs.terms.rate
        value, factor = (1 - alpha) * rate.sum(), alpha + values["lambda"] - 1
        discrepancy = rate.new_zeros(())
        if len(z) > 1:
            shape = tuple(z.shape)
            prior = inputs.drawn(self.seed, lambda seed, step: randomness.normal(seed, "mmd", step, shape, z.device))
            discrepancy = mmd(z, prior, self.kernel, self.bandwidth).to(rate.dtype)
            value = value + factor * len(z) * discrepancy
        others = {"mmd": CostTerm(discrepancy.detach(), weight * factor, unit="squared discrepancy")}
        return Cost(weight * value, (1 - alpha) * weight, others)
