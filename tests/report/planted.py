"""Sweeps that never took place, whose numbers are a function of their swept values: an effect planted, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from lehr.report.layout import Layout, lay_out
from lehr.sweeps.results import RunResult, SweepResults

ELBO = "test/elbo"


def run(swept: Mapping[str, Any], metrics: Mapping[str, float] | None = None, **fields: Any) -> RunResult:
    """A run; done if it has metrics."""
    name = fields.pop("name", ",".join(f"{key}={value}" for key, value in swept.items()))
    known = {
        "id": name, "state": "done" if metrics else "failed", "error": None, "seconds": {}, "host": "here",
        "started": None, "finished": None, "config": {"kl.unit": "epoch"},
    }  # fmt: skip
    return RunResult(name=name, swept=dict(swept), metrics=dict(metrics or {}), **{**known, **fields})


def results(keys: Sequence[str], runs: Iterable[RunResult]) -> SweepResults:
    return SweepResults(Path("sweep"), list(keys), list(runs))


def grid(
    values: Mapping[str, Sequence[Any]],
    elbo: Callable[..., float | None],
    metric: str = ELBO,
) -> SweepResults:
    """All combinations; `elbo` of the swept values, None for a run that has failed."""
    runs = []
    for point in product(*values.values()):
        number = elbo(*point)
        swept = dict(zip(values, point, strict=True))
        runs.append(run(swept, None if number is None else {metric: number}))
    return results(list(values), runs)


def layout(values: Mapping[str, Sequence[Any]], elbo: Callable[..., float | None], metric: str = ELBO) -> Layout:
    return lay_out(grid(values, elbo, metric))
