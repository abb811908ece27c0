"""Known faults, of a few images: the probes that cost no more than a few passes; `lehr probe` looks for the others."""

from __future__ import annotations

from lehr.evaluation.probes.all import PROBES, plain, run_probes
from lehr.evaluation.probes.probe import ProbeInputs
from lehr.evaluation.section import Inputs, Section, Table

IMAGES = 64
"""Enough for the mean colour to a part of a level, and of a small model on a CPU less than a second."""


def _measure(inputs: Inputs) -> Table:
    subject, plan = inputs.subject, inputs.plan
    limit = min(IMAGES, plan.examples or IMAGES)
    images = tuple(batch.images.cpu() for batch in subject.batches(plan.split, limit))
    looked_at = ProbeInputs(subject.model, subject.likelihood, images, subject.device, seed=plan.seed, show=inputs.show)
    return plain(run_probes(looked_at, [probe for probe in PROBES if probe.cheap]))


PROBE = Section("probe", _measure, full=True)
