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

from lehr.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

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
    from PIL import Image, ImageOps

    try:
        with Image.open(view.path) as file:
            image = ImageOps.exif_transpose(_eight_bit(file))
            image = image.convert("L" if channels == 1 else "RGB")
        image = _square(image, size, view.place)
        if view.mirrored:
            image = ImageOps.mirror(image)
        pixels = np.asarray(image)
    except Exception as error:  # Pillow's decoders raise errors of a dozen kinds on damaged files
        reason = "not an image" if type(error).__name__ == "UnidentifiedImageError" else str(error)
        line = " ".join(reason.split()) or type(error).__name__
        raise DataError(f"{view.path} cannot be read as an image: {line}") from error
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def decode_batch(views: list[View], size: int, channels: int) -> np.ndarray:
    """Several images, (b, c, size, size) uint8."""
    return np.stack([decode(view, size, channels) for view in views])


def problem(path: str, size: int, channels: int) -> str | None:
    """Why a file cannot be decoded, None if it can. Decodes the whole file: a header says nothing of truncation."""
    try:
        decode(View(path), size, channels)
    except DataError as error:
        return str(error)
    return None


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

    def problems(self, paths: Iterable[str]) -> Iterator[str | None]:
        """For each file why it cannot be decoded, None if it can, in order."""
        return self._map(partial(problem, size=self.size, channels=self.channels), paths)

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

    @cached_property
    def _pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self.workers, initializer=_become_worker)

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in self.__dict__.items() if key != "_pool"}


def _become_worker() -> None:
    """Leave Ctrl-C to the parent, and end when the parent ends, however it does."""
    import multiprocessing
    import threading

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _eight_bit(image: Image.Image) -> Image.Image:
    """The image with 8 bits a channel and without transparency, which is put on white."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        levels = (np.asarray(image) >> 8).astype(np.uint8)  # convert() would clip at 255 instead of scaling
        grey = Image.fromarray(levels)
        grey.info = image.info
        return grey
    if image.mode in ("I", "F"):
        raise DataError(f"its pixels have mode {image.mode}, expected 8 or 16 bits")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        # What lies under a transparent pixel is arbitrary and must not become part of the data.
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        flat = Image.alpha_composite(white, rgba)
        flat.info = image.info
        return flat
    return image


def _square(image: Image.Image, size: int, place: float) -> Image.Image:
    from PIL import Image

    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = int(place * (width - size + 1)), int(place * (height - size + 1))
    return image.crop((left, top, left + size, top + size))
