"""What the commands that work on a finished run have in common: flags, help, the checks, and one line for a mistake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lehr.cli.ending import report, told
from lehr.cli.opening import typed
from lehr.compose.components import let_import
from lehr.compose.composer import Command, at_home, composed
from lehr.config.problems import section_problems
from lehr.config.schema import Section
from lehr.errors import ConfigError, wants_traceback
from lehr.paths import absolute
from lehr.run.directory import RunDirectory

Values = dict[str, Any]


def run_simple(
    name: str,
    argv: list[str],
    help_text: str,
    schema: type[Section],
    act: Callable[[Values], None],
    problems_of: Callable[[Values], list[str]] = lambda values: [],
    of_run: bool = True,
) -> int:
    """Compose `conf/NAME.yaml`, check it, and `act` on its values; the exit code.

    Args:
        name: of the command and of its configuration.
        argv: what was typed after the command.
        help_text: for --help.
        schema: of the configuration.
        act: does what was asked for and prints it.
        problems_of: what is wrong with values that have passed the schema.
        of_run: whether `run` has to be a run directory.
    """
    said = typed(name, argv, lambda config_dir: help_text, takes="one run at a time")
    if isinstance(said, int):
        return said
    config, problems = composed(Command(said.config, said.config_dir, said.words))
    if config is None:
        return report(problems, name)
    values: Values = {key: None if value == "???" else value for key, value in config.values.items()}
    problems += section_problems(schema, values)
    if not problems:
        try:
            values |= {key: at_home(f"{key}=", values[key]) for key in ("run", "out") if values.get(key)}
            places = {key: at_home(f"data.{key}=", place) for key, place in values["data"].items() if place}
            values["data"] = {key: absolute(place) for key, place in places.items()}
        except ConfigError as error:
            problems += error.problems
    if not problems:
        problems += problems_of(values)
    if problems:
        return report(problems, name)
    let_import(config.values["trust"])
    try:
        if of_run:
            RunDirectory(str(values["run"])).read_config()  # before anything is imported that takes seconds
        act(values)
    except Exception as error:
        return told(error, name, wants_traceback(bool(values["debug"])))
    return 0
