"""Grids and checkerboards are found with their size, also those that transposed convolutions make."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from toy import Exact, inputs, smooth_images

from lehr.evaluation.probes.grid import GRID, repeating
from lehr.models.autoencoder import Autoencoder
from lehr.posterior.gaussian import DiagonalGaussian


def board(y, period=1):
    """1 and -1 in turns, each `period` pixels wide, as large as y."""
    rows, columns = (torch.arange(side) // period for side in y.shape[2:])
    return (1 - 2 * ((rows[:, None] + columns) % 2)).to(y.dtype)


def test_a_checkerboard_has_its_amplitude_and_one_of_half_a_cell_is_a_grid_alone():
    found = GRID.measure(inputs(Exact(of_images=lambda y: y + 0.01 * board(y))))
    assert found.fault
    # the constant latent that the images have on average is a pattern too, but of less
    assert found.values["checkerboard_rms"] == pytest.approx(0.01, rel=0.2)
    found = GRID.measure(inputs(Exact(of_images=lambda y: y + 0.05 * board(y, 4)), torch.full((4, 3, 64, 64), 0.5)))
    assert found.values["rms"] == pytest.approx(0.05, rel=1e-3)
    assert found.values["checkerboard_rms"] == pytest.approx(0, abs=1e-6)
    assert found.values["share_at_stride"] == pytest.approx(1, rel=1e-3)
    assert found.values["residual_rms"] == pytest.approx(0.05, rel=1e-3)


def test_slopes_and_borders_are_no_grid():
    def shaded(y):
        y = y + 0.3 * torch.linspace(0, 1, y.shape[2])[:, None] - 0.2 * torch.linspace(0, 1, y.shape[3])
        y[..., :8, :] += 0.5
        return y

    found = GRID.measure(inputs(Exact(of_images=shaded), torch.full((4, 3, 64, 64), 0.5)))
    assert not found.fault
    assert found.values["rms"] < 1e-5
    assert found.values["inside_std"] > 0.01


class Decoder(Autoencoder):
    """Doubles the sides three times, by transposed convolutions or by repeating pixels before a convolution."""

    any_size = True

    def __init__(self, transposed: bool) -> None:
        super().__init__((3, 64, 64), (4, 8, 8))
        torch.manual_seed(0)
        layers: list[nn.Module] = []
        for channels, out in ((4, 16), (16, 16), (16, 3)):
            if transposed:
                layers += [nn.ConvTranspose2d(channels, out, 3, stride=2, padding=1, output_padding=1)]
            else:
                layers += [nn.Upsample(scale_factor=2), nn.Conv2d(channels, out, 3, padding=1)]
            layers.append(nn.SiLU())
        self.decoder = nn.Sequential(*layers[:-1])

    def encode(self, x):
        mean = nn.functional.avg_pool2d(x, 8)
        mean = torch.cat([mean, mean.mean(1, keepdim=True)], 1)
        return DiagonalGaussian(mean, torch.full_like(mean, -4.0))

    def decode(self, z):
        return self.decoder(z)


def test_transposed_convolutions_make_a_grid_and_repeated_pixels_none():
    assert GRID.measure(inputs(Decoder(transposed=True))).fault
    found = GRID.measure(inputs(Decoder(transposed=False)))
    assert not found.fault
    assert found.values["rms"] < 1e-6


def test_what_repeats_is_the_energy_at_the_multiples_of_the_stride_s_frequency():
    y = torch.randn(1, 2, 32, 48, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for dim in (-2, -1):  # the line of each direction is taken out by the function; here before both ways
        place = torch.arange(y.shape[dim], dtype=y.dtype) - (y.shape[dim] - 1) / 2
        shaped = place.view(-1, 1) if dim == -2 else place
        y = y - (y * shaped).mean((-2, -1), keepdim=True) / place.square().mean() * shaped
    power = torch.fft.fft2(y).abs().square() / (32 * 48) ** 2
    at_stride = power[..., ::4, ::6].sum((-2, -1)) - power[..., 0, 0]
    torch.testing.assert_close(repeating(y, 8).square().mean((-2, -1)), at_stride)


def test_one_size_needs_a_few_cells_and_a_cell_more_than_a_pixel():
    class OneSize(Exact):
        any_size = False

    assert GRID.lacks(inputs(OneSize(64))) is None
    assert GRID.lacks(inputs(OneSize(24), smooth_images(2, 24))) == "a latent map of 3 cells is all border"
