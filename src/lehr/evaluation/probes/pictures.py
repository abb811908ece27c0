"""Maps of numbers as pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

_SIDE = 256  # pixels that the longer side of a map is enlarged to, by whole factors
_GAP = 6


def heat(values: Tensor, low: float, high: float) -> Tensor:
    """A map (h, w) as (3, H, W) uint8: black at `low`, over red and yellow to white at `high`, enlarged."""
    share = ((values.double() - low) / max(high - low, 1e-30)).clamp(0, 1)
    colours = torch.stack([(3 * share - i).clamp(0, 1) for i in range(3)])
    factor = max(1, _SIDE // max(values.shape))
    picture = (255 * colours).round().to(torch.uint8)
    return picture.repeat_interleave(factor, 1).repeat_interleave(factor, 2)


def beside(pictures: Sequence[Tensor]) -> Tensor:
    """Pictures (3, h, w) uint8 of any size from left to right on white: one (3, H, W)."""
    height = max(picture.shape[1] for picture in pictures)
    padded = [F.pad(picture, (0, _GAP, 0, height - picture.shape[1]), value=255) for picture in pictures]
    return torch.cat(padded, dim=2)[..., :-_GAP]
