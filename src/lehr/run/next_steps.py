"""What to try next with the run in a directory."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from lehr.errors import CheckpointError
from lehr.evaluation.advice import Advice, Findings, advise
from lehr.reading import read_fields
from lehr.run.directory import RunDirectory
from lehr.run.history import read_history
from lehr.run.status import DONE
from lehr.tensors import MODEL

_SHORTENED = ("overfit", "fast")
"""Of `debug`: trainings that are to find mistakes, not to end in a model."""


def advice_of(directory: RunDirectory) -> list[Advice]:
    """At most three pieces of advice, see `lehr.evaluation.advice`; none where a run is not done, or not to be read."""
    status = directory.read_status()
    if status.get("state") != DONE:
        return []
    evaluation = read_fields(directory.evaluation())
    if evaluation.get(MODEL) not in (None, status.get(MODEL)):
        evaluation = {}
    try:
        config = directory.read_config()
        if config.get("debug") in _SHORTENED:
            return []
        return advise(
            Findings(
                run=str(directory.path),
                config=config,
                metrics=read_fields(directory.metrics),
                evaluation=evaluation,
                curves=_curves(directory.history),
                n_train=_training_examples(directory),
            )
        )
    except (CheckpointError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return []  # a directory that somebody else has written is not what a run holds


def _curves(path: Path) -> list[dict[str, Any]]:
    with suppress(OSError, ValueError):
        return read_history(path)
    return []


def _training_examples(directory: RunDirectory) -> int | None:
    with suppress(KeyError, TypeError, ValueError):
        return int(directory.read_data()["splits"]["train"]["n"])
    return None
