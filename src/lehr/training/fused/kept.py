"""How much is kept for the backward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class Kept:
    """Counts bytes of tensors that steps keep until they have gone backward.

    Attributes:
        most: bytes that were kept at the same time; of what shares its memory once.
    """

    def __init__(self) -> None:
        self.most = self._now = 0
        self._uses: dict[int, int] = {}  # address of the memory -> how many tensors there are kept

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count what is computed within, in this thread."""
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: _One(tensor, self), lambda one: one.tensor):
            yield

    def change(self, tensor: Tensor, by: int) -> None:
        """One more is kept, or one less."""
        memory = tensor.untyped_storage()
        uses = self._uses[memory.data_ptr()] = self._uses.get(memory.data_ptr(), 0) + by
        if uses == (by == 1):  # the first that comes, or the last that goes
            self._now += by * memory.nbytes()
            self.most = max(self.most, self._now)


class _One:
    """A tensor for as long as it is kept."""

    def __init__(self, tensor: Tensor, kept: Kept) -> None:
        self.tensor, self._kept = tensor, kept
        kept.change(tensor, 1)

    def __del__(self) -> None:
        self._kept.change(self.tensor, -1)
