"""The probes by name, with a line each for whoever chooses among them; what they do is in `lehr.evaluation.probes`."""

from __future__ import annotations

PROBES = {
    "bright_spot": "a place of the latent map that stands out in all images",
    "reach": "how far one latent reaches, with and without attention and norms",
    "noise": "noise of q(z|x) that does nothing, or is rounded away",
    "attention": "what attention does, and what it costs",
    "grid": "a pattern of the decoder at each cell, and checkerboards",
    "colour": "a shift of colours",
    "saturation": "values that leave the range of pixels",
    "border": "borders that are reconstructed worse than the same pixels within",
    "equivariance": "latents that are flipped, turned, shifted or scaled, and what they decode to",
    "spectrum": "high frequencies of latents that images of their size have not",
    "fp16": "activations that are infinite in half precision",
    "compatibility": "whether the autoencoder other= has the same latent space",
}
"""In the order in which they are shown."""
