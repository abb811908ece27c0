from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from lehr.data import Digits
from lehr.data import digits as module


def test_the_file_read_directly_holds_what_scikit_learn_gives() -> None:
    from sklearn.datasets import load_digits

    levels, labels = module.read_levels()
    bunch = load_digits()
    np.testing.assert_array_equal(levels, bunch.images)
    np.testing.assert_array_equal(labels, bunch.target)


def test_without_the_file_scikit_learn_is_asked(monkeypatch: Any) -> None:
    direct = module.read_levels()
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    for mine, theirs in zip(direct, module.read_levels(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
        assert mine.dtype == theirs.dtype


@pytest.mark.slow
def test_reading_the_digits_does_not_import_scikit_learn() -> None:
    code = "import sys; from lehr.data.digits import read_levels; read_levels(); print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(("binarize", "levels"), [("none", 17), ("dynamic", 2)])
def test_the_digits_have_17_levels(common: dict[str, Any], binarize: str, levels: int) -> None:
    data = Digits(**common | {"binarize": binarize})
    data.setup()
    assert data.levels == levels


def test_the_test_split_is_the_same_for_every_seed_and_validation_is_not(common: dict[str, Any]) -> None:
    def splits(**changes: Any) -> dict[str, torch.Tensor]:
        data = Digits(**common | changes)
        data.setup()
        assert data.n_train + data.n_val + data.n_test == 1797
        assert data.n_test == round(1797 * 0.2)
        return {
            name: torch.cat([batch.images for batch in data.evaluation_loader(name, "cpu")])
            for name in ("train", "val", "test")
        }

    one, other, third = splits(seed=0), splits(seed=1), splits(seed=0, split_seed=1)
    assert one["test"].equal(other["test"])
    assert not one["val"].equal(other["val"])
    assert not one["test"].equal(third["test"])
    assert set((one["train"] * 16).unique().tolist()) == set(range(17))
