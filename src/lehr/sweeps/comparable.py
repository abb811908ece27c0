"""Whether numbers that several runs have of one name are of the same thing, and what that thing is.

A mean over 5 examples and one over 359 are estimates of the same, but not as good, and those of few examples of other
images; a loss with another weight of the KL is another quantity. Such are not averaged, and where they stand below
each other it is said that they do not compare.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lehr.sweeps.results import RunResult

EVALUATED = ("likelihood", "collapse", "reconstruction", "generation", "representation")
"""Sections of metrics that come from an evaluation, over the examples it took; all others are over whole splits."""

_OF_SAMPLES = ("iwae", "iwae_standard_error", "ess")
_DENSITIES = ("gaussian", "laplace", "continuousbernoulli")
_PIXELS = ("loss", "elbo", "distortion", "iwae", "bits_per_dim", "psnr", "ssim", "mse")
_SAME_PIXELS = ("seed", "split_seed", "batch_size", "eval_batch_size", "workers", "flip", "crop", "root", "on_corrupt")
_SAME_TEST = ("val_fraction", "train_on", "train_on_factor")  # but another validation
_SAME_WEIGHT = ("hold", "warmup", "shape", "cycles", "unit")  # of the KL: on the way to it

Condition = tuple[tuple[str, Any], ...]
"""What a number was measured on and with, by name."""


def condition(run: RunResult, metric: str) -> Condition:
    """What the runs must agree in for their numbers of this metric to be of the same thing."""
    section, _, name = metric.partition("/")
    found: dict[str, Any] = {}
    if section in EVALUATED:
        found |= {key: run.evaluated.get(key) for key in ("dataset", "split", "examples")}
        if name in _OF_SAMPLES:
            found["importance samples"] = run.metrics.get("likelihood/iwae_samples")
        if section == "generation":
            found |= {"features": run.evaluated.get("features"), "images": run.metrics.get("generation/examples")}
        if name.startswith(("mi_", "marginal_kl")):
            found["posteriors"] = run.metrics.get("collapse/mi_examples")
    found |= {key: value for key, value in run.swept.items() if _matters(key, section, name)}
    if "likelihood" in found:
        found["likelihood"] = _measure(found["likelihood"])
    return tuple(found.items())


def _matters(key: str, section: str, name: str) -> bool:
    """Whether the value of a swept key makes a number another quantity, not another value of it."""
    group, _, own = key.replace("/", ".").partition(".")
    base = name.removesuffix("_sampled").removesuffix("_standard_error")
    if group == "data" and (base in _PIXELS or section in ("generation", "representation")):
        return own not in _SAME_PIXELS and (own not in _SAME_TEST or section == "val")
    if group == "likelihood" and base in ("loss", "elbo", "distortion", "iwae"):
        return own in ("", "_target_", "levels")
    if group in ("objective", "kl") and base == "loss":
        return own not in _SAME_WEIGHT
    return False


def _measure(likelihood: Any) -> str:
    """Densities of the same pixels compare with each other; probabilities and cross-entropies are other quantities."""
    name = str(likelihood).rpartition(".")[2]
    return "of densities" if name.lower().replace("_", "") in _DENSITIES else name


def differing(conditions: Iterable[Condition]) -> str | None:
    """In what they differ: "examples 5 and 359"; None where they do not."""
    several = [dict(condition) for condition in dict.fromkeys(_hashable(c) for c in conditions)]
    names = dict.fromkeys(name for one in several for name in one)
    parts = []
    for name in names:
        values = list(dict.fromkeys(_shown(one.get(name)) for one in several))
        if len(values) > 1:
            parts.append(f"{name} {_and(values)}")
    return "; ".join(parts) or None


def _hashable(condition: Condition) -> tuple[tuple[str, str], ...]:
    return tuple((name, _shown(value)) for name, value in condition)


def _shown(value: Any) -> str:
    if value is None:
        return "unknown"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _and(words: Sequence[str], most: int = 4) -> str:
    shown = list(words[:most]) + ([f"{len(words) - most} more"] if len(words) > most else [])
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))


def measured_on(runs: Sequence[RunResult], metrics: Sequence[str]) -> str | None:
    """How many examples each part of a table is of, where an evaluation took part of a split: a line, or None."""
    sections = [s for s in dict.fromkeys(name.partition("/")[0] for name in metrics) if s in EVALUATED]
    known = {
        tuple(run.evaluated.get(key) for key in ("split", "examples", "split_examples"))
        for run in runs
        if any(name.partition("/")[0] in sections for name in run.metrics)
    }
    if not sections or len(known) != 1:
        return None  # it is said of each row that they differ
    split, n, total = known.pop()
    if n is None:
        return None
    whole = [s for s in ("test", "val") if any(name.startswith(f"{s}/") for name in metrics)]
    if n == total:
        return f"{_and(sections)}: of all {n:,} {split} examples"
    of = f" of {total:,}" if total else ""
    rest = f"; {_and(whole)}: of all of the split" if whole else ""
    return f"{_and(sections)}: of {n:,}{of} {split} examples{rest}"


def read_evaluated(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """What an evaluation says of itself, as far as its numbers depend on it."""
    found = {key: evaluation.get(key) for key in ("dataset", "split", "examples", "split_examples")}
    if isinstance(features := evaluation.get("generation/features"), str):
        # the kind: how good a classifier became, and how many components there are, differs with the seed, by which
        # they had other images
        kind = features.partition(" of ")[0].partition(" with ")[0]
        found["features"] = "principal components" if kind.endswith(" principal components") else kind
    return {key: value for key, value in found.items() if value is not None}
