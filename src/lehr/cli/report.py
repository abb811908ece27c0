"""`lehr report`: a page of a run or of a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lehr.cli.words import sorted_out
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
    from lehr.report.write import Request, watch, write_report, write_runs

    metrics = tuple(values["metrics"]) if values["metrics"] else None
    request = Request(paths, values["format"], metrics, Path(values["out"]) if values["out"] else None)
    if values["runs"]:
        if request.is_of_a_run:
            raise ConfigError(f"runs=true: {paths[0]} is a single run; it is for sweeps")
        _write_runs(write_runs, paths)
    if values["watch"]:
        said = ""
        for file, state in watch(request, values["every"]):
            if state != said:  # curves that have grown alone are no news
                print(f"{file}  {state}", flush=True)
            said = state
    else:
        print(write_report(request))
    return 0


def _write_runs(write: Any, paths: tuple[Path, ...]) -> None:
    from lehr.run.progress_line import ProgressLine

    lines: list[ProgressLine] = []

    def said(done: int, total: int) -> None:
        if not lines:
            lines.append(ProgressLine("pages of runs", total))
        lines[0].show(done, "")

    try:
        write(paths, said)
    finally:
        for line in lines:
            line.close()


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
    of_name = Path(values["out"]).suffix.lower().removeprefix(".") if values["out"] else None
    if of_name is not None and of_name not in REPORT_FORMATS:
        return [f"out={values['out']}: must end in {', '.join(f'.{name}' for name in REPORT_FORMATS)}"]
    if of_name and values["format"] not in (None, of_name):
        return [f"format={values['format']}: out={values['out']} is {of_name}; leave one of them out"]
    values["format"] = values["format"] or of_name or "html"
    if values["watch"] and values["format"] != "html":
        return [f"watch=true: is for pages, not for {values['format']}"]
    return []
