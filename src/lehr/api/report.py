"""`lehr.write_report`: pages of runs and sweeps, from Python; and those that a training or a sweep ends in."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lehr.errors import LehrError, in_a_line

if TYPE_CHECKING:
    from lehr.run.directory import RunDirectory
    from lehr.sweeps.directory import SweepDirectory


def write_report(
    *paths: str | Path,
    format: str = "html",
    metrics: Sequence[str] | None = None,
    out: str | Path | None = None,
    runs: bool = False,
) -> Path:
    """Write what a run or a sweep came to, as `lehr report` does; the file.

        lehr.write_report("outputs/run")
        lehr.write_report("outputs/sweep", metrics=["test/rate"], format="pdf")
        lehr.write_report("outputs/one", "outputs/other")

    Args:
        paths: runs, sweeps, or folders that runs lie in; several are reported on together.
        format: "html", a page that needs nothing but itself; "md"; "png" or "pdf", all of it as one picture.
        metrics: of a sweep, what may be chosen in the page; None for what people look at first.
        out: the file; None for `report.FORMAT` in the directory, or of several in outputs/reports.
        runs: of a sweep, write the page of each run too; what has one as new as it is keeps that.

    Raises:
        ConfigError: for a format or a metric that there is not.
        CheckpointError: where there is nothing to report on, or another file is in the way.
    """
    from lehr.report.write import Request
    from lehr.report.write import write_report as write

    chosen, file = tuple(metrics) if metrics else None, Path(out) if out else None
    try:
        return write(Request(tuple(map(Path, paths)), format, chosen, file, runs))
    except LehrError as error:
        raise error from None


def report_of_run(directory: RunDirectory) -> Path | None:
    """The page of a run that has ended; None where it could not be written, which is said in a line."""
    return _try(directory.path, runs=False)


def report_of_sweep(directory: SweepDirectory, wanted: bool | str) -> Path | None:
    """The page of a sweep that has ended; None where it is not `wanted`, or could not be written."""
    return _try(directory.path, runs=wanted is True) if wanted is not False else None


def _try(path: Path, runs: bool) -> Path | None:
    """What was trained is there whatever becomes of the page."""
    try:
        return write_report(path, runs=runs)
    except Exception as error:  # whatever it is, it must not look as if the training had failed
        problem = error.problems[0] if isinstance(error, LehrError) else in_a_line(error)
        print(f"note: no report: {problem}", file=sys.stderr, flush=True)
        return None
