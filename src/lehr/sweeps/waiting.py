"""Points of a sweep that wait to be trained, by the program that trains them; more are asked for as room comes free."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lehr.startup import quick_imports
from lehr.sweeps.launching import Jobs
from lehr.sweeps.point import Point
from lehr.sweeps.sizes import Size, Sizes

_MOST_LINES = 20


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

    def told(self, sizes: Mapping[str, Size]) -> str:
        """A line for each thing to say, where the kinds of programs are trained as `sizes` says."""
        told = [(members, sizes[kind]) for kind, members in self.groups.items()]
        fused = [(members, size) for members, size in told if size.lanes]
        lines = []
        if fused:
            runs = sum(len(members) for members, _ in fused)
            lines.append(f"fused: {_count(runs, 'run')} as {_count(len(fused), 'program')}")
            if len(fused) == 1:
                lines[0] += f": {fused[0][1].told(runs)}"
            else:
                lines += _first(f"  {_such(members)}: {size.told(len(members))}" for members, size in fused)
        lines += _first(
            f"pool: {_such(members)}: {size.told(len(members))}" for members, size in told if not size.lanes
        )
        lines += [f"not fused: {_count(count, 'run')} with {reason}" for reason, count in self.reasons.most_common()]
        return "\n".join(lines)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _first(lines: Iterable[str]) -> list[str]:
    """Of lines about programs as many as somebody reads."""
    every = list(lines)
    return every if len(every) <= _MOST_LINES else [*every[: _MOST_LINES - 1], f"  and so on: {len(every):,} programs"]


def _such(run_dirs: Sequence[Path]) -> str:
    """So many runs, and the name of one of them."""
    return f"{_count(len(run_dirs), 'run')}{' such as' if len(run_dirs) > 1 else ','} {run_dirs[0].name}"


def planned(run_dirs: Sequence[Path]) -> Plan:
    """Which of these points are trained together.

    Those whose optimizers are told the same follow each other: lanes that stand side by side move in one call.
    """
    with quick_imports():
        from lehr.training.fused.kinds import kind, obstacle

    plan = Plan({}, others := [], Counter())
    optimizers: dict[Path, str] = {}
    for run_dir in run_dirs:
        config = Point.read(run_dir).config
        if reason := obstacle(config):
            others.append(run_dir)
            plan.reasons[reason] += 1
        else:
            plan.groups.setdefault(kind(config), []).append(run_dir)
            optimizers[run_dir] = json.dumps(config["optimizer"], sort_keys=True, default=str)
    for members in plan.groups.values():
        members.sort(key=optimizers.__getitem__)
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
        self._left: set[str] = set()
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
                self._by_kind.setdefault(None if kind in self._left else kind, deque()).extend(members)
            self._tell(plan)
        return len(found)

    def _has_room(self, more: int) -> bool:
        return self._at_once is None or self._out + sum(map(len, self._by_kind.values())) + more < self._at_once

    @property
    def is_search(self) -> bool:
        """Whether what comes next hangs on what has ended, so that not all is pulled at once."""
        return self._at_once is not None

    def kinds(self) -> list[str | None]:
        """What waits, most of all first; None is what is not fused, and comes last."""
        sizes = {kind: len(members) for kind, members in self._by_kind.items() if members}
        return sorted(sizes, key=lambda kind: (kind is None, -sizes[kind]))

    def members(self, kind: str) -> Sequence[Path]:
        """Those of this kind that wait."""
        return list(self._by_kind.get(kind, ()))

    def leave(self, kind: str) -> None:
        """Let all of this kind be with what is not fused, from now on."""
        self._left.add(kind)
        self._by_kind.setdefault(None, deque()).extend(self._by_kind.pop(kind, ()))

    def faster(self, sizes: Sizes) -> list[str | None]:
        """`kinds`, once those that are not trained as lanes are left to what trains what is not fused."""
        for kind in self.kinds():
            if kind is not None and not sizes.of(kind, self.members(kind)).lanes:
                self.leave(kind)
        return self.kinds()

    def take(self, kind: str | None, most: int) -> list[Path]:
        """At most so many of this kind; where none waits, of what there is to pull now."""
        while not self._by_kind.get(kind) and self.pull(1):
            pass
        members = self._by_kind.get(kind, deque())
        found = [members.popleft() for _ in range(min(most, len(members)))]
        self._out += len(found)
        return found

    def of(self, kind: str | None) -> Jobs:
        """Points of this kind, until none waits and none is trained; of others that are pulled meanwhile it is next."""
        while True:
            if found := self.take(kind, 1):
                yield found[0]
            elif self.is_over or not self._out:
                return
            else:
                yield None

    def put_back(self, kind: str, members: Sequence[Path]) -> None:
        """Let those of this kind that were taken and not begun wait once more, before the others."""
        self._by_kind.setdefault(kind, deque()).extendleft(reversed(members))
        self._out -= len(members)

    def ended(self) -> None:
        """A point that was handed out is no longer trained."""
        self._out -= 1
