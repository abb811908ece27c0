"""Loaders: iterables that yield finished batches on the device.

They hold no position. A training loader asks where training stands when its first batch is asked for, so that
resuming in the middle of an epoch is derived from the trainer's own counters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice, tee
from time import perf_counter
from typing import Any

import torch

from lehr.data import binarize
from lehr.data.batch import Batch
from lehr.data.buckets import BucketOrder
from lehr.data.images import Images
from lehr.data.order import EvaluationOrder, Share, TrainingOrder


@dataclass
class Waiting:
    """How long training has waited for its batches, in seconds of this process."""

    seconds: float = 0.0


class TrainingLoader:
    """What one rank trains on in the current epoch.

    `position` gives (epoch, number of the first batch that is still to come). With `repeat` an epoch is that many
    batches of the first one, again and again: not augmented, and made binary by one draw. `waiting` is told how long
    batches were waited for.
    """

    def __init__(
        self,
        images: Images,
        order: TrainingOrder | BucketOrder,
        position: Callable[[], tuple[int, int]],
        *,
        binarization: str,
        seed: int,
        device: torch.device | str,
        repeat: int = 0,
        waiting: Waiting | None = None,
    ) -> None:
        self._images = images
        self._order = order
        self._repeat = repeat
        self._position = position
        self._binarization = binarization
        self._seed = seed
        self._device = device
        self._waiting = waiting or Waiting()

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Batch]:
        batches = self._all()
        while True:
            asked = perf_counter()
            batch = next(batches, None)
            self._waiting.seconds += perf_counter() - asked
            if batch is None:
                return
            yield batch

    def _all(self) -> Iterator[Batch]:
        # A generator: Lightning makes the iterator before it has restored its counters, so they are read at the
        # first batch and not before.
        epoch, first = self._position()
        if not self._repeat:
            yield from self._batches(self._order.shares(epoch, first), epoch)
            return
        batches = list(self._batches(islice(self._order.shares(0), self._repeat), None))
        for k in range(first, len(self)):
            yield batches[k % len(batches)]

    def _batches(self, order: Iterable[Share], epoch: int | None) -> Iterator[Batch]:
        """Those that the `order` says, augmented as of that epoch, or not if None."""
        shares, ahead = tee(order)
        fetched = self._images.fetch((share.indices for share in ahead), epoch=epoch, device=self._device)
        for share, pixels in zip(shares, fetched, strict=True):
            images = binarize.for_training(pixels, self._binarization, self._seed, share)
            yield Batch(images, share.start, share.total)

    def state_dict(self) -> dict[str, Any]:
        """Empty. Lightning warns that a loader without this method cannot resume; this one needs no state to."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""


class Awaited:
    """A batch of training that nobody has fetched yet. No dataclass, for the same reason as `Batch`.

    Attributes:
        share: which examples it has.
        fetch: fetches it.
        key: batches of one key and one `share.counter` are equal.
    """

    __slots__ = ("fetch", "key", "share")

    def __init__(self, share: Share, fetch: Callable[[], Batch], key: tuple[Any, ...]) -> None:
        self.share, self.fetch, self.key = share, fetch, key

    @property
    def total(self) -> int:
        """As of `Batch`."""
        return self.share.total

    def __len__(self) -> int:
        return len(self.share.indices)

    def to(self, device: torch.device | str) -> Batch:
        """The batch itself, on `device`."""
        return self.fetch().to(device)


class AwaitedLoader(TrainingLoader):
    """A training loader that leaves it to others to fetch its batches: many runs may share one."""

    def _batches(self, order: Iterable[Share], epoch: int | None) -> Iterator[Awaited]:  # type: ignore[override]
        key = (id(self._images), self._seed, self._binarization)
        for share in order:
            yield Awaited(share, partial(self._fetched, share, epoch), key)

    def _fetched(self, share: Share, epoch: int | None) -> Batch:
        return next(super()._batches(iter([share]), epoch))


class EvaluationLoader:
    """What one rank evaluates of a split: in order, not augmented, every example once."""

    def __init__(
        self,
        images: Images,
        order: EvaluationOrder,
        *,
        split: str,
        binarization: str,
        seed: int,
        device: torch.device | str,
    ) -> None:
        self._images = images
        self._order = order
        self._split = split
        self._binarization = binarization
        self._seed = seed
        self._device = device

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Batch]:
        shares, ahead = tee(self._order.shares())
        fetched = self._images.fetch((share.indices for share in ahead), epoch=None, device=self._device)
        for share, pixels in zip(shares, fetched, strict=True):
            images = binarize.for_evaluation(pixels, self._binarization, self._seed, self._split, share.start)
            yield Batch(images, share.start, share.total)
