"""Attention taken out against a model that was built without it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from toy import Exact, inputs, smooth_images

from lehr.evaluation.probes.attention import ATTENTION, without_attention
from lehr.models import KLAutoencoder

SMALL = {"base_channels": 8, "channel_multipliers": (1, 2), "layers": 1, "norm_groups": 4}


def with_attention(strength: float) -> KLAutoencoder:
    """Whose attention adds so much."""
    torch.manual_seed(0)
    model = KLAutoencoder((3, 16, 16), **SMALL).eval()
    for network in (model.encoder, model.decoder):
        out = network.mid_block.attentions[0].to_out[0]
        nn.init.normal_(out.weight, 0.0, strength)
        nn.init.normal_(out.bias, 0.0, strength)
    return model


def test_without_attention_it_is_the_model_that_never_had_it():
    model = with_attention(1.0)
    plain = KLAutoencoder((3, 16, 16), mid_attention=False, **SMALL).eval()
    plain.load_state_dict({name: w for name, w in model.state_dict().items() if ".attentions." not in name})
    images = smooth_images(3, 16)
    without = without_attention(model)
    torch.testing.assert_close(without.encode(images).mean, plain.encode(images).mean, rtol=0, atol=0)
    z = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(without.decode(z), plain.decode(z), rtol=0, atol=0)
    assert not torch.allclose(model.decode(z), plain.decode(z))
    found = ATTENTION.measure(inputs(model, images, sizes=(16, 32))).values
    n = sum(p.numel() for p in model.parameters())
    assert found["parameters"] == n - sum(p.numel() for p in plain.parameters())
    assert found["parameters_share"] == pytest.approx(found["parameters"] / n)
    assert found["size"] == [16, 32]
    assert all(seconds > 0 for seconds in [*found["seconds_with"], *found["seconds_without"]])


def test_attention_that_does_nothing_is_a_fault_and_one_that_does_is_none():
    found = ATTENTION.measure(inputs(with_attention(0.0), smooth_images(3, 16)))
    assert found.fault
    assert found.values["latents_change"] == pytest.approx(0, abs=1e-5)
    found = ATTENTION.measure(inputs(with_attention(1.0), smooth_images(3, 16)))
    assert not found.fault
    assert found.values["latents_change"] > 0.01


def test_a_model_without_attention_has_none_to_take_out():
    assert ATTENTION.lacks(inputs(Exact())) == "the model has no attention"
