"""Everything that goes to the loggers, by the same names and with images seen on the x-axis."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import yaml
from lightning.pytorch import Trainer
from torch import Tensor

from lehr.data.loader import Waiting
from lehr.evaluation.catalogue import COLUMNS
from lehr.objective.step import AUTOENCODER, StepResult
from lehr.posterior.aggregate import AggregatePosterior
from lehr.posterior.codes import perplexity
from lehr.run.finish import posterior_metrics
from lehr.training.lean import LeanCallback
from lehr.training.length import is_over
from lehr.training.loggers.all import run_loggers
from lehr.training.loggers.run_logger import RunLogger
from lehr.training.module import VAEModule

_NO_VECTORS: Mapping[str, Tensor] = {}
_POINTS = 10  # of a training that is shorter than `trainer.log_every_n_steps`


class Metrics(LeanCallback):
    """Logs training every few steps, every validation and the final statistics, and times the training.

    Training values are those of the batch of the step at hand, over all ranks. `self.log` is not used in training:
    at every step it costs more than a small model.

    Args:
        config: the resolved configuration, shown as a text.
        hyperparameters: what loggers show that the run is compared by; None for what people compare most by.
    """

    def __init__(self, config: Mapping[str, Any], hyperparameters: Mapping[str, Any] | None = None) -> None:
        self._config = config
        self._hyperparameters = _hyperparameters(config) if hyperparameters is None else _shown(hyperparameters)
        self._mark = 0.0
        self._done = 0, 0  # batches and images at the mark
        self._seconds = 0.0  # spent in training steps and in fetching their batches, in this process
        self._steps = 0
        self._images = 0
        self._waited = 0.0  # of these seconds, for batches
        self._since = (0.0, 0, 0, 0.0)  # the four above when training was logged last
        self._waiting = Waiting()  # of the data
        self._waited_mark = 0.0
        self._every = 1  # steps from one entry of training to the next
        self._share = 1.0  # of the last batch that is this rank's
        self._has_logged = False  # anything of the training
        self._validated_at = -1  # images seen when a validation was logged last
        self._trained_with = self._hyperparameters  # before, where the run is resumed

    def state_dict(self) -> dict[str, Any]:
        return {
            "validated_at": self._validated_at,
            "has_logged": self._has_logged,
            "hyperparameters": dict(self._hyperparameters),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._validated_at = state_dict["validated_at"]
        self._has_logged = state_dict.get("has_logged", True)
        self._trained_with = state_dict.get("hyperparameters", self._hyperparameters)

    @property
    def validated_at(self) -> int:
        """Images seen at the last validation of the training; -1 if there was none."""
        return self._validated_at

    @property
    def final(self) -> dict[str, float]:
        """Speed over the whole training of this process."""
        return self._speed((0.0, 0, 0, 0.0))

    def on_fit_start(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        for logger in run_loggers(trainer):
            if logger.is_new or not trainer.ckpt_path:  # else a resumed run has done this before
                self._declare(logger, 0 if not trainer.ckpt_path else pl_module.images_seen)

    def on_train_start(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        self._waiting = getattr(trainer, "datamodule").waiting  # noqa: B009  # the trainer sets it
        self._waited_mark = self._waiting.seconds
        self._every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if pl_module.length and pl_module.length.total_steps < self._every:  # a curve all the same
            self._every = max(1, pl_module.length.total_steps // _POINTS)
        pl_module.logged_every = self._every
        if self._trained_with != self._hyperparameters:
            for logger in run_loggers(trainer):
                if not logger.is_new:
                    self._declare(logger, pl_module.images_seen)
            self._trained_with = self._hyperparameters

    def _declare(self, logger: RunLogger, images_seen: int) -> None:
        logger.declare_hyperparameters(self._hyperparameters, COLUMNS)
        logger.show_text("config", self._text, images_seen)

    @cached_property
    def _text(self) -> str:
        """The configuration; to write it takes its time."""
        return yaml.safe_dump(dict(self._config), sort_keys=False)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        self._mark, self._done = time.perf_counter(), _done(pl_module)

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: Trainer, pl_module: VAEModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now, done = time.perf_counter(), _done(pl_module)
        if self._mark:  # a run resumed within an epoch starts its clock with its first step
            self._seconds += now - self._mark
            self._steps += done[0] - self._done[0]
            self._images += done[1] - self._done[1]
            self._waited += self._waiting.seconds - self._waited_mark
        self._mark, self._done, self._waited_mark = now, done, self._waiting.seconds
        self._share = len(batch) / batch.total
        if trainer.global_step % self._every == 0 and not trainer.fit_loop._should_accumulate():
            self._log_training(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        if not self._has_logged and is_over(trainer):  # which was stopped before anything was due
            self._log_training(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        if trainer.sanity_checking:
            return
        if trainer.state.fn == "validate":
            self.log_final(trainer, pl_module, pl_module.evaluated, pl_module.aggregate)
            return
        self._validated_at = pl_module.images_seen
        measured = pl_module.measurement
        kl = measured.aggregate.kl_of_latents if measured and measured.aggregate else None
        vectors = {} if kl is None else {"val/kl_per_dimension": kl}
        log(trainer, pl_module.evaluated, pl_module.images_seen, vectors)
        self._mark, self._done = time.perf_counter(), _done(pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: VAEModule) -> None:  # type: ignore[override]
        self.log_final(trainer, pl_module, pl_module.evaluated, pl_module.aggregate)

    def log_final(
        self,
        trainer: Trainer,
        module: VAEModule,
        measured: Mapping[str, float],
        aggregate: AggregatePosterior | None,
        images_seen: int | None = None,
    ) -> None:
        """Log the metrics of the test and the statistics of q(z); a validation that is logged already is left out.

        Args:
            trainer: whose loggers are told.
            module: that was trained.
            measured: the metrics of the test.
            aggregate: the statistics of q(z).
            images_seen: by the weights that were measured; None for all that there were.
        """
        if self._validated_at == module.images_seen:
            measured = {name: value for name, value in measured.items() if not name.startswith("val/")}
        at = module.images_seen if images_seen is None else images_seen
        log(trainer, {**measured, **posterior_metrics(aggregate)}, at)

    def log_validation(self, trainer: Trainer, module: VAEModule, measured: Mapping[str, float]) -> None:
        """Log a validation after the last step of a training that had none there."""
        if self._validated_at != module.images_seen:
            self._validated_at = module.images_seen
            log(trainer, measured, module.images_seen)

    def _log_training(self, trainer: Trainer, module: VAEModule) -> None:
        if (result := module.last_step) is None or module.players is None:
            return
        self._has_logged = True
        metrics = {f"train/{name}": value for name, value in training_metrics(result).items()}
        for name, value in result.posterior.diagnostics().items():
            metrics[f"train/{name}"] = float(module.sum_over_ranks(value * self._share))
        if (usage := result.posterior.usage) is not None:
            usage = module.sum_over_ranks(usage)
            metrics |= {"train/perplexity": float(perplexity(usage)), "train/codes_used": float((usage > 0).sum())}
        if module.revival.is_on:
            metrics["train/codes_revived"] = module.revival.revived
        metrics |= _of_players("learning_rate", module.players.learning_rates())
        metrics |= _of_players("gradient_norm", module.players.gradient_norms())
        if (kept := module.averaging.kept) is not None:
            metrics["train/ema_decay"] = kept
        log_scale = getattr(module.likelihood, "log_scale", None)
        if log_scale is not None:
            metrics["train/scale"] = float(log_scale.detach().exp())
        metrics |= self._speed(self._since)
        self._since = self._seconds, self._steps, self._images, self._waited
        log(trainer, metrics, module.images_seen)

    def _speed(self, since: tuple[float, int, int, float]) -> dict[str, float]:
        seconds, steps, images = self._seconds - since[0], self._steps - since[1], self._images - since[2]
        if not steps or not seconds:
            return {}
        return {
            "time/images_per_second": images / seconds,
            "time/step_ms": 1000 * seconds / steps,
            "time/waiting_share": (self._waited - since[3]) / seconds,
        }


def training_metrics(result: StepResult) -> dict[str, float]:
    """What a batch came to, by name: each player's loss, the ELBO where there is one, terms and their weights."""
    numbers = result.numbers()
    found = {"loss": result.objective()}
    found |= {f"loss_{name}": result.objective(name) for name in result.losses if name != AUTOENCODER}
    if {"distortion", "rate"} <= numbers.keys():
        found["elbo"] = -(numbers["distortion"] + numbers["rate"])
    found |= {name: value for name, value in numbers.items() if result.terms[name].player != name}  # its loss
    if result.kl_weight is not None:
        found["kl_weight"] = float(result.kl_weight)
    for name, term in result.terms.items():
        if name not in ("distortion", "rate") and term.weight is not None and not _is_one(term.weight):
            found[f"{name}_weight"] = float(term.weight)
    return found


