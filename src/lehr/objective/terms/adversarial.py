"""An adversarial term: a discriminator learns to tell images from reconstructions, which learn to deceive it.

Shapes: b examples of this rank, c h w image, h' w' patches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Len
from torch import Tensor, nn

from lehr.limits import (
    Apart,
    Fraction,
    FractionOrNone,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    check_order,
    check_word,
)
from lehr.objective.step import StepInputs
from lehr.objective.terms.balance import adaptive_weight, norms_at, through
from lehr.objective.terms.gan_losses import Loss, discriminator_loss, generator_loss, gradient_penalty, lecam, of_each
from lehr.objective.terms.patchgan import Norm, PatchGAN, smallest_side
from lehr.objective.terms.term import LossTerm, PerOfReconstruction, PlayerOptions, TermInputs, TermResult
from lehr.objective.terms.timing import TrainingLength, Unit

PLAYER = "discriminator"
_OF_ONE = "the penalty is of the logits of one image, which others have a part in then; say norm=none or norm=spectral"

_WEIGHED = "gradients weigh the term; say per=example or adaptive=false"


@dataclass(frozen=True)
class _Told:
    """What the discriminator says of a batch while it learns, and what it learns from.

    Attributes:
        real, fake: (b, 1, h', w') logits, without gradients.
        loss: (b,) with gradients to the discriminator's weights alone.
        parts: (b,) of its penalties, by name, without gradients.
    """

    real: Tensor
    fake: Tensor
    loss: Tensor
    parts: Mapping[str, Tensor]


class Adversarial(LossTerm):
    """What a `PatchGAN` thinks of reconstructions (Esser et al. 2021; Rombach et al. 2022).

    In the autoencoder's loss the discriminator's weights are constants, and in the discriminator's the reconstructions
    are. Both are of the networks as they were before the step. The discriminator sees images in [-1, 1].

    Args:
        image_shape: (c, h, w).
        weight, start, unit, per: of the term in the autoencoder's loss, as of `LossTerm`.
        loss: "hinge", "vanilla" or "relativistic": see `gan_losses`.
        adaptive: multiply the weight by |gradient of what compares images| / |gradient of this term| at the decoder's
            last layer, in every batch.
        adaptive_most: the largest that this is. taming-transformers and latent diffusion both have 1e4, but losses of
            the former are means over pixel values: of sums as here that is 1e4 c h w.
        head_start: how long before `start` the discriminator begins to learn, in the same unit.
        r1: penalty on the gradient of the logits of images, r1 / 2 times its squared norm (Mescheder et al. 2018).
        r2: the same of reconstructions.
        lecam: weight of the regulariser of Tseng et al. 2021.
        lecam_decay: share of the running means of the logits that it keeps at each batch.
        layers, channels, norm: of the `PatchGAN`.
        lr, betas, weight_decay, clip: how the discriminator is trained, see `PlayerOptions`.
        options: as of `LossTerm`.

    Raises:
        ValueError: for values that cannot be together.
    """

    unit_of_value = "logits"
    ordered = (
        Apart("adaptive", True, "per", "pixel", _WEIGHED),
        Apart("adaptive", True, "per", "gradient", _WEIGHED),
        Apart("r1", None, "norm", "batch", _OF_ONE),
        Apart("r2", None, "norm", "batch", _OF_ONE),
    )

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        weight: NonNegativeFloat = 0.5,
        start: NonNegativeFloat = 0.3,
        unit: Unit = "fraction",
        per: PerOfReconstruction = "example",
        loss: Loss = "hinge",
        adaptive: bool = True,
        adaptive_most: PositiveFloat = 1e4,
        head_start: NonNegativeFloat = 0,
        r1: NonNegativeFloat = 0.0,
        r2: NonNegativeFloat = 0.0,
        lecam: NonNegativeFloat = 0.0,
        lecam_decay: Fraction = 0.999,
        layers: PositiveInt = 3,
        channels: PositiveInt = 64,
        norm: Norm = "batch",
        lr: PositiveFloat | None = None,
        betas: Annotated[Sequence[FractionOrNone], Len(2, 2)] = (0.5, 0.9),
        weight_decay: NonNegativeFloat = 0.0,
        clip: PositiveFloat | None = None,
        **options: Any,
    ) -> None:
        super().__init__(weight=weight, start=start, unit=unit, **options)
        self.per = per
        check_word("loss", loss, Loss)
        check_order(self.ordered, "terms.adversarial", adaptive=adaptive, per=per, r1=r1, r2=r2, norm=norm)
        self.loss: Loss = loss
        self.adaptive, self.adaptive_most, self.head_start = adaptive, adaptive_most, head_start
        self.r1, self.r2, self.lecam, self.lecam_decay = r1, r2, lecam, lecam_decay
        self._options = PlayerOptions(lr, (betas[0], betas[1]), weight_decay, clip)
        self.discriminator = PatchGAN(image_shape, layers, channels, norm)
        self.smallest_side = smallest_side(layers)
        self.learns_from = 0.0
        """The optimiser step from which on the discriminator learns."""
        if lecam:
            self.register_buffer("mean_logits", torch.zeros(2))  # of images and of reconstructions
            self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    @property
    def players(self) -> Mapping[str, nn.Module]:
        return {PLAYER: self.discriminator}

    @property
    def player_options(self) -> Mapping[str, PlayerOptions]:
        return {PLAYER: self._options}

    @property
    def is_balanced(self) -> bool:
        return self.adaptive

    def begin(self, length: TrainingLength, name: str) -> None:
        super().begin(length, name)
        self.learns_from = length.in_steps(max(self.start - self.head_start, 0), self.unit)

    def compile_networks(self) -> None:
        if not (self.r1 or self.r2):  # compiled code has no gradients of gradients
            super().compile_networks()

    def is_active(self, step: int) -> bool:
        return self.weight > 0 and step >= self.learns_from

    def forward(self, inputs: TermInputs) -> TermResult:
        dtype = next(self.discriminator.parameters()).dtype
        real, fake = (2 * images.to(dtype) - 1 for images in (inputs.images, inputs.reconstruction))
        told = self._told(real, fake.detach(), inputs.step)
        shown = {**told.parts, **self._shown(told)}
        losses = {PLAYER: told.loss}
        units = dict.fromkeys(shown, "logits")
        if not self.onset(inputs.step.step):  # it learns, and does not count yet
            value = generator_loss(self.loss, told.real, told.fake)
            return TermResult(value, losses=losses, shown=shown, units=units)
        value = generator_loss(self.loss, told.real, self._constant()(fake))
        if not self.adaptive:
            return TermResult(value, losses=losses, shown=shown, units=units)
        layer = inputs.parts.model.last_layer
        assert layer is not None
        value = through(inputs.reconstruction, value)
        of_fidelity, own = norms_at([inputs.fidelity, value.sum()], layer, inputs.step)
        ratio = adaptive_weight(of_fidelity, own, self.adaptive_most)
        shown["adaptive_weight"] = ratio.expand(len(value))
        return TermResult(value, ratio, losses, shown, units)

    def _told(self, real: Tensor, fake: Tensor, step: StepInputs) -> _Told:
        """What the discriminator learns from, of images (b, c, h, w) in [-1, 1]; updates what it remembers."""
        with _float32(real) if self.r1 or self.r2 else nullcontext():
            real, fake = real.requires_grad_(self.r1 > 0), fake.requires_grad_(self.r2 > 0)
            logits, of_fake = self.discriminator(real), self.discriminator(fake)
            loss = discriminator_loss(self.loss, logits, of_fake)
            parts = {}
            for name, gamma, given, images in (("r1", self.r1, logits, real), ("r2", self.r2, of_fake, fake)):
                if gamma:
                    penalty = gradient_penalty(given, images)
                    loss = loss + 0.5 * gamma * penalty
                    parts[f"{PLAYER}_{name}"] = penalty.detach()
        if self.lecam:
            self._remember(logits, of_fake, step)
            regulariser = lecam(logits, of_fake, *self.mean_logits.unbind())
            loss = loss + self.lecam * regulariser
            parts[f"{PLAYER}_lecam"] = regulariser.detach()
        return _Told(logits.detach(), of_fake.detach(), loss, parts)

    @torch.no_grad()
    def _remember(self, real: Tensor, fake: Tensor, step: StepInputs) -> None:
        """Take the logits of all ranks into the running means, which begin at those of the first batch."""
        means = step.mean(torch.stack([of_each(real).sum(), of_each(fake).sum()])).to(self.mean_logits)
        kept = torch.where(self.batches > 0, self.lecam_decay, 0.0)
        self.mean_logits.lerp_(means, 1 - kept.to(means))
        self.batches.add_(1)

    def _constant(self) -> Any:
        """The discriminator as a function of images, with weights that have no gradient and buffers that stay."""
        weights = {name: weight.detach() for name, weight in self.discriminator.named_parameters()}
        buffers = {name: buffer.clone() for name, buffer in self.discriminator.named_buffers()}
        return lambda images: torch.func.functional_call(self.discriminator, {**weights, **buffers}, (images,))

    def _shown(self, told: _Told) -> dict[str, Tensor]:
        """How right the discriminator is: of pairs where it compares them, else of images and of reconstructions."""
        found = {f"{PLAYER}_logit_real": of_each(told.real), f"{PLAYER}_logit_fake": of_each(told.fake)}
        if self.loss == "relativistic":
            return {**found, f"{PLAYER}_accuracy": of_each((told.real > told.fake).float())}
        right = {"real": told.real > 0, "fake": told.fake < 0}
        return {**found, **{f"{PLAYER}_accuracy_{kind}": of_each(is_right.float()) for kind, is_right in right.items()}}


def _float32(like: Tensor) -> AbstractContextManager[Any]:
    """Within it nothing is computed in half precision that is not held in it."""
    return torch.autocast(like.device.type, enabled=False)
