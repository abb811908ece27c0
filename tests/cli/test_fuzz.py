"""A hundred of the commands of `scripts/fuzz.py`, always the same, none of which has a fault as it is told there.

The first of each command and the first to which each thing was done are tried every time, the others with the slow
tests.

A fault here is shown by `python scripts/fuzz.py --seed 0 --only N`.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from fuzzing.cases import COMMANDS, Case, make
from fuzzing.trial import attempt, shown_command
from fuzzing.world import World, in_this_process, two_steps

SEED, CASES, SHARES = 0, 100, 3


@pytest.fixture(scope="module")
def world(finished_run, tmp_path_factory):
    with ExitStack() as stack:
        for patch in (two_steps, in_this_process):
            stack.enter_context(patch())
        yield World(tmp_path_factory.mktemp("fuzz") / "world", finished_run)


def first_of_each_kind() -> list[Case]:
    found: list[Case] = []
    for number in range(CASES):
        case = make(SEED, number)
        if case.command not in {one.command for one in found} or case.about not in {one.about for one in found}:
            found.append(case)
    return found


def the_others(share: int) -> list[Case]:
    often = {case.number for case in first_of_each_kind()}
    return [make(SEED, number) for number in range(share, CASES, SHARES) if number not in often]


@pytest.mark.slow
@pytest.mark.parametrize(
    "cases",
    [first_of_each_kind, *(partial(the_others, n) for n in range(SHARES))],
    ids=["first of each kind", *(f"others {n + 1}" for n in range(SHARES))],
)
@pytest.mark.filterwarnings("default")  # a command prints them; here it is asked what it prints
def test_no_command_has_a_fault(world, cases):
    for case in cases():
        found = attempt(case, world)
        shown = f"python scripts/fuzz.py --seed {SEED} --only {case.number}: {shown_command(case)}"
        assert found.fault is None, f"{shown}: {found.fault} ({found.why})\n{found.err}"


def test_a_case_is_a_function_of_its_seed_and_number_and_all_commands_are_tried():
    assert make(3, 7) == make(3, 7) != make(4, 7)
    counts = Counter(make(SEED, number).command for number in range(CASES))
    assert counts.keys() == COMMANDS.keys()
    assert min(counts.values()) >= 3
    often, rarely = first_of_each_kind(), [case for share in range(SHARES) for case in the_others(share)]
    assert sorted(case.number for case in (*often, *rarely)) == list(range(CASES))
    assert {case.about for case in often} >= {case.about for case in rarely}
    assert {case.command for case in often} == COMMANDS.keys()
    assert 10 <= len(often) <= 20


def test_what_is_a_fault_is_seen(world, monkeypatch):
    cases = (make(SEED, number) for number in range(CASES))
    case = next(case for case in cases if case.command == "results" and not case.places)
    for fault, does in {
        "unforeseen": lambda argv: 1 // 0,
        "traceback": lambda argv: print("Traceback (most recent call last)", file=sys.stderr) or 1,
        "without a word": lambda argv: 2,
        "too long": lambda argv: [print("lehr results: sweep", file=sys.stderr) for _ in range(7)] and 2,
        "unnamed key": lambda argv: print("lehr results: ?", file=sys.stderr) or 2,
        "wrote outside": lambda argv: (Path("x").write_text("") and 0) or 0,
        "started a program": lambda argv: os.system("true"),
    }.items():
        monkeypatch.setattr("lehr.cli.results.main", does)
        assert attempt(case, world).fault == fault
