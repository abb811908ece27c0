"""The launcher `pool`: the points of a sweep on this machine, several at once, each in a process of its own."""

from __future__ import annotations

import time
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from lehr.sweeps import processes
from lehr.sweeps.launching import Finished, Jobs
from lehr.sweeps.runner import run_point
from lehr.sweeps.slots import Slot

_POLL_SECONDS = 0.25


class Pool:
    """Trains points in the given slots.

    Args:
        slots: one for each point that is to run at the same time.
        retry: try again what has failed before this time; as of `run_point`.
    """

    def __init__(self, slots: list[Slot], retry: str | None = None) -> None:
        self._slots = slots
        self._retry = retry
        self._running: dict[Any, tuple[Path, Slot, int]] = {}  # process -> what it does, and kills for memory before it

    def launch(self, jobs: Jobs, finished: Finished) -> None:
        context = processes.template(self._slots[0].threads)
        free, more = list(self._slots), True
        try:
            while more or self._running:
                waiting = False
                while more and free and not waiting:
                    job = next(jobs, StopIteration)
                    if job is StopIteration:
                        more = False
                    elif job is None:
                        waiting = True
                    else:
                        assert isinstance(job, Path)
                        slot = free.pop(0)
                        work = partial(run_point, job, self._retry, devices=slot.devices)
                        process = processes.start(context, work, slot, name=job.name)
                        self._running[process] = job, slot, processes.kills_for_memory()
                if not self._running:
                    if waiting:
                        time.sleep(_POLL_SECONDS)
                    continue
                timeout = _POLL_SECONDS if waiting else None
                ended = set(wait([process.sentinel for process in self._running], timeout))
                for process in [process for process in self._running if process.sentinel in ended]:
                    process.join()
                    job, slot, kills = self._running.pop(process)
                    free.append(slot)
                    processes.record(process.exitcode or 0, job, kills)
                    finished(job)
        except BaseException:
            one = len(self._running) == 1
            what = "the run at hand writes a checkpoint" if one else "runs write a checkpoint"
            processes.stop(list(self._running), what)
            self._running.clear()
            raise
