"""The launcher `fused`: points that are one program with other numbers are trained as one.

Each is a lane of it, with a run directory like any other. What cannot be fused is trained as the pool does.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from lehr.sweeps import processes
from lehr.sweeps.in_step import train_in_step
from lehr.sweeps.launching import WAIT_SECONDS, Finished, Jobs, Launcher
from lehr.sweeps.pace import Pace
from lehr.sweeps.sizes import Sizes
from lehr.sweeps.slots import Slot
from lehr.sweeps.waiting import Plan, Waiting
from lehr.sweeps.workers import Workers


class Fused:
    """Trains points in step with each other.

    Args:
        others: trains what cannot be fused.
        slots: in each of which some of the points are trained, in a process of its own; in this one, where it is one.
        sizes: how many runs of a program are trained at the same time, if they are not left to `others`.
        retry: try again what has failed before this time; as of `run_point`.
        at_once: the most points that are asked for before any of them has ended; None for all that there are.
        accelerator: in place of `trainer.accelerator`; None leaves it.
    """

    def __init__(
        self,
        others: Launcher,
        slots: Sequence[Slot],
        sizes: Sizes,
        retry: str | None = None,
        at_once: int | None = None,
        accelerator: str | None = None,
    ) -> None:
        self._others, self._slots, self._sizes = others, slots, sizes
        self._retry, self._at_once, self._accelerator = retry, at_once, accelerator
        self.pace = Pace()

    def launch(self, jobs: Jobs, finished: Finished) -> None:
        if len(self._slots) > 1:
            processes.template(self._slots[0].threads)  # it imports meanwhile
        waiting = Waiting(jobs, self._at_once, _Teller(self._sizes))

        def ended(run_dir: Path) -> None:
            waiting.ended()
            finished(run_dir)

        while True:
            waiting.pull()
            if kinds := waiting.faster(self._sizes):
                self._train(kinds[0], waiting, ended)
            elif waiting.is_over:
                return
            else:
                time.sleep(WAIT_SECONDS)

    def _train(self, kind: str | None, waiting: Waiting, ended: Finished) -> None:
        """Train what waits, of this kind at least."""
        if kind is None:
            self._others.launch(waiting.of(kind), ended)
            return
        train = partial(train_in_step, retry=self._retry, accelerator=self._accelerator)
        self.pace.reset()
        try:
            if len(self._slots) > 1:
                Workers(self._slots, self._sizes, train).launch(waiting, ended, self.pace.told)
            else:
                train(waiting.of(kind), ended, self.pace.told, room=self._sizes.of(kind, waiting.members(kind)).lanes)
        finally:
            self.pace.reset()


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
