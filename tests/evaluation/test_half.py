"""An overflow in float16 that is planted: where it begins, what is left of the images, and that rescaling undoes it."""

from __future__ import annotations

import math

import pytest
import torch

from lehr.activations import LIMIT
from lehr.evaluation.half import fit_for_half, measure_half
from lehr.models import KLAutoencoder

LEVEL = "decoder.up_blocks.1.resnets"
PLANTED = f"{LEVEL}.0.conv2"


def model_of(factor: float = 1.0) -> KLAutoencoder:
    torch.manual_seed(0)
    small = {"base_channels": 16, "channel_multipliers": (1, 2), "layers": 1, "norm_groups": 4}
    model = KLAutoencoder((3, 32, 32), **small).eval()
    with torch.no_grad():
        for i in range(2):  # all that the last level adds to the residual stream
            for parameter in model.get_submodule(f"{LEVEL}.{i}.conv2").parameters():
                parameter *= factor
    return model


def test_a_planted_overflow_is_found_where_it_begins_and_images_are_lost():
    found = measure_half(model_of(3e5), [torch.rand(2, 3, 32, 32)])
    assert found.first_over == found.broken == PLANTED
    assert found.headroom == pytest.approx(math.log2(65504 / found.largest[found.worst]))
    assert found.headroom < 0
    assert found.broken_share > 0.5
    assert found.psnr is None


def test_a_sound_model_has_headroom_and_the_same_images_in_float16():
    found = measure_half(model_of(), [torch.rand(2, 3, 32, 32), torch.rand(1, 3, 48, 32)])
    assert (found.first_over, found.broken, found.broken_share) == (None, None, 0)
    assert found.headroom > 8
    assert found.psnr > 50


def test_rescaled_it_has_the_images_of_before_in_both_precisions():
    """PSNR between before and after: that of float32's rounding. In float16 as close as a model without the fault."""
    model, x = model_of(3e5), [torch.rand(2, 3, 32, 32)]
    fitted = fit_for_half(model, x)
    assert [stretch.name for stretch in fitted.stretches] == [f"{LEVEL}.0.conv_shortcut"]
    assert fitted.before.broken == PLANTED
    assert (fitted.after.broken, fitted.after.broken_share) == (None, 0)
    assert fitted.after.largest[fitted.after.worst] <= LIMIT
    assert fitted.psnr > 100
    assert fitted.after.psnr > 50
