"""Everything `lehr evaluate` measures of a trained model, as one flat table: section/name -> value.

Likelihood, collapse and reconstruction take one pass over the split; generation and representation, in a full
evaluation, also the training set, and known faults that a few images show. docs/metrics.md says of each number what it
is and when not to trust it.
"""

from __future__ import annotations

import math
from typing import Any

from lehr.errors import DataError
from lehr.evaluation.section import FindSampler, Inputs, Plan, Table
from lehr.evaluation.sections.collapse import COLLAPSE
from lehr.evaluation.sections.generation import GENERATION
from lehr.evaluation.sections.likelihood import LIKELIHOOD
from lehr.evaluation.sections.probes import PROBE
from lehr.evaluation.sections.reconstruction import RECONSTRUCTION
from lehr.evaluation.sections.representation import REPRESENTATION
from lehr.evaluation.subject import ShowProgress, Subject, silent

SECTIONS = (LIKELIHOOD, COLLAPSE, RECONSTRUCTION, GENERATION, REPRESENTATION, PROBE)
"""In the order in which they are measured, and stand in the table."""


def evaluate(
    subject: Subject,
    plan: Plan,
    sampler: FindSampler | None = None,
    show: ShowProgress = silent,
) -> Table:
    """Measure everything that `plan` asks for.

    Args:
        subject: the model and its data.
        plan: what to measure.
        sampler: gives the density of each name in `plan.samplers`, fitting it to the training set where need be.
        show: makes progress lines.

    A number that is not finite, as the PSNR of images that are met exactly, becomes None, and `not_finite` lists it.

    Raises:
        NonFinite: if the model itself gives latents or a likelihood that are not.
        DataError: if the data set has no such split, or too few examples in it, or not what the plan needs.
        ConfigError: if the plan asks for what is not installed.
    """
    n = len(subject.data.images(plan.split))
    if n < 2:
        raise DataError(f"{subject.data.name}: the {plan.split} split has {n} example, an evaluation needs 2 or more")
    sections = [section for section in SECTIONS if plan.full or not section.full]
    for section in sections:
        section.check(subject, plan)
    inputs = Inputs(subject, plan, sampler, show)
    table: Table = {
        "split": plan.split,
        "dataset": str(subject.data.name),
        "examples": len(inputs.encoded),
        "split_examples": n,
    }
    wrong: list[str] = []
    for section in sections:
        table |= {name: _finite(name, value, wrong) for name, value in section.table(inputs).items()}
    if wrong:
        table["not_finite"] = wrong
    return table


def _finite(name: str, value: Any, wrong: list[str]) -> Any:
    """The value, None where it is a number that is not finite, which is said in `wrong`."""
    if isinstance(value, float) and not math.isfinite(value):
        wrong.append(f"{name} is {value}")
        return None
    if isinstance(value, list):
        return [_finite(f"{name}[{i}]", item, wrong) for i, item in enumerate(value)]
    return value
