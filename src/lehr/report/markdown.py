"""A report as Markdown, its charts as PNG in a folder beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from lehr.files import replacing, write_text
from lehr.report import vega
from lehr.report.document import Chart, Commands, Document, Link, Paragraph, Part, Picture, RunsTable, Table, flat

_SUFFIX = {"image/png": ".png", "image/gif": ".gif", "image/webp": ".webp"}


def write_markdown(document: Document, file: Path, folder: Path) -> None:
    """Write the report, and what it shows into `folder`, which is beside it."""
    lines = [f"<!-- lehr report -->\n# {_text(document.title)}\n", f"{_text(document.note)}\n"]
    lines += _parts(document.verdict, folder)
    for section in document.sections:
        lines.append(f"## {_text(section.title)}\n")
        lines += _parts(section.parts, folder)
    write_text(file, "\n".join(lines))


def _parts(parts: Sequence[Part], folder: Path) -> Iterator[str]:
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
                _keep(folder / f"{part.name}.png", vega.png(part.spec))
                yield (
                    _image(folder, f"{part.name}.png", part.title) + f"\n*{_text(part.title)}. {_text(part.caption)}*\n"
                )
            case Picture() if part.file is not None:
                yield f"![{_text(part.caption)}]({quote(part.file)})\n\n*{_text(part.caption)}*\n"
            case Picture():
                name = f"{part.name}{_SUFFIX[part.mime]}"
                _keep(folder / name, part.image)
                yield _image(folder, name, part.caption) + f"\n*{_text(part.caption)}*\n"


def _keep(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)


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
