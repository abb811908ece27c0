"""What happens when training ends: statistics of q(z), pictures, the test, the model's files and the final metrics.

A function of components, data and directory, whoever has trained them. It can be killed at any moment and done again.
What belongs together is measured and drawn first, then written in one go. Statistics, pictures and weights hold the id
of the model, so that files of two trainings, of which one was killed in between, are not taken for those of one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from lehr.data.module import ImageDataModule
from lehr.evaluation.aggregate import AggregatePosteriorMetric
from lehr.evaluation.statistics import Source, remove_statistics, summary, write_statistics
from lehr.files import write_json
from lehr.finite import require_finite, require_finite_tensors
from lehr.models.components import Components
from lehr.posterior.aggregate import AggregatePosterior
from lehr.run.directory import RunDirectory
from lehr.run.execution import Execution
from lehr.run.latents import MOST_LATENTS, FirstLatents, Latents, write_latents
from lehr.run.measure import measure_split
from lehr.run.model_files import weights_of, write_model
from lehr.run.pictures import Drawn, Grids, draw_grids, write_grids
from lehr.tensors import model_id


@dataclass(frozen=True)
class Trained:
    """What a training hands over.

    Attributes:
        components: that were trained.
        step: optimiser steps taken, at which the weight of the KL is reported.
        validated: the metrics of the last validation, by name.
        cost: of the training, `time/...` and `memory/...`.
    """

    components: Components
    step: int
    validated: Mapping[str, float] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Options:
    """What is wanted at the end.

    Attributes:
        config: the resolved configuration of the run.
        statistics: whether the statistics of q(z) over the training set are measured.
        grids: the pictures to draw; None for none.
        latents: of how many images of the split that the model is judged by they are kept, at most.
    """

    config: Mapping[str, Any]
    statistics: bool = True
    grids: Grids | None = field(default_factory=Grids)
    latents: int = MOST_LATENTS


@dataclass(frozen=True)
class Finished:
    """What was found at the end.

    Attributes:
        metrics: everything that metrics.json holds.
        model: the id of what was written; None on the ranks that write nothing.
        aggregate: the statistics of q(z) over the training set; None where they were not wanted.
        seconds: that `statistics`, `pictures` and `test` took, of what was wanted.
    """

    metrics: dict[str, float]
    model: str | None
    aggregate: AggregatePosterior | None
    seconds: dict[str, float]


class Observer:
    """Is shown what is made while it is made, before it is written; this one looks at nothing."""

    def pictures(self, pictures: Mapping[str, Drawn]) -> None:
        """The grids; on the first rank."""

    def metrics(self, measured: Mapping[str, float], aggregate: AggregatePosterior | None) -> None:
        """The metrics of the test, and the statistics of q(z)."""

    def latents(self, latents: Latents, model: str) -> None:
        """Latents of the split that the `model` of this id is judged by; on the first rank."""


_NOBODY = Observer()


def finish(
    trained: Trained,
    data: ImageDataModule,
    directory: RunDirectory,
    options: Options,
    execution: Execution,
    observer: Observer = _NOBODY,
) -> Finished:
    """Measure, draw, test and write everything but `evaluation.json`. All ranks take part; the first one writes.

    Raises:
        NonFinite: if weights, statistics or metrics are NaN or infinite; nothing is written then.
    """
    components, aggregate, model = trained.components, None, None
    weights = weights_of(components.model, components.likelihood, components.prior)
    require_finite_tensors(f"weights after step {trained.step:,}", weights)
    pictures: dict[str, Drawn] = {}
    seconds: dict[str, float] = {}
    if options.statistics:
        with _timed(seconds, "statistics"):
            aggregate = aggregate_posterior(components, data, execution)
    if options.grids and execution.is_first:
        with _timed(seconds, "pictures"):
            pictures = draw_grids(components, data, aggregate, options.grids, execution)
            observer.pictures(pictures)
    with _timed(seconds, "test"):
        split, seed = data.held_out, options.config["seed"]
        first = FirstLatents.of(components.model, data, split, options.latents).to(execution.device)
        measured = measure_split(components, data, split, execution, seed, trained.step, first.update)
        observer.metrics(measured, aggregate)
        latents = first.found(data, split)
    metrics = {**trained.validated, **measured, **posterior_metrics(aggregate), **trained.cost}
    require_finite(f"metrics after step {trained.step:,}", metrics)
    if execution.is_first:
        model = model_id(weights)
        # first the statistics, which say whose they are: beside weights of an earlier version, which do not, they are
        # not taken for theirs
        if aggregate is None:
            remove_statistics(directory.posterior)
        else:
            write_statistics(directory.posterior, aggregate, source_of(components, data), model)
        write_latents(directory.posterior, latents, model)
        write_grids(directory.samples, pictures, model)
        write_model(directory.model, weights, model, components.model.image_shape, options.config)
        if latents is not None:
            observer.latents(latents, model)
        write_json(directory.metrics, metrics)
    return Finished(metrics, model, aggregate, seconds)


def measure_statistics(
    components: Components, data: ImageDataModule, directory: RunDirectory, execution: Execution
) -> AggregatePosterior:
    """The statistics of q(z) over the training set, which are written to `posterior/`."""
    aggregate = aggregate_posterior(components, data, execution)
    if execution.is_first:
        model = model_id(weights_of(components.model, components.likelihood, components.prior))
        write_statistics(directory.posterior, aggregate, source_of(components, data), model)
    return aggregate


def source_of(components: Components, data: ImageDataModule) -> Source:
    """The training set, as the encoder sees it when the statistics of q(z) are measured."""
    _, height, width = data.shape
    encoder_input = components.model.encoder_input
    return Source(str(data.name), "train", (height, width), data.evaluation_crop, encoder_input=encoder_input)


def aggregate_posterior(components: Components, data: ImageDataModule, execution: Execution) -> AggregatePosterior:
    """Pass the whole training set through the encoder once: not augmented, every example counted once over all ranks.

    Raises:
        ValueError: with fewer than 2 examples.
    """
    metric = AggregatePosteriorMetric.of(components.model, detailed=True).to(execution.device)
    with execution.evaluating(components):
        for batch in execution.batches(data, "train", "aggregate posterior"):
            metric.update(components.model.encode(batch.images))
    return metric.compute()


def posterior_metrics(aggregate: AggregatePosterior | None) -> dict[str, float]:
    """The statistics of q(z) over the training set, by their metric names; none where there are none."""
    return {} if aggregate is None else {f"posterior/{name}": value for name, value in summary(aggregate).items()}


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - started
