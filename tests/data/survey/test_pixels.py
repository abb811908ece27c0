from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lehr.data.survey.pixels import PixelSums, even_levels


def statistics(pixels: torch.Tensor, batch: int = 7, eight_bits: bool = False):
    sums = PixelSums(tuple(pixels.shape[1:]), eight_bits)
    for part in pixels.split(batch):
        sums.add(part)
    return sums.result()


def eight_bit(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    levels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    levels.flat[:2] = 0, 255
    return torch.from_numpy(levels) / 255


@pytest.mark.parametrize(
    "pixels", [eight_bit((40, 3, 5, 4)), torch.rand((40, 1, 5, 4), generator=torch.manual_seed(0))]
)
@pytest.mark.parametrize("batch", [1, 7, 40])
def test_statistics_are_those_of_all_images_whatever_the_batches(pixels, batch):
    found, whole = statistics(pixels, batch), pixels.double().numpy()
    np.testing.assert_allclose(found.mean, whole.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.std, whole.std(0), rtol=1e-6)
    assert found.n == 40
    assert found.overall_mean == pytest.approx(whole.mean(), rel=1e-9)
    assert found.overall_std == pytest.approx(whole.std(), rel=1e-6)
    assert (found.low, found.high) == (whole.min(), whole.max())
    assert found.on == (whole > 0.5).mean()
    assert found.between == ((whole > 0) & (whole < 1)).mean()
    channels = np.moveaxis(whole, 1, 0)
    np.testing.assert_array_equal(
        found.histogram, [np.bincount((255 * one).round().astype(int).ravel(), minlength=256) for one in channels]
    )
    np.testing.assert_allclose(found.contrast, np.ptp(whole.reshape(40, whole.shape[1], -1), axis=2).max(1), rtol=1e-6)
    colour = np.ptp(whole, axis=1).max((1, 2)) if whole.shape[1] == 3 else np.zeros(40)
    np.testing.assert_allclose(found.colour, colour, rtol=1e-6)
    entropy = -(whole * np.log(np.where(whole > 0, whole, 1)) + (1 - whole) * np.log(np.where(whole < 1, 1 - whole, 1)))
    assert found.drawing == pytest.approx(entropy.sum((1, 2, 3)).mean(), rel=1e-5)


def test_what_is_known_to_have_8_bits_gives_the_same():
    pixels = eight_bit((20, 1, 6, 6))
    one, other = statistics(pixels), statistics(pixels, eight_bits=True)
    np.testing.assert_array_equal(one.histogram, other.histogram)
    np.testing.assert_array_equal(one.values, other.values)
    assert (one.on, one.between, one.drawing) == (other.on, other.between, other.drawing)


@pytest.mark.parametrize("levels", [2, 3, 4, 16, 17, 100, 256])
def test_evenly_spaced_levels_are_counted(levels):
    values = (torch.arange(levels) / (levels - 1)).numpy()
    assert even_levels(values) == levels
    pixels = torch.from_numpy(np.resize(np.random.default_rng(0).permutation(values), (8, 1, 8, 8)))
    found = statistics(pixels)
    assert found.grid == levels
    np.testing.assert_array_equal(found.values, values)


def test_levels_that_do_not_occur_count_where_the_others_need_them():
    assert even_levels(np.array([0, 1 / 16, 1], np.float32)) == 17
    assert even_levels(np.array([0, 1 / 4, 1 / 6], np.float32)) == 13
    assert even_levels(np.array([0, math.sqrt(0.5)], np.float32)) is None


def test_real_numbers_have_no_levels():
    found = statistics(torch.rand((30, 1, 8, 8), generator=torch.manual_seed(0)))
    assert found.values is None
    assert found.grid is None


def test_bimodality_is_the_share_of_the_variance_that_is_the_image_s():
    binary = (torch.rand((50, 1, 8, 8), generator=torch.manual_seed(0)) > 0.8).float()
    assert statistics(binary).bimodality == pytest.approx(1)
    uniform = torch.from_numpy(np.resize(np.arange(256, dtype=np.float32) / 255, (16, 1, 16, 16)))
    assert statistics(uniform).bimodality == pytest.approx((256**2 - 1) / 12 / 255**2 / 0.25)  # of 256 even levels
    assert statistics(torch.full((5, 1, 4, 4), 0.5)).bimodality == pytest.approx(0, abs=1e-9)
    # by the law of total variance, of pixels that are drawn
    pixels = eight_bit((200, 1, 16, 16)) ** 3
    drawn = (torch.rand(pixels.shape, generator=torch.manual_seed(1)) < pixels).double()
    found = statistics(pixels)
    assert found.bimodality == pytest.approx(float(pixels.double().var() / drawn.var()), rel=0.01)


def test_what_drawing_adds_is_the_entropy_of_the_pixels():
    assert statistics(torch.full((5, 1, 4, 4), 0.5)).drawing == pytest.approx(16 * math.log(2))
    assert statistics((eight_bit((5, 1, 4, 4)) > 0.5).float()).drawing == 0


def test_images_that_are_wrong_are_counted_and_left_out():
    pixels = torch.full((6, 1, 2, 2), 0.5)
    pixels[1, 0, 0, 0], pixels[3, 0, 1, 1], pixels[4] = math.nan, -0.1, 1.5
    sums = PixelSums((1, 2, 2))
    sums.add(pixels)
    assert sums.wrong == 3
    assert sums.result().n == 3
    assert sums.result().overall_mean == 0.5
