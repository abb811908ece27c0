"""One run from its configuration to its directory: claimed, trained, finished, and recorded whatever comes of it.

Every stage before the last can be killed; what resumes goes on from the last checkpoint and ends in the same files.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from lehr.config.stages import stage_names
from lehr.errors import ConfigError
from lehr.posterior.aggregate import AggregatePosterior
from lehr.randomness import kept_state
from lehr.run.checkpoint_file import read_checkpoint
from lehr.run.claim import Claim
from lehr.run.data_record import tell_of_data, write_data
from lehr.run.directory import RunDirectory
from lehr.run.evaluate import evaluate_trained, try_to_evaluate
from lehr.run.execution import Execution
from lehr.run.finish import Finished, Observer, Trained, finish
from lehr.run.given_model import require_fit
from lehr.run.latents import Latents
from lehr.run.measure import measure_split
from lehr.run.objects import require_given
from lehr.run.pictures import Drawn
from lehr.run.status import DONE, Status
from lehr.signals import ending_in_order
from lehr.surroundings import Place, hidden
from lehr.training.beginning import beginning
from lehr.training.building import Config, Parts
from lehr.training.callbacks.at_end import execution_of
from lehr.training.ddp import RunDirectoryDDP
from lehr.training.ending import ending_recorded
from lehr.training.export import Exported, export, wanted
from lehr.training.extras import NO_EXTRAS, Extras
from lehr.training.launched import place_from_outside
from lehr.training.loggers.all import ending_told, run_loggers
from lehr.training.memory import shortage_told
from lehr.training.peak import PeakMemory
from lehr.training.quiet import quiet
from lehr.training.ranks import require_one_process
from lehr.training.starting import started_from


def train(
    config: Config, directory: RunDirectory, resume: bool = False, extras: Extras = NO_EXTRAS
) -> dict[str, float]:
    """Train the configured VAE into `directory` and return its final metrics.

    Args:
        config: the resolved configuration, plain values.
        directory: where everything is written.
        resume: go on from the checkpoint there that `resume_from` names, the last one where nothing does.
        extras: what it is trained with beside that.

    Raises:
        LehrError: for a mistake of the user's, and for a loss that is not finite.
        Interrupted: upon a signal to end, after everything has been saved.
        Pruned: when a search has seen enough of the run.
    """
    checkpoint = directory.require_checkpoint(config.get("resume_from", "last")) if resume else None
    config = {**config, "resume_from": "last"}  # when it is gone on with once more
    given = extras.given
    require_given(config, given, directory.path, anew=not resume)
    if checkpoint and "model" in given:
        require_fit(given, read_checkpoint(checkpoint)["state_dict"])
    if extras.claim is not None:  # the caller has begun this run alone, whatever was started beside it
        with hidden(), ending_in_order():
            require_one_process(config, None, given)
            return _train(config, directory, checkpoint, extras, extras.claim, None)
    place = place_from_outside(config)
    require_one_process(config, place, given)
    with hidden(place), ending_in_order():
        if place and place.rank:
            # of what the ranks share only the first one's is written; that they have the same configuration is checked
            return _take_part(config, directory, checkpoint, extras.trust, place)
        with directory.claimed() as claim:
            if checkpoint is None and goes_on(config, directory):
                checkpoint = directory.require_checkpoint()
            return _train(config, directory, checkpoint, extras, claim, place)


def _train(
    config: Config,
    directory: RunDirectory,
    checkpoint: Path | None,
    extras: Extras,
    claim: Claim,
    place: Place | None,
) -> dict[str, float]:
    """`train`, as the process that writes."""
    started = time.perf_counter()
    status, seconds = Status(directory.status), {"import": extras.import_seconds}
    with ExitStack() as told:  # loggers, which may take their time, once the directory says how it has ended
        short = shortage_told(config, in_lane=extras.lane is not None)
        with ExitStack() as at_last, ending_recorded(status, directory, seconds), short, quiet():
            parts = _prepare(config, directory, checkpoint, extras, status, place)
            at_last.callback(_end_other_ranks, parts.trainer, seconds=0)
            told.enter_context(ending_told(parts.trainer))
            claim.fraction = lambda: extras.of_run(parts.fraction())
            seconds["set_up"] = time.perf_counter() - started
            finished = _train_and_finish(parts, directory, checkpoint, seconds, alone=extras.lane is None)
            _end_other_ranks(parts.trainer)
        seconds["total"] = extras.import_seconds + time.perf_counter() - started
        # what an evaluation makes of it does not change that the training is done
        status.exported = parts.exported.record() if parts.exported else None
        status.finish(DONE, model=finished.model, seconds=seconds)
    _evaluate(parts, finished, config, directory, status, seconds)
    return finished.metrics


def follow(directory: RunDirectory, checkpoint: Path | None, trust: tuple[str, ...], place: Place) -> None:
    """Take part in a run that the first rank directs."""
    with hidden():
        _take_part(directory.read_config(), directory, checkpoint, trust, place)


def _take_part(
    config: Config, directory: RunDirectory, checkpoint: Path | None, trust: tuple[str, ...], place: Place
) -> dict[str, float]:
    """Train and finish as a rank that writes nothing."""
    with quiet():
        parts = Parts(config, directory, checkpoint, Extras(trust), place)
        return _train_and_finish(parts, directory, checkpoint, {}).metrics


def goes_on(config: Config, directory: RunDirectory) -> bool:
    """Whether there is a run to go on with, now that no other process can change it."""
    found = beginning(config, directory)
    if found.evaluate:
        raise ConfigError(f"dir={directory.path}: another process has just trained this run")
    return found.resume


def _prepare(
    config: Config,
    directory: RunDirectory,
    checkpoint: Path | None,
    extras: Extras,
    status: Status,
    place: Place | None,
) -> Parts:
    """Build the run and begin its directory; what an earlier run left is touched only once this one can start."""
    started = started_from(config, directory, resume=checkpoint is not None)
    has_something_to_lose = checkpoint is not None or directory.is_run() or extras.before is not None
    if not has_something_to_lose:
        begin(directory, config, status, started)
    parts = Parts(config, directory, checkpoint, extras, place)
    if extras.before:
        extras.before()
    if has_something_to_lose:
        if checkpoint is None:
            directory.clear(stages=len(stage_names(config)) < 2)
        elif checkpoint == directory.best_checkpoint:
            _go_back(directory)
        begin(directory, config, status, started)
    for logger in run_loggers(parts.trainer):
        logger.record()
    write_data(directory, parts.data)
    tell_of_data(parts.data)
    return parts


def _go_back(directory: RunDirectory) -> None:
    """Go on from the best checkpoint: what was trained after it is kept aside, and said to be."""
    step, last = (read_checkpoint(directory.best_checkpoint)["global_step"], directory.last_checkpoint)
    kept = directory.go_back_to_best()
    aside = f"; checkpoints/{last.name} is kept as checkpoints/{kept.name}" if kept else ""
    print(
        f"note: goes on from the best checkpoint, step {step}, and drops what was logged after it{aside}",
        file=sys.stderr,
    )


def begin(directory: RunDirectory, config: Config, status: Status, started: Mapping[str, Any] | None) -> None:
    """Let the directory say that this run is under way there; `started` is what it has started from."""
    try:
        directory.path.mkdir(parents=True, exist_ok=True)
        # first of all: from now on what lies here under names of lehr's is the run's
        status.start(directory.has_marked_events(), started)
        directory.remove_unfinished()
        directory.remove_evaluations()
        directory.write_config(dict(config))
    except OSError as error:
        raise ConfigError(f"dir={directory.path}: cannot be written to ({error.strerror})") from error


def _train_and_finish(
    parts: Parts, directory: RunDirectory, checkpoint: Path | None, seconds: dict[str, float], alone: bool = True
) -> Finished:
    """Train, then do what is done at the end; `seconds` is told what took how long.

    Of a run that is not `alone` in this process nobody can say how much memory it takes.
    """
    trainer, module, started = parts.trainer, parts.module, time.perf_counter()
    with kept_state(), PeakMemory(trainer.strategy.root_device, alone) as peak:
        trainer.fit(module, datamodule=parts.data, ckpt_path=checkpoint)
    module.finite.flush()  # on a GPU the last step has not been looked at yet
    fitted = time.perf_counter() - started
    execution = execution_of(trainer)
    module.to(execution.device)  # from where Lightning takes it after training
    with _ending_told(trainer), parts.interruption.watching(trainer, module):
        exported = export(wanted(parts.options.config), trainer, module, parts.metrics.validated_at)
        with exported.applied(module):
            parts.exported = exported = _validated(exported, parts, execution)
            took_at_most = peak.found if parts.metrics.final else {}  # else there was no step left to train
            cost = {**parts.metrics.final, **took_at_most}
            trained = Trained(module.components, exported.step, exported.validated, cost)
            finished = finish(trained, parts.data, directory, parts.options, execution, _Loggers(parts))
        for logger in run_loggers(trainer):
            logger.conclude(finished.metrics)
            logger.save()
    took = dict(finished.seconds)
    seconds |= {"training": fitted + took.pop("test"), **took}
    return finished


def _validated(exported: Exported, parts: Parts, execution: Execution) -> Exported:
    """With the metrics of a validation, also where the training had none of these weights, or with another KL weight.

    A finished run that is gone on with can have another, and no step left to train.
    """
    components, seed = parts.module.components, parts.options.config["seed"]
    weight = exported.validated.get("val/kl_weight")
    if exported.validated and weight in (None, components.rate_term.kl_weight(exported.step)):
        return exported
    measured = measure_split(components, parts.data, "val", execution, seed, exported.step)
    parts.metrics.log_validation(parts.trainer, parts.module, measured)
    return replace(exported, validated=measured)


class _Loggers(Observer):
    """Shows the loggers what is made at the end."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._images = parts.exported.images if parts.exported else None

    def pictures(self, pictures: Mapping[str, Drawn]) -> None:
        if self._parts.pictures:
            self._parts.pictures.show(self._parts.trainer, self._parts.module, pictures, self._images)

    def metrics(self, measured: Mapping[str, float], aggregate: AggregatePosterior | None) -> None:
        self._parts.metrics.log_final(self._parts.trainer, self._parts.module, measured, aggregate, self._images)

    def latents(self, latents: Latents, model: str) -> None:
        for logger in run_loggers(self._parts.trainer):
            logger.show_latents(latents, model)


