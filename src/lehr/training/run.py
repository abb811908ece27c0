"""One run from its configuration to its directory: data, model, training, statistics, samples, test.

Every stage before the last can be killed; what resumes goes on from the last checkpoint and ends in the same files.
"""

from __future__ import annotations

import logging
import math
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger
from torch import Tensor

from lehr import randomness
from lehr.config.build import build, find_class
from lehr.data.module import ImageDataModule
from lehr.errors import ConfigError, Interrupted, in_a_line
from lehr.files import is_disk_full, write_json
from lehr.objective.bits import levels_problem
from lehr.objective.bounds import Objective
from lehr.objective.rate import RateTerm
from lehr.run.claim import Claim
from lehr.run.directory import DONE, FAILED, INTERRUPTED, PRUNED, RunDirectory, Status
from lehr.run.evaluate import Request, evaluate_run, evaluate_trained
from lehr.run.load import load
from lehr.run.model_files import build_likelihood, build_model, build_prior, write_model
from lehr.training.callbacks.aggregate import AggregateStatistics
from lehr.training.callbacks.interruption import Interruption
from lehr.training.callbacks.metrics import Metrics, posterior_metrics
from lehr.training.callbacks.pruning import Pruned
from lehr.training.callbacks.samples import SampleGrids
from lehr.training.checkpoint import AtomicCheckpointIO, read_checkpoint, require_fit
from lehr.training.ddp import RunDirectoryDDP
from lehr.training.ema import EMAPlan
from lehr.training.launched import rank_from_outside
from lehr.training.lean import NoProfiler
from lehr.training.length import images_in
from lehr.training.loop import LeanEpochLoop
from lehr.training.module import VAEModule
from lehr.training.players import PlayerPlan

Config = Mapping[str, Any]

_INTERRUPTED = "interrupted"


_GREY = (
    "note: the pixels are grey, and of grey values this likelihood is a cross-entropy, so its ELBO bounds no "
    "log-likelihood; data.binarize=dynamic or likelihood=gaussian gives one"
)


@dataclass(frozen=True)
class Extras:
    """What a sweep adds to a run.

    Attributes:
        hyperparameters: what TensorBoard's HParams table shows of the run; None for what people compare most.
        callbacks: after those of the configuration.
    """

    hyperparameters: Mapping[str, Any] | None = None
    callbacks: tuple[Callback, ...] = ()


class Parts:
    """What a run is made of, built from its configuration."""

    def __init__(
        self,
        config: Config,
        directory: RunDirectory,
        checkpoint: Path | None,
        trust: tuple[str, ...],
        extras: Extras | None = None,
    ) -> None:
        extras = extras or Extras()
        self.data = build(config["data"], ImageDataModule, key="data", trust=trust)
        rate_term = build(config["kl"], RateTerm, key="kl", trust=trust)
        objective = build(config["objective"], Objective, key="objective", trust=trust)
        plan = _player_plan(config["optimizer"], config["trainer"]["gradient_clip_val"], trust)
        saved = read_checkpoint(checkpoint) if checkpoint else None
        # a wrong device or precision is found before the data are read
        self.metrics = Metrics(config, extras.hyperparameters)
        self.callbacks = [*_callbacks(config["callbacks"], trust), self.metrics, *extras.callbacks, Interruption()]
        self.trainer = _trainer(config, directory, checkpoint, trust, self.callbacks)
        self.data.prepare_data()
        self.data.setup()
        with randomness.seeded(config["seed"], "weights"):
            model = build_model(config, self.data.shape, trust)
        likelihood = build_likelihood(config, trust)
        if problem := levels_problem(likelihood.levels, self.data.levels):
            raise ConfigError(problem)
        with randomness.seeded(config["seed"], "prior"):
            prior = build_prior(config, model, trust)
        if not checkpoint:
            images = some_images(self.data)
            model.start_at(likelihood.parameters_at(images.double().mean(0).float()))
            prior.start_at(images)
        if self.data.grey and likelihood.levels == 2 and self.trainer.is_global_zero:
            print(_GREY, file=sys.stderr)
        self.module = VAEModule(
            model,
            likelihood,
            rate_term,
            plan,
            seed=config["seed"],
            compile=config["compile"],
            prior=prior,
            objective=objective,
            ema=_ema_plan(config.get("ema") or {}),
        )
        purge = None
        if saved and checkpoint:
            require_fit(saved, self.module, checkpoint)
            purge = _purge_step(saved, self.data)
        if config["logger"] and self.trainer.is_global_zero:
            given = {"save_dir": directory.path, "purge_step": purge}
            is_own = config["logger"]["_target_"].startswith("lehr.")
            logger = build(config["logger"], Logger, key="logger", trust=trust, **(given if is_own else {}))
            self.trainer.loggers = [logger]

    def fraction(self) -> float:
        """How much of the training is done."""
        length = self.module.length
        return min(1.0, self.trainer.global_step / length.total_steps) if length else 0.0


