"""KL annealing against tables written by hand, and what must hold of every schedule."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lehr.errors import ConfigError
from lehr.objective.annealing import RAMPS, Annealing, Schedule

# logistic(12 (t - 1/2)) at t = 1/4, stretched so that its ends are 0 and 1
_LOGISTIC = [1 / (1 + math.exp(u)) for u in (6.0, 3.0, -6.0)]
SIGMOID_QUARTER = (_LOGISTIC[1] - _LOGISTIC[0]) / (_LOGISTIC[2] - _LOGISTIC[0])  # 0.04518
COSINE_QUARTER = (1 - math.sqrt(0.5)) / 2  # 0.14645

TABLES = {
    "constant": (Annealing(0.7), 3, 1, [0.7, 0.7, 0.7]),
    "zero": (Annealing(0.0), 3, 1, [0, 0, 0]),
    "hold alone": (Annealing(2.0, hold=2, unit="step"), 5, 1, [0, 0, 2, 2, 2]),
    "linear": (Annealing(1.0, hold=2, warmup=4, unit="step"), 9, 1, [0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1]),
    "target": (Annealing(4.0, warmup=4, unit="step"), 6, 1, [0, 1, 2, 3, 4, 4]),
    "cosine": (
        Annealing(1.0, warmup=4, shape="cosine", unit="step"),
        6,
        1,
        [0, COSINE_QUARTER, 0.5, 1 - COSINE_QUARTER, 1, 1],
    ),
    "sigmoid": (
        Annealing(2.0, warmup=4, shape="sigmoid", unit="step"),
        6,
        1,
        [0, 2 * SIGMOID_QUARTER, 1, 2 - 2 * SIGMOID_QUARTER, 2, 2],
    ),
    "epochs": (Annealing(1.0, hold=1, warmup=2, unit="epoch"), 8, 2, [0, 0, 0, 0.25, 0.5, 0.75, 1, 1]),
    "half epochs": (Annealing(1.0, hold=0.5, warmup=1.25), 8, 4, [0, 0, 0, 0.2, 0.4, 0.6, 0.8, 1]),
    "fraction": (Annealing(1.0, hold=0.25, warmup=0.5, unit="fraction"), 8, 4, [0, 0, 0, 0.25, 0.5, 0.75, 1, 1]),
    "cycles": (Annealing(1.0, warmup=2, cycles=3, unit="step"), 12, 1, [0, 0.5, 1, 1] * 3),
    "cycles after a hold": (
        Annealing(1.0, hold=2, warmup=2, cycles=2, unit="step"),
        10,
        1,
        [0, 0, 0, 0.5, 1, 1, 0, 0.5, 1, 1],
    ),
    # cycles of 3.5 steps: the second begins between steps 3 and 4
    "uneven cycles": (Annealing(1.0, warmup=2, cycles=2, unit="step"), 7, 1, [0, 0.5, 1, 1, 0.25, 0.75, 1]),
}


@pytest.mark.parametrize("name", TABLES)
def test_the_weight_at_each_step(name):
    annealing, total, per_epoch, expected = TABLES[name]
    schedule = annealing.schedule(total, per_epoch)
    assert [schedule(step) for step in range(total)] == pytest.approx(expected, abs=1e-12)
    # after the end of training, as at its end
    assert [schedule(step) for step in (total, total + 1, 10 * total)] == [annealing.weight] * 3


@pytest.mark.parametrize(("cycles", "period", "ramp"), [(4, 10, 0.5), (2, 7, 3 / 7), (5, 4, 0.25)])
def test_cycles_are_those_of_fu_et_al_2019(cycles, period, ramp):
    total = cycles * period
    schedule = Annealing(1.0, warmup=ramp * period, cycles=cycles, unit="step").schedule(total, 1)
    for step in range(total):
        tau = (step % period) / period  # their equation 5; their t - 1 is our step
        assert schedule(step) == pytest.approx(tau / ramp if tau <= ramp else 1.0, abs=1e-12)


@pytest.mark.parametrize("shape", RAMPS)
def test_ramps_are_increasing_symmetric_and_reach_both_ends(shape):
    ramp = RAMPS[shape]
    values = [ramp(i / 64) for i in range(65)]
    assert (values[0], values[-1]) == (0.0, 1.0)
    assert all(a < b for a, b in pairwise(values))
    assert values == pytest.approx([1 - value for value in reversed(values)], abs=1e-12)


SETTLED = [
    (Annealing(1.0), 10, 5, 0),
    (Annealing(1.0, hold=3, unit="step"), 10, 5, 3),
    (Annealing(1.0, hold=3, warmup=4, unit="step"), 10, 5, 7),
    (Annealing(1.0, hold=0.5, warmup=0.5, unit="epoch"), 10, 5, 5),
    (Annealing(1.0, hold=0.25, unit="fraction"), 10, 5, 3),
    (Annealing(1.0, hold=0.07, unit="fraction"), 100, 5, 7),  # 0.07 * 100 is a little more than 7
    (Annealing(1.0, warmup=2, cycles=3, unit="step"), 12, 1, 10),
    (Annealing(1.0, hold=2, warmup=2, cycles=2, unit="step"), 10, 1, 8),
]


@pytest.mark.parametrize(("annealing", "total", "per_epoch", "expected"), SETTLED)
def test_settled_is_the_first_step_from_which_the_weight_stays(annealing, total, per_epoch, expected):
    schedule = annealing.schedule(total, per_epoch)
    assert schedule.settled == expected
    assert all(schedule(step) == annealing.weight for step in range(expected, total + 5))
    assert expected == 0 or schedule(expected - 1) < annealing.weight


UNREACHED = [
    (Annealing(1.0, warmup=10, unit="epoch"), 50, 5, ["kl.warmup=10", "10 epochs"]),
    (Annealing(1.0, hold=4, warmup=6, unit="epoch"), 50, 5, ["kl.hold=4", "kl.warmup=6", "10 epochs"]),
    (Annealing(1.0, hold=10, unit="epoch"), 50, 5, ["kl.hold=10", "10 epochs"]),
    (Annealing(1.0, warmup=51, unit="step"), 50, 5, ["kl.warmup=51", "50 steps"]),
    (Annealing(1.0, hold=0.5, warmup=0.5, unit="fraction"), 50, 5, ["kl.hold=0.5", "kl.warmup=0.5"]),
    (Annealing(1.0, warmup=4, cycles=3), 50, 5, ["kl.warmup=4", "3 cycles", "10 epochs", "3.33333 epochs each"]),
    (Annealing(1.0, hold=12, warmup=1, cycles=3), 50, 5, ["kl.hold=12", "10 epochs", "0 epochs each"]),
    # shorter than the training, but the target is reached after its last step
    (Annealing(1.0, warmup=0.95, unit="fraction"), 10, 5, ["kl.warmup=0.95", "10 steps"]),
    (Annealing(1.0, hold=0.9, warmup=1.05, unit="epoch"), 10, 5, ["kl.hold=0.9", "kl.warmup=1.05", "10 steps"]),
    (Annealing(1.0, warmup=0.49, cycles=2, unit="fraction"), 10, 5, ["kl.warmup=0.49", "10 steps"]),
]


SAID = [
    (Annealing(1.0, hold=5, warmup=5), 10, "kl.hold=2 kl.warmup=3, or train for longer"),
    (Annealing(1.0, hold=5, warmup=20), 20, "kl.hold=5 kl.warmup=5, or train for longer"),
    (Annealing(1.0, hold=5, warmup=5), 1, "kl.hold=0 kl.warmup=0, or train for longer"),
    (Annealing(1.0, hold=5, warmup=5, unit="step"), 9, "kl.hold=2 kl.warmup=2, or train for longer"),
    (Annealing(1.0, hold=5, warmup=0.3, unit="fraction"), 1, "kl.hold=0.2 kl.warmup=0.3"),
    (Annealing(1.0, hold=3), 3, "kl.hold=1 kl.warmup=0, or train for longer"),
]


@pytest.mark.parametrize(("annealing", "length", "words"), SAID)
def test_the_words_that_a_refusal_says_fit(annealing, length, words):
    problem = annealing.problem(length)
    assert problem.endswith(f"the target would never be reached; say {words}")
    hold, warmup = (float(word.rstrip(",").partition("=")[2]) for word in words.split()[:2])
    assert replace(annealing, hold=hold, warmup=warmup).problem(length) is None


@pytest.mark.parametrize(("annealing", "total", "per_epoch", "words"), UNREACHED)
def test_a_target_that_is_never_reached_is_an_error_in_one_line(annealing, total, per_epoch, words):
    with pytest.raises(ConfigError) as caught:
        annealing.schedule(total, per_epoch)
    (message,) = caught.value.problems
    assert "\n" not in message
    assert len(message) < 180
    for word in words:
        assert word in message


@settings(deadline=None, max_examples=300, derandomize=True)
@given(
    weight=st.floats(0, 100),
    hold=st.floats(0, 1),
    warmup=st.floats(0, 1),
    shape=st.sampled_from(list(RAMPS)),
    cycles=st.integers(1, 6),
    unit=st.sampled_from(["epoch", "step", "fraction"]),
    total=st.integers(1, 120),
    per_epoch=st.integers(1, 30),
)
def test_every_schedule_that_is_accepted_keeps_its_promises(
    weight, hold, warmup, shape, cycles, unit, total, per_epoch
):
    length = {"epoch": total / per_epoch, "step": float(total), "fraction": 1.0}[unit]
    annealing = Annealing(weight, hold * length, warmup * length, shape, cycles, unit)
    try:
        schedule = annealing.schedule(total, per_epoch)
    except ConfigError:
        assume(False)
    weights = [schedule(step) for step in range(total + 3)]
    assert all(0 <= value <= weight for value in weights)
    assert 0 <= schedule.settled < total  # training sees the target
    assert all(value == weight for value in weights[schedule.settled :])
    falls = [step for step in range(1, total + 3) if weights[step] < weights[step - 1]]
    assert len(falls) <= cycles - 1  # monotone within a ramp
    for step in range(min(total, math.ceil(schedule.hold))):
        assert weights[step] == 0


def test_a_schedule_alone_takes_its_numbers_in_steps():
    schedule = Schedule(weight=2.0, hold=1, warmup=2, period=5, cycles=2)
    assert [schedule(step) for step in range(10)] == [0, 0, 1, 2, 2, 2, 0, 1, 2, 2]
    assert schedule.settled == 8
