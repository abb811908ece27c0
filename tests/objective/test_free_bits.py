"""Free bits against equation 15 of Kingma et al. 2016, written out in numpy."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch

from lehr.objective.free_bits import FreeBits, Groups


def kl_of(batch) -> np.ndarray:
    mean, logvar = batch.mean.detach().numpy(), batch.logvar.detach().numpy()
    return 0.5 * (mean**2 + np.exp(logvar) - logvar - 1)


AXES = {
    "dimension": lambda kl: kl.reshape(len(kl), -1),
    "channel": lambda kl: kl.sum((2, 3)),
    "all": lambda kl: kl.sum((1, 2, 3))[:, None],
}


@pytest.mark.parametrize("free_nats", [0.0, 0.3, 0.7, 3.0, 1000.0])
@pytest.mark.parametrize("groups", get_args(Groups))
def test_the_cost_is_that_of_the_equation(groups, free_nats, rate_batch):
    batch = rate_batch(b=5, latent_shape=(3, 2, 2))
    cost = FreeBits(free_nats, groups, weight=0.7)(batch.inputs())
    means = AXES[groups](kl_of(batch)).mean(0)
    assert cost.value.item() == pytest.approx(5 * 0.7 * np.maximum(free_nats, means).sum(), rel=1e-12)
    above = means[means > free_nats].sum()
    assert float(cost.kl_weight) == pytest.approx(0.7 * above / means.sum(), rel=1e-12)


def test_of_a_flat_latent_each_number_is_a_channel(rate_batch):
    batch = rate_batch(latent_shape=(4,))
    values = [FreeBits(0.5, groups)(batch.inputs()).value.item() for groups in ("dimension", "channel")]
    assert values[0] == values[1]


def test_without_a_floor_it_is_the_weighted_rate(rate_batch):
    batch = rate_batch()
    inputs = batch.inputs()
    cost = FreeBits(0.0, weight=0.7)(inputs)
    torch.testing.assert_close(cost.value, 0.7 * inputs.terms.rate.sum())
    assert float(cost.kl_weight) == pytest.approx(0.7)


def test_a_group_below_the_floor_has_no_gradient_and_one_above_has_that_of_its_kl(rate_batch):
    batch = rate_batch(b=5, latent_shape=(4,))
    means = kl_of(batch).mean(0)
    floor = float(np.sort(means)[1:3].mean())  # two latents lie below, two above
    gradients = batch.gradients(FreeBits(floor, weight=0.7)(batch.inputs()).value)
    full = 0.7 * batch.gradients(batch.inputs().terms.rate.sum())
    above = torch.from_numpy(means > floor)
    assert above.sum() == 2
    torch.testing.assert_close(gradients[..., above], full[..., above])
    assert torch.all(gradients[..., ~above] == 0)


def test_what_is_free_is_decided_for_all_ranks_together(rate_batch, two_ranks):
    """Each rank alone would see one latent above the floor and one below it; together both are above."""
    batch = rate_batch(b=2, latent_shape=(2,))
    with torch.no_grad():
        batch.mean.copy_(torch.tensor([[2.0, 0.0], [0.0, 2.0]]))  # KL 2 and 0
        batch.logvar.zero_()
    value, gradients, weights = two_ranks(FreeBits(0.9), batch, 1)
    assert value.item() == pytest.approx(4.0)
    torch.testing.assert_close(gradients[0], batch.mean.detach())
    assert weights == [1.0, 1.0]
    value, gradients, weights = two_ranks(FreeBits(1.1), batch, 1)
    assert value.item() == pytest.approx(4.4)
    assert torch.all(gradients == 0)
    assert weights == [0.0, 0.0]


def test_a_rate_of_zero_weighs_nothing(rate_batch):
    batch = rate_batch(b=2, latent_shape=(2,))
    with torch.no_grad():
        batch.mean.zero_()
        batch.logvar.zero_()
    assert float(FreeBits(0.0)(batch.inputs()).kl_weight) == 0


def test_unknown_groups_are_refused():
    with pytest.raises(ValueError, match=r"kl.groups='dim': expected one of dimension, channel, all"):
        FreeBits(0.1, "dim")
