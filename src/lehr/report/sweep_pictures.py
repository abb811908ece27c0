"""Small pictures of what the runs of a sweep have drawn: the first tiles of each grid."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from lehr.report.document import Picture
from lehr.sweeps.results import RunResult

KINDS = (
    ("aggregate", "samples of the aggregate posterior"),
    ("prior", "samples of the prior"),
    ("interpolation", "interpolations"),
    ("reconstruction", "images and reconstructions"),
)
_TILES = 4  # across and down
_GAP = 2  # between the tiles of a grid, see lehr.evaluation.pictures
_FEW, _SOME = 100, 500  # runs of which larger pictures are kept
_READERS = 4


def small_pictures(runs: Sequence[tuple[Path, RunResult]]) -> dict[str, dict[str, Picture]]:
    """Name of the run -> kind -> picture, of the runs that have drawn some; the more runs the smaller.

    Args:
        runs: their directories, and what is known of them, configurations included.
    """
    side, quality = (40, 80) if len(runs) <= _FEW else (28, 60) if len(runs) <= _SOME else (18, 40)
    kinds = KINDS if len(runs) <= _SOME else KINDS[:3]

    def read(item: tuple[Path, RunResult]) -> dict[str, Picture]:
        path, run = item
        config = run.config or {}
        found = {}
        for kind, label in kinds:
            file = path / "samples" / f"{kind}.png"
            if picture := _small(file, _columns(kind, config), side, quality, f"{label} of {run.name}"):
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


def _small(path: Path, columns: int, side: int, quality: int, caption: str) -> Picture | None:
    from PIL import Image

    with (
        suppress(OSError, ValueError, SyntaxError),
        path.open("rb") as file,
        Image.open(file, formats=["PNG"]) as image,
    ):
        tile, rest = divmod(image.width - _GAP, columns)
        if rest or tile <= _GAP:
            return None
        rows = max(1, (image.height - _GAP) // tile)
        across, down = (columns, min(2, rows)) if columns > 8 else (min(_TILES, columns), min(_TILES, rows))
        part = image.crop((0, 0, across * tile + _GAP, down * tile + _GAP))
        part = part.convert("L" if image.mode == "L" else "RGB")
        part = part.resize((across * side, down * side), Image.Resampling.BOX)
        out = io.BytesIO()
        part.save(out, format="WEBP", quality=quality, method=2)
        return Picture("", out.getvalue(), caption, min(across * side, 160))
    return None
