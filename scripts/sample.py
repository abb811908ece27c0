"""`python scripts/sample.py ...` from a checkout: the same as `lehr sample ...`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from lehr.cli.main import main

sys.exit(main(["sample", *sys.argv[1:]]))
