"""The launcher `ray`: the points of a sweep on a Ray cluster whose machines share the file system of the sweep."""

from __future__ import annotations

import logging
from pathlib import Path
from time import sleep
from typing import Any

from lehr.errors import DiskFull, LehrError, in_a_line
from lehr.sweeps.launching import Finished, Jobs, record_end
from lehr.sweeps.runner import LOG, run_point

_POLL_SECONDS = 0.5


class RayLauncher:
    """Trains every point as a task of Ray.

    Args:
        address: of the cluster; "auto" for the one that this machine is part of, None to start one on this machine.
        cpus_per_run: that a run needs.
        gpus_per_run: that a run needs; a part of one for several runs on a GPU.
        retry: try again what has failed before this time; as of `run_point`.
    """

    def __init__(
        self, address: str | None = None, cpus_per_run: float = 1, gpus_per_run: float = 0, retry: str | None = None
    ) -> None:
        self._address, self._cpus, self._gpus, self._retry = address, cpus_per_run, gpus_per_run, retry

    def launch(self, jobs: Jobs, finished: Finished) -> None:
        import ray

        ray.init(address=self._address, log_to_driver=False, logging_level=logging.ERROR)
        try:
            self._launch(ray, jobs, finished)
        finally:
            ray.shutdown()

    def _launch(self, ray: Any, jobs: Jobs, finished: Finished) -> None:
        # a point that kills its process is recorded and not repeated
        task = ray.remote(run_point).options(num_cpus=self._cpus, num_gpus=self._gpus, max_retries=0)
        running: dict[Any, Path] = {}
        more = True
        while more or running:
            while more and len(running) < self._room(ray):
                job = next(jobs, StopIteration)
                more = job is not StopIteration
                if not isinstance(job, Path):
                    break
                running[task.remote(job.absolute(), self._retry)] = job
            if not running:
                sleep(_POLL_SECONDS if more else 0)
                continue
            ended, _ = ray.wait(list(running), timeout=_POLL_SECONDS)
            for reference in ended:
                run_dir = running.pop(reference)
                problem = _problem(ray, reference)
                record_end(run_dir, problem)
                finished(run_dir)

    def _room(self, ray: Any) -> int:
        """How many runs the cluster has room for, as it is now."""
        there = ray.cluster_resources()
        for name, key, needed in (("CPU", "cpus", self._cpus), ("GPU", "gpus", self._gpus)):
            if needed > there.get(name, 0):
                has = f"{there.get(name, 0):g} {name}s"
                raise LehrError(f"hydra.launcher.{key}_per_run={needed:g}: the cluster of Ray has {has}")
        rooms = [there.get(name, 0) / needed for name, needed in (("CPU", self._cpus), ("GPU", self._gpus)) if needed]
        return int(min(rooms))


def _problem(ray: Any, reference: Any) -> str | None:
    """What went wrong with a task beyond what the run itself has recorded.

    Raises:
        DiskFull: if that was it.
    """
    try:
        ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, DiskFull):
            raise error.cause from None
        return in_a_line(error.cause)
    except ray.exceptions.RayError as error:  # the process is gone; Ray's advice where to look does not help
        reason = str(error).partition("\n")[0].partition(". ")[0]
        return f"{type(error).__name__}: {reason}; {LOG} in the run directory may say why"
    return None
