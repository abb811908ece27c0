"""Small pictures of what the runs of a sweep have drawn: the first tiles of each grid."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lehr.report.document import Paragraph, Part, Picture, Thumbnails
from lehr.report.grids import Sides, read_grid, sides_of
from lehr.report.layout import Layout
from lehr.report.words import Words
from lehr.sweeps.results import RunResult

KINDS = (
    ("aggregate", "samples of the aggregate posterior"),
    ("prior", "samples of the prior"),
    ("interpolation", "interpolations"),
    ("reconstruction", "images and reconstructions"),
)
_FEW, _SOME = 100, 500  # runs of which larger pictures are kept
_READERS = 4
_WIDEST = 160
_MOST_CELLS = 400
_MOST_ACROSS = 24


@dataclass(frozen=True)
class _Size:
    """Of a small picture: tiles across and down, pixels of the longer side of each, and the quality of WebP."""

    tiles: int
    side: int
    quality: int


_SIZES = (_Size(4, 40, 80), _Size(4, 28, 60), _Size(3, 14, 30))


def small_pictures(runs: Sequence[tuple[Path, RunResult]]) -> dict[str, dict[str, Picture]]:
    """Name of the run -> kind -> picture, of the runs that have drawn some; the more runs the smaller.

    Args:
        runs: their directories, and what is known of them, configurations included.
    """
    size = _SIZES[0 if len(runs) <= _FEW else 1 if len(runs) <= _SOME else 2]
    kinds = KINDS if len(runs) <= _SOME else (KINDS[0], KINDS[2])

    def read(item: tuple[Path, RunResult]) -> dict[str, Picture]:
        path, run = item
        config = run.config or {}
        found, sides = {}, sides_of(path)
        for kind, label in kinds:
            file = path / "samples" / f"{kind}.png"
            if picture := _small(file, _columns(kind, config), sides, size, f"{label} of {run.name}"):
                found[kind] = picture
        return found

    with ThreadPoolExecutor(_READERS) as readers:  # Pillow works beside Python
        all_found = readers.map(read, runs)
        return {run.name: found for (_, run), found in zip(runs, all_found, strict=True) if found}


def _columns(kind: str, config: Mapping[str, Any]) -> int:
    """How many tiles a row of the grid has, see `lehr.run.pictures.draw_grids`."""
    n, steps = config.get("callbacks.samples.n"), config.get("callbacks.samples.steps")
    n = n if isinstance(n, int) and n > 0 else 64
    if kind == "interpolation":
        return steps if isinstance(steps, int) and steps > 0 else 10
    return min(8, max(n // 2, 1)) if kind == "reconstruction" else -int(-(n**0.5) // 1)


def _small(path: Path, columns: int, sides: Sides, size: _Size, caption: str) -> Picture | None:
    from PIL import Image

    if (grid := read_grid(path, columns, sides)) is None:
        return None
    n = size.tiles
    across, down = (columns, min(n - 2, grid.rows)) if columns > 8 else (min(n, columns), min(n, grid.rows))
    high, wide = (max(1, round(size.side * side / max(grid.tile))) for side in grid.tile)
    part = grid.part(0, 0, across, down).resize((across * wide, down * high), Image.Resampling.BOX)
    out = io.BytesIO()
    part.save(out, format="WEBP", quality=size.quality, method=2)
    return Picture("", out.getvalue(), caption, min(across * wide, _WIDEST))


def picture_matrix(layout: Layout, words: Words, pictures: Mapping[str, Mapping[str, Picture]]) -> Iterator[Part]:
    """A picture of each combination, of the first of its runs that has drawn any; nothing where none has.

    Across stands the key with the most values that there is room for.
    """
    first: dict[int, RunResult] = {}
    for run, group in zip(layout.runs, layout.group.tolist(), strict=True):
        if run.name in pictures:
            first.setdefault(group, run)
    if not first:
        return
    fitting = [key for key in layout.keys if len(layout.levels[key]) <= _MOST_ACROSS]
    column = max(fitting, key=lambda key: len(layout.levels[key]), default=None)
    across = layout.levels[column] if column else (None,)
    places = {words.value(column, value): i for i, value in enumerate(across)} if column else {}
    rows: dict[str, list[str | None]] = {}
    for group in sorted(first):
        values = layout.values(group)
        rest = words.combination({key: value for key, value in values.items() if key != column})
        cells = rows.setdefault(rest, [None] * len(across))
        cells[places[words.value(column, values[column])] if column else 0] = first[group].name
    kept = dict(list(rows.items())[: max(1, _MOST_CELLS // len(across))])
    if len(kept) < len(rows):
        left_out = f"{len(rows) - len(kept):,} of {len(rows):,} rows are left out"
        yield Paragraph(f"{left_out}; each run unfolds its own pictures in the table.")
    used = {name for cells in kept.values() for name in cells if name}
    yield Thumbnails(
        across=tuple(places) if column else ("",),
        down=tuple(kept),
        cells=tuple(map(tuple, kept.values())),
        kinds=tuple(kind for kind in KINDS if any(kind[0] in pictures[name] for name in used)),
        images={name: pictures[name] for name in used},
        corner=words.label(column) if column else "",
    )
