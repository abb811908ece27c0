"""The rate taken apart: mutual information + total correlation + dimension-wise KL (Chen et al. 2018, equation 2).

q(z) and its marginals q(z_j) are estimated from the batch by minibatch-stratified sampling (their appendix C.2).
Shapes: b examples, d latents (a latent map is flattened).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lehr.limits import NonNegativeFloat, PositiveInt
from lehr.needs import DENSITY, RATE, STANDARD_NORMAL_PRIOR, TWO_EXAMPLES, WHOLE_BATCH
from lehr.objective.annealing import ANNEALED, Annealing, Shape, Unit
from lehr.objective.convention import Convention
from lehr.objective.rate import Controlled, Cost, RateInputs, Values
from lehr.posterior.posterior import Posterior


@dataclass(frozen=True)
class RateParts:
    """Estimates at z ~ q(z|x) in nats, (b,) each. Their sum is log q(z|x) - log p(z), whose mean is the rate.

    Attributes:
        mutual_information: log q(z|x) - log q(z).
        total_correlation: log q(z) - log prod_j q(z_j).
        dimension_wise_kl: log prod_j q(z_j) - log p(z).
    """

    mutual_information: Tensor
    total_correlation: Tensor
    dimension_wise_kl: Tensor


def stratified_log_weights(b: int, n: int) -> Tensor:
    """log of the weights (b, b) with which sum_k weight_ik q(z_i|x_k) estimates q(z_i), z_i ~ q(z|x_i); float64.

    The batch is drawn without replacement from n examples: 1/n for the example that z comes from, and the other
    (n - 1)/n shared evenly. The paper gives one of the others (n - m)/(nm) and the rest 1/m, m = b - 1; this is the
    mean over which one it is, so that the order of the batch does not matter and b = n is exact. An example alone
    can say nothing about q(z), which is then taken to be q(z|x).
    """
    if b == 1:
        return torch.zeros(1, 1, dtype=torch.float64)
    weights = torch.full((b, b), (n - 1) / (n * (b - 1)), dtype=torch.float64)
    weights.fill_diagonal_(1 / n)
    return weights.log()


def rate_parts(posterior: Posterior, z: Tensor, n: int) -> RateParts:
    """The parts of the rate at `z` (b, *latent), of a batch out of `n` examples. Takes memory for b * b * d numbers.

    The weights are unbiased for q(z), not for its logarithm: where the rate is large for the batch, log q(z) is too
    low, and the total correlation may be negative.
    """
    q = posterior.normal()
    z, mean, logvar = z.flatten(1), q.mean.flatten(1), q.logvar.flatten(1)
    square = (z[:, None] - mean).square() * (-logvar).exp()
    log_q = -0.5 * (square + logvar + math.log(2 * math.pi))  # [i, k, j] is log q(z_ij|x_k)
    log_weights = stratified_log_weights(len(z), n).to(log_q)
    joint = log_q.sum(2)
    log_qz = (log_weights + joint).logsumexp(1)
    log_marginals = (log_weights[:, :, None] + log_q).logsumexp(1).sum(1)
    log_pz = -0.5 * (z.square() + math.log(2 * math.pi)).sum(1)
    return RateParts(joint.diagonal() - log_qz, log_qz - log_marginals, log_marginals - log_pz)


class BetaTC(Controlled):
    """kl_weight(step) * (mutual information + beta * total correlation + dimension-wise KL).

    The three sum to the rate, which is known in closed form: the cost is weight * (rate + (beta - 1) * total
    correlation), and at beta = 1 the annealed KL. The KL weight in effect is the cost over the rate.

    Args:
        beta: how much the total correlation counts.
        weight, hold, warmup, shape, cycles, unit, convention: as of `AnnealedKL`.
    """

    needs = (RATE, DENSITY, STANDARD_NORMAL_PRIOR, WHOLE_BATCH, TWO_EXAMPLES)
    numbers = ("weight", "beta")
    annealed = ANNEALED

    def __init__(
        self,
        beta: NonNegativeFloat,
        weight: NonNegativeFloat = 1.0,
        hold: NonNegativeFloat = 0,
        warmup: NonNegativeFloat = 10,
        shape: Shape = "linear",
        cycles: PositiveInt = 1,
        unit: Unit = "epoch",
        convention: Convention = "nats",
    ) -> None:
        super().__init__(Annealing(weight, hold, warmup, shape, cycles, unit), weight, convention)
        self.beta = beta

    def values(self, step: int) -> Values:
        return {"weight": self.schedule(step), "beta": self.beta}

    def cost(self, inputs: RateInputs, values: Values) -> Cost:
        weight = values["weight"]
        rate = inputs.terms.rate.sum()
        parts = rate_parts(inputs.posterior, inputs.z, inputs.n_train)
        cost = rate + (values["beta"] - 1) * parts.total_correlation.sum()
        ratio = cost.detach().double() / rate.detach().double().clamp(min=1e-12)
        return Cost(weight * cost, self.remember(weight * ratio))
