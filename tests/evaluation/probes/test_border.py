"""A border that is worse because it is one is found, and one that holds more than the centre is not."""

from __future__ import annotations

import pytest
import torch
from toy import Exact, inputs, smooth_images

from lehr.evaluation.probes.border import BORDER


def noise(y, size=0.02):
    return size * torch.randn(y.shape, generator=torch.Generator().manual_seed(1))


def worse_at_border(y, times=3.0):
    """Errors that are `times` as large within 8 pixels of the border of whatever is decoded."""
    weight = torch.full_like(y, times)
    weight[..., 8:-8, 8:-8] = 1.0
    return y + weight * noise(y)


def test_what_a_border_adds_is_measured_at_the_same_pixels():
    found = BORDER.measure(inputs(Exact(128, of_images=worse_at_border)))
    assert found.fault
    assert found.values["same_pixels_ratio"] == pytest.approx(9, rel=0.1)
    assert found.values["border_mse"] > found.values["centre_mse"]
    even = BORDER.measure(inputs(Exact(128, of_images=lambda y: y + noise(y))))
    assert not even.fault
    assert even.values["same_pixels_ratio"] == pytest.approx(1, rel=0.1)


def test_images_whose_borders_hold_more_have_no_fault_for_that():
    """Errors that depend on what a pixel holds, of images that are busy at the border."""
    images = smooth_images(side=128)
    images[..., 24:-24, 24:-24] = 0.5
    found = BORDER.measure(inputs(Exact(128, of_images=lambda y: y + 0.1 * (y - 0.5)), images))
    assert found.values["ratio"] > 4
    assert not found.fault


def test_of_a_model_of_one_size_other_pixels_are_compared_and_more_is_let_pass():
    class OneSize(Exact):
        any_size = False

    found = BORDER.measure(inputs(OneSize(64, of_images=lambda y: worse_at_border(y, 1.7))))
    assert found.values["ratio"] == pytest.approx(1.7**2, rel=0.1)
    assert not found.fault
    assert "same_pixels_ratio" not in found.values
    assert BORDER.measure(inputs(OneSize(64, of_images=worse_at_border))).fault


def test_images_that_are_all_border_have_none():
    assert BORDER.lacks(inputs(Exact(8), smooth_images(2, 8))) is None
    assert BORDER.lacks(inputs(Exact(8), torch.zeros(2, 3, 2, 2))) == "images of this size are all border"
