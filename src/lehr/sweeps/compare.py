"""`lehr.compare(RUN, RUN, ...)`: runs side by side, wherever they lie: in what they differ, and what came of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lehr.config.looking import ResultsConfig
from lehr.config.problems import section_problems
from lehr.errors import CheckpointError, ConfigError, LehrError
from lehr.evaluation.catalogue import final_split, find_metric
from lehr.evaluation.table import aligned
from lehr.run import html
from lehr.run.directory import RunDirectory
from lehr.run.evaluation import named, shown
from lehr.run.identity import canonical
from lehr.run.load import Run
from lehr.run.status import DONE
from lehr.sweeps.comparable import EVALUATED
from lehr.sweeps.groups import Query, answer, direction, has_direction
from lehr.sweeps.results import RunResult, SweepResults, differing_keys, read_run
from lehr.sweeps.results import shown as value_shown
from lehr.sweeps.tables import differs_between_rows

if TYPE_CHECKING:
    import pandas as pd

_FIRST = (
    "SPLIT/elbo", "SPLIT/rate", "SPLIT/distortion", "posterior/active_units", "posterior/moment_kl_diag",
    "likelihood/iwae", "likelihood/bits_per_dim", "reconstruction/psnr", "generation/aggregate/frechet",
    "generation/mixture/frechet", "representation/probe_accuracy",
)  # fmt: skip
_WIDEST = 240  # pixels of the samples of each run


class Comparison:
    """Runs side by side.

    Attributes:
        runs: names of the runs, as short as tells them apart.
        keys: of the configuration, in which they differ.
        metrics: names of the numbers that are compared.
        notes: what does not compare, and what is not there, a line each.
    """

    def __init__(self, results: SweepResults, metrics: Sequence[str] | None, paths: Sequence[Path]) -> None:
        chosen = _looked_at_first(results) if metrics is None else metrics
        table = answer(results, Query(chosen, runs=True)) if chosen else None
        self._results = results
        self._paths = paths
        self.runs = [run.name for run in results.runs]
        self.keys = list(results.keys)
        self.metrics = list(table.metrics) if table else []
        self._unlike = {
            name: reason
            for place, name in enumerate(self.metrics)
            if table and (reason := "; ".join(filter(None, (differs_between_rows(table, place), self._images(name)))))
        }
        self.notes = [
            f"{name}: the runs differ in {reason}, and do not compare" for name, reason in self._unlike.items()
        ]
        self.notes += [f"{run.name}: is {run.state}, and has no numbers" for run in results.runs if run.state != DONE]

    def _images(self, name: str) -> str | None:
        """Whether a number is of other images in one run than in another: in words; None where not, as far as known."""
        section = name.partition("/")[0]
        splits = [run.evaluated.get("split") if section in EVALUATED else section for run in self._results.runs]
        known = {
            digest
            for split, path in zip(splits, self._paths, strict=True)
            if split in ("test", "val") and (digest := _digest(path, split))
        }
        return f"the images of {splits[0]}" if len(known) > 1 and len(set(splits)) == 1 else None

    @property
    def frame(self) -> pd.DataFrame:
        """One row a run, as `lehr.load_sweep` has them: name, state, the keys in which they differ, and the metrics."""
        from lehr.sweeps.frame import runs_frame

        frame = runs_frame(self._results, self.metrics)
        return frame[["run", "state", *self.keys, *self.metrics]].set_index("run")

    @property
    def best(self) -> dict[str, str]:
        """Of each metric the run that is best, where it is known which way is better, and the numbers compare."""
        found = {}
        for name in self.metrics:
            values = {run.name: v for run in self._results.runs if (v := run.metrics.get(name)) is not None}
            if has_direction(name) and name not in self._unlike and len(set(values.values())) > 1:
                pick = max if direction(name) == "highest" else min
                found[name] = pick(values, key=lambda run: values[run])
        return found

    def __repr__(self) -> str:
        best = self.best
        rows = [["", *self.runs]]
        rows += [[key, *values] for key, values in self._settings()]
        for name in self.metrics:
            cells = [
                value + " *" * (best.get(name) == run) for run, value in zip(self.runs, self._cells(name), strict=True)
            ]
            rows.append([name, *cells])
        return "\n".join([*aligned(rows), *(["* best"] if best else []), *self.notes])

    def _repr_html_(self) -> str:
        best = self.best
        rows: list[list[object]] = [[html.code(key), *values, ""] for key, values in self._settings()]
        for name in self.metrics:
            label, unit = named(name)
            split = name.partition("/")[0]
            words = f"{split} {label}" if split in ("train", "val", "test") else label
            cells = zip(self.runs, self._cells(name), strict=True)
            rows.append([words, *(html.bold(value) if best.get(name) == run else value for run, value in cells), unit])
        places = range(1, len(self.runs) + 1)
        pictures = [
            html.picture_of(RunDirectory(path).samples / "aggregate.png", f"samples of {name}", _WIDEST)
            for name, path in zip(self.runs, self._paths, strict=True)
        ]
        return html.joined(
            html.table(rows, ["", *self.runs, ""], numbers=places),
            html.paragraph("Bold: the best, where more or less is known to be better.") if best else "",
            *map(html.paragraph, self.notes),
            html.side_by_side(*pictures) if any(pictures) else "",
        )

    def _settings(self) -> list[tuple[str, list[str]]]:
        return [
            (key, [value_shown(canonical(run.swept[key])) if key in run.swept else "-" for run in self._results.runs])
            for key in self.keys
        ]

    def _cells(self, name: str) -> list[str]:
        values = (run.metrics.get(name) for run in self._results.runs)
        return ["-" if value is None else shown(name, value) for value in values]


def compare(*runs: Run | str | Path, metrics: Sequence[str] | None = None) -> Comparison:
    """Runs side by side: the keys in which they differ, and their numbers, the best of each marked.

    Numbers that were measured on other examples, with other features or of another likelihood do not compare, and that
    is said. A run that was loaded with the weights of a checkpoint has the numbers of its own evaluation alone.

    Args:
        runs: two or more, loaded or as directories.
        metrics: names, or patterns such as `test/*`; None for what people look at first.

    Raises:
        CheckpointError: a line for each that is no run.
        ConfigError: for fewer than two, or a metric that none of them has.
    """
    metrics = [metrics] if isinstance(metrics, str) else metrics
    problems = [
        f"compare: got {type(run).__name__}, expected a run, or the path of its directory"
        for run in runs
        if not isinstance(run, Run | str | os.PathLike)
    ]
    problems += section_problems(ResultsConfig, {**_NOTHING, "metrics": None if metrics is None else list(metrics)})
    if len(runs) < 2:
        problems.append(f"compare: got {len(runs)} run{'s' * (len(runs) != 1)}, expected two or more")
    if problems:
        raise ConfigError(*problems)
    paths = [run.path if isinstance(run, Run) else Path(run) for run in runs]
    found: list[RunResult] = []
    for run, path, name in zip(runs, paths, short_names(runs, paths), strict=True):
        try:
            found.append(replace(_read(run, path), name=name))
        except LehrError as error:
            problems += error.problems
    if problems:
        raise CheckpointError(*problems)
    keys = differing_keys([run.swept for run in found])
    kept = [replace(run, swept={key: run.swept[key] for key in keys if key in run.swept}) for run in found]
    return Comparison(SweepResults(Path(os.curdir), keys, kept), metrics, paths)


_NOTHING: dict[str, Any] = {"by": None, "sort": None, "runs": False, "format": None, "out": None}


def _read(run: Run | str | Path, path: Path) -> RunResult:
    """A run as its directory has it.

    Raises:
        CheckpointError: if there is none.
    """
    if not path.is_dir():
        raise CheckpointError(f"{path}: there is no such directory")
    result = read_run(path, {}, keep_config=False)
    if result is None or not result.swept:
        raise CheckpointError(f"{path}: is not a run directory: it has no config.yaml")
    if isinstance(run, Run) and run.weights:
        from lehr.sweeps.comparable import read_evaluated

        measured: Mapping[str, Any] = run.evaluation or {}
        numbers: dict[str, float | int | bool | None] = {
            key: v for key, v in measured.items() if "/" in key and isinstance(v, int | float)
        }
        return replace(result, metrics=numbers, evaluated=read_evaluated(measured))
    return result


def _digest(path: Path, split: str) -> str | None:
    """Of the images of a split, as data.json has it."""
    with suppress(KeyError, TypeError, AttributeError):
        return str(RunDirectory(path).read_data()["splits"][split]["digest"])
    return None


def short_names(runs: Sequence[object], paths: Sequence[Path]) -> list[str]:
    """Names as short as tells the models apart, of runs with the checkpoint of which they have the weights."""
    parts = [path.absolute().parts for path in paths]
    suffixes = [f" ({run.weights})" if isinstance(run, Run) and run.weights else "" for run in runs]
    for length in range(1, max(map(len, parts)) + 1):
        names = [os.path.join(*part[-length:]) + suffix for part, suffix in zip(parts, suffixes, strict=True)]
        if len(set(names)) == len(names):
            return names
    return [f"{name} [{number}]" for number, name in enumerate(names, 1)]


def _looked_at_first(results: SweepResults) -> list[str]:
    known = results.metrics
    split = final_split(known)
    chosen = [name for word in _FIRST if (name := word.replace("SPLIT", split)) in known]
    return chosen or [name for name in known if find_metric(name)][:10]
