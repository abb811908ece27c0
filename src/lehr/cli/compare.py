"""`lehr compare`: models side by side on the same images."""

from __future__ import annotations

import json
import os
import sys

from lehr.api.compare import CONFIG, checked, compared, place_of
from lehr.cli.ending import print_text, report, told
from lehr.cli.help import compare_help
from lehr.cli.opening import typed
from lehr.compose.composer import Command, at_home
from lehr.errors import ConfigError, wants_traceback


def main(argv: list[str]) -> int:
    """Measure the models, print what was found and write it; the exit code."""
    said = typed("compare", argv, compare_help, CONFIG, "all models at once", _is_place)
    if isinstance(said, int):
        return said
    command = Command(said.config, said.config_dir, said.words)
    try:
        places = [at_home("", place) for place in said.places]
    except ConfigError as error:
        return report(error.problems, "compare")
    values, problems = checked(command)
    try:
        found = compared(places, values, command, problems)
        folder = found.save(place_of(found, values["out"]))
    except Exception as error:
        return told(error, "compare", wants_traceback(values.get("debug") is True))
    if values["format"] == "json":
        print_text(json.dumps(found.plain(), indent=1) + "\n")
        print(folder, file=sys.stderr)
    else:
        recorded = f"\n{found.recorded}\n" if found.recorded else ""
        print_text(f"{recorded}{found}\n  {folder}\n\n")
    return 0


def _is_place(word: str) -> bool:
    """Whether a word is a model, and no key with its value: names of runs have `=` in them."""
    return "=" not in word or os.path.exists(word)