def train(
    config: Config,
    directory: RunDirectory,
    resume: bool = False,
    trust: tuple[str, ...] = (),
    import_seconds: float = 0.0,
    claim: Claim | None = None,
    extras: Extras | None = None,
) -> dict[str, float]:
    """Train the configured VAE into `directory` and return its final metrics.

    Args:
        config: the resolved configuration, plain values.
        directory: where everything is written.
        resume: go on from the last checkpoint there.
        trust: packages of the user's own whose classes may be built.
        import_seconds: what starting the program took, for the record.
        claim: to the directory, where the caller has it already.
        extras: what a sweep adds.

    Raises:
        LehrError: for a mistake of the user's, and for a loss that is not finite.
        Interrupted: upon SIGTERM or Ctrl-C, after everything has been saved.
        Pruned: when a search has seen enough of the run.
    """
    if rank_from_outside(config):
        # of what the ranks share only the first one's is written; that they have the same configuration is checked
        checkpoint = directory.require_checkpoint() if resume else None
        with _quiet():
            return _fit_and_test(Parts(config, directory, checkpoint, trust), checkpoint)
    if claim is None:
        with _claimed(directory) as claim:
            return train(config, directory, resume, trust, import_seconds, claim, extras)
    started = time.perf_counter()
    checkpoint = directory.require_checkpoint() if resume else None
    # an earlier run's files are touched only once it is certain that this one can start
    has_something_to_lose = resume or directory.state() is not None
    status = Status(directory)
    seconds = {"import": import_seconds}
    parts = None
    try:
        if not has_something_to_lose:
            _begin(directory, config, status)
        with _quiet():
            parts = Parts(config, directory, checkpoint, trust, extras)
            claim.fraction = parts.fraction
            if has_something_to_lose:
                if not resume:
                    directory.clear()
                _begin(directory, config, status)
            seconds["set_up"] = time.perf_counter() - started
            metrics = _run(parts, config, directory, checkpoint, seconds)
            _end_other_ranks(parts.trainer)
    except Interrupted as interruption:
        status.finish(INTERRUPTED, str(interruption), seconds)
        raise
    except Pruned as pruned:
        status.finish(PRUNED, str(pruned), seconds)
        raise
    except SystemExit:  # a scheduler's handler that has saved what it wants and leaves
        status.finish(INTERRUPTED, "the process was told to end", seconds)
        raise
    except KeyboardInterrupt as error:  # outside of training and testing, which end in order
        stop = Interrupted(signal.SIGINT)
        status.finish(INTERRUPTED, str(stop), seconds)
        raise stop from error
    except BaseException as error:
        # what did not fit on the disk can go on from what did
        state = INTERRUPTED if is_disk_full(error, directory.path) else FAILED
        status.finish(state, in_a_line(error), seconds)
        raise
    finally:
        if parts:
            _end_other_ranks(parts.trainer, seconds=0)
    seconds["total"] = import_seconds + time.perf_counter() - started
    # what an evaluation makes of it does not change that the training is done
    status.finish(DONE, seconds=seconds)
    if config["evaluate"] != "none":
        evaluating = time.perf_counter()
        problem = _evaluate(lambda request: _evaluate_parts(parts, request, directory), config, directory)
        seconds["evaluation"] = time.perf_counter() - evaluating
        level = "none" if problem == _INTERRUPTED else config["evaluate"]
        status.finish(DONE, seconds=seconds, evaluated=level, evaluation_error=problem)
    return metrics


