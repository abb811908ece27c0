"""The 1,797 digits of scikit-learn: 8x8 pixels of 17 grey levels. No download, so examples and tests start here."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lehr.data.images import ArrayImages
from lehr.data.module import ImageDataModule
from lehr.data.splits import Splits, with_test_held_out
from lehr.limits import Fraction


class Digits(ImageDataModule):
    """Optical recognition of handwritten digits (E. Alpaydin and C. Kaynak, 1998).

    Args:
        test_fraction: the part held out for testing, chosen by `split_seed` alone.
        **common: see `ImageDataModule`.
    """

    def __init__(self, *, test_fraction: Fraction = 0.2, **common: Any) -> None:
        super().__init__(**common)
        self.test_fraction = test_fraction

    def read(self) -> Splits:
        levels, labels = read_levels()
        images = torch.from_numpy(levels.astype(np.float32) / 16).unsqueeze(1)
        whole = ArrayImages(images, torch.from_numpy(labels), levels=17)
        return with_test_held_out("digits", whole, self.test_fraction, self.split_seed)


def read_levels() -> tuple[np.ndarray, np.ndarray]:
    """Grey levels 0..16, (1797, 8, 8), and classes, (1797,) int64."""
    # Importing scikit-learn takes longer than training on these images does; its file is all that is needed.
    spec = find_spec("sklearn")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder, "datasets", "data", "digits.csv.gz")
        if path.is_file():
            with gzip.open(path, "rt", encoding="ascii") as file:
                table = np.loadtxt(file, delimiter=",", dtype=np.int64)
            return table[:, :-1].reshape(-1, 8, 8), table[:, -1]

    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images.astype(np.int64), bunch.target.astype(np.int64)
