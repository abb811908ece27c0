"""`python -m lehr.training.worker RANK/WORLD PORT DIR [CHECKPOINT [PACKAGE ...]]`: one more rank of the run in DIR."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from lehr.signals import STOP_SIGNALS
from lehr.startup import quick_imports
from lehr.streams import need_no_reader
from lehr.surroundings import Place


def main() -> int:
    need_no_reader()
    place, port, run_dir, checkpoint, *trust = sys.argv[1:]
    rank, world = map(int, place.split("/"))
    _depend_on_the_first_rank()
    with quick_imports():
        from lehr.run.directory import RunDirectory
        from lehr.training.ddp import end_rank
        from lehr.training.session import follow
    directory = RunDirectory(run_dir)
    try:
        here = Place(rank, world, local_rank=rank, node=0, address="127.0.0.1", port=int(port))
        follow(directory, Path(checkpoint) if checkpoint else None, tuple(trust), here)
    except Exception as error:
        end_rank(rank, error, directory.path)
    return 0


def _depend_on_the_first_rank() -> None:
    """Leave signals to it, which ends the others when it ends, and end too where it could not do so."""
    for signum in STOP_SIGNALS:
        signal.signal(signum, signal.SIG_IGN)
    first = os.getppid()

    def follow_it() -> None:
        while os.getppid() == first:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=follow_it, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
