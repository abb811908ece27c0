"""Digests of examples: what tells the content of one from that of another, wherever they are kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lehr.data.checks import as_text, reason_of
from lehr.data.encoded import Encoded, digest_of
from lehr.errors import DataError
from lehr.files import DIGEST_BYTES

if TYPE_CHECKING:
    from lehr.data.images import Images

_EXAMPLES_AT_ONCE = 256
_WORTH_A_BAR = 2000  # files


def digests_of(images: Images) -> np.ndarray | None:
    """The digest of each example, (n, 16) uint8: of what `images.digests()` goes by, or else of all its pixels.

    Of images whose class has no `digests` each is fetched once, as in evaluation; None where it gives None.
    """
    own = getattr(images, "digests", None)
    if own is not None:
        found: np.ndarray | None = own()
        return found
    rows = torch.arange(len(images)).split(_EXAMPLES_AT_ONCE)
    return np.concatenate([digests_of_rows(pixels) for pixels in images.fetch(rows, epoch=None, device="cpu")])


def digests_of_rows(array: Tensor) -> np.ndarray:
    """The digest of each row of an array (n, ...), (n, 16) uint8: of its bytes, its type and its shape."""
    head = hashlib.blake2b(f"{array.dtype} {tuple(array.shape[1:])}".encode(), digest_size=DIGEST_BYTES)
    found = bytearray()
    for row in array.detach().contiguous().view(len(array), -1).view(torch.uint8).numpy():
        digest = head.copy()
        digest.update(row)
        found += digest.digest()
    return np.frombuffer(bytes(found), np.uint8).reshape(len(array), DIGEST_BYTES)


def digests_of_pictures(keys: Sequence[str], picture: Callable[[int], Encoded], known: dict[str, bytes]) -> np.ndarray:
    """The digest of the bytes of each encoded picture, (n, 16) uint8; those that are `known` are not read again.

    Args:
        keys: what each is known by.
        picture: gives the one that has a key, by its place among them.
        known: by their keys; what is found is added.

    Raises:
        DataError: names a picture that cannot be read.
    """
    new = {key: row for row, key in enumerate(keys) if key not in known}
    if new:
        from tqdm import tqdm

        # reading waits for the disk, and hashing lets other threads run
        with ThreadPoolExecutor(min(32, 4 * (os.cpu_count() or 1))) as pool:
            hidden = True if len(new) < _WORTH_A_BAR else None
            found = pool.map(lambda row: _of_picture(picture(row)), new.values())
            digests = tqdm(found, total=len(new), desc="reading", disable=hidden)
            known.update(zip(new, digests, strict=True))
    return np.frombuffer(b"".join(known[key] for key in keys), np.uint8).reshape(len(keys), DIGEST_BYTES)


def _of_picture(picture: Encoded) -> bytes:
    try:
        return digest_of(picture)
    except (OSError, DataError) as error:
        raise DataError(f"{as_text(picture)} cannot be read: {reason_of(error)}") from error


def equal_examples(digests: Mapping[str, np.ndarray]) -> dict[str, int]:
    """How many examples are equal to others: `train` within a split, `train test` those of the second in the first.

    Args:
        digests: of the examples of each split, (n, 16) uint8.
    """
    sets = {name: set(_keys(rows)) for name, rows in digests.items()}
    found = {name: len(rows) - len(sets[name]) for name, rows in digests.items()}
    for one, other in combinations(digests, 2):
        found[f"{one} {other}"] = sum(key in sets[one] for key in _keys(digests[other]))
    return {name: count for name, count in found.items() if count}


def _keys(rows: np.ndarray) -> list[bytes]:
    return np.ascontiguousarray(rows).view(f"V{DIGEST_BYTES}").ravel().tolist()
