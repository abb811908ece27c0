"""One point of a sweep in this process, whoever started it: claimed, begun or gone on with, and recorded."""

from __future__ import annotations

import faulthandler
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lehr.config.given import NOTHING, Given
from lehr.errors import CheckpointError, DiskFull, in_a_line
from lehr.files import is_disk_full
from lehr.paths import absolute
from lehr.run.claim import Claim
from lehr.run.directory import RunDirectory
from lehr.run.status import DONE, FAILED, INTERRUPTED, PRUNED, RUNNING, lacks_evaluation, now
from lehr.startup import quick_imports
from lehr.streams import need_no_reader
from lehr.sweeps.point import Point
from lehr.training.beginning import has_begun

if TYPE_CHECKING:
    from lightning.pytorch import Callback

    from lehr.training.fused.lanes import Lane

LOG = "log.txt"


def run_point(
    run_dir: Path,
    retry: str | None = None,
    own_process: bool = True,
    devices: int | None = None,
    accelerator: str | None = None,
    given: Given = NOTHING,
    lane: Lane | None = None,
    callbacks: tuple[Callback, ...] = (),
) -> str:
    """Train the point in `run_dir`, unless that is done or another process is at it.

    Args:
        run_dir: holds point.json, and whatever an earlier attempt has left.
        retry: try again what has failed before this time (ISO 8601, UTC); None for nothing.
        own_process: whether this process is there for the point alone, so that all of its output belongs to it.
        devices, accelerator: in place of those of `trainer`.
        given: what stands in place of names of the point's configuration, see `lehr.run.objects`.
        lane: where it is trained in step with other points.
        callbacks: after those of the configuration.

    Returns:
        The state in which the point is then, as of `state_of`. What it printed is in log.txt.

    Raises:
        DiskFull: if that is what stopped it.
        Interrupted: upon a signal to end, after a checkpoint was written.
    """
    point, directory = Point.read(run_dir), RunDirectory(run_dir)
    claim = Claim.take(run_dir)
    if claim is None:
        return RUNNING
    if lane:
        claim.lost = lane.lose
    with claim:
        status = directory.read_status()  # as it is now that no other process can change it
        state = status.get("state")
        if state == PRUNED and point.trial:
            return state
        if state == FAILED and not _failed_before(str(status.get("finished") or ""), retry):
            return state
        if state == DONE and not lacks_evaluation(status, point.config["evaluate"]):
            return state
        with _output_to(run_dir / LOG, own_process):
            try:
                if state == DONE:
                    _evaluate(point, directory, given)
                else:
                    where = {"devices": devices, "accelerator": accelerator}
                    _train(point, directory, where, callbacks, claim=claim, given=given, lane=lane)
            except Exception as error:
                if is_disk_full(error, run_dir):
                    raise DiskFull(f"{run_dir}: there is no space left on the disk") from error
                line = in_a_line(error)
                print(f"lehr train: {line}", file=sys.stderr)
                traceback.print_exc()
                now = directory.read_status()
                if now.get("state") != FAILED or now == status:  # it did not get as far as to say so
                    directory.record_end(FAILED, line)
        return str(directory.state())


def _failed_before(finished: str, retry: str | None) -> bool:
    """Whether what failed then is to be tried again; a time that is still to come is of a clock that was set back."""
    return retry is not None and (finished <= retry or finished > now())


def _evaluate(point: Point, directory: RunDirectory, given: Given) -> None:
    with quick_imports():
        from lehr.run.evaluate import evaluate_finished

    evaluate_finished(point.config, directory, tuple(point.config["trust"]), given)


def _train(
    point: Point, directory: RunDirectory, where: Mapping[str, Any], callbacks: tuple[Callback, ...], **extras: Any
) -> None:
    """Train the point on what `where` says; `extras` are as of `Extras`."""
    with quick_imports():
        from lehr.training.callbacks.pruning import Pruned, Pruning
        from lehr.training.extras import Extras
        from lehr.training.stages import train

    config = {**point.config, "dir": absolute(directory.path), "resume": None, "resume_from": "last"}
    config["trainer"] = {**config["trainer"], **{key: value for key, value in where.items() if value is not None}}
    pruning = (Pruning(point.trial),) if point.trial else ()
    own = Extras(tuple(config["trust"]), hyperparameters=point.swept, callbacks=(*pruning, *callbacks), **extras)
    resume = directory.state() in (RUNNING, INTERRUPTED, FAILED, PRUNED) and has_begun(directory)
    with suppress(Pruned):
        try:
            train(config, directory, resume, own)
        except CheckpointError as error:
            if not resume:
                raise
            # what an earlier attempt left cannot be gone on with: better trained anew than not at all
            print(f"note: {error}; the run starts again", file=sys.stderr)
            train(config, directory, False, own)


@contextmanager
def _output_to(log: Path, own_process: bool) -> Iterator[None]:
    """Append to `log` what this process and those that it starts print, or else what Python prints here."""
    if not own_process:
        spelt_out = log.open("a", encoding="utf-8", errors="backslashreplace")
        with spelt_out as stream, redirect_stdout(stream), redirect_stderr(stream):
            yield
        return
    need_no_reader()
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.dup2(file, 1)
        os.dup2(file, 2)
        faulthandler.enable(file)  # where it was when it crashed
        yield
    finally:
        faulthandler.disable()
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        for descriptor in (file, *saved):
            os.close(descriptor)
