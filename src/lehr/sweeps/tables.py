"""The answer of a sweep as text: for the terminal, in Markdown and in CSV."""

from __future__ import annotations

import csv
import math
import os
import shutil
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import median
from typing import IO, Any

from lehr.run.status import DONE
from lehr.sweeps.comparable import differing, measured_on
from lehr.sweeps.groups import Answer, Cell, Row, direction, has_direction, values_by_name
from lehr.sweeps.results import SEED, STATES, RunResult, SweepResults, number, shown

_VALUE_WIDTH = 40  # of a swept value in the terminal
_LISTED = 20  # runs of a state that are listed in the terminal
_UNLIMITED = 10_000


@dataclass(frozen=True)
class _Column:
    """Of a table in the terminal. `cells` holds the lines of each row; `name` is what says it in full."""

    name: str
    section: str
    head: str
    cells: list[list[str]]
    right: bool = True
    metric: bool = False

    @property
    def width(self) -> int:
        return max(map(_width, [self.head, *(line for cell in self.cells for line in cell)]))


def terminal_table(table: Answer, width: int | None = None) -> str:
    """A title, the table, how to read it, and what did not end well; at most `width` characters wide if it can be."""
    if width is None:
        width = shutil.get_terminal_size(fallback=(_UNLIMITED, 24)).columns
    sections = [[_title(table.results)]]
    if table.rows:
        lines, left_out = _fitted(table, width - 2)
        sections.append(lines)
        sections.append([*_legend(table), *left_out])
    sections += _unfinished(table.results.runs)
    sections += [[note] for note in table.results.notes]
    return "\n\n".join("\n".join(f"  {line}".rstrip() for line in lines) for lines in sections if lines) + "\n"


def _title(results: SweepResults) -> str:
    counts = _counts(results.runs)
    total = len(results.runs)
    by_state = ", ".join(f"{n:,} {state}" for state, n in counts.items())
    runs = "1 run" if total == 1 else f"{total:,} runs"
    return f"{results.path}: {runs if total else 'no runs yet'}" + (f": {by_state}" if by_state else "")


def _counts(runs: Iterable[RunResult]) -> dict[str, int]:
    states = [run.state for run in runs]
    return {state: states.count(state) for state in STATES if state in states}


def _fitted(table: Answer, width: int) -> tuple[list[str], list[str]]:
    """The lines of the table, and one that says which columns had no room, if any."""
    columns = _columns(table, beneath=False)
    if _total(columns) > width and any(cell.std is not None for row in table.rows for cell in row.cells):
        columns = _columns(table, beneath=True)
    left_out: list[str] = []
    while _total(columns) > width and (metrics := [column for column in columns if column.metric])[1:]:
        left_out.insert(0, metrics[-1].name)
        columns.remove(metrics[-1])
    note = []
    if left_out:
        note = [f"no room for {', '.join(left_out)}: say metrics=[...] to choose, or out=FILE.csv"]
    return _lines(columns), note


def _columns(table: Answer, beneath: bool) -> list[_Column]:
    rows = table.rows
    columns = []
    for place, key in enumerate(table.by):
        values = [row.values[place] for row in rows]
        section, _, head = key.replace("/", ".").rpartition(".")
        texts = [[text] if row.runs[0].swept else ["?"] for text, row in zip(_texts(values), rows, strict=True)]
        numeric = all(value is None or isinstance(value, int | float) for value in values)
        columns.append(_Column(key, section, head, texts, right=numeric))
    single = table.query.runs
    if single:
        columns.append(_Column("state", "", "state", [[row.runs[0].state] for row in rows], right=False))
    for place, name in enumerate(table.metrics):
        section, _, head = name.rpartition("/")
        shown_cells = [row.cells[place] for row in rows]
        counts = [cell.n if single else row.done for cell, row in zip(shown_cells, rows, strict=True)]
        cells = _metric_cells(shown_cells, counts, beneath)
        columns.append(_Column(name, section, head, cells, metric=True))
    if single:
        columns.append(_Column("run", "", "run", [[row.runs[0].name] for row in rows], right=False))
    else:
        columns.append(_Column("n", "", "n", [[_count(row)] for row in rows]))
    return columns


def _count(row: Row) -> str:
    return str(row.done) if row.done == len(row.runs) else f"{row.done} of {len(row.runs)}"


