"""Whether noise survives half precision: against torch's own rounding and the closed form."""

from __future__ import annotations

import math

import pytest
import torch

from lehr.posterior import Codes, DiagonalGaussian, FixedVariance, Point
from lehr.posterior.rounding import HALVES, lost_share, spacing


@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES)
def test_the_spacing_is_the_distance_to_the_next_number_of_the_precision(half):
    exponents = torch.arange(-30.0, 15.0)
    x = torch.cat([exponents.exp2(), 1.7 * exponents.exp2(), -1.3 * exponents.exp2()]).to(half)
    following = (x.view(torch.int16) + 1).view(half)  # away from 0, the next one has the next bits
    expected = (following.float() - x.float()).abs()
    torch.testing.assert_close(spacing(x.float(), half), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("half", "logvar", "vanishes"),
    [("bfloat16", -17.0, True), ("float16", -17.0, True), ("bfloat16", -13.0, True), ("float16", -13.0, False)],
)
def test_what_vanishes_at_a_mean_of_5_is_what_torch_rounds_away(half, logvar, vanishes):
    """The log-variances of Stable Diffusion's encoder, about -17, and the largest of them, about -13."""
    std, dtype = math.exp(logvar / 2), HALVES[half]
    share = float(lost_share(torch.tensor(5.0, dtype=torch.float64), torch.tensor(std, dtype=torch.float64), dtype))
    # 5 lies in [4, 8), where the numbers of p digits after the point are 2^(2 - p) apart
    half_step = 2.0 ** (2 - {"bfloat16": 7, "float16": 10}[half]) / 2
    assert share == pytest.approx(math.erf(half_step / std / math.sqrt(2)), abs=1e-12)
    noise = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    rounded = (5.0 + std * noise).to(dtype) == 5.0
    assert rounded.float().mean() == pytest.approx(share, abs=0.005)
    assert bool(rounded.all()) == (share > 1 - 1e-12) == vanishes


def test_the_tallies_of_batches_add_up_to_closed_forms():
    raw = torch.tensor([[-40.0, -17.0, 25.0, -13.0], [-30.0, -31.0, 0.0, 20.0]])
    q = DiagonalGaussian.bounded(torch.full((2, 4), 5.0), raw, -30.0, 20.0)
    found = {name: float(sum(q[i : i + 1].tallies()[name] for i in range(2))) for name in q.tallies()}
    assert (found["latents"], found["bounded"], found["clamped_low"], found["clamped_high"]) == (8, 8, 2, 1)
    std = q.logvar.double().mul(0.5).exp()
    for name, half_step in (("lost_in_bfloat16", 2.0**-6), ("lost_in_float16", 2.0**-9)):
        assert found[name] == pytest.approx(float(torch.erf(half_step / std / math.sqrt(2)).sum()), rel=1e-6)


def test_what_has_no_bounds_or_no_noise_is_not_counted():
    mean = torch.randn(3, 2)
    assert "bounded" not in FixedVariance(mean, 0.1).tallies()
    assert "bounded" not in DiagonalGaussian(mean, mean).tallies()
    assert Point(mean).tallies() == Codes.nearest(mean, torch.eye(2)).tallies() == {}
