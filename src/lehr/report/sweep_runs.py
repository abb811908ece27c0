"""The runs of a sweep one by one: the table, what each row unfolds to, and which are missing or did not end well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lehr.report.curve_charts import points
from lehr.report.document import Folded, Link, Part, RunsTable, Table
from lehr.report.failures import Failure, failures, has_ended
from lehr.report.gather import Gathered
from lehr.report.numbers import described
from lehr.report.reading import validation_curves
from lehr.report.vega import complete, data, field
from lehr.report.words import count, joined, plain
from lehr.run.contents import REPORT
from lehr.run.evaluation import shown as shown_number
from lehr.sweeps.results import RunResult, shown
from lehr.sweeps.tables import cut

_CURVES = ("elbo", "rate", "distortion")
_FEW = 500
_MOST_POINTS, _FEWER_POINTS = 30, 12  # of a curve, of few runs and of many
_DIGITS = 4
_NAMED = 3


def reports(gathered: Gathered) -> dict[str, str]:
    """Name of a run -> its report, relative to that of the sweep, of those that have one."""
    file = f"{REPORT}.html"
    return {
        run.name: "./" + quote(f"{gathered.relative(run)}/{file}")
        for run in gathered.results.runs
        if (gathered.path_of(run) / file).is_file()
    }


def links(gathered: Gathered, known: Mapping[str, str]) -> dict[str, str]:
    """Where a click on a run leads: to its report, or where it has none to its row in the table."""
    return {run.name: known.get(run.name) or unfolds(run.name) for run in gathered.results.runs}


def unfolds(name: str) -> str:
    """What unfolds the row of a run."""
    return f"#unfold={quote(name, safe='')}"


def runs_table(gathered: Gathered, metrics: Sequence[str], known: Mapping[str, str]) -> RunsTable:
    """Every run with its state, its swept values and its numbers, in the digits of `lehr results`."""
    results = gathered.results
    rows = []
    for run in results.runs:
        swept = [cut(plain(shown(run.swept[key]))) if key in run.swept else "" for key in results.keys]
        rows.append((run.state, *swept, *(_number(run, name) for name in metrics)))
    columns = tuple((name, ", ".join(filter(None, described(name)))) for name in metrics)
    return RunsTable(tuple(results.keys), columns, tuple(rows), tuple(run.name for run in results.runs), known)


def _number(run: RunResult, name: str) -> str:
    value = run.metrics.get(name)
    return "" if value is None else shown_number(name, float(value))


def run_data(
    gathered: Gathered, known: Mapping[str, str], pictures: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Of each run what its row unfolds to, in the order of the table."""
    most = _MOST_POINTS if len(gathered.results.runs) <= _FEW else _FEWER_POINTS
    found = []
    for run in gathered.results.runs:
        one: dict[str, Any] = {"name": run.name, "state": run.state}
        if run.error:
            one["error"] = run.error
        if run.name in known:
            one["href"] = known[run.name]
        if run.name in pictures:
            one["pictures"] = pictures[run.name]
        if curves := _curves(gathered.path_of(run), most):
            one["curves"] = curves
        found.append(one)
    return found


def _curves(path: Path, most: int) -> list[tuple[str, list[tuple[int, float | None]]]]:
    curves = validation_curves(path, [f"val/{name}" for name in _CURVES])
    found = [(name, list(points(curves.get(f"val/{name}"), most, _DIGITS))) for name in _CURVES]
    return [(name, own) for name, own in found if len(own) > 1]


def curve_spec() -> dict[str, Any]:
    """The chart of a run's curves in its unfolded row; the data come with the run."""
    return complete({
        "data": data([]),
        "mark": {"type": "line", "point": {"size": 18}, "strokeWidth": 1.5},
        "encoding": {
            "x": field("images:Q", title="images seen", axis={"format": "~s"}),
            "y": field("value:Q", title="nats, validation", scale={"zero": False}),
            "color": field("curve:N", title=None, scale={"domain": list(_CURVES)}),
        },
        "width": 330, "height": 190,
    })  # fmt: skip


def missing(gathered: Gathered, to: Mapping[str, str]) -> Iterator[Part]:
    """The runs that are still to come and have a directory: waiting, running or interrupted."""
    left = [run for run in gathered.results.runs if not has_ended(run.state)]
    if left:
        keys = gathered.results.keys
        rows: list[tuple[str | Link, ...]] = []
        for run in left:
            values = (cut(plain(shown(run.swept.get(key, "")))) for key in keys)
            rows.append((Link(run.name, to[run.name]), run.state, *values))
        more = f", and {gathered.not_begun:,} that have no directory yet" if gathered.not_begun else ""
        yield Folded(f"{count(len(left), 'run')} still to come{more}", (Table(("run", "state", *keys), tuple(rows)),))


def ended_badly(gathered: Gathered, to: Mapping[str, str]) -> Iterator[Part]:
    """The runs that failed, by what went wrong, and then all of them."""
    found = failures(gathered.results)
    if not found:
        return
    rows = tuple((f"{len(one.runs):,}", one.state, one.error or "nothing is said", _names(one)) for one in found)
    caption = "Errors that differ in numbers alone are one."
    yield Table(("runs", "state", "error", "which"), rows, frozenset({0}), caption)
    errors = {run.name: run.error or "" for run in gathered.results.runs}
    every = tuple((Link(name, to[name]), one.state, errors[name]) for one in found for name in one.runs)
    yield Folded(f"Each of the {count(len(every), 'run')}", (Table(("run", "state", "error"), every),))


def _names(failure: Failure) -> str:
    names, more = list(failure.runs[:_NAMED]), len(failure.runs) - _NAMED
    return joined([*names, f"{more:,} more"] if more > 0 else names)
