"""What goes into a step that is taken for many lanes at once, and what comes out of it.

Shapes: L lanes, k terms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lehr.objective.step import AUTOENCODER, StepResult, Term


@dataclass(frozen=True)
class Stacked:
    """Tensors of all lanes, or one that they share.

    Attributes:
        tensor: (L, ...), or (...) where `shared`.
        shared: whether every lane has the same.
    """

    tensor: Tensor
    shared: bool

    @classmethod
    def of(cls, keys: Sequence[Any], make: Callable[[int], Tensor]) -> Stacked:
        """What `make` gives for each lane; it is asked once for lanes of one key, which have the same."""
        made: dict[Any, Tensor] = {}
        for lane, key in enumerate(keys):
            if key not in made:
                made[key] = make(lane)
        if len(made) == 1:
            return cls(next(iter(made.values())), shared=True)
        return cls(torch.stack([made[key] for key in keys]), shared=False)

    @property
    def dim(self) -> int | None:
        """As `vmap` wants it."""
        return None if self.shared else 0


@dataclass(frozen=True)
class Facts:
    """What a step is; as of `StepInputs`, and the same for all lanes but for `steps`.

    Attributes:
        steps: the optimiser step of each lane.
    """

    steps: Sequence[int]
    total: int
    n_train: int
    is_logged: bool


@dataclass(frozen=True)
class Diagnosed:
    """What is left of a posterior once it has been looked at."""

    found: Mapping[str, Tensor]
    usage: None = None  # of codes, which lanes have none of

    def diagnostics(self) -> Mapping[str, Tensor]:
        """As those of `Posterior`."""
        return self.found


@dataclass(frozen=True)
class Taken:
    """A step that was taken for all lanes.

    Attributes:
        terms: of the losses, with the weights that are the same for all.
        finite: of each lane, whether its terms are.
        losses: (L,)
        values: (L, k) of each of the `terms`.
        weights: (L,) of each term that has another in each lane.
        rate: `kl_weight` (L,), where there is a rate.
        diagnosed: (L,) of each diagnostic of the posteriors, where the step is logged.
    """

    terms: Mapping[str, Term]
    finite: Sequence[bool]
    losses: Tensor
    values: Tensor
    weights: Mapping[str, Tensor]
    rate: Mapping[str, Tensor]
    diagnosed: Mapping[str, Tensor]

    def of(self, lane: int) -> StepResult:
        """What the step was for a lane, without gradients."""
        terms = {
            name: replace(term, weight=float(self.weights[name][lane])) if name in self.weights else term
            for name, term in self.terms.items()
        }
        posterior: Any = Diagnosed({name: value[lane].detach() for name, value in self.diagnosed.items()})
        weight = float(self.rate["kl_weight"][lane]) if self.rate else None
        return StepResult({AUTOENCODER: self.losses[lane]}, terms, self.values[lane], weight, posterior)
