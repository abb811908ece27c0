"""A trained model in use: images to latents, latents to images, new latents; on a CPU or a GPU."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from lehr.config.problems import section_problems
from lehr.config.samplers import SAMPLERS, sampler_of
from lehr.config.schema import SampleConfig
from lehr.config.words import plain_number
from lehr.errors import CheckpointError, ConfigError
from lehr.models.autoencoder import Autoencoder
from lehr.objective.likelihood import Likelihood
from lehr.posterior.aggregate import AggregatePosterior
from lehr.posterior.density import LatentDensity
from lehr.posterior.posterior import Posterior
from lehr.run.directory import RunDirectory
from lehr.run.factors import Convention, Factors
from lehr.run.given import Images, check_images, check_latents, pixels
from lehr.run.status import MEASURED_BY
from lehr.samplers.sampler import find_sampler

_PIXEL_VALUES = 1 << 20  # of the images that pass the networks at once, if the configuration does not say how many
_MOST_ROWS = 1000


@dataclass(frozen=True)
class Parts:
    """What was trained, in evaluation mode.

    Attributes:
        model: encoder and decoder.
        likelihood: what the decoder's output means.
        prior: p(z) as it was trained.
        model_id: which tells this model from any other.
    """

    model: Autoencoder
    likelihood: Likelihood
    prior: LatentDensity
    model_id: str | None


class LoadedModel:
    """A trained model, which is read when it is first asked for, with the statistics of its latents.

    Args:
        path: of the run directory, where its fitted samplers lie too.
        config: the resolved configuration.
        read: gives what was trained.
        statistics: the aggregate posterior over the training set; None where it was not measured.
        said: what whoever published the model says that its latents are to be scaled by; None where nobody does.
    """

    def __init__(
        self,
        path: Path,
        config: dict[str, Any],
        read: Callable[[], Parts],
        statistics: AggregatePosterior | None,
        said: Factors | None = None,
    ) -> None:
        self.path = path
        self.config = config
        self.statistics = statistics
        self.said = said
        self._read = read
        self._device = torch.device("cpu")

    @cached_property
    def _parts(self) -> Parts:
        parts = self._read()
        parts.model.to(self._device)
        parts.likelihood.to(self._device)
        return parts

    @property
    def model(self) -> Autoencoder:
        """Encoder and decoder."""
        return self._parts.model

    @property
    def likelihood(self) -> Likelihood:
        """What the decoder's output means."""
        return self._parts.likelihood

    @property
    def prior(self) -> LatentDensity:
        """p(z) as it was trained."""
        return self._parts.prior

    @property
    def model_id(self) -> str | None:
        """Which tells this model from any other, and is in every file that was made of it."""
        return self._parts.model_id

    @property
    def posterior(self) -> AggregatePosterior:
        """The aggregate posterior over the training set.

        Raises:
            CheckpointError: if it was not measured.
        """
        if self.statistics is None:
            why = "callbacks.aggregate=null left them out" if self.config.get("data") else MEASURED_BY
            raise CheckpointError(f"{self.path}: has no statistics of q(z): {why}")
        return self.statistics

    @property
    def factors(self) -> Factors | None:
        """What a diffusion model scales the latents by: as it was published, else as it was measured; None if neither.

        Diffusion models that exist for a published autoencoder were trained on latents that are scaled as it says.
        """
        return self.said or (None if self.statistics is None else Factors.measured(self.statistics))

    @property
    def convention(self) -> Convention | None:
        """What a pipeline does with the latents by these factors; None where nobody says them, or of other channels."""
        if (factors := self.factors) is None:
            return None
        found = factors.convention(is_published=self.said is not None)
        return found if {len(part) for part in found} <= {1, self.model.latent_shape[0]} else None

    @property
    def device(self) -> torch.device:
        """Where the model is, and so where images are encoded and latents drawn."""
        return self._device

    def to(self, device: torch.device | str) -> Self:
        """Move the model to a device, "cuda" or "cpu", and give back the run.

        Raises:
            ConfigError: if there is no such device.
        """
        try:
            kind = torch.device(device)
            if kind.type == "meta":
                raise RuntimeError("weights would be lost there")
        except (RuntimeError, TypeError) as error:
            raise ConfigError(f"device={device}: must be cpu, cuda or cuda:NUMBER") from error
        try:
            target = torch.empty(0, device=kind).device
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise ConfigError(f"device={device}: is not there ({reason})") from error
        self._device = target
        if "_parts" in vars(self):
            self.model.to(target)
            self.likelihood.to(target)
        return self

    @torch.no_grad()
    def encode(self, x: Images) -> Posterior:
        """q(z|x) for images (b, c, h, w), where the model is.

        Images are a tensor on any device or a numpy array: float in [0, 1], uint8 (divided by 255) or bool. They pass
        the encoder in batches of data.eval_batch_size, so an array may be larger than memory.

        Raises:
            DataError: for anything else: NaN, levels of 8 bits as floats, another order of the axes.
        """
        check_images(x, self.model.image_shape, self.model.any_size)
        parts = [self.model.encode(part.to(self._device)) for part in pixels(x, self._rows)]
        return parts[0] if len(parts) == 1 else type(parts[0]).cat(parts)

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """E[x|z], images (b, c, h, w) for latents (b, *latent); `model.decode` gives the likelihood's parameters.

        Raises:
            DataError: for anything else.
        """
        check_latents(z, self.model.latent_shape, self.model.any_size)
        parts = [self.likelihood.mean(self.model.decode(part.to(self._device))) for part in z.split(self._rows)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def sample_latents(self, n: int, method: str = "aggregate", seed: int = 0, covariance: str = "diag") -> Tensor:
        """Latents (n, *latent), where the model is.

        A function of its arguments on one kind of device: a GPU draws other numbers than a CPU for the same seed.

        Args:
            n: how many.
            method: a name of `lehr.config.samplers`: "aggregate", N(agg_mean, agg_var); "prior"; "aggregate_full";
                "mixture", "two_stage", if lehr evaluate fitted them.
            seed: of the noise.
            covariance: of "aggregate", "diag" or "full".

        Raises:
            ConfigError: for another value, or a full covariance that does not exist.
            CheckpointError: for a sampler that was not fitted.
        """
        require_sampling(n=n, method=method, seed=seed, covariance=covariance)
        if method == "interpolate":
            raise ConfigError("method=interpolate: lies between images; sample(method='interpolate') draws it")
        return self.density(method, covariance).sample(n, seed, self._device)

    def density(self, method: str = "aggregate", covariance: str = "diag") -> LatentDensity:
        """What `sample_latents` draws from: `log_prob(z)` and `sample(n, seed, device)`.

        Raises:
            ConfigError: for a full covariance that does not exist.
            CheckpointError: for a sampler that was not fitted.
        """
        sampler, folder = find_sampler(sampler_of(method, covariance)), RunDirectory(self.path).posterior
        try:
            return sampler.density(self.prior, self.statistics, folder, self.model_id)
        except ValueError as error:
            raise ConfigError(f"{self.path}: {error}") from error

    @property
    def _rows(self) -> int:
        data = self.config.get("data")
        rows = data.get("eval_batch_size") if isinstance(data, dict) else None
        if isinstance(rows, int) and rows > 0:
            return rows
        return min(_MOST_ROWS, max(1, _PIXEL_VALUES // math.prod(self.model.image_shape)))


def require_sampling(**values: Any) -> None:
    """Check what is asked of a sampler as `lehr sample` does.

    Raises:
        ConfigError: a line for each value that is not allowed.
    """
    others: dict[str, Any] = {"run": ".", "out": None, "from": 0, "to": 1, "steps": 10, "debug": False, "trust": []}
    others |= {key.rstrip("_"): plain_number(value) for key, value in values.items()}
    if others["method"] in SAMPLERS:
        others["method"] = "prior"  # the schema knows those alone that there were when it was made
    if problems := section_problems(SampleConfig, others):
        raise ConfigError(*problems)
