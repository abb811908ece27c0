"""What a run is made of: its configuration, what of it differs from the defaults, and what makes it again."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from lehr.config.command import train_words
from lehr.evaluation.next_command import Commands as Typed
from lehr.report.document import Commands, Folded, Paragraph, Part, Table
from lehr.report.reading import RunFiles


def changed(files: RunFiles) -> list[str]:
    """The words of `lehr train` that the run differs from the defaults by; what nobody can type is left out."""
    return (train_words(files.config) or []) if files.config else []


def configuration(files: RunFiles) -> Iterator[Part]:
    """What differs from the defaults, then everything."""
    if not files.config:
        yield Paragraph("config.yaml is missing, or cannot be read.")
        return
    words = train_words(files.config)
    if words is None:
        yield Paragraph(
            "A component is not of the shipped ones, so that what differs from the defaults cannot be said."
        )
    elif words:
        rows = tuple((key, value) for key, _, value in (word.partition("=") for word in words))
        yield Table(("key", "value"), rows, caption="What differs from the defaults.")
    else:
        yield Paragraph("Every value is the default.")
    text = yaml.safe_dump(files.config, sort_keys=False, allow_unicode=True)
    yield Folded("The whole configuration", (Commands(tuple(text.rstrip().split("\n")), "config.yaml"),))


def provenance(files: RunFiles) -> Iterator[Part]:
    """Code, machine, seed and data of the run, and the command that makes it again."""
    status, data = files.status, files.data
    rows = [
        ("directory", str(files.path)), ("commit", status.get("git_commit")), ("host", status.get("host")),
        ("started", status.get("started")), ("finished", status.get("finished")), ("seed", files.config.get("seed")),
        ("model", status.get("model")), ("data", data.get("name")),
    ]  # fmt: skip
    splits = data.get("splits")
    for name, split in splits.items() if isinstance(splits, dict) else ():
        if isinstance(split, dict):
            rows.append((f"digest of {name}", f"{split.get('digest')} ({split.get('n')} images)"))
    versions = status.get("versions")
    rows += [(f"version of {name}", text) for name, text in versions.items()] if isinstance(versions, dict) else []
    yield Table(("", ""), tuple((name, str(value)) for name, value in rows if value is not None))
    if files.config:
        yield Commands((Typed(str(files.path), files.config).again(),), "One command makes it again, beside this run:")
