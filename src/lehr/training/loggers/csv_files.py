"""history.csv, the curves as a table, and hparams.csv, what the run is compared by and what it came to."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from lehr.errors import ConfigError
from lehr.files import replacing, write_text
from lehr.run.contents import CURVES, HPARAMS
from lehr.training.loggers.run_logger import LoggedRun, RunLogger

_X = "images"


class CSV(RunLogger):
    """Writes the points of history.jsonl as a table: a row a point, a column a metric, empty where it was not measured.

    The table is on the disk whenever a checkpoint is; rows after the checkpoint that a run goes on from are dropped.

    Args:
        save_dir: the run directory.
        points: of the history that hold, where the run goes on from a checkpoint; None where it begins.
    """

    def __init__(self, save_dir: str | Path, points: int | None = None) -> None:
        super().__init__()
        self._run = run = LoggedRun(Path(save_dir), points)
        self._path = run.path / CURVES
        record = run.record_of("csv")
        self.is_new = record is None
        first = points if record is None else record.get("first")
        self._first = first if isinstance(first, int) else 0  # point of the history that is the first row
        self._keep = max(0, (points or 0) - self._first)  # rows
        self._columns: list[str] | None = None  # of the file; None before it is looked at
        self._rows: list[dict[str, float]] = []  # that are not in the file yet
        self._parameters: dict[str, Any] = {}

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    def start(self) -> None:
        known = self._run.is_known("csv")
        for path in (self._path, self._run.path / HPARAMS):
            if os.path.lexists(path) and (not known or path.is_symlink()):
                raise ConfigError(f"logger.csv: {path} is there already, and lehr has not written it; move it away")

    def record(self) -> None:
        self._run.record("csv", first=self._first)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._rows.append({_X: step or 0, **metrics})

    def save(self) -> None:
        if self._columns is None:
            self._open()
        columns = self._columns or [_X]
        new = [name for name in dict.fromkeys(name for row in self._rows for name in row) if name not in columns]
        if new:
            self._columns = [*columns, *new]
            before = list(_read(self._path))  # at most a few times: columns come with the first point of a kind
            self._write([*before, *self._rows])
        elif self._rows:
            with self._path.open("a", encoding="utf-8", newline="") as file:
                file.write(_lines(columns, self._rows))
                file.flush()
                os.fsync(file.fileno())
        self._rows = []

    def _open(self) -> None:
        """Drop what was logged after the checkpoint."""
        kept = [] if self.is_new else [row for row, _ in zip(_read(self._path), range(self._keep), strict=False)]
        self._columns = list(kept[0]) if kept else [_X]
        if kept or self._path.exists():
            self._write(kept)

    def _write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        columns = self._columns or [_X]
        with replacing(self._path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(_lines(columns, [_heading(columns), *rows]))
            file.flush()
            os.fsync(file.fileno())

    def finalize(self, status: str) -> None:
        with suppress(OSError) if status == "failed" else nullcontext():  # what failed is said already
            self.save()

    def declare_hyperparameters(self, parameters: Mapping[str, Any], metrics: Sequence[str]) -> None:
        self._parameters = dict(parameters)
        self._write_hparams({})

    def conclude(self, metrics: Mapping[str, float]) -> None:
        self._write_hparams(metrics)

    def _write_hparams(self, metrics: Mapping[str, float]) -> None:
        path = self._run.path / HPARAMS
        row: Mapping[str, Any] = self._parameters or next(_read(path), {})
        row = {**row, **metrics}
        write_text(path, _lines(list(row), [_heading(row), row]))


def _read(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a table by column; none where there is no such file, or no file that is text."""
    with suppress(OSError, ValueError, csv.Error), path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield {name: row[name] or "" for name in row if name}


def _lines(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([row.get(name, "") for name in columns] for row in rows)
    return text.getvalue()


def _heading(columns: Iterable[str]) -> dict[str, str]:
    return {name: name for name in columns}
