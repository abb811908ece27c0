"""history.jsonl as one of Lightning's loggers."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext, suppress

from torch import Tensor

from lehr.run.history import History
from lehr.training.loggers.run_logger import RunLogger


class HistoryLogger(RunLogger):
    """Writes what is logged into the history of a run.

    Args:
        history: of the run.
    """

    def __init__(self, history: History) -> None:
        super().__init__()
        self.history = history

    @property
    def name(self) -> str:
        return "history"

    @property
    def version(self) -> str:
        return ""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.history.add(step or 0, metrics)

    def log_point(self, metrics: Mapping[str, float], vectors: Mapping[str, Tensor], images_seen: int) -> None:
        self.history.add(images_seen, metrics, {name: values.tolist() for name, values in vectors.items()})

    def save(self) -> None:
        self.history.flush()

    def finalize(self, status: str) -> None:
        # what ended a training that failed may be a full disk, and is said already
        with suppress(OSError) if status == "failed" else nullcontext():
            self.history.close()
