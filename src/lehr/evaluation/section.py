"""What a section of an evaluation is, and what it measures from.

Nothing is computed before a section asks for it, and nothing twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lehr.errors import LehrError
from lehr.evaluation.importance import ImportanceWeighted, importance_weighted
from lehr.evaluation.subject import Encoded, ShowProgress, Subject, encode
from lehr.posterior.density import LatentDensity

Table = dict[str, Any]
"""section/name -> number, text, list or None; within a section name -> the same."""

_MOST_ENCODED = 2**26  # latents of the training set that are kept at once


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        split: "test" or "val".
        full: generation and representation too.
        examples: at most so many of the split, None for all.
        iwae_samples: K of the importance-weighted bound.
        samplers: names of those whose samples are compared.
        features: of generation: auto, inception, classifier or pca.
        cache: where classifiers are kept.
        seed: of all noise.
    """

    split: str
    full: bool
    examples: int | None
    iwae_samples: int
    samplers: tuple[str, ...] = ()
    features: str = "auto"
    cache: Path | None = None
    seed: int = 0


FindSampler = Callable[[str, Encoded, ShowProgress], LatentDensity]
"""(name, the training set, progress) -> density."""


@dataclass(frozen=True)
class Inputs:
    """What sections measure from.

    Attributes:
        subject: the model and its data.
        plan: what to measure.
        sampler: gives the density of each name in `plan.samplers`, fitting it to the training set where need be.
        show: makes progress lines.
    """

    subject: Subject
    plan: Plan
    sampler: FindSampler | None
    show: ShowProgress

    @cached_property
    def encoded(self) -> Encoded:
        """The examples that are evaluated."""
        return encode(self.subject, self.plan.split, self.plan.examples, self.show, self.plan.seed)

    @cached_property
    def training(self) -> Encoded:
        """The training set, or as much of it as can be kept where latents are large."""
        most = max(2, _MOST_ENCODED // math.prod(self.subject.model.latent_shape))
        return encode(self.subject, "train", most, self.show, self.plan.seed)

    @cached_property
    def weighted(self) -> ImportanceWeighted:
        """The importance weights of the examples that are evaluated."""
        subject, plan = self.subject, self.plan
        with self.show("importance weights", len(self.encoded)) as line:
            parts = [
                importance_weighted(
                    batch.images,
                    subject.model,
                    subject.likelihood,
                    subject.prior,
                    plan.iwae_samples,
                    seed=plan.seed,
                    start=batch.start,
                    advance=line.advance,
                )
                for batch in subject.batches(plan.split, plan.examples)
            ]
        return ImportanceWeighted.cat(parts)

    @cached_property
    def densities(self) -> tuple[dict[str, LatentDensity], dict[str, str]]:
        """The density of each sampler; and of those that these latents cannot have, why."""
        densities: dict[str, LatentDensity] = {}
        left_out: dict[str, str] = {}
        for name in self.plan.samplers if self.sampler else ():
            try:
                densities[name] = self.sampler(name, self.training, self.show)  # type: ignore[misc]
            except (LehrError, ValueError) as error:
                left_out[name] = str(error)
        return densities, left_out


def _lacks_nothing(inputs: Inputs) -> str | None:
    """Of a section that every model and every data set can have."""
    return None


def lacks_density(inputs: Inputs) -> str | None:
    """Why there is no log q(z|x), and so no rate, if there is none."""
    if inputs.encoded.posterior.has_density:
        return None
    kind = type(inputs.encoded.posterior).__name__
    return f"posteriors of this kind ({kind}) have no density: no rate, and no bound on log p(x)"


def _accepts_all(subject: Subject, plan: Plan) -> None:
    """Of a section that takes any plan."""


@dataclass(frozen=True)
class Section:
    """A part of an evaluation.

    Attributes:
        name: before the / of what it measures.
        measure: measures it.
        full: whether it is of full evaluations alone.
        lacks: why it cannot be measured, in a line that then stands as its `note`; None if it can.
        check: raises what would otherwise be found after everything before has been measured.
    """

    name: str
    measure: Callable[[Inputs], Table]
    full: bool = False
    lacks: Callable[[Inputs], str | None] = _lacks_nothing
    check: Callable[[Subject, Plan], None] = _accepts_all

    def table(self, inputs: Inputs) -> Table:
        """What it measures, by its names in the whole."""
        reason = self.lacks(inputs)
        values = self.measure(inputs) if reason is None else {"note": reason}
        return {f"{self.name}/{key}": value for key, value in values.items()}
