"""Curves, pictures and hyper-parameters of a run in Weights & Biases, online or in files that are sent later."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from lehr.errors import ConfigError, in_a_line
from lehr.limits import Text
from lehr.run.contents import WANDB
from lehr.run.status import DONE, FAILED, INTERRUPTED, PRUNED
from lehr.training.loggers.run_logger import Logged, LoggedRun, Outbox, RunLogger

_X = "images"
_BINS = 64
_EXIT_CODES = {DONE: 0, PRUNED: 0, INTERRUPTED: 130, FAILED: 1}


class WandB(RunLogger):
    """Shows the run in Weights & Biases: the x-axis of every curve is images seen.

    Its files lie in the folder `wandb` of the run directory. A run that is gone on with goes on there too.

    Args:
        save_dir: the run directory.
        points: of the history that hold, where the run goes on from a checkpoint; None where it begins.
        project: that the run belongs to.
        entity: a user or a team; None for the user's own.
        group: of runs; None for the name of the sweep that the run is a point of.
        mode: online, offline (files alone, for `wandb sync`) or disabled; None for what WANDB_MODE or `wandb offline`
            say.
    """

    shows_pictures = True

    def __init__(
        self,
        save_dir: str | Path,
        points: int | None = None,
        project: Text = "lehr",
        entity: Text | None = None,
        group: Text | None = None,
        mode: Literal["online", "offline", "disabled"] | None = None,
    ) -> None:
        super().__init__()
        self._of = run = LoggedRun(Path(save_dir), points)
        self._where: dict[str, Any] = {"project": project, "entity": entity, "group": group or run.sweep, "mode": mode}
        known = (run.record_of(WANDB) or {}).get("id")
        self.is_new = not isinstance(known, str)
        self._id = known if isinstance(known, str) else f"lehr-{os.urandom(8).hex()}"
        self._outbox = Outbox(WANDB, self._send)
        self._run: Any = None

    @property
    def name(self) -> str:
        return WANDB

    @property
    def version(self) -> str:
        return self._id

    @property
    def experiment(self) -> Any:
        """The run of wandb's own library."""
        return self._run

    def start(self) -> None:
        if (self._of.path / WANDB).is_symlink():
            raise ConfigError(f"{self._of.path / WANDB}: is a link; put there what it leads to")
        import wandb

        try:
            self._run = wandb.init(
                dir=str(self._of.path),
                id=self._id,
                name=self._of.path.name,
                resume=None if self.is_new else "allow",
                reinit="create_new",  # beside a run of the user's own in this process
                # what is printed belongs to the run, and so does the summary
                settings=wandb.Settings(console="off", quiet=True),
                **self._where,
            )
            self._run.define_metric(_X)
            self._run.define_metric("*", step_metric=_X)
        except Exception as error:
            hint = "; with logger.wandb.mode=offline nothing is sent" if self._where["mode"] != "offline" else ""
            raise ConfigError(f"logger.wandb: cannot begin ({in_a_line(error)}){hint}") from error

    def record(self) -> None:
        self._of.record(WANDB, id=self._id)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._outbox.put(Logged(step or 0, dict(metrics), time.time()))

    def _send(self, points: Sequence[Logged]) -> None:
        for point in points:
            self._run.log({_X: point.images, **point.metrics})

    def save(self) -> None:
        self._outbox.flush()

    def declare_hyperparameters(self, parameters: Mapping[str, Any], metrics: Sequence[str]) -> None:
        self._outbox.call(lambda: self._run.config.update(dict(parameters), allow_val_change=True))

    def show_text(self, name: str, text: str, images_seen: int) -> None:
        """As a file of the run; its config.yaml is Weights & Biases' own."""
        file = Path(self._run.dir) / f"lehr-{name}.yaml"
        self._outbox.call(lambda: _write(file, text))

    def show_picture(self, name: str, picture: Tensor, images_seen: int) -> None:
        pixels = picture.permute(1, 2, 0).cpu().numpy()
        self._outbox.call(lambda: self._log_object(name, "Image", images_seen, data_or_path=pixels))

    def show_histogram(self, name: str, values: Tensor, images_seen: int) -> None:
        counts = np.histogram(values.cpu().numpy(), bins=_BINS)
        self._outbox.call(lambda: self._log_object(name, "Histogram", images_seen, np_histogram=counts))

    def _log_object(self, name: str, kind: str, images_seen: int, **values: Any) -> None:
        import wandb

        self._run.log({_X: images_seen, name: getattr(wandb, kind)(**values)})

    def conclude(self, metrics: Mapping[str, float]) -> None:
        self._outbox.call(lambda: self._run.summary.update(dict(metrics)))

    def end(self, state: str) -> None:
        """Marked as finished, failed, or preempted, from which it can be gone on with; one pruned is finished."""
        if self._run is None:
            return
        self._outbox.flush()
        if state == INTERRUPTED:
            self._run.mark_preempting()
        if state == PRUNED:
            self._run.tags = (*(self._run.tags or ()), PRUNED)
        if self._outbox.unsent:
            print(f"note: logger.wandb: {self._outbox.unsent} entries were not sent", file=sys.stderr)
        self._run.finish(exit_code=_EXIT_CODES[state])


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
