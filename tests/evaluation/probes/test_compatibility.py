"""The probe of two latent spaces: one and the same, and two that have nothing in common."""

from __future__ import annotations

import torch
from toy import Exact, inputs, smooth_images

from lehr.evaluation.probes.compatibility import COMPATIBILITY

IMAGES = smooth_images(32)


def rolled(z: torch.Tensor) -> torch.Tensor:
    """Each latent map from left to right: no map of a position, or of what lies around it, gets it back."""
    return z.flip(-1)


def test_without_another_it_says_what_to_say():
    assert COMPATIBILITY.lacks(inputs(Exact())) == "say other=RUN, an autoencoder whose latents are compared with these"


def test_a_model_and_itself_have_one_space():
    found = COMPATIBILITY.measure(inputs(Exact(), IMAGES, other=inputs(Exact())))
    assert not found.fault
    assert found.values["psnr_direct"] == found.values["psnr_own"] == 100
    assert found.sentence.startswith("one latent space")


def test_latents_at_other_places_are_another_space():
    other = inputs(Exact(of_latents=rolled, of_images=rolled))
    found = COMPATIBILITY.measure(inputs(Exact(), IMAGES, other=other))
    assert found.fault
    assert found.values["psnr_mapped"] < 40
    assert found.sentence.startswith("different latent spaces")
    assert found.picture.shape[0] == 3
