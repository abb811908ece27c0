"""What the tests of probes share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # for toy


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield
