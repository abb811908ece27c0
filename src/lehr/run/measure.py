"""The ELBO over a split of the data and what goes with it, in the validation of a training as in its test."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from lehr import randomness
from lehr.data.batch import Batch
from lehr.data.module import ImageDataModule
from lehr.evaluation.aggregate import AggregatePosteriorMetric
from lehr.evaluation.elbo import ELBOMetric
from lehr.evaluation.fidelity import PSNRMetric
from lehr.finite import require_finite
from lehr.models.components import Components
from lehr.objective.bits import bits_per_dim
from lehr.objective.bounds import ELBO, Draw
from lehr.posterior.aggregate import AggregatePosterior
from lehr.posterior.codes import perplexity
from lehr.posterior.collapse import active_units
from lehr.posterior.posterior import Posterior
from lehr.run.evaluation_mode import in_own_precision
from lehr.run.execution import Execution

_ONE_SAMPLE = ELBO()
Look = Callable[[Batch, Posterior], None]
"""Looks at a batch that is measured, and its posterior."""


def has_psnr(components: Components) -> bool:
    """Whether a PSNR is measured with the ELBO: of real pixels, and of latent maps; of binary ones it says little."""
    return components.likelihood.levels is None or len(components.model.latent_shape) > 1


def one_sample(components: Components, images: Tensor, posterior: Posterior, noise: Tensor) -> Draw:
    """Images (b, c, h, w) decoded at one sample of their `posterior`, with the terms of the ELBO."""
    prior = components.prior.density(components.model.encode)
    return _ONE_SAMPLE.draw(images, posterior, noise, components, prior)


class SplitMeasurement:
    """Sums over one split, each example counted once on any number of ranks.

    Args:
        components: what is measured.
        data: of which `split` ("val" or "test") is passed through.
        seed: the noise of an example is a function of it, of the split and of the example's row.
        device: where the components are.
        look: is shown each batch of this rank with its posterior.
    """

    def __init__(
        self,
        components: Components,
        data: ImageDataModule,
        split: str,
        seed: int,
        device: torch.device,
        look: Look | None = None,
    ) -> None:
        self._components, self._look = components, look
        self.split, self._seed, self._device = split, seed, device
        self._levels = data.levels
        self._n = data.n_test if split == "test" else data.n_val
        self._elbo = ELBOMetric().to(device)
        self._posterior = AggregatePosteriorMetric.of(components.model).to(device)
        self._psnr = PSNRMetric().to(device) if has_psnr(components) else None
        self.aggregate: AggregatePosterior | None = None
        """The statistics of q(z) over the split, once computed; None of a single example, which has no variance."""

    def update(self, batch: Batch) -> None:
        """Count a batch of this rank, in the precision of the weights."""
        with in_own_precision(self._device):
            self._count(batch)

    def _count(self, batch: Batch) -> None:
        posterior = self._components.model.encode(batch.images)
        if self._look is not None:
            self._look(batch, posterior)
        rows, shape = (batch.start, batch.start + len(batch)), posterior.noise_shape
        noise = randomness.rows("normal", self._seed, f"posterior/{self.split}", *rows, shape, self._device)
        draw = one_sample(self._components, batch.images, posterior, noise)
        self._elbo.update(draw.terms or draw.distortion)
        self._posterior.update(posterior)
        if self._psnr is not None and draw.parameters is not None:
            self._psnr.update(batch.images, self._components.likelihood.mean(draw.parameters))

    def compute(self, step: int) -> dict[str, float]:
        """The metrics of the split over all ranks, which all of them must ask for, by name: "val/elbo".

        Args:
            step: the optimiser step, at which the weight of the KL is taken.

        Raises:
            NonFinite: if one of them is NaN or infinite.
        """
        metrics = {name: float(value) for name, value in self._elbo.compute().items()}
        require_finite(f"{self.split} after step {step:,}", metrics)
        if self._n > 1:
            self.aggregate = self._posterior.compute()
            metrics["active_units"] = float(active_units(self.aggregate.var_of_mean))
            if (usage := self.aggregate.usage) is not None:
                metrics["perplexity"] = float(perplexity(usage))
                metrics["codes_used"] = float((usage > 0).sum())
                metrics["code_share"] = metrics["codes_used"] / len(usage)
        if self._psnr is not None:
            metrics["psnr"] = float(self._psnr.compute())
        if "rate" in metrics:
            metrics["kl_weight"] = self._components.rate_term.kl_weight(step)
            if (loss := self._loss(step, metrics)) is not None:
                metrics["loss"] = loss
            if (bits := self._bits(metrics)) is not None:
                metrics["bits_per_dim"] = bits
        require_finite(f"{self.split} after step {step:,}", metrics)
        return {f"{self.split}/{name}": value for name, value in metrics.items()}

    def _loss(self, step: int, metrics: dict[str, float]) -> float | None:
        """What training minimises, where it follows from averages over the split."""
        objective, rate_term = self._components.objective, self._components.rate_term
        kl = self.aggregate.kl if self.aggregate else None
        latent = None if kl is None else kl.view(self._components.model.latent_shape)
        return objective.average_loss(step, metrics["distortion"], metrics["rate"], latent, rate_term)

    def _bits(self, metrics: dict[str, float]) -> float | None:
        treatment = bits_per_dim(self._components.likelihood, self._levels)
        if treatment.kind != "discrete":  # a density needs another pass: lehr evaluate
            return None
        return treatment.bits(-metrics["elbo"], math.prod(self._components.model.image_shape))


def score(metrics: Mapping[str, float], split: str = "val") -> float:
    """What models are compared by, more is better: the ELBO at KL weight 1; -distortion where there is no rate."""
    elbo = metrics.get(f"{split}/elbo")
    return -metrics[f"{split}/distortion"] if elbo is None else elbo


def measure_split(
    components: Components,
    data: ImageDataModule,
    split: str,
    execution: Execution,
    seed: int,
    step: int,
    look: Look | None = None,
) -> dict[str, float]:
    """Pass `split` through the networks once: its metrics, see `SplitMeasurement`."""
    measurement = SplitMeasurement(components, data, split, seed, execution.device, look)
    with execution.evaluating(components):
        for batch in execution.batches(data, split, split):
            measurement.update(batch)
        return measurement.compute(step)
