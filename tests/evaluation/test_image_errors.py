"""Errors of single images, against scikit-image, scipy and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from lehr.evaluation.image_errors import BANDS, ImageErrors, band_mse, find_lpips, in_8_bits


def noisy(n=3, c=3, h=24, w=32, strength=0.1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = (torch.rand(n, c, h, w, generator=generator) * 255).round() / 255
    return x, x + strength * torch.randn(n, c, h, w, generator=generator)


def test_psnr_and_ssim_are_those_of_scikit_image_of_pictures_of_8_bits():
    x, y = noisy()
    found = ImageErrors.of(x, y)
    for i in range(len(x)):
        a, b = ((t[i].double().clamp(0, 1) * 255).round().to(torch.uint8).numpy() for t in (x, y))
        assert float(found.values["psnr"][i]) == pytest.approx(peak_signal_noise_ratio(a, b), rel=1e-10)
        # it leaves out a border as wide as half a window: give it one, reflected as ours is
        wide = [np.pad(part, ((0, 0), (5, 5), (5, 5)), mode="reflect") for part in (a, b)]
        expected = structural_similarity(
            *wide, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=0
        )
        assert float(found.values["ssim"][i]) == pytest.approx(expected, rel=1e-10)


def test_what_rounds_to_the_same_picture_is_without_error_and_counts_100_dB():
    x, _ = noisy()
    found = ImageErrors.of(x, x + 0.4 / 255)
    assert found.values["psnr"].tolist() == [100.0] * 3
    assert found.values["mse"].tolist() == [0.0] * 3
    bright = torch.ones(1, 3, 8, 8)
    assert ImageErrors.of(bright, bright + 3).values["psnr"].tolist() == [100.0]  # cut at white


def test_the_bands_share_the_error_among_them():
    x, y = noisy(c=1, h=20, w=36)
    x, y = in_8_bits(x), in_8_bits(y)
    bands = band_mse(x, y)
    assert bands.sum(1) == pytest.approx((x - y).square().mean((1, 2, 3)).numpy())
    power = dctn((x - y)[0, 0].numpy(), norm="ortho") ** 2 / (20 * 36)
    frequency = np.hypot(np.arange(20)[:, None] / 20, np.arange(36) / 36)
    for i, (low, high) in enumerate(BANDS.values()):
        assert float(bands[0, i]) == pytest.approx(power[(frequency >= low) & (frequency < high)].sum())


@pytest.mark.parametrize(
    ("half_cycles", "band"), [(0, "coarse"), (3, "coarse"), (5, "medium"), (12, "fine"), (31, "finest")]
)
def test_an_error_of_one_frequency_is_in_its_band_alone(half_cycles, band):
    side = 32
    wave = (math.pi * half_cycles * (torch.arange(side, dtype=torch.float64) + 0.5) / side).cos()
    x = torch.full((1, 2, side, side), 0.5, dtype=torch.float64)
    bands = band_mse(x, x + 0.1 * wave)
    expected = [0.01 * float(wave.square().mean()) * (name == band) for name in BANDS]
    assert bands[0].tolist() == pytest.approx(expected, abs=1e-12)


def test_the_mean_of_psnr_and_the_psnr_of_the_mean_are_different_numbers():
    x = torch.zeros(2, 1, 16, 16)
    y = x.clone()
    y[0] = 51 / 255  # 14 dB; the other is met exactly
    means = ImageErrors.of(x, y).means()
    assert means["psnr"] == pytest.approx((-20 * math.log10(0.2) + 100) / 2)
    assert means["psnr_of_mse"] == pytest.approx(-10 * math.log10(0.04 / 2))


def test_batches_are_put_together_in_order_and_picked():
    x, y = noisy(5)
    whole = ImageErrors.of(x, y)
    parts = ImageErrors.cat([ImageErrors.of(x[:2], y[:2]), ImageErrors.of(x[2:], y[2:])])
    assert len(parts) == 5
    for name, values in whole.values.items():
        assert parts.values[name].tolist() == pytest.approx(values.tolist(), rel=1e-12), name
    picked = parts.pick(torch.tensor([3, 0]))
    assert picked.values["psnr"].tolist() == [parts.values["psnr"][i].item() for i in (3, 0)]


def test_images_of_a_pixel_have_neither_ssim_nor_edges():
    found = ImageErrors.of(torch.zeros(2, 1, 1, 4), torch.ones(2, 1, 1, 4))
    assert not {"ssim", "edge_error"} & set(found.values)
    assert found.values["mse"].tolist() == [1.0, 1.0]


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        ImageErrors.of(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 5))


def test_without_the_weights_there_is_no_lpips_and_it_is_said_where_they_are(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    network, reason = find_lpips((3, 32, 32))
    assert network is None
    assert str(tmp_path) in reason
    assert "https://" in reason
    assert "4 channels" in find_lpips((4, 32, 32))[1]
    assert "3 channels of 8 x 32" in find_lpips((3, 8, 32))[1]
