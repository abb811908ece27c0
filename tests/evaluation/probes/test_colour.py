"""A shift of colours and values out of range are found with their size, and not where there are none."""

from __future__ import annotations

import pytest
import torch
from toy import Exact, inputs, smooth_images

from lehr.evaluation.probes.colour import COLOUR, SATURATION

LEVEL = 1 / 255


def test_a_shift_of_one_channel_is_found_with_its_size_and_sign():
    shift = torch.tensor([0.0, 0.0, -0.02]).view(3, 1, 1)
    found = COLOUR.measure(inputs(Exact(of_images=lambda y: y + shift)))
    assert found.fault
    assert found.values["shift"] == pytest.approx(-0.02, abs=1e-6)
    assert found.values["per_channel"] == pytest.approx([0, 0, -0.02], abs=1e-6)
    assert found.sentence.startswith("channel 2 of reconstructions is darker by 5.10 levels")


def test_a_shift_of_white_images_is_not_hidden_by_the_end_of_the_range():
    found = COLOUR.measure(inputs(Exact(of_images=lambda y: y + 0.02), torch.ones(4, 3, 64, 64)))
    assert found.fault
    assert found.values["shift"] == pytest.approx(0.02, abs=1e-6)


def test_errors_that_cancel_over_images_and_less_than_a_level_are_no_shift():
    signs = torch.tensor([1.0, -1.0] * 5).view(10, 1, 1, 1)
    by_chance = Exact(of_images=lambda y: y + 0.05 * signs[: len(y)])
    assert not COLOUR.measure(inputs(by_chance)).fault
    assert not COLOUR.measure(inputs(Exact(of_images=lambda y: y + 0.9 * LEVEL))).fault
    assert not COLOUR.measure(inputs(Exact())).fault


def test_a_single_image_says_nothing_of_a_shift():
    assert not COLOUR.measure(inputs(Exact(of_images=lambda y: y + 0.02), smooth_images(1))).fault


def test_values_out_of_range_are_counted_and_shown():
    def saturated(y):
        y = y.clone()
        y[:, :, :8] = 1.1  # an eighth of all rows
        return y

    found = SATURATION.measure(inputs(Exact(of_images=saturated)))
    assert found.fault
    assert found.values["clipped_share"] == pytest.approx(1 / 8)
    assert found.values["largest"] == pytest.approx(0.1, abs=1e-6)
    assert found.picture is not None
    assert not SATURATION.measure(inputs(Exact())).fault
    assert SATURATION.measure(inputs(Exact())).values["clipped_share"] == 0


def test_white_pixels_that_are_met_but_for_noise_are_not_out_of_range():
    noise = 0.05 * torch.randn(10, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = SATURATION.measure(inputs(Exact(of_images=lambda y: y + noise[: len(y)]), torch.ones(10, 3, 64, 64)))
    assert found.values["clipped_share"] == 0


def test_the_channel_that_is_a_fault_is_named_and_not_one_whose_mean_is_chance():
    signs = torch.tensor([1.0, -1.0] * 5).view(10, 1, 1)

    def shifted(y):
        return y + torch.stack(
            [0.015 + 0.05 * signs[: len(y)], torch.full_like(signs[: len(y)], 0.01), 0 * signs[: len(y)]], 1
        )

    found = COLOUR.measure(inputs(Exact(of_images=shifted)))
    assert found.fault
    assert found.sentence.startswith("channel 1 of reconstructions is brighter by 2.55 levels")
