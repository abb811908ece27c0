"""Noise on a device is a function of (seed, stream, counter) there, as it is on the CPU; it is not the CPU's."""

from __future__ import annotations

import pytest
import torch

from lehr import randomness


def test_the_same_place_has_the_same_noise_and_another_place_another(device):
    def draw(*place):
        return randomness.normal(*place, (64, 20), device)

    first = draw(0, "posterior", 7)
    assert first.device.type == device
    torch.manual_seed(5)  # what torch's own generators hold is of no account
    torch.rand(3, device=device)
    assert torch.equal(first, draw(0, "posterior", 7))
    for other in ((1, "posterior", 7), (0, "binarize", 7), (0, "posterior", 8), (0, "posterior", 2**32 - 1)):
        assert not torch.isin(draw(*other), first).any(), other


def test_a_row_has_its_noise_however_the_rows_are_cut(device):
    whole = randomness.rows("normal", 3, "posterior/test", 0, 700, (5,), device)
    parts = [
        randomness.rows("normal", 3, "posterior/test", start, min(start + 93, 700), (5,), device)
        for start in range(0, 700, 93)
    ]
    assert torch.equal(whole, torch.cat(parts))


def test_noise_has_the_moments_and_the_range_of_its_distribution(device):
    n = 200_000
    normal = randomness.normal(0, "x", 1, (n,), device).double()
    uniform = randomness.uniform(0, "x", 1, (n,), device).double()
    # five standard errors each
    assert normal.mean().item() == pytest.approx(0, abs=5 / n**0.5)
    assert normal.var().item() == pytest.approx(1, abs=5 * (2 / n) ** 0.5)
    assert uniform.mean().item() == pytest.approx(0.5, abs=5 / (12 * n) ** 0.5)
    assert 0 <= uniform.min() < uniform.max() < 1


@pytest.mark.gpu
def test_a_gpu_draws_other_numbers_than_a_cpu_but_the_same_orders():
    assert not torch.isin(
        randomness.normal(0, "x", 1, (1000,), "cuda").cpu(), randomness.normal(0, "x", 1, (1000,))
    ).any()
    assert randomness.permutation(0, "order", 1, 100).device.type == "cpu"
