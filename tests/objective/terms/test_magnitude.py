"""The penalty on the size of latents, in both conventions."""

from __future__ import annotations

import pytest
import torch
from compared import images, step_inputs

from lehr.objective.terms import LatentMagnitude
from lehr.objective.terms.term import TermInputs
from lehr.posterior import DiagonalGaussian


@pytest.mark.parametrize("shape", [(4, 2, 3), (5,)])
def test_the_sum_and_the_mean_of_the_squares_of_the_means(shape):
    mean = torch.stack([torch.full(shape, 2.0), torch.full(shape, -3.0)]).requires_grad_()
    posterior = DiagonalGaussian(mean, torch.full_like(mean, 5.0))  # a variance that does not count
    x = images(2, (3, 4, 4))
    given = TermInputs(step_inputs(x), None, posterior, mean, x, x.sum())
    n = mean[0].numel()
    assert LatentMagnitude()(given).value.tolist() == [4.0 * n, 9.0 * n]
    assert LatentMagnitude(of="mean")(given).value.tolist() == [4.0, 9.0]
    LatentMagnitude()(given).value.sum().backward()
    assert torch.equal(mean.grad, 2 * mean)


def test_another_word_is_refused():
    with pytest.raises(ValueError, match=r"terms\.magnitude\.of='max': expected one of sum, mean"):
        LatentMagnitude(of="max")
