"""The discretised logistic against sums over all levels and against arithmetic of 400 digits."""

from __future__ import annotations

from decimal import Decimal, localcontext
from itertools import pairwise

import pytest
import torch

from lehr.objective.discretized_logistic import DiscretizedLogistic


def grid(levels: int) -> torch.Tensor:
    return torch.arange(levels, dtype=torch.float64) / (levels - 1)


def log_masses(likelihood: DiscretizedLogistic, locations: torch.Tensor) -> torch.Tensor:
    """log P of every level (levels, n), for each of the locations (n,)."""
    x = grid(likelihood.levels).to(locations.dtype)
    x, locations = torch.broadcast_tensors(x[:, None], locations)
    flat = likelihood.log_prob(x.reshape(-1, 1, 1, 1), locations.reshape(-1, 1, 1, 1))
    return flat.view(x.shape)


@pytest.mark.parametrize("levels", [3, 17, 256])
@pytest.mark.parametrize("scale", [0.0025, 0.05, 1.0, 400.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_the_levels_have_probability_one_together(levels, scale, dtype, tolerance):
    likelihood = DiscretizedLogistic(levels, scale).to(dtype)
    locations = torch.tensor([-60.0, -1.0, -0.001, 0.0, 0.3, 0.5, 0.998, 1.0, 2.0, 60.0], dtype=dtype)
    total = log_masses(likelihood, locations).logsumexp(0)
    torch.testing.assert_close(total, torch.zeros_like(total), rtol=0, atol=tolerance)


@pytest.mark.parametrize("scale", [0.125, 0.03125, 4.0])
@pytest.mark.parametrize("location", [-8.0, 0.0, 0.25, 0.5, 1.5])
def test_each_level_has_the_difference_of_the_sigmoids_at_its_edges(scale, location):
    levels = 5
    likelihood = DiscretizedLogistic(levels, scale).double()
    likelihood.log_scale.fill_(torch.tensor(scale, dtype=torch.float64).log())
    got = log_masses(likelihood, torch.tensor([location], dtype=torch.float64))[:, 0]
    with localcontext() as context:
        context.prec = 400  # far out the difference of two sigmoids has no digit left in float64
        edges = [(Decimal(k) - Decimal("0.5")) / (levels - 1) for k in range(1, levels)]
        below = [Decimal(0)]
        below += [1 / (1 + (-(edge - Decimal(location)) / Decimal(scale)).exp()) for edge in edges]
        below += [Decimal(1)]
        expected = [float((upper - lower).ln()) for lower, upper in pairwise(below)]
    torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-14)


def test_it_is_summed_over_pixels_and_given_per_image():
    likelihood = DiscretizedLogistic(17, 0.1).double()
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(17, (4, 3, 2, 5), generator=generator)
    locations = torch.rand(4, 3, 2, 5, generator=generator, dtype=torch.float64)
    masses = log_masses(likelihood, locations.flatten())
    expected = masses.gather(0, rows.reshape(1, -1)).view(4, -1).sum(1)
    torch.testing.assert_close(likelihood.log_prob(rows / 16, locations), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("levels", [3, 17, 256])
@pytest.mark.parametrize("scale_in_levels", [0.5, 1.0, 8.0])
def test_the_mean_is_that_of_the_levels_but_for_their_rounding(levels, scale_in_levels):
    width = 1 / (levels - 1)
    likelihood = DiscretizedLogistic(levels, scale_in_levels * width).double()
    locations = torch.linspace(-1, 2, 301, dtype=torch.float64)
    expected = (log_masses(likelihood, locations).exp() * grid(levels)[:, None]).sum(0)
    torch.testing.assert_close(likelihood.mean(locations), expected, rtol=0, atol=width / 40)


def test_the_mean_lies_within_the_levels_however_far_the_location():
    likelihood = DiscretizedLogistic(256, 0.0025)
    assert likelihood.mean(torch.tensor([-100.0, 100.0])).tolist() == pytest.approx([0, 1], abs=2e-5)


def test_the_likeliest_level_is_the_nearest_to_the_location():
    likelihood = DiscretizedLogistic(256, 0.0025)
    locations = torch.tensor([-0.5, 0.11, 100.4 / 255, 100.6 / 255, 1.5])
    assert log_masses(likelihood, locations).argmax(0).tolist() == [0, 28, 100, 101, 255]


def test_a_learned_scale_can_leave_and_reach_its_bounds():
    likelihood = DiscretizedLogistic(17)
    with torch.no_grad():
        likelihood.log_scale.fill_(-9.0)
    x, location = torch.ones(1, 1, 2, 2) / 2, torch.zeros(1, 1, 2, 2)
    (-likelihood.log_prob(x, location)).sum().backward()
    assert likelihood.log_scale.grad < 0  # descent raises it


@pytest.mark.parametrize("levels", [-1, 0, 1, 2])
def test_fewer_than_three_levels_are_refused_in_one_line(levels):
    with pytest.raises(ValueError, match=rf"^likelihood\.levels={levels}: must be 3 or more.*bernoulli$"):
        DiscretizedLogistic(levels)