def _done(module: VAEModule) -> tuple[int, int]:
    """Batches and images of the training up to now."""
    return module.batches_done, module.images_seen


def _of_players(name: str, values: Mapping[str, float]) -> dict[str, float]:
    """Values of players as metrics: that of the autoencoder has no player's name."""
    return {
        f"train/{name}{player.removeprefix(AUTOENCODER) if player.startswith(AUTOENCODER) else f'_{player}'}": value
        for player, value in values.items()
    }


def _is_one(weight: float | Tensor) -> bool:
    return not isinstance(weight, Tensor) and abs(weight) == 1


def log(
    trainer: Trainer, metrics: Mapping[str, float], images_seen: int, vectors: Mapping[str, Tensor] = _NO_VECTORS
) -> None:
    """Write scalars to every logger, with images seen on the x-axis, and `vectors` (n,), a number for each latent."""
    if metrics and trainer.is_global_zero:
        for logger in trainer.loggers:
            if not isinstance(logger, RunLogger):
                logger.log_metrics(dict(metrics), step=images_seen)
        for logger in run_loggers(trainer):
            logger.log_point(metrics, vectors, images_seen)


def _shown(values: Mapping[str, Any]) -> dict[str, Any]:
    """As loggers can show them: what is no number and no text as JSON has it."""
    return {
        key: value if isinstance(value, bool | int | float | str) else json.dumps(value)
        for key, value in values.items()
    }


def _hyperparameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """What people compare runs by; a value that the configuration does not have is left out."""
    keys = (
        "seed", "data._target_", "data.batch_size", "data.binarize",
        "model._target_", "model.latent_dim", "model.latent_channels", "model.base_channels",
        "likelihood._target_", "likelihood.scale", "prior._target_", "objective._target_", "objective.samples",
        "kl._target_", "kl.capacity", "kl.beta", "kl.target_rate", "kl.target_distortion", "kl.free_nats",
        "kl.weight", "kl.hold", "kl.warmup", "kl.shape", "kl.cycles",
        "optimizer.lr", "trainer.max_epochs", "trainer.max_steps", "trainer.precision",
    )  # fmt: skip
    found: dict[str, Any] = {}
    for key in keys:
        group, _, name = key.partition(".")
        value = config.get(group)
        value = value.get(name) if name and isinstance(value, Mapping) else value
        if isinstance(value, bool | int | float | str):
            found[key.removesuffix("._target_")] = value.rpartition(".")[2] if key.endswith("_target_") else value  # type: ignore[union-attr]
    return found
