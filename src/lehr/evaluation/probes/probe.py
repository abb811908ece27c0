"""What a probe is, what it looks at, and what it has found.

Shapes: n images, b of them in a batch, c h w image, zc zh zw latent map.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lehr.evaluation.compatibility import Coder
from lehr.evaluation.subject import ShowProgress, silent
from lehr.models.autoencoder import Autoencoder
from lehr.models.first_stage.base import FirstStage
from lehr.objective.likelihood import Likelihood
from lehr.posterior.posterior import Posterior

LEVEL = 1 / 255
"""A grey level of 8 bits, in pixel values: what is less than half of it is rounded away in a file."""


@dataclass(frozen=True)
class ProbeInputs:
    """What probes look at.

    Attributes:
        model: in evaluation mode.
        likelihood: what the decoder's output means.
        images: batches (b, c, h, w) in [0, 1], on the CPU; those of a batch are of one size.
        device: where the model is.
        sizes: shorter sides in pixels, at which a probe that looks at several sizes does so; empty for that of the
            images alone.
        seed: of all noise.
        show: makes progress lines.
        other: another autoencoder, to compare latents with.
    """

    model: Autoencoder
    likelihood: Likelihood
    images: tuple[Tensor, ...]
    device: torch.device
    sizes: tuple[int, ...] = ()
    seed: int = 0
    show: ShowProgress = silent
    other: Coder | None = None

    def __len__(self) -> int:
        return sum(len(batch) for batch in self.images)

    @property
    def factor(self) -> int:
        """Pixels along the side of a latent's cell; only of models with latent maps."""
        if isinstance(self.model, FirstStage):  # of which images of the size of `image_shape` may be padded or cropped
            return self.model.factor
        return cell_side(self.model.image_shape[1:], self.model.latent_shape[1:])

    @cached_property
    def posteriors(self) -> tuple[Posterior, ...]:
        """q(z|x) of each batch, on the CPU."""
        return tuple(self.encode(batch) for batch in self.images)

    @cached_property
    def reconstructions(self) -> tuple[Tensor, ...]:
        """E[x|z] at the mean of q(z|x), as large as `images`, on the CPU, not clamped."""
        return tuple(self.decode(posterior.mean) for posterior in self.posteriors)

    def encode(self, x: Tensor) -> Posterior:
        """q(z|x) for images (b, c, h, w) on any device, on the CPU."""
        return self.model.encode(x.to(self.device)).to("cpu")

    def decode(self, z: Tensor) -> Tensor:
        """E[x|z] for latents (b, *latent) on any device, on the CPU, not clamped."""
        return self.likelihood.mean(self.model.decode(z.to(self.device))).cpu()


def cell_side(sides: Sequence[int], cells: Sequence[int]) -> int:
    """Pixels along the side of a cell, of images with these sides and maps with so many cells along them.

    Halving rounds up, so that a map of 4 cells may be of 28 pixels as of 32: where a power of two gives these cells, it
    is taken for the one.
    """
    ratio = max(1.0, *(side / n for side, n in zip(sides, cells, strict=True)))
    power = 2 ** math.ceil(math.log2(ratio))
    halved = all(-(-side // power) == n for side, n in zip(sides, cells, strict=True))
    return power if halved else round(ratio)


@dataclass(frozen=True)
class Probed:
    """What a probe has found.

    Attributes:
        values: name -> number, or a list of numbers; the first is the one that people look at. A number that is not
            finite becomes None in files.
        sentence: what was found, for people.
        fault: whether it is a fault.
        picture: (c, h, w) uint8, c 1 or 3; None where there is nothing to see.
    """

    values: dict[str, Any]
    sentence: str
    fault: bool = False
    picture: Tensor | None = None

    def plain(self) -> dict[str, Any]:
        """For JSON: the values, `sentence` and `fault`."""
        return {**self.values, "sentence": self.sentence, "fault": self.fault}


def _lacks_nothing(inputs: ProbeInputs) -> str | None:
    """Of a probe of every model."""
    return None


@dataclass(frozen=True)
class Probe:
    """A known fault, and how it is looked for.

    Attributes:
        name: in files, `probe/NAME/VALUE`.
        measure: looks for it; called without gradients, of a model in evaluation mode.
        lacks: why these inputs do not allow it, in a line; None where they do.
        cheap: whether it costs no more than a few passes of the images, so that `lehr evaluate` does it too.
    """

    name: str
    measure: Callable[[ProbeInputs], Probed]
    lacks: Callable[[ProbeInputs], str | None] = _lacks_nothing
    cheap: bool = False


def lacks_map(inputs: ProbeInputs) -> str | None:
    """Of a probe that needs positions."""
    if len(inputs.model.latent_shape) == 3:
        return None
    return "latents are vectors, without positions"
