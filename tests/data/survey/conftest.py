from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for bad_folder

import bad_folder

from lehr.data import ImageFolder
from lehr.data.survey import Survey, survey

COMMON: dict[str, Any] = {"batch_size": 10, "eval_batch_size": 7, "val_fraction": 0.2, "binarize": "none", "seed": 3}


@pytest.fixture(scope="session")
def bad(tmp_path_factory) -> Path:
    """The folder made bad on purpose."""
    place = tmp_path_factory.mktemp("bad")
    return bad_folder.make(place / "photos", place / "outside")


@pytest.fixture(scope="session")
def of_bad(bad) -> Survey:
    """Its survey, with the configuration that a training would refuse."""
    return survey(ImageFolder(path=str(bad), size=bad_folder.SIZE, workers=0, on_corrupt="error", **COMMON))
