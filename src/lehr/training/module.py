"""The LightningModule: a VAE, its likelihood, its prior, and the loss it is trained on.

Every counter comes from the trainer's own progress, so that nothing has to be restored by hand on resuming.
Shapes: b batch, c h w image, `*latent` (d,) or (zc, zh, zw).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from lehr import randomness
from lehr.data.batch import Batch
from lehr.errors import ConfigError
from lehr.models.autoencoder import Autoencoder
from lehr.models.components import Components
from lehr.models.wrapped import Wrapped
from lehr.needs import require_rate, require_two_examples
from lehr.objective.bounds import ELBO, Objective
from lehr.objective.likelihood import Likelihood
from lehr.objective.prior import Prior, StandardNormalPrior
from lehr.objective.rate import RateTerm
from lehr.objective.step import AUTOENCODER, StepInputs, StepResult
from lehr.posterior.aggregate import AggregatePosterior
from lehr.training.codes import Revival
from lehr.training.ema import Averaging, EMAPlan
from lehr.training.finite import FiniteLoss
from lehr.training.freezing import freeze_parts
from lehr.training.length import Length
from lehr.training.measured import MeasuredModule
from lehr.training.players import PlayerPlan, Players


class VAEModule(MeasuredModule):
    """Trains a VAE on loss = distortion + cost of the rate, in nats per example; most simply kl_weight * rate.

    Use it with an `ImageDataModule`. Evaluation reports the ELBO at KL weight 1, whatever the training weight is.

    Args:
        model: encoder and decoder.
        likelihood: what the decoder's output means.
        rate_term: what the rate costs.
        optimizer: how the autoencoder is trained.
        seed: every random number of training and validation is a function of it.
        compile: torch.compile the encoder, the decoder and the networks of other players.
        channels_last: keep kernels, and so what convolutions give, with the channels last in memory.
        prior: p(z); N(0, I) if None.
        objective: what is minimised; the negative ELBO with one sample of z if None.
        players: how each of the objective's other players is trained.
        ema: how long an average of the weights remembers, which evaluation then uses; None for none.
    """

    def __init__(
        self,
        model: Autoencoder,
        likelihood: Likelihood,
        rate_term: RateTerm,
        optimizer: PlayerPlan,
        seed: int = 0,
        compile: bool = False,
        channels_last: bool = False,
        prior: Prior | None = None,
        objective: Objective | None = None,
        players: Mapping[str, PlayerPlan] | None = None,
        ema: EMAPlan | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.likelihood = likelihood
        self.rate_term = rate_term
        self.prior = prior or StandardNormalPrior(model.latent_shape, model.image_shape)
        self.objective = objective or ELBO()
        require_rate(rate_term, self.objective)
        sizes = math.prod(model.image_shape), math.prod(model.latent_shape)
        rate_term.convert(*sizes, likelihood.fixed_error_weight())
        self.plans = {AUTOENCODER: optimizer, **(players or {})}
        self.seed = seed
        self.length: Length | None = None
        self.players: Players | None = None
        self.aggregate: AggregatePosterior | None = None
        """The statistics of q(z) over the training set, once training has ended."""
        self.last_step: StepResult | None = None
        """What the last batch of training came to."""
        self.logged_every: int | None = None
        """Optimiser steps from one that is logged to the next; None where nothing is."""
        self.finite = FiniteLoss()
        self.averaging = Averaging(ema or EMAPlan())
        self.revival = Revival(model, seed)
        if compile:
            model.compile_networks()
            self.objective.compile_networks()
        if channels_last:
            # of every network, and of those that terms bring; images then follow in the first convolution
            self.to(memory_format=torch.channels_last)

    def __setattr__(self, name: str, value: Any) -> None:
        # set at every step, or around every hook by Lightning; a module's own way of setting looks for parameters
        if name in ("last_step", "_current_fx_name"):
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @property
    def components(self) -> Components:
        """What is trained, without what trains it."""
        return Components(self.model, self.likelihood, self.prior, self.rate_term, self.objective)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage != "fit":
            return
        freeze_parts(self.player_networks, self.plans)
        self._require_what_terms_train()
        self._require_sizes(getattr(self.datamodule, "buckets", None) or [])
        self.length = Length.of(self.trainer, self.datamodule)
        self.n_train = self.datamodule.n_train
        require_two_examples(self.rate_term, self.datamodule.batch_size, self.n_train)
        self.rate_term.start(self.length.total_steps, self.length.steps_per_epoch)
        self.objective.begin(self.length.of_training(self.trainer.accumulate_grad_batches))

    def _require_what_terms_train(self) -> None:
        """Check that no term is of the encoder alone where it is frozen, nor weighed at a layer that is not trained."""
        terms, problems = getattr(self.objective, "terms", {}), []
        encoder = getattr(self.model, "encoder", None)
        is_frozen = isinstance(encoder, nn.Module) and not any(p.requires_grad for p in encoder.parameters())
        if idle := [f"terms.{name}" for name, term in terms.items() if term.trains == "encoder" and is_frozen]:
            problems.append(
                f"{', '.join(idle)}: is of the encoder alone, which optimizer.freeze keeps as it is; leave out the one "
                "or the other"
            )
        layer = self.model.last_layer
        if layer is None or not layer.requires_grad:
            why = "is frozen" if layer is not None else "is not known of this model (last_layer)"
            problems += [
                f"terms.{name}.adaptive=true: weighs gradients at the decoder's last layer, which {why}; say "
                f"terms.{name}.adaptive=false"
                for name, term in terms.items()
                if term.is_balanced
            ]
        if problems:
            raise ConfigError(*problems)

    def _require_sizes(self, buckets: Sequence[Sequence[int]]) -> None:
        """Check that the model and the terms take images of the heights and widths of aspect buckets."""
        if not buckets:
            return
        name, said = type(self.model).__name__, f"data.buckets={[list(bucket) for bucket in buckets]}"
        if not (self.model.any_size or isinstance(self.model, Wrapped)):  # what others take they do not say
            raise ConfigError(f"{said}: {name} takes images of one size")
        factor, shortest = getattr(self.model, "factor", 1), min(map(min, buckets))
        problems = [
            f"{said}: {height} x {width} are no multiples of the {factor} that {name} divides sides by"
            for height, width in buckets
            if height % factor or width % factor
        ]
        problems += [
            f"{said}: terms.{term} needs images of {needed} pixels or more on each side"
            for term, network in getattr(self.objective, "terms", {}).items()
            if (needed := network.smallest_side) > shortest
        ]
        if problems:
            raise ConfigError(*problems)

    @property
    def settled(self) -> int:
        """The first optimiser step from which on no weight in the loss is scheduled: validations can be compared."""
        return max(self.rate_term.settled, self.objective.settled)

    def on_fit_start(self) -> None:
        self.averaging.start(self.networks)  # on their device, with what a checkpoint gave them
        self.revival.start()

    def on_train_start(self) -> None:
        # what is frozen stays as it is: running statistics of its norms do not go on, and its dropout drops nothing
        for player, networks in self.player_networks.items():
            for part in (part for network in networks.values() for part in network.modules()):
                own = list(part.parameters())
                if self.plans[player].freeze and own and not any(parameter.requires_grad for parameter in own):
                    part.eval()

    @property
    def networks(self) -> dict[str, nn.Module]:
        """What a run ends in: the parts whose weights are exported, by what their names begin with."""
        return {"model": self.model, "likelihood": self.likelihood, "prior": self.prior}

    @property
    def player_networks(self) -> dict[str, dict[str, nn.Module]]:
        """What each player trains, by what the names of its parameters begin with."""
        others = {name: {f"objective.{name}": network} for name, network in self.objective.players.items()}
        return {AUTOENCODER: self.networks | {"rate_term": self.rate_term}, **others}

    def configure_optimizers(self) -> Players:
        assert self.length is not None
        self.players = Players.of(self.player_networks, self.plans, self.length.total_steps)
        return self.players

    @property
    def batches_done(self) -> int:
        """Training batches that have been started, over all epochs."""
        return self.trainer.fit_loop.epoch_loop.batch_progress.total.ready

    @property
    def images_seen(self) -> int:
        """Training images of all ranks up to now, the x-axis of everything that is logged."""
        return self.length.images(self.batches_done) if self.length else 0

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        assert self.players is not None
        step, number, device = self.trainer.global_step, self.batches_done - 1, self.device
        # for modules of the user's own; what lehr's draw is said below
        randomness.seed_layers(self.seed, number, self.trainer.global_rank, device)

        # the noise of the whole global batch is drawn and this rank's rows are taken, so that no two ranks share
        # noise and the number of ranks changes no number
        def noise(shape: tuple[int, ...]) -> Tensor:
            drawn = randomness.normal(self.seed, "posterior", number, (batch.total, *shape), device)
            return drawn[batch.start : batch.start + len(batch)]

        def uniform(stream: str, shape: tuple[int, ...]) -> Tensor:
            return randomness.uniform(self.seed, f"terms/{stream}", number, shape)

        world = self.trainer.world_size
        inputs = StepInputs(
            images=batch.images,
            noise=noise,
            values=self.rate_term.values(step),
            step=step,
            total=batch.total,
            n_train=self.n_train,
            world=world,
            sum_over_ranks=self.sum_over_ranks,
            uniform=uniform,
            is_logged=self._is_logged(step, batch_idx),
        )
        self.players.at_step(step)
        self.last_step = result = self.objective.step(inputs, self.components)
        self.players.take_part(result.losses)
        self.revival.count(result.posterior, batch, step)
        self.finite.check(tuple(result.terms), result.values, step, result.kl_weight)
        # DDP averages gradients over ranks; ranks may have unequal shares of the batch
        loss = result.total * (world / batch.total)
        if torch.distributed.is_initialized():
            loss = loss + self.players.nothing()
        accumulate = self.trainer.accumulate_grad_batches
        if accumulate > 1:
            # every example of a step counts alike, also where its last batch is smaller or it has fewer batches;
            # Lightning divides by the full number of them
            loss = loss * (batch.total * accumulate / self._images_in_step(batch, batch_idx))
        return loss

    def _images_in_step(self, batch: Batch, batch_idx: int) -> int:
        assert self.length is not None
        accumulate = self.trainer.accumulate_grad_batches
        if self.datamodule.overfit_batches:  # the same few batches, all of one size
            return batch.total * self.length.batches_in_step(batch_idx, accumulate)
        return self.length.images_in_step(batch_idx, accumulate)

    def _is_logged(self, step: int, batch_idx: int) -> bool:
        """Whether this batch, of optimiser step `step`, is the one that is logged of it, and the step is logged."""
        if self.logged_every is None or (step + 1) % self.logged_every or self.length is None:
            return False
        ends_step = (batch_idx + 1) % self.trainer.accumulate_grad_batches == 0
        return ends_step or batch_idx + 1 == self.length.batches_per_epoch

    def configure_gradient_clipping(self, optimizer: Any, *limits: Any, **named: Any) -> None:
        super().configure_gradient_clipping(optimizer, *limits, **named)  # what a trainer asks for
        assert self.players is not None
        self.players.clip()

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.after_step(batch_idx)

    def after_step(self, batch_idx: int) -> None:
        """What an optimiser step, that batch `batch_idx` of its epoch was the last of, brings with it."""
        if self.averaging.is_on and self.length:
            batches = self.length.batches_in_step(batch_idx, self.trainer.accumulate_grad_batches)
            before = self.length.images(self.batches_done - batches)
            self.averaging.update(self.images_seen - before, self.images_seen)
        if self.revival.is_on and self.players:
            self.revival.after_step(self.players, self.averaging, self.sum_over_ranks)

    def averaged(self) -> AbstractContextManager[None]:
        return self.averaging.applied(self.networks)

    def sum_over_ranks(self, values: Tensor) -> Tensor:
        """The sum of the `values` of all ranks, which all of them must ask for; `values` is overwritten."""
        if self.trainer.world_size > 1:
            torch.distributed.all_reduce(values)
        return values

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        self.averaging.save(checkpoint)
        self.revival.save(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.averaging.load(checkpoint)
        self.revival.load(checkpoint)
        if bool(checkpoint.get("ema")) and not self.averaging.plan.is_on:
            self.evaluated = {}  # it is of the average, and from now on the weights are those that are trained
