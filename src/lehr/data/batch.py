"""What a loader hands to a model: images, and where in the batch or the split they stand."""

from __future__ import annotations

import torch
from torch import Tensor


class Batch:
    """The rows of one batch that belong to this rank.

    Deliberately neither a tensor collection nor a dataclass: Lightning's precision plugins round every tensor they
    can reach to the training precision, and pixels are the target of a likelihood computed in float32.

    Attributes:
        images: (b c h w) float32 in [0, 1], on the device.
        start: position of the first row; in training within the global batch (all ranks together), in evaluation
            within the split.
        total: in training the size of the global batch, in evaluation the size of the split.
    """

    __slots__ = ("images", "start", "total")

    def __init__(self, images: Tensor, start: int, total: int) -> None:
        self.images = images
        self.start = start
        self.total = total

    def __len__(self) -> int:
        return self.images.shape[0]

    def to(self, device: torch.device | str) -> Batch:
        """The batch on `device`: this very object if it is there already."""
        images = self.images.to(device)
        return self if images is self.images else Batch(images, self.start, self.total)
