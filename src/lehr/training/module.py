"""The LightningModule: a VAE, its likelihood, its prior, and the loss it is trained on.

Every counter comes from the trainer's own progress, so that nothing has to be restored by hand on resuming.
Shapes: b batch, c h w image, `*latent` (d,) or (zc, zh, zw).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from lehr import randomness
from lehr.data.batch import Batch
from lehr.data.module import ImageDataModule
from lehr.errors import ConfigError
from lehr.models.autoencoder import Autoencoder
from lehr.models.components import Components
from lehr.objective.bounds import ELBO, IWAE, Draw, Objective
from lehr.objective.likelihood import Likelihood
from lehr.objective.prior import Prior, StandardNormalPrior
from lehr.objective.rate import RateInputs, RateTerm
from lehr.posterior.aggregate import AggregatePosterior
from lehr.posterior.posterior import Posterior
from lehr.run.measure import SplitMeasurement
from lehr.training.finite import FiniteLoss

_STAGES = 8
_STAGE_PARTS = (3**_STAGES - 1) // 2


@dataclass(frozen=True)
class Length:
    """How long a training is.

    Attributes:
        batches_per_epoch: batches each rank sees in an epoch.
        steps_per_epoch: optimiser steps in an epoch; the last may have fewer accumulated batches.
        total_steps: optimiser steps of the whole training.
        examples_per_epoch: images of all ranks together.
        batch_size: images of all ranks together in one batch.
    """

    batches_per_epoch: int
    steps_per_epoch: int
    total_steps: int
    examples_per_epoch: int
    batch_size: int

    def images(self, batches: int) -> int:
        """Images seen in the first `batches` batches of training."""
        return images_in(batches, self.batches_per_epoch, self.batch_size, self.examples_per_epoch)


def images_in(batches: int, batches_per_epoch: int, batch_size: int, examples_per_epoch: int) -> int:
    """Images in the first `batches` batches of training; the last batch of an epoch may have fewer than the others."""
    epochs, rest = divmod(batches, batches_per_epoch)
    return epochs * examples_per_epoch + min(rest * batch_size, examples_per_epoch)


@dataclass(frozen=True)
class OptimizerPlan:
    """Which optimizer, and how its learning rate decays over the training.

    Attributes:
        make: parameters -> optimizer.
        decay: "none"; "cosine" (Loshchilov & Hutter 2017, without restarts), from the optimizer's rate to `final_lr`;
            or "stages", eight of them, each three times as long as the one before, in which the rate falls to a
            tenth in equal ratios (Burda et al. 2016; 3280 epochs make theirs).
        final_lr: where the cosine ends.
    """

    make: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
    decay: str = "none"
    final_lr: float = 0.0

    def factor(self, step: int, total_steps: int, lr: float) -> float:
        """The learning rate at `step`, as a multiple of the initial `lr`."""
        if self.decay == "none":
            return 1.0
        progress = min(step / total_steps, 1.0)
        if self.decay == "stages":
            # stage i takes 3^i of the 3280 = (3^8 - 1) / 2 parts of the training
            parts = 1 + 2 * progress * _STAGE_PARTS
            stage = min(math.floor(math.log(parts, 3) + 1e-9), _STAGES - 1)
            return round(10 * 10 ** (-stage / (_STAGES - 1)), 1) / 10
        return (self.final_lr + (lr - self.final_lr) * 0.5 * (1 + math.cos(math.pi * progress))) / lr


class VAEModule(LightningModule):
    """Trains a VAE on loss = distortion + cost of the rate, in nats per example; most simply kl_weight * rate.

    Use it with an `ImageDataModule`. Evaluation reports the ELBO at KL weight 1, whatever the training weight is.

    Args:
        model: encoder and decoder.
        likelihood: what the decoder's output means.
        rate_term: what the rate costs.
        optimizer: which optimizer to train with.
        seed: every random number of training and validation is a function of it.
        compile: torch.compile the encoder and the decoder.
        prior: p(z); N(0, I) if None.
        objective: the bound that is maximised; the ELBO with one sample of z if None.
    """

    def __init__(
        self,
        model: Autoencoder,
        likelihood: Likelihood,
        rate_term: RateTerm,
        optimizer: OptimizerPlan,
        seed: int = 0,
        compile: bool = False,
        prior: Prior | None = None,
        objective: Objective | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.likelihood = likelihood
        self.rate_term = rate_term
        self.prior = prior or StandardNormalPrior(model.latent_shape, model.image_shape)
        self.objective = objective or ELBO()
        self.optimizer_plan = optimizer
        self.seed = seed
        self.measurement: SplitMeasurement | None = None
        """Of the split that is, or was last, validated or tested."""
        self.length: Length | None = None
        self.aggregate: AggregatePosterior | None = None
        """The statistics of q(z) over the training set, once training has ended."""
        self.step_terms: Tensor | None = None
        """(2,) distortion and rate of the last training batch over all ranks, in nats per example."""
        self.step_kl_weight: float | Tensor = 0.0
        """The KL weight that batch was trained with, in effect."""
        self.step_bound: Tensor | None = None
        """The importance-weighted bound of that batch over all ranks, where it was trained on."""
        self.step_posterior: Posterior | None = None
        self.evaluated: dict[str, float] = {}
        """The metrics of the last validation or test; in the checkpoint, as a resumed run may have none to come."""
        self.finite = FiniteLoss()
        if compile:
            model.compile_networks()

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning notes the name of each hook around each hook; a module's own way of setting looks for parameters
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @property
    def components(self) -> Components:
        """What is trained, without what trains it."""
        return Components(self.model, self.likelihood, self.prior, self.rate_term, self.objective)

    @property
    def datamodule(self) -> ImageDataModule:
        datamodule = self.trainer.datamodule  # type: ignore[attr-defined]  # set by the trainer
        assert isinstance(datamodule, ImageDataModule)
        return datamodule

    def setup(self, stage: str) -> None:
        if stage != "fit":
            return
        trainer, data = self.trainer, self.datamodule
        batches, limit = data.batches_per_epoch, trainer.limit_train_batches
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * (1.0 if limit is None else limit))
        steps = math.ceil(batches / trainer.accumulate_grad_batches)
        limits = []
        if trainer.max_epochs is not None and trainer.max_epochs >= 0:
            limits.append(trainer.max_epochs * steps)
        if trainer.max_steps >= 0:
            limits.append(trainer.max_steps)
        if not limits:
            raise ConfigError("the trainer has neither max_epochs nor max_steps: give one of them")
        examples = min(batches * data.batch_size, data.n_train)
        self.length = Length(batches, steps, min(limits), examples, data.batch_size)
        self.rate_term.start(self.length.total_steps, steps)

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer_plan.make([p for p in self.parameters() if p.requires_grad])
        if self.optimizer_plan.decay == "none":
            return optimizer
        assert self.length is not None
        total, lr = self.length.total_steps, float(optimizer.defaults["lr"])
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: self.optimizer_plan.factor(step, total, lr)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_train_start(self) -> None:
        # on resuming, the optimizer's values are those of the checkpoint; what is configured now counts
        for optimizer in self.trainer.optimizers:
            for group in optimizer.param_groups:
                group.update(optimizer.defaults)
        for config in self.trainer.lr_scheduler_configs:
            scheduler = config.scheduler
            scheduler.base_lrs = [scheduler.optimizer.defaults["lr"]]
            for group in scheduler.optimizer.param_groups:
                group |= {"initial_lr": scheduler.base_lrs[0], "lr": self.learning_rate(self.trainer.global_step)}

    def learning_rate(self, step: int) -> float:
        """The learning rate of an optimiser step."""
        lr = float(self.trainer.optimizers[0].defaults["lr"])
        return lr * self.optimizer_plan.factor(step, self.length.total_steps, lr) if self.length else lr

    @property
    def batches_done(self) -> int:
        """Training batches that have been started, over all epochs."""
        return self.trainer.fit_loop.epoch_loop.batch_progress.total.ready

    @property
    def images_seen(self) -> int:
        """Training images of all ranks up to now, the x-axis of everything that is logged."""
        return self.length.images(self.batches_done) if self.length else 0

    @property
    def kl_weight(self) -> float:
        """The KL weight in effect at the current optimiser step."""
        return self.rate_term.kl_weight(self.trainer.global_step)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        # the noise of the whole global batch is drawn and this rank's rows are taken, so that no two ranks share
        # noise and the number of ranks changes no number
        shape = self.objective.noise_shape(batch.total, self.model.latent_shape)
        noise = randomness.normal(self.seed, "posterior", self.batches_done - 1, shape, self.device)
        noise = noise[batch.start : batch.start + len(batch)]
        prior = self.prior.density(self.model.encode)
        draw = self.objective.draw(batch.images, noise, self.model, self.likelihood, prior)
        # DDP averages gradients over ranks; ranks may have unequal shares of the batch
        share = self.trainer.world_size / batch.total
        sums = torch.stack([draw.terms.distortion.detach().sum(), draw.terms.rate.detach().sum()]) * share
        self.step_terms = self.sum_over_ranks(sums) / self.trainer.world_size
        self.step_posterior = draw.posterior
        loss, self.step_kl_weight = self._loss(draw, batch)
        self.finite.check(self.step_terms, self.trainer.global_step, self.step_kl_weight)
        loss = loss * share
        if self.trainer.accumulate_grad_batches > 1:
            # Lightning divides by the full number, which the last step of an epoch may not have
            loss = loss * (self.trainer.accumulate_grad_batches / self._batches_in_step(batch_idx))
        return loss

    def _loss(self, draw: Draw, batch: Batch) -> tuple[Tensor, float | Tensor]:
        """The loss of this rank's examples, summed, and the KL weight that it amounts to."""
        if isinstance(self.objective, IWAE):
            assert draw.weights is not None
            weight = self.kl_weight
            loss = self.objective.bound_loss(draw.weights, weight)
            self.step_bound = self.sum_over_ranks(-loss.detach() / batch.total)
            return loss, weight
        assert self.step_terms is not None
        cost = self.rate_term(
            RateInputs(
                step=self.trainer.global_step,
                posterior=draw.posterior,
                z=draw.z,
                terms=draw.terms,
                means=self.step_terms,
                total=batch.total,
                n_train=self.datamodule.n_train,
                sum_over_ranks=self.sum_over_ranks,
            )
        )
        return draw.terms.distortion.sum() + cost.value, cost.kl_weight

    def _batches_in_step(self, batch_idx: int) -> int:
        """How many batches of its epoch make the optimiser step that batch `batch_idx` is part of."""
        assert self.length is not None
        first = batch_idx - batch_idx % self.trainer.accumulate_grad_batches
        return min(self.trainer.accumulate_grad_batches, self.length.batches_per_epoch - first)

    def sum_over_ranks(self, values: Tensor) -> Tensor:
        """The sum of the `values` of all ranks, which all of them must ask for; `values` is overwritten."""
        if self.trainer.world_size > 1:
            torch.distributed.all_reduce(values)
        return values

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["evaluated"] = dict(self.evaluated)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.evaluated = checkpoint["evaluated"]

    def on_validation_epoch_start(self) -> None:
        self._start_measuring("val")

    def on_test_epoch_start(self) -> None:
        self._start_measuring("test")

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._measure(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._measure(batch)

    def on_validation_epoch_end(self) -> None:
        self._end_measuring()

    def on_test_epoch_end(self) -> None:
        self._end_measuring()

    def _start_measuring(self, split: str) -> None:
        self.measurement = SplitMeasurement(self.components, self.datamodule, split, self.seed, self.device)

    def _measure(self, batch: Batch) -> None:
        assert self.measurement is not None
        self.measurement.update(batch)

    def _end_measuring(self) -> None:
        assert self.measurement is not None
        self.evaluated = self.measurement.compute(self.trainer.global_step)
        # for monitors; what goes to the loggers is written by the Metrics callback
        self.log_dict(self.evaluated, logger=False)
