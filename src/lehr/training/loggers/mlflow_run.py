"""Curves, pictures and hyper-parameters of a run in MLflow: on a server, or in a store that all runs share."""

from __future__ import annotations

import fcntl
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from lehr.errors import ConfigError, in_a_line
from lehr.limits import PathString, Text
from lehr.run.status import DONE, FAILED, INTERRUPTED, PRUNED
from lehr.training.loggers.run_logger import Logged, LoggedRun, Outbox, RunLogger

_NAME = "mlflow"
_AT_ONCE = 1000  # metrics that MLflow takes in one request
_STATES = {DONE: "FINISHED", FAILED: "FAILED", INTERRUPTED: "KILLED", PRUNED: "KILLED"}
_IN_A_FILE = "sqlite:///"
_PATIENCE = 60  # seconds that a store in a file is waited for while another process writes
# of a server MLflow itself waits for four minutes, with every request; what is not sent is tried again anyway
_IMPATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}


class MLflow(RunLogger):
    """Shows the run in MLflow: the step of every metric is images seen.

    Args:
        save_dir: the run directory.
        points: of the history that hold, where the run goes on from a checkpoint; None where it begins.
        tracking_uri: of a server or a store; None for MLFLOW_TRACKING_URI and, without it, mlflow.db in `folder`.
        folder: where mlflow.db lies, and mlartifacts/ with pictures and texts: one store for all runs, which MLflow is
            there to compare.
        experiment: that the run belongs to.
    """

    shows_pictures = True

    def __init__(
        self,
        save_dir: str | Path,
        points: int | None = None,
        tracking_uri: Text | None = None,
        folder: PathString = "outputs",
        experiment: Text = "lehr",
    ) -> None:
        super().__init__()
        self._of = LoggedRun(Path(save_dir), points)
        self._uri, self._folder, self._experiment = tracking_uri, Path(folder), experiment
        known = (self._of.record_of(_NAME) or {}).get("run")
        self._id = known if isinstance(known, str) else None
        self.is_new = self._id is None
        self._outbox = Outbox(_NAME, self._send)
        self._client: Any = None

    @property
    def name(self) -> str:
        return _NAME

    @property
    def version(self) -> str | None:
        return self._id

    @property
    def experiment(self) -> Any:
        """The MlflowClient of the store."""
        return self._client

    def start(self) -> None:
        try:
            with _quietly():
                self._client = self._connected()
                if self._id is not None and not self._goes_on(self._id):
                    self._id, self.is_new = None, True
                if self._id is None:
                    self._id = self._begun()
        except Exception as error:
            raise ConfigError(f"logger.mlflow: cannot begin ({in_a_line(error)})") from error

    def _connected(self) -> Any:
        from mlflow import MlflowClient

        uri = self._uri or os.environ.get("MLFLOW_TRACKING_URI")
        if uri is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            uri = f"{_IN_A_FILE}{self._folder.absolute() / 'mlflow.db'}?timeout={_PATIENCE}"
        with _alone_with(uri):
            return MlflowClient(tracking_uri=uri)

    def _begun(self) -> str:
        run = self._client.create_run(
            self._experiment_id(),
            run_name=self._of.path.name,
            tags={
                "mlflow.source.name": "lehr train",
                "lehr.dir": str(self._of.path.absolute()),
                **({"lehr.sweep": self._of.sweep} if self._of.sweep else {}),
            },
        )
        return str(run.info.run_id)

    def _experiment_id(self) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(self._experiment)
        if found is not None:
            return str(found.experiment_id)
        is_own = self._uri is None and "MLFLOW_TRACKING_URI" not in os.environ
        artifacts = (self._folder.absolute() / "mlartifacts").as_uri() if is_own else None
        try:
            return str(self._client.create_experiment(self._experiment, artifact_location=artifacts))
        except MlflowException:  # another run has just done so
            if (found := self._client.get_experiment_by_name(self._experiment)) is None:
                raise
            return str(found.experiment_id)

    def _goes_on(self, run: str) -> bool:
        """Whether the store has the run still, which is then under way again."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.update_run(run, status="RUNNING")
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            print(f"note: logger.mlflow: the store has no run {run} any more; a new one begins", file=sys.stderr)
            return False
        return True

    def record(self) -> None:
        self._of.record(_NAME, run=self._id)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._outbox.put(Logged(step or 0, dict(metrics), time.time()))

    def _send(self, points: Sequence[Logged]) -> None:
        from mlflow.entities import Metric

        found = [
            Metric(name, value, int(1000 * point.at), point.images)
            for point in points
            for name, value in point.metrics.items()
        ]
        with _quietly():
            for at in range(0, len(found), _AT_ONCE):
                self._client.log_batch(self._id, metrics=found[at : at + _AT_ONCE])

    def save(self) -> None:
        self._outbox.flush()

    def declare_hyperparameters(self, parameters: Mapping[str, Any], metrics: Sequence[str]) -> None:
        """As parameters of the run, which MLflow never changes: those of a run that goes on stay what they were."""
        if self.is_new:
            self._later(lambda: self._log_parameters(parameters))

    def _log_parameters(self, parameters: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        self._client.log_batch(self._id, params=[Param(name, str(value)) for name, value in parameters.items()])

    def show_text(self, name: str, text: str, images_seen: int) -> None:
        self._later(lambda: self._client.log_text(self._id, text, f"{name}.yaml"))

    def show_picture(self, name: str, picture: Tensor, images_seen: int) -> None:
        """As an artifact that is named after the images seen."""
        pixels = picture.permute(1, 2, 0).cpu().numpy()
        file = f"{name}/{images_seen:010d}.png"
        self._later(lambda: self._client.log_image(self._id, pixels, file))

    def _later(self, sends: Callable[[], None]) -> None:
        def quietly() -> None:
            with _quietly():
                sends()

        self._outbox.call(quietly)

    def end(self, state: str) -> None:
        """Marked as finished, failed or killed; the tag lehr.state says it in lehr's word."""
        if self._client is None:
            return
        self._outbox.flush()
        with _quietly():
            self._client.set_tag(self._id, "lehr.state", state)
            self._client.set_terminated(self._id, _STATES[state])
        if self._outbox.unsent:
            print(f"note: logger.mlflow: {self._outbox.unsent} entries were not sent", file=sys.stderr)


@contextmanager
def _alone_with(uri: str) -> Iterator[None]:
    """While a store in a file may have to be made: of two processes that do so at once one would fail."""
    if not uri.startswith(_IN_A_FILE):
        yield
        return
    folder = os.open(Path(uri.removeprefix(_IN_A_FILE).partition("?")[0]).absolute().parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system that has no locks
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what MLflow's own dependencies warn each other of, without its account of making a new store, and with
    less patience than it has, where the environment does not say how much."""
    own = {name: value for name, value in _IMPATIENCE.items() if name not in os.environ}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow  # noqa: F401  # which sets the level of its logger

        logger = logging.getLogger("mlflow")
        level = logger.level
        logger.setLevel(logging.WARNING)
        os.environ.update(own)
        try:
            yield
        finally:
            logger.setLevel(level)
            for name in own:
                os.environ.pop(name, None)
