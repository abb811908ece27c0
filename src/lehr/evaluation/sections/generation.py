"""Samples of each density, the means of p(x|z), against as many images of the split as they are stored.

Beside them stand other real images (`real`) and reconstructions from samples of q(z|x) (`reconstruction`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from lehr import randomness
from lehr.errors import ConfigError, DataError
from lehr.evaluation.features import choose_features, feature_matrix
from lehr.evaluation.generation import compare_features
from lehr.evaluation.inception import missing
from lehr.evaluation.section import Inputs, Plan, Section, Table
from lehr.evaluation.subject import Subject, decode
from lehr.posterior.density import LatentDensity

_OF_SAMPLES = ("frechet", "kernel", "density", "coverage")


def _check(subject: Subject, plan: Plan) -> None:
    if plan.features == "inception" and (reason := missing()):
        raise ConfigError(f"features=inception: {reason}")
    if plan.features == "classifier" and subject.data.images("train").labels is None:
        raise DataError(f"features=classifier: {subject.data.name} has no labels to learn from; use features=pca")


def _measure(inputs: Inputs) -> Table:
    densities, left_out = inputs.densities
    try:
        table = _compared(inputs, densities)
    except DataError as error:  # too few images, say
        table = {"note": str(error)}
    return table | {"left_out": left_out}


@torch.inference_mode()
def _compared(inputs: Inputs, densities: dict[str, LatentDensity]) -> Table:
    subject, plan, encoded = inputs.subject, inputs.plan, inputs.encoded
    n, table = len(encoded), Table()
    train = subject.data.images("train")
    with inputs.show("features", 3 + len(densities)) as line:
        parts = _parts(train.labels, subject.data.eval_batch_size, len(train))
        training = zip(subject.stored_images("train"), parts, strict=True)
        features = choose_features(plan.features, training, cache=plan.cache, device=subject.device)
        line.advance()
        real = feature_matrix(features, subject.stored_images(plan.split, n))
        line.advance()
        rows = randomness.permutation(plan.seed, "evaluate/real", 0, len(train))[:n]
        others = train.subset(rows).fetch(torch.arange(len(rows)).split(1000), epoch=None, device=subject.device)
        found = {"real": compare_features(feature_matrix(features, others), real)}
        found["reconstruction"] = compare_features(feature_matrix(features, decode(subject, encoded.z)), real)
        line.advance()
        for name, density in densities.items():
            z = density.sample(n, plan.seed, stream=f"evaluate/{name}")
            found[name] = compare_features(feature_matrix(features, decode(subject, z)), real)
            line.advance()
    for name, result in found.items():
        table |= {f"{name}/{metric}": getattr(result, metric) for metric in _OF_SAMPLES}
    for name, density in densities.items():
        table[f"{name}/latent_log_prob"] = float(density.log_prob(encoded.z).double().mean())
        table[f"{name}/latent_log_prob_is_bound"] = not density.exact
    notes = dict.fromkeys(result.note for result in found.values() if result.note)
    return table | {"features": features.note, "examples": n, "note": "; ".join(notes)}


def _parts(labels: Tensor | None, size: int, n: int) -> Iterable[Tensor | None]:
    """Labels in batches, None for each where there are none."""
    return labels.split(size) if labels is not None else [None] * math.ceil(n / size)


GENERATION = Section("generation", _measure, full=True, check=_check)
