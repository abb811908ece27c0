"""Numbers as labels: classes, or factors of variation."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lehr.data.numpy_file import Stored
from lehr.errors import DataError


def as_labels(stored: Stored, n: int, what: str) -> Tensor:
    """Whole numbers as labels of `n` images: int64, (n,) classes or (n, f) factors.

    Raises:
        DataError: in a line that begins with `what`, if they are not.
    """
    if stored.dtype.kind not in "iu" or len(stored.shape) not in (1, 2):
        raise DataError(
            f"{what} has {stored.dtype} labels of shape {stored.shape}, "
            "expected whole numbers of shape (n,) or (n, factors)"
        )
    if len(stored) != n:
        raise DataError(f"{what} has {len(stored)} labels and {n} images")
    labels = stored.array()
    if labels.size and labels.max() > np.iinfo(np.int64).max:
        raise DataError(f"{what} has labels up to {labels.max()}, expected at most those of int64")
    return torch.from_numpy(labels.astype(np.int64))
