"""What a report says, whatever it is written as: sections of words, tables, charts and pictures.

A chart is a Vega-Lite specification, plain data (https://vega.github.io/vega-lite): one that people may look at with
a pointer in a page is the same that is drawn for a file. `page`, `markdown` and `poster` turn a `Document` into files.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

Spec = dict[str, Any]


def mime_of(image: bytes) -> str:
    """Which of PNG, GIF and WebP it is."""
    if image.startswith(b"\x89PNG"):
        return "image/png"
    return "image/gif" if image.startswith(b"GIF8") else "image/webp"


def data_url(image: bytes) -> str:
    """An image within a page."""
    return f"data:{mime_of(image)};base64,{base64.b64encode(image).decode('ascii')}"


@dataclass(frozen=True)
class Link:
    """Paragraph that lead somewhere: `href` is relative to the file of the report."""

    text: str
    href: str


@dataclass(frozen=True)
class Paragraph:
    """A paragraph."""

    kind: ClassVar[str] = "paragraph"
    text: str


@dataclass(frozen=True)
class Commands:
    """What can be typed, a line each, and what for."""

    kind: ClassVar[str] = "commands"
    lines: tuple[str, ...]
    caption: str = ""


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        head: of the columns.
        rows: of cells, each text or a `Link`.
        numbers: which columns hold numbers, and are set to the right.
        caption: what it shows.
    """

    kind: ClassVar[str] = "table"
    head: tuple[str, ...]
    rows: tuple[tuple[str | Link, ...], ...]
    numbers: frozenset[int] = frozenset()
    caption: str = ""


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        name: of its file, and where it stands in the page; unique.
        title: what it shows, in a few words.
        spec: Vega-Lite, without colours of text: `vega` adds what all charts have in common.
        caption: how to read it; with the title what is read out in its place.
        wide: whether it takes the whole width.
    """

    kind: ClassVar[str] = "chart"
    name: str
    title: str
    spec: Spec
    caption: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Picture:
    """An image: the bytes of a PNG, GIF or WebP.

    Attributes:
        name: of its file.
        image: the bytes.
        caption: what it shows.
        width: pixels that it is shown wide, at most.
        file: where it lies, relative to the directory that is reported on; None where it was made for the report.
    """

    kind: ClassVar[str] = "picture"
    name: str
    image: bytes
    caption: str = ""
    width: int = 420
    file: str | None = None

    @property
    def mime(self) -> str:
        return mime_of(self.image)


@dataclass(frozen=True)
class Row:
    """Parts side by side where there is room, else below each other."""

    kind: ClassVar[str] = "row"
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Folded:
    """Parts that are folded away below a line."""

    kind: ClassVar[str] = "folded"
    summary: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class ByMetric:
    """Parts of which those of the metric that is chosen are shown."""

    kind: ClassVar[str] = "by_metric"
    parts: Mapping[str, tuple[Part, ...]]


@dataclass(frozen=True)
class RunsTable:
    """The runs of a sweep: sorted and filtered in the page, and each unfolded to its samples and curves.

    Attributes:
        keys: that were swept.
        metrics: that have a column.
        rows: of each run the cells, as text: state, values of keys, values of metrics.
        names: of each run, its directory.
        links: to the reports of the runs that have one, by name.
    """

    kind: ClassVar[str] = "runs_table"
    keys: tuple[str, ...]
    metrics: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, ...], ...]
    names: tuple[str, ...]
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Thumbnails:
    """A matrix of small pictures, those of each kind of the runs of a sweep; `data.thumbnails` of the page holds them.

    Attributes:
        across, down: the labels of columns and rows.
        cells: by row, then by column, the name of the run; None where there is none.
        kinds: of pictures, what a person may choose from.
        images: name of the run -> kind -> picture.
    """

    kind: ClassVar[str] = "thumbnails"
    across: tuple[str, ...]
    down: tuple[str, ...]
    cells: tuple[tuple[str | None, ...], ...]
    kinds: tuple[tuple[str, str], ...]
    images: Mapping[str, Mapping[str, Picture]]
    corner: str = ""


Part = Paragraph | Commands | Table | Chart | Picture | Row | Folded | ByMetric | RunsTable | Thumbnails


@dataclass(frozen=True)
class Section:
    """A part of a report under a heading of its own; `name` is where it stands in the page."""

    name: str
    title: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Document:
    """A report.

    Attributes:
        title: what is reported on.
        note: what state that is in, and when it was.
        verdict: what it comes to, a sentence or a few each.
        sections: in their order.
        metrics: what a person may choose from, (name, label) each; the first is chosen. Of one run none.
        data: what the script of the page needs beside the charts; JSON.
        refresh: seconds after which the page reads itself anew; None where it is final.
    """

    title: str
    note: str
    verdict: tuple[Part, ...]
    sections: tuple[Section, ...]
    metrics: tuple[tuple[str, str], ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    refresh: int | None = None

    def charts(self) -> Iterator[Chart]:
        """All charts, in their order."""
        for section in self.sections:
            for part in flat(section.parts):
                if isinstance(part, Chart):
                    yield part


def flat(parts: Sequence[Part], metric: str | None = None) -> Iterator[Part]:
    """All parts, those within others too; of what hangs on a metric what there is of `metric`, or of the first."""
    for part in parts:
        match part:
            case Row(parts=inner) | Folded(parts=inner):
                yield from flat(inner, metric)
            case ByMetric(parts=by):
                yield from flat(by.get(metric or next(iter(by), ""), ()), metric)
            case _:
                yield part
