"""What the tests of rate terms share: a batch as training hands it to them, whole or in the shares of two ranks."""

from __future__ import annotations

import copy
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lehr.objective.elbo import Terms
from lehr.objective.rate import RateInputs, RateTerm
from lehr.posterior.gaussian import DiagonalGaussian

sys.path.insert(0, str(Path(__file__).parent))  # for rate_terms and densities

N_TRAIN = 50


@dataclass
class RateBatch:
    """Posteriors of `b` examples whose parameters are leaves, z drawn from them, and a distortion."""

    b: int = 7
    latent_shape: tuple[int, ...] = (4,)
    dtype: torch.dtype = torch.float64
    seed: int = 0
    step: int = 0
    mean: Tensor = field(init=False)
    logvar: Tensor = field(init=False)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(self.seed)

        def draw(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64).to(self.dtype)

        shape = (self.b, *self.latent_shape)
        spread = torch.linspace(0.1, 1.5, shape[1], dtype=self.dtype).view(-1, *[1] * (len(shape) - 2))
        self.mean = (draw(*shape) * spread).requires_grad_()
        self.logvar = (0.5 * draw(*shape) - spread).requires_grad_()
        self.noise = draw(*shape)
        self.distortion = 20 + draw(self.b)

    def inputs(self, rows: slice = slice(None), sum_over_ranks=lambda values: values) -> RateInputs:
        """What a rank gets that holds `rows`; with the averages over all of them."""
        posterior = DiagonalGaussian(self.mean, self.logvar)
        means = torch.stack([self.distortion.mean(), posterior.kl().mean()]).detach()
        share = DiagonalGaussian(self.mean[rows], self.logvar[rows])
        terms = Terms(self.distortion[rows], share.kl())
        z = share.sample(self.noise[rows])
        return RateInputs(self.step, share, z, terms, means, self.b, N_TRAIN, sum_over_ranks)

    def gradients(self, value: Tensor) -> Tensor:
        """Of a scalar, with respect to all means and log-variances: (2, b, *latent)."""
        return torch.stack(torch.autograd.grad(value, [self.mean, self.logvar], retain_graph=True))


def on_two_ranks(term: RateTerm, batch: RateBatch, at: int) -> tuple[Tensor, Tensor, list[float]]:
    """The cost that two ranks with rows [0, at) and [at, b) sum up to, its gradients, and each rank's KL weight."""
    shares = [slice(0, at), slice(at, None)]
    said: list[list[Tensor]] = [[], []]
    for rank, rows in enumerate(shares):  # what each would add to the sums

        def note(values: Tensor, rank: int = rank) -> Tensor:
            said[rank].append(values.clone())
            return values

        copy.deepcopy(term)(batch.inputs(rows, note))
    costs = []
    for rank, rows in enumerate(shares):
        others = iter(said[1 - rank])
        costs.append(copy.deepcopy(term)(batch.inputs(rows, lambda values, others=others: values.add_(next(others)))))
    value = costs[0].value + costs[1].value
    return value, batch.gradients(value), [float(cost.kl_weight) for cost in costs]


@pytest.fixture
def rate_batch() -> type[RateBatch]:
    return RateBatch


@pytest.fixture
def two_ranks():
    return on_two_ranks
