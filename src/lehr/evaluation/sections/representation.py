"""What the posterior means say of the labels, linearly and latent by latent."""

from __future__ import annotations

from torch import Tensor

from lehr.errors import DataError
from lehr.evaluation.disentanglement.forests import dci
from lehr.evaluation.disentanglement.gaps import mig, sap
from lehr.evaluation.disentanglement.votes import factor_vae_score
from lehr.evaluation.representation import linear_probe
from lehr.evaluation.section import Inputs, Section, Table


def _labels(inputs: Inputs) -> tuple[Tensor | None, Tensor | None]:
    """Of the training set and of the examples that are evaluated."""
    subject = inputs.subject
    return subject.labels("train", len(inputs.training)), subject.labels(inputs.plan.split, len(inputs.encoded))


def _lacks(inputs: Inputs) -> str | None:
    if any(labels is None for labels in _labels(inputs)):
        return f"{inputs.subject.data.name} has no labels: no probe, no scores of disentanglement"
    return None


def _measure(inputs: Inputs) -> Table:
    labels, held_out = _labels(inputs)
    assert labels is not None
    assert held_out is not None
    codes, table, notes = inputs.training.posterior.mean, Table(), []
    factors = labels.ndim == 2 and labels.shape[1] > 1
    with inputs.show("representation", 2) as line:
        try:
            probe = linear_probe(codes, labels, inputs.encoded.posterior.mean, held_out)
            table |= {
                "probe_accuracy": probe.accuracy,
                "probe_baseline": probe.baseline,
                "probe_accuracy_per_factor": list(probe.accuracies.values()),
            }
        except DataError as error:
            notes.append(f"no probe: {error}")
        line.advance()
        try:
            table |= _disentanglement(codes, labels, inputs.plan.seed) if factors else {}
        except DataError as error:
            notes.append(f"no scores of disentanglement: {error}")
        line.advance()
    return table | {"note": "; ".join(notes)}


def _disentanglement(codes: Tensor, factors: Tensor, seed: int) -> Table:
    scores = dci(codes, factors, seed)
    return {
        "mig": mig(codes, factors).score,
        "sap": sap(codes, factors, seed).score,
        "dci": scores.disentanglement,
        "dci_completeness": scores.completeness,
        "dci_informativeness": scores.informativeness,
        "factor_vae": factor_vae_score(codes, factors, seed).score,
    }


REPRESENTATION = Section("representation", _measure, full=True, lacks=_lacks)
