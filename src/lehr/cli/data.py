"""`lehr data`: what a data set holds, before anyone trains on it."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from lehr.api.describe import CONFIG, checked, look_at, write
from lehr.cli.ending import print_text, report, told
from lehr.cli.flags import parse
from lehr.cli.help import data_help
from lehr.cli.train import run_hydra
from lehr.compose.composer import Command
from lehr.errors import ConfigError, wants_traceback


def main(argv: list[str]) -> int:
    """Look at the data, print what was found and write the picture; the exit code."""
    try:
        arguments = parse(argv)
    except ConfigError as error:
        return report(error.problems, "data")
    config_dir = Path(arguments.config_dir) if arguments.config_dir else None
    if arguments.help:
        print(data_help(config_dir))
        return 0
    if arguments.hydra_help or arguments.info or arguments.cfg:
        return run_hydra(argv, config_dir, CONFIG, "data")
    if arguments.multirun:
        return report(["-m: lehr data takes one data set at a time"], "data")
    try:
        values = checked(Command(arguments.config_name or CONFIG, config_dir, arguments.overrides))
    except ConfigError as error:
        return report(error.problems, "data")
    try:
        found = look_at(values)
        path = write(found, values["out"])
    except Exception as error:
        return told(error, "data", wants_traceback(values["debug"]))
    if values["format"] == "json":
        print_text(json.dumps(found.plain(), indent=1) + "\n")
        print(path, file=sys.stderr)
    else:
        refused = found.finding("damaged") is not None and values["data"].get("on_corrupt") == "error"
        words = [*found.suggestion.words, *(["data.on_corrupt=skip"] if refused else [])]
        print_text(f"\n{found}    to train      {training(arguments.overrides, words)}\n\n  {path}\n\n")
    return 0


def training(typed: Sequence[str], suggested: Sequence[str]) -> str:
    """The command that trains on the same data with what is suggested."""
    said = {word.partition("=")[0] for word in suggested}
    own = [word for word in typed if word.lstrip("+~").partition("=")[0] not in {*said, "out", "format", "debug"}]
    return shlex.join(["lehr", "train", *own, *suggested])
