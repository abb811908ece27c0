"""Everything `lehr evaluate` measures of a trained model, as one flat table: section/name -> value.

Likelihood, collapse and reconstruction take one pass over the split; generation and representation, in a full
evaluation, also the training set. docs/metrics.md says of each number what it is and when not to trust it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lehr import randomness
from lehr.errors import ConfigError, DataError, LehrError
from lehr.evaluation.disentanglement import dci, factor_vae_score, mig, sap
from lehr.evaluation.features import choose_features, feature_matrix
from lehr.evaluation.generation import compare_features
from lehr.evaluation.importance import ImportanceWeighted, importance_weighted
from lehr.evaluation.inception import missing
from lehr.evaluation.mutual_information import mutual_information
from lehr.evaluation.reconstruction import measure_reconstruction
from lehr.evaluation.representation import linear_probe
from lehr.evaluation.subject import Encoded, ShowProgress, Subject, decode, encode, silent
from lehr.evaluation.verdict import Evidence, verdict
from lehr.objective.bits import BitsPerDim, bits_per_dim
from lehr.posterior.aggregate import AggregatePosterior
from lehr.posterior.collapse import (
    active_units,
    active_units_curve,
    collapsed_units,
    count_uninformed,
    effective_rank,
    informative_units,
    moment_kls,
    participation_ratio,
)
from lehr.posterior.density import LatentDensity

Table = dict[str, Any]
"""section/name -> number, text, list or None."""

_OF_SAMPLES = ("frechet", "kernel", "density", "coverage")
_MOST_FOR_INFORMATION = 10_000  # posteriors: the time grows with their square
_ENOUGH_LATENTS, _MOST_DRAWS = 5_000, 16  # of few posteriors several latents each are drawn
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

    Raises:
        DataError: if the data set has no such split, or too few examples in it.
    """
    n = len(subject.data.images(plan.split))
    if n < 2:
        raise DataError(f"{subject.data.name}: the {plan.split} split has {n} example, an evaluation needs 2 or more")
    if plan.full:
        _require_features(subject, plan)
    encoded = encode(subject, plan.split, plan.examples, show, plan.seed)
    table: Table = {"split": plan.split, "dataset": str(subject.data.name), "examples": len(encoded)}
    table |= _section("likelihood", likelihood(subject, encoded, plan, show))
    table |= _section("collapse", collapse(subject, encoded, plan, table["likelihood/rate"], show))
    table |= _section("reconstruction", reconstruction(subject, encoded, plan))
    if plan.full:
        training = encode(subject, "train", _most(subject), show, plan.seed)
        densities, left_out = _densities(plan.samplers, training, sampler, show)
        try:
            table |= _section("generation", generation(subject, encoded, densities, plan, show))
        except DataError as error:  # too few images, say
            table["generation/note"] = str(error)
        table["generation/left_out"] = left_out
        table |= _section("representation", representation(subject, training, encoded, plan, show))
    return table


def _require_features(subject: Subject, plan: Plan) -> None:
    """What would otherwise be found after everything else has been measured."""
    if plan.features == "inception" and (reason := missing()):
        raise ConfigError(f"features=inception: {reason}")
    if plan.features == "classifier" and subject.data.images("train").labels is None:
        raise DataError(f"features=classifier: {subject.data.name} has no labels to learn from; use features=pca")


def _densities(
    names: tuple[str, ...], training: Encoded, find: FindSampler | None, show: ShowProgress
) -> tuple[dict[str, LatentDensity], dict[str, str]]:
    """The density of each name; and of those that these latents cannot have, why."""
    densities: dict[str, LatentDensity] = {}
    left_out: dict[str, str] = {}
    if find is None:
        return densities, left_out
    for name in names:
        try:
            densities[name] = find(name, training, show)
        except (LehrError, ValueError) as error:
            left_out[name] = str(error)
    return densities, left_out


