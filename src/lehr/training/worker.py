"""`python -m lehr.training.worker DIR [CHECKPOINT [PACKAGE ...]]`: one more rank of the run in DIR."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from lehr.errors import STOP_SIGNALS
from lehr.startup import quick_imports

with quick_imports():
    from lehr.run.directory import RunDirectory
    from lehr.training.ddp import end_rank
    from lehr.training.session import follow


def main() -> int:
    run_dir, checkpoint, *trust = sys.argv[1:]
    _depend_on_the_first_rank()
    directory = RunDirectory(run_dir)
    try:
        follow(directory, Path(checkpoint) if checkpoint else None, tuple(trust))
    except Exception as error:
        end_rank(int(os.environ["LOCAL_RANK"]), error, directory.path)
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
