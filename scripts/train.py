"""`python scripts/train.py ...` from a checkout: the same as `lehr train ...`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from lehr.cli.main import main

if __name__ == "__main__":  # the processes of a sweep import this file
    sys.exit(main(["train", *sys.argv[1:]]))
