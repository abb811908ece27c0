"""loggers.json: which loggers have written of the run, each with what it needs to go on: {"wandb": {"id": ...}}.

What they have left in the run directory is known by it: files of the same names that others put there are not lehr's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lehr.files import write_json
from lehr.reading import read_json

LOGGERS = "loggers.json"


def logger_records(directory: Path) -> dict[str, dict[str, Any]]:
    """Each logger of the run in `directory` with what it has recorded; nothing where the file is missing or damaged."""
    try:
        found = read_json(directory / LOGGERS)
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: record for name, record in found.items() if isinstance(record, dict)}


def record_logger(directory: Path, name: str, record: Mapping[str, Any]) -> None:
    """Note that the logger `name` writes of the run in `directory`, and what it needs to go on."""
    known = logger_records(directory)
    if known.get(name) != record:
        write_json(directory / LOGGERS, {**known, name: dict(record)})
