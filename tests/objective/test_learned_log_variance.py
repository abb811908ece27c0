"""s of latent diffusion's r e^-s + s, which is in no optimizer there: here it is the likelihood's scale, and learns."""

from __future__ import annotations

import math

import pytest
import torch

from lehr.objective import Gaussian, Laplace


@pytest.mark.parametrize(("cls", "power", "at_best"), [(Laplace, 1, 1), (Gaussian, 2, 2)])
def test_s_is_learned_to_the_logarithm_of_the_mean_error(cls, power, at_best):
    """r is over [-1, 1], scales over [0, 1]: e^s / 2 of a Laplace, e^(s / 2) / 2^1.5 of a Gaussian.

    The log-density of a Gaussian has s / 2 where latent diffusion's loss has s, so that its best is twice r: sigma^2 is
    then the mean squared error.
    """
    x = torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    error = 0.03 + 0.1 * torch.rand(x.shape, generator=torch.Generator().manual_seed(1))
    likelihood = cls("learned")
    optimizer = torch.optim.Adam(likelihood.parameters(), lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        (-likelihood.log_prob(x, x + error)).mean().backward()
        optimizer.step()
    r = float((2 * error).pow(power).mean())
    scale = float(likelihood.log_scale.detach().exp())
    s = math.log(2 * scale) if cls is Laplace else 2 * math.log(2**1.5 * scale)
    assert s == pytest.approx(math.log(at_best * r), abs=2e-3)
    assert float(likelihood.error_weight().detach()) == pytest.approx(math.exp(-s), rel=1e-5)
