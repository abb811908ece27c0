"""Samplers that every run has: its prior, and the normal with the mean and the (co)variance of q(z)."""

from __future__ import annotations

from pathlib import Path

from lehr.errors import CheckpointError
from lehr.posterior.aggregate import AggregatePosterior
from lehr.posterior.density import LatentDensity, Normal
from lehr.samplers.sampler import Sampler


class PriorSampler(Sampler):
    """The prior of the objective, N(0, I) or a learned one."""

    def density(
        self, prior: LatentDensity, aggregate: AggregatePosterior | None, folder: Path, model: str | None = None
    ) -> LatentDensity:
        return prior


class AggregateSampler(Sampler):
    """N(agg_mean, agg_var)."""

    full = False

    def density(
        self, prior: LatentDensity, aggregate: AggregatePosterior | None, folder: Path, model: str | None = None
    ) -> Normal:
        if aggregate is None:
            raise CheckpointError(
                f"{folder.parent}: has no statistics of q(z), which {self.name} needs: "
                "callbacks.aggregate=null left them out, or it was imported without images, and lehr import PLACE "
                "dir=DIR overwrite=true data=images data.path=FOLDER measures them"
            )
        return Normal.of(aggregate, full=self.full)


class AggregateFullSampler(AggregateSampler):
    """The same with the full covariance, which a latent map does not have."""

    full = True
