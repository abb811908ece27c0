"""What the commands that work on a finished run have in common: flags, help, the checks, and one line for a mistake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lehr.cli.ending import report, told
from lehr.cli.flags import parse
from lehr.cli.train import run_hydra
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
    try:
        arguments = parse(argv)
    except ConfigError as error:
        return report(error.problems, name)
    config_dir = Path(arguments.config_dir) if arguments.config_dir else None
    if arguments.help:
        print(help_text)
        return 0
    if arguments.hydra_help or arguments.info or arguments.cfg:
        return run_hydra(argv, config_dir, name)
    if arguments.multirun:
        return report([f"-m: lehr {name} takes one run at a time"], name)
    config, problems = composed(Command(arguments.config_name or name, config_dir, arguments.overrides))
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
