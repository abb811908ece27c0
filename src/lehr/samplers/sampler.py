"""What a sampler is, and the files of those that are fitted to latents.

Those of a sampler NAME lie in `posterior/` of the run: `NAME.safetensors`, its tensors; and `NAME.json`, how it was
chosen, which is for people: nothing reads it.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from safetensors import SafetensorError
from torch import Tensor

from lehr import __version__
from lehr.config.samplers import SAMPLERS
from lehr.errors import CheckpointError, ConfigError, DataError
from lehr.files import write_json
from lehr.posterior.aggregate import AggregatePosterior
from lehr.posterior.density import LatentDensity
from lehr.posterior.posterior import Posterior
from lehr.tensors import MODEL, read_tensors, require_same_model, write_tensors

Report = Callable[[str], None]
"""Told in a few words what has been done."""

D = TypeVar("D", bound=LatentDensity)


@dataclass(frozen=True)
class FittedDensity(Generic[D]):
    """A density that was fitted to latents, and what it was chosen by.

    Attributes:
        density: the density.
        held_out: of each candidate (a number of components, a training step) the mean log-density of latents that
            were held out, or the bound on it, in nats per example.
        chosen: the candidate that `density` is.
    """

    density: D
    held_out: dict[int, float]
    chosen: int


class Sampler(ABC):
    """One way to draw new latents.

    Args:
        name: by which it is chosen, see `lehr.config.samplers`.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def density(
        self, prior: LatentDensity, aggregate: AggregatePosterior | None, folder: Path, model: str | None = None
    ) -> LatentDensity:
        """What latents are drawn from.

        Args:
            prior: of the run's objective.
            aggregate: the statistics of q(z); None where they were not measured.
            folder: `posterior/` of the run.
            model: the id of the trained model that latents are drawn for; None for any.

        Raises:
            ValueError: for a full covariance that does not exist.
            CheckpointError: if it has to be fitted and was not, or its file is damaged or belongs to another model.
        """


class FittedSampler(Sampler, Generic[D]):
    """A sampler whose density is fitted to q(z|x) of the training examples, and kept with the run.

    A subclass says how: `_fit`; and how its density becomes tensors and is made of them again: `_tensors`, `_density`.
    """

    def density(
        self, prior: LatentDensity, aggregate: AggregatePosterior | None, folder: Path, model: str | None = None
    ) -> D:
        return self.load(folder, model)

    def fit(self, latents: Posterior, seed: int = 0, progress: Report | None = None) -> FittedDensity[D]:
        """Fit to the posteriors `latents` (n, *latent) of the training examples, a function of `seed`.

        Raises:
            ConfigError: if there are too many latents or too few examples.
            DataError: if the posteriors are not finite.
            NonFiniteLoss: if training the sampler fails.
        """
        if not (latents.mean.isfinite().all() and latents.var.isfinite().all()):
            raise DataError(
                f"samplers={self.name}: some latents of the training examples are NaN or infinite; train again"
            )
        return self._fit(latents, seed, progress)

    def save(self, folder: Path, fitted: FittedDensity[D], model: str | None = None) -> None:
        """Write `NAME.safetensors` and `NAME.json` into `folder`, for the trained model of this id."""
        shape = fitted.density.latent_shape
        tensors = {**self._tensors(fitted.density), "latent_shape": torch.tensor(shape)}
        write_tensors(folder / f"{self.name}.safetensors", tensors, model)
        write_json(
            folder / f"{self.name}.json",
            {
                "lehr": __version__,
                MODEL: model,
                "latent_shape": list(shape),
                **self._description(fitted.density),
                "chosen": fitted.chosen,
                "held_out": fitted.held_out,
            },
        )

    def load(self, folder: Path, model: str | None = None) -> D:
        """The density that `save` wrote, bit for bit, on the CPU.

        Raises:
            CheckpointError: if it was not fitted, is damaged, or was fitted to the latents of another than `model`.
        """
        path = folder / f"{self.name}.safetensors"
        again = f"lehr evaluate run={folder.parent} samplers=[{self.name}] fits it"
        try:
            tensors, written = read_tensors(path)
            require_same_model(path, written, model, f"{again} anew")
            shape = tuple(tensors.pop("latent_shape").tolist())
            return self._density(tensors, shape)
        except FileNotFoundError as error:
            raise CheckpointError(f"{folder.parent}: has no {self.name} sampler; {again}") from error
        except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{path}: is damaged ({' '.join(str(error).split())})") from error

    @abstractmethod
    def _fit(self, latents: Posterior, seed: int, progress: Report | None) -> FittedDensity[D]:
        """See `fit`; the posteriors are finite."""

    @abstractmethod
    def _tensors(self, density: D) -> dict[str, Tensor]:
        """All that the density is made of, but for the shape of its latents."""

    @abstractmethod
    def _density(self, tensors: dict[str, Tensor], latent_shape: tuple[int, ...]) -> D:
        """From what `_tensors` gave.

        Raises:
            KeyError, ValueError, RuntimeError: if they are not what it gives.
        """

    def _description(self, density: D) -> dict[str, Any]:
        """What is said of it in `NAME.json`."""
        return {}


def find_sampler(name: str) -> Sampler:
    """The sampler of that name.

    Raises:
        ConfigError: if there is none, with those there are.
    """
    if name not in SAMPLERS:
        raise ConfigError(f"samplers={name}: expected one of {', '.join(SAMPLERS)}")
    module, _, class_name = SAMPLERS[name].target.rpartition(".")
    found = getattr(importlib.import_module(module), class_name)(name)
    assert isinstance(found, Sampler)
    return found
