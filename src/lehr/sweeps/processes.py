"""Processes that points are trained in, forked off one that has imported everything, so that a start takes no time.

What one of them does to itself (a crash, memory, global state) does not reach another.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.util import Finalize
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from lehr.errors import DiskFull, Interrupted, LehrError, OutOfMemory, in_a_line
from lehr.run.claim import TAKEN_OVER
from lehr.signals import STOPPED, give_back, have_one_wish, put
from lehr.sweeps.launching import record_end
from lehr.sweeps.runner import LOG
from lehr.sweeps.slots import Slot

T = TypeVar("T")

PATIENCE_SECONDS = 60.0
"""How long processes that were told to stop have to finish their step and write a checkpoint."""
_POLL_SECONDS = 0.25
_LONGEST_TMPDIR = 70  # bytes: the path of a socket may have 107, of which multiprocessing adds 32
# what is freed is kept, and lies in large pages: else the C library gives the activations of each step back, and the
# kernel finds and clears their pages anew, which takes lanes a third of their time. All threads share what is kept:
# each lane has one, of which one runs at a time
_KEPT_MEMORY = ":".join(
    f"glibc.malloc.{name}={value}"
    for name, value in {
        "arena_max": 1,
        "mmap_threshold": 64 << 20,
        "trim_threshold": 256 << 20,
        "top_pad": 64 << 20,
        "hugetlb": 1,
    }.items()
)
_NO_SPACE = 28  # exit code of a process that stopped for want of space


def start(context: Any, work: Callable[..., object], slot: Slot, *arguments: Any, name: str) -> Any:
    """A process of `context` that does this work in its slot."""
    process = context.Process(target=_in_slot, args=(slot, work, *arguments), name=name)
    with _without_main():
        process.start()
    return process


def asked(work: Callable[[], T], slot: Slot) -> T:
    """What `work` returns in a process of its own.

    Raises:
        LehrError: that it has raised, or in a line what else it has, or how the process was ended.
        OutOfMemory: where it was killed.
    """
    context, kills = template(slot.threads), kills_for_memory()
    link, theirs = context.Pipe()
    process = start(context, partial(_answer, theirs, work), slot, name="question")
    theirs.close()
    try:
        found = link.recv()
    except EOFError as error:
        process.join()
        how = ending(process.exitcode, kills)
        if process.exitcode == -signal.SIGKILL:
            raise OutOfMemory(f"there is no room for it: {how}") from error
        raise LehrError(f"a process that measures what runs take has ended without a word: {how}") from error
    except BaseException:
        stop([process], "it is measured what runs take")
        raise
    process.join()
    if isinstance(found, LehrError):
        raise found
    return found


def _answer(link: Connection, work: Callable[[], object]) -> None:
    try:
        found = work()
    except Exception as error:
        link.send(error if isinstance(error, LehrError) else LehrError(in_a_line(error)))
    else:
        link.send(found)


def stop(processes: Sequence[Any], what: str) -> None:
    """Let what runs write a checkpoint and end; kill what has not after a while, or on a second signal.

    Args:
        processes: that `start` has made.
        what: is waited for, to be told.
    """
    try:
        if any(process.is_alive() for process in processes):
            print(f"stopping: {what}; Ctrl-C does not wait for it", file=sys.stderr, flush=True)
        end = time.monotonic() + PATIENCE_SECONDS
        while (left := [p for p in processes if p.is_alive()]) and time.monotonic() < end:
            for process in left:
                process.terminate()  # again and again: one that has just started does not mind signals yet
            wait([process.sentinel for process in left], timeout=_POLL_SECONDS)
    finally:
        for process in processes:
            process.kill()
            process.join()


def _give_sockets_short_names() -> None:
    """Let sockets lie in a folder of a short name where TMPDIR, in which they would, leaves theirs no room."""
    own: dict[str, Any] = multiprocessing.process.current_process()._config  # type: ignore[attr-defined]
    if own.get("tempdir") or len(os.fsencode(tempfile.gettempdir())) <= _LONGEST_TMPDIR:
        return
    for place in ("/tmp", "/var/tmp", "/dev/shm"):
        with suppress(OSError):
            folder = own["tempdir"] = tempfile.mkdtemp(prefix="pymp-", dir=place)
            Finalize(None, shutil.rmtree, (folder,), {"ignore_errors": True}, exitpriority=-100)
            return


def template(threads: int) -> Any:
    """A multiprocessing context whose processes are forked off one that has imported what a run needs.

    Args:
        threads: that each of them may use.
    """
    # read by the libraries when the template loads them; the GPUs must not be touched before the fork
    wanted = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    wanted["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    wanted["GLIBC_TUNABLES"] = _KEPT_MEMORY
    absent = [name for name in wanted if name not in os.environ]
    os.environ.update({name: wanted[name] for name in absent})
    _give_sockets_short_names()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lehr.sweeps.template"])
    # Ctrl-C reaches every process of a terminal's command, and so do other signals that are sent to a whole group; the
    # processes of the pool wait for what the pool makes of it
    before = put(signal.SIG_IGN, over_others=True)
    try:
        forkserver.ensure_running()
    finally:
        give_back(before)
        for name in absent:
            del os.environ[name]
    return context


@contextmanager
def _without_main() -> Iterator[None]:
    """Within it a process that is started does not run the user's script once more, to have what that defines."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _in_slot(slot: Slot, work: Callable[..., object], *arguments: Any) -> None:
    """Do `work` in a process of its own; the exit code says how it went where status.json cannot."""
    import torch

    have_one_wish()  # a second one is that of the process that has started this one, which then kills
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _depend_on_the_starter()
    with suppress(OSError):  # when memory runs out this process is to go, and not the one that waits for it
        Path("/proc/self/oom_score_adj").write_text("500")
    if slot.gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = slot.gpus
    os.environ["OMP_NUM_THREADS"] = str(slot.threads)  # for the ranks that it may start
    torch.set_num_threads(slot.threads)
    try:
        work(*arguments)
    except DiskFull:
        sys.exit(_NO_SPACE)
    except Interrupted as interruption:
        sys.exit(interruption.exit_code)


