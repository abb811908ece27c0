"""`lehr.import_model`: a published autoencoder as a run directory, from Python and for the command."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lehr.api.checking import checked_values
from lehr.api.objects import command_of
from lehr.compose.components import run_problems
from lehr.compose.composer import Command, at_home, composed
from lehr.config.exchange import LIKELIHOOD, ImportConfig
from lehr.config.given import NOTHING, Given
from lehr.config.places import located
from lehr.errors import ConfigError, LehrError
from lehr.paths import absolute
from lehr.startup import quick_imports

if TYPE_CHECKING:
    from lehr.run.load import Run

CONFIG = "import"
"""The configuration of `lehr import`."""


def import_model(
    place: str | Path,
    dir: str | Path,
    words: str | Iterable[str] = (),
    *,
    data: object = None,
    labels: object = None,
    test: object = None,
    test_labels: object = None,
    overwrite: bool = False,
    config_dir: str | Path | None = None,
    **keys: Any,
) -> Run:
    """Make a run directory of an autoencoder that somebody has published, as `lehr import` does, and load it.

        run = lehr.import_model("taef2", "outputs/taef2", data="images", **{"data.path": "photos", "data.size": 256})

    Args:
        place: a folder of diffusers or of a pipeline, a folder with an encoder's and a decoder's file, a file, or a
            name on the hub.
        dir: the run directory.
        words: as on the command line, "data=images" and "data.key=value".
        data, labels, test, test_labels: the name of a data set, or your own images; as of `lehr.train`. With images the
            statistics of q(z) are measured, and what they reconstruct to is drawn and tested.
        overwrite: replace a run that is there.
        config_dir: a folder of configuration files of your own, which come before the shipped ones.
        keys: groups and keys, whose values are put on top of `words`.

    Raises:
        ConfigError: with a line for each mistake, also in `problems`.
        CheckpointError: if there is no autoencoder, or none that lehr has.
        DataError: if the images cannot be read.
    """
    objects = {"data": data, "labels": labels, "test": test, "test_labels": test_labels}
    try:
        keys = {"dir": os.fspath(dir), "overwrite": overwrite, **keys}
        command = command_of(words, keys, objects, config_dir, name=CONFIG)
        return carry_out(os.fspath(place), checked(command), command.given)
    except LehrError as error:
        raise error from None


def checked(command: Command) -> dict[str, Any]:
    """The configuration of the run, every key of `lehr train`, and what the command was told besides.

    Raises:
        ConfigError: with a line for each mistake.
        DataError: the same of images that are given.
    """
    values, problems = checked_values(command, ImportConfig)
    if problems:
        raise ConfigError(*problems)
    values["data"] = values.get("data") or {}
    run, problems = composed(Command("train", None, ["kl=constant"]))
    assert run is not None
    values["likelihood"] = dict(LIKELIHOOD)
    run_values = {**run.values, **values, "dir": absolute(at_home("dir=", values["dir"]))}
    if values["data"] and not command.given:
        problems += run_problems(run_values)
    if problems:
        raise ConfigError(*problems)
    return located(run_values)


def carry_out(place: str, config: dict[str, Any], given: Given = NOTHING) -> Run:
    """Import, and load what has come of it.

    Raises:
        LehrError: as of `import_model`.
    """
    with quick_imports():
        from lehr.run.directory import RunDirectory
        from lehr.run.imported import import_published
        from lehr.run.load import load
    directory = RunDirectory(config["dir"])
    import_published(place, directory, config, config["overwrite"], given)
    return load(directory.path, config["trust"], given=given)
