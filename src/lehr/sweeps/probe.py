"""What runs take, measured before any is trained: the first of them begin in a folder that is thrown away.

They are what will be trained, where it will be trained: read, built, and trained for a moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lehr.errors import OutOfMemory
from lehr.run.directory import RunDirectory
from lehr.startup import quick_imports
from lehr.sweeps.memory import free_memory, in_words
from lehr.sweeps.point import Point
from lehr.sweeps.runner import run_point

if TYPE_CHECKING:
    from lehr.data.module import ImageDataModule
    from lehr.training.fused.lanes import Lane

    Datasets = dict[str, ImageDataModule]

_OF_A_RUN = 6e6
"""Bytes of a lane beside its tensors, on the host: trainer, loaders, loggers, a thread."""
_STATES = 4
"""As large as the weights: they, their gradients, and two moments of Adam."""
_SPARED = 0.2
"""Of what is free, for what lies between steps and for others."""


@dataclass(frozen=True)
class Room:
    """What there is for lanes.

    Attributes:
        lane: bytes that each takes.
        free: bytes that there are.
    """

    lane: float
    free: float

    @property
    def lanes(self) -> int:
        """How many fit."""
        return int((1 - _SPARED) * self.free / self.lane)

    def told(self) -> str:
        return f"{in_words(self.lane)} a lane, {in_words(self.free)} free"


class Enough(Exception):
    """Ends a measurement."""


def room(run_dir: Path, accelerator: str | None = None) -> Room | None:
    """What a lane takes that is trained as the point in `run_dir`, and what is free; None where its run fails.

    On a GPU that is the most that was held in a step. On a CPU, whose allocators do not say, it is what an optimizer
    and its step have to keep, and once more what goes backward.

    Args:
        run_dir: holds point.json.
        accelerator: in place of `trainer.accelerator`.

    Raises:
        OutOfMemory: where there is no room for it.
    """
    with quick_imports():
        import torch

        from lehr.training.fused.kept import Kept

    found: list[Room] = []
    kept, before = Kept(), 0
    on_gpu = accelerator != "cpu" and _accelerator(run_dir) != "cpu" and torch.cuda.is_available()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()

    def stepped(lane: Lane) -> None:
        if lane.asked is not None and on_gpu:
            own = torch.cuda.memory_reserved() - before  # which is given back, or used again
            found.append(Room(torch.cuda.max_memory_allocated() - before, torch.cuda.mem_get_info()[0] + own))
        elif lane.asked is not None:
            weights = sum(parameter.nbytes for parameter in lane.asked.module.parameters())
            found.append(Room(_OF_A_RUN + _STATES * weights + 2 * kept.most, free_memory()))
        raise Enough

    with kept.counted():
        begin([run_dir], accelerator, lambda lanes, *numbers: stepped(lanes[0]), log_every=1)
    return found[0] if found else None


def begin(
    run_dirs: Sequence[Path],
    accelerator: str | None,
    stepped: Callable[[Sequence[Lane], int, int], None],
    log_every: int,
    datasets: Datasets | None = None,
) -> None:
    """Train copies of these points as lanes, until `stepped` has seen enough.

    Args:
        run_dirs: hold point.json.
        accelerator: in place of `trainer.accelerator`.
        stepped: told of the lanes, of how many steps were taken in all, and of how many they have left.
        log_every: steps that are taken at once, at most.
        datasets: what was read before.

    Raises:
        OutOfMemory: where there is no room for them.
    """
    with quick_imports():
        from lehr.training.fused.conductor import Conductor

    lanes: list[Lane] = []

    def work(run_dir: Path, lane: Lane) -> None:
        lanes.append(lane)
        run_point(run_dir, own_process=False, devices=1, accelerator=accelerator, lane=lane)

    with copied(run_dirs, log_every) as copies:
        works = [partial(work, copy) for copy in copies]

        def told(taken: int, _: int, left: int) -> None:
            if taken:  # or else all have failed
                stepped(lanes, taken, left)

        try:
            Conductor(works, lambda number, problem: None, stepped=told, datasets=datasets).run()
        except Enough:
            return
        for copy in copies:
            _require_memory(copy)


@contextmanager
def copied(run_dirs: Sequence[Path], log_every: int | None = None) -> Iterator[list[Path]]:
    """The same points at other places, where nobody waits for what comes of them.

    Args:
        run_dirs: hold point.json.
        log_every: the most steps from one entry of the log to the next.
    """
    with TemporaryDirectory(prefix="lehr-", ignore_cleanup_errors=True) as folder:
        copies = [Path(folder, str(i)) for i in range(len(run_dirs))]
        for run_dir, copy in zip(run_dirs, copies, strict=True):
            point = Point.read(run_dir)
            trainer = dict(point.config["trainer"])
            if log_every is not None:
                trainer["log_every_n_steps"] = min(log_every, trainer["log_every_n_steps"])
            copy.mkdir()
            replace(point, config={**point.config, "trainer": trainer}, trial=None).write(copy)
        yield copies


def _require_memory(run_dir: Path) -> None:
    """Check that the run there has not failed for want of memory."""
    error = str(RunDirectory(run_dir).read_status().get("error") or "")
    kind, _, said = error.partition(": ")
    if kind == OutOfMemory.__name__:
        raise OutOfMemory(f"there is no room for one lane: {said}")


def _accelerator(run_dir: Path) -> str:
    return str(Point.read(run_dir).config["trainer"]["accelerator"])
