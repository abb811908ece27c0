"""The sections of a run's report that are pictures: samples, reconstructions, and lines through the latents."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lehr.evaluation.pictures import GAP
from lehr.report.document import Paragraph, Part, Picture, Row, Table
from lehr.report.grids import Grid, read_grid, sides_of
from lehr.report.numbers import cell
from lehr.report.reading import RunFiles
from lehr.run.page import CAPTIONS
from lehr.run.png import UNREADABLE, read_png

if TYPE_CHECKING:
    from PIL import Image

_LARGEST = 900  # pixels of a picture: a page is to be sent about
_MEASURES = (("frechet", 2), ("kernel", 4), ("density", 3), ("coverage", 3))


def generation(files: RunFiles) -> Iterator[Part]:
    """The sampling methods side by side, and how near each is to real images."""
    both = (shown(files, f"{name}.png", CAPTIONS[name]) for name in ("aggregate", "prior"))
    found: list[Part] = [picture for picture in both if picture]
    fitted = sorted(files.directory.samples.glob("*-seed*.png")) if files.directory.samples.is_dir() else []
    for path in fitted:
        sampler = path.name.partition("-seed")[0]
        if picture := shown(files, path.name, f"samples of {sampler} ({path.name})"):
            found.append(picture)
    if found:
        yield Row(tuple(found))
    elif files.state == "done":
        yield Paragraph("There are no pictures of samples here.")
    names = dict.fromkeys(
        key.split("/")[1] for key in files.evaluation if key.startswith("generation/") and key.count("/") == 2
    )
    rows = [
        (
            name,
            *(cell(files.evaluation.get(f"generation/{name}/{measure}"), digits) for measure, digits in _MEASURES),
        )
        for name in names
    ]
    if any(cell != "-" for row in rows for cell in row[1:]):
        head = ("sampler", "Frechet distance", "kernel distance", "density", "coverage")
        features = files.evaluation.get("generation/features")
        caption = f"In features of {features}. Lower distances and more coverage are better." if features else ""
        yield Table(head, tuple(rows), frozenset({1, 2, 3, 4}), caption)
    elif files.state == "done":
        yield Paragraph("How near samples are to real images was not measured; lehr evaluate does that.")


def reconstructions(files: RunFiles) -> Iterator[Part]:
    """Images and what becomes of them, the worst and the best."""
    names = ("reconstruction", "error", "extremes")
    each = (shown(files, f"{name}.png", CAPTIONS[name], described=name == "extremes") for name in names)
    found = [picture for picture in each if picture]
    if found:
        yield Row(tuple(found))


def traversals(files: RunFiles) -> Iterator[Part]:
    """Interpolations, still and moving, and what each of the most active latents does."""
    found = []
    if animation := _animated(files):
        found.append(animation)
    if picture := shown(files, "interpolation.png", CAPTIONS["interpolation"]):
        found.append(picture)
    if picture := shown(files, "traversal.png", CAPTIONS["traversal"], described=True):
        found.append(picture)
    if found:
        yield Row(tuple(found))


def shown(files: RunFiles, name: str, caption: str, described: bool = False) -> Picture | None:
    """A picture in samples/, made smaller where it is large; with what the file itself says, where `described`."""
    return kept_picture(files.directory.samples / name, caption, described, f"samples/{name}")


def kept_picture(path: Path, caption: str, described: bool = False, file: str | None = None) -> Picture | None:
    """The same of a PNG anywhere in the run; `file` is its name relative to the run."""
    from PIL import Image

    with suppress(*UNREADABLE):
        content = read_png(path)
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            said = image.info.get("Description") if described else None
            width = image.width
            if max(image.size) > _LARGEST:
                content = _smaller(image)
            else:
                image.verify()
        return Picture(path.stem, content, f"{caption}; {said}" if said else caption, min(width, 560), file)
    return None


def _smaller(image: Image.Image) -> bytes:
    copy = image.convert("RGBA" if "A" in image.getbands() else "RGB")
    copy.thumbnail((_LARGEST, _LARGEST))
    out = io.BytesIO()
    copy.save(out, format="PNG")
    return out.getvalue()


def _animated(files: RunFiles) -> Picture | None:
    """The rows of the interpolation grid as a moving picture, there and back."""
    steps = ((files.config.get("callbacks") or {}).get("samples") or {}).get("steps")
    if not isinstance(steps, int) or steps < 2:
        return None
    grid = read_grid(files.directory.samples / "interpolation.png", steps, sides_of(files.path))
    if grid is None:
        return None
    frames = [_frame(grid, step) for step in range(steps)]
    frames += frames[-2:0:-1]
    out = io.BytesIO()
    frames[0].save(out, format="GIF", save_all=True, append_images=frames[1:], duration=110, loop=0)
    return Picture("interpolation_moving", out.getvalue(), "the same lines between latents, moving", frames[0].width)


def _frame(grid: Grid, column: int) -> Image.Image:
    """A column of tiles as rows of four, which suits a page better."""
    from PIL import Image

    across = min(4, grid.rows)
    down = -(-grid.rows // across)
    high, wide = grid.pitch
    out = Image.new("RGB", (across * wide + GAP, down * high + GAP), (255, 255, 255))
    for row in range(grid.rows):
        out.paste(grid.part(column, row), ((row % across) * wide, (row // across) * high))
    out.thumbnail((_LARGEST, _LARGEST))
    return out
