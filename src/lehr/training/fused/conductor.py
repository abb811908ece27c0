"""Trains lanes: lets one after another go on until all wait for steps, and takes these for all of them at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence

from torch import Tensor

from lehr import randomness
from lehr.data.module import ImageDataModule
from lehr.errors import Interrupted, NonFiniteLoss
from lehr.randomness import kept_state
from lehr.signals import Remembered, give_back, put
from lehr.surroundings import hidden
from lehr.training.fused.lanes import Lane, Steps
from lehr.training.fused.program import Facts, Program, Stacked
from lehr.training.quiet import quiet


class Conductor:
    """Trains lanes.

    Args:
        works: what each lane does from start to end; called in a thread of its own.
        ended: told the number of each lane that has ended, and what has ended it where it has not recorded that itself.
        stepped: told, whenever steps were taken, of how many in all lanes together, how many lanes go on, and how many
            steps these have left.
    """

    def __init__(
        self,
        works: Sequence[Callable[[Lane], object]],
        ended: Callable[[int, BaseException | None], None],
        stepped: Callable[[int, int, int], None] = lambda taken, lanes, left: None,
    ) -> None:
        self._turn = threading.Semaphore(0)
        datasets: dict[str, ImageDataModule] = {}
        self._lanes = [Lane(work, self._turn, datasets) for work in works]
        self._ended, self._stepped = ended, stepped
        self._come = Remembered()

    def run(self) -> None:
        """Return once all have ended.

        Raises:
            Interrupted: upon a signal to end, after each lane that trains has written a checkpoint.
        """
        before = put(self._come, over_others=True)
        try:
            with hidden(), quiet(), kept_state():
                try:
                    self._run()
                except BaseException:
                    self._give_up()
                    raise
        finally:
            give_back(before)
        if self._come.signum is not None:
            raise Interrupted(self._come.signum)

    def _run(self) -> None:
        started: list[Lane] = []
        for lane in self._lanes:
            if self._come.signum is None:
                self._let(lane)
                started.append(lane)
        cohorts = _cohorts([lane for lane in started if not lane.has_ended])
        while cohorts:
            for cohort in cohorts:
                taken = cohort.advance()
                for lane in cohort.lanes:
                    if self._come.signum is not None:
                        lane.interrupt(self._come.signum)
                    if lane.asked is not None and lane.asked.is_over:
                        self._let(lane)
                cohort.lanes = [lane for lane in cohort.lanes if not lane.has_ended]
                going = [lane.asked for lane in self._lanes if lane.asked is not None]
                self._stepped(taken, len(going), sum(one.left for one in going))
            cohorts = [cohort for cohort in cohorts if cohort.lanes]

    def _give_up(self) -> None:
        """End what waits, so that no thread keeps its claim for ever: each lane goes on from its last checkpoint."""
        for lane in self._lanes:
            if lane.asked is not None:
                lane.asked.error = Interrupted(self._come.signum or signal.SIGTERM)
                lane.go_on()

    def _let(self, lane: Lane) -> None:
        lane.go_on()
        if lane.has_ended:
            self._ended(self._lanes.index(lane), lane.problem)


class Cohort:
    """Lanes that take the same steps.

    Args:
        lanes: which stand at the same step.
    """

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self.lanes = list(lanes)
        self._program: Program | None = None
        self._members: list[Lane] = []

    def advance(self) -> int:
        """Take as many steps as all lanes have asked for; how many that were, of all together."""
        asked = [lane.asked for lane in self.lanes if lane.asked is not None]
        try:
            if self._program is None or self._members != self.lanes:
                self._program, self._members = Program([one.module for one in asked]), list(self.lanes)
            number = min(len(one.batches) for one in asked)
            for i in range(number):
                _step(self._program, asked, i)
        except Exception as error:  # which each of them is to record
            for one in asked:
                one.error = one.error or error
            return 0
        for one in asked:
            one.taken(number)
        return number * sum(one.error is None for one in asked)


def _step(program: Program, asked: Sequence[Steps], i: int) -> None:
    """Take the step that is the `i`th of those that were asked for."""
    first, batches = asked[0], [one.batches[i] for one in asked]
    step, number, total = first.step + i, first.counter + i, batches[0].total
    is_last = any(i + 1 == len(one.batches) for one in asked)
    images = Stacked.of([batch.key for batch in batches], lambda lane: batches[lane].fetch().images)
    shape = program.noise_shape(images.tensor[:1] if images.shared else images.tensor[0, :1])

    def noise(lane: int) -> Tensor:
        module = asked[lane].module
        return randomness.normal(module.seed, "posterior", number, (total, *shape), module.device)

    taken = program.step(
        images,
        Stacked.of([one.module.seed for one in asked], noise),
        [one.module.rate_term.values(step) for one in asked],
        Facts(step, total, first.module.n_train, is_last),
        [one.error is not None for one in asked],
    )
    for lane, one in enumerate(asked):
        if one.error is None and (is_last or not taken.finite[lane]):
            one.result = result = taken.of(lane)
            try:
                one.module.finite.check(tuple(result.terms), result.values, step, result.kl_weight)
            except NonFiniteLoss as error:
                one.error = error


def _cohorts(lanes: Sequence[Lane]) -> list[Cohort]:
    """Lanes that stand at the same step together, of as many training images.

    How many of some classes (`data.train_on`) are left for training hangs on the seed, and nobody knows before.
    """
    found: dict[tuple[int, int, int], list[Lane]] = {}
    for lane in lanes:
        assert lane.asked is not None
        asked = lane.asked
        found.setdefault((asked.step, asked.counter, asked.module.n_train), []).append(lane)
    return [Cohort(members) for members in found.values()]
