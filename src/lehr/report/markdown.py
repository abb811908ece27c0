"""A report as Markdown, its charts as PNG in a folder beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from lehr.errors import CheckpointError
from lehr.files import replacing, write_text
from lehr.report import vega
from lehr.report.document import Chart, Commands, Document, Link, Paragraph, Part, Picture, RunsTable, Table, flat

_SUFFIX = {"image/png": ".png", "image/gif": ".gif", "image/webp": ".webp"}


def write_markdown(document: Document, file: Path, folder: Path) -> None:
    """Write the report, and what it shows into `folder`, which is beside it.

    Raises:
        CheckpointError: where something lies under a name in `folder` that no report beside it shows.
    """
    lines = [f"<!-- lehr report -->\n# {_text(document.title)}\n", f"{_text(document.note)}\n"]
    kept: dict[str, bytes] = {}
    lines += _parts(document.verdict, folder, kept)
    for section in document.sections:
        if own := list(_parts(section.parts, folder, kept)):  # small pictures across a grid are for pages alone
            lines += [f"## {_text(section.title)}\n", *own]
    if not file.exists() and (other := next((one for name in kept if (one := folder / name).exists()), None)):
        raise CheckpointError(f"{other}: is there, but no {file.name} that shows it; move it away, or say out=FILE")
    write_text(file, "\n".join(lines))  # first: with it, all under these names is its own
    for name, content in kept.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)


def _parts(parts: Sequence[Part], folder: Path, kept: dict[str, bytes]) -> Iterator[str]:
    """The lines of the parts; what they show is put into `kept`, by name."""
    for part in flat(parts):
        match part:
            case Paragraph():
                yield f"{_text(part.text)}\n"
            case Commands():
                yield f"{_text(part.caption)}\n\n```\n" + "\n".join(part.lines) + "\n```\n"
            case Table():
                yield _table(part.head, part.rows, part.numbers) + (
                    f"\n{_text(part.caption)}\n" if part.caption else ""
                )
            case RunsTable():
                head = ("run", "state", *part.keys, *(name for name, _ in part.metrics))
                rows = [(name, *row) for name, row in zip(part.names, part.rows, strict=True)]
                yield _table(head, rows, frozenset(range(2, len(head))))
            case Chart():
                kept[f"{part.name}.png"] = vega.png(part.spec)
                yield (
                    _image(folder, f"{part.name}.png", part.title) + f"\n*{_text(part.title)}. {_text(part.caption)}*\n"
                )
            case Picture() if part.file is not None:
                yield f"![{_text(part.caption)}]({quote(part.file)})\n\n*{_text(part.caption)}*\n"
            case Picture():
                name = f"{part.name}{_SUFFIX[part.mime]}"
                kept[name] = part.image
                yield _image(folder, name, part.caption) + f"\n*{_text(part.caption)}*\n"


def _image(folder: Path, name: str, caption: str) -> str:
    return f"![{_text(caption)}]({quote(folder.name)}/{quote(name)})\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str | Link]], numbers: frozenset[int]) -> str:
    marks = ["---:" if i in numbers else ":---" for i in range(len(head))]
    lines = [list(map(_cell, head)), marks, *([_cell(value) for value in row] for row in rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _cell(value: str | Link) -> str:
    if isinstance(value, Link):
        return f"[{_cell(value.text)}]({value.href})"
    return _text(value).replace("|", "\\|")


def _text(text: str) -> str:
    """Words that stay words: nothing in them is taken for markup."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{c}" if c in "\\`*_[]#" else c for c in text)
