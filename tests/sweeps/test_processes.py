"""What is asked of a process of its own, and what is said where it does not answer."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
from multiprocessing import Pipe
from types import SimpleNamespace

import pytest

from lehr.errors import DiskFull, LehrError, OutOfMemory
from lehr.sweeps import processes
from lehr.sweeps.slots import Slot


class Gone(BaseException):
    """The process is."""


@pytest.fixture(autouse=True)
def threads(monkeypatch):
    """Processes are threads, and end with this exit code where they do not answer."""

    def start(context, work, slot, name):
        def run():
            try:
                work()
            except Gone as gone:
                process.exitcode = gone.args[0]
                work.args[0].close()

        process = SimpleNamespace(exitcode=0, join=lambda: thread.join())
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return process

    class Link:
        """The end of a pipe that this process has closed, and a thread has not."""

        def __init__(self, end):
            self.send, self._end = end.send, end

        def close(self):
            if threading.current_thread() is not threading.main_thread():
                self._end.close()

    def pipe():
        ours, theirs = Pipe()
        return ours, Link(theirs)

    monkeypatch.setattr(processes, "template", lambda threads: SimpleNamespace(Pipe=pipe))
    monkeypatch.setattr(processes, "start", start)


def asked(answer):
    def work():
        if isinstance(answer, BaseException):
            raise answer
        return answer

    return processes.asked(work, Slot(1))


def test_what_a_process_finds_or_stumbles_over_is_its_answer():
    assert asked({"lane": 1}) == {"lane": 1}
    with pytest.raises(DiskFull, match="full"):
        asked(DiskFull("full"))
    with pytest.raises(LehrError, match="ZeroDivisionError: by nothing"):
        asked(ZeroDivisionError("by nothing"))


THREADS = """
import re, threading

def work(last, mine, following):
    mine.wait()
    del [bytearray(b"x") * 200_000 for _ in range(100)][:]
    following.set()
    last.wait()

turns = [threading.Event() for _ in range(9)]
for mine, following in zip(turns, turns[1:]):
    threading.Thread(target=work, args=(turns[-1], mine, following), daemon=True).start()
turns[0].set()
turns[-1].wait()
print(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that is told")
def test_threads_of_which_one_runs_at_a_time_keep_what_one_of_them_needs():
    # eight of 20 MB each
    environment = {**os.environ, "GLIBC_TUNABLES": processes._KEPT_MEMORY}
    kilobytes = subprocess.check_output([sys.executable, "-S", "-c", THREADS], env=environment)
    assert int(kilobytes) < 80_000


def test_only_of_what_was_killed_it_is_said_that_there_was_no_room():
    with pytest.raises(OutOfMemory, match="no room for it: killed by SIGKILL"):
        asked(Gone(-9))
    with pytest.raises(LehrError, match="ended without a word: killed by SIGSEGV") as raised:
        asked(Gone(-11))
    assert not isinstance(raised.value, OutOfMemory)
    with pytest.raises(LehrError, match="ended without a word: exit code 1"):
        asked(Gone(1))
