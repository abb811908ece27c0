"""A network in which what looks at the whole map at once is held at what it did before.

Group norms take their statistics over the whole map, and attention looks at all of it, so a change of one place changes
every other a little. Held still, the network is as it was at that point, and what a change still reaches is local.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_NORMS = (nn.GroupNorm, nn.InstanceNorm2d)
_ATTENTION = ("Attention", "AttnBlock")  # of diffusers, of latent diffusion: with the norm before and the sum after


def norms_of(model: nn.Module) -> list[nn.Module]:
    """Its norms over the whole map, but for those of attention."""
    inside = {id(part) for attention in attentions_of(model) for part in attention.modules()}
    return [part for part in model.modules() if isinstance(part, _NORMS) and id(part) not in inside]


def attentions_of(model: nn.Module) -> list[nn.Module]:
    """Its attention, each block with the norm before it."""
    return [part for part in model.modules() if type(part).__name__ in _ATTENTION]


class Recorder:
    """Remembers what `parts` did in a pass, and holds them there in later ones.

    Args:
        parts: of a model; norms are held at their mean and variance, others at what they add to their input.
    """

    def __init__(self, parts: list[nn.Module]) -> None:
        self._parts = parts
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Passes within the block are remembered, the last of each part."""
        with self._hooked(self._record):
            yield

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within the block each part does what it did."""
        with self._hooked(self._hold):
            yield

    @contextmanager
    def _hooked(self, hook: Any) -> Iterator[None]:
        handles = [part.register_forward_hook(hook) for part in self._parts]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _record(self, part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        x = inputs[0]
        if isinstance(part, _NORMS):
            self._kept[id(part)] = _statistics(part, x)
        else:
            self._kept[id(part)] = (output - x, x)

    def _hold(self, part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        x, kept = inputs[0], self._kept[id(part)]
        if not isinstance(part, _NORMS):
            return x + kept[0]
        mean, std = kept
        grouped = (_grouped(part, x) - mean) / std
        y = grouped.view_as(x)
        if part.weight is None:
            return y
        return y * part.weight.view(-1, 1, 1) + part.bias.view(-1, 1, 1)


def _groups(norm: nn.Module, x: Tensor) -> int:
    return norm.num_groups if isinstance(norm, nn.GroupNorm) else x.shape[1]


def _grouped(norm: nn.Module, x: Tensor) -> Tensor:
    """(b, c, h, w) as (b, groups, rest)."""
    return x.reshape(len(x), _groups(norm, x), -1)


def _statistics(norm: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each group, (b, groups, 1) each."""
    grouped = _grouped(norm, x)
    return grouped.mean(-1, keepdim=True), (grouped.var(-1, keepdim=True, correction=0) + norm.eps).sqrt()


def receptive(before: Tensor, after: Tensor) -> Tensor:
    """Squared change of each pixel, summed over channels: (h, w), float64, of (1, c, h, w)."""
    return torch.square(after.double() - before.double()).sum(1)[0]
