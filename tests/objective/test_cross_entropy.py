"""The cross-entropy of lanes: each has the gradient that it has alone."""

from __future__ import annotations

import pytest
import torch

from lehr.objective import Bernoulli

LANES, PIXELS = 3, (4, 1, 2, 2)


def gradient(function, *tensors):
    own = [tensor.clone().requires_grad_() for tensor in tensors]
    return torch.autograd.grad(function(*own).sum(), own)


def log_prob(parameters, x):
    return Bernoulli().log_prob(x, parameters)


@pytest.mark.parametrize("shared", [False, True])
def test_lanes_have_the_bits_that_they_have_alone(shared):
    generator = torch.Generator().manual_seed(0)
    logits = 8 * torch.randn(LANES, *PIXELS, generator=generator)
    x = torch.rand(LANES, *PIXELS, generator=generator).round(decimals=1)
    images = [x[0] if shared else own for own in x]
    together = torch.vmap(log_prob, in_dims=(0, None if shared else 0))
    for lane, alone in enumerate(zip(logits, images, strict=True)):
        assert torch.equal(together(logits, x[0] if shared else x)[lane], log_prob(*alone))
    of_logits, of_x = gradient(together, logits, x[0] if shared else x)
    alone = [gradient(log_prob, *own) for own in zip(logits, images, strict=True)]
    assert torch.equal(of_logits, torch.stack([own for own, _ in alone]))
    of_images = torch.stack([own for _, own in alone])
    torch.testing.assert_close(of_x, of_images.sum(0) if shared else of_images)


def test_a_pixel_that_is_always_off_keeps_its_gradient_under_vmap():
    # of p = exp(-12), where 1 - (1 - p) has two digits in float32
    logits, x = torch.full((LANES, *PIXELS), -12.0), torch.zeros(LANES, *PIXELS)
    expected = -logits.double().sigmoid().float()
    torch.testing.assert_close(gradient(torch.vmap(log_prob), logits, x)[0], expected, rtol=1e-6, atol=0)


def test_gradients_can_be_taken_within_vmap_and_again():
    logits, x = torch.linspace(-2, 2, LANES * 4).view(LANES, *(1, 1, 2, 2)), torch.ones(LANES, 1, 1, 2, 2)
    within = torch.vmap(torch.func.grad(lambda own, x: log_prob(own, x).sum()))(logits, x)
    torch.testing.assert_close(within, gradient(torch.vmap(log_prob), logits, x)[0])
    own = logits.clone().requires_grad_()
    (first,) = torch.autograd.grad(torch.vmap(log_prob)(own, x).sum(), own, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), own)
    torch.testing.assert_close(second, -logits.sigmoid() * (1 - logits.sigmoid()))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # torch's own use of it
def test_of_lanes_there_are_derivatives_forward_and_hessians_too():
    logits, x = torch.linspace(-2, 2, LANES * 4).view(LANES, *(1, 1, 2, 2)), torch.full((LANES, 1, 1, 2, 2), 0.25)

    def together(own, x):
        return torch.vmap(log_prob)(own, x).sum()

    tangents = torch.ones_like(logits), torch.full_like(x, 0.5)
    _, found = torch.func.jvp(together, (logits, x), tangents)
    torch.testing.assert_close(found, (x - logits.sigmoid() + 0.5 * logits).sum())
    _, of_logits = torch.func.jvp(lambda own: together(own, x), (logits,), tangents[:1])
    torch.testing.assert_close(of_logits, (x - logits.sigmoid()).sum())
    hessian = torch.func.hessian(together)(logits, x).reshape(logits.numel(), -1)
    torch.testing.assert_close(hessian, torch.diag((-logits.sigmoid() * (1 - logits.sigmoid())).flatten()))
