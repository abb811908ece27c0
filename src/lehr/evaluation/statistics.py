"""The statistics of q(z) as numbers and as files: what is reported of an aggregate posterior, and how it is kept."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from lehr.errors import CheckpointError
from lehr.files import write_json
from lehr.posterior.aggregate import AggregatePosterior
from lehr.posterior.codes import perplexity
from lehr.posterior.collapse import THRESHOLD, active_units, active_units_curve, effective_rank, moment_kls
from lehr.tensors import MODEL, read_tensors, require_same_model, write_tensors

JSON_NAME = "statistics.json"
TENSORS_NAME = "statistics.safetensors"
MOST_LISTED = 256
"""Latents up to which a file for people lists a number for each; of more it has the range."""


def summary(posterior: AggregatePosterior) -> dict[str, float]:
    """The numbers that are logged, by their names below `posterior/`. KLs are in nats.

    `effective_rank` is that of the signal Cov(E[z|x]): in the total covariance a collapsed unit counts as 1.
    What there is not is left out: `moment_kls` says which moment KLs there are, and there is no `scaling_factor` of
    latents that are all the same number. `kl_standard_normal` needs a density q(z|x), `codes_used` and
    `code_perplexity` a codebook.
    """
    moments = moment_kls(posterior)
    total = posterior.covariance if posterior.covariance is not None else posterior.var
    numbers: dict[str, float | None] = {
        "active_units": float(active_units(posterior.var_of_mean)),
        "effective_rank": effective_rank(posterior.signal),
        "effective_rank_total": effective_rank(total),
        "moment_kl_diag": moments.diagonal,
        "moment_kl_full": moments.full,
        **({} if posterior.kl is None else {"kl_standard_normal": float(posterior.kl.sum())}),
        "scaling_factor": factor if math.isfinite(factor := posterior.scaling_factor) else None,
        "shift_factor": posterior.shift_factor,
    }
    if posterior.usage is not None:
        numbers["codes_used"] = float((posterior.usage > 0).sum())
        numbers["code_perplexity"] = float(perplexity(posterior.usage))
    return {name: number for name, number in numbers.items() if number is not None}


def describe(posterior: AggregatePosterior, dataset: str, split: str) -> dict[str, Any]:
    """Everything that goes into `statistics.json`.

    A number for each latent is there for up to `MOST_LISTED` of them; `statistics.safetensors` has them all.
    """
    d = math.prod(posterior.latent_shape)
    description: dict[str, Any] = {
        "dataset": dataset,
        "split": split,
        "n": posterior.n,
        "latent_shape": list(posterior.latent_shape),
        "moment_kl_diag": None,
        "moment_kl_full": None,
        "scaling_factor": None,
        **summary(posterior),
        "moment_kl_problem": moment_kls(posterior).problem,
        "active_units": active_units(posterior.var_of_mean),
        "active_units_of": d,
        "active_units_threshold": THRESHOLD,
        "active_units_curve": {str(t): count for t, count in active_units_curve(posterior.var_of_mean).items()},
        "variance_denominator": "n - 1",
        "per_dimension": _vectors(posterior),
    }
    if posterior.channels is not None:
        channels = posterior.channels
        description["per_channel"] = {
            **_vectors(channels),
            **_factors(channels),
            "observations": channels.n,
        }
    return description


def _vectors(posterior: AggregatePosterior) -> dict[str, list[float] | dict[str, float]]:
    """A number for each latent, or where they are many the least, the mean and the largest of them."""
    names = ("mean", "var", "mean_of_var", "var_of_mean", "kl")
    vectors = {name: tensor for name in names if (tensor := getattr(posterior, name)) is not None}
    if len(posterior.mean) <= MOST_LISTED:
        return {name: tensor.tolist() for name, tensor in vectors.items()}
    return {
        name: {"least": float(tensor.min()), "mean": float(tensor.mean()), "largest": float(tensor.max())}
        for name, tensor in vectors.items()
    }


def _factors(channels: AggregatePosterior) -> dict[str, list[float]]:
    """What latent diffusion scales and shifts each channel by; of more channels than are listed the tensors say it."""
    if len(channels.mean) > MOST_LISTED:
        return {}
    return {"scaling_factor": channels.var.rsqrt().tolist(), "shift_factor": channels.mean.tolist()}


def write_statistics(
    folder: Path, posterior: AggregatePosterior, dataset: str, split: str, model: str | None = None
) -> None:
    """Write `statistics.json`, for people, and `statistics.safetensors`, float64, into `folder`.

    Args:
        folder: `posterior/` of the run.
        posterior: the statistics.
        dataset: what was passed through the encoder.
        split: of it.
        model: the id of the trained model.
    """
    tensors = _tensors(posterior)
    if posterior.channels is not None:
        tensors |= {f"channels.{name}": tensor for name, tensor in _tensors(posterior.channels).items()}
    write_tensors(folder / TENSORS_NAME, tensors, model)
    write_json(folder / JSON_NAME, {MODEL: model, **describe(posterior, dataset, split)})


def remove_statistics(folder: Path) -> None:
    """Remove what `write_statistics` wrote, of a model that is no more."""
    for name in (TENSORS_NAME, JSON_NAME):
        (folder / name).unlink(missing_ok=True)


def _tensors(posterior: AggregatePosterior) -> dict[str, Tensor]:
    tensors = {
        "n": torch.tensor(posterior.n),
        "latent_shape": torch.tensor(posterior.latent_shape),
        "mean": posterior.mean,
        "var": posterior.var,
        "mean_of_var": posterior.mean_of_var,
        "var_of_mean": posterior.var_of_mean,
    }
    tensors |= {name: t for name in ("kl", "usage") if (t := getattr(posterior, name)) is not None}
    if posterior.signal_covariance is not None and posterior.covariance is not None:
        tensors["signal_covariance"] = posterior.signal_covariance
        tensors["covariance"] = posterior.covariance
    return tensors


def read_statistics(folder: Path, model: str | None = None) -> AggregatePosterior:
    """The statistics that `write_statistics` wrote.

    Args:
        folder: `posterior/` of the run.
        model: the id of the model that they are to be of; None for whatever they are of.

    Raises:
        CheckpointError: if they are missing or damaged, or of another model.
    """
    path = folder / TENSORS_NAME
    try:
        tensors, written = read_tensors(path)
        require_same_model(path, written, model, f"lehr train resume={folder.parent} finishes what was stopped between")
        channels = {name.removeprefix("channels."): t for name, t in tensors.items() if name.startswith("channels.")}
        posterior = _from_tensors(tensors, _from_tensors(channels) if channels else None)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: there are no statistics; they are written when training ends") from error
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: is damaged ({' '.join(str(error).split())})") from error
    return posterior


def _from_tensors(tensors: dict[str, Tensor], channels: AggregatePosterior | None = None) -> AggregatePosterior:
    moments = [tensors[name] for name in ("mean", "mean_of_var", "var_of_mean")]
    if any(t.shape != moments[0].shape or not t.is_floating_point() for t in moments):
        raise ValueError("its moments are not of the same latents")
    if not all(t.isfinite().all() for t in moments[:2]):
        raise ValueError("its moments are not finite")
    return AggregatePosterior(
        n=int(tensors["n"]),
        latent_shape=tuple(tensors["latent_shape"].tolist()),
        mean=tensors["mean"],
        mean_of_var=tensors["mean_of_var"],
        var_of_mean=tensors["var_of_mean"],
        kl=tensors.get("kl"),
        signal_covariance=tensors.get("signal_covariance"),
        channels=channels,
        usage=tensors.get("usage"),
    )
