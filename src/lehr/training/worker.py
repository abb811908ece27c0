"""`python -m lehr.training.worker DIR [CHECKPOINT [PACKAGE ...]]`: one more rank of the run in DIR."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from lehr.errors import LehrError, NonFiniteLoss
from lehr.training.callbacks.interruption import SIGNALS
from lehr.training.directory import RunDirectory
from lehr.training.run import follow


def main() -> int:
    run_dir, checkpoint, *trust = sys.argv[1:]
    _depend_on_the_first_rank()
    directory = RunDirectory(run_dir)
    try:
        follow(directory, Path(checkpoint) if checkpoint else None, tuple(trust))
    except NonFiniteLoss:
        return 1  # of all ranks together, so the first rank reports it
    except LehrError as error:
        print(f"lehr train: rank {os.environ['LOCAL_RANK']}: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def _depend_on_the_first_rank() -> None:
    """Leave signals to it, which ends the others when it ends, and end too where it could not do so."""
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN)
    first = os.getppid()

    def follow_it() -> None:
        while os.getppid() == first:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=follow_it, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
