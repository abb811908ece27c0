"""How training looks at each picture: where it is cut and how it is turned over.

All of it is a function of (seed, epoch, row).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from lehr import randomness
from lehr.data.crop import Size, View
from lehr.data.encoded import Encoded

_SEEDS = 2**62


@dataclass(frozen=True)
class Augmentation:
    """What is drawn for each picture in each epoch.

    Attributes:
        crop: "centre", "random" (along the long side, and the short one where it is longer than what is cut) or
            "random_resized" (a box of random area and ratio).
        horizontal, vertical: whether it is turned over that way half of the time.
        seed: of all that is drawn.
    """

    crop: str
    horizontal: bool
    vertical: bool
    seed: int

    def of_epoch(self, epoch: int, n: int) -> Drawn:
        """What is drawn in an epoch for `n` pictures."""
        seed, drawn = self.seed, Drawn(self)
        if self.crop == "random" or self.horizontal:
            drawn.places = randomness.uniform(seed, "augment", epoch, (n, 2))
        if self.crop == "random":
            drawn.across = randomness.uniform(seed, "augment/across", epoch, (n,))
        if self.crop == "random_resized":
            generator = randomness.generator(seed, "augment/box", epoch)
            drawn.boxes = torch.randint(_SEEDS, (n,), generator=generator)
        if self.vertical:
            drawn.upside_down = randomness.uniform(seed, "augment/vertical", epoch, (n,)) < 0.5
        return drawn


@dataclass
class Drawn:
    """What was drawn for each of n pictures; None for what is not drawn.

    Attributes:
        plan: what is drawn.
        places: (n, 2), where along the long side, and what decides on mirroring.
        across: (n,), where along the short side.
        boxes: (n,), the seeds of random boxes.
        upside_down: (n,).
    """

    plan: Augmentation
    places: Tensor | None = None
    across: Tensor | None = None
    boxes: Tensor | None = None
    upside_down: Tensor | None = None

    def views(self, pictures: Iterable[Encoded], rows: Tensor, target: Size | None = None) -> list[View]:
        """How the pictures of these rows are looked at."""
        n = len(rows)
        places = [(0.5, 1.0)] * n if self.places is None else self.places[rows].tolist()
        across = [None] * n if self.across is None else self.across[rows].tolist()
        boxes = [None] * n if self.boxes is None else self.boxes[rows].tolist()
        upside_down = [False] * n if self.upside_down is None else self.upside_down[rows].tolist()
        return [
            View(
                picture,
                place=0.5 if beside is None else place,
                mirrored=self.plan.horizontal and mirror < 0.5,
                across=0.5 if beside is None else beside,
                upside_down=turned,
                box=box,
                target=target,
            )
            for picture, (place, mirror), beside, box, turned in zip(
                pictures, places, across, boxes, upside_down, strict=True
            )
        ]
