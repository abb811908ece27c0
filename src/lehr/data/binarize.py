"""Grey levels made binary: by a threshold, or by drawing each pixel with its grey level as probability.

Dynamic binarisation follows Salakhutdinov and Murray 2008: in training a pixel is drawn anew at every presentation.
In evaluation the draw is fixed by the row of the split, so that the numbers do not depend on batches or ranks.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from lehr import randomness
from lehr.data.order import Share

Kind = Literal["none", "threshold", "dynamic"]


def for_training(pixels: Tensor, kind: str, seed: int, share: Share) -> Tensor:
    """Binarise the rows (b c h w) that one rank has in a batch.

    Noise is drawn for the whole global batch and cut, so that ranks together see what one process would.
    """
    if kind != "dynamic":
        return _fixed_rule(pixels, kind)
    shape = (share.total, *pixels.shape[1:])
    noise = randomness.uniform(seed, "binarize", share.counter, shape, pixels.device)
    return _draw(pixels, noise[share.start : share.start + len(pixels)])


def for_evaluation(pixels: Tensor, kind: str, seed: int, split: str, start: int) -> Tensor:
    """Binarise the rows `start <= i < start + b` of a split, (b c h w)."""
    if kind != "dynamic":
        return _fixed_rule(pixels, kind)
    stop = start + len(pixels)
    shape = tuple(pixels.shape[1:])
    return _draw(pixels, randomness.rows("uniform", seed, f"binarize/{split}", start, stop, shape, pixels.device))


def _fixed_rule(pixels: Tensor, kind: str) -> Tensor:
    # A pixel of exactly 0.5 is off.
    return (pixels > 0.5).to(pixels.dtype) if kind == "threshold" else pixels


def _draw(probabilities: Tensor, noise: Tensor) -> Tensor:
    # Noise lies in [0, 1): probability 0 is never on, probability 1 always.
    return (noise < probabilities).to(probabilities.dtype)
