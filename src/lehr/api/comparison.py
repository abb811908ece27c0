"""What a comparison of autoencoders on the same images has found: as numbers, table, page and files."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lehr import __version__
from lehr.errors import ConfigError
from lehr.evaluation.cost import Cost
from lehr.evaluation.image_errors import ImageErrors
from lehr.evaluation.intervals import LEVEL
from lehr.evaluation.paired import Pair, Worst, level_of_each
from lehr.evaluation.swap import Swap
from lehr.evaluation.table import aligned
from lehr.files import json_text, replacing
from lehr.reading import read_json
from lehr.run import html
from lehr.run.evaluation import named, shown

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

    from lehr.sweeps.compare import Comparison

JSON, PNG, CSV = "comparison.json", "comparison.png", "comparison.csv"
MADE_BY = "lehr compare"
_PAIRED_FIRST = ("psnr", "ssim", "lpips")
"""Measures whose differences are shown; those of all are in the file."""
_HOW = "pictures of 8 bits (clamped to [0, 1], rounded), decoded at the mean of q(z|x)"
_COSTS = ("encode_ms", "decode_ms", "encode_mib", "decode_mib")


@dataclass(frozen=True)
class Model:
    """One of the autoencoders.

    Attributes:
        name: as short as tells it from the others.
        place: where it was read from.
        errors: of each image.
        latent: how the shape of the latent of such an image is written.
        numbers: by name of the catalogue, without `compare/`.
        costs: of each precision and size that was asked for.
    """

    name: str
    place: str
    errors: ImageErrors
    latent: str
    numbers: Mapping[str, float]
    costs: Sequence[Cost] = ()


@dataclass(frozen=True)
class ImageComparison:
    """Autoencoders side by side on the same images.

    Attributes:
        models: in the order that they were given in.
        images: which images, in words.
        names: what each is called; None where these are no files.
        pairs: paired differences, by measure.
        worst: the images in the picture, from the top.
        picture: crops in rows, models in columns, the error of each beside it.
        swap: every encoder with every decoder; None where that was not asked for.
        device: what the costs are of, in words.
        notes: what is not there, and why, a line each.
        recorded: in what the runs among the models differ, and their own numbers; None of fewer than two.
    """

    models: Sequence[Model]
    images: str
    names: Sequence[str] | None
    pairs: Sequence[Pair]
    worst: Sequence[Worst]
    picture: Image.Image
    swap: Swap | None = None
    device: str = ""
    notes: Sequence[str] = ()
    recorded: Comparison | None = field(default=None, repr=False)

    @property
    def frame(self) -> pd.DataFrame:
        """A row each model, a column each number."""
        import pandas as pd

        return pd.DataFrame([dict(one.numbers) for one in self.models], index=[one.name for one in self.models])

    @property
    def best(self) -> dict[str, str]:
        """Of each measure the model that is better than every other by an interval that does not hold 0, if one is."""
        found = {}
        for measure in dict.fromkeys(pair.measure for pair in self.pairs):
            pairs = [pair for pair in self.pairs if pair.measure == measure]
            for model in self.models:
                own = [pair for pair in pairs if model.name in (pair.first, pair.second)]
                if all(pair.best == model.name for pair in own):
                    found[measure] = model.name
        return found

    def plain(self) -> dict[str, Any]:
        """What comparison.json holds."""
        return {
            "made_by": MADE_BY,
            "lehr": __version__,
            "images": self.images,
            "n": len(self.models[0].errors),
            "how": _HOW,
            "models": {
                one.name: {
                    "place": one.place,
                    "latent": one.latent,
                    **{f"compare/{name}": value for name, value in one.numbers.items()},
                    **({"costs": [asdict(cost) for cost in one.costs], "device": self.device} if one.costs else {}),
                }
                for one in self.models
            },
            "level": LEVEL,
            "level_of_each_pair": level_of_each(len(self.models)),
            "pairs": [_plain_pair(pair) for pair in self.pairs],
            "worst": [{"image": self._name(one.row), "model": one.model} for one in self.worst],
            **({"swap": asdict(self.swap)} if self.swap else {}),
            "notes": list(self.notes),
        }

    def save(self, folder: str | Path) -> Path:
        """Write comparison.json, comparison.csv (every measure of every image) and comparison.png; the folder.

        Raises:
            ConfigError: if there is a file of one of these names that no comparison has written.
        """
        folder = Path(folder)
        if problem := folder_problem(folder):
            raise ConfigError(problem)
        with ExitStack() as files:  # they are given their names the last first: the one that says whose they all are
            table, picture, numbers = (files.enter_context(replacing(folder / name)) for name in (CSV, PNG, JSON))
            table.write_text(self._csv(), encoding="utf-8")
            self.picture.save(picture, format="PNG", optimize=True)
            numbers.write_text(json_text(self.plain()), encoding="utf-8")
        return folder

    def may_replace(self, folder: Path) -> bool:
        """Whether what is in a folder is nothing, or a comparison of the same models on the same images."""
        try:
            found = read_json(folder / JSON)
            places = {name: model["place"] for name, model in found["models"].items()}
            return (places, found["images"]) == ({one.name: one.place for one in self.models}, self.images)
        except FileNotFoundError:
            return True
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return False

    def _csv(self) -> str:
        stream = io.StringIO()
        columns = {f"{one.name} {key}": part.tolist() for one in self.models for key, part in one.errors.values.items()}
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["image", *columns])
        for row in range(len(self.models[0].errors)):
            # of a file that is no UTF-8
            name = self._name(row).encode("utf-8", "backslashreplace").decode()
            writer.writerow([name, *(repr(values[row]) for values in columns.values())])
        return stream.getvalue()

    def _name(self, row: int) -> str:
        return self.names[row] if self.names else str(row)

    # to be read

    def __repr__(self) -> str:
        parts = [
            f"  {self.images}\n  {_HOW}",
            _indented(self._numbers(), range(1, len(self.models) + 1)),
            "  * better than every other, at 95%" if set(self.best) & set(self._measures()) else "",
            _indented([self._difference_head(), *self._differences()], [1]) if self.pairs else "",
            _indented(self._costs(), range(2, 6)) if any(one.costs for one in self.models) else "",
            *(_indented(rows, range(1, len(rows[0]))) for rows in self._swapped()),
            f"  {self.swap.note}" if self.swap else "",
            "\n".join(f"  {note}" for note in self.notes),
        ]
        return "\n" + "\n\n".join(part for part in parts if part) + "\n"

    def _repr_html_(self) -> str:
        head, *rows = self._numbers()
        columns = range(1, len(self.models) + 1)
        stream = io.BytesIO()
        self.picture.save(stream, format="PNG")
        costs = self._costs()
        return html.joined(
            html.Markup(self.recorded._repr_html_()) if self.recorded else "",
            html.title(self.images, _HOW),
            html.table(rows, head, numbers=columns),
            html.table(list(self._differences()), self._difference_head(), numbers=(1, 2)) if self.pairs else "",
            html.table(costs[1:], costs[0], numbers=range(2, 6)) if costs else "",
            *(html.table(rows[1:], rows[0], numbers=range(1, len(rows[0]))) for rows in self._swapped()),
            html.paragraph(self.swap.note) if self.swap else "",
            *map(html.paragraph, self.notes),
            html.picture(stream.getvalue(), "", width=min(960, self.picture.width)),
        )

    def _measures(self) -> list[str]:
        return list(dict.fromkeys(name for one in self.models for name in one.numbers))

    def _numbers(self) -> list[list[str]]:
        """The table of all numbers, models in columns."""
        best = self.best
        rows = [["", *(f"{one.name}  " for one in self.models)]]
        for measure in self._measures():
            if measure == "latent_mean":
                rows.append(["latent", *(f"{one.latent}  " for one in self.models)])
            name = f"compare/{measure}"
            values = [one.numbers.get(measure) for one in self.models]
            cells = ["-" if value is None else shown(name, value) for value in values]
            marks = [" *" if best.get(measure) == one.name else "  " for one in self.models]
            rows.append([_label(name), *(cell + mark for cell, mark in zip(cells, marks, strict=True))])
        return rows

    def _difference_head(self) -> list[str]:
        return ["difference", "", f"{LEVEL:.0%} interval", "better on", ""]

    def _differences(self) -> Iterator[list[str]]:
        shown_first = [pair for pair in self.pairs if pair.measure in _PAIRED_FIRST]
        for pair in shown_first:
            name, gap = f"compare/{pair.measure}", pair.difference
            low, high = shown(name, gap.low), shown(name, gap.high)
            share = "all are equal"
            if pair.share is not None and pair.share_interval is not None:
                ends = " to ".join(f"{end:.0%}" for end in pair.share_interval)
                share = f"{pair.better} of {pair.better + pair.worse} ({ends})"
            verdict = f"{pair.best} is better" if pair.best else "no difference is shown"
            label = f"{_label(name)}: {pair.first} - {pair.second}"
            yield [label, shown(name, gap.estimate), f"[{low}, {high}]", share, verdict]

    def _costs(self) -> list[list[str]]:
        if not any(one.costs for one in self.models):
            return []
        rows = [[f"one image, {self.device}", "precision", *(", ".join(named(f"compare/{name}")) for name in _COSTS)]]
        for one in self.models:
            for cost in one.costs:
                values = [getattr(cost, name) for name in _COSTS]
                cells = (
                    [cost.note, "", "", ""]
                    if cost.note
                    else [shown(f"compare/{n}", v) for n, v in zip(_COSTS, values, strict=True)]
                )
                rows.append([f"{one.name}, {cost.size} x {cost.size}", cost.precision, *cells])
        return rows

    def _swapped(self) -> list[list[list[str]]]:
        """The tables of encoders with decoders, a head above each."""
        if self.swap is None:
            return []
        tables = [("as they are", self.swap.psnr)]
        if self.swap.scaled:
            tables.append(("scaled by one's factors, and back by the other's", self.swap.scaled))
        names = self.swap.names
        return [
            [
                [f"PSNR, dB, latents {words}", *(f"decoded by {name}" for name in names)],
                *([f"encoded by {one}", *(f"{matrix[one][other]:.2f}" for other in names)] for one in names),
            ]
            for words, matrix in tables
        ]


def _label(name: str) -> str:
    return ", ".join(filter(None, named(name)))


def _indented(rows: Sequence[Sequence[str]], numbers: Iterable[int] = ()) -> str:
    return "\n".join(f"  {line}" for line in aligned(rows, numbers))


def _plain_pair(pair: Pair) -> dict[str, Any]:
    found = asdict(pair)
    gap = found.pop("difference")
    # JSON has no infinity and no NaN
    found["difference"] = {key: value if math.isfinite(value) else None for key, value in gap.items()}
    return found


def folder_problem(folder: Path) -> str | None:
    """Why a comparison may not be written into a folder, in a line; None if it may."""
    if folder.exists() and not folder.is_dir():
        return f"out={folder}: is a file; say a folder"
    above = next(one for one in folder.absolute().parents if one.exists())
    if not above.is_dir():
        return f"out={folder}: {above} is no folder"
    there = [name for name in (JSON, PNG, CSV) if (folder / name).exists()]
    if there and not _is_own(folder):
        return f"out={folder}: has a {there[0]} that lehr compare has not made; choose another folder, or remove it"
    return None


def _is_own(folder: Path) -> bool:
    try:
        found = read_json(folder / JSON)
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("made_by") == MADE_BY
