"""What a sweep came to: its runs as their directories have them, and results.csv.

Nothing is remembered between two readings, so the answer is that of the directories as they are now.
"""

from __future__ import annotations

import csv
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Any

from lehr.errors import CheckpointError
from lehr.evaluation.catalogue import is_of_execution
from lehr.files import replacing
from lehr.run.directory import holds_run
from lehr.run.identity import canonical, flat, identity, is_part, parts
from lehr.run.status import DONE
from lehr.sweeps import directory as sweep_directory
from lehr.sweeps.directory import ENDED, SweepDirectory, state_of
from lehr.sweeps.names import preference
from lehr.sweeps.point import value_of
from lehr.sweeps.run_files import read_config, read_json, read_metrics

DAMAGED = "damaged"
"""The state of a run of which a file cannot be read. Its numbers do not count."""
STATES = (*sweep_directory.STATES, DAMAGED)
SEED = "seed"

_READERS = 8
_TRIED = 100  # runs that are read one by one, to see where the time goes
_WAITS = 3  # times as long as the work that there is


@dataclass(frozen=True, slots=True)
class RunResult:
    """One run of a sweep.

    Attributes:
        name: of its directory.
        id: its identity, empty where nothing of its configuration can be read.
        state: one of `STATES`.
        error: what went wrong, one line; None where nothing did. Of a run that is done, with its evaluation.
        swept: the values of the sweep's keys, None for a key that its configuration has not; of a group the name of
            the choice. Empty where nothing of its configuration can be read.
        metrics: metrics.json and the numbers of evaluation.json, None where they are not finite; empty unless done.
        seconds: how long its parts took.
        host, pid, started, finished: where, in which process and when it was computed; ISO 8601.
        evaluated: of which data, split and how many examples the numbers of evaluation.json are.
        config: every flat key, where it was asked for.
        belongs: whether it is a point of the sweep in whose directory it lies.
        preference: what to sort directories of one run by; the first one counts.
    """

    name: str
    id: str
    state: str
    error: str | None
    swept: dict[str, Any]
    metrics: dict[str, float | int | bool | None]
    seconds: dict[str, float]
    host: str | None
    started: str | None
    finished: str | None
    pid: int | None = None
    config: dict[str, Any] | None = None
    belongs: bool = True
    evaluated: dict[str, Any] = field(default_factory=dict)
    preference: tuple[Any, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class SweepResults:
    """The runs of a sweep, sorted by the swept values, then by seed.

    Attributes:
        path: the directory.
        keys: that were swept, in the order of the sweep, `seed` last.
        runs: one for each run directory.
        others: run directories that lie there, but are not of this sweep.
        copies: directory -> that of the same run, which counts in its place.
    """

    path: Path
    keys: list[str]
    runs: list[RunResult]
    others: list[str] = field(default_factory=list)
    copies: dict[str, str] = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        """What lies there and is left out, a line each."""
        notes = []
        if self.others:
            notes.append(f"not of this sweep, and in no number here: {_first(self.others)}")
        if self.copies:
            pairs = [f"{copy} (of {counted})" for copy, counted in self.copies.items()]
            notes.append(f"the same run once more, and in no number here: {_first(pairs)}")
        return notes

    @cached_property
    def metrics(self) -> list[str]:
        """The names of all that some run has a number of, sorted."""
        return sorted({name for run in self.runs for name, value in run.metrics.items() if value is not None})


def read_runs(path: str | Path, config: bool = False) -> SweepResults:
    """The runs in the directories right below `path`: of a sweep, or any that lie there.

    Where there is no sweep.yaml, what differs between the configurations counts as swept. One identity is one run: of
    directories that were copied, or trained twice, one counts.

    Args:
        path: the directory of the sweep.
        config: keep the whole configuration of each run too.

    Raises:
        CheckpointError: if there is no such directory, or it is a single run, or it holds nothing.
        ConfigError: if sweep.yaml is damaged.
    """
    path = Path(path)
    if not path.is_dir():
        raise CheckpointError(f"{path}: there is no such directory")
    record = SweepDirectory(path).read()
    read = partial(read_run, record=record, keep_config=config)
    found = [run for run in _each(read, run_folders(path)) if run]
    others = sorted(run.name for run in found if not run.belongs)
    found, copies = _without_copies([run for run in found if run.belongs])
    if not found and not record:
        sweeps = sorted([*path.glob("*/sweep.yaml"), *path.glob("*/*/sweep.yaml")])
        if holds_run(path):
            raise CheckpointError(f"{path}: is a single run; say the directory that it lies in")
        hint = f"; say the directory of a sweep, such as {sweeps[0].parent}" if sweeps else ""
        raise CheckpointError(f"{path}: holds no runs{hint}")
    if record:
        keys = list(dict.fromkeys([*record["keys"], *(key for run in found for key in run.swept)]))
    else:
        keys = differing_keys([run.swept for run in found if run.swept])
    keys = [key for key in keys if key != SEED] + [SEED] * (SEED in keys)
    runs = [replace(run, swept={key: run.swept.get(key) for key in keys}) if run.swept else run for run in found]
    runs.sort(key=lambda run: (not run.swept, [natural(run.swept.get(key)) for key in keys], natural(run.name)))
    return SweepResults(path, keys, runs, others, copies)


def _without_copies(runs: Iterable[RunResult]) -> tuple[list[RunResult], dict[str, str]]:
    """One of the directories of each run, and which stand for others."""
    counted: dict[str, RunResult] = {}
    copies: dict[str, str] = {}
    for run in sorted(runs, key=lambda run: run.preference):
        first = counted.setdefault(run.id or f"unknown {run.name}", run)
        if first is not run:
            copies[run.name] = first.name
    return list(counted.values()), dict(sorted(copies.items()))


def _first(names: Sequence[str]) -> str:
    """The first of these names, and whether there are more."""
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def write_results(results: SweepResults) -> Path:
    """Write results.csv of a sweep anew, from what was read of its run directories; the file.

    What is in it depends on what was trained alone, not on when, where or how long, or how often it was interrupted:
    one row a run, with its state, its swept values, and its metrics by name. Numbers are exact. Empty is what there is
    not, or is not finite; `null` is a value of the configuration.
    """
    file = SweepDirectory(results.path).results
    with replacing(file) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        write_csv(stream, results, [name for name in results.metrics if not is_of_execution(name)])
    return file


def write_csv(stream: IO[str], results: SweepResults, metrics: Sequence[str]) -> None:
    """One row a run: the name of its directory, identity, state, swept values and these metrics."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["run", "id", "state", *results.keys, *metrics])
    for run in results.runs:
        swept = [shown(run.swept[key]) if key in run.swept else "" for key in results.keys]
        writer.writerow([run.name, run.id, run.state, *swept, *(number(run.metrics.get(name)) for name in metrics)])


def shown(value: Any) -> str:
    """A value of the configuration, as one would type it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def number(value: float | int | bool | None) -> str:
    """A number in the fewest digits that give it back exactly; empty where there is none."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else repr(value)


def natural(value: Any) -> tuple[Any, ...]:
    """What to sort by, and equal for values that are the same: 2 before 10 and equal to 2.0, `a2` before `a10`."""
    if value is None:
        return (0,)
    if isinstance(value, bool):
        return (1, value)
    if isinstance(value, int | float):
        return (2, value)
    if isinstance(value, Mapping):
        return (5, *sorted((str(key), natural(item)) for key, item in value.items()))
    if isinstance(value, list | tuple):
        return (4, *map(natural, value))
    pieces = re.split(r"([0-9]+)", str(value))
    return (3, *((int(piece) if i % 2 else 0, piece) for i, piece in enumerate(pieces)))


def _each(read: Callable[[Path], RunResult | None], paths: Sequence[Path]) -> Iterator[RunResult | None]:
    """`read` of each path; of several at once where files have to be fetched from a disk or over a network.

    Where they are in memory, threads would wait for each other's Python and take two to three times as long.
    """
    started, work = time.perf_counter(), time.thread_time()
    yield from map(read, paths[:_TRIED])
    if time.perf_counter() - started < _WAITS * (time.thread_time() - work):
        yield from map(read, paths[_TRIED:])
    else:
        with ThreadPoolExecutor(_READERS) as readers:
            yield from readers.map(read, paths[_TRIED:])


def run_folders(path: Path) -> list[Path]:
    """The folders below a directory that runs may lie in."""
    with os.scandir(path) as entries:
        return [Path(entry.path) for entry in entries if not entry.name.startswith(".") and entry.is_dir()]


def read_run(path: Path, record: Mapping[str, Any], keep_config: bool) -> RunResult | None:
    """The run in `path`; None where there is none. `record` is sweep.yaml, empty where there is none."""
    wrong: list[str] = []
    point = read_json(path, "point.json", wrong)
    status = read_json(path, "status.json", wrong)
    config = point.get("config")
    if not isinstance(config, dict):
        config = read_config(path, wrong)
    if not (point or status or config or wrong):
        return None
    state = status.get("state")
    if state not in ENDED:
        state = state_of(path)
    metrics, evaluated = read_metrics(path, status.get("model"), wrong) if state == DONE else ({}, {})
    if wrong:
        state, metrics = DAMAGED, {}
    error = status.get("evaluation_error" if state == DONE else "error")
    seconds = status.get("seconds")
    id, swept = str(point.get("id") or _identity(config)), point.get("swept")
    return RunResult(
        name=path.name,
        id=id,
        state=str(state),
        error="; ".join(wrong) or (" ".join(str(error).split()) if error else None),
        swept=_swept(point, config, record),
        metrics=metrics,
        seconds={sys.intern(str(key)): value for key, value in seconds.items()} if isinstance(seconds, dict) else {},
        host=status.get("host"),
        pid=status.get("pid"),
        started=status.get("started"),
        finished=status.get("finished"),
        config=dict(_interned(flat(config))) if keep_config else None,
        belongs=bool(point) or bool(wrong) or not record or _agrees(config, record),
        evaluated=evaluated,
        preference=preference(path.name, swept if isinstance(swept, dict) else {}, id, state == DONE),
    )


def _agrees(config: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """Whether a run without point.json has what is the same in all runs of the sweep."""
    own = parts(config)
    return all(canonical(own.get(key)) == canonical(value) for key, value in record["constant"].items())


def _swept(point: Mapping[str, Any], config: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the swept keys; without sweep.yaml every value that may turn out to be one."""
    if not record:
        return dict(_interned(_components(config)))
    swept = point.get("swept")
    swept = dict(_interned(swept.items())) if isinstance(swept, dict) else {}
    if swept or config:
        # a key that was swept only later has in this run the value that it was configured with
        for key in record["keys"]:
            if key not in swept:
                swept[key] = value_of(key, swept, point.get("choices") or {}, config)
    return swept


def _components(config: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """What makes runs differ; a section with a `_target_` has that as its value."""
    for key, value in flat(config):
        if is_part(key):
            yield key.removesuffix("._target_"), value


def differing_keys(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys whose values are not the same in all of `configs`, but for what follows from those of others."""
    keys = dict.fromkeys(key for config in configs for key in config)

    def differs(key: str) -> bool:
        first = configs[0].get(key)
        values = (config.get(key) for config in configs)
        others = (value for value in values if value != first or type(value) is not type(first))  # there are few
        return any(natural(value) != natural(first) for value in others)

    differing = [key for key in keys if differs(key)]

    def follows(key: str) -> bool:
        if key != SEED and key.endswith(f".{SEED}"):
            return all(config.get(key) in (None, config.get(SEED)) for config in configs)
        # a component's own keys are there with the component
        holders = [config for config in configs if key in config]
        same = len({natural(config[key]) for config in holders}) == 1
        sections = key.split(".")[:-1]
        return same and any(".".join(sections[: i + 1]) in differing for i in range(len(sections)))

    return [key for key in differing if not follows(key)]


def _identity(config: Mapping[str, Any]) -> str:
    try:
        return identity(config) if config else ""
    except (ValueError, TypeError):  # no configuration of a run
        return ""


def _interned(items: Iterable[tuple[Any, Any]]) -> Iterable[tuple[str, Any]]:
    """10,000 runs have the same keys: kept once."""
    return ((sys.intern(str(key)), value) for key, value in items)
