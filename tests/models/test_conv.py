"""The convolutional model: its sizes, counted by hand."""

from __future__ import annotations

import pytest
import torch

from lehr.models.conv import Conv


def test_parameters_of_the_default_on_28_by_28():
    model = Conv((1, 28, 28), latent_dim=20)
    encoder = (1 * 9 * 32 + 32) + (32 * 9 * 64 + 64) + (64 * 7 * 7 * 256 + 256) + (256 * 40 + 40)
    decoder = (20 * 256 + 256) + (256 * 64 * 7 * 7 + 64 * 7 * 7) + (64 * 9 * 32 + 32) + (32 * 9 * 1 + 1)
    assert sum(p.numel() for p in model.encoder.parameters()) == encoder
    assert sum(p.numel() for p in model.decoder.parameters()) == decoder


@pytest.mark.parametrize(
    ("side", "levels", "smallest"),
    [((28, 28), 2, (7, 7)), ((7, 13), 2, (2, 4)), ((50, 37), 3, (7, 5)), ((1, 1), 3, (1, 1)), ((1, 9), 3, (1, 2))],
)
def test_each_level_halves_the_sides_rounding_up(side, levels, smallest):
    model = Conv((3, *side), latent_dim=2, channels=[4] * levels, hidden=0)
    before_flatten = model.encoder[: 2 * levels](torch.zeros(1, 3, *side))
    assert before_flatten.shape == (1, 4, *smallest)
    assert model.decode(torch.zeros(5, 2)).shape == (5, 3, *side)


@pytest.mark.parametrize("hidden", [0, 16])
@pytest.mark.parametrize("channels", [(5,), (5, 6, 7)])
def test_any_number_of_levels_gives_back_the_image_and_any_real_value(hidden, channels):
    torch.manual_seed(0)
    model = Conv((2, 9, 6), latent_dim=3, channels=channels, hidden=hidden, activation="relu")
    x = torch.rand(4, 2, 9, 6)
    posterior, parameters = model(x, torch.randn(4, 3))
    assert posterior.mean.shape == (4, 3)
    assert parameters.shape == x.shape
    # nothing comes after the last layer that would cut off one sign
    assert parameters.min() < 0 < parameters.max()


def test_a_model_without_levels_is_refused():
    with pytest.raises(ValueError, match=r"model.channels=\[\]: .* at least one level"):
        Conv((1, 4, 4), latent_dim=2, channels=())


def test_the_encoder_sees_every_pixel_and_the_decoder_writes_every_pixel():
    torch.manual_seed(0)
    model = Conv((1, 7, 13), latent_dim=3, channels=(4, 6), hidden=0, activation="tanh").double()
    x = torch.rand(1, 1, 7, 13, dtype=torch.float64, requires_grad=True)
    model.encode(x).mean.sum().backward()
    assert (x.grad != 0).all()
    z = torch.zeros(1, 3, dtype=torch.float64)
    moved = model.decode(z + 1) - model.decode(z)
    assert (moved != 0).all()
