"""How points get to the processes that train them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lehr.run.claim import is_claimed
from lehr.run.directory import RunDirectory
from lehr.run.status import DONE, FAILED, RUNNING, lacks_evaluation
from lehr.sweeps.directory import ENDED
from lehr.sweeps.pace import Pace
from lehr.sweeps.point import Point
from lehr.sweeps.runner import LOG

FILE_SECONDS = 60.0
"""Until what another machine has written is seen here: so long a client of NFS may keep what it knows of a folder."""
_LOOK_SECONDS = 0.5
WAIT_SECONDS = 1.0
"""Before it is asked once more whether there is something to do."""

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


@runtime_checkable
class Paced(Protocol):
    """A launcher that says how fast it trains."""

    pace: Pace


def batches(jobs: Jobs, at_once: int | None = None) -> Iterator[list[Path]]:
    """What there is to do, all of it or so many at once, as often as there is something."""
    batch: list[Path] = []
    for job in jobs:
        if job is not None:
            batch.append(job)
        if batch and (job is None or len(batch) == at_once):
            yield batch
            batch = []
        elif job is None:
            time.sleep(WAIT_SECONDS)
    if batch:
        yield batch


def record_end(run_dir: Path, problem: str | None = None) -> None:
    """Where the process of a job has ended without a word, let status.json say so.

    Args:
        run_dir: of the job.
        problem: what is known of its end; None if nothing is.
    """
    directory = RunDirectory(run_dir)
    status = directory.read_status() if problem else _end_seen(directory)
    if is_claimed(run_dir):  # by another process that is at it now
        return
    if status.get("state") == DONE:
        level = Point.read(run_dir).config["evaluate"]
        if problem and lacks_evaluation(status, level):
            directory.record_evaluation(level, problem)
    elif status.get("state") not in ENDED:
        if problem is None and status.get("state") == RUNNING:
            problem = f"the process ended without a word; {LOG} in the run directory may say why"
        if problem is not None:
            directory.record_end(FAILED, problem)


def _end_seen(directory: RunDirectory) -> Mapping[str, Any]:
    """status.json of a job that should have ended in order, once it says how: it may come from another machine."""
    until = time.monotonic() + FILE_SECONDS
    while (status := directory.read_status()).get("state") == RUNNING and time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)
    return status
