"""The statistics of q(z) as numbers and as files: what is reported of an aggregate posterior, and how it is kept."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from lehr.errors import CheckpointError
from lehr.files import write_json
from lehr.posterior.aggregate import AggregatePosterior, Split
from lehr.posterior.codes import perplexity
from lehr.posterior.collapse import THRESHOLD, active_units, active_units_curve, effective_rank, moment_kls
from lehr.posterior.posterior import TALLIES
from lehr.posterior.rounding import HALVES
from lehr.tensors import MODEL, read_tensors, require_same_model, write_tensors

JSON_NAME = "statistics.json"
TENSORS_NAME = "statistics.safetensors"
MOST_LISTED = 256
"""Latents up to which a file for people lists a number for each; of more it has the range."""


@dataclass(frozen=True)
class Source:
    """What the latents are of: statistics of latents depend on it, that of the size of the images included.

    Attributes:
        dataset: what was passed through the encoder.
        split: of it.
        resolution: (height, width) of the images in pixels.
        crop: how they were cut to it.
        pixels: the least and the largest value that a pixel can have.
        encoder_input: what the network that encodes is given for these two.
    """

    dataset: str
    split: str
    resolution: tuple[int, int] | None = None
    crop: str | None = None
    pixels: tuple[float, float] = (0.0, 1.0)
    encoder_input: tuple[float, float] = (0.0, 1.0)


def summary(posterior: AggregatePosterior) -> dict[str, float]:
    """The numbers that are logged, by their names below `posterior/`. KLs are in nats.

    `effective_rank` is that of the signal Cov(E[z|x]): in the total covariance a collapsed unit counts as 1.
    What there is not is left out: `moment_kls` says which moment KLs there are, and there is no `scaling_factor` of
    latents that are all the same number. `kl_standard_normal` needs a density q(z|x), `codes_used` and
    `code_perplexity` a codebook, `noise_lost_...` noise and `clamped_...` log-variances with bounds.
    """
    whole = posterior.whole
    moments = moment_kls(posterior)
    total = posterior.covariance if posterior.covariance is not None else posterior.var
    numbers: dict[str, float | None] = {
        "active_units": float(active_units(posterior.var_of_mean)),
        "effective_rank": effective_rank(posterior.signal),
        "effective_rank_total": effective_rank(total),
        "moment_kl_diag": moments.diagonal,
        "moment_kl_full": moments.full,
        **({} if posterior.kl is None else {"kl_standard_normal": float(posterior.kl.sum())}),
        "scaling_factor": _finite(posterior.scaling_factor),
        "scaling_factor_of_mean": _finite(float(whole.var_of_mean.rsqrt())),
        "shift_factor": posterior.shift_factor,
        "mean_of_var": float(whole.mean_of_var),
        "var_of_mean": float(whole.var_of_mean),
        **_shares(posterior),
    }
    if posterior.usage is not None:
        numbers["codes_used"] = float((posterior.usage > 0).sum())
        numbers["code_perplexity"] = float(perplexity(posterior.usage))
    return {name: number for name, number in numbers.items() if number is not None}


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _shares(posterior: AggregatePosterior) -> dict[str, float]:
    """Of the latents of all examples, in [0, 1]: whose noise half precision rounds away, and which were clamped."""
    counts, found = posterior.tallies or {}, dict[str, float]()
    if latents := counts.get("latents"):
        found |= {f"noise_lost_{name}": counts[f"lost_in_{name}"] / latents for name in HALVES}
    if bounded := counts.get("bounded"):
        found |= {f"clamped_{side}": counts[f"clamped_{side}"] / bounded for side in ("low", "high")}
    return found


def describe(posterior: AggregatePosterior, source: Source) -> dict[str, Any]:
    """Everything that goes into `statistics.json`.

    A number for each latent is there for up to `MOST_LISTED` of them; `statistics.safetensors` has them all.
    """
    d = math.prod(posterior.latent_shape)
    description: dict[str, Any] = {
        **asdict(source),
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
        "whole": _split(posterior.whole),
        "per_dimension": _vectors(posterior),
    }
    if posterior.channels is not None:
        channels = posterior.channels
        description["per_channel"] = {
            **_vectors(channels),
            **_factors(channels),
            "observations": channels.n,
        }
    if (positions := posterior.positions) is not None:
        description["per_position"] = _split(positions) | _brightest(posterior.largest_deviation)
    return description


def _split(split: Split) -> dict[str, Any]:
    """Numbers, or maps of them as rows."""
    names = ("mean", "var", "mean_of_var", "var_of_mean")
    return {name: _listed(getattr(split, name)) for name in names}


def _listed(values: Tensor) -> Any:
    """The numbers, or where they are many the least, the mean and the largest of them."""
    if values.numel() <= MOST_LISTED:
        return values.tolist()
    return {"least": float(values.min()), "mean": float(values.mean()), "largest": float(values.max())}


def _brightest(deviation: Tensor | None) -> dict[str, Any]:
    """The largest deviation at each position (zh, zw), and at which (row, column) it is largest of all."""
    if deviation is None:
        return {}
    row, column = divmod(int(deviation.argmax()), deviation.shape[1])
    return {"largest_deviation": _listed(deviation), "largest_deviation_at": [row, column]}


def _vectors(posterior: AggregatePosterior) -> dict[str, list[float] | dict[str, float]]:
    """A number for each latent, or where they are many the least, the mean and the largest of them."""
    names = ("mean", "var", "mean_of_var", "var_of_mean", "kl")
    return {name: _listed(tensor) for name in names if (tensor := getattr(posterior, name)) is not None}


def _factors(channels: AggregatePosterior) -> dict[str, list[float]]:
    """What latent diffusion scales and shifts each channel by; of more channels than are listed the tensors say it.

    `latents_mean` and `latents_std` are diffusers' names; `..._of_mean` is for the mode of q(z|x) in place of a sample.
    """
    if len(channels.mean) > MOST_LISTED:
        return {}
    return {
        "scaling_factor": channels.var.rsqrt().tolist(),
        "shift_factor": channels.mean.tolist(),
        "latents_mean": channels.mean.tolist(),
        "latents_std": channels.var.sqrt().tolist(),
        "latents_std_of_mean": channels.var_of_mean.sqrt().tolist(),
    }


def write_statistics(folder: Path, posterior: AggregatePosterior, source: Source, model: str | None = None) -> None:
    """Write `statistics.json`, for people, and `statistics.safetensors`, float64, into `folder`.

    Args:
        folder: `posterior/` of the run.
        posterior: the statistics.
        source: what they are of.
        model: the id of the trained model.
    """
    tensors = _tensors(posterior)
    if posterior.channels is not None:
        tensors |= {f"channels.{name}": tensor for name, tensor in _tensors(posterior.channels).items()}
    write_tensors(folder / TENSORS_NAME, tensors, model)
    write_json(folder / JSON_NAME, {MODEL: model, **describe(posterior, source)})


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
    tensors |= {name: t for name in ("kl", "usage", "extremes") if (t := getattr(posterior, name)) is not None}
    if posterior.tallies is not None:
        counts = [posterior.tallies[name] for name in TALLIES]
        tensors["tallies"] = torch.tensor(counts, dtype=torch.float64)
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
        extremes=tensors.get("extremes"),
        tallies=dict(zip(TALLIES, counts.tolist(), strict=True))
        if (counts := tensors.get("tallies")) is not None
        else None,
    )
