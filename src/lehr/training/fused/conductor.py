"""Trains lanes: lets one after another go on until all wait for steps, and takes these for all of them at once.

A lane that ends leaves its place to another run. The new one begins its first epoch while the others are at later ones:
it waits until they begin an epoch too, and from there on they stand at the same place of it, whatever step each is at.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable
from types import FrameType

from lehr.data.module import ImageDataModule
from lehr.errors import Interrupted
from lehr.randomness import kept_state
from lehr.signals import Remembered, give_back, put
from lehr.surroundings import hidden
from lehr.training.fused.cohort import Cohort
from lehr.training.fused.lanes import Lane
from lehr.training.quiet import quiet

Work = Callable[[Lane], object]
"""What a lane does from start to end; called in a thread of its own."""
_LOOK_SECONDS = 1.0


class Conductor:
    """Trains lanes, all of one kind.

    Args:
        works: what is to be trained, pulled when there is room for a lane; None while there may be something later.
        ended: told the number of each lane that has ended, in the order in which they came, and what has ended it where
            it has not recorded that itself.
        stepped: told, whenever steps were taken, of how many in all lanes together, how many lanes go on, and how many
            steps these have left.
        room: the most lanes at the same time; None for all that there are.
        datasets: what others have read, as of `Lane`; to which these add.
    """

    def __init__(
        self,
        works: Iterable[Work | None],
        ended: Callable[[int, BaseException | None], None],
        stepped: Callable[[int, int, int], None] = lambda taken, lanes, left: None,
        room: int | None = None,
        datasets: dict[str, ImageDataModule] | None = None,
    ) -> None:
        self._works, self._ended, self._stepped, self._room = iter(works), ended, stepped, room
        self._turn = threading.Semaphore(0)
        self._datasets = {} if datasets is None else datasets
        self._lanes: list[Lane] = []
        self._cohorts: dict[int, Cohort] = {}
        self._come = Remembered()
        self._is_stopping = self._is_empty = False
        self._begun = 0
        self._look_at = 0.0

    def run(self) -> None:
        """Return once all have ended.

        Raises:
            Interrupted: upon a signal to end, after each lane that trains has written a checkpoint.
        """
        before = put(self._remember, over_others=True)
        try:
            with hidden(), quiet(), kept_state():
                try:
                    while self._fill():
                        self._advance()
                except BaseException:
                    self._give_up()
                    raise
        finally:
            give_back(before)
        if self._come.signum is not None:
            raise Interrupted(self._come.signum)

    def _remember(self, signum: int, frame: FrameType | None) -> None:
        """Also the lane that is at its end, whose evaluation may take its time, is to hear of a signal now."""
        self._come(signum, frame)
        for lane in self._lanes:
            lane.interrupt(signum)

    def stop(self) -> None:
        """Let each lane write a checkpoint and end, and begin no other."""
        self._is_stopping = True

    @property
    def _signum(self) -> int | None:
        """Of the signal that lanes are to end after."""
        return self._come.signum or (signal.SIGTERM if self._is_stopping else None)

    def _fill(self) -> bool:
        """Begin lanes while there is room and something to train: whether any is under way."""
        while self._signum is None and not self._is_empty and len(self._lanes) != self._room:
            if (seconds := self._look_at - time.monotonic()) > 0:
                if self._lanes:
                    break
                time.sleep(seconds)
            try:
                work = next(self._works)
            except StopIteration:
                self._is_empty = True
                break
            if work is None:
                self._look_at = time.monotonic() + _LOOK_SECONDS
                continue
            self._lanes.append(Lane(work, self._turn, self._datasets, self._begun))
            self._begun += 1
            self._let(self._lanes[-1])
        return bool(self._lanes)

    def _advance(self) -> None:
        """Take the steps that are to be taken next, and let the lanes that have waited for no more go on."""
        alike: dict[int, list[Lane]] = {}
        for lane in self._lanes:
            alike.setdefault(lane.steps.module.n_train, []).append(lane)
        # how many of some classes (`data.train_on`) are left for training hangs on the seed, and nobody knows before
        self._cohorts = {n_train: self._cohorts.get(n_train, Cohort()) for n_train in alike}
        taken = sum(self._cohorts[n_train].advance(lanes) for n_train, lanes in alike.items())
        for lane in list(self._lanes):
            if self._signum is not None:
                lane.interrupt(self._signum)
            if lane.steps.is_over:
                self._let(lane)
        self._stepped(taken, len(self._lanes), sum(lane.steps.left for lane in self._lanes))

    def _let(self, lane: Lane) -> None:
        lane.go_on()
        if lane.has_ended:
            self._lanes.remove(lane)
            self._look_at = 0.0
            self._ended(lane.number, lane.problem)

    def _give_up(self) -> None:
        """End what waits, so that no thread keeps its claim for ever: each lane goes on from its last checkpoint."""
        for lane in self._lanes:
            if lane.asked is not None:
                lane.asked.error = Interrupted(self._come.signum or signal.SIGTERM)
                lane.go_on()
