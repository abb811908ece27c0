"""The runs that are reported on together: of a sweep, or of several directories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os.path import relpath
from pathlib import Path
from typing import Any

from lehr.errors import CheckpointError
from lehr.evaluation.catalogue import without_execution
from lehr.report.failures import Progress, progress
from lehr.run.directory import holds_run
from lehr.run.identity import is_part
from lehr.run.status import DONE
from lehr.sweeps.directory import SweepDirectory
from lehr.sweeps.results import SEED, RunResult, SweepResults, differing_keys, natural, read_run, read_runs

SWEEP = "sweep"
"""The key of which directory a run lies in, where runs of several differ in nothing else and yet have other numbers."""


@dataclass(frozen=True)
class Gathered:
    """Runs that are reported on together.

    Attributes:
        paths: the directories that were said, each once.
        results: their runs; where there are several directories the name of each run has that of its directory.
        place: where the report lies, which links are relative to.
        directories: name of a run -> its directory.
        constant: what is the same in all, by key.
        not_begun: runs of the sweep that have no directory yet; 0 where that is not known, of a search or of several
            grids, and of several directories, which may share runs that are to come.
    """

    paths: tuple[Path, ...]
    results: SweepResults
    place: Path
    directories: Mapping[str, Path] = field(default_factory=dict)
    constant: Mapping[str, Any] = field(default_factory=dict)
    not_begun: int = 0

    @property
    def title(self) -> str:
        names = [path.resolve().name for path in self.paths]
        return f"Sweep {names[0]}" if len(names) == 1 else f"{len(names)} directories: {', '.join(names)}"

    @property
    def progress(self) -> Progress:
        """How far they have come."""
        return progress(self.results, self.not_begun)

    def path_of(self, run: RunResult) -> Path:
        """The directory of a run."""
        return self.directories[run.name]

    def relative(self, run: RunResult) -> str:
        """The same relative to the report."""
        return relpath(self.path_of(run), self.place)


def gather(paths: Sequence[Path], place: Path) -> Gathered:
    """The runs in these directories, each of which is a sweep, a folder of runs or a run.

    A directory that is said twice counts once. So does a run that lies in several: in the first that has it done, where
    all of them have the same numbers. Where they have not, `sweep` counts as swept: which directory it is of.

    Raises:
        CheckpointError: where a directory is not there, or holds no runs.
        ConfigError: if sweep.yaml is damaged.
    """
    paths = tuple({path.resolve(): path for path in reversed(paths)}.values())[::-1]
    if len(paths) > 1:
        return _together(paths, place)
    path = paths[0]
    found = read_runs(path, config=True)
    sweep = SweepDirectory(path)
    constant, points = sweep.read().get("constant", {}), sweep.points()
    left = max(0, points - len(found.runs)) if points is not None else 0
    return Gathered((path,), found, place, {run.name: path / run.name for run in found.runs}, constant, left)


@dataclass(frozen=True)
class _Found:
    """A run in one of several directories, by the name that it has in the report."""

    run: RunResult
    directory: Path
    label: str


def _together(paths: tuple[Path, ...], place: Path) -> Gathered:
    """Runs of several directories, as those of one sweep over all that they differ in."""
    found: dict[Path, _Found] = {}
    others: list[str] = []
    copies: dict[str, str] = {}
    for path, label in zip(paths, _labels(paths), strict=True):
        own, left_out, twice = _of_one(path, label)
        others += left_out
        copies |= twice
        for one in own:
            found.setdefault(one.directory.resolve(), one)
    kept, more, differ = _without_copies(list(found.values()))
    parts = [_parts(one.run) for one in kept]
    keys = differing_keys([part for part in parts if part])
    swept = [{key: part.get(key) for key in keys} if part else {} for part in parts]
    if differ or not [key for key in keys if key != SEED]:
        keys = [SWEEP, *keys]
        swept = [{SWEEP: one.label, **values} if values or not part else {SWEEP: one.label}
                 for one, values, part in zip(kept, swept, parts, strict=True)]  # fmt: skip
    keys = [key for key in keys if key != SEED] + [SEED] * (SEED in keys)
    runs = [
        replace(one.run, swept={key: values.get(key) for key in keys} if values else {})
        for one, values in zip(kept, swept, strict=True)
    ]
    runs.sort(key=lambda run: (not run.swept, [natural(run.swept.get(key)) for key in keys], natural(run.name)))
    constant = {k: v for k, v in next(filter(None, parts), {}).items() if k not in keys}
    results = SweepResults(paths[0], keys, runs, others, {**copies, **more})
    return Gathered(paths, results, place, {one.run.name: one.directory for one in kept}, constant)


def _labels(paths: Sequence[Path]) -> list[str]:
    """What each directory is called: by its name, and where several have that by more of the path."""
    depth, whole = 1, [path.resolve() for path in paths]
    while len({path.parts[-depth:] for path in whole}) < len(whole):
        depth += 1
    return ["/".join(path.parts[-depth:]) for path in whole]


def _of_one(path: Path, label: str) -> tuple[list[_Found], list[str], dict[str, str]]:
    """The runs in one of several directories; what is not of its sweep, and what is there twice."""
    if holds_run(path):
        run = read_run(path, {}, keep_config=True)
        if run is None:
            raise CheckpointError(f"{path}: holds no runs")
        return [_Found(replace(run, name=label), path, label)], [], {}
    read = read_runs(path, config=True)
    runs = [_Found(replace(run, name=f"{label}/{run.name}"), path / run.name, label) for run in read.runs]
    copies = {f"{label}/{copy}": f"{label}/{of}" for copy, of in read.copies.items()}
    return runs, [f"{label}/{name}" for name in read.others], copies


def _without_copies(found: Sequence[_Found]) -> tuple[list[_Found], dict[str, str], bool]:
    """Each run once, which stand for others, and whether some differ in their numbers and nothing else."""
    same: dict[str, list[_Found]] = {}
    for one in found:
        same.setdefault(one.run.id or f"unknown {one.run.name}", []).append(one)
    if any(len({_numbers(one.run) for one in group if one.run.state == DONE}) > 1 for group in same.values()):
        return list(found), {}, True
    kept: list[_Found] = []
    copies: dict[str, str] = {}
    for group in same.values():
        first = min(group, key=lambda one: one.run.state != DONE)
        kept.append(first)
        copies |= {one.run.name: first.run.name for one in group if one is not first}
    return kept, copies, False


def _numbers(run: RunResult) -> frozenset[tuple[str, Any]]:
    """What a run came to, however fast and in how much memory."""
    return frozenset(without_execution(run.metrics).items())


def _parts(run: RunResult) -> dict[str, Any]:
    """What makes a run differ from others; a section with a `_target_` has that as its value."""
    return {key.removesuffix("._target_"): value for key, value in (run.config or {}).items() if is_part(key)}
