"""What a run is trained and tested on: digests of the content of every split, by which data are known again.

Where the data lie, and what their files are called, does not enter: moved data are the same data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
from torch import Tensor

from lehr.files import DIGEST_BYTES

MOST_NAMES = 10_000
"""Files of a data set whose names are kept: of a million they would be more than all else in a run directory."""
_MOST_BLOCKS = 256
_BLOCK_DIGITS = 8
_SHOWN = 3


@dataclass(frozen=True)
class SplitPrint:
    """What one split holds, in order.

    Attributes:
        n: how many examples.
        digest: of their content; None where an example has no content to go by.
        labels: digest of their labels; None where there are none.
        blocks: 8 hexadecimal digits for each of at most 256 parts of the split, equally long but for the last, to find
            where two splits differ.
        files: what the examples are called, from the folder of the data on; None where they are no files, or too many.
    """

    n: int
    digest: str | None
    labels: str | None = None
    blocks: str = ""
    files: Sequence[str] | None = None

    @classmethod
    def of(cls, digests: np.ndarray | None, labels: Tensor | None, files: Sequence[str] | None, n: int) -> Self:
        """Of the digests of the examples, (n, 16) uint8, and their labels."""
        told = None if labels is None else _hex(labels.contiguous().numpy().tobytes())
        if digests is None:
            return cls(n, None, told, files=files)
        size = block_size(n)
        parts = (digests[i : i + size].tobytes() for i in range(0, n, size))
        return cls(n, _hex(digests.tobytes()), told, "".join(_hex(part)[:_BLOCK_DIGITS] for part in parts), files)

    @property
    def is_sound(self) -> bool:
        """Whether it is what was written: it may have been read from a file that somebody has changed."""
        texts = isinstance(self.blocks, str) and all(isinstance(one, str | None) for one in (self.digest, self.labels))
        names = self.files is None or (
            isinstance(self.files, list)
            and len(self.files) == self.n
            and all(isinstance(one, str) for one in self.files)
        )
        return isinstance(self.n, int) and texts and names

    def first_difference(self, other: SplitPrint) -> tuple[int, int] | None:
        """Among which examples, the first and the last, the first one is that differs from those of `other`."""
        if self.n != other.n or self.digest == other.digest or None in (self.digest, other.digest):
            return None
        size = block_size(self.n)
        for i in range(0, len(self.blocks), _BLOCK_DIGITS):
            if self.blocks[i : i + _BLOCK_DIGITS] != other.blocks[i : i + _BLOCK_DIGITS]:
                first = i // _BLOCK_DIGITS * size
                return first, min(first + size, self.n) - 1
        return 0, self.n - 1  # the digest decides, whatever the blocks tell


@dataclass(frozen=True)
class Fingerprint:
    """The splits of a data set by name."""

    splits: Mapping[str, SplitPrint]

    def plain(self, files: bool = True) -> dict[str, Any]:
        """As plain containers, for JSON or a checkpoint; without the names of `files` if they are not wanted."""
        if files:
            return {name: asdict(split) for name, split in self.splits.items()}
        # without copying the names first: that is asked for at every checkpoint
        plain = {name: asdict(replace(split, files=None)) for name, split in self.splits.items()}
        return {name: {key: value for key, value in split.items() if key != "files"} for name, split in plain.items()}

    @classmethod
    def read(cls, plain: Any) -> Self | None:
        """What `plain` gave, or None where there is no such thing."""
        try:
            splits = {str(name): SplitPrint(**split) for name, split in plain.items()}
        except (AttributeError, TypeError):
            return None
        return cls(splits) if splits and all(split.is_sound for split in splits.values()) else None

    def difference(self, now: Fingerprint, labels: bool = False) -> str | None:
        """How the data `now` differ from these, in words; None where they do not. Labels differ if both have some."""
        said = []
        for name in dict.fromkeys((*self.splits, *now.splits)):
            before, after = self.splits.get(name), now.splits.get(name)
            if before is None or after is None:
                said.append(f"there {'was' if before is None else 'is'} no {name} split")
            elif before.n != after.n:
                said.append(f"{name} has {_images(after.n)}, had {before.n:,}")
            elif place := before.first_difference(after):
                said.append(f"{name} has others, {_place(place, after)}")
            elif labels and None not in (before.labels, after.labels) and before.labels != after.labels:
                said.append(f"{name} has other labels")
        if not said:
            return None
        return "; ".join([*self._files(now), *said])

    def _files(self, now: Fingerprint) -> list[str]:
        """Which files are gone, and which are new, where the names of both are known."""
        before, after = self._names(), now._names()
        if before is None or after is None:
            return []
        changes = (("gone", before - after), ("new", after - before))
        return [f"{what}: {_listed(sorted(names))}" for what, names in changes if names]

    def _names(self) -> set[str] | None:
        lists = [split.files for split in self.splits.values()]
        return None if None in lists else {name for names in lists if names for name in names}


def block_size(n: int) -> int:
    """How many of `n` examples each part of a split has."""
    return max(1, -(-n // _MOST_BLOCKS))


def _hex(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def _images(n: int) -> str:
    return f"{n:,} image{'' if n == 1 else 's'}"


def _place(place: tuple[int, int], split: SplitPrint) -> str:
    first, last = place
    name = f" ({split.files[first]})" if split.files else ""
    return (
        f"the first is image {first:,}{name}" if first == last else f"the first is one of images {first:,} to {last:,}"
    )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
