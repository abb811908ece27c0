"""How points get to the processes that train them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

Jobs = Iterator[Path | None]
"""Run directories that are ready to be trained, pulled when there is room; None while there may be one later."""

Finished = Callable[[Path], None]
"""Called with the run directory of a job that has ended, in whatever state."""


class Launcher(Protocol):
    """Trains points, on this machine or elsewhere."""

    def launch(self, jobs: Jobs, finished: Finished) -> None:
        """Train every job with `runner.run_point`, and return when all have ended.

        Raises:
            DiskFull: as soon as one job has stopped for want of space.
            Interrupted: after a signal has come and all that runs has been stopped.
        """
