"""Signals that tell a program to end in order, and what is one wish."""

from __future__ import annotations

import signal
import threading

import pytest

from lehr.errors import Interrupted
from lehr.signals import STOP_SIGNALS, ending_in_order, hand_on, is_new_wish, put


@pytest.fixture(autouse=True)
def _handlers_stay():
    before = {signum: signal.getsignal(signum) for signum in STOP_SIGNALS}
    yield
    assert {signum: signal.getsignal(signum) for signum in STOP_SIGNALS} == before


@pytest.fixture
def clock(monkeypatch):
    """The time in a list of one, which a test sets."""
    now = [0.0]
    monkeypatch.setattr("lehr.signals.time.monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize("signum", STOP_SIGNALS)
def test_each_of_them_ends_in_order(signum):
    with pytest.raises(Interrupted, match=signum.name) as stopped, ending_in_order():
        signal.raise_signal(signum)
    assert stopped.value.exit_code == 128 + signum


def test_several_within_a_second_are_one_wish_and_a_later_one_is_another(clock):
    ended = []

    def work() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            clock[0] = 0.9
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
            ended.append("in order")
            clock[0] = 1.0
            signal.raise_signal(signal.SIGHUP)
            ended.append("unheard")

    with pytest.raises(Interrupted, match="SIGHUP"), ending_in_order():
        work()
    assert ended == ["in order"]


def test_what_was_asked_of_an_earlier_program_is_no_wish_of_this_one(clock):
    for _ in range(2):
        with pytest.raises(Interrupted), ending_in_order():
            signal.raise_signal(signal.SIGTERM)


def test_what_is_ignored_stays_ignored(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        with ending_in_order():
            signal.raise_signal(signal.SIGHUP)
            assert put(lambda *_: None, over_others=True).keys() == set(STOP_SIGNALS) - {signal.SIGHUP}
    finally:
        signal.signal(signal.SIGHUP, before)
    for signum in set(STOP_SIGNALS) - {signal.SIGHUP}:
        signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)


def test_a_handler_of_the_program_around_is_left_and_called_with_what_was_kept_back():
    heard = []
    before = signal.signal(signal.SIGUSR1, lambda signum, _: heard.append(signum))
    try:
        with ending_in_order():
            signal.raise_signal(signal.SIGUSR1)
            hand_on(signal.SIGUSR1, signal.getsignal(signal.SIGUSR1))
            with pytest.raises(Interrupted, match="SIGUSR2"):  # it has none for this one
                hand_on(signal.SIGUSR2, signal.getsignal(signal.SIGUSR2))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard == [signal.SIGUSR1] * 2


def test_a_thread_leaves_signals_to_the_program():
    before = {signum: signal.getsignal(signum) for signum in STOP_SIGNALS}
    found = []

    def look() -> None:
        with ending_in_order():
            found.append({signum: signal.getsignal(signum) for signum in STOP_SIGNALS})

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [before]


def test_a_wish_is_new_once(clock):
    with ending_in_order():
        assert [is_new_wish(), is_new_wish()] == [True, False]
        clock[0] = 1.0
        assert is_new_wish()
