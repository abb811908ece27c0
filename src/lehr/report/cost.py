"""What a sweep cost: time by part, speed, memory, and how much of it came to nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

from lehr.report.numbers import is_number
from lehr.run.status import DONE
from lehr.sweeps.results import RunResult, SweepResults

TOTAL = "total"
"""What status.json calls the time until the training was done and recorded."""
_AFTER = "evaluation"  # what comes after it, and is not in it
_SPEED = "time/images_per_second"
_MEMORY = "memory/peak_mib"
_GPU_MEMORY = "memory/gpu_peak_mib"


Spread = tuple[float, float, float]
"""The least, the median and the most of the runs."""


@dataclass(frozen=True)
class Part:
    """A part of the runs: training, statistics, evaluation, ...

    Attributes:
        name: as status.json has it.
        seconds: of all runs together.
        median: of those that have it.
        runs: how many these are.
    """

    name: str
    seconds: float
    median: float
    runs: int


@dataclass(frozen=True)
class Cost:
    """What a sweep cost.

    Attributes:
        runs: that have a time.
        seconds: of all of them together, one after the other: the machine time. 0 where nothing is known.
        median: of a run; None where nothing is known.
        not_done: seconds of runs that did not end well.
        parts: the largest first.
        speed: images per second, the slowest, the median and the fastest run; None where no run has it.
        memory, gpu_memory: MiB that a run took at most while it trained, of its process and of tensors on a GPU, the
            same three; None where no run says it.
        hosts: name of the machine -> runs on it.
        elapsed: from the first start to the last end, in seconds, breaks included; None where that is not known.
    """

    runs: int
    seconds: float
    median: float | None
    not_done: float
    parts: tuple[Part, ...]
    speed: Spread | None
    memory: Spread | None
    gpu_memory: Spread | None
    hosts: dict[str, int]
    elapsed: float | None


def cost(results: SweepResults) -> Cost:
    """The cost of all runs that say how long they took. A run that was resumed says it of its last start."""
    timed = [(run, total) for run in results.runs if (total := total_seconds(run.seconds)) is not None]
    totals = [total for _, total in timed]
    return Cost(
        runs=len(timed),
        seconds=sum(totals),
        median=median(totals) if totals else None,
        not_done=sum(total for run, total in timed if run.state != DONE),
        parts=_parts([run for run, _ in timed]),
        speed=_spread(results, _SPEED),
        memory=_spread(results, _MEMORY),
        gpu_memory=_spread(results, _GPU_MEMORY),
        hosts=dict(Counter(str(run.host) for run in results.runs if run.host).most_common()),
        elapsed=_elapsed(results.runs),
    )


def _spread(results: SweepResults, metric: str) -> Spread | None:
    found = sorted(float(x) for run in results.runs if (x := run.metrics.get(metric)) is not None)
    return (found[0], median(found), found[-1]) if found else None


def total_seconds(parts: Mapping[str, Any]) -> float | None:
    """All that a run took, evaluation included: of its parts where there is no total, None where nothing is known."""
    seconds = {str(name): float(x) for name, x in parts.items() if is_number(x)}
    if TOTAL in seconds:
        return seconds[TOTAL] + seconds.get(_AFTER, 0.0)
    return sum(seconds.values()) if seconds else None


def _parts(runs: Sequence[RunResult]) -> tuple[Part, ...]:
    by_name: dict[str, list[float]] = {}
    for run in runs:
        for name, seconds in run.seconds.items():
            if name != TOTAL and is_number(seconds):
                by_name.setdefault(name, []).append(float(seconds))
    parts = [Part(name, sum(each), median(each), len(each)) for name, each in by_name.items()]
    return tuple(sorted(parts, key=lambda part: -part.seconds))


def _elapsed(runs: Sequence[RunResult]) -> float | None:
    started, finished = ([t for text in texts if (t := _time(text))] for texts in _times(runs))
    return (max(finished) - min(started)).total_seconds() if started and finished else None


def _times(runs: Sequence[RunResult]) -> tuple[list[str | None], list[str | None]]:
    return [run.started for run in runs], [run.finished for run in runs]


def _time(text: str | None) -> datetime | None:
    """A time with its zone; None of what is none, as a file that anybody may have written can say anything."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found if found and found.tzinfo else None
