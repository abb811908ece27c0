"""What is said of the pace of lanes."""

from __future__ import annotations

import pytest

from lehr.sweeps import pace as paces
from lehr.sweeps.pace import Pace, on_a_clock


@pytest.fixture
def clock(monkeypatch):
    """The time, to be set."""
    now = [100.0]
    monkeypatch.setattr(paces.time, "monotonic", lambda: now[0])
    return now


def test_the_pace_is_that_of_the_last_seconds_over_all_lanes(clock):
    pace = Pace()
    assert pace.words() == []
    assert pace.line(0, 8) == ""
    for second in range(60):  # 8 lanes, half as fast from the 30th second on
        clock[0] += 1
        pace.told(800 if second < 30 else 400, 8, 40_000)
    assert pace.words() == ["8 lanes", "400 run-steps/s"]
    assert pace.line(0, 8) == "fused  47%  8 lanes  400 run-steps/s  1:40 left"
    # as many more wait, and 4 have ended: 12 have begun with 76,000 steps, 12 more will have as many
    assert pace.line(4, 24) == "fused  23%  8 lanes  400 run-steps/s  4:50 left"


def test_nothing_is_said_of_a_wave_that_is_over_nor_of_one_before_it(clock):
    pace = Pace()
    clock[0] += 1
    pace.told(1000, 1, 1000)
    assert pace.words() == ["1 lane", "1,000 run-steps/s"]
    pace.reset()
    assert pace.words() == []
    clock[0] += 2
    pace.told(100, 2, 100)
    assert pace.words() == ["2 lanes", "50 run-steps/s"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (61, "1:01"), (3599.6, "1:00:00"), (7384, "2:03:04"), (360000, "100:00:00")]
)
def test_durations_are_read_as_on_a_clock(seconds, text):
    assert on_a_clock(seconds) == text
