"""`lehr.load(DIR)`: a finished run, to use."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lehr.config.samplers import SAMPLERS
from lehr.errors import CheckpointError
from lehr.evaluation.statistics import TENSORS_NAME, read_statistics
from lehr.models.autoencoder import Autoencoder
from lehr.objective.likelihood import Likelihood
from lehr.posterior.aggregate import AggregatePosterior
from lehr.posterior.density import LatentDensity
from lehr.posterior.posterior import Posterior
from lehr.run.directory import RunDirectory
from lehr.run.given import check_images, check_latents
from lehr.run.model_files import read_model
from lehr.samplers.sampler import find_sampler


class Run:
    """A trained model with the statistics of its latents.

    Attributes:
        path: the run directory.
        config: the resolved configuration.
        model: encoder and decoder.
        likelihood: what the decoder's output means.
        prior: p(z) as it was trained.
        statistics: the aggregate posterior over the training set; None where it was not measured.
        model_id: which tells this model from any other, and is in every file that was made of it.
    """

    def __init__(
        self,
        path: Path,
        config: dict[str, Any],
        model: Autoencoder,
        likelihood: Likelihood,
        prior: LatentDensity,
        statistics: AggregatePosterior | None,
        model_id: str | None = None,
    ) -> None:
        self.path = path
        self.config = config
        self.model = model
        self.likelihood = likelihood
        self.prior = prior
        self.statistics = statistics
        self.model_id = model_id

    @property
    def posterior(self) -> AggregatePosterior:
        """The aggregate posterior over the training set.

        Raises:
            CheckpointError: if it was not measured.
        """
        if self.statistics is None:
            raise CheckpointError(f"{self.path}: has no statistics of q(z): callbacks.aggregate=null left them out")
        return self.statistics

    @torch.no_grad()
    def encode(self, x: Tensor) -> Posterior:
        """q(z|x) for images (b, c, h, w) in [0, 1].

        Raises:
            DataError: for anything else, 8-bit levels and another order of the axes above all.
        """
        check_images(x, self.model.image_shape)
        return self.model.encode(x)

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """E[x|z], images (b, c, h, w) for latents (b, *latent); `model.decode` gives the likelihood's parameters.

        Raises:
            DataError: for anything else.
        """
        check_latents(z, self.model.latent_shape)
        return self.likelihood.mean(self.model.decode(z))

    def sample_latents(self, n: int, method: str = "aggregate", seed: int = 0, covariance: str = "diag") -> Tensor:
        """Latents (n, *latent); the same seed gives the same latents.

        Args:
            n: how many.
            method: a name of `lehr.config.samplers`: "aggregate", N(agg_mean, agg_var); "prior"; "aggregate_full";
                "mixture", "two_stage", if lehr evaluate fitted them.
            seed: of the noise.
            covariance: of "aggregate", "diag" or "full".

        Raises:
            ValueError: for another method, or a full covariance that does not exist.
            CheckpointError: for a sampler that was not fitted.
        """
        if method not in SAMPLERS or covariance not in ("diag", "full"):
            names = ", ".join(SAMPLERS)
            raise ValueError(f"method={method!r}, covariance={covariance!r}: expected one of {names}, diag or full")
        return self.density(method, covariance).sample(n, seed)

    def density(self, method: str = "aggregate", covariance: str = "diag") -> LatentDensity:
        """What `sample_latents` draws from: `log_prob(z)` and `sample(n, seed)`.

        Raises:
            CheckpointError: for a sampler that was not fitted.
        """
        name = "aggregate_full" if method == "aggregate" and covariance == "full" else method
        folder = RunDirectory(self.path).posterior
        return find_sampler(name).density(self.prior, self.statistics, folder, self.model_id)

    def sample(self, n: int, method: str = "aggregate", seed: int = 0, covariance: str = "diag") -> Tensor:
        """Images (n, c, h, w): the mean of p(x|z) at `sample_latents`."""
        return self.decode(self.sample_latents(n, method, seed, covariance))


def load(path: str | Path, trust: Iterable[str] = (), weights: str | None = None) -> Run:
    """The finished run in directory `path`, on the CPU. Nothing in the directory is executed.

    Args:
        path: the run directory.
        trust: packages of your own whose classes the run uses; what the directory itself says is not believed.
        weights: "best", "last" or "ema" for those of a checkpoint, whose q(z) is measured anew over the training data;
            None for those that the run has ended in.

    Raises:
        CheckpointError: if it is no finished run, is damaged, or holds the statistics of another model than its own.
        ConfigError: if it names classes of packages that are not trusted.
    """
    if weights is not None:
        from lehr.run.weights import load_weights

        return load_weights(path, weights, trust)[0]
    directory = RunDirectory(path)
    config = directory.read_config()
    if not directory.model.is_dir():
        raise CheckpointError("; ".join(filter(None, (f"{path}: has no model/", directory.unfinished()))))
    model, likelihood, prior, model_id = read_model(directory.model, trust)
    with torch.no_grad():
        density = prior.density(model.encode)
    callbacks = config.get("callbacks")
    left_out = not (isinstance(callbacks, dict) and callbacks.get("aggregate"))
    there = (directory.posterior / TENSORS_NAME).exists()
    statistics = None if left_out and not there else read_statistics(directory.posterior, model_id)
    if statistics is not None and statistics.latent_shape != model.latent_shape:
        shapes = f"latents of {statistics.latent_shape}, the model has {model.latent_shape}"
        raise CheckpointError(f"{directory.posterior}: is of {shapes}")
    return Run(directory.path, config, model, likelihood, density, statistics, model_id)
