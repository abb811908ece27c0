"""`lehr data`: what a data set holds, before anyone trains on it."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence

from lehr.api.describe import CONFIG, checked, look_at, write
from lehr.cli.ending import print_text, report, told
from lehr.cli.help import data_help
from lehr.cli.opening import typed
from lehr.compose.composer import Command
from lehr.errors import ConfigError, wants_traceback


def main(argv: list[str]) -> int:
    """Look at the data, print what was found and write the picture; the exit code."""
    said = typed("data", argv, data_help, CONFIG, takes="one data set at a time")
    if isinstance(said, int):
        return said
    try:
        values = checked(Command(said.config, said.config_dir, said.words))
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
        print_text(f"\n{found}    to train      {training(said.words, words)}\n\n  {path}\n\n")
    return 0


def training(typed: Sequence[str], suggested: Sequence[str]) -> str:
    """The command that trains on the same data with what is suggested."""
    said = {word.partition("=")[0] for word in suggested}
    own = [word for word in typed if word.lstrip("+~").partition("=")[0] not in {*said, "out", "format", "debug"}]
    return shlex.join(["lehr", "train", *own, *suggested])
