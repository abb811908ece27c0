"""Slurm, and jobs as on a cluster on this machine: points as jobs of submitit, with the parameters of Hydra's plugin.

The plugin hands all points over at once and waits for all; this submits whatever there is, and minds each job.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lehr.errors import DiskFull, Interrupted, LehrError
from lehr.run.status import INTERRUPTED
from lehr.sweeps.hydra_launcher import let_be_in
from lehr.sweeps.launching import FILE_SECONDS, Finished, Jobs, record_end
from lehr.sweeps.runner import run_point

_CANCEL_SECONDS = 15.0  # for jobs that were told to end


class Submitit:
    """Submits points as jobs to a cluster, or starts them here, with the parameters of `hydra.launcher`.

    Points that are there at the same time are one array of the cluster. A job that is preempted goes back into the
    queue after a checkpoint, and on from there.

    Args:
        config, retry, at_once: as of `HydraLauncher`.
    """

    def __init__(self, config: DictConfig, retry: str | None = None, at_once: int | None = None) -> None:
        self._config, self._retry, self._at_once = config, retry, at_once

    def launch(self, jobs: Jobs, finished: Finished) -> None:
        running: dict[Path, Any] = {}
        more = True
        try:
            while more or running:
                batch: list[Path] = []
                while more and (self._at_once is None or len(running) + len(batch) < self._at_once):
                    job = next(jobs, StopIteration)
                    more = job is not StopIteration
                    if not isinstance(job, Path):
                        break
                    batch.append(job)
                if batch:
                    running |= zip(batch, self._submitted(batch), strict=True)
                ended = [run_dir for run_dir, job in running.items() if job.done()]
                for run_dir in ended:
                    record_end(run_dir, self._problem(running.pop(run_dir)))
                    finished(run_dir)
                if not ended:
                    sleep(0.5)
        finally:
            _cancel(list(running.values()))

    def _submitted(self, batch: list[Path]) -> list[Any]:
        """The jobs of `batch`.

        Raises:
            LehrError: if there is no such cluster, or it does not take them.
        """
        from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf
        from submitit import AutoExecutor

        let_be_in(self._config, batch[0].parent)
        values: Any = OmegaConf.to_container(self._config.hydra.launcher, resolve=True)
        folder, common = values.pop("submitit_folder"), OmegaConf.structured(BaseQueueConf).keys()
        cluster = self._cluster
        named = {k if k in common else f"{cluster}_{k}": value for k, value in values.items() if k != "_target_"}
        timeouts = {key: named.pop(key) for key in [f"{cluster}_max_num_timeout"] if key in named}
        try:
            executor = AutoExecutor(folder, cluster, **timeouts)
            executor.update_parameters(**named)
            return list(executor.map_array(_Job(self._retry), [run_dir.absolute() for run_dir in batch]))
        except Exception as error:
            name = self._config.hydra.runtime.choices["hydra/launcher"]
            raise LehrError(f"hydra/launcher={name}: {_line(error)}") from error

    @property
    def _cluster(self) -> str:
        return "slurm" if str(self._config.hydra.launcher._target_).endswith(".SlurmLauncher") else "local"

    def _problem(self, job: Any) -> str | None:
        """What is known of the end of a job.

        Raises:
            DiskFull: if that was it.
        """
        end = monotonic() + (0 if self._cluster == "local" else FILE_SECONDS)
        while not job.paths.result_pickle.exists():
            if monotonic() >= end:
                state = "" if self._cluster == "local" else f" ({job.state})"
                return f"job {job.job_id} has ended without a word{state}; {job.paths.stderr} may say why"
            sleep(1.0)
        try:
            result = job.result()
        except Exception as error:
            return _line(error)
        if isinstance(result, DiskFull):
            raise result
        return None


@dataclass(frozen=True)
class _Job:
    """What submitit runs: trains the point in a directory."""

    retry: str | None

    def __call__(self, run_dir: Path) -> str | DiskFull:
        try:
            return run_point(run_dir, self.retry)
        except DiskFull as error:  # of an exception submitit tells nothing but its traceback
            return error
        except Interrupted:
            return INTERRUPTED

    def checkpoint(self, run_dir: Path) -> Any:
        """The job that goes on with this one."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, run_dir)


def _cancel(jobs: list[Any]) -> None:
    """End what still runs, so that it can write a checkpoint, and wait for that."""
    for job in jobs:
        with suppress(OSError):
            job.cancel(check=False)
    end = monotonic() + _CANCEL_SECONDS
    while monotonic() < end and not all(job.done() for job in jobs):
        sleep(0.1)


def _line(error: BaseException) -> str:
    """The last line of what `error` says, for submitit puts the whole output of a job into it."""
    return next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
