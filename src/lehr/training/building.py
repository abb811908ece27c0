"""From a configuration to what trains it: trainer, module and data, and what is wanted when training ends."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import Logger
from torch import Tensor

from lehr import randomness
from lehr.config.build import build, find_class
from lehr.config.given import Given
from lehr.config.schema import plan_of
from lehr.data.loader import AwaitedLoader
from lehr.data.module import ImageDataModule
from lehr.errors import ConfigError
from lehr.models.autoencoder import Autoencoder
from lehr.models.wrapped import evaluated
from lehr.needs import DENSITY, TWO_EXAMPLES
from lehr.objective.bits import levels_problem
from lehr.objective.rate import RateTerm
from lehr.run.checkpoint_file import read_checkpoint
from lehr.run.directory import RunDirectory
from lehr.run.finish import Options
from lehr.run.history import History
from lehr.run.model_files import build_likelihood, build_model, build_prior
from lehr.run.objects import build_data
from lehr.run.pretrained import Pretrained
from lehr.surroundings import Place
from lehr.training.callbacks.aggregate import AggregateStatistics
from lehr.training.callbacks.interruption import Interruption
from lehr.training.callbacks.metrics import Metrics
from lehr.training.callbacks.samples import SampleGrids
from lehr.training.checkpoint import AtomicCheckpointIO, batches_seen, require_fit
from lehr.training.codes import kept_note
from lehr.training.ddp import RunDirectoryDDP
from lehr.training.debugging.looking import looking
from lehr.training.ema import EMAPlan
from lehr.training.export import Exported
from lehr.training.extras import NO_EXTRAS, Extras
from lehr.training.fitting import fit_weights
from lehr.training.freezing import drift
from lehr.training.history_logger import HistoryLogger
from lehr.training.lean import NoProfiler
from lehr.training.length import Length
from lehr.training.loggers.all import start as start_loggers
from lehr.training.loop import LeanEpochLoop
from lehr.training.module import VAEModule
from lehr.training.objective import build_objective, plan_beside
from lehr.training.optimizers import adam
from lehr.training.players import PlayerPlan
from lehr.training.ranks import Ranks, devices_of, first_place
from lehr.training.resuming import Resumption
from lehr.training.starting import Start, start_of

if TYPE_CHECKING:
    from lehr.training.fused.lanes import Lane

Config = Mapping[str, Any]

_GREY = (
    "note: the pixels are grey, and of grey values this likelihood is a cross-entropy, so its ELBO bounds no "
    "log-likelihood; data.binarize=dynamic or likelihood=gaussian gives one"
)


class Parts:
    """What a run is made of, built from its configuration; a wrong device is found before the data are read.

    Args:
        config: resolved.
        directory: of the run.
        checkpoint: what to resume from, if anything.
        extras: what it is trained with beside that.
        place: of this process among the ranks of the run; None where it starts the others, if there are any.

    Attributes:
        data: read and split.
        module: the components and what trains them.
        trainer: with its callbacks and loggers.
        metrics, interruption: two of the callbacks.
        pictures: the callback that draws; None where nothing is drawn.
        options: what is wanted when training ends.
        exported: the weights that the run ends in, once it has ended.
    """

    exported: Exported | None = None

    def __init__(
        self,
        config: Config,
        directory: RunDirectory,
        checkpoint: Path | None,
        extras: Extras = NO_EXTRAS,
        place: Place | None = None,
    ) -> None:
        trust, given = extras.trust, extras.given
        run = start_of(config, directory)
        start = None if checkpoint else Start.read(run) if run else Pretrained.of(config)
        self.data = build_data(config, trust, given)
        if extras.lane:
            self.data = extras.lane.shared(config["data"], self.data)
            self.data.training_loader = AwaitedLoader
        rate_term = build(config["kl"], RateTerm, key="kl", trust=trust)
        plan = player_plan(config["optimizer"], config["trainer"]["gradient_clip_val"], trust)
        ema = build(node, EMAPlan, key="ema", trust=trust) if (node := config.get("ema")) else None
        saved = read_checkpoint(checkpoint) if checkpoint else None
        self.metrics, self.interruption = Metrics(config, extras.hyperparameters), Interruption()
        if extras.lane:
            extras.lane.interruption = self.interruption
            self.interruption.before_check = extras.lane.leave_if_lost
        configured = callbacks(config["callbacks"], trust)
        self.options, self.pictures = _wanted_at_end(config, configured)
        every = [*configured, self.metrics, *extras.callbacks, self.interruption]
        every += looking(config, directory)
        self.trainer = _trainer(config, directory, checkpoint, trust, every, place, extras.lane)
        length = self._read_data(config, directory, saved, trust)
        self.module = _module(
            config, self.data, rate_term, plan, ema, trust, given, start=not checkpoint, learnt=bool(start)
        )
        if config["trainer"]["precision"] == "64-true":
            self.module.double()  # before weights come in, which Lightning restores first and converts then
        if start:
            start.give(self.module, config)
            if config.get("fit_half"):
                self._say(fit_weights(self.module.model, self.module.likelihood, self.data))
        if self.data.grey and self.module.likelihood.levels == 2:
            self._say(_GREY)
        model = self.module.model
        for note in (_single_example(self.data, rate_term), model.note, drift(model, plan), kept_note(model)):
            if note:
                self._say(note)
        if saved and checkpoint:
            require_fit(saved, self.module, checkpoint)
        if self.trainer.is_global_zero:
            self.trainer.loggers = _loggers(config.get("logger") or {}, directory, trust, saved, length)

    def _read_data(
        self, config: Config, directory: RunDirectory, saved: dict[str, Any] | None, trust: tuple[str, ...]
    ) -> Length:
        """Read and split the data, and find them fit to start with or to go on with: how long the training is then."""
        is_first = self.trainer.is_global_zero
        resumption = Resumption(saved, directory, config) if saved and is_first else None
        if resumption:
            resumption.require_kept()
        self.data.prepare_data()
        self.data.setup()
        length = Length.of(self.trainer, self.data)
        if resumption:
            resumption.require_same(self.data, length)
            resumption.require_length(length, trust)
        if is_first and not (resumption and resumption.knows_data):
            self.data.require_readable()
        return length

    def _say(self, note: str) -> None:
        if self.trainer.is_global_zero:
            print(note, file=sys.stderr)

    def fraction(self) -> float:
        """How much of the training is done."""
        length = self.module.length
        return min(1.0, self.trainer.global_step / length.total_steps) if length else 0.0


def callbacks(nodes: Mapping[str, Mapping[str, Any] | None], trust: tuple[str, ...]) -> list[Callback]:
    """The configured callbacks; null takes one away."""
    return [build(node, Callback, key=f"callbacks.{name}", trust=trust) for name, node in nodes.items() if node]


def player_plan(node: Mapping[str, Any], clip: float | None, trust: tuple[str, ...]) -> PlayerPlan:
    """How the autoencoder is trained: the configured optimizer, and the largest norm of its gradient."""
    values = dict(node)
    own = {name: values.pop(name) for name in plan_of("optimizer") if name in values}
    cls = find_class(values.pop("_target_"), torch.optim.Optimizer, trust, "optimizer._target_")
    if cls in (torch.optim.Adam, torch.optim.AdamW):
        values = adam(**values)
    return PlayerPlan(cls, values, clip=clip, **own)


def some_images(data: ImageDataModule, n: int = 20_000) -> Tensor:
    """At most `n` training images (n, c, h, w), chosen at random, as evaluation sees them."""
    most = max(1, n * 28 * 28 // math.prod(data.shape))  # of larger images fewer
    return torch.cat([batch.images for batch in data.evaluation_loader("train", "cpu", limit=min(n, most))])


def _wanted_at_end(config: Config, configured: list[Callback]) -> tuple[Options, SampleGrids | None]:
    """What the callbacks say of the end of training, which is then left to the session."""
    for callback in configured:
        if isinstance(callback, AggregateStatistics | SampleGrids):
            callback.left_to_session = True
    statistics = any(isinstance(callback, AggregateStatistics) for callback in configured)
    pictures = next((callback for callback in configured if isinstance(callback, SampleGrids)), None)
    if pictures is None:
        return Options(config, statistics, grids=None, latents=0), None
    return Options(config, statistics, pictures.grids, pictures.latents), pictures


def _module(
    config: Config,
    data: ImageDataModule,
    rate_term: RateTerm,
    plan: PlayerPlan,
    ema: EMAPlan | None,
    trust: tuple[str, ...],
    given: Given,
    start: bool,
    learnt: bool,
) -> VAEModule:
    """The module with networks for the images of `data`; with `start` decoder, codes and prior begin at these.

    With `learnt` the model is given the weights of another run, and the prior alone begins at the images.
    """
    with randomness.seeded(config["seed"], "weights"):
        model = build_model(config, data.shape, trust, given)
    likelihood = build_likelihood(config, trust)
    if problem := levels_problem(likelihood.levels, data.levels):
        raise ConfigError(problem)
    with randomness.seeded(config["seed"], "prior"):
        prior = build_prior(config, model, trust)
    objective = build_objective(config, model, trust)
    _require_density(config, model, {"kl": rate_term, "objective": objective, "prior": prior})
    if start:
        images = some_images(data)
        if not learnt:
            model.start_at(likelihood.parameters_at(images.double().mean(0).float()))
            model.start_codes(images, config["seed"])
        prior.start_at(images)
    return VAEModule(
        model,
        likelihood,
        rate_term,
        plan,
        seed=config["seed"],
        compile=config["compile"],
        channels_last=config["trainer"].get("channels_last", False),
        prior=prior,
        objective=objective,
        players={name: plan_beside(options, plan) for name, options in objective.player_options.items()},
        ema=ema,
    )


def _require_density(config: Config, model: Autoencoder, components: Mapping[str, object]) -> None:
    """Whether posteriors have the density that components need: of its own a class need not say that they have none."""
    asking = [group for group, component in components.items() if DENSITY in getattr(component, "needs", ())]
    if not asking:
        return
    with evaluated(model):
        grey = torch.full((1, *model.image_shape), 0.5)
        if not model.encode(grey).has_density:
            raise ConfigError(*(f"{group}._target_={config[group]['_target_']}: {DENSITY.problem}" for group in asking))


def _single_example(data: ImageDataModule, rate_term: RateTerm) -> str | None:
    """What there is to say where the last batch of an epoch has nothing for the rate term to compare."""
    if TWO_EXAMPLES not in rate_term.needs or data.n_train % data.batch_size != 1:
        return None
    return (
        f"note: the last batch of an epoch has 1 of the {data.n_train:,} training images, and of one alone "
        f"{type(rate_term).__name__} has the rate and nothing else; another data.batch_size avoids it"
    )


def _loggers(
    nodes: Mapping[str, Mapping[str, Any] | None] | None,
    directory: RunDirectory,
    trust: tuple[str, ...],
    saved: dict[str, Any] | None,
    length: Length,
) -> list[Logger]:
    """The configured loggers, and the history; what was logged after the checkpoint `saved` they forget if they can."""
    points = int(saved.get("history", 0)) if saved else None
    purge = _purge_step(saved, length) if saved else None
    own = {"save_dir": directory.path, "purge_step": purge, "points": points}
    found: list[Logger] = [
        build(node, Logger, key=f"logger.{name}", trust=trust, **(own if node["_target_"].startswith("lehr.") else {}))
        for name, node in (nodes or {}).items()
        if node
    ]
    start_loggers(found)
    return [*found, HistoryLogger(History(directory.history, keep=points or 0))]


def _trainer(
    config: Config,
    directory: RunDirectory,
    checkpoint: Path | None,
    trust: tuple[str, ...],
    callbacks: list[Callback],
    place: Place | None,
    lane: Lane | None = None,
) -> Trainer:
    values = config["trainer"]
    accelerator, devices = devices_of(config, place)
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
        check_val_every_n_epoch=values["check_val_every_n_epoch"] or sys.maxsize,
        log_every_n_steps=values["log_every_n_steps"],
        default_root_dir=directory.path,
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO(), Ranks(place or first_place(devices * values["num_nodes"]))],
        logger=False,
        profiler=NoProfiler(),
        enable_progress_bar=False,
        enable_model_summary=False,
        # or else Lightning keeps some of its own
        enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    validate_every = values.get("check_val_every_n_steps")
    if lane:
        from lehr.training.fused.loop import LaneEpochLoop

        LaneEpochLoop.of_lane(trainer, lane, validate_every)
    else:
        LeanEpochLoop.install(trainer, validate_every)
    return trainer


def _purge_step(checkpoint: dict[str, Any], length: Length) -> int:
    """The first step after `checkpoint` on TensorBoard's axis: what was logged from there on will be logged again."""
    return length.images(batches_seen(checkpoint)) + 1
