"""`python -m lehr`, the same as `lehr`."""

import sys

from lehr.cli.main import main

sys.exit(main())