def _metric_cells(cells: Sequence[Cell], counts: Sequence[int], beneath: bool = False) -> list[list[str]]:
    """Means, and standard deviations where a group has one, aligned; n where it is not that of the group."""
    digits = digits_of([cell.mean for cell in cells], [cell.std for cell in cells])
    means = [in_digits(cell.mean, digits) for cell in cells]
    stds = [in_digits(cell.std, digits) for cell in cells]
    notes = [f" (n={cell.n})" if cell.n != n else "" for cell, n in zip(cells, counts, strict=True)]
    note = max(map(len, notes), default=0)
    if all(cell.std is None for cell in cells):
        return [[f"{mean}{text:<{note}}"] for mean, text in zip(means, notes, strict=True)]
    width = max(map(len, stds))
    both = [(mean, f"± {std:>{width}}") for mean, std in zip(means, stds, strict=True)]
    if beneath:
        return [[f"{mean}{text:<{note}}", f"{std}{'':<{note}}"] for (mean, std), text in zip(both, notes, strict=True)]
    return [[f"{mean} {std}{text:<{note}}"] for (mean, std), text in zip(both, notes, strict=True)]


def digits_of(numbers: Iterable[float | None], deviations: Iterable[float | None] = ()) -> int | None:
    """How many decimals to show numbers with that stand below each other; None where they need an exponent.

    Two digits of the (median) standard deviation, or four of the largest number, but no more than there are in a
    float32; whole numbers as they are.
    """
    means = [abs(mean) for mean in numbers if mean is not None]
    stds = [std for std in deviations if std]
    top = max(means, default=0.0)
    if not stds and all(mean == int(mean) for mean in means) and top < 1e6:
        return 0
    if top >= 1e6 or 0 < top < 1e-3:
        return None
    magnitude = math.floor(math.log10(top)) if top else 0
    wanted = 1 - math.floor(math.log10(median(stds))) if stds else max(2, 3 - magnitude)
    return min(max(wanted, 0), max(5 - magnitude, 0))


def in_digits(value: float | None, digits: int | None) -> str:
    """A number with as many decimals as `digits_of` says; a dash where there is none."""
    if value is None:
        return "-"
    # adding zero turns -0.0 into 0.0
    return f"{value:.4g}" if digits is None else f"{round(value, digits) + 0.0:.{digits}f}"


def _lines(columns: Sequence[_Column]) -> list[str]:
    """Two lines of heads, sections above names, and the rows."""
    columns = _with_room_for_sections(columns)
    widths = [column.width for column in columns]
    heads = []
    for section, group in groupby(range(len(columns)), key=lambda i: columns[i].section):
        places = list(group)
        span = sum(widths[i] for i in places) + 2 * (len(places) - 1)
        heads.append(f"{section} ".ljust(span, "─")[:span] if section else " " * span)
    lines = ["  ".join(heads)] if any(column.section for column in columns) else []
    lines.append("  ".join(_pad(column.head, w, column.right) for column, w in zip(columns, widths, strict=True)))
    for cells in zip(*(column.cells for column in columns), strict=True):
        for i in range(max(map(len, cells))):
            texts = [cell[i] if i < len(cell) else "" for cell in cells]
            lines.append("  ".join(_pad(t, w, c.right) for t, w, c in zip(texts, widths, columns, strict=True)))
    return [line.rstrip() for line in lines]


def _with_room_for_sections(columns: Sequence[_Column]) -> list[_Column]:
    """Widen the last column of each section to make room for its name."""
    result = []
    for section, group in groupby(columns, key=lambda column: column.section):
        same = list(group)
        lacking = len(section) - sum(column.width + 2 for column in same) + 2
        if lacking > 0:
            same[-1] = replace(same[-1], head=_pad(same[-1].head, same[-1].width + lacking, same[-1].right))
        result += same
    return result


def _total(columns: Sequence[_Column]) -> int:
    return sum(column.width + 2 for column in _with_room_for_sections(columns)) - 2


