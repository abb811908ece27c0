"""MSE, PSNR and SSIM, against closed forms, torchmetrics and scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from lehr.evaluation.reconstruction import measure_reconstruction, mse, psnr, ssim, ssim_window


def pair(n, c, h, w, noise=0.1):
    """Smooth images and noisy ones, float64 in [0, 1]."""
    generator = torch.Generator().manual_seed(n * c * h * w)
    coarse = torch.rand(n, c, 4, 4, generator=generator, dtype=torch.float64)
    images = torch.nn.functional.interpolate(coarse, (h, w), mode="bilinear")
    return images, (images + noise * torch.randn(images.shape, generator=generator, dtype=torch.float64)).clamp(0, 1)


def test_a_constant_error_has_the_mse_and_the_psnr_that_can_be_worked_out():
    images = torch.full((3, 1, 8, 8), 0.5)
    result = measure_reconstruction([(images, images + 0.1)])
    assert result.mse == pytest.approx(0.01, rel=1e-6)
    assert result.psnr == pytest.approx(20, abs=1e-5)  # 10 log10(1 / 0.01)


def test_psnr_is_the_mean_over_images_and_not_that_of_the_mean_error():
    images = torch.zeros(2, 1, 8, 8, dtype=torch.float64)
    others = images.clone()
    others[0], others[1] = 0.1, 0.01
    result = measure_reconstruction([(images, others)])
    assert result.psnr == pytest.approx((20 + 40) / 2)
    assert result.mse == pytest.approx((0.01 + 0.0001) / 2)


@pytest.mark.parametrize("shape", [(5, 1, 28, 28), (4, 3, 16, 20), (3, 1, 11, 11)])
def test_all_three_equal_torchmetrics(shape):
    images, others = pair(*shape)
    result = measure_reconstruction([(images, others)])
    expected = peak_signal_noise_ratio(others, images, data_range=1.0, dim=(1, 2, 3))
    assert result.psnr == pytest.approx(float(expected), rel=1e-6)
    assert result.ssim == pytest.approx(
        float(structural_similarity_index_measure(others, images, data_range=1.0)), rel=1e-10
    )
    assert result.mse == pytest.approx(float((images - others).square().mean()))
    assert (result.window, result.n) == (11, shape[0])


def test_ssim_of_small_images_equals_torchmetrics_with_a_smaller_window():
    images, others = pair(4, 1, 8, 8)
    result = measure_reconstruction([(images, others)])
    assert result.window == 7
    # torchmetrics finds its window in the standard deviation
    expected = structural_similarity_index_measure(others, images, data_range=1.0, sigma=1.5 * 7 / 11)
    assert result.ssim == pytest.approx(float(expected), rel=1e-10)


@pytest.mark.parametrize("c", [1, 3])
def test_ssim_and_psnr_equal_scikit_image(c):
    metrics = pytest.importorskip("skimage.metrics")
    images, others = pair(2, c, 20, 24)
    for a, b in zip(images, others, strict=True):
        # it leaves out a border as wide as half a window: give it one, reflected as ours is
        wide = [np.pad(x.numpy(), ((0, 0), (5, 5), (5, 5)), mode="reflect") for x in (a, b)]
        expected = metrics.structural_similarity(
            *wide, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0, channel_axis=0
        )
        assert float(ssim(a[None], b[None])) == pytest.approx(expected, rel=1e-10)
        expected = metrics.peak_signal_noise_ratio(a.numpy(), b.numpy(), data_range=1.0)
        assert float(psnr(mse(a[None], b[None]))) == pytest.approx(expected, rel=1e-12)


def test_the_cut_into_batches_and_float32_change_nothing():
    images, others = (x.float() for x in pair(7, 3, 12, 12))
    whole = measure_reconstruction([(images, others)])
    cut = measure_reconstruction([(images[:4], others[:4]), (images[4:], others[4:]), (images[:0], others[:0])])
    assert (cut.n, cut.window) == (whole.n, whole.window)
    for name in ("psnr", "ssim", "mse"):
        assert getattr(cut, name) == pytest.approx(getattr(whole, name), rel=1e-12)


def test_a_perfect_reconstruction_has_no_error_and_an_infinite_psnr():
    images, _ = pair(2, 1, 12, 12)
    result = measure_reconstruction([(images, images)])
    assert (result.mse, result.psnr) == (0, float("inf"))
    assert result.ssim == pytest.approx(1)


def test_black_images_do_not_divide_by_zero():
    black = torch.zeros(1, 1, 12, 12)
    assert measure_reconstruction([(black, black)]).ssim == pytest.approx(1)


def test_the_window_is_the_largest_odd_one_that_fits():
    assert [ssim_window(n, 64) for n in (64, 11, 10, 8, 3, 2, 1)] == [11, 11, 9, 7, 3, None, None]


def test_images_too_small_for_any_window_have_no_ssim_but_the_rest():
    result = measure_reconstruction([(torch.zeros(1, 1, 2, 9), torch.ones(1, 1, 2, 9))])
    assert (result.ssim, result.window, result.mse, result.psnr) == (None, None, 1, 0)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        measure_reconstruction([(torch.zeros(2, 1, 8, 8), torch.zeros(1, 1, 8, 8))])
    with pytest.raises(ValueError, match="no image"):
        measure_reconstruction([])
