"""Numbers as people read them: labels, units and digits of the catalogue."""

from __future__ import annotations

import math
from typing import Any, TypeGuard

from lehr.reading import is_finite
from lehr.report.words import duration
from lehr.run.evaluation import named, shown

DIGITS = 6
"""Of a number in a chart: more cannot be seen."""
_BRIEF = 9.95  # seconds, of which two digits are shown: parts of a run may take hundredths


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether it is a finite number that a float can be: of a file that anybody may have written it need not be."""
    return isinstance(value, int | float) and not isinstance(value, bool) and is_finite(value)


def significant(value: float, digits: int = DIGITS) -> float | None:
    """A number for a chart, with no more digits than can be seen; None where it is not finite."""
    value = float(value)
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def described(name: str) -> tuple[str, str]:
    """Label and unit of a metric; of one that the catalogue has not its name, in words."""
    label, unit = named(name)
    return (label, unit) if label != name else (name.partition("/")[2].replace("_", " ") or name, unit)


def with_unit(name: str, value: float) -> str:
    """A number of this metric with its unit: "-24.31 nats"."""
    unit = described(name)[1]
    return f"{shown(name, value)} {unit}" if unit else shown(name, value)


def cell(value: Any, digits: int) -> str:
    """A number in a table, with so many decimals; "-" of what is none."""
    return f"{value:.{digits}f}" if is_number(value) else "-"


def seconds(value: Any) -> str:
    """A time in words: "0.024 s", "3 min 20 s"; "-" of what is no number."""
    if not is_number(value):
        return "-"
    return f"{value:.2g} s" if value < _BRIEF else duration(value)
