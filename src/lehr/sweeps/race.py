"""How long runs of one program take, fused and by the pool: foretold from a moment of each, before any is trained."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lehr.startup import quick_imports
from lehr.sweeps.pace import on_a_clock
from lehr.sweeps.probe import Enough, begin, copied
from lehr.sweeps.runner import run_point
from lehr.sweeps.slots import Slot, processes_for

if TYPE_CHECKING:
    from lehr.sweeps.probe import Datasets
    from lehr.training.fused.lanes import Lane

_SECONDS = 0.3
"""Of steps that are looked at."""
_LANES = 2, 4
"""Trained for it, fewer where steps are slow; what more of them take is reckoned from these and from one."""
_FEW_IMAGES = 5000
"""Of whose training the end is looked at too: of more images it takes its time, but less beside the steps."""


@dataclass(frozen=True)
class Race:
    """How long some runs take, in seconds."""

    fused: float
    pool: float

    def told(self) -> str:
        return f"about {on_a_clock(self.fused)} fused, {on_a_clock(self.pool)} by the pool"


@dataclass(frozen=True)
class Alone:
    """What a run takes by itself, in seconds.

    Attributes:
        step: of training, with what belongs to it: log, validation.
        rest: from the beginning to the first step and from the last to the end.
        again: the same of a run that is not the first of its process, and imports nothing more.
    """

    step: float
    rest: float
    again: float


def race(run_dirs: Sequence[Path], lanes: int, slots: Sequence[Slot], accelerator: str | None = None) -> Race | None:
    """How long these points take as so many lanes at a time, and by a pool of these slots.

    None where that is not known, as what was tried has failed.

    What a run does besides its steps the lanes of a process do one after another.
    """
    datasets: Datasets = {}
    one = _steps(run_dirs[:1], 10, accelerator, datasets)
    if one is None:
        return None
    fewest, most = _LANES
    most = min(max(fewest, min(most, int(_SECONDS / 5 / one.step))), lanes, len(run_dirs))
    at_once = max(1, int(1 / one.step / most))  # what is logged more often than it will be takes longer
    several = _steps(run_dirs[:most], at_once, accelerator, datasets) if most > 1 else one
    alone = _alone(run_dirs[0], slots[0].threads, accelerator)
    if several is None or alone is None:
        return None
    return foretold(len(run_dirs), lanes, len(slots), one, several, most, alone)


@dataclass(frozen=True)
class Steps:
    """What a step of all lanes takes in seconds, and how many a run has."""

    step: float
    number: float


def foretold(runs: int, lanes: int, workers: int, one: Steps, several: Steps, most: int, alone: Alone) -> Race:
    """How long so many runs take, where `several` is of `most` lanes.

    A step of L lanes takes a + b L: calls, which are as many for any number of lanes, and arithmetic.
    """
    at_once = processes_for(runs, workers)
    lanes = -(-min(lanes, runs) // at_once)
    each = max(0.0, several.step - one.step) / max(1, most - 1)
    together = max(one.step - each, 0.0) + each * lanes
    return Race(
        fused=math.ceil(runs / at_once) * (alone.again + one.number * together / lanes),
        pool=math.ceil(runs / workers) * (alone.rest + one.number * alone.step),
    )


def _steps(run_dirs: Sequence[Path], log_every: int, accelerator: str | None, datasets: Datasets) -> Steps | None:
    marks: list[tuple[float, float]] = []
    number = 0.0

    def stepped(lanes: Sequence[Lane], taken: int, left: int) -> None:
        nonlocal number
        if not marks:  # the first are warming up
            number = (taken + left) / len(lanes)
        marks.append((time.perf_counter(), taken / len(lanes)))
        if not left or marks[-1][0] - marks[0][0] >= _SECONDS:
            raise Enough

    begin(run_dirs, accelerator, stepped, log_every, datasets)
    if len(marks) < 2:
        return None
    return Steps((marks[-1][0] - marks[0][0]) / sum(steps for _, steps in marks[1:]), number)


def _alone(run_dir: Path, threads: int, accelerator: str | None) -> Alone | None:
    """As a process of the pool would do it, but for its start."""
    with quick_imports():
        import torch

        from lehr.training.callbacks.stopwatch import Stopwatch

    def timed(limit: float) -> tuple[Stopwatch, float]:
        watch = Stopwatch(limit, _FEW_IMAGES)
        with copied([run_dir]) as (copy,):
            began = time.perf_counter()
            run_point(copy, own_process=False, accelerator=accelerator, callbacks=(watch,))
            return watch, time.perf_counter() - began - watch.seconds

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        watch, rest = timed(_SECONDS)
        if not watch.steps:
            return None
        again = timed(0.0)[1] if watch.is_whole else rest
    finally:
        torch.set_num_threads(before)
    return Alone(watch.seconds / watch.steps, rest, min(rest, again))
