"""A planted overflow is taken out of the residual stream, and nothing else changes."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from lehr.activations import LARGEST_HALF, LIMIT, Largest, watching
from lehr.models import KLAutoencoder, TinyAutoencoder
from lehr.models.first_stage.rescale import rescale

SMALL = {"base_channels": 16, "channel_multipliers": (1, 2, 2), "layers": 1, "norm_groups": 4, "attention_levels": (1,)}


def model_of(**values) -> KLAutoencoder:
    torch.manual_seed(0)
    return KLAutoencoder((3, 32, 32), **{**SMALL, **values}).eval()


@torch.no_grad()
def plant(model: nn.Module, name: str, factor: float = 3e4) -> None:
    """Let a convolution of the residual stream give numbers that float16 has not."""
    for parameter in model.get_submodule(name).parameters():
        parameter *= factor


@torch.no_grad()
def largest_of(model: KLAutoencoder, x: torch.Tensor) -> dict[str, float]:
    largest = Largest()
    with watching(model, largest):
        model.decode(model.encode(x).mean)
    return largest.values


@pytest.mark.parametrize(
    "planted",
    [
        "encoder.conv_in",
        "encoder.down_blocks.0.downsamplers.0.conv",
        "encoder.down_blocks.1.resnets.0.conv_shortcut",
        "decoder.conv_in",
        "decoder.up_blocks.0.upsamplers.0.conv",
        "decoder.up_blocks.2.resnets.0.conv_shortcut",
        "decoder.up_blocks.0.resnets.0.conv1",
    ],
)
def test_an_overflow_is_gone_from_where_it_begins_and_outputs_are_what_they_were(planted):
    """The stretch that begins there, and those that it makes too large, by powers of two; rounding is left."""
    model, x = model_of(), torch.rand(2, 3, 32, 32)
    plant(model, planted, 1e6)
    before = copy.deepcopy(model)
    largest = largest_of(model, x)
    assert next(name for name, value in largest.items() if value > LARGEST_HALF) == planted
    done = rescale(model, largest)
    assert done[0].name == planted
    assert all(math.log2(stretch.factor).is_integer() for stretch in done)
    after = largest_of(model, x)
    assert LIMIT / 2 < max(after.values()) <= LIMIT
    with torch.no_grad():
        z = before.encode(x).mean
        torch.testing.assert_close(model.encode(x).mean, z, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(model.decode(z), before.decode(z), rtol=1e-5, atol=1e-5)


def test_an_overflow_within_a_stretch_costs_what_eps_does_to_the_norms_before_it():
    """What is of ordinary size is made smaller too, and there eps counts: much more than rounding, and still little."""
    model, x = model_of(), torch.rand(2, 3, 32, 32)
    plant(model, "decoder.up_blocks.1.resnets.1.conv2", 3e4)
    before = copy.deepcopy(model)
    done = rescale(model, largest_of(model, x), limit=LARGEST_HALF / 64)
    assert done[0].name == "decoder.up_blocks.0.upsamplers.0.conv"
    with torch.no_grad():
        z = before.encode(x).mean
        y, expected = model.decode(z), before.decode(z)
    assert 1e-6 < (y - expected).norm() / expected.norm() < 5e-3


def test_values_of_attention_are_scaled_back_where_they_are_read():
    model, x = model_of(), torch.rand(1, 3, 32, 32)
    name = "decoder.mid_block.attentions.0"
    plant(model, f"{name}.to_v", 1e6)
    with torch.no_grad():
        model.get_submodule(name).to_out[0].weight /= 1e6
    before = copy.deepcopy(model)
    assert [stretch.name for stretch in rescale(model, largest_of(model, x))] == [f"{name}.to_v"]
    z = torch.randn(1, 4, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(model.decode(z), before.decode(z), rtol=1e-5, atol=1e-5)


def test_a_model_that_fits_is_left_as_it_is():
    model, x = model_of(), torch.rand(1, 3, 32, 32)
    before = copy.deepcopy(model.state_dict())
    assert rescale(model, largest_of(model, x)) == []
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_what_eps_costs_is_what_the_formula_says():
    """A stretch that is scaled although its variance is small: eps / (2 s^2 variance) of what a norm gives."""
    norm, x = nn.GroupNorm(1, 4, eps=1e-6), torch.randn(1, 4, 16, 16, dtype=torch.float64)
    norm.double()
    s, variance = 2.0**-6, x.var(correction=0).item()
    with torch.no_grad():
        error = ((norm(s * x) - norm(x)).norm() / norm(x).norm()).item()
    assert error == pytest.approx(1e-6 / (2 * s**2 * variance), rel=0.01)


def test_others_are_refused_in_a_line():
    tiny = TinyAutoencoder((3, 16, 16), blocks=(1, 1), base_channels=4)
    with pytest.raises(ValueError, match="TinyAutoencoder has no residual stream"):
        rescale(tiny, {})
    with pytest.raises(ValueError, match=r"decoder\.conv_in gives numbers that are not finite"):
        rescale(model_of(), {"decoder.conv_in": float("inf")})


def test_sums_and_logits_that_no_module_gives_are_seen():
    """The sum of a block of TAESD, before its ReLU; the logits of attention against their definition."""
    tiny = TinyAutoencoder((3, 16, 16), blocks=(1, 1), base_channels=4).eval()
    sums = largest_of(tiny, torch.rand(1, 3, 16, 16))
    assert [name for name in sums if name.endswith("fuse.input")]
    assert not [name for name in sums if name.endswith("conv.0.input")]  # a module has given it
    model, kept = model_of(), {}
    attention = model.decoder.mid_block.attentions[0]
    attention.to_q.register_forward_hook(lambda _, __, y: kept.update(q=y))
    attention.to_k.register_forward_hook(lambda _, __, y: kept.update(k=y))
    largest = Largest()
    with torch.no_grad(), watching(model, largest):
        model.decode(torch.randn(1, 4, 8, 8))
    scores = attention.get_attention_scores  # softmax of what is looked for
    logits = kept["q"] @ kept["k"].transpose(1, 2) / 32**0.5
    torch.testing.assert_close(scores(kept["q"], kept["k"]), logits.softmax(-1))
    assert largest.values["decoder.mid_block.attentions.0.logits"] == pytest.approx(logits.abs().max().item())
