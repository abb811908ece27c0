"""`python -m lehr.training.worker DIR [CHECKPOINT [PACKAGE ...]]`: one more rank of the run in DIR."""

from __future__ import annotations

import sys
from pathlib import Path

from lehr.errors import LehrError
from lehr.training.directory import RunDirectory
from lehr.training.run import follow


def main() -> int:
    run_dir, checkpoint, *trust = sys.argv[1:]
    directory = RunDirectory(run_dir)
    try:
        follow(directory, Path(checkpoint) if checkpoint else None, tuple(trust))
    except LehrError:
        return 1  # the first rank makes the same mistake and reports it
    return 0


if __name__ == "__main__":
    sys.exit(main())
