"""What is seen of a sweep while it runs: a live line on a terminal; where there is none a line for each point."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from lehr.evaluation.catalogue import final_split
from lehr.reading import read_json
from lehr.run.claim import holder
from lehr.run.directory import RunDirectory
from lehr.run.progress_line import ProgressLine
from lehr.run.status import DONE, FAILED, PRUNED
from lehr.sweeps.directory import ENDED
from lehr.sweeps.pace import Pace, on_a_clock

_REDRAW_SECONDS = 0.5
_SAY_SECONDS = 60.0
"""From one line about lanes to the next, where none is live."""


class View:
    """Watches the points that were handed out: counts them, announces their ends, says how long the rest will take.

    Args:
        total: points of the sweep.
        before: state -> how many had ended in it before.
        pace: of lanes, where points are trained as some.
    """

    def __init__(self, total: int, before: Counter[str], pace: Pace | None = None) -> None:
        self._total, self._pace = total, pace
        self._said = time.monotonic()
        self._counts = before.copy()
        self._before = before.total()
        self._active: dict[Path, tuple[float, float]] = {}  # when it was handed out, and status.json's age then
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._line = ProgressLine("sweep", total - self._before, keep=True)
        self._thread = threading.Thread(target=self._watch, name="view", daemon=True)
        self._thread.start()

    def started(self, run_dir: Path) -> None:
        """A point was handed out."""
        with self._lock:
            self._active[run_dir] = time.monotonic(), _written(run_dir)

    def ended(self, run_dir: Path) -> None:
        """A point was handed back, in whatever state."""
        with self._lock:
            self._look(run_dir)
            self._active.pop(run_dir, None)

    def ended_elsewhere(self, state: str) -> None:
        """Another process has brought a point to its end."""
        with self._lock:
            self._counts[state] += 1

    def close(self) -> None:
        """Draw the last state, and stop."""
        self._stopped.set()
        self._thread.join()
        self._draw()
        self._line.close()

    def _watch(self) -> None:
        while not self._stopped.wait(_REDRAW_SECONDS):
            with self._lock:
                for run_dir in list(self._active):
                    self._look(run_dir)
            self._say_pace()
            self._draw()

    def _say_pace(self) -> None:
        """A line about lanes now and then, whose ends all come at once."""
        if self._line.is_live or self._pace is None or time.monotonic() < self._said + _SAY_SECONDS:
            return
        self._said = time.monotonic()
        with self._lock:
            ended = self._counts.total() - self._before
        if line := self._pace.line(ended, self._total - self._before):
            self._line.say(line)

    def _look(self, run_dir: Path) -> None:
        """Announce the end of a point if it has come; a failure of an earlier attempt is not one of this."""
        if run_dir not in self._active:
            return
        started, written = self._active[run_dir]
        if _written(run_dir) == written:
            return
        status = RunDirectory(run_dir).read_status()
        if (state := str(status.get("state"))) not in ENDED:
            return
        del self._active[run_dir]
        self._counts[state] += 1
        if not self._line.is_live or state == FAILED:
            # what waits for a lane was handed out long before it began
            n, seconds = self._counts.total(), min(time.monotonic() - started, _seconds(status))
            what = f"{state:<6} {run_dir.name}  {_outcome(run_dir, state)}  {on_a_clock(seconds)}"
            self._line.say(f"[{n}/{self._total}] {what}")

    def _draw(self) -> None:
        if not self._line.is_live:
            return
        with self._lock:
            active, counts = list(self._active), self._counts.copy()
        running = [held.fraction or 0.0 for run_dir in active if (held := holder(run_dir)) and held.alive]
        done = counts.total()
        words = [
            f"{counts[DONE]} done",
            *([f"{counts[FAILED]} failed"] if counts[FAILED] else []),
            *([f"{counts[PRUNED]} pruned"] if counts[PRUNED] else []),
            f"{len(running)} running",
            f"{self._total - done - len(running)} waiting",
            *(self._pace.words() if self._pace else []),
        ]
        self._line.show(done - self._before + sum(running), ", ".join(words))


def _written(run_dir: Path) -> float:
    try:
        return RunDirectory(run_dir).status.stat().st_mtime
    except OSError:
        return 0.0


def _seconds(status: Mapping[str, Any]) -> float:
    """How long a run has been trained; infinity where it does not say so."""
    try:
        began, ended = (datetime.fromisoformat(status[name]) for name in ("started", "finished"))
        return (ended - began).total_seconds()
    except (KeyError, TypeError, ValueError):
        return math.inf


def _outcome(run_dir: Path, state: str) -> str:
    """What to say of a point that has ended: its ELBO, or what went wrong."""
    directory = RunDirectory(run_dir)
    if state != DONE:
        return str(directory.read_status().get("error") or "")
    try:
        metrics = read_json(directory.metrics)
        split = final_split(metrics)
        return f"{split} ELBO {metrics[f'{split}/elbo']:.2f}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
