"""The launchers of Hydra's plugins: basic, joblib and submitit's, each with the configuration that it has in Hydra.

What is to be trained stands in point.json of a run directory, and that is all a job is told: basic and joblib compose
lehr's configuration once more, but of that only the directory is read; submitit's jobs compose nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from lehr.errors import Interrupted, LehrError
from lehr.sweep.directory import WAITING, state_of
from lehr.sweep.launching import Finished, Jobs, record_end
from lehr.sweep.runner import DiskFull, run_point
from lehr.training.directory import INTERRUPTED

_SUBMITIT = "hydra_plugins.hydra_submitit_launcher."
_CANCEL_SECONDS = 15.0  # for jobs that were told to end
_FILE_SECONDS = 15.0  # until a file that a job has written is seen on another machine


class HydraLauncher:
    """Hands points to a launcher of Hydra, all that there are at once.

    Args:
        config: the composed configuration, Hydra's own part included.
        loader: which a job composes its configuration with.
        retry: try again what has failed before this time; as of `run_point`.
        at_once: hand over no more points than this, and then wait for them.
    """

    def __init__(
        self, config: DictConfig, loader: ConfigLoader, retry: str | None = None, at_once: int | None = None
    ) -> None:
        self._config, self._loader, self._retry, self._at_once = config, loader, retry, at_once

    def launch(self, jobs: Jobs, finished: Finished) -> None:
        if str(self._config.hydra.launcher._target_).startswith(_SUBMITIT):
            Submitit(self._config, self._retry, self._at_once).launch(jobs, finished)
            return
        number = 0
        for batch in _batches(jobs, self._at_once):
            todo = batch
            while todo:
                if self._launch(todo, number) and len(todo) > 1:
                    # a process that dies takes the others along; alone, it is known which one it was
                    for run_dir in todo:
                        if state_of(run_dir) == INTERRUPTED:
                            self._launch([run_dir], number)
                    todo = [run_dir for run_dir in todo if state_of(run_dir) == WAITING]
                else:
                    todo = []
            number += len(batch)
            for run_dir in batch:
                finished(run_dir)

    def _launch(self, batch: list[Path], number: int) -> bool:
        """Train `batch`; whether the launcher has given up on it before the end.

        Raises:
            LehrError: if nothing of it has even begun.
        """
        launcher = self._launcher(batch[0].parent)
        overrides = [[f"hydra.sweep.subdir={_quoted(run_dir.name)}"] for run_dir in batch]
        try:
            outcomes = [job._return_value for job in launcher.launch(overrides, initial_job_idx=number)]
        except Exception as error:  # a process has died, which is not said of which point
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            if all(state_of(run_dir) == WAITING for run_dir in batch):
                raise LehrError(f"{type(launcher).__name__}: {reason}") from error
            if len(batch) == 1:
                signal = re.search(r"\{(SIG[A-Z0-9]+)\(", reason)  # in the midst of joblib's guesses
                record_end(batch[0], f"killed by {signal[1]}" if signal else reason)
            return True
        for run_dir, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, DiskFull):
                raise outcome
            record_end(run_dir, f"{type(outcome).__name__}: {outcome}" if isinstance(outcome, Exception) else None)
        return False

    def _launcher(self, folder: Path) -> Any:
        from hydra._internal.callbacks import Callbacks

        _put(self._config, folder)
        return Plugins.instance().instantiate_launcher(
            hydra_context=HydraContext(config_loader=self._loader, callbacks=Callbacks()),
            task_function=partial(train_here, retry=self._retry, coordinator=os.getpid()),
            config=self._config,
        )


def train_here(config: DictConfig, retry: str | None, coordinator: int) -> str:
    """What a job does."""
    run_dir, own_process = Path(HydraConfig.get().runtime.output_dir), os.getpid() != coordinator
    try:
        return run_point(run_dir, retry, own_process)
    except Interrupted:
        if own_process:  # that was stopped, and not the sweep
            return INTERRUPTED
        raise


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

        _put(self._config, batch[0].parent)
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
        end = monotonic() + (0 if self._cluster == "local" else _FILE_SECONDS)
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


def _batches(jobs: Jobs, at_once: int | None) -> Iterator[list[Path]]:
    """What there is to do, as often as there is something."""
    batch: list[Path] = []
    for job in jobs:
        if job is not None:
            batch.append(job)
        if batch and (job is None or len(batch) == at_once):
            yield batch
            batch = []
        elif job is None:
            sleep(1.0)
    if batch:
        yield batch


def _put(config: DictConfig, folder: Path) -> None:
    """Let `config` be of a sweep in `folder`."""
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.sweep.dir = str(folder.absolute())
        overrides = [line for line in config.hydra.overrides.hydra if not line.startswith("hydra.sweep.dir=")]
        config.hydra.overrides.hydra = [*overrides, f"hydra.sweep.dir={_quoted(str(folder.absolute()))}"]


def _line(error: BaseException) -> str:
    """The last line of what `error` says, for submitit puts the whole output of a job into it."""
    return next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
