"""What components of one run ask of each other: a class declares its `needs` and what it `provides`.

They are compared before training, and before anything is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lehr.errors import ConfigError


@dataclass(frozen=True)
class Need:
    """Something that one component provides and another one cannot do without.

    Attributes:
        name: what it is.
        problem: what there is to say where nothing provides it, to stand after the name of what needs it.
        exceptions: values of the component's own arguments with any of which it does without; or does not provide it.
    """

    name: str
    problem: str
    exceptions: tuple[tuple[str, Any], ...] = ()

    def unless(self, **values: Any) -> Need:
        """The same, but for components that have one of these values."""
        return replace(self, exceptions=(*self.exceptions, *values.items()))

    def applies(self, values: Mapping[str, Any]) -> bool:
        """Whether a component with these arguments has the need."""
        return all(values.get(name) != value for name, value in self.exceptions)


STANDARD_NORMAL_PRIOR = Need("standard_normal_prior", "is only for the prior N(0, I); use prior=standard_normal")
RATE = Need(
    "rate", "needs a rate by itself, which this objective has not; use kl=anneal, kl=constant or objective=elbo"
)
DENSITY = Need("density", "needs a posterior with a density, which this model has not")
WHOLE_BATCH = Need("whole_batch", "needs the whole batch in one process; say trainer.devices=1")
TWO_EXAMPLES = Need(
    "two_examples", "compares the examples of a batch, and of one alone it says nothing; say data.batch_size=2 or more"
)


def samples_problem(samples: int) -> str:
    """What there is to say where terms of the loss stand beside an objective with several samples of z."""
    return (
        f"terms: are of one reconstruction of each image, and objective.samples={samples}; say objective=elbo "
        "objective.samples=1"
    )


def require_rate(rate_term: Any, objective: Any) -> None:
    """Check that the objective has a rate by itself if the rate term needs one, in what is put together by hand.

    Raises:
        ConfigError: if it has not.
    """
    if RATE in rate_term.needs and RATE not in objective.provides:
        raise ConfigError(f"{type(rate_term).__name__} with {type(objective).__name__}: {RATE.problem}")


def require_two_examples(rate_term: Any, batch_size: int, n_train: int) -> None:
    """Check that batches have more than one example if the rate term compares them, once the data are known.

    Raises:
        ConfigError: if none of them has.
    """
    if TWO_EXAMPLES in rate_term.needs and min(batch_size, n_train) < 2:
        what = f"data.batch_size={batch_size} with {n_train} training images" if batch_size > 1 else "data.batch_size=1"
        raise ConfigError(f"{type(rate_term).__name__} with {what}: {TWO_EXAMPLES.problem}")
