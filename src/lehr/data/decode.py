"""Image files decoded to arrays, in this process or in several.

Knows nothing of torch: a decoding process imports this file, Pillow and NumPy, and starts at once.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from lehr.data.checks import as_text, reason_of
from lehr.data.file_facts import FileFacts, facts_of, is_deep
from lehr.data.picture import opened, to_eight_bits
from lehr.errors import DataError
from lehr.files import content_digest
from lehr.signals import STOP_SIGNALS

if TYPE_CHECKING:
    from PIL import Image

_ELONGATED = 16
"""How many times as long as wide a picture is of which only what is kept is resized."""
_GRACE_SECONDS = 10.0  # from SIGTERM to the end of a decoding process
In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True)
class View:
    """How one file is looked at.

    Attributes:
        path: the file.
        place: where along the longer side the square is cut, in [0, 1); 0.5 is the centre.
        mirrored: whether left and right are exchanged.
    """

    path: str
    place: float = 0.5
    mirrored: bool = False


def decode(view: View, size: int, channels: int) -> np.ndarray:
    """One image, (c, size, size) uint8: upright, its short side resized to `size`, the long side cut.

    Raises:
        DataError: one line that names the file, if it cannot be decoded.
    """
    return _decode(view, size, channels)[0]


def _decode(view: View, size: int, channels: int, *, look_further: bool = False) -> tuple[np.ndarray, FileFacts | None]:
    """See `decode`; and if one is to look, what else is known of the file."""
    from PIL import ImageOps

    try:
        with opened(view.path) as file:
            deep = look_further and is_deep(file)
            image = to_eight_bits(file).convert("L" if channels == 1 else "RGB")
            facts = facts_of(file, view.path, image.size, deep) if look_further else None
        image = _square(image, size, view.place)
        if view.mirrored:
            image = ImageOps.mirror(image)
        pixels = np.asarray(image)
    except Exception as error:  # Pillow's decoders raise errors of a dozen kinds on damaged files
        raise DataError(f"{as_text(view.path)} cannot be read as an image: {_reason(error)}") from error
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1), facts


def decode_batch(views: list[View], size: int, channels: int) -> np.ndarray:
    """Several images, (b, c, size, size) uint8."""
    return np.stack([decode(view, size, channels) for view in views])


@dataclass(frozen=True)
class Inspection:
    """What was found in a file.

    Attributes:
        problem: why it cannot be decoded, None if it can. All of it is: a header says nothing of truncation.
        digest: of its bytes.
        facts: what else is known of it, None if it cannot be decoded.
    """

    problem: str | None
    digest: bytes = b""
    facts: FileFacts | None = None


def inspect(path: str, size: int, channels: int) -> Inspection:
    """Decode a file, and read its bytes, which are in memory then."""
    try:
        _, facts = _decode(View(path), size, channels, look_further=True)
        return Inspection(None, content_digest(path), facts)
    except DataError as error:
        return Inspection(str(error))
    except OSError as error:
        return Inspection(f"{as_text(path)} cannot be read: {reason_of(error)}")


class Decoder:
    """Decodes batches ahead of time in `workers` processes; in this process, when they are asked for, if 0.

    The processes start with the first batch and serve all splits that share this object.
    """

    def __init__(self, size: int, channels: int, workers: int) -> None:
        self.size = size
        self.channels = channels
        self.workers = workers

    def batches(self, batches: Iterable[list[View]]) -> Iterator[np.ndarray]:
        """For each batch of views its images, (b, c, size, size) uint8, in order."""
        return self._map(partial(decode_batch, size=self.size, channels=self.channels), batches)

    def inspections(self, paths: Iterable[str]) -> Iterator[Inspection]:
        """What is found in each file, in order."""
        return self._map(partial(inspect, size=self.size, channels=self.channels), paths)

    def _map(self, function: Callable[[In], Out], items: Iterable[In]) -> Iterator[Out]:
        if self.workers == 0:
            yield from map(function, items)
            return
        pending: deque[Future[Out]] = deque()
        try:
            for item in items:
                pending.append(self._pool.submit(function, item))
                if len(pending) > 2 * self.workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool as error:
            raise DataError("a decoding process died, perhaps for want of memory: lower data.workers") from error
        finally:
            for future in pending:
                future.cancel()

    def close(self) -> None:
        """End the processes; a batch that is asked for later starts others."""
        if (pool := vars(self).pop("_pool", None)) is not None:
            pool.shutdown()

    @cached_property
    def _pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self.workers, initializer=_become_worker)

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in self.__dict__.items() if key != "_pool"}


def _become_worker() -> None:
    """Leave signals, which may reach the whole group, to the parent, and end when the parent ends, however it does."""
    import multiprocessing
    import threading

    def end_later(signum: int, frame: object) -> None:
        # the parent may have it too, and wants images until it stands where it can stop; or a pool ends its processes
        timer = threading.Timer(_GRACE_SECONDS, os._exit, [1])
        timer.daemon = True
        timer.start()

    for signum in STOP_SIGNALS:
        signal.signal(signum, end_later if signum == signal.SIGTERM else signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _reason(error: Exception) -> str:
    if type(error).__name__ in ("UnidentifiedImageError", "KeyError"):  # this Pillow may lack the last of the formats
        return "not an image, or of a format or with pixels that are not read"
    return reason_of(error)


def _square(image: Image.Image, size: int, place: float) -> Image.Image:
    from PIL import Image

    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    left, top = int(place * (width - size + 1)), int(place * (height - size + 1))
    if max(width, height) > _ELONGATED * size:
        # A strip of a pixel's width would be enlarged to gigabytes. The same pixels, but for rounding.
        across, down = image.width / width, image.height / height
        right, bottom = min(image.width, (left + size) * across), min(image.height, (top + size) * down)
        return image.resize((size, size), Image.Resampling.BICUBIC, box=(left * across, top * down, right, bottom))
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    return image.crop((left, top, left + size, top + size))
