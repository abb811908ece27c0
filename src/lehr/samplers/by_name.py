"""Where new latents come from, by name; those that are fitted to latents are kept in `posterior/` of the run.

- prior: the prior of the objective, N(0, I) or a learned one.
- aggregate, aggregate_full: N(agg_mean, agg_var), with the diagonal or the full covariance.
- mixture: a Gaussian mixture fitted to q(z); `mixture.safetensors`, float64.
- two_stage: a second VAE fitted to q(z); `two_stage.safetensors`.

Beside the tensors of a fitted sampler NAME lies `NAME.json`, for people: how it was chosen. Nothing reads it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lehr import __version__
from lehr.errors import CheckpointError, ConfigError, DataError
from lehr.files import replacing, write_json
from lehr.posterior.aggregate import AggregatePosterior
from lehr.posterior.density import FittedDensity, GaussianMixture, LatentDensity, Normal
from lehr.posterior.posterior import Posterior

FITTED = ("mixture", "two_stage")
SAMPLERS = ("prior", "aggregate", "aggregate_full", *FITTED)


def sampler(name: str, prior: LatentDensity, aggregate: AggregatePosterior, folder: Path) -> LatentDensity:
    """The density of sampler `name` of a run.

    Args:
        name: one of `SAMPLERS`.
        prior: the prior of the run's objective.
        aggregate: the statistics of q(z).
        folder: `posterior/` of the run.

    Raises:
        ConfigError: for another name.
        ValueError: for a full covariance that does not exist.
        CheckpointError: if it has to be fitted and was not, or its file is damaged.
    """
    require_known(name)
    if name == "prior":
        return prior
    if name in FITTED:
        return read_sampler(folder, name)
    return Normal.of(aggregate, full=name == "aggregate_full")


def require_known(*names: str) -> None:
    """
    Raises:
        ConfigError: with a line for each name that is not one of `SAMPLERS`.
    """
    problems = [f"samplers={name}: expected one of {', '.join(SAMPLERS)}" for name in names if name not in SAMPLERS]
    if problems:
        raise ConfigError(*problems)


def fit_sampler(
    name: str, latents: Posterior, seed: int = 0, progress: Callable[[str], None] | None = None
) -> FittedDensity:
    """Fit sampler `name`, one of `FITTED`, to the posteriors `latents` (n, *latent) of the training examples.

    Raises:
        ConfigError: if there are too many latents or too few examples.
        DataError: if the posteriors are not finite.
        NonFiniteLoss: if training the sampler fails.
    """
    from lehr.samplers.mixture import fit_mixture
    from lehr.samplers.two_stage import fit_two_stage

    if not (latents.mean.isfinite().all() and latents.var.isfinite().all()):
        raise DataError(f"samplers={name}: some latents of the training examples are NaN or infinite; train again")
    if name == "mixture":
        return fit_mixture(latents, seed, progress=progress)
    return fit_two_stage(latents, seed, progress=progress)


def write_sampler(folder: Path, name: str, fitted: FittedDensity) -> None:
    """Write `NAME.safetensors` and `NAME.json` into `folder`."""
    tensors, description = _tensors(fitted.density)
    tensors["latent_shape"] = torch.tensor(fitted.density.latent_shape)
    with replacing(folder / f"{name}.safetensors") as temporary:
        save_file({key: t.detach().cpu().contiguous().clone() for key, t in tensors.items()}, temporary)
    write_json(
        folder / f"{name}.json",
        {
            "lehr": __version__,
            "latent_shape": list(fitted.density.latent_shape),
            **description,
            "chosen": fitted.chosen,
            "held_out": fitted.held_out,
        },
    )


def read_sampler(folder: Path, name: str) -> LatentDensity:
    """The density that `write_sampler` wrote, bit for bit, on the CPU.

    Raises:
        CheckpointError: if it was not fitted, or is damaged.
    """
    path = folder / f"{name}.safetensors"
    try:
        tensors = load_file(path)
        shape = tuple(tensors.pop("latent_shape").tolist())
        return _mixture(tensors, shape) if name == "mixture" else _two_stage(tensors, shape)
    except FileNotFoundError as error:
        run = folder.parent
        raise CheckpointError(
            f"{run}: has no {name} sampler; lehr evaluate run={run} samplers=[{name}] fits it"
        ) from error
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: is damaged ({' '.join(str(error).split())})") from error


def _tensors(density: LatentDensity) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What a density is read back from, and what is said of it."""
    from lehr.samplers.two_stage import TwoStage

    if isinstance(density, GaussianMixture):
        tensors = {"weights": density.weights, "means": density.means, "covariances": density.covariances}
        kind = "full" if density.covariances.ndim == 3 else "diagonal"
        return tensors, {"components": len(density.weights), "covariance": kind, "weights": density.weights.tolist()}
    assert isinstance(density, TwoStage)
    description = {"hidden": density.hidden, "scale": density.scale, "importance_samples": density.importance_samples}
    return density.tensors(), description


def _mixture(tensors: dict[str, Tensor], latent_shape: tuple[int, ...]) -> GaussianMixture:
    weights, means, covariances = (tensors[name] for name in ("weights", "means", "covariances"))
    k, d = len(weights), math.prod(latent_shape)
    if means.shape != (k, d) or covariances.shape not in ((k, d), (k, d, d)):
        raise ValueError("its tensors do not belong together")
    return GaussianMixture(weights, means, covariances, latent_shape)


def _two_stage(tensors: dict[str, Tensor], latent_shape: tuple[int, ...]) -> LatentDensity:
    from lehr.samplers.two_stage import TwoStage

    if tensors["mean"].shape != (math.prod(latent_shape),):
        raise ValueError("its tensors do not belong together")
    return TwoStage.from_tensors(tensors, latent_shape)
