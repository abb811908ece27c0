"""The capacity against equation 8 of Burgess et al. 2018."""

from __future__ import annotations

import pytest
import torch

from lehr.errors import ConfigError
from lehr.objective.capacity import Capacity


@pytest.mark.parametrize(
    ("step", "capacity"), [(0, 0.0), (1, 0.0), (2, 0.0), (3, 2.0), (4, 4.0), (5, 6.0), (6, 8.0), (60, 8.0)]
)
def test_the_cost_is_the_distance_to_a_capacity_that_grows(step, capacity, rate_batch):
    batch = rate_batch(b=5, step=step)
    term = Capacity(8.0, gamma=30.0, hold=2, warmup=4, unit="step")
    term.start(total_steps=100, steps_per_epoch=10)
    mean, logvar = batch.mean.detach().numpy(), batch.logvar.detach().numpy()
    rate = (0.5 * (mean**2 + 2.718281828459045**logvar - logvar - 1)).sum(1).mean()
    cost = term(batch.inputs())
    assert cost.value.item() == pytest.approx(5 * 30 * abs(rate - capacity), rel=1e-12)
    assert float(cost.kl_weight) == term.kl_weight(step) == (30 if rate > capacity else -30)


def test_a_rate_at_its_capacity_costs_nothing_and_stays(rate_batch):
    batch = rate_batch(b=3)
    with torch.no_grad():
        batch.mean.fill_(1.0)
        batch.logvar.zero_()
    cost = Capacity(2.0)(batch.inputs())  # 4 latents of KL 1/2
    assert cost.value.item() == 0
    assert torch.all(batch.gradients(cost.value) == 0)
    assert float(cost.kl_weight) == 0


@pytest.mark.parametrize("start", [0.1, 2.0])
def test_descent_leads_the_rate_to_the_capacity(start, rate_batch):
    batch = rate_batch(b=4)
    with torch.no_grad():
        batch.mean.fill_(start)
    optimizer = torch.optim.SGD([batch.mean, batch.logvar], lr=2e-3)
    term = Capacity(3.0, gamma=10.0)
    for _ in range(400):
        optimizer.zero_grad()
        inputs = batch.inputs()
        (term(inputs).value / 4).backward()
        optimizer.step()
    assert batch.inputs().means[1].item() == pytest.approx(3.0, abs=0.05)


def test_a_capacity_that_is_never_reached_is_refused():
    with pytest.raises(ConfigError, match=r"kl.warmup=20"):
        Capacity(8.0, warmup=20).start(total_steps=100, steps_per_epoch=10)
