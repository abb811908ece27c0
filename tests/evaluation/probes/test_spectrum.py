"""Spectra that are known, and latents that are whiter than their images."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lehr.errors import DataError
from lehr.evaluation.probes.probe import ProbeInputs
from lehr.evaluation.probes.spectrum import SPECTRUM, spectrum
from lehr.models import Autoencoder
from lehr.objective.likelihood import Gaussian
from lehr.posterior import Point


def powers(n: int, side: int, exponent: float) -> Tensor:
    """Maps (n, 3, side, side), parts of fields twice as large whose power falls as 1 / f^exponent."""
    torch.manual_seed(0)
    frequency = torch.hypot(torch.fft.fftfreq(2 * side)[:, None], torch.fft.fftfreq(2 * side))
    frequency[0, 0] = 1
    field = torch.fft.ifft2(torch.fft.fft2(torch.randn(n, 3, 2 * side, 2 * side)) * frequency ** (-exponent / 2)).real
    return field[..., :side, :side]


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 3.0])
def test_the_slope_is_that_of_the_power_law(exponent):
    assert spectrum(powers(64, 32, exponent)).slope == pytest.approx(-exponent, abs=0.15)


def test_of_white_noise_the_share_is_that_of_the_coefficients_beyond():
    """All but a quarter of a disc of radius 1/4 in a square of side 1/2."""
    found = spectrum(powers(64, 32, 0.0))
    assert found.high_share == pytest.approx(1 - torch.pi / 16, abs=0.02)
    torch.testing.assert_close(torch.tensor(found.power), torch.ones(16), atol=0.1, rtol=0)


def test_scale_mean_and_constant_channels_do_not_count():
    x = powers(8, 16, 1.5)
    other = torch.cat([7 * x + 3, torch.full_like(x[:, :1], 2.0)], 1)
    assert spectrum(other).power == pytest.approx(spectrum(x).power)
    with pytest.raises(ValueError, match="all channels are the same everywhere"):
        spectrum(torch.ones(2, 3, 8, 8))


class Pooled(Autoencoder):
    """Means of 4 x 4 pixels, with noise of the pixels' own beside them where asked for."""

    def __init__(self, noise: float) -> None:
        super().__init__((3, 64, 64), (3, 16, 16))
        self.noise = noise

    def encode(self, x: Tensor) -> Point:
        return Point(F.avg_pool2d(x, 4) + self.noise * torch.randn(len(x), 3, 16, 16))


def probed(noise: float):
    images = (0.5 + 0.02 * powers(16, 64, 2.5)).clamp(0, 1).split(8)
    return SPECTRUM.measure(ProbeInputs(Pooled(noise), Gaussian(), images, torch.device("cpu")))


def test_means_of_cells_have_the_spectrum_of_the_images():
    found = probed(0.0)
    assert found.values["excess"] == pytest.approx(0, abs=1e-6)
    assert found.values["slope"] == pytest.approx(found.values["slope_of_images"])
    assert not found.fault
    assert found.picture.shape[0] == 3


def test_white_latents_have_too_much_of_high_frequencies():
    found = probed(2.0)
    assert found.fault
    assert found.values["excess"] > 6
    assert found.values["slope"] == pytest.approx(0, abs=0.5)


def test_of_images_without_high_frequencies_a_little_more_is_no_fault():
    wave = (torch.pi * (torch.arange(64) + 0.5) / 64).cos()
    images = (0.5 + 0.3 * wave).expand(4, 3, 64, 64)
    found = SPECTRUM.measure(ProbeInputs(Pooled(1e-3), Gaussian(), (images,), torch.device("cpu")))
    assert found.values["excess"] > 6
    assert found.values["high_share"] < 1e-3
    assert not found.fault


def test_images_of_one_colour_have_no_spectrum():
    with pytest.raises(DataError, match="all channels are the same everywhere"):
        SPECTRUM.measure(ProbeInputs(Pooled(1.0), Gaussian(), (torch.full((4, 3, 64, 64), 0.3),), torch.device("cpu")))
    each = torch.linspace(0, 1, 4).view(4, 1, 1, 1).expand(4, 3, 64, 64)
    assert spectrum(each).high_share == 0
