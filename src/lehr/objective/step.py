"""One step of training as an objective sees it: what goes in, and the losses and named terms that come out.

Shapes: b examples of this rank, c h w image, k terms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from lehr.objective.likelihood import Likelihood
from lehr.objective.prior import Prior
from lehr.objective.rate import RateTerm, Values
from lehr.posterior.posterior import Posterior

AUTOENCODER = "autoencoder"
"""The player that every objective has: encoder and decoder, the likelihood's scale, and what the prior learns."""


class EncoderDecoder(Protocol):
    """What an objective needs of a model."""

    def encode(self, x: Tensor) -> Posterior: ...

    def decode(self, z: Tensor) -> Tensor: ...

    @property
    def last_layer(self) -> Tensor | None: ...


class Parts(Protocol):
    """What an objective is computed with; `lehr.models.Components` are such."""

    @property
    def model(self) -> EncoderDecoder: ...

    @property
    def likelihood(self) -> Likelihood: ...

    @property
    def prior(self) -> Prior: ...

    @property
    def rate_term(self) -> RateTerm: ...


def _nothing_drawn(stream: str, shape: tuple[int, ...]) -> Tensor:
    raise RuntimeError(f"nothing was given to draw {stream} with")


@dataclass(frozen=True)
class StepInputs:
    """What a step is a function of, besides the parts and their weights.

    Attributes:
        images: (b, c, h, w), this rank's rows of the batch.
        noise: shape for one example -> standard normal noise (b, *shape) for these rows.
        values: the numbers of the rate term that are in effect, by name: one program serves runs with other numbers.
        step: the optimiser step, 0 is the first.
        total: examples in the batches of all ranks together.
        n_train: examples in the training set.
        world: the number of ranks.
        sum_over_ranks: adds up a tensor over all ranks, in place and without gradients.
        uniform: name of a stream, shape -> numbers on [0, 1), a function of these and of the batch, the same on all
            ranks; on the CPU, so that what is chosen by them waits for no device.
        is_logged: whether the step is one of those that are logged, and what is costly to know is worth it.
        of_step: what a function of the rate term's seed and of the step gives at this one. Where one program serves
            many runs `step` says nothing, and each run has its own; None elsewhere.
    """

    images: Tensor
    noise: Callable[[tuple[int, ...]], Tensor]
    values: Values
    step: int
    total: int
    n_train: int
    world: int
    sum_over_ranks: Callable[[Tensor], Tensor]
    uniform: Callable[[str, tuple[int, ...]], Tensor] = _nothing_drawn
    is_logged: bool = False
    of_step: Callable[[Callable[[int, int], Tensor]], Tensor] | None = None

    def mean(self, sums: Tensor) -> Tensor:
        """Averages over the examples of all ranks, of sums over those of this one; without gradients."""
        if self.world == 1:
            return sums.detach() * (1 / self.total)
        # as DDP averages gradients: each rank's sum has the weight that makes up for its share of the batch
        return self.sum_over_ranks(sums.detach() * (self.world / self.total)) / self.world


@dataclass(frozen=True)
class Term:
    """A named part of a player's loss, but for its value.

    Attributes:
        weight: what the value is multiplied by in the loss, in effect; None for what is not part of it and is shown
            beside it.
        unit: of the value.
        player: whose loss.
    """

    weight: float | Tensor | None = 1.0
    unit: str = "nats per example"
    player: str = AUTOENCODER


@dataclass(frozen=True)
class StepResult:
    """The losses of a step, and what they are made of.

    Attributes:
        losses: of each player, a scalar with gradients: the sum over this rank's examples.
        terms: what the losses are made of, by name.
        values: (k,) of each of the `terms`, averaged over the examples of all ranks, without gradients.
        kl_weight: w as in distortion + w * rate, in effect; None where there is no rate.
        posterior: q(z|x) of this rank's rows.
    """

    losses: Mapping[str, Tensor]
    terms: Mapping[str, Term]
    values: Tensor
    kl_weight: float | Tensor | None
    posterior: Posterior

    @property
    def total(self) -> Tensor:
        """The losses of all players, added up, to go backward at once."""
        first, *others = self.losses.values()
        return sum(others, first)

    def numbers(self) -> dict[str, float]:
        """The value of each term, by name."""
        return dict(zip(self.terms, self.values.tolist(), strict=True))

    def objective(self, player: str = AUTOENCODER) -> float:
        """What the player minimises, averaged over the examples of all ranks: the sum of its weighted terms."""
        numbers = self.numbers()
        return sum(
            float(term.weight) * numbers[name]
            for name, term in self.terms.items()
            if term.player == player and term.weight is not None
        )
