from __future__ import annotations

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lehr.data.order import EvaluationOrder, TrainingOrder

sizes = st.integers(1, 200)
worlds = st.integers(1, 7)


def examples(order: TrainingOrder | EvaluationOrder, *position: int) -> list[int]:
    return [i for share in order.shares(*position) for i in share.indices.tolist()]


@settings(deadline=None)
@given(n=sizes, batch=st.integers(1, 60), world=worlds, epoch=st.integers(0, 5))
def test_ranks_together_train_on_the_batches_of_one_process(n: int, batch: int, world: int, epoch: int) -> None:
    assume(batch >= world)
    alone = TrainingOrder(n, batch, seed=1)
    whole = list(alone.shares(epoch))
    ranks = [TrainingOrder(n, batch, 1, rank, world) for rank in range(world)]
    shared = list(zip(*(order.shares(epoch) for order in ranks), strict=True))

    assert sorted(examples(alone, epoch)) == list(range(n))
    assert len(alone) == len(whole)
    assert {len(order) for order in ranks} == {len(shared)}
    last_is_too_small = 0 < n % batch < world
    assert len(shared) == len(whole) - last_is_too_small
    for one, parts in zip(whole, shared, strict=False):
        assert torch.cat([part.indices for part in parts]).equal(one.indices)
        assert all(len(part.indices) > 0 for part in parts)
        assert {part.total for part in parts} == {len(one.indices)}
        assert {part.counter for part in parts} == {one.counter}
        for part in parts:
            assert one.indices[part.start : part.start + len(part.indices)].equal(part.indices)


@settings(deadline=None)
@given(n=sizes, batch=st.integers(1, 60), world=worlds)
def test_evaluation_meets_every_example_once_and_in_order(n: int, batch: int, world: int) -> None:
    ranks = [EvaluationOrder(n, batch, rank, world) for rank in range(world)]
    assert [i for order in ranks for i in examples(order)] == list(range(n))
    for order in ranks:
        shares = list(order.shares())
        assert len(shares) == len(order)
        assert all(share.start == share.indices[0] and share.total == n for share in shares)
        assert all(0 < len(share.indices) <= batch for share in shares)


@settings(deadline=None)
@given(n=sizes, batch=st.integers(1, 60), k=st.integers(0, 30), epoch=st.integers(0, 3))
def test_starting_at_a_batch_gives_exactly_the_rest_of_the_epoch(n: int, batch: int, k: int, epoch: int) -> None:
    order = TrainingOrder(n, batch, seed=5)
    whole, rest = list(order.shares(epoch)), list(order.shares(epoch, k))
    assert [share.indices.tolist() for share in rest] == [share.indices.tolist() for share in whole[k:]]
    assert [share.counter for share in rest] == [share.counter for share in whole[k:]]


def test_every_epoch_and_every_seed_has_its_own_order() -> None:
    orders = {tuple(examples(TrainingOrder(50, 8, seed), epoch)) for seed in (0, 1) for epoch in (0, 1, 2)}
    assert len(orders) == 6


def test_no_two_presentations_share_a_counter() -> None:
    order = TrainingOrder(50, 8, seed=0)
    counters = [share.counter for epoch in range(4) for share in order.shares(epoch)]
    assert counters == list(range(4 * len(order)))
