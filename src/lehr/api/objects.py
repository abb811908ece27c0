"""What a call from Python says: words and keys as on the command line, and objects in place of names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lehr.compose.composer import Command, typed_value
from lehr.compose.words import words_of
from lehr.config.given import NOTHING, STAND_INS, Given
from lehr.errors import ConfigError, LehrError

_BESIDE_DATA = ("labels", "test", "test_labels")
_KINDS = {"data": "data set", "model": "module"}


def command_of(
    words: str | Iterable[str],
    keys: Mapping[str, Any],
    objects: Mapping[str, object],
    config_dir: str | Path | None,
    multirun: bool = False,
    name: str = "train",
) -> Command:
    """What is to be composed.

    Args:
        words, keys: see `words_of`.
        objects: "data" and "model", each the name of a choice or an object; "labels", "test", "test_labels".
        config_dir: a folder of configuration files of the user's own.
        multirun: whether several values for a key are allowed.
        name: of the configuration.

    Raises:
        ConfigError: with a line for each mistake in what was given.
    """
    names = {group: value for group, value in objects.items() if group in STAND_INS and isinstance(value, str)}
    others = {group: value for group, value in objects.items() if group not in names and value is not None}
    said: list[str] = []
    problems: list[str] = []
    given = NOTHING
    try:
        said = words_of(words, {**names, **keys})
    except ConfigError as error:
        problems += error.problems
    for group in (one for one in STAND_INS if one in others):
        chosen = [word for word in said if word.startswith(f"{group}=")]
        problems += [f"{word}: a {_KINDS[group]} is given as {group}=... too; leave one out" for word in chosen]
    if isinstance(name_of_data := objects.get("data"), str):
        own = [name for name in _BESIDE_DATA if others.pop(name, None) is not None]
        problems += [f"{name}: is for images that are given; data={name_of_data} has its own" for name in own]
    try:
        given = _given(others)
    except LehrError as error:
        problems += error.problems
    if not isinstance(config_dir, str | os.PathLike | None):
        problems.append(f"config_dir={config_dir}: must be a path")
        config_dir = None
    command = Command(name, Path(config_dir) if config_dir else None, said, multirun, given)
    if problems:
        raise ConfigError(*problems)
    resumed = None
    with suppress(ConfigError):
        resumed = typed_value(command, "resume")
    if given and not resumed:  # a run that is gone on with knows already that it was given something
        from lehr.run.objects import choices

        command.overrides[:0] = [f"{group}={choice}" for group, choice in choices(given).items()]
    return command


def _given(objects: Mapping[str, object]) -> Given:
    """The objects, checked, and data sets in memory.

    Raises:
        LehrError: a line for each thing that is wrong.
    """
    if not objects:
        return NOTHING  # torch is not imported before the configuration is known to be right
    from lehr.run.objects import given_objects
    from lehr.run.progress_line import ProgressLine

    line: ProgressLine | None = None

    def show(done: int, total: int) -> None:
        nonlocal line
        line = line or ProgressLine("reading", total)
        line.show(done, f"{done:,} of {total:,} images")

    try:
        return given_objects(**objects, progress=show)
    finally:
        if line is not None:
            line.close()
