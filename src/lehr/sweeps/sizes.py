"""How points of one program are trained: as how many lanes at a time, or by the pool where that is faster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from lehr.errors import LehrError, OutOfMemory
from lehr.sweeps import processes
from lehr.sweeps.memory import in_words
from lehr.sweeps.probe import Room, room
from lehr.sweeps.race import Race, race
from lehr.sweeps.slots import FEWEST_LANES, Slot

T = TypeVar("T")

Lanes = int | Literal["auto"]
MOST_LANES = 64
"""Where the number is found: with more a step takes as much longer as there are more of them, on a CPU at least."""
MOST_TRIALS = 16
"""The same of a search, which learns nothing of a trial before that has ended."""


@dataclass(frozen=True)
class Size:
    """How points of one program are trained.

    Attributes:
        lanes: the most of them at the same time; 0 where they are left to the pool.
        why: what is said of those that are.
        room: what lanes take; None where that is not known.
        asked: how many were asked for, where there is no room for as many.
        race: how long they take, where that was found out.
    """

    lanes: int
    why: str = ""
    room: Room | None = None
    asked: int | None = None
    race: Race | None = None

    def told(self, runs: int) -> str:
        """How so many are trained."""
        found = [self.why] if self.why else []
        if self.lanes:
            lanes = min(self.lanes, runs)
            found.append(f"{lanes:,} lane{'s'[: lanes != 1]}{' at a time' if runs > lanes else ''}")
            if self.room:
                found[0] += f" of {in_words(self.room.lane)}"
            if self.room and self.asked:
                found.append(f"no room for {self.asked:,} in {in_words(self.room.free)}")
        if self.race:
            found.append(self.race.told())
        return "; ".join(found)


class Sizes:
    """Finds out how points of each program are trained, once and before the first of them is.

    Args:
        lanes: the most at the same time on a device; "auto" for as many as there is room for.
        slots: in which they are trained.
        most: of the lanes that there is room for.
        accelerator: that they are trained on; None for what `trainer.accelerator` says.
        is_left: whether points are left to the pool where that is faster.
    """

    def __init__(
        self,
        lanes: Lanes,
        slots: Sequence[Slot],
        most: int = MOST_LANES,
        accelerator: str | None = None,
        is_left: bool = False,
    ) -> None:
        self._asked, self._wanted, self._slots = lanes, most if lanes == "auto" else lanes, slots
        self._accelerator, self._is_left = accelerator, is_left
        self._known: dict[str, Size] = {}

    def of(self, kind: str, run_dirs: Sequence[Path]) -> Size:
        """How those of this kind of program are trained, of which these are some.

        Raises:
            OutOfMemory: where there is no room for one lane, and no pool to leave them to.
        """
        if kind not in self._known:
            self._known[kind] = self._faster(run_dirs) if self._is_left else self._found(run_dirs)
        return self._known[kind]

    def _found(self, run_dirs: Sequence[Path]) -> Size:
        if min(self._wanted, len(run_dirs)) == 1:  # takes what it takes alone
            return Size(self._wanted)
        found = self._measured(partial(room, run_dirs[0], self._accelerator))
        if found and not found.lanes:
            raise OutOfMemory(
                f"hydra.launcher.lanes: there is no room for one lane ({found.told()}); lower data.batch_size or the "
                "size of the model"
            )
        return self._within(found, len(run_dirs))

    def _faster(self, run_dirs: Sequence[Path]) -> Size:
        """As lanes only where that is known to be faster."""
        if len(run_dirs) < FEWEST_LANES:
            return Size(0, "too few to measure what is faster")
        try:
            found = self._measured(partial(room, run_dirs[0], self._accelerator))
            if found and not found.lanes:
                return Size(0, f"there is no room for one lane ({found.told()})")
            size = self._within(found, len(run_dirs))
            timed = self._measured(partial(race, run_dirs, size.lanes, self._slots, self._accelerator))
        except LehrError as error:  # what lanes have no room for, or stumble over, the pool may train
            return Size(0, " ".join(error.problems))
        if timed is None:
            return Size(0, "what is faster could not be measured")
        return replace(size, race=timed) if timed.fused < timed.pool else Size(0, race=timed)

    def _measured(self, work: Callable[[], T]) -> T:
        """What `work` finds out where the points are trained: in a slot, or else in this process."""
        return work() if len(self._slots) == 1 else processes.asked(work, self._slots[0])

    def _within(self, found: Room | None, runs: int) -> Size:
        """As many as were asked for, where there is room for them."""
        lanes = min(self._wanted, found.lanes) if found else self._wanted
        lacks_room = self._asked != "auto" and lanes < min(self._wanted, runs)
        return Size(lanes, room=found, asked=self._wanted if lacks_room else None)
