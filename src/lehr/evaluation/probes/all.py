"""All probes, in the order in which they are shown, and how they are run.

A new one is a file with a `Probe`, its place in `PROBES`, its values in `evaluation/catalogue.py` and docs/metrics.md,
and two tests: on a model that was made to have the fault, and on one without.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from lehr.errors import LehrError
from lehr.evaluation.probes.attention import ATTENTION
from lehr.evaluation.probes.border import BORDER
from lehr.evaluation.probes.colour import COLOUR, SATURATION
from lehr.evaluation.probes.compatibility import COMPATIBILITY
from lehr.evaluation.probes.equivariance import EQUIVARIANCE
from lehr.evaluation.probes.grid import GRID
from lehr.evaluation.probes.half import HALF
from lehr.evaluation.probes.noise import NOISE
from lehr.evaluation.probes.probe import Probe, Probed, ProbeInputs
from lehr.evaluation.probes.reach import REACH
from lehr.evaluation.probes.spectrum import SPECTRUM
from lehr.evaluation.probes.spot import SPOT

PROBES: tuple[Probe, ...] = (
    SPOT, REACH, NOISE, ATTENTION, GRID, COLOUR, SATURATION, BORDER, EQUIVARIANCE, SPECTRUM, HALF, COMPATIBILITY
)  # fmt: skip
"""All that there are."""

Outcome = Probed | str
"""What a probe has found, or why it does not apply."""


def run_probes(inputs: ProbeInputs, probes: Iterable[Probe] = PROBES) -> dict[str, Outcome]:
    """The outcome of each probe by its name, in order."""
    probes = tuple(probes)
    found: dict[str, Outcome] = {}
    with torch.no_grad(), inputs.show("probes", len(probes)) as line:
        for i, probe in enumerate(probes):
            line.show(i, probe.name)
            found[probe.name] = _outcome(probe, inputs)
            line.advance()
    return found


def _outcome(probe: Probe, inputs: ProbeInputs) -> Outcome:
    if reason := probe.lacks(inputs):
        return reason
    try:
        return probe.measure(inputs)
    except LehrError as error:  # one that cannot be is no reason to lose the others
        return str(error)
    except torch.OutOfMemoryError:
        return "not enough memory on the device"


def plain(outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """NAME/VALUE -> number, text or None; of a probe that does not apply NAME/note alone."""
    table: dict[str, Any] = {}
    for name, outcome in outcomes.items():
        values = {"note": outcome} if isinstance(outcome, str) else outcome.plain()
        table |= {f"{name}/{key}": value for key, value in values.items()}
    return table
