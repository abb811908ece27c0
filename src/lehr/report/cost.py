"""What a sweep cost: time by part, speed, memory, and how much of it came to nothing."""

from __future__ import annotations

import math
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
_CLOCK = 1.0  # seconds that a start is written in: runs that follow each other may seem to overlap by less


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
        seconds: of all of them together, one after the other: the machine time. 0 where nothing is known. What runs
            that were trained side by side in a process took counts once, each of them having an equal share.
        median: of a run; None where nothing is known.
        not_done: seconds of runs that did not end well.
        together: runs that were trained side by side in a process.
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
    together: int
    parts: tuple[Part, ...]
    speed: Spread | None
    memory: Spread | None
    gpu_memory: Spread | None
    hosts: dict[str, int]
    elapsed: float | None


def cost(results: SweepResults) -> Cost:
    """The cost of all runs that say how long they took. A run that was resumed says it of its last start."""
    timed = [run for run in results.runs if total_seconds(run.seconds) is not None]
    shares = _shares(timed)
    totals = [(total_seconds(run.seconds) or 0.0) * share for run, share in zip(timed, shares, strict=True)]
    return Cost(
        runs=len(timed),
        seconds=sum(totals),
        median=median(totals) if totals else None,
        not_done=sum(total for run, total in zip(timed, totals, strict=True) if run.state != DONE),
        together=sum(share < 1 for share in shares),
        parts=_parts(timed, shares),
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


def _shares(runs: Sequence[RunResult]) -> list[float]:
    """What each run has of its seconds: less than 1 of those that were trained side by side in a process."""
    shares = [1.0] * len(runs)
    processes: dict[tuple[str, str], list[int]] = {}
    for i, run in enumerate(runs):
        if run.pid is not None and _time(run.started):
            processes.setdefault((str(run.host), str(run.pid)), []).append(i)
    for members in processes.values():
        spans = [_span(runs[i]) for i in members]
        busy, overlap = _union(spans)
        if overlap > _CLOCK:
            share = busy / sum(end - start for start, end in spans)
            for i in members:
                shares[i] = share
    return shares


def _span(run: RunResult) -> tuple[float, float]:
    """From when to when it ran, in seconds."""
    started = _time(run.started)
    start = started.timestamp() if started else 0.0
    return start, start + (total_seconds(run.seconds) or 0.0)


def _union(spans: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """How long all spans are together, and the longest that one has in common with those that began before it."""
    busy, overlap, last = 0.0, 0.0, -math.inf
    for start, end in sorted(spans):
        overlap = max(overlap, min(last, end) - start)
        busy += max(0.0, end - max(start, last))
        last = max(last, end)
    return busy, overlap


def _parts(runs: Sequence[RunResult], shares: Sequence[float]) -> tuple[Part, ...]:
    by_name: dict[str, list[float]] = {}
    for run, share in zip(runs, shares, strict=True):
        for name, seconds in run.seconds.items():
            if name != TOTAL and is_number(seconds):
                by_name.setdefault(name, []).append(float(seconds) * share)
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
