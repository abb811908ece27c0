"""What the tests of training share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for harness and killer, which other processes import too


@pytest.fixture(scope="session")
def process(tmp_path_factory):
    """Run `lehr ...` in a process of its own: `process("train", "key=value").code`."""
    from harness import Processes

    return Processes(tmp_path_factory.mktemp("processes"))
