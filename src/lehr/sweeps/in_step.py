"""Trains points that are lanes of one program, in this process, as room for them comes free."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lehr.errors import DiskFull, Interrupted, TakenOver, in_a_line
from lehr.startup import quick_imports
from lehr.sweeps.launching import Finished, Jobs, record_end
from lehr.sweeps.runner import run_point

if TYPE_CHECKING:
    from lehr.training.fused.lanes import Lane

Stepped = Callable[[int, int, int], None]
"""Told how many steps were taken in all lanes together, how many lanes go on, and how many steps these have left."""


def train_in_step(
    jobs: Jobs,
    finished: Finished,
    stepped: Stepped,
    room: int,
    retry: str | None = None,
    accelerator: str | None = None,
) -> None:
    """Train `jobs`, all of one kind; see `Launcher.launch`.

    Args:
        jobs: pulled when there is room.
        finished: told of each that has ended.
        stepped: told of steps.
        room: the most lanes at the same time.
        retry, accelerator: as of `run_point`.
    """
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
            elif problem is not None:  # or else the run has said how it has ended
                record_end(run_dir, in_a_line(problem))
            finished(run_dir)

    begun: list[Path] = []
    full: list[DiskFull] = []
    # one device, where `auto` would have every lane start a process for each GPU
    run = partial(run_point, retry=retry, own_process=False, devices=1, accelerator=accelerator)
    conductor = Conductor(works(), ended, stepped, room)
    conductor.run()
    if full:
        raise full[0]


def as_lane(run: Callable[..., object], run_dir: Path, lane: Lane) -> None:
    run(run_dir, lane=lane)
