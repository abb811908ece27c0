"""`lehr compare`: models side by side on the same images."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from lehr.api.compare import CONFIG, checked, compared, place_of
from lehr.cli.ending import print_text, report, told
from lehr.cli.flags import parse
from lehr.cli.help import compare_help
from lehr.cli.train import run_hydra
from lehr.compose.composer import Command, at_home
from lehr.errors import ConfigError, wants_traceback


def main(argv: list[str]) -> int:
    """Measure the models, print what was found and write it; the exit code."""
    try:
        arguments = parse(argv)
    except ConfigError as error:
        return report(error.problems, "compare")
    config_dir = Path(arguments.config_dir) if arguments.config_dir else None
    if arguments.help:
        print(compare_help(config_dir))
        return 0
    places, words = _apart(arguments.overrides)
    if arguments.hydra_help or arguments.info or arguments.cfg:
        return run_hydra([word for word in argv if word not in places], config_dir, CONFIG, "compare")
    if arguments.multirun:
        return report(["-m: lehr compare takes all models at once"], "compare")
    command = Command(arguments.config_name or CONFIG, config_dir, words)
    try:
        places = [at_home("", place) for place in places]
    except ConfigError as error:
        return report(error.problems, "compare")
    values, problems = checked(command)
    try:
        found = compared(places, values, command, problems)
        folder = found.save(place_of(found, values["out"]))
    except Exception as error:
        return told(error, "compare", wants_traceback(bool(values.get("debug"))))
    if values["format"] == "json":
        print_text(json.dumps(found.plain(), indent=1) + "\n")
        print(folder, file=sys.stderr)
    else:
        recorded = f"\n{found.recorded}\n" if found.recorded else ""
        print_text(f"{recorded}{found}\n  {folder}\n\n")
    return 0


def _apart(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The models, and the words that are said of the comparison: names of runs have `=` in them."""
    places = [word for word in words if "=" not in word or Path(word).exists()]
    return places, [word for word in words if word not in places]
