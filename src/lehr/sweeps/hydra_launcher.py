"""The launchers of Hydra and of its plugins that take all points at once and return when all have ended: basic, joblib.

Their jobs compose lehr's configuration once more, but of that only the directory is read: what is to be trained stands
in point.json there.
"""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict, read_write

from lehr.errors import DiskFull, Interrupted, LehrError, in_a_line
from lehr.run.status import INTERRUPTED
from lehr.sweeps.directory import WAITING, state_of
from lehr.sweeps.launching import Finished, Jobs, batches, record_end
from lehr.sweeps.runner import run_point


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
        number = 0
        for batch in batches(jobs, self._at_once):
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
            reason = in_a_line(error)
            if all(state_of(run_dir) == WAITING for run_dir in batch):
                raise LehrError(f"{type(launcher).__name__}: {reason}") from error
            if len(batch) == 1:
                signal = re.search(r"\{(SIG[A-Z0-9]+)\(", reason)  # in the midst of joblib's guesses
                record_end(batch[0], f"killed by {signal[1]}" if signal else reason)
            return True
        for run_dir, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, DiskFull):
                raise outcome
            record_end(run_dir, in_a_line(outcome) if isinstance(outcome, Exception) else None)
        return False

    def _launcher(self, folder: Path) -> Any:
        from hydra._internal.callbacks import Callbacks

        let_be_in(self._config, folder)
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


def let_be_in(config: DictConfig, folder: Path) -> None:
    """Let `config` be of a sweep in `folder`."""
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.sweep.dir = str(folder.absolute())
        overrides = [line for line in config.hydra.overrides.hydra if not line.startswith("hydra.sweep.dir=")]
        config.hydra.overrides.hydra = [*overrides, f"hydra.sweep.dir={_quoted(str(folder.absolute()))}"]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
