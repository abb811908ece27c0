"""Lanes that train nothing: what is asked for, taken and told of them."""

from __future__ import annotations

from types import SimpleNamespace

from lehr.training.fused.lanes import Steps

BATCHES = 5
"""Of an epoch."""


def made_up(name, steps, begin=0, at_once=2):
    """A lane that takes so many steps, from step `begin` on, and asks for some of them at once."""
    length = SimpleNamespace(batches_per_epoch=BATCHES, total_steps=begin + steps)
    module = SimpleNamespace(name=name, n_train=50, trainer=None, length=length)

    def work(lane):
        step = begin
        while step < begin + steps:
            number = min(at_once, begin + steps - step, BATCHES - step % BATCHES)
            assert lane.take(Steps(module, [None] * number, step, step)) == "taken"
            step += number

    return work
