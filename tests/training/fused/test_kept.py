"""What steps keep for their backward pass."""

from __future__ import annotations

import torch

from lehr.training.fused.kept import Kept


def test_what_a_step_keeps_is_counted_once_and_no_longer_than_it_is_kept():
    weights, images = torch.ones(4, 16, 8, requires_grad=True), torch.ones(4, 32, 8)
    kept = Kept()
    with kept.counted():
        for _ in range(2):  # the second as much again, once the first is over
            # keeps the images, and what the activation gives, of which the square keeps the same
            loss = torch.vmap(lambda w, x: (x @ w.T).relu().square().sum())(weights, images).sum()
            torch.autograd.grad(loss, [weights])
            del loss
    assert kept.most == images.nbytes + 4 * 32 * 16 * 4
    torch.ones(100, 100, requires_grad=True).square()  # no longer looked at
    assert kept.most == images.nbytes + 4 * 32 * 16 * 4
