"""history.jsonl as one of Lightning's loggers."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from typing import Any

from lightning.pytorch.loggers import Logger

from lehr.run.history import History


class HistoryLogger(Logger):
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

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.history.add(step or 0, metrics)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the configuration lies beside the history."""

    def save(self) -> None:
        self.history.flush()

    def finalize(self, status: str) -> None:
        # what ended a training that failed may be a full disk, and is said already
        with suppress(OSError) if status == "failed" else nullcontext():
            self.history.close()
