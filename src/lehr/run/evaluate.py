"""Evaluation of a run: what `lehr evaluate` and the end of a training do, and the file they write."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from lehr import __version__
from lehr.config.given import NOTHING, Given
from lehr.config.problems import section_problems
from lehr.config.samplers import SAMPLERS
from lehr.config.schema import EvaluateConfig
from lehr.config.words import plain_number
from lehr.data.module import ImageDataModule
from lehr.errors import CheckpointError, ConfigError, DataError, Interrupted, in_a_line
from lehr.evaluation.evaluate import evaluate
from lehr.evaluation.section import Plan, Table
from lehr.evaluation.subject import Encoded, Progress, ShowProgress, Subject
from lehr.files import is_disk_full, write_json
from lehr.models.components import Components
from lehr.posterior.aggregate import AggregatePosterior
from lehr.posterior.density import LatentDensity
from lehr.reading import read_json
from lehr.run.data_record import data_of
from lehr.run.directory import RunDirectory
from lehr.run.evaluation_mode import evaluation_mode
from lehr.run.load import Run, load
from lehr.run.model_files import WEIGHTS
from lehr.run.progress_line import ProgressLine
from lehr.run.weights import load_weights
from lehr.samplers.sampler import FittedSampler, find_sampler
from lehr.tensors import MODEL, read_id

QUICK_EXAMPLES = 1000
_IWAE_SAMPLES = {False: 64, True: 500}
_IWAE_SAMPLES_OF_MAPS = {False: 1, True: 16}
"""Of a latent map a single weight decides, however many there are: its rate is hundreds of nats. Decoders are large."""


@dataclass(frozen=True)
class Request:
    """What was asked for. None leaves the choice to `level`.

    Attributes:
        level: "quick", likelihood, collapse and reconstruction on at most 1,000 examples; or "full", everything on all.
        split: "test" or "val"; None for test where there is one.
        examples: at most so many of the split.
        iwae_samples: K of the importance-weighted bound.
        samplers: which to compare; None for all.
        features: auto, inception, classifier or pca.
        seed: of all noise.
    """

    level: str = "full"
    split: str | None = None
    examples: int | None = None
    iwae_samples: int | None = None
    samplers: tuple[str, ...] | None = None
    features: str = "auto"
    seed: int = 0

    @classmethod
    def checked(cls, **values: Any) -> Request:
        """A request of values as a program hands them over: what `lehr evaluate` would refuse is refused.

        Raises:
            ConfigError: a line for each value that is not allowed.
        """
        values = {name: plain_number(value) for name, value in values.items()}
        samplers = values.get("samplers")
        if samplers is not None and not isinstance(samplers, str):
            values["samplers"] = list(samplers)
        others: dict[str, Any] = {"run": ".", "weights": None, "debug": False, "trust": []}
        if problems := section_problems(EvaluateConfig, others | values):
            raise ConfigError(*problems)
        return cls(**values | {"samplers": None if samplers is None else tuple(samplers)})

    def plan(self, data: ImageDataModule, latent_shape: tuple[int, ...]) -> Plan:
        """What to measure of `data`, whose latents have this shape."""
        samples = _IWAE_SAMPLES_OF_MAPS if len(latent_shape) > 1 else _IWAE_SAMPLES
        full = self.level == "full"
        return Plan(
            split=self.split or data.held_out,
            full=full,
            examples=self.examples if self.examples or full else QUICK_EXAMPLES,
            iwae_samples=self.iwae_samples or samples[full],
            samplers=(tuple(SAMPLERS) if self.samplers is None else self.samplers) if full else (),
            features=self.features,
            seed=self.seed,
        )


def evaluate_weights(
    path: str | Path,
    weights: str,
    request: Request,
    trust: Iterable[str] = (),
    moved: Mapping[str, str | None] | None = None,
    given: Given = NOTHING,
) -> tuple[Table, Path]:
    """Evaluate a checkpoint of a finished run: the table, and where it lies, which is a file of its own.

    The statistics of q(z) and the samplers are computed anew and not kept; what the run has ended in stays as it is.

    Args:
        path: the run directory.
        weights: "best", "last" or "ema", see `load_weights`.
        request: what was asked for.
        trust: packages of the user's own whose classes the run needs.
        moved: where the data lie now, see `data_of`.
        given: what the run was given in place of names.

    Raises:
        CheckpointError: if the run has not finished, or has no such weights.
        DataError: if its data are not there, or not enough for what was asked for.
    """
    directory = RunDirectory(path)
    _require_finished(directory, directory.path)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run, data = load_weights(path, weights, trust, moved, device, given)
    subject = Subject(run.model, run.likelihood, run.prior, run.posterior, data, device)
    return evaluate_subject(subject, request, directory, run.model_id, weights)


def evaluate_run(
    run: Run, request: Request, trust: Iterable[str] = (), moved: Mapping[str, str | None] | None = None
) -> tuple[Table, Path]:
    """Evaluate a finished run and write `evaluation.json` into it: the table, and where it lies.

    A run with the weights of a checkpoint has a file of its own, see `evaluate_weights`.

    Args:
        run: the finished run; its model is on a GPU afterwards, where there is one.
        request: what was asked for.
        trust: packages of the user's own whose classes the data need.
        moved: where the data lie now, see `data_of`.

    Raises:
        CheckpointError: if the run has not finished.
        DataError: if its data are not there, or not enough for what was asked for.
    """
    return evaluate_subject(subject_of(run, trust, moved), request, RunDirectory(run.path), run.model_id, run.weights)


def subject_of(
    run: Run, trust: Iterable[str] = (), moved: Mapping[str, str | None] | None = None, into: Path | None = None
) -> Subject:
    """A finished run with its data, to be measured; its model is on a GPU afterwards, where there is one.

    Args:
        run, trust, moved: as of `evaluate_run`.
        into: where what is measured is written to; None for the directory of the run.

    Raises:
        CheckpointError, DataError: as of `evaluate_run`.
    """
    directory = RunDirectory(run.path)
    _require_finished(directory, into or directory.path)
    data = data_of(directory, run.config, trust, moved or {}, run.given)
    if data.shape != run.model.image_shape:
        raise DataError(f"{data.name}: has images of {data.shape}, the run was trained on {run.model.image_shape}")
    if run.statistics and data.n_train != run.statistics.n:
        raise DataError(
            f"{data.name}: has {data.n_train} training images, the run was trained on {run.statistics.n}: "
            "these are other data, or its config.yaml was changed"
        )
    if run.device.type == "cpu" and torch.cuda.is_available():
        run.to("cuda")
    return Subject(run.model, run.likelihood, run.prior, run.statistics, data, run.device)


def _require_finished(directory: RunDirectory, into: Path) -> None:
    if problem := directory.unfinished():
        raise CheckpointError(f"{directory.path}: {problem}")
    if not os.access(into, os.W_OK):
        raise CheckpointError(f"{into}: cannot be written to, and what is measured goes there")


def evaluate_trained(
    components: Components,
    aggregate: AggregatePosterior | None,
    data: ImageDataModule,
    device: torch.device,
    request: Request,
    directory: RunDirectory,
    identity: str | None,
) -> tuple[Table, Path]:
    """Evaluate what has just been trained and has this id, where it is, with the statistics of its q(z) if any."""
    model, likelihood, prior = components.model, components.likelihood, components.prior
    with evaluation_mode(model, likelihood, prior), torch.no_grad():
        subject = Subject(model, likelihood, prior.density(model.encode), aggregate, data, device)
        return evaluate_subject(subject, request, directory, identity)


def evaluate_finished(
    config: Mapping[str, Any], directory: RunDirectory, trust: tuple[str, ...] = (), given: Given = NOTHING
) -> None:
    """The evaluation at the end of a run that is done, but was ended before it, or told to do less then."""
    level = config["evaluate"]
    error = try_to_evaluate(
        lambda request: evaluate_run(load(directory.path, trust, given=given), request, trust), level, directory
    )
    directory.record_evaluation(level, error)


def try_to_evaluate(evaluate: Callable[[Request], Any], level: str, directory: RunDirectory) -> str | None:
    """Evaluate a run that is done whatever comes of it; what went wrong, if anything.

    Raises:
        Interrupted: upon a signal to end.
    """
    try:
        evaluate(Request(level=level))
        return None
    except (KeyboardInterrupt, Interrupted):
        _note("was interrupted", directory)
        raise
    except Exception as problem:
        if is_disk_full(problem, directory.path):
            raise
        error = in_a_line(problem)
        _note(f"failed ({error})", directory)
        return error


def _note(what: str, directory: RunDirectory) -> None:
    again = f"lehr evaluate run={directory.path}"
    print(f"note: the run is finished, but its evaluation {what}; once more: {again}", file=sys.stderr)


def evaluate_subject(
    subject: Subject, request: Request, directory: RunDirectory, model: str | None, weights: str | None = None
) -> tuple[Table, Path]:
    """Evaluate and write: the table, and where it lies.

    Args:
        subject: what is evaluated.
        request: what was asked for.
        directory: of the run.
        model: the id of what is evaluated.
        weights: of which checkpoint they are; None for those that the run has ended in.

    Raises:
        CheckpointError: if the run has changed in the meantime.
    """
    plan = request.plan(subject.data, subject.model.latent_shape)
    require_own(_place(directory, plan, subject.data, weights))

    def require_same_model() -> None:
        if weights:
            return
        try:
            now = read_id(directory.model / WEIGHTS)
        except (OSError, SafetensorError):
            now = ""
        if now not in (None, model):
            raise CheckpointError(f"{directory.path}: was trained further in the meantime; evaluate it once more")

    table: Table = {"lehr": __version__, MODEL: model, "level": request.level, "seed": request.seed}
    if weights:
        table["weights"] = weights
    folder = directory.posterior

    def find(name: str, training: Encoded, show: ShowProgress) -> LatentDensity:
        sampler = find_sampler(name)
        if not isinstance(sampler, FittedSampler):
            return sampler.density(subject.prior, subject.aggregate, folder, model)
        if not weights:
            with suppress(CheckpointError):  # what was not fitted yet, is damaged or of another model, is fitted now
                return sampler.load(folder, model)
        with show(f"fitting {name}", 1) as line:
            fitted = sampler.fit(training.posterior, plan.seed, progress=lambda text: line.show(0, text))
        if not weights:
            require_same_model()
            sampler.save(folder, fitted, model)
        return fitted.density

    table |= evaluate(subject, plan, find, progress)
    require_same_model()
    path = _path(directory, plan, subject.data, model, weights)
    write_json(path, table)
    return table, path


def _place(directory: RunDirectory, plan: Plan, data: ImageDataModule, weights: str | None) -> Path:
    """Where the evaluation goes, unless that is a quick one and a full one lies there."""
    split = "val" if plan.split == "val" and data.n_test else None
    return directory.evaluation("-".join(filter(None, (weights, split))))


def require_own(path: Path) -> None:
    """Check that a file in the place of what is measured was measured earlier.

    Raises:
        CheckpointError: if somebody else has put it there.
    """
    with suppress(OSError, ValueError):
        found = read_json(path)
        if not isinstance(found, dict) or "lehr" not in found:
            raise CheckpointError(f"{path}: was not written by lehr; move it away")


def _path(directory: RunDirectory, plan: Plan, data: ImageDataModule, model: str | None, weights: str | None) -> Path:
    """`evaluation.json`; of the validation split, where there is a test split too, `evaluation-val.json`.

    Of the best checkpoint `evaluation-best.json` and `evaluation-best-val.json`. A quick evaluation does not take the
    place of a full one of the same model: it goes to `...-quick.json`.
    """
    path = _place(directory, plan, data, weights)
    if not plan.full and path.exists():
        with suppress(OSError, ValueError):
            found = read_json(path)
            if found.get("level") == "full" and found.get(MODEL) in (None, model):
                return path.with_name(f"{path.stem}-quick.json")
    return path


@contextmanager
def progress(name: str, total: int) -> Iterator[Progress]:
    with ProgressLine(name, total) as line:
        yield line
