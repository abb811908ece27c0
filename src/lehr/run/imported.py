"""A run directory without a training: around an autoencoder that somebody has published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from lehr.config.build import build
from lehr.config.given import NOTHING, Given
from lehr.data.module import ImageDataModule
from lehr.errors import ConfigError, DataError, in_a_line
from lehr.models.components import Components
from lehr.models.first_stage.recognise import image_channels, shapes_of
from lehr.objective.bounds import Objective
from lehr.objective.rate import RateTerm
from lehr.paths import absolute, expanded
from lehr.run.data_record import tell_of_data, write_data
from lehr.run.diffusers_folder import carried
from lehr.run.directory import RunDirectory
from lehr.run.execution import Execution
from lehr.run.finish import Options, Trained, finish
from lehr.run.model_files import build_likelihood, build_prior, weights_of, write_model
from lehr.run.objects import build_data
from lehr.run.opened import model_of, opened, read_place
from lehr.run.published import Published
from lehr.run.status import DONE, FAILED, Status
from lehr.tensors import model_id


def import_published(
    place: str, directory: RunDirectory, config: Mapping[str, Any], overwrite: bool = False, given: Given = NOTHING
) -> None:
    """Make `directory` a finished run of the autoencoder at `place`, which is measured on images if any are named.

    Args:
        place: see `lehr.run.opened.read_place`.
        directory: of the run.
        config: of `lehr train`, whose `data` is empty where no images are named. Its model is not looked at.
        overwrite: replace a run that is there.
        given: images that stand in place of names.

    Raises:
        ConfigError: if `directory` is none for it.
        CheckpointError: if there is no autoencoder, or none that lehr has.
        DataError: if the images cannot be read, or have other channels.
    """
    published = read_place(place)
    model_of(published)  # what is none, and a directory that is taken, is told before all images are decoded
    with _claimed(directory):
        if directory.is_run() and not overwrite:
            raise ConfigError(f"dir={directory.path}: holds a run; overwrite=true replaces it")
        data = _read_data(config, published, given) if config["data"] else None
        loaded = opened(published, data.shape if data else None)
        config = {**config, "model": loaded.config["model"]}
        if directory.is_run():
            directory.clear()
        status = Status(directory.status)
        status.start(imported=_origin(published, asdict(loaded.said) if loaded.said else {}))
        try:
            directory.remove_unfinished()
            directory.write_config(config)
            prior = build_prior(config, loaded.model, config["trust"]).eval().requires_grad_(False)
            likelihood = build_likelihood(config, config["trust"]).eval().requires_grad_(False)
            rate_term = build(config["kl"], RateTerm, key="kl", trust=config["trust"])
            objective = build(config["objective"], Objective, key="objective", trust=config["trust"])
            components = Components(loaded.model, likelihood, prior, rate_term, objective)
            model = _write(components, data, directory, config)
        except BaseException as error:
            status.finish(FAILED, in_a_line(error))
            raise
        status.finish(DONE, model=model)


def _write(
    components: Components, data: ImageDataModule | None, directory: RunDirectory, config: Mapping[str, Any]
) -> str | None:
    """The files of the run; the id of its model."""
    if data is None:
        weights = weights_of(components.model, components.likelihood, components.prior)
        write_model(directory.model, weights, found := model_id(weights), components.model.image_shape, config)
        return found
    write_data(directory, data)
    tell_of_data(data)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for module in (components.model, components.likelihood, components.prior):
        module.to(device)
    return finish(Trained(components, 0), data, directory, Options(config), Execution(device)).model


def _read_data(config: Mapping[str, Any], published: Published, given: Given) -> ImageDataModule:
    data = build_data(config, config["trust"], given)
    data.prepare_data()
    data.setup()
    there, wanted = data.shape[0], image_channels(shapes_of(published.weights))
    if there != wanted:
        raise DataError(
            f"{data.name}: has images of {there} channel{'' if there == 1 else 's'}, {published.place} takes {wanted}; "
            f"data.channels={wanted} makes them so where the data have this key"
        )
    return data


def _origin(published: Published, factors: Mapping[str, Any]) -> dict[str, Any]:
    """What status.json says of where the weights are from: by their digest they are known wherever they lie."""
    place = absolute(published.place) if expanded(published.place).exists() else published.place
    return {
        "from": place,
        "files": [file.name for file in published.files],
        "digest": model_id(published.weights),
        **factors,
        **carried(published.config),
    }


@contextmanager
def _claimed(directory: RunDirectory) -> Iterator[None]:
    """The right to write there within the block.

    Raises:
        ConfigError: if no run may be there, or another process is writing.
    """
    if problems := directory.problems():
        raise ConfigError(*problems)
    made = [path for path in (directory.path, *directory.path.parents) if not path.exists()]
    try:
        with directory.claimed():
            yield
    finally:
        for path in made:  # where nothing came of it
            with suppress(OSError):
                Path(path).rmdir()
