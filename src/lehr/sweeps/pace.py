"""How fast lanes are trained, for whoever watches a sweep that is fused."""

from __future__ import annotations

import threading
import time
from collections import deque

_WINDOW_SECONDS = 20.0
"""What has just been done is the pace of it."""


class Pace:
    """Told of steps by the thread that takes them, asked by one that draws."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done = 0
        self.reset()

    def reset(self) -> None:
        """Nothing is trained now."""
        with self._lock:
            self._left = self._lanes = 0
            self._marks = deque([(time.monotonic(), self._done)])

    def told(self, taken: int, lanes: int, left: int) -> None:
        """`taken` steps more, counted over all lanes; of the `lanes` that go on so many are `left`."""
        now = time.monotonic()
        with self._lock:
            self._done += taken
            self._lanes, self._left = lanes, left
            self._marks.append((now, self._done))
            while len(self._marks) > 2 and self._marks[1][0] < now - _WINDOW_SECONDS:
                self._marks.popleft()

    def words(self) -> list[str]:
        """Lanes and run-steps per second, to be shown beside how much is done; nothing where nothing is trained."""
        with self._lock:
            if not self._lanes:
                return []
            return [f"{self._lanes:,} lane{'s'[: self._lanes != 1]}", f"{self._rate:,.0f} run-steps/s"]

    def line(self, ended: int, total: int) -> str:
        """All that there is to say while lanes are trained; "" where none is.

        Runs that wait are taken to have as many steps as those that have begun.

        Args:
            ended: how many runs have, of the `total`; those that are no lanes now either wait.
        """
        words = self.words()
        with self._lock:
            if not words or not self._rate:
                return ""
            begun = ended + self._lanes
            left = self._left + max(0, total - begun) * (self._done + self._left) / begun
            percent = int(100 * self._done / (self._done + left))
            return f"fused {percent:3}%  {'  '.join(words)}  {on_a_clock(left / self._rate)} left"

    @property
    def _rate(self) -> float:
        """Steps of all lanes together, a second."""
        (then, before), (now, done) = self._marks[0], self._marks[-1]
        return (done - before) / (now - then) if now > then else 0.0


def on_a_clock(seconds: float) -> str:
    """A duration as 1:01 or 2:03:04."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
