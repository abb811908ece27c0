"""A sweep from its points to its table: what is done is skipped, what was interrupted goes on, and the rest is trained.

Any number of processes may do this on one directory at the same time: who trains which point is settled by claims.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lehr.run.status import DONE, FAILED, RUNNING
from lehr.signals import ending_in_order
from lehr.sweeps.directory import ENDED, SweepDirectory
from lehr.sweeps.launching import Jobs, Launcher, Paced
from lehr.sweeps.point import Point
from lehr.sweeps.view import View

if TYPE_CHECKING:
    from lehr.sweeps.search import Search

_ATTEMPTS = 2  # at a point that ends interrupted although nobody has stopped the sweep


def run_grid(
    directory: SweepDirectory, points: Sequence[Point], states: Sequence[str], launcher: Launcher, retry: bool = False
) -> None:
    """Train what is left to do of `points`.

    Args:
        directory: where they lie.
        points: without repetitions.
        states: of each, as of `SweepDirectory.state`.
        launcher: trains them.
        retry: whether to train again what has failed.

    Raises:
        DiskFull: as soon as a point has stopped for want of space.
        Interrupted: upon a signal to end, after what runs has been stopped in order.
    """
    over = (DONE,) if retry else (DONE, FAILED)
    todo = [point for point, state in zip(points, states, strict=True) if state not in over]
    if todo:
        with _watched(len(points), Counter(state for state in states if state in over), launcher) as view:
            queue = _Queue(directory, todo, view)
            launcher.launch(queue.jobs(), queue.finished)


def run_search(search: Search, launcher: Launcher) -> None:
    """Train the trials of `search`.

    Raises:
        DiskFull, Interrupted: as `run_grid`.
    """
    with _watched(search.wanted, search.ended, launcher) as view:

        def jobs() -> Jobs:
            for run_dir in search.jobs():
                if run_dir is not None:
                    view.started(run_dir)
                yield run_dir

        def finished(run_dir: Path) -> None:
            view.ended(run_dir)
            search.finished(run_dir)

        launcher.launch(jobs(), finished)


@contextmanager
def _watched(total: int, before: Counter[str], launcher: Launcher) -> Iterator[View]:
    view = View(total, before, launcher.pace if isinstance(launcher, Paced) else None)
    try:
        with ending_in_order():
            yield view
    finally:
        view.close()


class _Queue:
    """Hands out points, each to one process at a time, until all have ended, here or elsewhere."""

    def __init__(self, directory: SweepDirectory, points: Sequence[Point], view: View) -> None:
        self._directory = directory
        self._waiting = list(reversed(points))
        self._elsewhere: list[Point] = []  # another sweep on this directory is at them
        self._handed_out: dict[Path, Point] = {}
        self._attempts: Counter[str] = Counter()
        self._view = view

    def jobs(self) -> Jobs:
        while self._waiting or self._handed_out or self._elsewhere:
            if not self._waiting:
                self._look_elsewhere()
            if not self._waiting:
                yield None
                continue
            point = self._waiting.pop()
            run_dir = self._directory.prepare(point)
            if self._directory.state(point) in (RUNNING, DONE):  # another sweep on this directory has been faster
                self._elsewhere.append(point)
                continue
            self._handed_out[run_dir] = point
            self._view.started(run_dir)
            yield run_dir

    def finished(self, run_dir: Path) -> None:
        point = self._handed_out.pop(run_dir)
        self._view.ended(run_dir)
        state = self._directory.state(point)
        if state == RUNNING:
            self._elsewhere.append(point)
        elif state not in ENDED:
            self._attempts[point.id] += 1
            if self._attempts[point.id] < _ATTEMPTS:
                self._waiting.append(point)

    def _look_elsewhere(self) -> None:
        """Take back what another process has given up."""
        points, self._elsewhere = self._elsewhere, []
        for point in points:
            state = self._directory.state(point)
            if state == RUNNING:
                self._elsewhere.append(point)
            elif state in ENDED:
                self._view.ended_elsewhere(state)
            else:
                self._waiting.append(point)
