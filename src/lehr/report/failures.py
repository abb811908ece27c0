"""What did not end well: runs by what went wrong, and what is still to come."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from lehr.run.status import DONE, FAILED, PRUNED
from lehr.sweeps.directory import ENDED
from lehr.sweeps.results import DAMAGED, STATES, RunResult, SweepResults


@dataclass(frozen=True)
class Failure:
    """Runs with the same state and the same error, numbers aside.

    Attributes:
        state: of the runs; "done" of those whose evaluation failed.
        error: of the first one, a line; "" where nothing is said.
        runs: names of their directories, in the order of the sweep.
    """

    state: str
    error: str
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Progress:
    """How far a sweep has come.

    Attributes:
        states: state -> runs in it.
        done, total: runs; the total is with those that have not begun.
        not_begun: runs that have no directory yet, where that is known.
    """

    states: dict[str, int]
    done: int
    total: int
    not_begun: int = 0

    @property
    def is_over(self) -> bool:
        """Whether all runs have ended, well or not."""
        return not self.not_begun and all(map(has_ended, self.states))


def failures(results: SweepResults) -> list[Failure]:
    """Runs that failed, are damaged or say what went wrong; what most runs have first."""
    groups: dict[tuple[str, str], list[RunResult]] = {}
    for run in results.runs:
        if run.state != PRUNED and (run.error or run.state in (FAILED, DAMAGED)):
            groups.setdefault((run.state, _kind(run)), []).append(run)
    found = [
        Failure(state, runs[0].error or "", tuple(run.name for run in runs)) for (state, _), runs in groups.items()
    ]
    return sorted(found, key=lambda failure: -len(failure.runs))


def progress(results: SweepResults, not_begun: int = 0) -> Progress:
    """How many runs are in which state, and how many have none yet."""
    counts = Counter(run.state for run in results.runs)
    states = {state: counts[state] for state in STATES if counts[state]}
    return Progress(states, counts[DONE], len(results.runs) + not_begun, not_begun)


def has_ended(state: str) -> bool:
    """Whether nothing more is to come of a run in this state: what is damaged is not gone on with."""
    return state in (*ENDED, DAMAGED)


def _kind(run: RunResult) -> str:
    """An error without what differs from run to run: its name, and numbers such as the step."""
    return re.sub(r"[0-9][0-9,.]*(e[-+]?[0-9]+)?", "0", (run.error or "").replace(run.name, ""))
