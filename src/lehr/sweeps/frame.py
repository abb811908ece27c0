"""The answer of a sweep as a pandas DataFrame, and as Parquet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lehr.errors import CheckpointError, LehrError
from lehr.files import replacing
from lehr.sweeps.groups import Answer, values_by_name
from lehr.sweeps.results import STATES, SweepResults, read_runs, shown

if TYPE_CHECKING:
    import pandas as pd


def load_sweep(path: str | Path, config: bool = False) -> pd.DataFrame:
    """The runs of a sweep, or of any directory that runs lie in: one row a run, sorted by swept values, then seed.

    Columns: `run`, `id`, `state`, the swept keys, the metrics by name, `seconds/...`, `host`, `started`, `finished`,
    `error`. Whole numbers are integers and truths booleans, also where some are missing (pandas' nullable types); all
    other numbers are floats; times are timestamps in UTC; lists and mixed values are strings, as one would type them.

    Args:
        path: the directory of the sweep.
        config: every key of the configurations too, as `config/KEY`.

    Raises:
        CheckpointError: if there is no such directory, or no runs in it.
    """
    results = read_runs(path, config=config)
    if not results.runs:
        raise CheckpointError(f"{path}: holds no runs")
    return runs_frame(results, results.metrics)


def runs_frame(results: SweepResults, metrics: Sequence[str]) -> pd.DataFrame:
    """One row a run, with these metrics."""
    import pandas as pd

    runs = results.runs
    columns: dict[str, Any] = {
        "run": _typed([run.name for run in runs]),
        "id": _typed([run.id or None for run in runs]),
        "state": pd.Categorical([run.state for run in runs], categories=list(STATES)),
    }
    columns |= {key: _typed([run.swept.get(key) for run in runs]) for key in results.keys}
    columns |= {name: _typed([run.metrics.get(name) for run in runs]) for name in metrics}
    for part in _names(run.seconds for run in runs):
        columns[f"seconds/{part}"] = _typed([run.seconds.get(part) for run in runs])
    columns["host"] = _typed([run.host for run in runs])
    for when in ("started", "finished"):
        # a damaged date is none
        columns[when] = pd.to_datetime(
            pd.Series([getattr(run, when) for run in runs]), utc=True, format="ISO8601", errors="coerce"
        )
    columns["error"] = _typed([run.error for run in runs])
    for key in _names(run.config or {} for run in runs):
        columns[f"config/{key}"] = _typed([(run.config or {}).get(key) for run in runs])
    return pd.DataFrame(columns)


def groups_frame(table: Answer) -> pd.DataFrame:
    """The table of groups: keys, `runs`, `done`, and of each metric `/mean`, `/std` and `/n`."""
    import pandas as pd

    columns = values_by_name(table)
    return pd.DataFrame(
        {name: _typed(values, empty="string" if name in table.by else "float64") for name, values in columns.items()}
    )


def write_parquet(table: Answer, path: Path) -> None:
    """The table as Parquet, with typed columns.

    Raises:
        LehrError: without pyarrow.
    """
    if not find_spec("pyarrow"):
        raise LehrError(f"{path}: Parquet needs pyarrow: pip install 'lehr[parquet]'")
    frame = runs_frame(table.results, table.metrics) if table.query.runs else groups_frame(table)
    with replacing(path) as temporary:
        frame.to_parquet(temporary, engine="pyarrow", index=False)


def _names(mappings: Iterable[dict[str, Any]]) -> list[str]:
    """All keys, in the order in which they are met."""
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))


def _typed(values: list[Any], empty: str = "string") -> pd.Series:
    """A column of the narrowest type that holds all `values`, of which None is missing; `empty` where all are."""
    import pandas as pd

    there = [value for value in values if value is not None]
    kinds = {type(value) for value in there}
    missing = len(there) < len(values)
    if not there:
        return pd.Series(values, dtype=empty)
    if kinds == {bool}:
        return pd.Series(values, dtype="boolean" if missing else "bool")
    if kinds == {int} and all(-(2**63) <= value < 2**63 for value in there):
        return pd.Series(values, dtype="Int64" if missing else "int64")
    if kinds <= {int, float}:
        return pd.Series(values, dtype="float64")
    texts = [None if value is None else shown(value) for value in values]
    return pd.Series(texts, dtype="string")
