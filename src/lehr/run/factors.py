"""What a diffusion model scales latents by: it sees (z - shift_factor) * scaling_factor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeGuard

from lehr.posterior.aggregate import AggregatePosterior

Convention = tuple[tuple[float, ...], tuple[float, ...]]
"""(scales, shifts), one of each or one for each channel: a diffusion model sees (z - shift) * scale."""


@dataclass(frozen=True)
class Factors:
    """By diffusers' names.

    Attributes:
        scaling_factor: 1 over the standard deviation of q(z), of all latents together.
        shift_factor: the mean of q(z).
        latents_mean: of each channel, () where it is not known.
        latents_std: of each channel, () where it is not known.
    """

    scaling_factor: float
    shift_factor: float = 0.0
    latents_mean: tuple[float, ...] = ()
    latents_std: tuple[float, ...] = ()

    @classmethod
    def measured(cls, statistics: AggregatePosterior) -> Self | None:
        """Those of an aggregate posterior; None where all latents are the same number."""
        if not math.isfinite(statistics.scaling_factor):
            return None
        channels = statistics.channels or statistics
        mean, std = channels.mean.tolist(), channels.var.sqrt().tolist()
        return cls(statistics.scaling_factor, statistics.shift_factor, tuple(mean), tuple(std))

    @classmethod
    def said_by(cls, config: Mapping[str, Any]) -> Self | None:
        """Those in a config.json of diffusers; None where there are none."""
        scale, shift = config.get("scaling_factor"), config.get("shift_factor")
        if not _is_number(scale):
            return None
        mean, std = (_numbers(config.get(name)) for name in ("latents_mean", "latents_std"))
        return cls(float(scale), float(shift) if _is_number(shift) else 0.0, mean, std)

    def convention(self, is_published: bool) -> Convention:
        """By what a pipeline scales latents.

        Args:
            is_published: whether a config.json says so. Where `latents_mean` and `latents_std` are both in it,
                pipelines such as SDXL's see (z - latents_mean) / latents_std * scaling_factor, and no shift_factor.
                What was measured says the same twice, by the two factors and by channel, and the two are enough; so
                does the config.json of an exported run.
        """
        by_channel = is_published and self.latents_mean and len(self.latents_mean) == len(self.latents_std)
        if not by_channel or 0 in self.latents_std or self._says_it_twice():
            return (self.scaling_factor,), (self.shift_factor,)
        return tuple(self.scaling_factor / std for std in self.latents_std), self.latents_mean

    def _says_it_twice(self) -> bool:
        """Whether mean and standard deviation of all channels together are what the two factors say, to a hundredth."""
        n = len(self.latents_mean)
        mean = sum(self.latents_mean) / n
        squares = (s**2 + (m - mean) ** 2 for s, m in zip(self.latents_std, self.latents_mean, strict=True))
        std = math.sqrt(sum(squares) / n)
        return abs(std * self.scaling_factor - 1) < 0.01 and abs(self.shift_factor - mean) < 0.01 * std


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _numbers(value: Any) -> tuple[float, ...]:
    return tuple(map(float, value)) if isinstance(value, list | tuple) and all(map(_is_number, value)) else ()
