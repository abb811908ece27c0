"""How many lanes there are, and whether there are any."""

from __future__ import annotations

from pathlib import Path

import pytest

from lehr.errors import OutOfMemory
from lehr.sweeps import processes, sizes
from lehr.sweeps.probe import Room
from lehr.sweeps.race import Alone, Race, Steps, foretold
from lehr.sweeps.sizes import Sizes
from lehr.sweeps.slots import Slot

POOL = [Slot(1)] * 2


@pytest.fixture
def measured(monkeypatch):
    """Let a lane take `lane` bytes of 10 GB, and let the race come out so."""
    asked = []

    def let(lane=None, race=None):
        def room(run_dir, accelerator):
            asked.append(run_dir)
            if isinstance(lane, Exception):
                raise lane
            return lane and Room(lane, 10e9)

        def timed(run_dirs, lanes, pool, accelerator):
            if isinstance(race, Exception):
                raise race
            return race

        monkeypatch.setattr(processes, "asked", lambda work, slot: work())
        monkeypatch.setattr(sizes, "room", room)
        monkeypatch.setattr(sizes, "race", timed)
        return asked

    return let


def size_of(lanes, runs, is_left=False):
    return Sizes(lanes, POOL, is_left=is_left).of("kind", [Path(str(i)) for i in range(runs)])


def test_there_are_as_many_lanes_as_memory_has_room_for(measured):
    measured(lane=1e9)
    assert size_of("auto", 100).lanes == 8
    assert size_of("auto", 100).told(100) == "8 lanes at a time of 1.0 GB"
    measured(lane=1e6)
    assert size_of("auto", 100).lanes == 64
    measured()  # it is not known
    assert size_of("auto", 100).lanes == 64


def test_of_lanes_that_do_not_fit_fewer_are_trained_and_that_is_told(measured):
    measured(lane=1e9)
    assert size_of(20, 100).told(100) == "8 lanes at a time of 1.0 GB; no room for 20 in 10.0 GB"
    assert size_of(20, 5).told(5) == "5 lanes of 1.0 GB"
    assert size_of(3, 100).told(100) == "3 lanes at a time of 1.0 GB"


def test_where_not_even_one_lane_fits_it_is_refused_with_the_figure(measured):
    measured(lane=9e9)
    with pytest.raises(OutOfMemory, match=r"lanes: there is no room for one lane \(9.0 GB a lane, 10.0 GB free\)"):
        size_of("auto", 2)
    assert size_of("auto", 2 * 2, is_left=True).told(4) == "there is no room for one lane (9.0 GB a lane, 10.0 GB free)"


def test_what_is_faster_is_chosen_and_both_figures_are_told(measured):
    measured(lane=1e6, race=Race(fused=59, pool=61))
    size = size_of("auto", 24, POOL)
    assert (size.lanes, size.told(24)) == (64, "24 lanes of 1 MB; about 0:59 fused, 1:01 by the pool")
    measured(lane=1e6, race=Race(fused=61, pool=59))
    size = size_of("auto", 24, POOL)
    assert (size.lanes, size.told(24)) == (0, "about 1:01 fused, 0:59 by the pool")


def test_what_cannot_be_measured_is_left_to_the_pool(measured):
    asked = measured(lane=1e6)
    assert size_of("auto", 24, is_left=True).told(24) == "what is faster could not be measured"
    measured(lane=1e6, race=OutOfMemory("killed"))
    assert size_of("auto", 24, is_left=True).told(24) == "killed"
    measured(lane=OutOfMemory("no room"))
    assert size_of("auto", 24, is_left=True).told(24) == "no room"
    asked.clear()
    assert size_of("auto", 3, is_left=True).told(3) == "too few to measure what is faster"
    assert asked == []


def test_each_kind_is_measured_once_and_a_single_run_never(measured):
    asked = measured(lane=1e6)
    found = Sizes("auto", POOL)
    for kind in "aba":
        found.of(kind, [Path(kind), Path("other")])
    found.of("c", [Path("alone")])
    assert asked == [Path("a"), Path("b")]


def test_times_are_foretold_from_steps_of_one_lane_and_of_several():
    # a step of L lanes: 2 ms + L ms; 100 steps; a second besides them
    one, several, alone = Steps(0.003, 100), Steps(0.010, 100), Alone(step=0.003, rest=2.0, again=1.0)
    found = foretold(64, 32, workers=3, one=one, several=several, most=8, alone=alone)
    # of 64 each of three processes has 22 to train, 11 at a time
    assert found.fused == pytest.approx(22 * 1 + 2 * 100 * 0.013)
    assert found.pool == pytest.approx(22 * (2 + 0.3))
    # lanes that cost nothing cost no less; 8 are divided between no more than two processes
    assert foretold(8, 8, 8, Steps(0.01, 10), Steps(0.009, 10), 8, alone).fused == pytest.approx(4 + 0.1)
