"""Where images come from, and in which order.

A data set gives three splits of images. Pixels are float32 in [0, 1], shape (b c h w), when they reach the model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lehr.lazy import exports

if TYPE_CHECKING:
    from lehr.data.arrays import Arrays
    from lehr.data.batch import Batch
    from lehr.data.digits import Digits
    from lehr.data.folder import ImageFolder
    from lehr.data.given import GivenDataModule, GivenImages
    from lehr.data.hub import HubImages
    from lehr.data.idx import MNIST, FashionMNIST
    from lehr.data.module import ImageDataModule
    from lehr.data.shards import Shards

__all__ = [
    "MNIST",
    "Arrays",
    "Batch",
    "Digits",
    "FashionMNIST",
    "GivenDataModule",
    "GivenImages",
    "HubImages",
    "ImageDataModule",
    "ImageFolder",
    "Shards",
]

# Lazy: a process that only decodes image files imports this package, and must not wait for torch and Lightning.
__getattr__, __dir__ = exports(
    __name__,
    {
        "Arrays": "arrays",
        "Batch": "batch",
        "Digits": "digits",
        "FashionMNIST": "idx",
        "GivenDataModule": "given",
        "GivenImages": "given",
        "HubImages": "hub",
        "ImageDataModule": "module",
        "ImageFolder": "folder",
        "MNIST": "idx",
        "Shards": "shards",
    },
)
