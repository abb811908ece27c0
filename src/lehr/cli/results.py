"""`lehr results`: what a sweep came to, as a table and as files."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

from lehr.cli.ending import print_text
from lehr.cli.words import format_of, sorted_out
from lehr.config.looking import ResultsConfig
from lehr.errors import ConfigError

_DEFAULTS: dict[str, Any] = {"metrics": None, "by": None, "sort": None, "runs": False, "format": None, "out": None}
_FORMATS = {".csv": "csv", ".md": "markdown", ".parquet": "parquet"}


def main(argv: list[str]) -> int:
    """Read the runs and print or write the table; the exit code."""
    if {"--help", "-h"} & set(argv):
        from lehr.cli.help_looking import RESULTS_HELP

        print(RESULTS_HELP)
        return 0
    directory, values = _parsed(argv)
    _act(directory, values)
    return 0


def _parsed(argv: list[str]) -> tuple[Path, dict[str, Any]]:
    """The directory and the value of every key.

    Raises:
        ConfigError: one line for each word that is neither, and for each value that is not allowed.
    """
    directories, values, problems = sorted_out(argv, "results", ResultsConfig, _DEFAULTS)
    if not directories:
        problems.append("say which sweep: lehr results DIR")
    elif len(directories) > 1:
        problems.append(
            f"{directories[1]}: is one directory too many, after {directories[0]}; other words are key=value"
        )
    if not problems and values["out"]:
        problems += _out_problems(values, directories[0])
    if not problems and values["format"] == "parquet" and not values["out"]:
        problems.append("format=parquet: is no text; say out=FILE.parquet")
    if problems:
        raise ConfigError(*problems)
    return Path(directories[0]), values


def _out_problems(values: dict[str, Any], directory: str) -> list[str]:
    if Path(values["out"]).resolve() == (Path(directory) / "results.csv").resolve():
        return [f"out={values['out']}: is kept by the sweep itself, with every run and every number"]
    return format_of(values, _FORMATS)[1]


def _act(directory: Path, values: dict[str, Any]) -> None:
    from lehr.sweeps.groups import Query, answer
    from lehr.sweeps.results import read_runs
    from lehr.sweeps.tables import terminal_table

    results = read_runs(directory)
    if not results.runs:
        raise ConfigError(f"{directory}: holds no runs yet")
    table = answer(results, Query(values["metrics"], values["by"], values["sort"], values["runs"]))
    if values["out"] or values["format"] in ("csv", "markdown"):
        for note in results.notes:
            print(f"note: {note}", file=sys.stderr)
    if values["out"]:
        out = Path(values["out"])
        if out.suffix.lower() == ".parquet":
            from lehr.sweeps.frame import write_parquet

            write_parquet(table, out)
        else:
            from lehr.files import write_text

            write_text(out, _text(table, _FORMATS[out.suffix.lower()]))
        print(out)
    elif values["format"] in ("csv", "markdown"):
        print_text(_text(table, values["format"]))
    else:
        print_text(f"\n{terminal_table(table)}\n")


def _text(table: Any, format: str) -> str:
    from lehr.sweeps.results import write_csv
    from lehr.sweeps.tables import markdown_table, write_groups_csv

    if format == "markdown":
        return markdown_table(table)
    stream = io.StringIO()
    if table.query.runs:
        write_csv(stream, table.results, table.metrics)
    else:
        write_groups_csv(stream, table)
    return stream.getvalue()
