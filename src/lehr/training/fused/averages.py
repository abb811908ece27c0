"""The averages of the weights of many lanes, in tensors that all share, so that they are updated at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lehr.training.ema import EMA


class Averages:
    """What each lane averages is from now on a view of a part of this.

    Args:
        emas: of each lane.
        weights: parameters and buffers of all lanes by name, each (L, *shape).
    """

    def __init__(self, emas: Sequence[EMA], weights: Mapping[str, Tensor]) -> None:
        self._emas = emas
        averages, buffers = _shared([ema.averages for ema in emas]), _shared([ema.buffers for ema in emas])
        self._averages = [(average, weights[name].detach()) for name, average in averages.items()]
        self._buffers = [(copy, weights[name]) for name, copy in buffers.items()]

    @torch.no_grad()
    def update(self, batch: int, seen: Sequence[int], moved: Sequence[bool]) -> None:
        """As `EMA.update`, of each lane that has moved in a step of `batch` images, the last of the `seen` images."""
        shares = []
        for ema, images, has_moved in zip(self._emas, seen, moved, strict=True):
            if has_moved:
                ema.kept = ema.plan.kept(batch, images)
            shares.append(1 - ema.kept if has_moved and ema.kept is not None else 0.0)
        share = torch.tensor(shares, dtype=torch.float64, device=self._averages[0][0].device)
        for average, weights in self._averages:
            average.lerp_(weights.to(average), share.to(average).view(-1, *[1] * (average.ndim - 1)))
        for copy, buffer in self._buffers:
            copy.copy_(buffer)


def _shared(of_lanes: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of each name in one (L, *shape), of which those of the lanes become views."""
    found = {name: torch.stack([own[name] for own in of_lanes]) for name in of_lanes[0]}
    for lane, own in enumerate(of_lanes):
        own.update({name: tensor[lane] for name, tensor in found.items()})
    return found
