"""What lehr tells a logger of a run beside its curves, and what is kept until it is sent."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.loggers import Logger
from torch import Tensor

from lehr.errors import in_a_line
from lehr.run.contents import SWEEP
from lehr.run.latents import Latents
from lehr.run.logger_records import logger_records, record_logger


@dataclass(frozen=True)
class LoggedRun:
    """What a logger is told of the run when it is built.

    Attributes:
        path: of the run directory.
        points: of the history that hold, where the run goes on from a checkpoint; None where it begins.
    """

    path: Path
    points: int | None = None

    @property
    def sweep(self) -> str | None:
        """The name of the sweep that the run is a point of; None of a run by itself."""
        parent = self.path.absolute().parent
        return parent.name if (parent / SWEEP).is_file() else None

    def record_of(self, logger: str) -> dict[str, Any] | None:
        """What this logger has recorded of the run; None where it has not written of it yet."""
        return None if self.points is None else logger_records(self.path).get(logger)

    def is_known(self, logger: str) -> bool:
        """Whether this logger has written into the run directory, in this attempt or another."""
        return logger in logger_records(self.path)

    def record(self, logger: str, **record: Any) -> None:
        """Note that this logger writes of the run, and what it needs to go on."""
        record_logger(self.path, logger, record)


class RunLogger(Logger):
    """A logger that takes more of a run than its curves; what it has no place for it leaves out, as this one does.

    `start` and `end` stand around everything else; between them Lightning calls `finalize` after each of its stages,
    and `save` is called before a checkpoint is written.
    """

    shows_pictures = False
    """Whether it is worth drawing pictures for it."""
    is_new = True
    """Whether it has shown nothing of the run before."""

    def start(self) -> None:
        """Begin, or go on, before any file of the run is touched.

        Raises:
            ConfigError: if that is not possible.
        """

    def record(self) -> None:
        """Note in the run directory what is needed to go on."""

    def declare_hyperparameters(self, parameters: Mapping[str, Any], metrics: Sequence[str]) -> None:
        """Show by what the run is compared with others.

        Args:
            parameters: numbers, truths and texts by name; of a point of a sweep the swept keys.
            metrics: names of the final metrics that belong beside them.
        """

    def show_text(self, name: str, text: str, images_seen: int) -> None:
        """Show a text of several lines."""

    def show_picture(self, name: str, picture: Tensor, images_seen: int) -> None:
        """Show a picture (c, H, W), uint8."""

    def show_histogram(self, name: str, values: Tensor, images_seen: int) -> None:
        """Show how values (n,) are distributed."""

    def show_latents(self, latents: Latents, model: str) -> None:
        """Show the latents of images of the split that the trained `model`, of this id, is judged by."""

    def log_point(self, metrics: Mapping[str, float], vectors: Mapping[str, Tensor], images_seen: int) -> None:
        """Log a point of the curves, with what has a number for each latent; by default that is shown as a histogram.

        Args:
            metrics: by name.
            vectors: (n,) each, by name.
            images_seen: where the point is.
        """
        self.log_metrics(dict(metrics), images_seen)
        for name, values in vectors.items():
            self.show_histogram(name, values, images_seen)

    def conclude(self, metrics: Mapping[str, float]) -> None:
        """Show what metrics.json holds."""

    def end(self, state: str) -> None:
        """The run has ended in this `state`, as status.json has it."""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: what Lightning finds in a module is not what runs are compared by."""


class Logged(NamedTuple):
    """Metrics by name after so many images."""

    images: int
    metrics: Mapping[str, float]
    at: float
    """The time of the clock, in seconds since 1970."""


class Outbox:
    """What is to be sent to a store that takes nothing back: kept until a checkpoint is about to be written.

    So a run that was killed and goes on from the checkpoint shows no point twice. Where the store cannot be reached,
    the training goes on, and what was not sent is tried again with what comes next.

    Args:
        logger: whose it is, for messages.
        send: sends points, in their order.
    """

    def __init__(self, logger: str, send: Callable[[Sequence[Logged]], None]) -> None:
        self._logger, self._send = logger, send
        self._points: list[Logged] = []
        self._calls: list[Callable[[], None]] = []
        self._has_failed = False

    def put(self, point: Logged) -> None:
        self._points.append(point)

    def call(self, sends: Callable[[], None]) -> None:
        """Keep something else than a point, which `sends` sends."""
        self._calls.append(sends)

    def flush(self) -> None:
        """Send what there is."""
        with self.told():
            if self._points:
                self._send(self._points)
                self._points = []
            while self._calls:
                self._calls[0]()
                del self._calls[0]

    def told(self) -> Told:
        """Around what may fail: an error is told in a line, the first time, and ends nothing."""
        return Told(self)

    def tell(self, error: Exception) -> None:
        if not self._has_failed:
            print(
                f"note: logger.{self._logger}: cannot be written to ({in_a_line(error)}); the training goes on, and "
                "what was not sent is tried again",
                file=sys.stderr,
            )
        self._has_failed = True

    @property
    def unsent(self) -> int:
        return len(self._points) + len(self._calls)


class Told:
    """Tells an outbox of the error that ends the block, and lets what is around it go on."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if isinstance(error, Exception):
            self._outbox.tell(error)
            return True
        return False
