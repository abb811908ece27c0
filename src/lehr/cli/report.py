"""`lehr report`: a page of a run or of a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lehr.cli.words import format_of, sorted_out
from lehr.config.looking import ReportConfig
from lehr.errors import ConfigError
from lehr.run.contents import REPORT_FORMATS

_DEFAULTS: dict[str, Any] = {
    "format": None, "metrics": None, "runs": False, "out": None, "watch": False, "every": 10,
}  # fmt: skip


def main(argv: list[str]) -> int:
    """Write the report and print its name; the exit code."""
    if {"--help", "-h"} & set(argv):
        from lehr.cli.help_looking import REPORT_HELP

        print(REPORT_HELP)
        return 0
    directories, values = _parsed(argv)
    paths = tuple(map(Path, directories))
    from lehr.report.write import Request, watch, write_report

    metrics = tuple(values["metrics"]) if values["metrics"] else None
    out = Path(values["out"]) if values["out"] else None
    request = Request(paths, values["format"], metrics, out, values["runs"])
    if values["watch"]:
        said = ""
        for file, state in watch(request, values["every"]):
            if state != said:  # curves that have grown alone are no news
                print(f"{file}  {state}", flush=True)
            said = state
    else:
        print(write_report(request))
    return 0


def _parsed(argv: list[str]) -> tuple[list[str], dict[str, Any]]:
    """The directories and the value of every key.

    Raises:
        ConfigError: one line for each word that is neither, and for each value that is not allowed.
    """
    directories, values, problems = sorted_out(argv, "report", ReportConfig, _DEFAULTS)
    if not directories:
        problems.append("say which run or sweep: lehr report DIR")
    if not problems:
        problems += _format_problems(values)
    if problems:
        raise ConfigError(*problems)
    return directories, values


def _format_problems(values: dict[str, Any]) -> list[str]:
    """What is wrong with `format`, `out` and `watch` together; `format` follows from `out` where it is not said."""
    found, problems = format_of(values, {f".{name}": name for name in REPORT_FORMATS})
    if problems:
        return problems
    values["format"] = found or "html"
    if values["watch"] and values["format"] != "html":
        return [f"watch=true: is for pages, not for {values['format']}"]
    return []
