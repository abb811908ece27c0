"""What `lehr probe` prints: of each probe a number, a sentence, and a mark where it is a fault."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from lehr.evaluation.catalogue import find_metric

_WIDTH = 100
_MARK = "!"
_OWN = ("sentence", "fault", "note")


def probe_table(table: Mapping[str, Any]) -> str:
    """The values of probes, `probe/NAME/VALUE`, as text; other keys are left out."""
    return "\n".join(_lines(table))


def _lines(table: Mapping[str, Any]) -> Iterator[str]:
    names = list(dict.fromkeys(key.split("/")[1] for key in table if key.startswith("probe/")))
    wide = max(map(len, names), default=0)
    faults = sum(bool(table.get(f"probe/{name}/fault")) for name in names)
    for name in names:
        prefix = f"probe/{name}/"
        mark = _MARK if table.get(f"{prefix}fault") else " "
        note = table.get(f"{prefix}note")
        number = "-" if note is not None else _headline(table, prefix)
        yield f"  {mark} {name:<{wide}}  {number}"
        text = note if note is not None else table.get(f"{prefix}sentence") or ""
        yield from textwrap.wrap(text, _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
    if names:
        found = f"{_MARK} {'is a fault' if faults == 1 else 'are faults'}" if faults else "no fault was found"
        yield f"  {found}"


def _headline(table: Mapping[str, Any], prefix: str) -> str:
    """The first number of a probe with label and unit; the next one where that is none."""
    for key, value in table.items():
        if key.startswith(prefix) and key.removeprefix(prefix) not in _OWN and _is_number(value):
            metric = find_metric(key)
            if metric is None:
                return f"{key.removeprefix(prefix)} {value:.4g}"
            return " ".join(filter(None, (metric.label, _written(value, metric.digits), metric.unit)))
    return "-"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _written(value: float, digits: int) -> str:
    """So many digits after the point; of what would be 0 with them the first digits."""
    return f"{value:,.{digits}f}" if value == 0 or abs(value) >= 0.5 * 10**-digits else f"{value:.1e}"
