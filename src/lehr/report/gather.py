"""The runs that are reported on together: of a sweep, or of several directories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os.path import relpath
from pathlib import Path
from typing import Any

from lehr.errors import CheckpointError
from lehr.run.identity import is_part
from lehr.sweeps.directory import SweepDirectory
from lehr.sweeps.results import SEED, RunResult, SweepResults, differing_keys, natural, read_run, read_runs

SWEEP = "sweep"
"""What the runs of several sweeps differ in, where it is nothing else."""


@dataclass(frozen=True)
class Gathered:
    """Runs that are reported on together.

    Attributes:
        paths: the directories that were said.
        results: their runs; where there are several directories the name of each run has that of its directory.
        place: where the report lies, which links are relative to.
        directories: name of a run -> its directory.
        missing: runs of the sweep that have not begun.
        constant: what is the same in all, by key.
    """

    paths: tuple[Path, ...]
    results: SweepResults
    place: Path
    directories: Mapping[str, Path] = field(default_factory=dict)
    missing: int = 0
    constant: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        names = [path.resolve().name for path in self.paths]
        return f"Sweep {names[0]}" if len(names) == 1 else f"{len(names)} directories: {', '.join(names)}"

    def path_of(self, run: RunResult) -> Path:
        """The directory of a run."""
        return self.directories[run.name]

    def relative(self, run: RunResult) -> str:
        """The same relative to the report."""
        return relpath(self.path_of(run), self.place)


def gather(paths: Sequence[Path], place: Path) -> Gathered:
    """The runs in these directories, each of which is a sweep, a folder of runs or a run.

    Raises:
        CheckpointError: where a directory is not there, or holds no runs.
        ConfigError: if sweep.yaml is damaged.
    """
    if len(paths) == 1:
        path = paths[0]
        found = read_runs(path, config=True)
        record = SweepDirectory(path).read()
        missing = max(0, _planned(record) - len(found.runs))
        directories = {run.name: path / run.name for run in found.runs}
        return Gathered((path,), found, place, directories, missing, record.get("constant", {}))
    return _together(paths, place)


def _planned(record: Mapping[str, Any]) -> int:
    """How many runs a sweep is to have; where its grids overlap it is not known, and 0."""
    points = record.get("points")
    return int(points[0]) if isinstance(points, list) and len(points) == 1 and isinstance(points[0], int) else 0


def _together(paths: Sequence[Path], place: Path) -> Gathered:
    """Runs of several directories, as those of one sweep over all that they differ in."""
    runs: list[RunResult] = []
    directories: dict[str, Path] = {}
    of: dict[str, str] = {}
    others: list[str] = []
    for number, path in enumerate(paths):
        label = path.resolve().name
        if label in of.values():
            label = f"{label}-{number + 1}"
        if (path / "status.json").exists() or (path / "config.yaml").exists():
            one = read_run(path, {}, keep_config=True)
            found = [(label, path, one)] if one else []
        else:
            read = read_runs(path, config=True)
            others += read.others
            found = [(f"{label}/{run.name}", path / run.name, run) for run in read.runs]
        if not found:
            raise CheckpointError(f"{path}: holds no runs")
        for name, directory, run in found:
            if name not in directories:
                runs.append(replace(run, name=name))
                directories[name], of[name] = directory, label
    parts = [{k: v for k, v in (run.config or {}).items() if is_part(k)} for run in runs]
    keys = differing_keys([part for part in parts if part])
    swept = [{key: part.get(key) for key in keys} for part in parts]
    if len({str(sorted((k, str(v)) for k, v in one.items() if k != SEED)) for one in swept}) < 2 or not keys:
        keys = [SWEEP, *keys]
        swept = [{SWEEP: of[run.name], **one} for run, one in zip(runs, swept, strict=True)]
    keys = [key for key in keys if key != SEED] + [SEED] * (SEED in keys)
    runs = [replace(run, swept={key: one.get(key) for key in keys}) for run, one in zip(runs, swept, strict=True)]
    runs.sort(key=lambda run: ([natural(run.swept.get(key)) for key in keys], natural(run.name)))
    constant = {k: v for k, v in (parts[0] if parts else {}).items() if k not in keys}
    results = SweepResults(paths[0], keys, runs, others)
    return Gathered(tuple(paths), results, place, directories, 0, constant)
