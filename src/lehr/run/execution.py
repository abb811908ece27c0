"""How a pass over a data set is carried out: where, and by which of several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from lehr.data.batch import Batch
from lehr.data.module import ImageDataModule
from lehr.models.components import Components
from lehr.run.evaluation_mode import evaluation_mode
from lehr.run.progress_line import ProgressLine


def _go_on() -> None:
    """Nothing stops a pass."""


@dataclass(frozen=True)
class Execution:
    """How a pass over a data set is carried out. All ranks take part in it, each with its own examples.

    Attributes:
        device: where the components are.
        rank: of this process; the first, 0, alone shows progress and writes.
        world: how many processes there are.
        check: called after each batch; it may raise, to stop the pass.
    """

    device: torch.device
    rank: int = 0
    world: int = 1
    check: Callable[[], None] = _go_on

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def batches(self, data: ImageDataModule, split: str, name: str) -> Iterator[Batch]:
        """This rank's batches of a split, each example once, with a progress line called `name`."""
        loader = data.evaluation_loader(split, self.device, self.rank, self.world)
        with ProgressLine(name, len(loader), shown=self.is_first) as line:
            for batch in loader:
                yield batch
                line.advance()
                self.check()

    @contextmanager
    def evaluating(self, components: Components) -> Iterator[None]:
        """Within the block the networks are in evaluation mode and no gradient is kept, see `evaluation_mode`."""
        networks = components.model, components.likelihood, components.prior
        with torch.inference_mode(), evaluation_mode(*networks):
            yield
