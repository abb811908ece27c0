"""An autoencoder from wherever one lies: a run directory, or weights that somebody has published."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from lehr.config.command import choices
from lehr.config.exchange import LIKELIHOOD
from lehr.errors import CheckpointError, ConfigError
from lehr.models.first_stage.base import FirstStage
from lehr.models.first_stage.recognise import difference, image_channels, recognised, shapes_of
from lehr.paths import expanded
from lehr.run.directory import RunDirectory
from lehr.run.factors import Factors
from lehr.run.load import load
from lehr.run.loaded import LoadedModel, Parts
from lehr.run.model_files import WEIGHTS, build_likelihood, build_model, build_prior, weights_of
from lehr.run.published import Published, read_published
from lehr.tensors import model_id

SIDE = 256
"""Of images, in pixels, where nobody says what the model is for; networks of convolutions take any."""
PRIOR = {"_target_": "lehr.objective.StandardNormalPrior"}


def open_autoencoder(place: str | Path, trust: Iterable[str] = ()) -> LoadedModel:
    """The autoencoder at `place`, on the CPU, to evaluate. Nothing there is executed.

    Args:
        place: a run directory, which gives its `Run`; or what `model.pretrained` takes: a folder of diffusers or of a
            pipeline, a folder with an encoder's and a decoder's file, a single file (latent diffusion, diffusers,
            TAESD), a name on the hub. Of these the model is worked out from the weights, and is in float32.
        trust: packages of your own whose classes a run uses.

    Raises:
        CheckpointError: in a line, if there is no autoencoder, or none that lehr has.
        ConfigError: if a run names classes of packages that are not trusted.
    """
    if not isinstance(place, str | os.PathLike):
        raise ConfigError(f"got {type(place).__name__}, expected the path of a run directory, a folder or a file")
    place = str(place)
    if RunDirectory(expanded(place)).config.is_file():
        return load(expanded(place), trust)
    return opened(read_place(place))


def read_place(place: str) -> Published:
    """What was published at `place`.

    Raises:
        CheckpointError: in a line, if there is no autoencoder, or that of a run: what its norms, its posterior and its
            likelihood are is in no weight, and stands in its configuration.
    """
    try:
        published = read_published(place)
    except ValueError as error:
        raise CheckpointError(f"{place}: is no run directory and no autoencoder: {error}") from error
    if run := _run_of(published.files[0]):
        what = "is a run of lehr already" if run.path == expanded(place).absolute() else f"is of the run {run.path}"
        raise CheckpointError(f"{place}: {what}, which is used as it is: run={run.path}")
    return published


def _run_of(file: Path) -> RunDirectory | None:
    """The run that has written these weights or this checkpoint; None if none has."""
    file = file.absolute()
    run = RunDirectory(file.parent.parent)
    own = (run.model / WEIGHTS, run.last_checkpoint, run.best_checkpoint)
    return run if file in own and run.config.is_file() else None


def model_of(published: Published) -> dict[str, Any]:
    """The `model` section of a configuration, every key, as it is worked out from the weights.

    Raises:
        CheckpointError: in a line, if lehr has no such model.
    """
    try:
        return _complete(recognised(shapes_of(published.weights), published.config))
    except ValueError as error:
        raise CheckpointError(f"{published.place}: {error}") from error


def opened(published: Published, image_shape: tuple[int, int, int] | None = None) -> LoadedModel:
    """A model with weights as they were read.

    Args:
        published: the weights, and what is said beside them.
        image_shape: (c, h, w) of the images that it is for; None for those that its config.json names, else
            of 256 x 256.

    Raises:
        CheckpointError: in a line, if it is none that lehr has.
    """
    config: dict[str, Any] = {"model": model_of(published), "likelihood": dict(LIKELIHOOD), "prior": dict(PRIOR)}
    image_shape = image_shape or _image_shape(published, image_channels(shapes_of(published.weights)))
    try:
        with torch.device("meta"):  # weights are given to it
            model = build_model(config, image_shape)
    except ConfigError as error:
        raise CheckpointError(*(f"{published.place}: {problem}" for problem in error.problems)) from error
    assert isinstance(model, FirstStage)
    if what := difference(published.weights, model):
        raise CheckpointError(f"{published.place}: is none of lehr's autoencoders: {what}")
    weights = {name: tensor.float() for name, tensor in published.weights.items()}
    if name := next((name for name, tensor in weights.items() if not tensor.isfinite().all()), None):
        raise CheckpointError(f"{published.place}: {name} has values that are no numbers")
    model.load_state_dict(weights, assign=True)
    model.loaded()
    likelihood, prior = build_likelihood(config), build_prior(config, model)
    for module in (model, likelihood, prior):
        module.eval().requires_grad_(False)
    with torch.no_grad():
        parts = Parts(model, likelihood, prior.density(model.encode), model_id(weights_of(model, likelihood, prior)))
    return LoadedModel(Path(published.place), config, lambda: parts, None, Factors.said_by(published.config))


def _complete(node: dict[str, Any]) -> dict[str, Any]:
    """With every key that a model of this class has in a configuration."""
    shipped = next(values for _, values in sorted(choices("model").items()) if values["_target_"] == node["_target_"])
    return {**shipped, **node}


def _image_shape(published: Published, channels: int) -> tuple[int, int, int]:
    side = published.config.get("sample_size")
    side = side if isinstance(side, int) and side > 0 else SIDE
    return channels, side, side
