"""Terms change what the model learns, whatever the precision, the channels and the size of a batch."""

from __future__ import annotations

import pytest
import torch
from compared import share_of_gradients

from lehr.objective.terms import (
    FeatureDistance,
    FlipEquivariance,
    FocalFrequency,
    Laplacian,
    LatentMagnitude,
    ScaleEquivariance,
)

TERMS = {
    "laplacian": lambda shape, latent: Laplacian(),
    "focal_frequency": lambda shape, latent: FocalFrequency(shape),
    "features": lambda shape, latent: FeatureDistance(shape).use(torch.nn.Conv2d(shape[0], 4, 3)),
    "equivariance": lambda shape, latent: ScaleEquivariance(shape, latent),
    "flips": lambda shape, latent: FlipEquivariance(shape, latent, left_right=(0,), up_down=(1,)),
    "magnitude": lambda shape, latent: LatentMagnitude(weight=1.0, per="pixel"),
}


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
@pytest.mark.parametrize(("shape", "b"), [((3, 8, 12), 2), ((1, 8, 8), 1)])
@pytest.mark.parametrize("name", TERMS)
def test_a_term_changes_the_gradient_of_what_it_trains(name, shape, b, precision):
    """Perceptual terms under no_grad, as in the scripts of diffusers, did not."""
    term = TERMS[name](shape, (2, shape[1] // 2, shape[2] // 2))
    encoder, decoder = share_of_gradients(term, shape, b, precision)
    assert encoder > 0.01
    assert (decoder > 0.01) == (term.trains == "decoder")
