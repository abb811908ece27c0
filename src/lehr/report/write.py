"""Reports as files: of a run into its directory, of a sweep into its own, in any of four formats."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lehr.errors import CheckpointError, ConfigError
from lehr.files import replacing, write_text
from lehr.report.document import Document
from lehr.report.gather import Gathered, gather
from lehr.report.reading import RunFiles
from lehr.run.claim import is_claimed
from lehr.run.contents import REPORT, REPORT_FORMATS
from lehr.run.directory import RunDirectory, holds_run
from lehr.run.progress_line import ProgressLine
from lehr.sweeps.directory import ENDED
from lehr.sweeps.results import run_folders

MARK = "lehr report"
"""In every file of a report: what has it may be replaced by the next."""
_SEVERAL = Path("outputs/reports")
_LONGEST = 100


@dataclass(frozen=True)
class Request:
    """What is to be reported on, and how.

    Attributes:
        paths: runs, sweeps, or folders of runs.
        format: html, md, png or pdf.
        metrics: of a sweep that may be chosen, the first before anything is; None for what people look at first.
        out: the file; None for `report.FORMAT` in the directory, or of several in outputs/reports.
        runs: of a sweep, write the pages of its runs too, those that have ended and have none as new as they are.
        refresh: seconds after which a page reads itself anew while what it is of is unfinished.
    """

    paths: tuple[Path, ...]
    format: str = "html"
    metrics: tuple[str, ...] | None = None
    out: Path | None = None
    runs: bool = False
    refresh: int | None = None

    @property
    def is_of_a_run(self) -> bool:
        return len(self.paths) == 1 and holds_run(self.paths[0])

    @property
    def is_of_record(self) -> bool:
        """Whether it is the page of a directory, in its place there."""
        return self.format == "html" and self.out is None and len(self.paths) == 1

    @property
    def file(self) -> Path:
        if self.out is not None:
            return self.out
        if len(self.paths) == 1:
            return self.paths[0] / f"{REPORT}.{self.format}"
        names = "+".join(path.resolve().name for path in self.paths)[:_LONGEST]
        return _SEVERAL / f"{names}.{self.format}"


def write_report(request: Request) -> Path:
    """Write the report; its file.

    Raises:
        CheckpointError: where there is nothing to report on, or another file is in the way.
        ConfigError: for a metric that no run has, or the pages of the runs of a single one.
    """
    _check(request)
    if request.runs:
        _write_runs(request.paths)
    _write_one(request)
    return request.file


def _write_one(request: Request) -> Document:
    """Write the report; what is in it."""
    gathered = None if request.is_of_a_run else _gathered(request)
    document = _of_run(request) if gathered is None else _of_sweep(request, gathered)
    require_own(request.file)
    _write(document, request.format, request.file)
    if gathered and request.is_of_record and not request.refresh:
        from lehr.report.over_seeds import write_over_seeds

        write_over_seeds(gathered)
    return document


def _check(request: Request) -> None:
    if request.format not in REPORT_FORMATS:
        raise ConfigError(f"format={request.format}: is none that there is: {', '.join(REPORT_FORMATS)}")
    if not request.paths:
        raise ConfigError("say which run or sweep is to be reported on")
    for path in request.paths:
        if not path.is_dir():
            raise CheckpointError(f"{path}: there is no such directory")
    if request.runs and request.is_of_a_run:
        raise ConfigError(f"runs=true: {request.paths[0]} is a single run; it is for sweeps")


def _write_runs(paths: Sequence[Path]) -> None:
    """Write the pages of runs that have ended and have none as new as they are."""
    found = gather(paths, paths[0])
    todo = [path for run in found.results.runs if run.state in ENDED and _is_stale(path := found.path_of(run))]
    with ProgressLine("pages of runs", len(todo)) as line:
        for path in todo:
            try:
                write_report(Request((path,)))
            except CheckpointError as error:  # the others are written all the same
                line.say(f"note: {error.problems[0]}")
            line.advance()


def watch(request: Request, every: float) -> Iterator[tuple[Path, str]]:
    """Write the report again whenever something has changed, until all has ended; each time the file and the state.

    Args:
        request: for a page.
        every: seconds from one look to the next.
    """
    _check(request)
    before = None
    while True:
        seen, is_over = _state(request)
        if seen != before or is_over:
            before = seen
            now = replace(request, refresh=None if is_over else max(1, round(every)))
            if now.runs:
                _write_runs(now.paths)
            document = _write_one(now)
            yield now.file, RunFiles(now.paths[0]).state if now.is_of_a_run else document.note
        if is_over:
            return
        time.sleep(every)


def _state(request: Request) -> tuple[object, bool]:
    """What the report would be made of, as far as is seen from outside, and whether nothing more is to come."""
    directories = (
        [request.paths[0]] if request.is_of_a_run else [one for path in request.paths for one in run_folders(path)]
    )
    seen = tuple(sorted((str(one), _changed(one)) for one in directories))
    busy = any(is_claimed(one) for one in directories)
    if request.is_of_a_run:
        return seen, not busy
    return seen, not busy and _gathered(request).progress.is_over


def _changed(path: Path) -> int:
    directory = RunDirectory(path)
    times = (_time(file) for file in (directory.status, directory.history, directory.metrics, directory.evaluation()))
    return max(times)


def _time(path: Path) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def _is_stale(path: Path) -> bool:
    return _time(path / f"{REPORT}.html") <= _changed(path)


def _of_run(request: Request) -> Document:
    from lehr.report.run import run_document

    if request.metrics:
        raise ConfigError("metrics: are chosen of a sweep; the report of a run has all of them")
    return run_document(request.paths[0], request.refresh)


def _of_sweep(request: Request, gathered: Gathered) -> Document:
    from lehr.report.sweep import sweep_document

    return sweep_document(gathered, request.metrics, request.refresh)


def _gathered(request: Request) -> Gathered:
    return gather(request.paths, request.file.parent)


def _write(document: Document, format: str, file: Path) -> None:
    if format == "html":
        from lehr.report.page import page

        write_text(file, page(document))
    elif format == "md":
        from lehr.report.markdown import write_markdown

        write_markdown(document, file, file.with_suffix(""))  # in a directory REPORT_CHARTS
    else:
        from lehr.report.poster import poster

        with replacing(file) as temporary:
            temporary.write_bytes(poster(document, format, MARK))


def require_own(file: Path) -> None:
    """Check that no other file lies in the place of a report.

    Raises:
        CheckpointError: if there is one that lehr has not written.
    """
    if not file.exists():
        return
    if file.is_dir():
        raise CheckpointError(f"{file}: is a folder")
    with file.open("rb") as stream:
        begins = stream.read(2000)
        stream.seek(max(0, file.stat().st_size - 200))
        if MARK.encode() not in begins + stream.read():
            raise CheckpointError(f"{file}: was not written by lehr; move it away, or say out=FILE")
