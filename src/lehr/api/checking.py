"""The configuration of a command that is told which images to look at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lehr.compose.components import component_problems, let_import
from lehr.compose.composer import Command, composed
from lehr.config.given import NOTHING, with_stubs
from lehr.config.problems import config_problems
from lehr.config.schema import Section


def checked_values(command: Command, schema: type[Section]) -> tuple[dict[str, Any], list[str]]:
    """Every key but those of Hydra, with images that are given in it, and a line for each thing that is wrong.

    Args:
        command: what was typed, or said from Python.
        schema: of the configuration; the data have their own.

    Raises:
        DataError: with a line for each mistake in images that are given.
    """
    config, problems = composed(replace(command, given=NOTHING))
    if config is None:
        return {}, problems
    values: dict[str, Any] = {key: None if value == "???" else value for key, value in config.values.items()}
    problems += config_problems(schema, with_stubs(values, command.given))
    if not problems:
        let_import(values["trust"])
        problems += component_problems(values, values["trust"])
    if not problems and command.given:
        from lehr.run.objects import with_sections

        values = with_sections(values, command.given)
    return values, problems