def _depend_on_the_starter() -> None:
    """Stop in order where the process that has started this one is gone, however that ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow_it() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE_SECONDS)
        os._exit(1)

    threading.Thread(target=follow_it, name="starter", daemon=True).start()


def record(code: int, run_dir: Path, kills_before: int) -> None:
    """Write down how a process ended that could not do so itself.

    Args:
        code: with which it has ended.
        run_dir: what it was at.
        kills_before: as of `kills_for_memory` when it was started.

    Raises:
        DiskFull: if that was it.
    """
    if code == _NO_SPACE:
        raise DiskFull(f"{run_dir}: there is no space left on the disk")
    if code in (0, TAKEN_OVER, *STOPPED):
        return
    how = ending(code, kills_before)
    record_end(run_dir, how if code < 0 else f"the process ended with {how}; {LOG} in the run directory may say why")


def ending(code: int, kills_before: int) -> str:
    """How a process has ended, in words; see `record`."""
    if code == -signal.SIGKILL and kills_for_memory() > kills_before:
        return "out of memory: killed by the kernel"
    if code >= 0:
        return f"exit code {code}"
    hint = " (by the kernel, if nobody else did: is there enough memory?)" if code == -signal.SIGKILL else ""
    return f"killed by {signal.Signals(-code).name}{hint}"


def kills_for_memory() -> int:
    """How many processes the kernel has killed for want of memory since it started."""
    return next((int(count) for name, count in _counters() if name == "oom_kill"), 0)


def _counters() -> Iterator[list[str]]:
    with suppress(OSError):
        yield from (line.split() for line in Path("/proc/vmstat").read_text().splitlines())
