"""The aggregate posterior over a data set as a torchmetrics Metric: exact on any number of processes.

metric = AggregatePosteriorMetric.of(model)
for images in batches:
    metric.update(model.encode(images))
statistics = metric.compute()
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from lehr.evaluation.float64 import Float64Metric
from lehr.models.autoencoder import Autoencoder
from lehr.posterior.aggregate import AggregatePosterior, Moments, channel_moments, element_moments, flat_moments
from lehr.posterior.posterior import Posterior

_FIELDS = tuple(field.name for field in fields(Moments))


class AggregatePosteriorMetric(Float64Metric):
    """Mean and covariance of q(z) over all examples of all processes, each counted once.

    States are float64 sums that are merged pairwise (Chan et al. 1983), never averaged, so batches and ranks may
    be of any size. float64 is used on the CPU where the device has none.

    Args:
        latent_shape: (d,) or (zc, zh, zw) of the posteriors to come.
        codebook_size: how many codes there are where they are `Codes`, else 0.
    """

    usage: Tensor

    def __init__(self, latent_shape: tuple[int, ...], codebook_size: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.latent_shape = tuple(latent_shape)
        self._is_map = len(self.latent_shape) > 1
        d = torch.Size(self.latent_shape).numel()
        self._add("latent", Moments.empty(d, full=not self._is_map))
        if self._is_map:
            self._add("channel", Moments.empty(self.latent_shape[0], full=True))
        if codebook_size:
            self.add_state("usage", torch.zeros(codebook_size, dtype=torch.int64), dist_reduce_fx="sum")

    @classmethod
    def of(cls, model: Autoencoder) -> AggregatePosteriorMetric:
        """For the posteriors of `model`."""
        return cls(model.latent_shape, model.codebook_size)

    def _add(self, prefix: str, moments: Moments) -> None:
        for name in _FIELDS:
            self.add_state(f"{prefix}_{name}", getattr(moments, name), dist_reduce_fx=None)

    def _get(self, prefix: str) -> Moments:
        """The moments of this process, or after a synchronisation those of all of them, merged."""
        states = [getattr(self, f"{prefix}_{name}") for name in _FIELDS]
        if states[0].ndim == 0:
            return Moments(*states)
        # synchronised: each state is stacked, one row a process
        merged = Moments(*(state[0] for state in states))
        for rank in range(1, len(states[0])):
            merged = merged.merge(Moments(*(state[rank] for state in states)))
        return merged

    def _set(self, prefix: str, moments: Moments) -> None:
        for name in _FIELDS:
            setattr(self, f"{prefix}_{name}", getattr(moments, name))

    def update(self, posterior: Posterior) -> None:
        """Count a batch of posteriors, (b, *latent_shape), b >= 0."""
        if tuple(posterior.mean.shape[1:]) != self.latent_shape:
            shape = tuple(posterior.mean.shape[1:])
            raise ValueError(f"expected posteriors of shape (b, *{self.latent_shape}), got (b, *{shape})")
        if self._is_map:
            self._merge("latent", element_moments(posterior))
            self._merge("channel", channel_moments(posterior))
        else:
            self._merge("latent", flat_moments(posterior))
        if (usage := posterior.usage) is not None:
            self.usage = self.usage + usage

    def _merge(self, prefix: str, batch: Moments) -> None:
        total = self._get(prefix)
        self._set(prefix, total.merge(batch.to(total.n.device)))

    def compute(self) -> AggregatePosterior:
        """The statistics over everything counted so far.

        Raises:
            ValueError: with fewer than 2 examples.
        """
        channels = self._get("channel") if self._is_map else None
        usage = getattr(self, "usage", None)
        return AggregatePosterior.from_moments(self._get("latent"), self.latent_shape, channels, usage)
