"""TinyAutoencoder against diffusers' AutoencoderTiny, and its global branch against the formula."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lehr.models import TinyAutoencoder


def small(**values) -> TinyAutoencoder:
    torch.manual_seed(0)
    return TinyAutoencoder((3, 16, 16), base_channels=8, blocks=(1, 1), **values)


def test_latents_and_images_are_those_of_diffusers():
    from diffusers import AutoencoderTiny

    model = small()
    theirs = AutoencoderTiny(
        encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1),
    )  # fmt: skip
    theirs.load_state_dict(model.state_dict())
    x = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        z = model.encode(x).mean
        torch.testing.assert_close(z, theirs.encode(2 * x - 1).latents)
        torch.testing.assert_close(2 * model.decode(z) - 1, theirs.decode(z).sample)


@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_gradients_reach_the_encoder_and_checkpoints_change_nothing(gradient_checkpointing):
    model, plain = small(gradient_checkpointing=gradient_checkpointing), small()
    x = torch.rand(2, 3, 16, 16)
    grads = []
    for one in (model, plain):
        (one.decode(one.encode(x).mean) - x).square().sum().backward()
        grads.append([p.grad for p in one.parameters()])
    assert all(grad.abs().max() > 0 for grad in grads[0] if grad.ndim > 1)
    torch.testing.assert_close(grads[0], grads[1])


def test_the_global_branch_is_added_to_what_blocks_at_the_lowest_resolution_are_given():
    model = small(global_branch=True)
    assert {name.split(".")[2] for name in model.encoder.state_dict(prefix="encoder.") if ".pool." in name} == {"3"}
    assert {name.split(".")[2] for name in model.decoder.state_dict(prefix="decoder.") if ".pool." in name} == {"2"}
    block, x = model.encoder.layers[3], torch.randn(2, 8, 4, 4)
    weights = block.state_dict()
    wide = F.conv2d(x, weights["pool.0.weight"]).unflatten(1, (4, 8))
    normal = (wide - wide.mean((2, 3, 4), keepdim=True)) / (
        wide.var((2, 3, 4), keepdim=True, correction=0) + 1e-5
    ).sqrt()
    y = x + F.conv2d(normal.flatten(1, 2).relu(), weights["pool.3.weight"])
    torch.testing.assert_close(block(x), (block.conv(y) + y).relu(), rtol=1e-4, atol=1e-5)


def test_a_gaussian_posterior_has_variances_of_its_own():
    q = small(posterior="gaussian").encode(torch.rand(2, 3, 16, 16))
    assert q.latent_shape == (4, 8, 8)
    assert q.logvar.std() > 0
    assert small(posterior="fixed", std=0.5).encode(torch.rand(1, 3, 16, 16)).var.unique().item() == pytest.approx(0.25)
