"""What an evaluation has found, to use in a program and to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lehr.evaluation.catalogue import find_metric
from lehr.evaluation.table import evaluation_table
from lehr.reading import read_json
from lehr.run import html
from lehr.run.directory import RunDirectory
from lehr.tensors import MODEL

if TYPE_CHECKING:
    import pandas as pd


class Evaluation(Mapping[str, Any]):
    """evaluation.json: name -> number, text or list; docs/metrics.md says what each is.

    Attributes:
        path: where it lies.
    """

    def __init__(self, table: Mapping[str, Any], path: Path) -> None:
        self._table = dict(table)
        self.path = path

    def __getitem__(self, name: str) -> Any:
        return self._table[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    @property
    def frame(self) -> pd.DataFrame:
        """The numbers as a table: a row each by its name, with value, label and unit."""
        import pandas as pd

        rows = [(name, value, *named(name)) for name, value in self._table.items() if _is_number(name, value)]
        frame = pd.DataFrame(rows, columns=["name", "value", "label", "unit"]).set_index("name")
        return frame.astype({"value": "float64"})

    def __repr__(self) -> str:
        try:
            return f"{evaluation_table(self._table)}\n  {self.path}\n"
        except (KeyError, TypeError, ValueError):  # of a file that an evaluation has not written as it is
            return f"<Evaluation {self.path}: {len(self)} values>"

    def _repr_html_(self) -> str:
        return html.joined(
            html.title(f"{self.get('dataset')}, {self.get('split')}", f"{self.get('examples')} examples, {self.path}"),
            numbers_table(self._table),
            html.paragraph(self.get("collapse/verdict") or ""),
        )


def read_evaluation(directory: RunDirectory, weights: str | None, model: Callable[[], str | None]) -> Evaluation | None:
    """What was measured of these weights last, on the test split where there is one; None if nothing.

    Args:
        directory: of the run.
        weights: of which checkpoint; None for those that the run has ended in.
        model: gives their id: what was measured of another model is none of it.
    """
    path = directory.evaluation(weights or "")
    with suppress(OSError, ValueError):
        found = read_json(path)
        if isinstance(found, dict) and "lehr" in found and found.get(MODEL) in (None, model()):
            return Evaluation(found, path)
    return None


def numbers_table(table: Mapping[str, Any]) -> html.Markup:
    """The numbers among `table`, each with the label and the unit of the catalogue and its name; what is none is left
    out."""
    rows = []
    for name, value in table.items():
        if _is_number(name, value):
            label, unit = named(name)
            rows.append((label, shown(name, value), unit, html.code(name)))
    return html.table(rows, ("", "", "", ""))


def shown(name: str, value: float) -> str:
    """A number with as many digits as the catalogue says, or as three figures where these would be 0."""
    metric = find_metric(name)
    digits = metric.digits if metric else 4
    if digits and value and not round(value, digits):
        return f"{value:.3g}"
    return f"{value:.4g}" if abs(value) >= 1e7 else f"{value:,.{digits}f}"


def _is_number(name: str, value: Any) -> bool:
    return "/" in name and isinstance(value, int | float) and not isinstance(value, bool)


def named(name: str) -> tuple[str, str]:
    """Label and unit of a metric; of one of a sampler the sampler too."""
    if (metric := find_metric(name)) is None:
        return name, ""
    sampler = name.split("/")[1] if metric.name.startswith("generation/SAMPLER/") else ""
    return ", ".join(filter(None, (metric.label, sampler))), metric.unit
