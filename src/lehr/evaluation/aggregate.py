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
from lehr.posterior.posterior import TALLIES, Posterior

_FIELDS = tuple(field.name for field in fields(Moments))


class AggregatePosteriorMetric(Float64Metric):
    """Mean and covariance of q(z) over all examples of all processes, each counted once.

    States are float64 sums that are merged pairwise (Chan et al. 1983), never averaged, so batches and ranks may
    be of any size. float64 is used on the CPU where the device has none. Latent maps may be of several sizes: then
    there are the statistics per channel, and of all together, but not of each latent.

    Args:
        latent_shape: (d,) or (zc, zh, zw) of the posteriors to come.
        codebook_size: how many codes there are where they are `Codes`, else 0.
        detailed: whether extremes and tallies are wanted as well, which take their time.
    """

    usage: Tensor
    lowest: Tensor
    highest: Tensor
    tallies: Tensor
    other_sizes: Tensor

    def __init__(
        self, latent_shape: tuple[int, ...], codebook_size: int = 0, detailed: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.latent_shape = tuple(latent_shape)
        self._detailed = detailed
        self._is_map = len(self.latent_shape) > 1
        d = torch.Size(self.latent_shape).numel()
        self._add("latent", Moments.empty(d, full=not self._is_map))
        if self._is_map:
            self._add("channel", Moments.empty(self.latent_shape[0], full=True))
            self.add_state("other_sizes", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        if codebook_size:
            self.add_state("usage", torch.zeros(codebook_size, dtype=torch.int64), dist_reduce_fx="sum")
        if detailed:
            infinite = torch.full((d,), torch.inf, dtype=torch.float64)
            self.add_state("lowest", infinite, dist_reduce_fx="min")
            self.add_state("highest", -infinite, dist_reduce_fx="max")
            self.add_state("tallies", torch.zeros(len(TALLIES), dtype=torch.float64), dist_reduce_fx="sum")

    @classmethod
    def of(cls, model: Autoencoder, detailed: bool = False) -> AggregatePosteriorMetric:
        """For the posteriors of `model`."""
        return cls(model.latent_shape, model.codebook_size, detailed)

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
        """Count a batch of posteriors, (b, *latent_shape), b >= 0; latent maps may be of another height and width."""
        shape = posterior.latent_shape
        is_other = self._is_map and len(shape) == 3 and shape[0] == self.latent_shape[0] and shape != self.latent_shape
        if shape != self.latent_shape and not is_other:
            raise ValueError(f"expected posteriors of shape (b, *{self.latent_shape}), got (b, *{shape})")
        if is_other:
            self.other_sizes = self.other_sizes + len(posterior)
        else:
            self._merge("latent", element_moments(posterior) if self._is_map else flat_moments(posterior))
        if self._is_map:
            self._merge("channel", channel_moments(posterior))
        if (usage := posterior.usage) is not None:
            self.usage = self.usage + usage
        if self._detailed:
            self._look_closer(posterior, not is_other)

    def _look_closer(self, posterior: Posterior, at_extremes: bool) -> None:
        found = posterior.tallies()
        if found:
            none = next(iter(found.values())).new_zeros(())
            sums = torch.stack([found.get(name, none) for name in TALLIES])
            self.tallies = self.tallies + sums.to(self.tallies.device)
        if at_extremes and len(posterior):
            least, largest = (part.double().to(self.lowest.device) for part in posterior.mean.flatten(1).aminmax(dim=0))
            self.lowest, self.highest = self.lowest.minimum(least), self.highest.maximum(largest)

    def _merge(self, prefix: str, batch: Moments) -> None:
        total = self._get(prefix)
        self._set(prefix, total.merge(batch.to(total.n.device)))

    def compute(self) -> AggregatePosterior:
        """The statistics over everything counted so far.

        Raises:
            ValueError: with fewer than 2 examples.
        """
        channels, moments = self._get("channel") if self._is_map else None, self._get("latent")
        usage = getattr(self, "usage", None)
        if channels is not None and (others := int(self.other_sizes)):
            found = AggregatePosterior.of_several_sizes(int(moments.n) + others, channels, usage)
        else:
            found = AggregatePosterior.from_moments(moments, self.latent_shape, channels, usage)
            found.extremes = torch.stack([self.lowest, self.highest]) if self._detailed else None
        if self._detailed:
            found.tallies = dict(zip(TALLIES, self.tallies.tolist(), strict=True))
        return found
