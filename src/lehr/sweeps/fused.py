"""The launcher `fused`: points that are one program with other numbers are trained as one, in this process.

Each is a lane of it, with a run directory like any other. What cannot be fused is trained as the pool does.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lehr.errors import DiskFull, Interrupted, TakenOver, in_a_line
from lehr.run.claim import is_claimed
from lehr.startup import quick_imports
from lehr.sweeps.launching import WAIT_SECONDS, Finished, Jobs, Launcher, record_end
from lehr.sweeps.pace import Pace
from lehr.sweeps.runner import run_point
from lehr.sweeps.sizes import Sizes
from lehr.sweeps.waiting import Plan, Waiting

if TYPE_CHECKING:
    from lehr.training.fused.lanes import Lane


class Fused:
    """Trains points in step with each other, in this process.

    Args:
        others: trains what cannot be fused.
        sizes: how many runs of a program are trained at the same time, if they are not left to `others`.
        retry: try again what has failed before this time; as of `run_point`.
        at_once: the most points that are asked for before any of them has ended; None for all that there are.
        accelerator: in place of `trainer.accelerator`; None leaves it.
    """

    def __init__(
        self,
        others: Launcher,
        sizes: Sizes,
        retry: str | None = None,
        at_once: int | None = None,
        accelerator: str | None = None,
    ) -> None:
        self._others, self._sizes, self._retry, self._at_once = others, sizes, retry, at_once
        self._accelerator = accelerator
        self.pace = Pace()

    def launch(self, jobs: Jobs, finished: Finished) -> None:
        waiting = Waiting(jobs, self._at_once, _Teller(self._sizes))

        def ended(run_dir: Path) -> None:
            waiting.ended()
            finished(run_dir)

        while True:
            waiting.pull()
            sizes = {kind: self._sizes.of(kind, waiting.members(kind)).lanes for kind in waiting.kinds() if kind}
            for slower in [kind for kind, lanes in sizes.items() if not lanes]:
                waiting.leave(slower)
            if kinds := waiting.kinds():
                kind, of_one = kinds[0], waiting.of(kinds[0])
                self._others.launch(of_one, ended) if kind is None else self._train(of_one, ended, sizes[kind])
            elif waiting.is_over:
                return
            else:
                time.sleep(WAIT_SECONDS)

    def _train(self, jobs: Jobs, finished: Finished, lanes: int) -> None:
        """Train points that are lanes of one program, so many at the same time, as room for them comes free."""
        with quick_imports():
            from lehr.training.fused.conductor import Conductor

        def works() -> Iterator[Callable[[Lane], object] | None]:
            for run_dir in jobs:
                if run_dir is not None:
                    begun.append(run_dir)
                yield None if run_dir is None else partial(as_lane, run, run_dir)

        def ended(number: int, problem: BaseException | None) -> None:
            run_dir = begun[number]
            if isinstance(problem, DiskFull):
                full.append(problem)
                conductor.stop()
            elif not isinstance(problem, Interrupted):
                if isinstance(problem, TakenOver):
                    print(f"lehr: {run_dir}: {problem}", file=sys.stderr)
                elif not is_claimed(run_dir):  # else another process is at it, and no lane is to wait for that
                    record_end(run_dir, None if problem is None else in_a_line(problem))
                finished(run_dir)

        begun: list[Path] = []
        full: list[DiskFull] = []
        # one device, where `auto` would have every lane start a process for each GPU
        run = partial(run_point, retry=self._retry, own_process=False, devices=1, accelerator=self._accelerator)
        conductor = Conductor(works(), ended, self.pace.told, lanes)
        self.pace.reset()
        try:
            conductor.run()
        finally:
            self.pace.reset()
        if full:
            raise full[0]


class _Teller:
    """Says what becomes of points: the first time all of it, and then only what is new."""

    def __init__(self, sizes: Sizes) -> None:
        self._sizes = sizes
        self._reasons: set[str] | None = None

    def __call__(self, plan: Plan) -> None:
        if self._reasons is None:  # later ones come while others train, when nothing can be measured
            lines = plan.told({kind: self._sizes.of(kind, members) for kind, members in plan.groups.items()})
        else:
            new = {reason: count for reason, count in plan.reasons.items() if reason not in self._reasons}
            lines = Plan({}, (), Counter(new)).told({})
        if lines:
            print(lines, file=sys.stderr, flush=True)
        self._reasons = (self._reasons or set()) | plan.reasons.keys()


def as_lane(run: Callable[..., object], run_dir: Path, lane: Lane) -> None:
    run(run_dir, lane=lane)
