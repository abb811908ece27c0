"""`lehr.describe`: what a data set holds, from Python."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lehr.api.checking import checked_values
from lehr.api.objects import command_of
from lehr.compose.composer import Command, at_home
from lehr.config.given import NOTHING, Given
from lehr.config.schema import DescribeConfig, TrainConfig
from lehr.errors import ConfigError, LehrError, printable
from lehr.files import write_json
from lehr.reading import read_json
from lehr.startup import quick_imports

if TYPE_CHECKING:
    from lehr.data.survey import Survey

CONFIG = "describe"
"""The configuration of `lehr data`; `data` is the name of a group."""
_FOLDER = Path("outputs", "data")


def describe(
    words: str | Iterable[str] = (),
    *,
    data: object = None,
    labels: object = None,
    test: object = None,
    test_labels: object = None,
    config_dir: str | Path | None = None,
    **keys: Any,
) -> Survey:
    """Look at all of a data set, as `lehr data` does: what it holds, what is odd in it, what to train it with.

        found = lehr.describe(data="images", **{"data.path": "photos", "data.size": 32})
        found = lehr.describe(data=images, labels=classes)
        found.suggestion.words, found.train.overall_mean, found.equal.counts
        print(found); found.picture.show()

    Args:
        words: as on the command line, "data=mnist" and "data.key=value".
        data, labels, test, test_labels: the name of a data set, or your own images; as of `lehr.train`.
        config_dir: a folder of configuration files of your own, which come before the shipped ones.
        keys: groups and keys, whose values are put on top of `words`; with `out` the picture, or the numbers, are
            written to a file.

    Raises:
        ConfigError: with a line for each mistake, also in `problems`.
        DataError: if the data cannot be read; damaged files among others are in what is returned.
    """
    objects = {"data": data, "labels": labels, "test": test, "test_labels": test_labels}
    try:
        command = command_of(words, keys, objects, config_dir, name=CONFIG)
        if any(word.startswith("format=") for word in command.overrides):
            raise ConfigError("format: is for the command; here print() it, or ask for plain()")
        values = checked(command)
        found = look_at(values, command.given)
        if values["out"]:
            write(found, values["out"])
        return found
    except LehrError as error:
        raise error from None


def checked(command: Command) -> dict[str, Any]:
    """The configuration, every key.

    Raises:
        ConfigError: with a line for each mistake.
        DataError: the same of images that are given.
    """
    about_data, problems = _about_data(command.overrides)
    values, found = checked_values(replace(command, overrides=about_data), DescribeConfig)
    problems += found
    if isinstance(values.get("out"), str) and values["out"].strip():  # else it has been said that it is empty
        problems += _out_problems(values["out"])
    if problems:
        raise ConfigError(*problems)
    return {**values, "out": values["out"] and at_home("out=", values["out"])}


def _about_data(words: list[str]) -> tuple[list[str], list[str]]:
    """The words that are of the data, and a line for each that is of a training."""
    keys = {*TrainConfig.model_fields, "experiment", "sweep", "pool"} - set(DescribeConfig.model_fields)
    others = [word for word in words if re.split(r"[.=/@]", word.lstrip("+~"))[0] in keys]
    lines = [f"{word}: is for lehr train; lehr data takes what is said of the data" for word in others]
    return [word for word in words if word not in others], lines


def look_at(values: dict[str, Any], given: Given = NOTHING) -> Survey:
    """The survey of the data of a configuration.

    Raises:
        LehrError: if they cannot be read.
    """
    with quick_imports():
        from lehr.data.survey import survey
        from lehr.run.objects import build_data
        from lehr.run.progress_line import ProgressLine
    return survey(build_data(values, values["trust"], given), ProgressLine)


def write(found: Survey, out: str | None) -> Path:
    """Write the picture, or the numbers, as the name says; where it was written. By default outputs/data/NAME.png."""
    from lehr.data.survey.picture import save

    path = Path(out) if out else _free(re.sub(r"[^\w.-]+", "_", found.name) or "data")
    if path.suffix.lower() == ".json":
        write_json(path, found.plain())
    else:
        save(found.picture, path)
    return path


def _free(name: str) -> Path:
    """Where there is no file of anyone else's."""
    paths = (_FOLDER / f"{name}{number}.png" for number in ("", *(f"-{i}" for i in range(2, 1000))))
    return next((path for path in paths if not path.exists() or _is_own(path)), _FOLDER / f"{name}.png")


def _out_problems(out: str) -> list[str]:
    try:
        path = Path(at_home("out=", out))
    except ConfigError as error:
        return list(error.problems)
    if path.suffix.lower() not in (".png", ".json"):
        return [f"out={out}: must end in .png for the picture or .json for the numbers"]
    if path.exists() and not _is_own(path):
        return [f"out={out}: is there, and lehr data has not made it; choose another name, or remove it"]
    above = next(folder for folder in path.absolute().parents if folder.exists())
    return [] if above.is_dir() else [f"out={out}: {printable(str(above))} is no folder"]


def _is_own(path: Path) -> bool:
    """Whether it is a file that an earlier survey was written to."""
    if not path.is_file():
        return False
    if path.suffix.lower() == ".png":
        from lehr.data.survey.picture import is_own

        return is_own(path)
    from lehr.data.survey.plain import MADE_BY

    try:
        found = read_json(path)
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("made_by") == MADE_BY
