"""Lanes that join others in the midst of their training, in the place of those that have ended."""

from __future__ import annotations

import pytest
from alike import assert_same
from made_up import made_up

from lehr.sweeps.directory import state_of
from lehr.training.fused.conductor import Conductor


def trained(works, room=None):
    ended = []
    Conductor(works, lambda number, problem: ended.append((number, problem)), room=room).run()
    assert all(problem is None for _, problem in ended), ended
    return [number for number, _ in ended]


def test_a_lane_that_takes_the_place_of_another_waits_until_the_rest_begin_an_epoch(taken):
    # a ends in the midst of an epoch; c waits for b to come to its end, and d, at another rhythm, for nobody
    assert trained([made_up("a", 7), made_up("b", 15), made_up("c", 10), made_up("d", 5, at_once=3)], 2) == [0, 1, 2, 3]
    together = [[name for name, _ in step] for step in taken]
    assert together == [["a", "b"]] * 7 + [["b"]] * 3 + [["b", "c"]] * 5 + [["c", "d"]] * 5
    of_each = {name: [step for lanes in taken for own, step in lanes if own == name] for name in "abcd"}
    assert of_each == {"a": [*range(7)], "b": [*range(15)], "c": [*range(10)], "d": [*range(5)]}


def test_lanes_that_go_on_at_several_places_come_together(taken):
    works = [made_up("a", 10), made_up("b", 9, begin=1, at_once=4), made_up("c", 7, begin=8)]
    trained(works)
    together = ["".join(name for name, _ in step) for step in taken]
    assert together == ["b", "b", "bc", "bc", *["abc"] * 5, *["a"] * 5]


def test_what_may_come_later_is_asked_for_when_a_lane_has_ended(taken):
    pulled = []

    def works():
        yield made_up("a", 10)
        yield None
        pulled.append(len(taken))
        yield made_up("b", 5)

    assert trained(works()) == [0, 1]
    assert pulled == [10]


@pytest.mark.slow
@pytest.mark.parametrize("rate_term", ["kl=anneal", "kl=mmd kl.alpha=0.5 kl.lambda_=10 kl.seed=1"])
def test_lanes_that_join_others_end_in_what_they_end_in_alone(trainings, rate_term):
    common = ("trainer.precision=64-true", "trainer.check_val_every_n_epoch=1", *rate_term.split(), "kl.hold=0")
    points = [
        (*common, "seed=0", "kl.warmup=2"),
        (*common, "seed=1", "kl.weight=2", "kl.warmup=1"),
        (*common, "seed=0", "kl.weight=3", "kl.warmup=1.5", "optimizer.lr=3e-3"),
        (*common, "seed=2", "kl.weight=0.5", "kl.warmup=3", "optimizer.decay=cosine"),
    ]
    alone = trainings.alone(points)
    # two become NaN in the midst of an epoch, and the next begin while the others go on
    bad = (*common, "seed=1", "kl.warmup=1", "optimizer.lr=1e300")
    fused = trainings.prepare("fused", [points[0], bad, points[1], bad, *points[2:]])
    trainings.go_on(fused, room=3)
    assert [state_of(run_dir) for run_dir in fused] == ["done", "failed", "done", "failed", "done", "done"]
    for one, other in zip(alone, [fused[i] for i in (0, 2, 4, 5)], strict=True):
        assert_same(one, other)
