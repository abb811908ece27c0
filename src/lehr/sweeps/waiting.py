"""Points of a sweep that wait to be trained, by the program that trains them; more are asked for as room comes free."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lehr.startup import quick_imports
from lehr.sweeps.launching import Jobs
from lehr.sweeps.point import Point


@dataclass(frozen=True)
class Plan:
    """What becomes of some points.

    Attributes:
        groups: those that are lanes of one program, of each kind of program.
        others: what is not fused.
        reasons: why, and how many points of each.
    """

    groups: dict[str, list[Path]]
    others: Sequence[Path]
    reasons: Counter[str]

    def told(self, lanes: int) -> str:
        """A line for each thing to say, where so many `lanes` are trained at the same time."""
        lines = []
        if self.groups:
            sizes = [len(members) for members in self.groups.values()]
            at_a_time = f", {lanes:,} at a time" if max(sizes) > lanes else ""
            lines.append(f"fused: {_count(sum(sizes), 'run')} as {_count(len(sizes), 'program')}{at_a_time}")
        lines += [f"not fused: {_count(count, 'run')} with {reason}" for reason, count in self.reasons.most_common()]
        return "\n".join(lines)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def planned(run_dirs: Sequence[Path]) -> Plan:
    """Which of these points are trained together."""
    with quick_imports():
        from lehr.training.fused.kinds import kind, obstacle

    plan = Plan({}, others := [], Counter())
    for run_dir in run_dirs:
        config = Point.read(run_dir).config
        if reason := obstacle(config):
            others.append(run_dir)
            plan.reasons[reason] += 1
        else:
            plan.groups.setdefault(kind(config), []).append(run_dir)
    return plan


class Waiting:
    """Hands out points of one kind, and keeps those of others for later.

    Args:
        jobs: points that are ready to be trained.
        at_once: the most that have been pulled of them and have not ended; None for all that there are.
        tell: told what becomes of points that were pulled.
    """

    def __init__(self, jobs: Jobs, at_once: int | None, tell: Callable[[Plan], None]) -> None:
        self._jobs, self._at_once, self._tell = jobs, at_once, tell
        self._by_kind: dict[str | None, deque[Path]] = {}
        self._out = 0
        self.is_over = False
        """Whether no more can be pulled, ever."""

    def pull(self, most: int | None = None) -> int:
        """Ask for what there is now, at most so many: how many points that were."""
        found: list[Path] = []
        while not self.is_over and len(found) != most and self._has_room(len(found)):
            job = next(self._jobs, StopIteration)
            if job is StopIteration:
                self.is_over = True
            elif job is None:
                break
            else:
                assert isinstance(job, Path)
                found.append(job)
        if found:
            plan = planned(found)
            for kind, members in (*plan.groups.items(), (None, plan.others)):
                self._by_kind.setdefault(kind, deque()).extend(members)
            self._tell(plan)
        return len(found)

    def _has_room(self, more: int) -> bool:
        return self._at_once is None or self._out + sum(map(len, self._by_kind.values())) + more < self._at_once

    def kinds(self) -> list[str | None]:
        """What waits, most of all first; None is what is not fused, and comes last."""
        sizes = {kind: len(members) for kind, members in self._by_kind.items() if members}
        return sorted(sizes, key=lambda kind: (kind is None, -sizes[kind]))

    def of(self, kind: str | None) -> Jobs:
        """Points of this kind, until none waits and none is trained; of others that are pulled meanwhile it is next."""
        while True:
            if members := self._by_kind.get(kind):
                self._out += 1
                yield members.popleft()
            elif not self.pull(1):
                if self.is_over or not self._out:
                    return
                yield None

    def ended(self) -> None:
        """A point that was handed out is no longer trained."""
        self._out -= 1
