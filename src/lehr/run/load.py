"""`lehr.load(DIR)`: a finished run, to use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lehr.config.given import NOTHING, Given
from lehr.errors import CheckpointError, ConfigError
from lehr.evaluation.statistics import TENSORS_NAME, read_statistics
from lehr.modes import undisturbed
from lehr.posterior.aggregate import AggregatePosterior
from lehr.reading import read_json
from lehr.run.directory import RunDirectory
from lehr.run.factors import Factors
from lehr.run.given_model import model_problems
from lehr.run.loaded import LoadedModel, Parts, require_sampling
from lehr.run.model_files import describe_model, read_model
from lehr.run.status import IMPORTED

if TYPE_CHECKING:
    import pandas as pd

    from lehr.evaluation.advice import Advice
    from lehr.run.evaluation import Evaluation


class Run(LoadedModel):
    """A trained model with the statistics of its latents, and all that its directory says of it.

    Its weights are read when they are first asked for; what was measured, each time that it is.

    Attributes:
        path: the run directory.
        config: the resolved configuration.
        statistics: the aggregate posterior over the training set; None where it was not measured.
        trust: packages of the user's own whose classes may be built.
        weights: "best", "last" or "ema" of a checkpoint; None for those that the run has ended in.
        moved: where its data lie now, see `data_of`.
        given: what the run was given in place of names, beside its configuration, as far as it is here.
        said: of a run that was imported, what its latents are to be scaled by.
    """

    def __init__(
        self,
        path: Path,
        config: dict[str, Any],
        read: Callable[[], Parts],
        statistics: AggregatePosterior | None,
        trust: Iterable[str] = (),
        weights: str | None = None,
        moved: Mapping[str, str | None] | None = None,
        given: Given = NOTHING,
        said: Factors | None = None,
    ) -> None:
        super().__init__(path, config, read, statistics, said)
        self.trust = tuple(trust)
        self.weights = weights
        self.moved = dict(moved or {})
        self.given = given

    def sample(
        self,
        n: int = 64,
        method: str = "aggregate",
        seed: int = 0,
        covariance: str = "diag",
        *,
        from_: int = 0,
        to: int = 1,
        steps: int = 10,
    ) -> Tensor:
        """Images (n, c, h, w), the mean of p(x|z) at `sample_latents`: what `lehr sample out=FILE.npy` writes.

        With method "interpolate" the `steps` images (steps, c, h, w) on the way from test image `from_` to test image
        `to`, whose latents are z = (1 - a) z1 + a z2; the data are read for it.

        Raises:
            ConfigError, CheckpointError: as `sample_latents`.
            DataError: if there is no such image, or the data are not those of the run.
        """
        require_sampling(n=n, method=method, seed=seed, covariance=covariance, from_=from_, to=to, steps=steps)
        if method == "interpolate":
            from lehr.run.sampling import interpolation

            return interpolation(self, from_, to, steps, self.trust, self.moved)
        return self.decode(self.sample_latents(n, method, seed, covariance))

    def evaluate(
        self,
        level: str = "full",
        *,
        split: str | None = None,
        examples: int | None = None,
        iwae_samples: int | None = None,
        samplers: Sequence[str] | None = None,
        features: str = "auto",
        seed: int = 0,
    ) -> Evaluation:
        """Measure how good it is as `lehr evaluate` does, into the same file.

        It is computed on a GPU where there is one; the model is back where it was afterwards.

        Args:
            level, split, examples, iwae_samples, samplers, features, seed: as of `Request`.

        Raises:
            ConfigError: for a value that the command would refuse.
            CheckpointError: if the run has not finished.
            DataError: if its data are not there, or not enough for what was asked for.
        """
        from lehr.run.evaluate import Request, evaluate_run
        from lehr.run.evaluation import Evaluation

        request = Request.checked(
            level=level,
            split=split,
            examples=examples,
            iwae_samples=iwae_samples,
            samplers=samplers,
            features=features,
            seed=seed,
        )
        before = self._device
        try:
            with undisturbed():
                table, path = evaluate_run(self, request, self.trust, self.moved)
        finally:
            self.to(before)
        return Evaluation(table, path)

    def to_diffusers(self, folder: str | Path) -> None:
        """Write a folder that diffusers loads, with what the latents are scaled by in it; `lehr.export` adds a card.

        Raises:
            ConfigError: if diffusers has no such model, or takes what its decoder gives for something else.
        """
        from lehr.run.diffusers_folder import require_pixels, write_diffusers

        require_pixels(self.likelihood, str(self.path))
        write_diffusers(Path(folder), self.model, self.factors, self.carried)

    @property
    def carried(self) -> dict[str, Any]:
        """What the config.json of an imported model says to pipelines, and an export of it says too."""
        from lehr.run.diffusers_folder import carried

        imported = self.status.get(IMPORTED)
        return carried(imported) if isinstance(imported, dict) else {}

    # what its directory says of it

    @property
    def status(self) -> dict[str, Any]:
        """status.json: the state of the run, when and where it was trained, and by which versions."""
        return RunDirectory(self.path).read_status()

    @property
    def metrics(self) -> dict[str, float]:
        """metrics.json: the final numbers by name, of the weights that the run has ended in; empty without one."""
        with suppress(OSError, ValueError):
            found = read_json(RunDirectory(self.path).metrics)
            if isinstance(found, dict):
                return {name: value for name, value in found.items() if isinstance(value, int | float)}
        return {}

    @property
    def evaluation(self) -> Evaluation | None:
        """What was measured of these weights already, by the command or at the end of the training; None if nothing."""
        from lehr.run.evaluation import read_evaluation

        return read_evaluation(RunDirectory(self.path), self.weights, lambda: self.model_id)

    @property
    def history(self) -> pd.DataFrame:
        """Every curve: a column each, by the number of images seen; NaN where it has no point there.

        Raises:
            CheckpointError: if there is no history.jsonl.
        """
        from lehr.run.history import history_frame

        return history_frame(RunDirectory(self.path).history)

    @property
    def advice(self) -> list[Advice]:
        """What to try next, where the numbers give a reason: the most important first, and often nothing."""
        from lehr.run.next_steps import advice_of

        return [] if self.weights else advice_of(RunDirectory(self.path))

    def __repr__(self) -> str:
        from lehr.run.page import run_line

        return run_line(self)

    def _repr_html_(self) -> str:
        from lehr.run.page import run_page

        return run_page(self)


def load(
    path: str | Path,
    trust: Iterable[str] = (),
    weights: str | None = None,
    moved: Mapping[str, str | None] | None = None,
    *,
    data: object = None,
    labels: object = None,
    test: object = None,
    test_labels: object = None,
    model: object = None,
    given: Given = NOTHING,
) -> Run:
    """The finished run in directory `path`, on the CPU. Nothing in the directory is executed.

    Its weights are read when they are first asked for, and what is wrong with them is said then.

    Args:
        path: the run directory.
        trust: packages of your own whose classes the run uses; what the directory itself says is not believed.
        weights: "best", "last" or "ema" for those of a checkpoint, whose q(z) is measured anew over the training data;
            None for those that the run has ended in.
        moved: where its data lie now, if not where they did: "path", "test_path", "root".
        data, labels, test, test_labels: of a run that was given these: the same once more, to evaluate it.
        model: of a run that was given one: a module that is built like it, whose weights are of no account.
        given: all of these as `given_objects` has them, in their place.

    Raises:
        CheckpointError: if it is no finished run, is damaged, or holds the statistics of another model than its own.
        ConfigError: if it names classes of packages that are not trusted, or its model is to be given.
        DataError: if the data are not those that it was given.
    """
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(f"load: got {type(path).__name__}, expected the path of a run directory")
    directory, trust = RunDirectory(path), (trust,) if isinstance(trust, str) else tuple(trust)
    config = directory.read_config()
    given = given or _given(data, labels, test, test_labels, model)
    if problems := model_problems(config, given, path):
        raise ConfigError(*problems)
    if "data" in given:
        from lehr.run.objects import require_given

        require_given(config, given, path)
    if weights is not None:
        from lehr.run.weights import load_weights

        return load_weights(path, weights, trust, moved, given=given)[0]
    if not directory.model.is_dir():
        raise CheckpointError("; ".join(filter(None, (f"{path}: has no model/", directory.unfinished()))))
    written = describe_model(directory.model).model
    callbacks = config.get("callbacks")
    left_out = not config.get("data") or not (isinstance(callbacks, dict) and callbacks.get("aggregate"))
    there = (directory.posterior / TENSORS_NAME).exists()
    statistics = None if left_out and not there else read_statistics(directory.posterior, written)

    def read() -> Parts:
        return _read_parts(directory, trust, written, statistics, given)

    return Run(directory.path, config, read, statistics, trust, moved=moved, given=given, said=_said(directory))


def _said(directory: RunDirectory) -> Factors | None:
    """What whoever published an imported model says that its latents are to be scaled by."""
    imported = directory.read_status().get(IMPORTED)
    return Factors.said_by(imported) if isinstance(imported, dict) else None


def _given(data: object, labels: object, test: object, test_labels: object, model: object) -> Given:
    if all(one is None for one in (data, labels, test, test_labels, model)):
        return NOTHING  # without the room of data, which takes a second to import
    from lehr.run.objects import given_objects

    return given_objects(data, labels, test, test_labels, model)


def _read_parts(
    directory: RunDirectory,
    trust: tuple[str, ...],
    written: str | None,
    statistics: AggregatePosterior | None,
    given: Given,
) -> Parts:
    """What was trained, of a run that was loaded when its weights had the id `written` and these statistics."""
    model, likelihood, prior, model_id = read_model(directory.model, trust, given)
    if written not in (None, model_id):
        raise CheckpointError(f"{directory.path}: was trained further in the meantime; load it once more")
    if statistics is not None and written is None:
        read_statistics(directory.posterior, model_id)  # of an earlier version, whose weights do not say whose they are
    if statistics is not None and statistics.latent_shape != model.latent_shape:
        shapes = f"latents of {statistics.latent_shape}, the model has {model.latent_shape}"
        raise CheckpointError(f"{directory.posterior}: is of {shapes}")
    with torch.no_grad():
        density = prior.density(model.encode)
    return Parts(model, likelihood, density, model_id)
