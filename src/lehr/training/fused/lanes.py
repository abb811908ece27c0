"""A run that is trained in step with others: a thread of its own, which waits wherever it would take a step.

A lane is a whole run: it is claimed, begun, trained by Lightning, finished and recorded by the same functions as one
that is alone. Only where its loop would take a step it asks for some and waits until they have been taken for all
lanes at once. One thread runs at a time: each hands on to the conductor, and that to the next.
"""

from __future__ import annotations

import copy
import json
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from lehr.data.loader import Awaited, Waiting
from lehr.data.module import ImageDataModule
from lehr.errors import TakenOver
from lehr.objective.step import StepResult

if TYPE_CHECKING:
    from lehr.training.callbacks.interruption import Interruption
    from lehr.training.module import VAEModule


class Steps:
    """What a lane asks for.

    Args:
        module: that is trained.
        batches: one for each step.
        step: the optimiser step that the first of them is for.
        counter: the number of the first batch, over all epochs.

    Attributes:
        result: what the last step was, once it is taken.
        error: what has gone wrong with it.
    """

    def __init__(self, module: VAEModule, batches: Sequence[Awaited], step: int, counter: int) -> None:
        self.module, self.batches, self.step, self.counter = module, list(batches), step, counter
        self.result: StepResult | None = None
        self.error: BaseException | None = None

    @property
    def place(self) -> int:
        """Batches of the epoch before the first of these."""
        assert self.module.length is not None
        return self.counter % self.module.length.batches_per_epoch

    def images_seen(self, i: int) -> int:
        """Training images up to the end of the step that is the `i`th of these."""
        assert self.module.length is not None
        return self.module.length.images(self.counter + i + 1)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to wait for."""
        return self.error is not None or not self.batches

    @property
    def left(self) -> int:
        """How many steps its training has left."""
        return max(0, self.module.length.total_steps - self.step) if self.module.length else 0

    def taken(self, number: int) -> None:
        """So many steps more have been taken."""
        self.batches = self.batches[number:]
        self.step += number
        self.counter += number


class Lane:
    """A run among others that are trained in step with it.

    Args:
        work: what it does from start to end, in its own thread.
        turn: of the conductor, who waits for it while the lane runs.
        datasets: what lanes have read, by their configuration.
        number: of the lane.
    """

    def __init__(
        self,
        work: Callable[[Lane], object],
        turn: threading.Semaphore,
        datasets: dict[str, ImageDataModule],
        number: int = 0,
    ) -> None:
        self._conductor, self._own, self._datasets = turn, threading.Semaphore(0), datasets
        self._thread = threading.Thread(target=self._run, args=(work,), name="lane", daemon=True)
        self._streams = sys.stdout, sys.stderr
        self.number = number
        self.asked: Steps | None = None
        """What it waits for."""
        self.interruption: Interruption | None = None
        """What can end its training in order, once there is one."""
        self.problem: BaseException | None = None
        """What has ended it, where that was not its own to record."""
        self.has_ended = False
        self._is_lost = self._has_left = False

    def _run(self, work: Callable[[Lane], object]) -> None:
        self._own.acquire()
        try:
            work(self)
        except BaseException as problem:
            self.problem = problem
        self.has_ended = True
        self._conductor.release()

    def take(self, asked: Steps) -> StepResult:
        """Wait until these steps have been taken: what the last of them was. Called in the thread of the lane.

        Raises:
            NonFiniteLoss: if a step has become NaN or infinite; that one was not taken.
        """
        self.leave_if_lost()
        self.asked = asked
        self._conductor.release()
        self._own.acquire()
        self.asked = None
        self.leave_if_lost()
        if asked.error is not None:
            raise asked.error
        assert asked.result is not None
        return asked.result

    @property
    def steps(self) -> Steps:
        """What it waits for, of a lane that does."""
        assert self.asked is not None
        return self.asked

    def shared(self, config: Mapping[str, Any], data: ImageDataModule) -> ImageDataModule:
        """`data`, or what an earlier lane has read for the same configuration, in an object of its own.

        Where seeds are all that differs it is read once, and split anew.
        """
        known = self._datasets.setdefault(_text(config), data)
        if known is data:
            first = self._datasets.setdefault(_text({**config, "seed": None}), data)
            data.read = cache(data.read) if first is data else first.read  # type: ignore[method-assign]
            return data
        found = copy.copy(known)
        found.trainer, found.waiting = None, Waiting()
        return found

    def go_on(self) -> None:
        """Let the run go on until it asks for steps or has ended. Called by the conductor."""
        mine = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = self._streams  # each may have redirected its own
        if self._thread.ident is None:
            self._thread.start()
        self._own.release()
        self._conductor.acquire()
        self._streams = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = mine
        if self.has_ended and not self._has_left:
            self._thread.join()

    def lose(self) -> None:
        """Another process has taken the run over: let it end where it is, as soon as it can. Called in any thread."""
        self._is_lost = True

    def leave_if_lost(self) -> None:
        """End the lane, and never return, if its run is another's. Called in the thread of the lane.

        Its thread waits for ever: whatever would be unwound might write to what is the other's.
        """
        if self._is_lost:
            self.problem = TakenOver("another process has taken this run over")
            self.has_ended = self._has_left = True
            self._conductor.release()
            threading.Event().wait()

    def interrupt(self, signum: int) -> None:
        """Let the run write a checkpoint where it can be gone on with, and end."""
        if self.interruption is not None:
            self.interruption.remember(signum)


def _text(config: Mapping[str, Any]) -> str:
    return json.dumps(config, sort_keys=True, default=str)
