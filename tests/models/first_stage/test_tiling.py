"""Tiles, the Fourier features of the encoder's input, and checkpoints of activations."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lehr.models import KLAutoencoder
from lehr.models.first_stage.residual import fourier
from lehr.models.first_stage.tiling import tiled

SMALL = {"base_channels": 8, "channel_multipliers": (1, 2), "layers": 1, "norm_groups": 4}


def model(**values) -> KLAutoencoder:
    torch.manual_seed(0)
    return KLAutoencoder((3, 32, 32), **SMALL, **values)


@pytest.mark.parametrize("sides", [(40, 24), (33, 70), (8, 50), (9, 9)])
def test_what_looks_at_no_neighbours_is_the_same_in_tiles(sides):
    x = torch.randn(2, 3, *sides)
    up = nn.Sequential(nn.Conv2d(3, 5, 1), nn.Upsample(scale_factor=2))
    torch.testing.assert_close(tiled(up, x, 8, 1, 2), up(x))
    wide = torch.randn(2, 3, 2 * sides[0], 2 * sides[1])
    down = nn.AvgPool2d(2)
    torch.testing.assert_close(tiled(down, wide, 8, 2, 1), down(wide))


def test_in_the_middle_of_a_tile_a_local_network_does_not_see_its_edges():
    x, blur = torch.randn(1, 1, 16, 28), nn.Conv2d(1, 1, 3, padding=1)
    found, whole = tiled(blur, x, 16, 1, 1), blur(x)
    torch.testing.assert_close(found[..., :11], whole[..., :11])  # the second tile begins at column 12
    assert (found[..., 12] - whole[..., 12]).abs().max() > 1e-3


def test_tiles_are_for_evaluation_of_images_that_are_larger():
    plain, tiling = model(), model(tile=16)
    x, z = torch.rand(1, 3, 32, 32), torch.randn(1, 4, 16, 16)
    assert torch.equal(tiling.encode(x).mean, plain.encode(x).mean)  # it trains
    tiling.eval()
    assert torch.equal(tiling.encode(x[..., :16, :16]).mean, plain.encode(x[..., :16, :16]).mean)
    assert tiling.encode(x).mean.shape == (1, 4, 16, 16)
    assert 0 < (tiling.decode(z) - plain.decode(z)).abs().mean() < 0.2
    with pytest.raises(ValueError, match=r"model.tile=14: must be a multiple of 2, 16 or more"):
        model(tile=14)


def test_the_encoder_alone_is_given_fourier_features():
    x = torch.tensor([[[[-1.0, 0.25]]]])
    expected = [-1, 0.25, 0, 2**-0.5, 0, 1, -1, 2**-0.5, 1, 0]
    torch.testing.assert_close(fourier(x, 2).flatten(), torch.tensor(expected), atol=1e-6, rtol=0)
    with_features = model(fourier_features=2)
    assert with_features.encoder.conv_in.in_channels == 15
    assert with_features.decoder.conv_out.out_channels == 3
    assert with_features.encode(torch.rand(1, 3, 32, 32)).latent_shape == (4, 16, 16)


def test_activations_that_are_computed_once_more_give_the_same_gradients():
    grads = []
    for checkpointing in (False, True):
        one = model(gradient_checkpointing=checkpointing)
        torch.manual_seed(1)
        one.decode(one.encode(torch.rand(1, 3, 32, 32)).mean).square().sum().backward()
        grads.append([p.grad for p in one.parameters() if p.grad is not None])
    torch.testing.assert_close(*grads)
