"""The ELBO over a data set as a torchmetrics Metric: a mean over examples, on any number of processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lehr.evaluation.float64 import Float64Metric
from lehr.objective.elbo import Terms


class ELBOMetric(Float64Metric):
    """Mean rate and distortion in nats per example, each example of each process counted once.

    Of posteriors without a density there is the distortion alone.
    """

    distortion_sum: Tensor
    rate_sum: Tensor
    n: Tensor
    n_rated: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("distortion_sum", "rate_sum"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        for name in ("n", "n_rated"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, terms: Terms | Tensor) -> None:
        """Count the terms of a batch, each (b,), or where there is no rate its distortion (b,)."""
        distortion = terms if isinstance(terms, Tensor) else terms.distortion
        self.distortion_sum = self.distortion_sum + distortion.double().sum()
        self.n = self.n + len(distortion)
        if not isinstance(terms, Tensor):
            self.rate_sum = self.rate_sum + terms.rate.double().sum()
            self.n_rated = self.n_rated + len(distortion)

    def compute(self) -> dict[str, Tensor]:
        """`elbo` (at KL weight 1), `rate` and `distortion`, as far as there are, in float64, in nats per example."""
        distortion, rate = self.distortion_sum / self.n, self.rate_sum / self.n
        if self.n_rated < self.n:
            return {"distortion": distortion}
        return {"elbo": -(distortion + rate), "rate": rate, "distortion": distortion}