def evaluate_finished(config: Config, directory: RunDirectory, trust: tuple[str, ...] = ()) -> None:
    """The evaluation at the end of a run that is done, but was ended before it, or told to do less then."""
    error = _evaluate(lambda request: evaluate_run(load(directory.path, trust), request, trust), config, directory)
    if error != _INTERRUPTED:
        directory.record_evaluation(config["evaluate"], error)


def _evaluate_parts(parts: Parts, request: Request, directory: RunDirectory) -> None:
    module = parts.module
    if module.aggregate is not None:
        evaluate_trained(module.components, module.aggregate, parts.data, module.device, request, directory)


@contextmanager
def _claimed(directory: RunDirectory) -> Iterator[Claim]:
    try:
        claim = Claim.take(directory.path)
    except OSError as error:
        raise ConfigError(f"dir={directory.path}: cannot be written to ({error.strerror})") from error
    if claim is None:
        raise ConfigError(f"dir={directory.path}: {directory.holder() or 'another process'} is running there")
    with claim:
        yield claim


def _evaluate(evaluate: Callable[[Request], Any], config: Config, directory: RunDirectory) -> str | None:
    """Evaluate a run that is done whatever comes of it; what went wrong, if anything."""
    try:
        with _quiet():
            evaluate(Request(level=config["evaluate"]))
        return None
    except KeyboardInterrupt:
        error, what = _INTERRUPTED, "was interrupted"
    except Exception as problem:
        if is_disk_full(problem, directory.path):
            raise
        error = in_a_line(problem)
        what = f"failed ({error})"
    again = f"lehr evaluate run={directory.path}"
    print(f"note: the run is finished, but its evaluation {what}; once more: {again}", file=sys.stderr)
    return error


def _begin(directory: RunDirectory, config: Config, status: Status) -> None:
    try:
        directory.path.mkdir(parents=True, exist_ok=True)
        directory.remove_unfinished()
        directory.remove_evaluations()
        directory.write_config(dict(config))
        status.start()
    except OSError as error:
        raise ConfigError(f"dir={directory.path}: cannot be written to ({error.strerror})") from error


def _end_other_ranks(trainer: Trainer, seconds: float = 60.0) -> None:
    """Wait for the ranks that this process has started, and end those that are not through by then."""
    if isinstance(trainer.strategy, RunDirectoryDDP):
        trainer.strategy.close(seconds)


def follow(directory: RunDirectory, checkpoint: Path | None, trust: tuple[str, ...]) -> None:
    """Take part in a run that the first rank directs."""
    config = directory.read_config()
    with _quiet():
        _fit_and_test(Parts(config, directory, checkpoint, trust), checkpoint)


def _run(
    parts: Parts, config: Config, directory: RunDirectory, checkpoint: Path | None, seconds: dict[str, float]
) -> dict[str, float]:
    started = time.perf_counter()
    results = _fit_and_test(parts, checkpoint)
    elapsed = time.perf_counter() - started
    for callback in parts.callbacks:
        if isinstance(callback, AggregateStatistics):
            seconds["statistics"] = callback.seconds
        elif isinstance(callback, SampleGrids):
            seconds["pictures"] = callback.seconds
    seconds["training"] = elapsed - sum(seconds.get(name, 0.0) for name in ("statistics", "pictures"))
    module = parts.module
    metrics = dict(results)
    if module.aggregate is not None:
        metrics |= posterior_metrics(module)
    metrics |= parts.metrics.final
    write_model(directory.model, module.model, module.likelihood, module.prior, config)
    write_json(directory.metrics, metrics)
    return metrics


