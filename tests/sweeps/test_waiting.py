"""Points that wait for the program that trains them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from lehr.sweeps import waiting
from lehr.sweeps.sizes import Size
from lehr.sweeps.waiting import Plan, Waiting


@pytest.fixture(autouse=True)
def kinds(monkeypatch):
    """The kind of a point is the first letter of its name; what begins with x is not fused."""

    def planned(run_dirs):
        plan = Plan({}, [run_dir for run_dir in run_dirs if run_dir.name[0] == "x"], Counter())
        for run_dir in run_dirs:
            if run_dir.name[0] != "x":
                plan.groups.setdefault(run_dir.name[0], []).append(run_dir)
        return plan

    monkeypatch.setattr(waiting, "planned", planned)


def of(names, at_once=None):
    """What waits of these jobs; a dash is that there may be one later."""
    told = []
    found = Waiting((None if name == "-" else Path(name) for name in names.split()), at_once, told.append)
    return found, told


def names(jobs, found, most=99):
    """What is handed out, each of which ends before the next is asked for."""
    seen = []
    for job in jobs:
        seen.append("-" if job is None else job.name)
        if job is not None:
            found.ended()
        if len(seen) == most:
            break
    return seen


def test_of_a_grid_all_are_pulled_and_trained_kind_by_kind_most_first():
    found, told = of("b1 a1 x1 a2 - a3")
    assert found.pull() == 4
    assert len(told) == 1
    assert found.kinds() == ["a", "b", None]
    assert names(found.of("a"), found) == ["a1", "a2", "a3"]
    assert found.kinds() == ["b", None]
    assert found.is_over


def test_of_a_search_one_is_asked_for_whenever_one_has_ended():
    found, _ = of("a1 a2 a3 a4", at_once=2)
    assert found.pull() == 2
    jobs = found.of("a")
    assert [next(jobs).name, next(jobs).name, next(jobs)] == ["a1", "a2", None]
    found.ended()
    assert next(jobs).name == "a3"
    assert next(jobs) is None


def test_those_of_another_kind_take_over_once_they_are_all_that_waits():
    found, _ = of("a1 b1 a2 b2 b3 a3", at_once=3)
    found.pull()
    jobs = found.of("a")
    assert [next(jobs).name, next(jobs).name, next(jobs)] == ["a1", "a2", None]
    found.ended()
    assert next(jobs) is None  # b2 was pulled
    found.ended()
    assert next(jobs, "over") == "over"  # b1, b2 and b3 wait, and no a is trained
    assert found.kinds() == ["b"]
    assert names(found.of("b"), found) == ["b1", "b2", "b3"]
    assert names(found.of("a"), found) == ["a3"]


def test_a_kind_that_is_left_to_the_others_is_among_them_from_then_on():
    found, _ = of("a1 a2 b1 x1 - a3 b2")
    found.pull()
    assert [path.name for path in found.members("a")] == ["a1", "a2"]
    found.leave("a")
    assert found.kinds() == ["b", None]
    assert found.members("a") == []
    assert names(found.of("b"), found) == ["b1", "b2"]
    assert sorted(names(found.of(None), found)) == ["a1", "a2", "a3", "x1"]


def test_what_was_taken_and_not_begun_waits_once_more_before_the_others():
    found, _ = of("a1 a2 a3 a4", at_once=4)
    found.pull()
    first, *others = found.take("a", 3)
    found.put_back("a", others)
    assert [first.name, *(path.name for path in found.members("a"))] == ["a1", "a2", "a3", "a4"]
    assert found.pull() == 0  # as many as before are out or wait
    found.ended()
    assert names(found.of("a"), found) == ["a2", "a3", "a4"]


def test_of_many_programs_the_first_are_told():
    plan = Plan({str(i): [Path(f"run{i}"), Path("other")] for i in range(30)}, (), Counter())
    lines = plan.told({kind: Size(2) for kind in plan.groups}).splitlines()
    assert len(lines) == 21
    assert lines[0] == "fused: 60 runs as 30 programs"
    assert lines[1] == "  2 runs such as run0: 2 lanes"
    assert lines[-1] == "  and so on: 30 programs"
