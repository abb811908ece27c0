"""Pictures decoded to arrays, in this process or in several.

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
from multiprocessing.util import Finalize
from typing import TypeVar
from weakref import WeakSet

import numpy as np

from lehr.data.checks import as_text, reason_of
from lehr.data.crop import Form, Size, TooSmall, View, taken
from lehr.data.encoded import Encoded, digest_of
from lehr.data.file_facts import FileFacts, facts_of, is_deep
from lehr.data.picture import ORIENTATION, hide_what_is_unseen, opened, to_eight_bits
from lehr.errors import DataError
from lehr.signals import STOP_SIGNALS

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_RGBA = 4
_ON_ITS_SIDE = 5  # from this orientation on, of the eight of Exif, width is height
_GRACE_SECONDS = 10.0  # from SIGTERM to the end of a decoding process
In = TypeVar("In")
Out = TypeVar("Out")


def decode(view: View, form: Form) -> np.ndarray:
    """One image, (c, h, w) uint8: upright, brought to size and cut.

    Raises:
        DataError: one line that names the picture, if it cannot be decoded, or is smaller than is allowed.
    """
    return _decode(view, form)[0]


def _decode(view: View, form: Form, *, look_further: bool = False) -> tuple[np.ndarray, FileFacts | None]:
    """See `decode`; and if one is to look, what else is known of the picture."""
    has_opacity = form.channels == _RGBA
    try:
        with opened(view.picture) as file:
            deep = look_further and is_deep(file)
            image = to_eight_bits(file, opaque=not has_opacity)
            if image.mode != (mode := _MODES[form.channels]):  # else it would be copied
                image = image.convert(mode)
            if look_further and image is file:
                image = image.copy()  # to look whether there is another picture goes on to it
            facts = facts_of(file, view.picture, image.size, deep) if look_further else None
        pixels = np.asarray(taken(image, view, form))
    except TooSmall as error:
        raise TooSmall(f"{as_text(view.picture)} {error}") from None
    except Exception as error:  # Pillow's decoders raise errors of a dozen kinds on damaged files
        raise DataError(f"{as_text(view.picture)} cannot be read as an image: {_reason(error)}") from error
    if has_opacity:
        pixels = hide_what_is_unseen(pixels)
    return pixels[None] if form.channels == 1 else pixels.transpose(2, 0, 1), facts


def decode_batch(views: list[View], form: Form) -> np.ndarray:
    """Several images, (b, c, h, w) uint8."""
    return np.stack([decode(view, form) for view in views])


@dataclass(frozen=True)
class Inspection:
    """What was found in a picture.

    Attributes:
        problem: why it cannot be decoded, None if it can. All of it is: a header says nothing of truncation.
        digest: of its bytes.
        facts: what else is known of it, None if it cannot be decoded.
        small: whether the problem is that it is smaller than is allowed.
    """

    problem: str | None
    digest: bytes = b""
    facts: FileFacts | None = None
    small: bool = False


def inspect(picture: Encoded, form: Form) -> Inspection:
    """Decode a picture, and read its bytes, which are in memory then."""
    try:
        _, facts = _decode(View(picture), form, look_further=True)
        return Inspection(None, digest_of(picture), facts)
    except DataError as error:
        return Inspection(str(error), small=isinstance(error, TooSmall))
    except OSError as error:
        return Inspection(f"{as_text(picture)} cannot be read: {reason_of(error)}")


def upright_size(picture: Encoded) -> Size:
    """Width and height of a picture as it is looked at, of which only the beginning is read.

    Raises:
        DataError: one line that names the picture, if that says nothing.
    """
    try:
        with opened(picture) as file:
            width, height = file.size
            return (height, width) if file.getexif().get(ORIENTATION, 1) >= _ON_ITS_SIDE else (width, height)
    except Exception as error:
        raise DataError(f"{as_text(picture)} cannot be read as an image: {_reason(error)}") from error


def upright_sizes(pictures: list[Encoded]) -> list[Size]:
    """See `upright_size`."""
    return list(map(upright_size, pictures))


class Decoder:
    """Decodes batches ahead of time in `workers` processes; in this process, when they are asked for, if 0.

    The processes start with the first batch and serve all splits that share this object.
    """

    def __init__(self, form: Form, workers: int) -> None:
        self.form = form
        self.workers = workers

    def batches(self, batches: Iterable[list[View]]) -> Iterator[np.ndarray]:
        """For each batch of views its images, (b, c, h, w) uint8, in order."""
        return self.map(partial(decode_batch, form=self.form), batches)

    def inspections(self, pictures: Iterable[Encoded]) -> Iterator[Inspection]:
        """What is found in each picture, in order."""
        return self.map(partial(inspect, form=self.form), pictures)

    def map(self, function: Callable[[In], Out], items: Iterable[In]) -> Iterator[Out]:
        """What `function` makes of each of the items, in order: made ahead of time where there are processes to."""
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
        if not _OPEN:
            # what multiprocessing has started ends once its own children have, and these wait for pictures; it is told
            # before the queues that they are told by are closed, of priority 10
            Finalize(None, close_all, exitpriority=20)
        _OPEN.add(self)
        return ProcessPoolExecutor(self.workers, initializer=_become_worker)

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in self.__dict__.items() if key != "_pool"}


_OPEN: WeakSet[Decoder] = WeakSet()
"""Those that have processes, or had."""


def close_all() -> None:
    """End the processes of all decoders."""
    for decoder in list(_OPEN):
        decoder.close()


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
