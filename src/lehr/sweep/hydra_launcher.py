"""The launchers of Hydra and of its plugins: basic, joblib, submitit.

A job composes lehr's configuration once more, as these launchers have it, but of that only the directory is read: what
is to be trained stands in point.json there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import sleep

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict

from lehr.errors import LehrError
from lehr.sweep.directory import WAITING, state_of
from lehr.sweep.launching import Finished, Jobs, record_end
from lehr.sweep.runner import DiskFull, run_point


class HydraLauncher:
    """Hands points to a launcher of Hydra, all that there are at once.

    Args:
        config: the composed configuration, Hydra's own part included.
        loader: which a job composes its configuration with.
        retry: whether to try again what has failed.
        at_once: hand over no more points than this, and then wait for them.
    """

    def __init__(
        self, config: DictConfig, loader: ConfigLoader, retry: bool = False, at_once: int | None = None
    ) -> None:
        self._config, self._loader, self._retry, self._at_once = config, loader, retry, at_once

    def launch(self, jobs: Jobs, finished: Finished) -> None:
        number = 0
        for batch in _batches(jobs, self._at_once):
            outcomes = self._launch(batch, number)
            number += len(batch)
            for run_dir, outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, DiskFull):
                    raise outcome
                error = f"{type(outcome).__name__}: {outcome}" if isinstance(outcome, Exception) else None
                record_end(run_dir, error)
                finished(run_dir)

    def _launch(self, batch: list[Path], number: int) -> list[object]:
        from hydra._internal.callbacks import Callbacks

        folder = str(batch[0].parent.absolute())
        with open_dict(self._config):
            self._config.hydra.sweep.dir = folder
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=HydraContext(config_loader=self._loader, callbacks=Callbacks()),
            task_function=partial(train_here, retry=self._retry, coordinator=os.getpid()),
            config=self._config,
        )
        overrides = [
            [f"hydra.sweep.dir={_quoted(folder)}", f"hydra.sweep.subdir={_quoted(run_dir.name)}"] for run_dir in batch
        ]
        try:
            return [job._return_value for job in launcher.launch(overrides, initial_job_idx=number)]
        except Exception as error:  # one job's, which makes the launcher give all of them up
            reason = f"{type(launcher).__name__}: " + " ".join(f"{type(error).__name__}: {error}".split())
            if all(state_of(run_dir) == WAITING for run_dir in batch):
                raise LehrError(reason) from error
            print(f"lehr train: {reason}", file=sys.stderr)
            return [None] * len(batch)


def train_here(config: DictConfig, retry: bool, coordinator: int) -> str:
    """What a job does."""
    return run_point(Path(HydraConfig.get().runtime.output_dir), retry, own_process=os.getpid() != coordinator)


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


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
