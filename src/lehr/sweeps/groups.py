"""The answer of a sweep in numbers: runs grouped by what was swept, means and standard deviations over the rest."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from lehr.config.problems import did_you_mean
from lehr.errors import ConfigError
from lehr.evaluation.catalogue import LOOKED_AT_FIRST, final_split, find_metric
from lehr.run.status import DONE
from lehr.sweeps.comparable import Condition, condition, differing
from lehr.sweeps.results import SEED, RunResult, SweepResults, natural


@dataclass(frozen=True)
class Query:
    """What is asked of a sweep.

    Attributes:
        metrics: names, or patterns of names (`test/*`); None for what people look at first.
        by: the swept keys to group by; None for all but the seed.
        sort: a swept key or a metric, with a `-` before it the other way round; None for the swept keys.
        runs: one row a run, without averages.
    """

    metrics: Sequence[str] | None = None
    by: Sequence[str] | None = None
    sort: str | None = None
    runs: bool = False


@dataclass(frozen=True)
class Cell:
    """A metric of a group.

    Attributes:
        mean, std: with n - 1 in the denominator; None where there is none.
        n: the number of runs that have it, finite.
        condition: what all of them measured it on; of a group without runs that have it None.
        apart: in what the runs differ, so that an average would be of unlike things: then there is none.
    """

    mean: float | None
    std: float | None
    n: int
    condition: Condition | None = None
    apart: str | None = None


@dataclass(frozen=True)
class Row:
    """Runs that agree in the keys that are grouped by.

    Attributes:
        values: of these keys.
        runs: all of them, whatever their state.
        cells: one for each metric, of those that are done.
    """

    values: tuple[Any, ...]
    runs: tuple[RunResult, ...]
    cells: tuple[Cell, ...]

    @property
    def done(self) -> int:
        return sum(run.state == DONE for run in self.runs)


@dataclass(frozen=True)
class Answer:
    """A table: the rows by these keys, with these metrics."""

    results: SweepResults
    by: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    query: Query = field(default_factory=Query)


def answer(results: SweepResults, query: Query | None = None) -> Answer:
    """Group the runs, average over each group, and sort.

    Raises:
        ConfigError: for a key or a metric that the sweep has not, one line each.
    """
    query = query or Query()
    problems: list[str] = []
    metrics = _chosen(results, query, problems)
    by = _keys(results, query, problems)
    word = (query.sort or "").removeprefix("-")
    if word and word not in by and word not in metrics:
        if word in results.metrics:
            metrics.append(word)
        else:
            hint = did_you_mean(word, [*by, *results.metrics])
            problems.append(f"sort={query.sort}: is neither a key of the table nor a metric{hint}")
    if problems:
        raise ConfigError(*problems)
    rows = [_row(values, runs, metrics) for values, runs in _groups(results, by, query.runs)]
    if word:
        rows = _sorted(rows, query.sort or "", by, metrics)
        if query.runs:
            results = replace(results, runs=[row.runs[0] for row in rows])
    return Answer(results, tuple(by), tuple(metrics), tuple(rows), query)


def _chosen(results: SweepResults, query: Query, problems: list[str]) -> list[str]:
    known = results.metrics
    if query.metrics is None:
        split = final_split(known)
        return [name for word in LOOKED_AT_FIRST if (name := word.replace("SPLIT", split)) in known]
    chosen: dict[str, None] = {}
    for name in query.metrics:
        if matching := [name] if name in known else fnmatch.filter(known, name):
            chosen.update(dict.fromkeys(matching))
        elif not known:
            problems.append(f"metrics=[{name}]: no run is done yet, there are no metrics")
        else:
            problems.append(f"metrics=[{name}]: no run has this metric{did_you_mean(name, known)}")
    return list(chosen)


def _keys(results: SweepResults, query: Query, problems: list[str]) -> list[str]:
    if query.runs:
        if query.by is not None:
            problems.append("by: is for groups of runs, and runs=true shows each by itself; leave one of them out")
        return results.keys
    if query.by is None:
        return [key for key in results.keys if key != SEED]
    for key in query.by:
        if key not in results.keys:
            hint = did_you_mean(key, results.keys) if results.keys else "; nothing was"
            problems.append(f"by=[{key}]: was not swept{hint}")
    return list(dict.fromkeys(query.by))


def _groups(
    results: SweepResults, by: Sequence[str], single: bool
) -> Iterator[tuple[tuple[Any, ...], tuple[RunResult, ...]]]:
    """By values, in their natural order. Runs whose values are not known belong to no group."""
    if single:
        yield from ((tuple(run.swept.get(key) for key in by), (run,)) for run in results.runs)
        return

    def values(run: RunResult) -> tuple[Any, ...]:
        return tuple(natural(run.swept[key]) for key in by)

    known = [run for run in results.runs if run.swept or not results.keys]
    for _, group in groupby(sorted(known, key=values), key=values):
        runs = tuple(group)
        yield tuple(runs[0].swept[key] for key in by), runs


def _row(values: tuple[Any, ...], runs: tuple[RunResult, ...], metrics: Iterable[str]) -> Row:
    cells = []
    for name in metrics:
        there = [run for run in runs if run.metrics.get(name) is not None]
        conditions = [condition(run, name) for run in there]
        if apart := differing(conditions):
            cells.append(Cell(None, None, len(there), None, apart))
            continue
        numbers = [float(x) for run in there if (x := run.metrics[name]) is not None]
        n = len(numbers)
        mean = math.fsum(numbers) / n if n else None
        std = math.sqrt(math.fsum((x - mean) ** 2 for x in numbers) / (n - 1)) if mean is not None and n > 1 else None
        cells.append(Cell(mean, std, n, conditions[0] if conditions else None))
    return Row(values, runs, tuple(cells))


def _sorted(rows: list[Row], sort: str, by: Sequence[str], metrics: Sequence[str]) -> list[Row]:
    word = sort.removeprefix("-")
    other_way = word != sort
    if word in by:
        place = by.index(word)
        return sorted(rows, key=lambda row: natural(row.values[place]), reverse=other_way)
    place = metrics.index(word)
    there = [row for row in rows if row.cells[place].mean is not None]
    there.sort(key=lambda row: row.cells[place].mean or 0.0, reverse=(direction(word) == "highest") != other_way)
    return there + [row for row in rows if row.cells[place].mean is None]


def direction(metric: str) -> str:
    """Which end of a metric comes first; the best one where more or less is known to be better."""
    known = find_metric(metric)
    return "highest" if known and known.more_is_better else "lowest"


def has_direction(metric: str) -> bool:
    """Whether more or less of a metric is known to be better."""
    known = find_metric(metric)
    return known is not None and known.more_is_better is not None


def values_by_name(table: Answer) -> dict[str, list[Any]]:
    """The table of groups, column by column: keys, how many runs, and of each metric mean, std and n."""
    columns: dict[str, list[Any]] = {key: [row.values[i] for row in table.rows] for i, key in enumerate(table.by)}
    columns["runs"] = [len(row.runs) for row in table.rows]
    columns["done"] = [row.done for row in table.rows]
    for i, name in enumerate(table.metrics):
        cells = [row.cells[i] for row in table.rows]
        columns[f"{name}/mean"] = [cell.mean for cell in cells]
        columns[f"{name}/std"] = [cell.std for cell in cells]
        columns[f"{name}/n"] = [cell.n for cell in cells]
    return columns
