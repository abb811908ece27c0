"""What a term of the loss is: a value of each example, a weight that may begin later, perhaps networks of its own.

Shapes: b examples of this rank, c h w image, `*latent` (d,) or (zc, zh, zw).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

from torch import Tensor, nn

from lehr.limits import NonNegativeFloat, PositiveFloat
from lehr.needs import Need
from lehr.objective.keep_float32 import but_to_half
from lehr.objective.step import Parts, StepInputs
from lehr.objective.terms.timing import Onset, TrainingLength, Unit
from lehr.posterior.posterior import Posterior

Per = Literal["example", "pixel"]
PerOfReconstruction = Literal["example", "pixel", "gradient"]
"""What the weight of a term may be of whose gradient reaches the model through the reconstruction alone."""


def _nothing_to_compare_by(images: Tensor, parameters: Tensor) -> Tensor:
    raise RuntimeError("nothing was given to compare images by")


@dataclass(frozen=True)
class TermInputs:
    """What a term may look at in one batch of training.

    Attributes:
        step: the batch, its noise, and how to add up over ranks.
        parts: model, likelihood, prior and rate term.
        posterior: q(z|x) of this rank's rows.
        z: (b, *latent), the sample of each that was decoded.
        reconstruction: (b, c, h, w) E[x|z] with gradients, at least float32; not clamped to [0, 1].
        fidelity: scalar with gradients: the sum over this rank's examples of distortion and of those terms before this
            one that compare images, as they are weighted.
        compare: images (b, c, h', w') of whatever size and likelihood parameters for them -> (b,) the same of these,
            in nats, but for terms that they are too small for.
    """

    step: StepInputs
    parts: Parts
    posterior: Posterior
    z: Tensor
    reconstruction: Tensor
    fidelity: Tensor
    compare: Callable[[Tensor, Tensor], Tensor] = _nothing_to_compare_by

    @property
    def images(self) -> Tensor:
        """(b, c, h, w) what was encoded, in [0, 1]."""
        return self.step.images


@dataclass(frozen=True)
class TermResult:
    """What a term comes to in one batch.

    Attributes:
        value: (b,) of each example, with gradients, before its weight.
        factor: what the weight is multiplied by in this batch, the same on all ranks; a tensor has no gradient.
        losses: (b,) of each player that the term brings, with gradients to its parameters alone.
        shown: (b,) numbers that are logged beside it, by name, without gradients; their mean is shown.
        units: of `shown`, by name; "" where it is not there.
    """

    value: Tensor
    factor: Tensor | float = 1.0
    losses: Mapping[str, Tensor] = field(default_factory=dict)
    shown: Mapping[str, Tensor] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PlayerOptions:
    """How a player that a term brings is trained, by Adam (with a weight decay AdamW).

    Attributes:
        lr: learning rate; None for the autoencoder's.
        betas: decay of the running means of the gradient and of its square.
        weight_decay: apart from the gradient.
        clip: largest norm of the gradient; None for no clipping.
    """

    lr: PositiveFloat | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: NonNegativeFloat = 0.0
    clip: PositiveFloat | None = None


class LossTerm(nn.Module):
    """The `terms` group. A subclass computes its value in `forward`, and may bring players.

    Networks that are not trained are given to `keep`: they follow the module from device to device, and are neither
    parameters nor part of checkpoints, nor ever in half precision. Nor are the buffers of the term itself.

    Args:
        weight: that the value has in the loss.
        start: when the term begins; it is not computed before.
        warmup: how long its weight then ramps up from 0.
        unit: of both: image (seen by then), step, epoch or fraction (of the whole training).
        per: what the weight is of: "example", of the value as it is, in a loss of nats per example; "pixel", of the
            value at each pixel value of the image, beside an error of pixels in [-1, 1]: the weight in nats is then
            weight * c h w * `Likelihood.error_weight()`, as LDM adds LPIPS to the error of every pixel. A class
            of what is seen in the reconstruction alone may take "gradient" too: of the norm of its gradient at the
            reconstructions of a batch, where 1 stands for that of |x - y| at every pixel value, see `of_gradient`.
    """

    needs: ClassVar[tuple[Need, ...]] = ()
    unit_of_value: ClassVar[str] = "of its own, per example"
    compares_images: ClassVar[bool] = False
    """Whether it is part of `fidelity`."""
    least_side: int = 1
    """Of images that it can compare, in pixels."""
    smallest_side: int = 1
    """Of the images of a training, in pixels, where some are smaller than others."""
    trains: ClassVar[str] = "decoder"
    """What of the model it has a gradient for besides: "encoder" where the decoder takes no part, else "decoder"."""

    def __init__(
        self,
        weight: NonNegativeFloat = 1.0,
        start: NonNegativeFloat = 0,
        warmup: NonNegativeFloat = 0,
        unit: Unit = "epoch",
        per: Per = "example",
    ) -> None:
        super().__init__()
        self.weight, self.start, self.warmup, self.unit = weight, start, warmup, unit
        self.per: PerOfReconstruction = per
        self.onset = Onset(weight)
        self._kept: dict[str, nn.Module] = {}

    def forward(self, inputs: TermInputs) -> TermResult | None:
        """The value of this rank's examples. Called once a batch on every rank, from the start on.

        None where the term leaves out this batch, on all ranks: nothing is logged of it then.
        """
        raise NotImplementedError

    @property
    def is_balanced(self) -> bool:
        """Whether its `factor` is computed at the decoder's last layer, `model.last_layer`."""
        return False

    @property
    def players(self) -> Mapping[str, nn.Module]:
        """Networks that are trained on losses of their own, by the player's name."""
        return {}

    @property
    def player_options(self) -> Mapping[str, PlayerOptions]:
        """How each of the `players` is trained."""
        return {}

    def begin(self, length: TrainingLength, name: str) -> None:
        """Called before training.

        Raises:
            ConfigError: if the term would not begin within it.
        """
        self.onset = Onset.within(length, self.weight, self.start, self.warmup, self.unit, name)

    def compile_networks(self) -> None:
        """torch.compile the networks of the players."""
        for network in self.players.values():
            network.compile()

    def is_active(self, step: int) -> bool:
        """Whether the term is computed at this optimiser step."""
        return self.onset(step) > 0

    def keep(self, name: str, network: nn.Module) -> None:
        """Keep a network that is not trained, in evaluation mode, as the attribute `name`."""
        self._kept[name] = network.requires_grad_(False).eval()

    def __getattr__(self, name: str) -> Any:
        kept = self.__dict__.get("_kept", {})
        return kept[name] if name in kept else super().__getattr__(name)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        for network in self._kept.values():
            network._apply(but_to_half(fn))
        for network in self.children() if recurse else ():
            network._apply(fn)
        return super()._apply(but_to_half(fn), recurse=False)  # running means, say
