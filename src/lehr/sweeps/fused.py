"""The launcher `fused`: points that are one program with other numbers are trained as one, in this process.

Each is a lane of it, with a run directory like any other. What cannot be fused is trained as the pool does.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lehr.errors import DiskFull, Interrupted, in_a_line
from lehr.run.claim import is_claimed
from lehr.startup import quick_imports
from lehr.sweeps.launching import Finished, Jobs, Launcher, batches, record_end
from lehr.sweeps.pace import Pace
from lehr.sweeps.point import Point
from lehr.sweeps.runner import run_point

if TYPE_CHECKING:
    from lehr.training.fused.lanes import Lane


@dataclass(frozen=True)
class Plan:
    """What becomes of some points.

    Attributes:
        waves: lanes that are trained at the same time, one wave after another.
        groups: how many programs these are.
        others: what is not fused.
        reasons: why, and how many points of each.
    """

    waves: Sequence[Sequence[Path]]
    groups: int
    others: Sequence[Path]
    reasons: Counter[str]

    def told(self) -> str:
        """A line for each thing to say."""
        lines = []
        if self.waves:
            waves = "" if len(self.waves) == self.groups else f", in {len(self.waves):,} waves"
            lanes, programs = _count(sum(map(len, self.waves)), "run"), _count(self.groups, "program")
            lines.append(f"fused: {lanes} as {programs}{waves}")
        lines += [f"not fused: {_count(count, 'run')} with {reason}" for reason, count in self.reasons.most_common()]
        return "\n".join(lines)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


class Fused:
    """Trains points in step with each other, in this process.

    Args:
        others: trains what cannot be fused.
        lanes: the most runs of a wave.
        retry: try again what has failed before this time; as of `run_point`.
        at_once: the most points that are asked for before any of them has ended; None for all that there are.
        accelerator: in place of `trainer.accelerator`; None leaves it.
    """

    def __init__(
        self,
        others: Launcher,
        lanes: int,
        retry: str | None = None,
        at_once: int | None = None,
        accelerator: str | None = None,
    ) -> None:
        self._others, self._lanes, self._retry, self._at_once = others, lanes, retry, at_once
        self._accelerator = accelerator
        self.pace = Pace()

    def launch(self, jobs: Jobs, finished: Finished) -> None:
        for batch in batches(jobs, self._at_once):
            plan = planned(batch, self._lanes)
            print(plan.told(), file=sys.stderr, flush=True)
            for wave in plan.waves:
                self._train(wave, finished)
            if plan.others:
                self._others.launch(iter(plan.others), finished)

    def _train(self, wave: Sequence[Path], finished: Finished) -> None:
        with quick_imports():
            from lehr.training.fused.conductor import Conductor

        def ended(number: int, problem: BaseException | None) -> None:
            if isinstance(problem, DiskFull):
                full.append(problem)
            elif not isinstance(problem, Interrupted):
                if not is_claimed(wave[number]):  # else another process is at it, and no lane is to wait for that
                    record_end(wave[number], None if problem is None else in_a_line(problem))
                finished(wave[number])

        full: list[DiskFull] = []
        # one device, where `auto` would have every lane start a process for each GPU
        run = partial(run_point, retry=self._retry, own_process=False, devices=1, accelerator=self._accelerator)
        self.pace.reset()
        try:
            Conductor([partial(as_lane, run, run_dir) for run_dir in wave], ended, self.pace.told).run()
        finally:
            self.pace.reset()
        if full:
            raise full[0]


def as_lane(run: Callable[..., object], run_dir: Path, lane: Lane) -> None:
    run(run_dir, lane=lane)


def planned(run_dirs: Sequence[Path], lanes: int) -> Plan:
    """Which of these points are trained together, at most `lanes` at a time."""
    with quick_imports():
        from lehr.training.fused.kinds import kind, obstacle

    groups: dict[str, list[Path]] = {}
    others: list[Path] = []
    reasons: Counter[str] = Counter()
    for run_dir in run_dirs:
        config = Point.read(run_dir).config
        if reason := obstacle(config):
            others.append(run_dir)
            reasons[reason] += 1
        else:
            groups.setdefault(kind(config), []).append(run_dir)
    waves = [members[i : i + lanes] for members in groups.values() for i in range(0, len(members), lanes)]
    return Plan(waves, len(groups), others, reasons)