def _most(subject: Subject) -> int:
    """How many training examples are encoded at most: all, unless their latents are too large to be kept."""
    return max(2, _MOST_ENCODED // math.prod(subject.model.latent_shape))


def _section(name: str, values: Table) -> Table:
    return {f"{name}/{key}": value for key, value in values.items()}


def likelihood(subject: Subject, encoded: Encoded, plan: Plan, show: ShowProgress) -> Table:
    """ELBO, rate, distortion and the importance-weighted bound, in nats per example; bits per dimension."""
    with show("importance weights", len(encoded)) as line:
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
    weighted = ImportanceWeighted.cat(parts)
    bound = weighted.bound
    bits = bits_per_dim(subject.likelihood, subject.data.levels)
    nats = -float(weighted.elbo.mean())
    if bits.kind == "dequantized":
        nats = _dequantized_nats(subject, encoded, bits, plan) + float(weighted.rate.mean())
    return {
        "elbo": float(weighted.elbo.mean()),
        "rate": float(weighted.rate.mean()),
        "distortion": float(weighted.distortion.mean()),
        "iwae": float(bound.mean()),
        "iwae_standard_error": float(bound.std() / math.sqrt(len(bound))),
        "iwae_samples": weighted.samples,
        "ess": float(weighted.ess.mean()),
        "bits_per_dim": bits.bits(nats, math.prod(subject.model.image_shape)),
        "bits_per_dim_note": bits.reason,
    }


@torch.inference_mode()
def _dequantized_nats(subject: Subject, encoded: Encoded, bits: BitsPerDim, plan: Plan) -> float:
    """E[-log p(x'|z)] in nats per example of dequantised pixels x', with one sample of z and of the noise each."""
    total = 0.0
    for batch in subject.batches(plan.split, plan.examples):
        rows, shape = (batch.start, batch.start + len(batch)), tuple(batch.images.shape[1:])
        noise = randomness.rows("uniform", plan.seed, f"dequantize/{plan.split}", *rows, shape, subject.device)
        parameters = subject.model.decode(encoded.z[slice(*rows)].to(subject.device))
        total -= float(subject.likelihood.log_prob(bits.pixels(batch.images, noise), parameters).double().sum())
    return total / len(encoded)


def collapse(subject: Subject, encoded: Encoded, plan: Plan, rate: float, show: ShowProgress) -> Table:
    """What the latents hold, over the examples that are evaluated."""
    posterior = encoded.posterior
    aggregate = AggregatePosterior.of(posterior)
    moments = moment_kls(aggregate)
    collapsed = collapsed_units(count_uninformed(posterior), len(encoded))
    m = min(len(encoded), _MOST_FOR_INFORMATION)
    standard = subject.prior.is_standard_normal
    samples = max(1, min(_MOST_DRAWS, _ENOUGH_LATENTS // m))
    with show("mutual information", m * samples) as line:
        rows = randomness.permutation(plan.seed, "evaluate/information", 0, len(encoded))[:m].sort().values
        information = mutual_information(
            posterior[rows], seed=plan.seed, samples=samples, prior=subject.prior, advance=line.advance
        )
    evidence = Evidence(
        latents=len(aggregate.mean),
        active=active_units(aggregate.var_of_mean),
        rate=rate,
        collapsed=collapsed if standard else None,
        information=information,
        moments=moments if standard else None,
    )
    return {
        "verdict": verdict(evidence),
        "latents": evidence.latents,
        "active_units": evidence.active,
        "active_units_curve": {str(t): count for t, count in active_units_curve(aggregate.var_of_mean).items()},
        "kl_per_dimension": aggregate.kl.tolist(),
        "informative_units": informative_units(aggregate.kl),
        "collapsed_units": collapsed,
        "mi_lower": information.lower,
        "mi_upper": information.upper,
        "mi_cap": information.cap,
        "mi_saturated": information.saturated,
        "mi_examples": information.m,
        "marginal_kl_lower": information.marginal_kl_lower,
        "marginal_kl_upper": information.marginal_kl_upper,
        "moment_kl_diag": moments.diagonal,
        "moment_kl_full": moments.full,
        "total_correlation": moments.total_correlation,
        "moment_kl_bias": moments.bias,
        "moment_kl_problem": moments.problem,
        "effective_rank_signal": effective_rank(aggregate.signal),
        "participation_ratio_signal": participation_ratio(aggregate.signal),
    }


@torch.inference_mode()
def reconstruction(subject: Subject, encoded: Encoded, plan: Plan) -> Table:
    """E[x|z] against x as the model saw it, at the mean of q(z|x) and at a sample of it."""

    def pairs(latents: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in subject.batches(plan.split, plan.examples):
            z = latents[batch.start : batch.start + len(batch)].to(subject.device)
            yield batch.images, subject.likelihood.mean(subject.model.decode(z))

    mean, sampled = measure_reconstruction(pairs(encoded.posterior.mean)), measure_reconstruction(pairs(encoded.z))
    return {
        "psnr": mean.psnr,
        "ssim": mean.ssim,
        "mse": mean.mse,
        "psnr_sampled": sampled.psnr,
        "ssim_sampled": sampled.ssim,
        "mse_sampled": sampled.mse,
        "ssim_window": mean.window,
    }


@torch.inference_mode()
def generation(
    subject: Subject, encoded: Encoded, densities: dict[str, LatentDensity], plan: Plan, show: ShowProgress
) -> Table:
    """Samples of each density, the means of p(x|z), against as many images of the split as they are stored.

    Beside them stand other real images (`real`) and reconstructions from samples of q(z|x) (`reconstruction`).
    """
    n, table = len(encoded), Table()
    train = subject.data.images("train")
    with show("features", 3 + len(densities)) as line:
        labels = train.labels
        parts = _parts(labels, subject.data.eval_batch_size, len(train))
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


def representation(subject: Subject, training: Encoded, encoded: Encoded, plan: Plan, show: ShowProgress) -> Table:
    """What the posterior means say of the labels, linearly and latent by latent."""
    labels = subject.labels("train", len(training))
    held_out = subject.labels(plan.split, len(encoded))
    if labels is None or held_out is None:
        return {"note": f"{subject.data.name} has no labels: no probe, no scores of disentanglement"}
    codes, table, notes = training.posterior.mean, Table(), []
    factors = labels.ndim == 2 and labels.shape[1] > 1
    with show("representation", 2) as line:
        try:
            probe = linear_probe(codes, labels, encoded.posterior.mean, held_out)
            table |= {
                "probe_accuracy": probe.accuracy,
                "probe_baseline": probe.baseline,
                "probe_accuracy_per_factor": list(probe.accuracies.values()),
            }
        except DataError as error:
            notes.append(f"no probe: {error}")
        line.advance()
        try:
            table |= _disentanglement(codes, labels, plan.seed) if factors else {}
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
