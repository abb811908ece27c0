"""Processes that each train points of one kind in step, and are given more as these end."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from lehr.errors import LehrError
from lehr.sweeps import processes
from lehr.sweeps.in_step import Stepped
from lehr.sweeps.launching import WAIT_SECONDS, Finished, Jobs
from lehr.sweeps.sizes import Sizes
from lehr.sweeps.slots import Slot, processes_for
from lehr.sweeps.waiting import Waiting

_NEXT, _OVER = "next", "over"


@dataclass
class _Worker:
    """A process, and what is known of it.

    Attributes:
        process: as `processes.start` has made it.
        slot: that it is in.
        kind: of what it trains.
        share: what it is to be given first.
        part: of the lanes that its device has room for.
        kills: for want of memory, before it was started.
        has_begun: whether it was given anything.
        at: what it was given and has not told the end of.
        lanes, left: what it has told of its steps last.
    """

    process: Any
    slot: Slot
    kind: str
    share: deque[Path]
    part: float
    kills: int
    has_begun: bool = False
    at: list[Path] = field(default_factory=list)
    lanes: int = 0
    left: int = 0


class Workers:
    """Processes in the slots of this machine, between which points that wait are divided.

    Args:
        slots: at least one.
        sizes: how many lanes of each kind there may be on a device.
        train: what a process does, but for its `room`; as `train_in_step`, and pickled.
    """

    def __init__(self, slots: Sequence[Slot], sizes: Sizes, train: Callable[..., None]) -> None:
        self._free, self._sizes, self._train = list(slots), sizes, train
        self._sharing = Counter(slot.gpus for slot in slots)
        self._workers: dict[Any, _Worker] = {}

    def launch(self, waiting: Waiting, finished: Finished, stepped: Stepped) -> None:
        """Train all that is fused, and return once nothing of that waits.

        Raises:
            DiskFull, Interrupted: as of `Launcher.launch`.
            LehrError: where a process has ended before it could train anything.
        """
        look_at = time.monotonic() + WAIT_SECONDS
        try:
            while self._begin(waiting) or self._workers:
                for link in wait(list(self._workers), WAIT_SECONDS):
                    self._hear(link, waiting, finished, stepped)
                if self._free and time.monotonic() >= look_at:  # who has lanes to spare asks by himself
                    waiting.pull()
                    look_at = time.monotonic() + WAIT_SECONDS
        except BaseException:
            for link in self._workers:
                link.close()  # else who has just asked for more waits for it, and lets no lane write a checkpoint
            processes.stop([worker.process for worker in self._workers.values()], "runs write a checkpoint")
            self._workers.clear()
            raise

    def _begin(self, waiting: Waiting) -> bool:
        """Start processes for what waits while there are slots: whether any was."""
        before = len(self._workers)
        while self._free and (kinds := [kind for kind in waiting.faster(self._sizes) if kind is not None]):
            if not any(self._begin_kind(kind, len(kinds), waiting) for kind in kinds):
                break
        return len(self._workers) > before

    def _begin_kind(self, kind: str, kinds: int, waiting: Waiting) -> bool:
        """Start processes for one of so many kinds that wait: whether there was room for any."""
        members, free = waiting.members(kind), len(self._free)
        lanes = self._sizes.of(kind, members).lanes
        at_once = max(1, min(processes_for(len(members), free), free - kinds + 1))
        share = -(-len(members) // at_once)
        for _ in range(at_once):
            slot = next((slot for slot in self._free if self._has_room(slot, lanes)), None)
            if slot is None or not waiting.members(kind):
                break
            # of a search others come in the place of those that end
            room = self._lanes_in(slot, lanes) if waiting.is_search else min(share, self._lanes_in(slot, lanes))
            self._start(slot, kind, waiting.take(kind, min(share, room)), room, room / lanes)
        return len(self._free) < free

    def _lanes_in(self, slot: Slot, lanes: int) -> int:
        """The share of a slot in so many lanes on its device."""
        return max(1, lanes // self._sharing[slot.gpus])

    def _has_room(self, slot: Slot, lanes: int) -> bool:
        """Whether the other processes on its device leave a slot its share of so many lanes."""
        taken = sum(worker.part for worker in self._workers.values() if worker.slot.gpus == slot.gpus)
        return not taken or taken + self._lanes_in(slot, lanes) / lanes < 1 + 1e-9

    def _start(self, slot: Slot, kind: str, share: Iterable[Path], room: int, part: float) -> None:
        self._free.remove(slot)
        kills = processes.kills_for_memory()
        context = processes.template(slot.threads)
        link, theirs = context.Pipe()
        work = partial(_work, theirs, partial(self._train, room=room))
        process = processes.start(context, work, slot, name="lanes")
        theirs.close()
        self._workers[link] = _Worker(process, slot, kind, deque(share), part, kills)

    def _hear(self, link: Any, waiting: Waiting, finished: Finished, stepped: Stepped) -> None:
        """Do what a worker wants, or note its end."""
        worker = self._workers[link]
        try:
            said = link.recv()
        except (EOFError, OSError):
            self._note_end(self._workers.pop(link), waiting, finished)
            return
        if said == _NEXT:
            job = self._next(worker, waiting)
            with suppress(OSError):  # of its end is heard next
                link.send(job)
        elif isinstance(said, Path):
            worker.at.remove(said)
            finished(said)
        else:
            taken, worker.lanes, worker.left = said
            everyone = self._workers.values()
            stepped(taken, sum(one.lanes for one in everyone), sum(one.left for one in everyone))

    @staticmethod
    def _next(worker: _Worker, waiting: Waiting) -> Path | str | None:
        """What it is to train; None if there may be something later, while it trains."""
        if not worker.share:
            worker.share.extend(waiting.take(worker.kind, 1))
        if worker.share:
            worker.has_begun = True
            worker.at.append(worker.share.popleft())
            return worker.at[-1]
        return None if worker.at else _OVER

    def _note_end(self, worker: _Worker, waiting: Waiting, finished: Finished) -> None:
        worker.process.join()
        self._free.append(worker.slot)
        code = worker.process.exitcode or 0
        if not worker.has_begun:
            how = processes.ending(code, worker.kills)
            raise LehrError(f"a process that was to train lanes has ended before it had any: {how}")
        waiting.put_back(worker.kind, worker.share)
        for run_dir in worker.at:
            processes.record(code, run_dir, worker.kills)
            finished(run_dir)


def _work(link: Connection, train: Callable[..., None]) -> None:
    """What a worker does. Where nobody hears it any more it goes on: the signal to end is on its way."""

    def tell(what: Any) -> None:
        with suppress(OSError):
            link.send(what)

    def jobs() -> Jobs:
        while True:
            tell(_NEXT)
            try:
                job = link.recv()
            except (EOFError, OSError):
                job = None
            if job == _OVER:
                return
            yield job

    train(jobs(), tell, lambda *numbers: tell(numbers))
