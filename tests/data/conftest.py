"""Small data sets that the tests of this folder share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))  # for raw_pictures


@pytest.fixture
def common() -> dict[str, Any]:
    """Arguments that every data module takes."""
    return {"batch_size": 10, "eval_batch_size": 7, "val_fraction": 0.2, "binarize": "none", "seed": 3}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of 30 PNG files of different shapes, in the classes "cat" and "dog"."""
    rng = np.random.default_rng(0)
    root = tmp_path / "photos"
    for i in range(30):
        height, width = rng.integers(8, 24, 2)
        path = root / ("cat" if i % 3 else "dog") / f"{i:02}.PNG"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    return root
