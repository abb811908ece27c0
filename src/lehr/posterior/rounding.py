"""Whether the noise of q(z|x) survives where latents are kept in half precision.

mean + std * noise is a number of finitely many digits: where std is far below the spacing of those numbers at the mean,
every draw rounds to the mean, and what was a sample is the mode. Elementwise, any shape.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
"""The precisions that are asked about, by name."""


def spacing(x: Tensor, dtype: torch.dtype) -> Tensor:
    """From |x| to the next larger number of `dtype`, in the type of `x`: 2^(e - p) for 2^e <= |x| < 2^(e + 1)."""
    info = torch.finfo(dtype)
    _, exponent = torch.frexp(x)  # |x| = f 2^exponent, 1/2 <= f < 1
    steps = info.eps * torch.exp2((exponent - 1).to(x.dtype))
    # below the smallest normal number they no longer shrink, and 0 has no exponent
    return steps.masked_fill(x == 0, 0.0).clamp(min=info.tiny * info.eps)


def lost_share(mean: Tensor, std: Tensor, dtype: torch.dtype) -> Tensor:
    """P(|std * noise| < spacing / 2) for noise ~ N(0, 1): how often mean + std * noise rounds to the mean in `dtype`.

    Exact for a mean that is itself a number of `dtype` and no power of two, below which the spacing is half as large.
    1 where all noise vanishes, and for a std of 0.
    """
    return torch.erf(spacing(mean, dtype) / (2 * math.sqrt(2) * std))
