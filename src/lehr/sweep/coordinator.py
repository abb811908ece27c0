"""A sweep from its points to its table: what is done is skipped, what was interrupted goes on, and the rest is trained.

Any number of processes may do this on one directory at the same time: who trains which point is settled by claims.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from lehr.sweep.directory import ENDED, SweepDirectory, state_of
from lehr.sweep.launching import Jobs, Launcher
from lehr.sweep.point import Point
from lehr.sweep.view import View
from lehr.training.directory import DONE, FAILED, RUNNING

_ATTEMPTS = 2  # at a point that ends interrupted although nobody has stopped the sweep


class Stopped(BaseException):
    """A signal has stopped the sweep."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.exit_code = 128 + signum


class Sweep:
    """The points of a grid in a directory.

    Args:
        directory: where they lie.
        points: what is to be trained, without repetitions.
        retry: whether to train again what has failed.
    """

    def __init__(self, directory: SweepDirectory, points: Sequence[Point], retry: bool = False) -> None:
        self._directory = directory
        self._points = points
        self._retry = retry

    def states(self) -> list[str]:
        """The state of each point."""
        return [state_of(self._directory.run_dir(point)) for point in self._points]

    def run(self, launcher: Launcher) -> None:
        """Train what is left to do.

        Raises:
            DiskFull: as soon as a point has stopped for want of space.
            Stopped: upon SIGTERM or Ctrl-C, after what runs has been stopped in order.
        """
        over = (DONE,) if self._retry else (DONE, FAILED)
        states = self.states()
        todo = [point for point, state in zip(self._points, states, strict=True) if state not in over]
        if not todo:
            return
        view = View(len(self._points), Counter(state for state in states if state in over))
        queue = _Queue(self._directory, todo, view)
        try:
            with _signals_stop():
                launcher.launch(queue.jobs(), queue.finished)
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
            if (state := state_of(run_dir)) in (RUNNING, DONE):
                self._settle(point, run_dir, state)
                continue
            self._handed_out[run_dir] = point
            self._view.started(run_dir)
            yield run_dir

    def finished(self, run_dir: Path) -> None:
        point = self._handed_out.pop(run_dir)
        self._settle(point, run_dir, state_of(run_dir))

    def _settle(self, point: Point, run_dir: Path, state: str) -> None:
        self._view.ended(run_dir, state)
        if state == RUNNING:
            self._elsewhere.append(point)
        elif state not in ENDED:
            self._attempts[point.id] += 1
            if self._attempts[point.id] < _ATTEMPTS:
                self._waiting.append(point)

    def _look_elsewhere(self) -> None:
        points, self._elsewhere = self._elsewhere, []
        for point in points:
            run_dir = self._directory.run_dir(point)
            state = state_of(run_dir)
            if state in (RUNNING, *ENDED):
                self._settle(point, run_dir, state)
            else:
                self._waiting.append(point)


@contextmanager
def _signals_stop() -> Iterator[None]:
    """Turn SIGTERM and Ctrl-C into `Stopped`."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise Stopped(signum)

    before = {signum: signal.signal(signum, stop) for signum in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
