"""What status.json says of a run that does not come to its end."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from lehr.errors import DiskFull, Interrupted, in_a_line
from lehr.files import is_disk_full
from lehr.run.directory import RunDirectory
from lehr.run.status import FAILED, INTERRUPTED, PRUNED, Status
from lehr.training.callbacks.pruning import Pruned


@contextmanager
def ending_recorded(status: Status, directory: RunDirectory, seconds: Mapping[str, float]) -> Iterator[None]:
    """Record in status.json in which state the block has ended, where it does not come to its end."""
    try:
        yield
    except Interrupted as interruption:
        status.finish(INTERRUPTED, str(interruption), seconds=seconds)
        raise
    except Pruned as pruned:
        status.finish(PRUNED, str(pruned), seconds=seconds)
        raise
    except SystemExit:  # a scheduler's handler that has saved what it wants and leaves
        status.finish(INTERRUPTED, "the process was told to end", seconds=seconds)
        raise
    except KeyboardInterrupt as error:  # outside of training and finishing, which end in order
        stop = Interrupted(signal.SIGINT)
        status.finish(INTERRUPTED, str(stop), seconds=seconds)
        raise stop from error
    except BaseException as error:
        if not is_disk_full(error, directory.path):
            status.finish(FAILED, in_a_line(error), seconds=seconds)
            raise
        with suppress(OSError):  # without room for this it says that it runs, and nobody is there
            status.finish(INTERRUPTED, "there was no space left on the disk", seconds=seconds)
        raise DiskFull(
            f"{directory.path}: there is no space left on the disk; what was written is kept: make room, and go on "
            f"with lehr train resume={directory.path}"
        ) from error