def _legend(table: Answer) -> Iterator[str]:
    """What the table shows, as far as it cannot be seen."""
    if not table.query.runs and table.metrics:
        over = [key for key in table.results.keys if key not in table.by]
        if any(cell.n > 1 for row in table.rows for cell in row.cells):
            what = _and(["seeds" if key == SEED else key for key in over] or ["runs"])
            yield f"mean ± standard deviation over {what}; n: how many runs"
        if any(row.done != len(row.runs) for row in table.rows):
            yield "n = a of b: of b runs a are done, and the mean is over these"
    if line := measured_on([run for row in table.rows for run in row.runs], table.metrics):
        yield line
    yield from _unlike(table)
    if sort := table.query.sort:
        word = sort.removeprefix("-")
        if word in table.metrics:
            first = direction(word)
            known = has_direction(word) and not differs_between_rows(table, table.metrics.index(word))
            if word != sort:
                first = {"highest": "lowest", "lowest": "highest"}[first]
            yield f"sorted by {word}, {first} first" + (f" ({'worst' if word != sort else 'best'})" if known else "")


def _unlike(table: Answer) -> Iterator[str]:
    """Of which metrics there is no average, and which do not compare from row to row."""
    within: dict[str, list[str]] = {}
    between: dict[str, list[str]] = {}
    for place, name in enumerate(table.metrics):
        reasons = dict.fromkeys(apart for row in table.rows if (apart := row.cells[place].apart))
        if reasons:
            within.setdefault("; ".join(reasons), []).append(name)
        if found := differs_between_rows(table, place):
            between.setdefault(found, []).append(name)
    for reason, names in within.items():
        yield f"no average of {_and(names)} over runs that differ in {reason}; runs=true shows each"
    for reason, names in between.items():
        yield f"{_and(names)}: rows differ in {reason}, and do not compare"


def differs_between_rows(table: Answer, place: int) -> str | None:
    return differing(found for row in table.rows if (found := row.cells[place].condition) is not None)


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _unfinished(runs: Sequence[RunResult]) -> Iterator[list[str]]:
    """Of each state, which runs in it did not end well, and what is wrong with them."""
    for state in _counts(runs):
        those = [run for run in runs if run.state == state and (state != DONE or run.error)]
        if not those:
            continue
        lines = [f"{state if state != DONE else 'done, but not evaluated'} ({len(those):,})"]
        width = max(_width(run.name) for run in those[:_LISTED])
        lines += [f"  {_pad(run.name, width, right=False)}  {run.error or ''}" for run in those[:_LISTED]]
        if len(those) > _LISTED:
            lines.append(f"  and {len(those) - _LISTED:,} more, which runs=true shows")
        yield lines


def _width(text: str) -> int:
    """Columns of the terminal: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def _pad(text: str, width: int, right: bool) -> str:
    blank = " " * (width - _width(text))
    return blank + text if right else text + blank


def _texts(values: Sequence[Any]) -> list[str]:
    """The values of a column, none wider than there is room for.

    Where one is too long, paths are without the folders that all of them lie in, and of a long one the end is shown.
    """
    texts = [shown(value) for value in values]
    if max(map(len, texts), default=0) <= _VALUE_WIDTH:
        return texts
    paths = [text for text in texts if text.startswith("/")]
    above = os.path.commonpath([os.path.dirname(path) for path in paths]).rstrip("/") if paths else ""
    return [cut(f"…{text[len(above) :]}" if above and text.startswith("/") else text) for text in texts]


def cut(text: str) -> str:
    """A swept value, no longer than there is room for in a line; of a path the end."""
    if len(text) <= _VALUE_WIDTH:
        return text
    return f"…{text[1 - _VALUE_WIDTH :]}" if text.startswith(("/", "…/")) else f"{text[: _VALUE_WIDTH - 1]}…"


def write_groups_csv(stream: IO[str], table: Answer) -> None:
    """The table of groups, with exact numbers; empty is what there is not, `null` a value of the configuration."""
    writer = csv.writer(stream, lineterminator="\n")
    columns = values_by_name(table)
    writer.writerow(columns)
    keys = set(table.by)
    texts = [[shown(v) if name in keys else number(v) for v in values] for name, values in columns.items()]
    writer.writerows(zip(*texts, strict=True))


def markdown_table(table: Answer) -> str:
    """The table in Markdown, with whole names and the digits of the terminal."""
    columns = _columns(table, beneath=False)
    lines = [
        [column.name for column in columns],
        ["---:" if column.right else ":---" for column in columns],
        *([" ".join(cell[0].split()) for cell in cells] for cells in zip(*(c.cells for c in columns), strict=True)),
    ]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
