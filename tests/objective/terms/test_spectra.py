"""Images compared at each scale and each frequency: closed forms, and implementations in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from compared import compared, images, term_inputs

from lehr.errors import ConfigError
from lehr.objective.terms import FocalFrequency, Laplacian
from lehr.objective.terms.laplacian import pyramid

SHAPES = [(3, 16, 24), (1, 9, 7), (3, 32, 32)]


def terms(shape):
    return [Laplacian(), Laplacian(levels=2), FocalFrequency(shape), FocalFrequency(shape, alpha=0.5)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("b", [1, 3])
def test_equal_images_are_at_distance_0_with_a_finite_gradient(shape, b):
    x = images(b, shape)
    for term in terms(shape):
        for same in (x, torch.zeros_like(x), torch.ones_like(x)):
            y = same.clone().requires_grad_()
            value = compared(term, same, y)
            assert value.tolist() == [0.0] * b
            value.sum().backward()
            assert y.grad.isfinite().all()


@pytest.mark.parametrize("shape", SHAPES)
def test_an_offset_of_all_pixels_costs_that_error(shape):
    x = images(2, shape)
    offset = torch.tensor([0.1, -0.3])
    y = x + offset[:, None, None, None]
    for levels in (1, 5):
        torch.testing.assert_close(compared(Laplacian(levels=levels), x, y), 2 * offset.abs())
    # at frequency 0 alone, which then is the one with the largest weight, 1
    for alpha in (0.0, 0.5, 1.0):
        torch.testing.assert_close(compared(FocalFrequency(shape, alpha=alpha), x, y), 4 * offset.square())


def test_a_single_frequency_has_weight_1_and_another_half_as_large_its_share():
    columns = torch.arange(16) * 2 * math.pi / 16
    wave, other = (0.2 * (k * columns).cos().expand(1, 1, 16, 16) for k in (3, 5))
    x = images(1, (1, 16, 16))
    value = compared(FocalFrequency((1, 16, 16)), x, x + wave)
    assert value.item() == pytest.approx(4 * 0.2**2 / 2, rel=1e-5)
    both = compared(FocalFrequency((1, 16, 16)), x, x + wave + other / 2)
    assert both.item() == pytest.approx(4 * 0.2**2 / 2 * (1 + 0.5 * 0.25), rel=1e-5)


def numpy_pyramid(image, levels):
    """Of one channel, pixel by pixel."""
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    found = []
    for _ in range(levels):
        if min(image.shape) == 1:
            break
        h, w = image.shape
        padded = np.pad(image, 2, mode="edge")
        smooth = np.array([[(padded[i : i + 5, j : j + 5] * kernel).sum() for j in range(w)] for i in range(h)])
        found.append(image - smooth)
        image = smooth[::2, ::2]
    return [*found, image]


@pytest.mark.parametrize("shape", [(2, 9, 7), (1, 4, 1)])
def test_the_pyramid_is_that_of_numpy_and_adds_up_where_nothing_is_left_out(shape):
    x, y = images(1, shape, "x").double(), images(1, shape, "y").double()
    of_channels = [numpy_pyramid(channel, 3) for channel in (2 * (y - x))[0].numpy()]
    expected = sum(np.mean([np.abs(levels[j]) for levels in of_channels]) for j in range(len(of_channels[0])))
    assert compared(Laplacian(levels=3), x, y).item() == pytest.approx(expected, rel=1e-12)
    first, *_ = pyramid(x, 1)
    np.testing.assert_allclose(first[0, 0].numpy(), numpy_pyramid(x[0, 0].numpy(), 1)[0], rtol=0, atol=1e-12)


def numpy_focal(x, y, alpha, factor):
    """Equations 8 and 9 of Jiang et al. 2021 for each example, from the definition of the transform."""
    b, c, h, w = x.shape
    h, w = h // factor, w // factor
    rows = np.exp(-2j * np.pi * np.outer(np.arange(h), np.arange(h)) / h) / np.sqrt(h)
    columns = np.exp(-2j * np.pi * np.outer(np.arange(w), np.arange(w)) / w) / np.sqrt(w)
    values = np.zeros(b)
    for n in range(b):
        for i in range(factor):
            for j in range(factor):
                for k in range(c):
                    cut = np.s_[n, k, i * h : (i + 1) * h, j * w : (j + 1) * w]
                    spectrum = np.abs(rows @ (2 * y[cut] - 1) @ columns - rows @ (2 * x[cut] - 1) @ columns)
                    weight = (spectrum / spectrum.max()) ** alpha
                    values[n] += (weight * spectrum**2).mean() / (factor**2 * c)
    return values


@pytest.mark.parametrize(("alpha", "factor"), [(0.0, 1), (1.0, 1), (2.0, 2)])
def test_the_focal_frequency_loss_is_that_of_numpy(alpha, factor):
    shape = (2, 8, 12)
    x, y = images(2, shape, "x").double(), images(2, shape, "y").double()
    found = compared(FocalFrequency(shape, alpha=alpha, patch_factor=factor), x, y)
    np.testing.assert_allclose(found.numpy(), numpy_focal(x.numpy(), y.numpy(), alpha, factor), rtol=1e-12)
    if alpha == 0:  # Parseval
        torch.testing.assert_close(found, 4 * (x - y).square().flatten(1).mean(1))


def test_parts_that_are_not_equal_are_refused():
    with pytest.raises(ConfigError, match=r"patch_factor=3: cuts no image of 16 x 24"):
        FocalFrequency((3, 16, 24), patch_factor=3)


def test_in_half_precision_the_values_stay_those_of_float32():
    shape = (3, 16, 24)
    x, y = images(2, shape, "x"), images(2, shape, "y")
    for term in terms(shape):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = term(term_inputs(x, y)).value
        assert half.dtype == torch.float32
        assert torch.equal(half, compared(term, x, y))
