"""The loggers of a run, and how they are told of its beginning, its course and its end."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from lehr.errors import ConfigError, Interrupted, in_a_line
from lehr.run.status import DONE, FAILED, INTERRUPTED, PRUNED
from lehr.training.callbacks.pruning import Pruned
from lehr.training.loggers.run_logger import RunLogger
from lehr.training.loggers.tensorboard import AnyTensorBoard


def run_loggers(trainer: Trainer) -> list[RunLogger]:
    """Those of a trainer's loggers that take more of a run than its curves; none on other ranks than the first."""
    if not trainer.is_global_zero:
        return []
    return [found for logger in trainer.loggers if (found := _as_run_logger(logger))]


def _as_run_logger(logger: Logger) -> RunLogger | None:
    if isinstance(logger, RunLogger):
        return logger
    return AnyTensorBoard(logger) if isinstance(logger, TensorBoardLogger) else None


def start(loggers: Iterable[Logger]) -> None:
    """Let each begin that takes more of a run than its curves.

    Raises:
        ConfigError: a line for each that cannot; the others are ended.
    """
    started: list[RunLogger] = []
    problems: list[str] = []
    for logger in loggers:
        if isinstance(logger, RunLogger):
            try:
                logger.start()
                started.append(logger)
            except ConfigError as error:
                problems += error.problems
    if problems:
        _tell(started, FAILED)
        raise ConfigError(*problems)


@contextmanager
def ending_told(trainer: Trainer) -> Iterator[None]:
    """Tell the loggers in which state the run has ended; what hinders one of them is said, and ends nothing."""
    state = FAILED
    try:
        yield
        state = DONE
    except Pruned:
        state = PRUNED
        raise
    except (Interrupted, SystemExit):
        state = INTERRUPTED
        raise
    finally:
        _tell(run_loggers(trainer), state)


def _tell(loggers: Iterable[RunLogger], state: str) -> None:
    for logger in loggers:
        try:
            logger.end(state)
        except Exception as error:
            name, why = type(logger).__name__, in_a_line(error)
            print(f"note: {name} was not told that the run is {state} ({why})", file=sys.stderr)
