"""One point of a sweep in this process, whoever started it: claimed, begun or gone on with, and recorded."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path

from lehr.errors import CheckpointError, LehrError
from lehr.sweep.point import Point
from lehr.training.claim import Claim
from lehr.training.directory import DONE, FAILED, INTERRUPTED, PRUNED, RUNNING, RunDirectory, lacks_evaluation

LOG = "log.txt"
LITTLE_SPACE = 16 * 2**20
"""Bytes on a disk that count as full: less than what a run leaves there."""


class DiskFull(LehrError):
    """There is no room for what a run writes; it can go on from what it has written before."""


def run_point(run_dir: Path, retry: bool = False, own_process: bool = True, devices: int | None = None) -> str:
    """Train the point in `run_dir`, unless that is done or another process is at it.

    Args:
        run_dir: holds point.json, and whatever an earlier attempt has left.
        retry: whether to try again what has failed.
        devices: in place of `trainer.devices`.
        own_process: whether this process is there for the point alone, so that all of its output belongs to it.

    Returns:
        The state in which the point is then, as of `state_of`. What it printed is in log.txt.

    Raises:
        DiskFull: if that is what stopped it.
        Interrupted: upon SIGTERM or Ctrl-C, after a checkpoint was written.
    """
    point = Point.read(run_dir)
    claim = Claim.take(run_dir)
    if claim is None:
        return RUNNING
    with claim:
        status = RunDirectory(run_dir).read_status()  # as it is now that no other process can change it
        state = status.get("state")
        if state == DONE and lacks_evaluation(status, point.config["evaluate"]):
            with _output_to(run_dir / LOG, own_process):
                _evaluate(point, run_dir)
            return DONE
        if state == DONE or (state == FAILED and not retry) or (state == PRUNED and point.trial):
            return state
        with _output_to(run_dir / LOG, own_process):
            try:
                _train(point, run_dir, claim, devices)
            except Exception as error:
                if _is_disk_full(error, run_dir):
                    raise DiskFull(f"{run_dir}: there is no space left on the disk") from error
                line = " ".join(f"{type(error).__name__}: {error}".split())
                print(f"lehr train: {line}", file=sys.stderr)
                if point.config["debug"]:
                    traceback.print_exc()
                if RunDirectory(run_dir).state() != FAILED:  # an attempt that did not get as far as to say so
                    RunDirectory(run_dir).record_failure(line)
        return str(RunDirectory(run_dir).state())


def _evaluate(point: Point, run_dir: Path) -> None:
    from lehr.training.run import evaluate_finished

    evaluate_finished(point.config, RunDirectory(run_dir), tuple(point.config["trust"]))


def _train(point: Point, run_dir: Path, claim: Claim, devices: int | None) -> None:
    from lehr.training.callbacks.pruning import Pruned, Pruning
    from lehr.training.run import Extras, train

    directory = RunDirectory(run_dir)
    config = {**point.config, "dir": str(run_dir), "resume": None}
    if devices is not None:
        config["trainer"] = {**config["trainer"], "devices": devices}
    extras = Extras(point.swept, (Pruning(point.trial),) if point.trial else ())
    trust = tuple(config["trust"])
    resume = directory.state() in (RUNNING, INTERRUPTED, FAILED, PRUNED) and directory.last_checkpoint.exists()
    with suppress(Pruned):
        try:
            train(config, directory, resume, trust, claim=claim, extras=extras)
        except CheckpointError as error:
            if not resume:
                raise
            # what an earlier attempt left cannot be gone on with: better trained anew than not at all
            print(f"note: {error}; the run starts again", file=sys.stderr)
            train(config, directory, False, trust, claim=claim, extras=extras)


def _is_disk_full(error: BaseException | None, run_dir: Path) -> bool:
    """Whether `error` came of a full disk: what wraps such an error often does not say so."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return shutil.disk_usage(run_dir).free < LITTLE_SPACE


@contextmanager
def _output_to(log: Path, own_process: bool) -> Iterator[None]:
    """Append to `log` what this process and those that it starts print, or else what Python prints here."""
    if not own_process:
        with log.open("a", encoding="utf-8") as stream, redirect_stdout(stream), redirect_stderr(stream):
            yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.dup2(file, 1)
        os.dup2(file, 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        for descriptor in (file, *saved):
            os.close(descriptor)
