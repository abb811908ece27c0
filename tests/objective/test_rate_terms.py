"""What holds of every rate term: ranks change nothing, the KL weight in effect is the true one, precision is kept."""

from __future__ import annotations

import copy

import pytest
import torch
from rate_terms import TERMS

from lehr.objective.rate import Controlled


def needs(name):
    term = TERMS[name]()
    return {need.name for need in term.needs if need.applies(vars(term))}


SHARED = [name for name in TERMS if "whole_batch" not in needs(name)]
PROPORTIONAL = ["annealed", "capacity above", "capacity below", "geco", "control"]


def started(name):
    term = TERMS[name]()
    term.start(total_steps=10, steps_per_epoch=5)
    return term


@pytest.mark.parametrize("at", [0, 2, 6])
@pytest.mark.parametrize("name", SHARED)
def test_two_ranks_pay_what_one_does(name, at, rate_batch, two_ranks):
    batch, term = rate_batch(latent_shape=(3, 2, 2), step=3), started(name)
    value, gradients, weights = two_ranks(term, batch, at)
    whole = term(batch.inputs())
    torch.testing.assert_close(value, whole.value)
    torch.testing.assert_close(gradients, batch.gradients(whole.value))
    assert weights == pytest.approx([float(whole.kl_weight)] * 2)


@pytest.mark.parametrize("name", PROPORTIONAL)
def test_the_gradient_of_the_cost_is_the_kl_weight_in_effect_times_that_of_the_rate(name, rate_batch):
    batch, term = rate_batch(step=3), started(name)
    for _ in range(3):  # controllers move
        inputs = batch.inputs()
        cost = term(inputs)
        expected = float(cost.kl_weight) * batch.gradients(inputs.terms.rate.sum())
        torch.testing.assert_close(batch.gradients(cost.value), expected)


@pytest.mark.parametrize("name", TERMS)
def test_the_cost_of_a_batch_does_not_depend_on_the_order_of_its_rows(name, rate_batch):
    batch, other = rate_batch(step=3), rate_batch(step=3)
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    for part in ("mean", "logvar", "noise", "distortion"):
        setattr(other, part, getattr(batch, part)[order])
    torch.testing.assert_close(started(name)(batch.inputs()).value, started(name)(other.inputs()).value)


@pytest.mark.parametrize("name", TERMS)
def test_the_type_of_the_networks_and_autocast_change_no_cost(name, rate_batch):
    batch, term = rate_batch(step=3, dtype=torch.float32, latent_shape=(5,)), started(name)
    plain = copy.deepcopy(term)
    term.to(torch.bfloat16)
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16):
            narrow = term(batch.inputs())
        wide = plain(batch.inputs())
        assert narrow.value.dtype == torch.float32
        assert torch.equal(narrow.value, wide.value)
        assert float(narrow.kl_weight) == float(wide.kl_weight)
    exact = rate_batch(step=3, latent_shape=(5,))
    expected = started(name)(exact.inputs()).value.float()
    torch.testing.assert_close(started(name)(batch.inputs()).value, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in TERMS if isinstance(TERMS[name](), Controlled)])
def test_the_state_of_a_term_is_in_its_checkpoint(name, rate_batch):
    """Another term of the same kind that loads it goes on with exactly the same numbers."""
    term = started(name)
    for seed in range(5):
        term(rate_batch(seed=seed, step=seed).inputs())
    resumed = started(name)
    resumed.load_state_dict(copy.deepcopy(term.state_dict()))
    assert all(value.dtype in (torch.float64, torch.int64) for value in term.state_dict().values())
    assert resumed.kl_weight(5) == term.kl_weight(5)
    for seed in range(5, 9):
        batch = rate_batch(seed=seed, step=seed)
        one, two = term(batch.inputs()), resumed(batch.inputs())
        assert torch.equal(one.value, two.value)
        assert torch.equal(one.kl_weight, two.kl_weight)
        assert term.kl_weight(seed) == resumed.kl_weight(seed)


@pytest.mark.parametrize("name", TERMS)
def test_a_schedule_has_settled_when_its_target_is_reached(name):
    term = started(name)
    assert term.settled == (0 if name in ("geco", "control") else 5)


def test_a_term_says_what_it_needs():
    having = {need: {name for name in TERMS if need in needs(name)} for need in ("rate", "standard_normal_prior")}
    assert having["standard_normal_prior"] == {
        "free bits per dimension", "free bits per channel", "no free bits", "beta-tc", "mmd"
    }  # fmt: skip
    assert {name for name in TERMS if "whole_batch" in needs(name)} == {"beta-tc", "mmd"}
    assert having["rate"] == {*TERMS} - {"annealed"}