@contextmanager
def _ending_told(trainer: Trainer) -> Iterator[None]:
    """Tell strategy and loggers how the block has ended, as Lightning does after its own stages."""
    try:
        yield
    except BaseException as error:
        trainer.strategy.on_exception(error)
        for logger in trainer.loggers:
            logger.finalize("failed")
        raise
    for logger in trainer.loggers:
        logger.finalize("success")


def _end_other_ranks(trainer: Trainer, seconds: float = 60.0) -> None:
    """Wait for the ranks that this process has started, and end those that are not through by then."""
    if isinstance(trainer.strategy, RunDirectoryDDP):
        trainer.strategy.close(seconds)


def _evaluate(
    parts: Parts,
    finished: Finished,
    config: Config,
    directory: RunDirectory,
    status: Status,
    seconds: dict[str, float],
) -> None:
    """The evaluation at the end of the training, and what came of it."""
    if config["evaluate"] == "none":
        return
    started, aggregate = time.perf_counter(), finished.aggregate
    components, device = parts.module.components, parts.module.device
    assert parts.exported is not None
    with quiet(), parts.exported.applied(parts.module):
        problem = try_to_evaluate(
            lambda request: evaluate_trained(
                components, aggregate, parts.data, device, request, directory, finished.model
            ),
            config["evaluate"],
            directory,
        )
    seconds["evaluation"] = time.perf_counter() - started
    status.finish(DONE, model=finished.model, seconds=seconds, evaluated=config["evaluate"], evaluation_error=problem)
