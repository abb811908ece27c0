"""What a published KL weight is in nats per example: a number means nothing without the loss that it stands in.

Here loss = distortion + w * rate, both summed (over pixel values, over latents) and averaged over examples. Others
leave out the scale of the likelihood, or average over pixels and latents: their numbers are smaller or larger by the
factors below, so that "1e-6" is no weight by itself.
"""

from __future__ import annotations

from typing import Literal

Convention = Literal["nats", "ldm", "mean"]


def in_nats(convention: str, pixels: int, latents: int, error_weight: float) -> float:
    """The weight w in nats that a weight of 1 is in another convention.

    Args:
        convention: "nats", distortion and rate as they are. "ldm", beside the sum of an error of pixels in [-1, 1]
            (Rombach et al. 2022: the absolute one, and 1e-6). "mean", beside the mean of that error over pixel values,
            the rate averaged over latents (mosaicml's diffusion, most implementations in a line of code).
        pixels: Nx = c h w of an image.
        latents: Nz of it.
        error_weight: what a unit of that error costs in nats, see `Likelihood.fixed_error_weight`.
    """
    if convention == "nats":
        return 1.0
    return error_weight * (pixels / latents if convention == "mean" else 1.0)
