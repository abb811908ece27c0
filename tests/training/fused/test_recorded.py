"""What is recorded of a function gives, with other inputs, what the function gives."""

from __future__ import annotations

import pytest
import torch

from lehr.objective.cross_entropy import cross_entropy
from lehr.posterior.gaussian import bound
from lehr.training.fused.recorded import recorded


def gradients(weights, images):
    """Of a loss of three lanes, with its values, by name."""
    weights = weights.detach().requires_grad_()

    def one(w, x):
        return cross_entropy(x, bound(x @ w, -0.5, 0.5).exp()).sum()

    losses = torch.vmap(one, in_dims=(0, None))(weights, images)
    return torch.autograd.grad(losses.sum(), [weights]), {"losses": losses.detach()}


def inputs(seed, scale=1.0):
    make = torch.Generator().manual_seed(seed)
    return torch.randn(3, 8, 8, generator=make) * scale, torch.rand(5, 8, generator=make)


def test_gradients_of_lanes_are_those_of_the_function_to_the_bit():
    _, again = recorded(gradients, inputs(0, scale=1e-3))
    for seed, scale in ((1, 1e-3), (2, 10.0)):  # within the bound, as what was recorded, and beyond it
        (expected,), values = gradients(*inputs(seed, scale))
        (found,), others = again(*inputs(seed, scale))
        assert torch.equal(found, expected)
        assert torch.equal(others["losses"], values["losses"])
        assert not found.requires_grad


def test_what_is_changed_in_place_is_changed_once_a_call():
    def count(seen, x):
        seen += 1
        return x / seen

    seen = torch.zeros(2, dtype=torch.int64)
    found, again = recorded(count, [seen, torch.ones(2)])
    assert found.tolist() == [1, 1]
    assert again(seen, torch.ones(2)).tolist() == [0.5, 0.5]
    assert seen.tolist() == [2, 2]


def test_integers_are_divided_in_the_precision_that_was_in_effect():
    def inverse(x):
        x = x + 1
        torch.set_default_dtype(torch.float64)
        try:
            return 1 / x
        finally:
            torch.set_default_dtype(torch.float32)

    _, again = recorded(inverse, [torch.tensor(2)])
    assert again(torch.tensor(6)).item() == 1 / 7
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + torch.rand(3),
        lambda x: x if x.sum().item() > 0 else -x,
        lambda x: x if x.sum() > 0 else -x,
        lambda x: x[x > 0].sum(),
    ],
)
def test_what_looks_at_values_or_draws_is_not_recorded(function):
    x = torch.tensor([-1.0, 0.5, 3.0])
    found, again = recorded(function, [x])
    assert again is None
    assert torch.isfinite(found).all()