def _fit_and_test(parts: Parts, checkpoint: Path | None) -> dict[str, float]:
    """Train, then test; the metrics of the last validation and of the test."""
    trainer, module, data = parts.trainer, parts.module, parts.data
    trainer.fit(module, datamodule=data, ckpt_path=checkpoint)
    validated = dict(module.evaluated)
    if data.n_test:
        trainer.test(module, datamodule=data, verbose=False)
    else:
        trainer.validate(module, datamodule=data, verbose=False)
    return validated | module.evaluated


def some_images(data: ImageDataModule, n: int = 20_000) -> Tensor:
    """At most `n` training images (n, c, h, w), chosen at random, as evaluation sees them."""
    most = max(1, n * 28 * 28 // math.prod(data.shape))  # of larger images fewer
    return torch.cat([batch.images for batch in data.evaluation_loader("train", "cpu", limit=min(n, most))])


def _player_plan(node: Mapping[str, Any], clip: float | None, trust: tuple[str, ...]) -> PlayerPlan:
    values = dict(node)
    own = {name: values.pop(name) for name in ("decay", "final_lr") if name in values}
    frozen = tuple(values.pop("freeze", ()))
    cls = find_class(values.pop("_target_"), torch.optim.Optimizer, trust, "optimizer._target_")
    if cls in (torch.optim.Adam, torch.optim.AdamW):
        values |= {"betas": tuple(values["betas"]), "fused": True}
    return PlayerPlan(cls, values, clip=clip, freeze=frozen, **own)


def _ema_plan(node: Mapping[str, Any]) -> EMAPlan | None:
    plan = EMAPlan(node.get("decay"), node.get("half_life"))
    return plan if plan != EMAPlan() else None


def _callbacks(nodes: Mapping[str, Mapping[str, Any] | None], trust: tuple[str, ...]) -> list[Callback]:
    return [build(node, Callback, key=f"callbacks.{name}", trust=trust) for name, node in nodes.items() if node]


def _trainer(
    config: Config, directory: RunDirectory, checkpoint: Path | None, trust: tuple[str, ...], callbacks: list[Callback]
) -> Trainer:
    values = config["trainer"]
    accelerator = values["accelerator"]
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    devices = values["devices"]
    if devices == "auto":
        devices = torch.cuda.device_count() if accelerator == "cuda" else 1
    distributed = values["strategy"] == "ddp" or devices * values["num_nodes"] > 1
    trainer = Trainer(
        accelerator=accelerator,
        devices=devices,
        num_nodes=values["num_nodes"],
        strategy=RunDirectoryDDP(directory.path, config, checkpoint, trust) if distributed else "auto",
        precision=values["precision"],
        max_epochs=-1 if values["max_epochs"] is None else values["max_epochs"],
        max_steps=-1 if values["max_steps"] is None else values["max_steps"],
        accumulate_grad_batches=values["accumulate_grad_batches"],
        check_val_every_n_epoch=values["check_val_every_n_epoch"],
        log_every_n_steps=values["log_every_n_steps"],
        default_root_dir=directory.path,
        callbacks=callbacks,
        # else a job of a cluster is taken for one of several ranks, even where it is all there is
        plugins=[AtomicCheckpointIO(), *([] if rank_from_outside(config) is not None else [LightningEnvironment()])],
        logger=False,
        profiler=NoProfiler(),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    LeanEpochLoop.install(trainer)
    return trainer


def _purge_step(checkpoint: dict[str, Any], data: ImageDataModule) -> int:
    """The first step after `checkpoint` on TensorBoard's axis: what was logged from there on will be logged again."""
    batches = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["ready"]
    return images_in(batches, data.batches_per_epoch, data.batch_size, data.n_train) + 1


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advice off the screen; what it warns of here is either checked before or not so."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
