"""The probe of float16: a planted overflow is a fault, and a sound model is none."""

from __future__ import annotations

import math

import pytest
import torch

from lehr.evaluation.probes.half import HALF
from lehr.evaluation.probes.probe import ProbeInputs
from lehr.models import KLAutoencoder
from lehr.objective.likelihood import Gaussian


def probed(factor: float):
    torch.manual_seed(0)
    small = {"base_channels": 8, "channel_multipliers": (1, 2), "layers": 1, "norm_groups": 4}
    model = KLAutoencoder((3, 16, 16), **small).eval()
    with torch.no_grad():
        for parameter in model.decoder.up_blocks[1].resnets[1].conv2.parameters():
            parameter *= factor
    return HALF.measure(ProbeInputs(model, Gaussian(), (torch.rand(6, 3, 16, 16),), torch.device("cpu")))


def test_an_overflow_is_a_fault_and_the_sentence_says_where():
    found = probed(1e6)
    assert found.fault
    assert found.values["first_over"] == "decoder.up_blocks.1.resnets.1.conv2"
    assert found.values["broken_share"] > 0.5
    assert found.values["psnr"] is None
    assert "overflow float16 from decoder.up_blocks.1.resnets.1.conv2 on" in found.sentence


def test_a_sound_model_is_none():
    found = probed(1.0)
    assert not found.fault
    assert found.values["broken_share"] == 0
    assert found.values["headroom"] > 8
    assert found.values["computed_in"] == "float32, each result rounded to float16"
    assert "in float16 (float32, each result rounded to float16)" in found.sentence
    assert found.picture.shape[0] == 3


def test_what_fits_by_less_than_a_bit_is_a_fault_too():
    """The largest activation of the planted layer is moved to 50,000, below 65,504."""
    largest = probed(1e4).values["largest"]
    found = probed(1e4 * 50_000 / largest)
    assert found.values["largest"] == pytest.approx(50_000, rel=0.01)
    assert found.values["first_over"] is None
    assert found.fault


def test_what_is_nan_in_float32_already_is_a_fault_with_a_picture():
    found = probed(math.nan)
    assert found.fault
    assert found.values["headroom"] == -math.inf
    assert found.picture.shape[0] == 3
