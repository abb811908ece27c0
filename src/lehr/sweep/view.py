"""What is seen of a sweep while it runs: a live line on a terminal, and a line for each point that ends."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from pathlib import Path

from lehr.sweep.directory import ENDED
from lehr.training.claim import holder
from lehr.training.directory import DONE, FAILED, RUNNING, RunDirectory
from lehr.training.progress_line import ProgressLine

_REDRAW_SECONDS = 0.5


class View:
    """Counts points by their state, and says how long the rest will take.

    Args:
        total: points of the sweep.
        before: state -> how many were in it at the start.
    """

    def __init__(self, total: int, before: Counter[str]) -> None:
        self._total = total
        self._counts = Counter({state: before[state] for state in ENDED})
        self._done_before = sum(self._counts.values())
        self._active: dict[Path, float] = {}  # run directory -> when it was handed out
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._line = ProgressLine("sweep", total - self._done_before, keep=True)
        self._thread = threading.Thread(target=self._redraw, name="view", daemon=True)
        if self._line.is_live:
            self._thread.start()

    def started(self, run_dir: Path) -> None:
        """A point was handed out."""
        with self._lock:
            self._active[run_dir] = time.monotonic()

    def ended(self, run_dir: Path, state: str) -> None:
        """A point has ended, or is another process's."""
        with self._lock:
            started = self._active.pop(run_dir, time.monotonic())
            if state not in ENDED:
                return
            self._counts[state] += 1
            n = sum(self._counts.values())
        seconds = time.monotonic() - started
        text = f"[{n}/{self._total}] {state:<6} {run_dir.name}  {_outcome(run_dir, state)}  {_duration(seconds)}"
        if not self._line.is_live or state == FAILED:
            self._line.say(text)

    def close(self) -> None:
        """Draw the last state, and stop."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
            self._draw()
        self._line.close()

    def _redraw(self) -> None:
        while not self._stopped.wait(_REDRAW_SECONDS):
            self._draw()

    def _draw(self) -> None:
        with self._lock:
            active, counts = list(self._active), self._counts.copy()
        parts = [held.fraction or 0.0 for run_dir in active if (held := holder(run_dir)) and held.alive]
        done = sum(counts.values())
        words = [f"{counts[state]} {state}" for state in ENDED if counts[state] or state in (DONE, FAILED)]
        words.insert(1, f"{len(active)} {RUNNING}")
        words.insert(2, f"{self._total - done - len(active)} waiting")
        self._line.show(done - self._done_before + sum(parts), ", ".join(words))


def _outcome(run_dir: Path, state: str) -> str:
    """What to say of a point that has ended: its ELBO, or what went wrong."""
    directory = RunDirectory(run_dir)
    try:
        if state == DONE:
            metrics = json.loads(directory.metrics.read_text(encoding="utf-8"))
            split = "test" if "test/elbo" in metrics else "val"
            return f"{split} ELBO {metrics[f'{split}/elbo']:.2f}"
        return str(json.loads(directory.status.read_text(encoding="utf-8")).get("error") or "")
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
