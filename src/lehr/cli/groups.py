"""`lehr groups`: whether some images are reconstructed worse than others, as a table, `groups.json` and a picture."""

from __future__ import annotations

from typing import Any

from lehr.api.groups import groups
from lehr.cli.help import GROUPS_HELP
from lehr.cli.simple import run_simple
from lehr.config.schema import GroupsConfig


def main(argv: list[str]) -> int:
    """Compare the groups that were asked for and write what was found; the exit code."""
    return run_simple("groups", argv, GROUPS_HELP, GroupsConfig, _act)


def _act(values: dict[str, Any]) -> None:
    names = ("by", "column", "against", "split", "examples", "seed", "out", "trust")
    print(groups(values["run"], **{name: values[name] for name in names}, moved=values["data"]))
