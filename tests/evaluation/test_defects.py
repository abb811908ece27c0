"""Colours, edges, shifts and borders of reconstructions, each against a closed form."""

from __future__ import annotations

import math

import pytest
import torch

from lehr.evaluation.defects import Defects, border_mse, colour_shift, edge_error, exact_colours, gradient_magnitude
from lehr.evaluation.reconstruction import measure_reconstruction


def flat(level=0.5, n=1, c=3, h=16, w=16):
    return torch.full((n, c, h, w), level, dtype=torch.float64)


def test_a_colour_is_exact_if_all_its_channels_round_to_the_same_8_bits():
    x = flat(128 / 255, h=2, w=2)
    y = x.clone()
    y[0, 0, 0, 0] += 0.4 / 255  # rounds to the same
    y[0, 1, 0, 1] += 0.6 / 255  # does not
    y[0, :, 1, 1] -= 1.0
    assert exact_colours(x, y).tolist() == [0.5]


def test_a_step_has_its_height_for_a_gradient_and_a_diagonal_one_the_root_of_both():
    x = flat(0.2, c=1, h=5, w=5)
    x[..., 2:] = 0.7
    assert gradient_magnitude(x).sum() == pytest.approx(4 * 0.5)
    assert gradient_magnitude(x)[0, 0, :, 1] == pytest.approx(0.5)
    corner = flat(0.0, c=1, h=2, w=2)
    corner[0, 0, 0, 1], corner[0, 0, 1, 0] = 0.3, 0.4
    assert float(gradient_magnitude(corner)) == pytest.approx(math.hypot(0.3, 0.4))


def test_a_step_that_is_lost_costs_its_height_at_every_row_and_a_shift_of_colour_costs_nothing():
    x = flat(0.2, h=9, w=9)
    x[..., 4:] = 0.6
    assert float(edge_error(x, flat(0.4, h=9, w=9))) == pytest.approx(0.4 / 8)  # one of 8 columns
    assert float(edge_error(x, x + 0.1)) == pytest.approx(0, abs=1e-12)
    assert float(colour_shift(x, x + 0.1)) == pytest.approx(0.1)


def test_a_shift_is_of_the_mean_colour_and_not_of_single_pixels():
    x = flat()
    y = x.clone()
    y[..., ::2] += 0.1
    y[..., 1::2] -= 0.1
    assert float(colour_shift(x, y)) == pytest.approx(0, abs=1e-12)
    y = x.clone()
    y[:, 0] += 0.3  # red alone
    assert float(colour_shift(x, y)) == pytest.approx(0.1)


def test_an_error_at_the_border_is_told_from_one_within():
    x = flat(0.0, h=16, w=24)
    y = x.clone()
    y[..., :2, :], y[..., -2:, :], y[..., :, :2], y[..., :, -2:] = 0.5, 0.5, 0.5, 0.5
    assert [float(part) for part in border_mse(x, y)] == pytest.approx([0.25, 0.0])
    y = x.clone()
    y[..., 2:-2, 2:-2] = 0.1
    assert [float(part) for part in border_mse(x, y)] == pytest.approx([0.0, 0.01])


def test_the_cut_into_batches_changes_nothing_and_images_without_edge_or_border_have_none():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(7, 3, 16, 16, generator=generator), torch.rand(7, 3, 16, 16, generator=generator) * 1.5 - 0.2
    whole, cut = Defects(), Defects()
    assert measure_reconstruction(whole.watching([(x, y)])).n == 7
    for part in ((x[:4], y[:4]), (x[4:], y[4:]), (x[:0], y[:0])):
        cut.add(*part)
    assert cut.means() == pytest.approx(whole.means(), rel=1e-12)
    assert whole.means()["edge_error"] == pytest.approx(float(edge_error(x, y.clamp(0, 1)).mean()), rel=1e-6)
    small = Defects()
    small.add(flat(h=1, w=5), flat(h=1, w=5))
    assert small.means() == {
        "exact_colours": 1.0, "edge_error": None, "colour_shift": 0.0, "border_mse": None, "centre_mse": None,
    }  # fmt: skip
