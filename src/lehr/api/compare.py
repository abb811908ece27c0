"""`lehr.compare`: models side by side: what was recorded of runs, and what autoencoders do with the same images."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lehr.errors import ConfigError, LehrError
from lehr.startup import quick_imports

if TYPE_CHECKING:
    from lehr.api.comparison import ImageComparison
    from lehr.compose.composer import Command
    from lehr.config.given import Given
    from lehr.data.module import ImageDataModule
    from lehr.run.loaded import LoadedModel
    from lehr.sweeps.compare import Comparison

CONFIG = "compare"
_FOLDER = Path("outputs", "compare")


def compare(
    *models: LoadedModel | str | Path,
    metrics: Sequence[str] | None = None,
    words: str | Iterable[str] = (),
    data: object = None,
    config_dir: str | Path | None = None,
    **keys: Any,
) -> Comparison | ImageComparison:
    """Models side by side.

        lehr.compare("outputs/a", "outputs/b")                     # runs: their settings, and their own numbers
        lehr.compare("outputs/a", "outputs/b", split="test")       # and what they do with the same images
        lehr.compare("outputs/a", "taef2", data="images", **{"data.path": "photos", "data.size": 256})

    Args:
        models: two or more: of the first form runs, loaded or as directories; else also whatever `open_autoencoder`
            opens: diffusers folders, single files, names on the hub.
        metrics: of the first form, names or patterns such as `test/*`; None for what people look at first.
        words: as on the command line of `lehr compare`, "data=mnist" and "data.key=value".
        data: the name of a data set, or your own images, as of `lehr.train`; None for the first run's.
        config_dir: a folder of configuration files of your own, which come before the shipped ones.
        keys: of `lehr compare`, on top of `words`; with `out` numbers and picture are written there.

    Returns:
        A `Comparison` of what was recorded; or, where anything is said of images, an `ImageComparison`, which has that
        as its `recorded`.

    Raises:
        ConfigError: with a line for each mistake, also in `problems`.
        CheckpointError: a line for each that is no model.
        DataError: if the data cannot be read, or models do not take such images.
    """
    if not words and data is None and config_dir is None and not keys:
        from lehr.sweeps.compare import compare as recorded

        return recorded(*models, metrics=metrics)  # type: ignore[arg-type]  # what is no run is told in a line
    from lehr.api.objects import command_of

    try:
        if metrics is not None:
            raise ConfigError("metrics: is for recorded numbers; what is measured on images is all there is")
        command = command_of(words, keys, {"data": data}, config_dir, name=CONFIG)
        if any(word.startswith("format=") for word in command.overrides):
            raise ConfigError("format: is for the command; here print() it, or ask for plain()")
        values, problems = checked(command)
        found = compared(models, values, command, problems)
        if values["out"]:
            found.save(values["out"])
        return found
    except LehrError as error:
        raise error from None


def checked(command: Command) -> tuple[dict[str, Any], list[str]]:
    """The configuration, every key, and what is wrong with it; `data` is None where none are named."""
    from lehr.api.checking import checked_values
    from lehr.api.comparison import folder_problem
    from lehr.compose.composer import at_home
    from lehr.config.schema import CompareConfig

    changes = _changes(command)
    others = [word for word in command.overrides if word not in changes]
    values, problems = checked_values(replace(command, overrides=others), CompareConfig)
    if values.get("out") and not problems:
        try:
            values["out"] = at_home("out=", values["out"])
            problems += filter(None, [folder_problem(Path(values["out"]))])
        except ConfigError as error:
            problems += error.problems
    return {"data": None} | values if values else {}, problems


def _changes(command: Command) -> list[str]:
    """Words that change the data of the first run: those of keys of `data`, where no data set is named."""
    words = command.overrides
    if any(re.match(r"\+?data(@\w+)?=", word) for word in words):
        return []
    return [word for word in words if word.lstrip("+~").startswith("data.")]


def compared(
    models: Sequence[LoadedModel | str | Path], values: dict[str, Any], command: Command, problems: Sequence[str] = ()
) -> ImageComparison:
    """Compare models as a checked configuration says.

    Raises:
        LehrError: a line for each thing that is wrong, with those that are known already.
    """
    problems = list(problems)
    if len(models) < 2:
        only = f"{getattr(models[0], 'path', models[0])} is one" if models else "there is none"
        problems.append(f"say two models or more: runs, diffusers folders or files; {only}")
    problems += [
        f"compare: got {type(one).__name__}, expected a model, or the path of one"
        for one in models
        if not isinstance(one, str | os.PathLike) and not hasattr(one, "model_id")
    ]
    if problems:
        raise ConfigError(*problems)
    with quick_imports():
        from lehr.api.measuring import measure
    opened = _opened(models, values["trust"])
    data, is_own = _data(opened, values, command)
    return measure(opened, data, values, is_own)


def _opened(models: Sequence[LoadedModel | str | Path], trust: Sequence[str]) -> list[LoadedModel]:
    from lehr.run.loaded import LoadedModel
    from lehr.run.opened import open_autoencoder

    found: dict[int, LoadedModel] = {}
    problems: list[str] = []
    kind: type[LehrError] = ConfigError
    # what is not there first: it is told before weights are read
    for i, one in sorted(enumerate(models), key=lambda item: _is_there(item[1])):
        if problems and _is_there(one):
            break
        try:
            found[i] = one if isinstance(one, LoadedModel) else open_autoencoder(one, trust)
        except LehrError as error:
            problems += error.problems
            kind = type(error)
    if problems:
        raise kind(*problems)
    return [found[i] for i in range(len(models))]


def _is_there(model: LoadedModel | str | Path) -> bool:
    return not isinstance(model, str | os.PathLike) or os.path.exists(model)


def _data(models: Sequence[LoadedModel], values: dict[str, Any], command: Command) -> tuple[ImageDataModule, bool]:
    """The data, read, and whether they are the first run's own, however they are looked at.

    Raises:
        ConfigError: if none are named and no model is a run.
        DataError: if they cannot be read.
    """
    from lehr.compose.composer import changed
    from lehr.run.data_record import data_of
    from lehr.run.directory import RunDirectory
    from lehr.run.load import Run
    from lehr.run.objects import build_data

    changes = _changes(command)
    given: Given = command.given
    if values["data"] is not None:
        section = values["data"]
    else:
        run = next((model for model in models if isinstance(model, Run)), None)
        if run is None:
            raise ConfigError(
                "data: none of these is a run, which would have its own; say data=images data.path=FOLDER"
            )
        if not changes:
            return data_of(RunDirectory(run.path), run.config, values["trust"], run.moved, run.given), True
        whose = f"the data of {run.path}"
        found, problems = changed({"data": run.config["data"]}, replace(command, overrides=changes), whose)
        if problems:
            raise ConfigError(*problems)
        section, given = found["data"], run.given
    data = build_data({"data": section}, values["trust"], given)
    data.prepare_data()
    data.setup()
    return data, values["data"] is None


def place_of(found: ImageComparison, out: str | None) -> Path:
    """Where a comparison is written: `out`, or a folder named by the models, where there is no other one."""
    from lehr.api.comparison import folder_problem

    if out:
        return Path(out)
    name = "-".join(re.sub(r"[^\w.-]+", "_", one.name) for one in found.models)[:100]
    folders = [_FOLDER / f"{name}{number}" for number in ("", *(f"-{i}" for i in range(2, 1000)))]
    free = (folder for folder in folders if folder_problem(folder) is None and found.may_replace(folder))
    return next(free, folders[0])
