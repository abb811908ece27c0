"""What only a card can show. What can run on a CPU too does so in `make test`, which shows that these tests are right.

No number here is one that was measured on a card: a GPU draws other noise than a CPU, and sums in another order.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))  # for harness

DEVICES = ("cpu", pytest.param("cuda", marks=pytest.mark.gpu))
QUIET = (
    "trainer.max_epochs=2", "kl.hold=0", "kl.warmup=1", "model.hidden=[32]", "trainer.check_val_every_n_epoch=2",
    "evaluate=none", "logger=none", "callbacks.samples=null",
)  # fmt: skip
"""A training of the digits that takes half a second: 42 steps, and only its numbers."""


@pytest.fixture(params=DEVICES)
def device(request) -> str:
    return request.param


@pytest.fixture
def trained(lehr, tmp_path):
    """Train on a device: the final numbers."""

    def train(device: str, *words: str, name: str = "run") -> dict[str, float]:
        code, _, err = lehr("train", *QUIET, f"trainer.accelerator={device}", f"dir={tmp_path / name}", *words)
        assert code == 0, err
        return json.loads((tmp_path / name / "metrics.json").read_text())

    return train
