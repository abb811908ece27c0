"""Signals that tell a program to end in order, and which of them are one wish."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from lehr.errors import Interrupted

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""What tells a program to end in order: a scheduler, Ctrl-C, a terminal that closes, warnings that a job's time is up.

SIGQUIT (Ctrl-\\) ends it at once, as SIGKILL does.
"""
STOPPED = tuple(128 + signum for signum in STOP_SIGNALS)
"""Exit codes of a process that has ended in order after one of them."""
# a terminal signals all processes of a command, and the one that started the others passes it on; so does `timeout`,
# which signals its own group as well as its command: the same wish twice
_ONE_WISH_SECONDS = 1.0

Handler = Callable[[int, FrameType | None], Any]


class _Wishes:
    """When a wish to end has last come to this process."""

    came_at: float | None = None
    at_most_one = False


def is_new_wish() -> bool:
    """Take note of a signal that has come: whether it is another wish than the one before it."""
    now, before = time.monotonic(), _Wishes.came_at
    if before is not None and (_Wishes.at_most_one or now - before < _ONE_WISH_SECONDS):
        return False
    _Wishes.came_at = now
    return True


def have_one_wish() -> None:
    """Let no further signal end this process at once: whoever has started it loses patience for both."""
    _Wishes.at_most_one = True


def put(handler: Handler | signal.Handlers, over_others: bool = False) -> dict[int, Any]:
    """Let `handler` have the signals that end in order, but those that are ignored, as under nohup: these stay so.

    Args:
        handler: of signals.
        over_others: also those that the program around this one has a handler for.

    Returns:
        What has had each of them before.
    """
    before: dict[int, Any] = {}
    if threading.current_thread() is not threading.main_thread():  # where Python lets nobody have them
        return before
    for signum in STOP_SIGNALS:
        theirs = signal.getsignal(signum)
        is_free = theirs in (signal.SIG_DFL, signal.default_int_handler)
        if is_free or (over_others and callable(theirs)):
            before[signum] = signal.signal(signum, handler)
    return before


def give_back(before: dict[int, Any]) -> None:
    """Undo what `put` has done."""
    for signum, handler in before.items():
        signal.signal(signum, handler)


class Remembered:
    """A handler that keeps the first signal for later, and at another wish to end ends the process at once.

    Attributes:
        signum: the signal that has come, or that the program around has taken for come; None for none.
    """

    def __init__(self) -> None:
        self.signum: int | None = None

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        is_new = is_new_wish()
        if self.signum is None:
            self.signum = signum
        elif is_new:
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)


def end_at_once(signum: int, frame: FrameType | None) -> None:
    """A handler for a process that is about to end anyway: another wish to end is fulfilled there and then."""
    if is_new_wish():
        signal.signal(signum, signal.SIG_DFL)
        signal.raise_signal(signum)


class _Stop:
    """A handler that raises `Interrupted` in this process, and ends those that load data for it."""

    def __init__(self) -> None:
        self._process = os.getpid()

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            os._exit(128 + signum)
        if is_new_wish():
            raise Interrupted(signum)


def hand_on(signum: int, handler: Any) -> None:
    """Do with a signal that was kept back what `handler` is there for.

    Raises:
        Interrupted: if that is to end in order, or the program around this one has none of its own.
    """
    if not callable(handler) or handler is signal.default_int_handler or isinstance(handler, _Stop):
        raise Interrupted(signum)
    handler(signum, None)


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Within the block the signals that nobody else has a handler for raise `Interrupted`, once for each wish."""
    before = put(_Stop())
    if before:
        _Wishes.came_at = None
    try:
        yield
    finally:
        give_back(before)
