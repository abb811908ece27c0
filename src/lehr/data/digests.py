"""Digests of examples: what tells the content of one from that of another, wherever they are kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lehr.errors import DataError
from lehr.files import DIGEST_BYTES, content_digest

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


def digests_of_files(paths: Iterable[str], known: dict[str, bytes]) -> np.ndarray:
    """The digest of the bytes of each file, (n, 16) uint8; those that are `known` by their path are not read again.

    Raises:
        DataError: names a file that cannot be read.
    """
    paths = list(paths)
    new = [path for path in dict.fromkeys(paths) if path not in known]
    if new:
        from tqdm import tqdm

        # reading waits for the disk, and hashing lets other threads run
        with ThreadPoolExecutor(min(32, 4 * (os.cpu_count() or 1))) as pool:
            hidden = True if len(new) < _WORTH_A_BAR else None
            digests = tqdm(pool.map(_of_file, new), total=len(new), desc="reading", disable=hidden)
            known.update(zip(new, digests, strict=True))
    return np.frombuffer(b"".join(known[path] for path in paths), np.uint8).reshape(len(paths), DIGEST_BYTES)


def _of_file(path: str) -> bytes:
    try:
        return content_digest(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


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
