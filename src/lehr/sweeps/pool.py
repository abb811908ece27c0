"""The launcher `pool`: the points of a sweep on this machine, several at once, each in a process of its own.

The processes are forked off one that has imported everything, and so start in hundredths of a second; what one point
does to its process (a crash, memory, global state) does not reach another.
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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.util import Finalize
from pathlib import Path
from types import ModuleType
from typing import Any

from lehr.errors import DiskFull, Interrupted
from lehr.run.claim import TAKEN_OVER
from lehr.signals import STOPPED, give_back, have_one_wish, put
from lehr.sweeps.launching import Finished, Jobs, record_end
from lehr.sweeps.runner import LOG, run_point

PATIENCE_SECONDS = 60.0
"""How long processes that were told to stop have to finish their step and write a checkpoint."""
_POLL_SECONDS = 0.25
_LONGEST_TMPDIR = 70  # bytes: the path of a socket may have 107, of which multiprocessing adds 32
_NO_SPACE = 28  # exit code of a process that stopped for want of space


@dataclass(frozen=True)
class Slot:
    """Room for one point at a time.

    Attributes:
        threads: that each of its processes may use.
        gpus: what CUDA_VISIBLE_DEVICES is to be; None leaves it.
        devices: what trainer.devices is to be; None leaves it.
    """

    threads: int
    gpus: str | None = None
    devices: int | None = None


class Pool:
    """Trains points in the given slots.

    Args:
        slots: one for each point that is to run at the same time.
        retry: try again what has failed before this time; as of `run_point`.
    """

    def __init__(self, slots: list[Slot], retry: str | None = None) -> None:
        self._slots = slots
        self._retry = retry
        self._running: dict[Any, tuple[Path, Slot, int]] = {}  # process -> what it does, and kills for memory before it

    def launch(self, jobs: Jobs, finished: Finished) -> None:
        context = _template(self._slots[0].threads)
        free, more = list(self._slots), True
        try:
            while more or self._running:
                waiting = False
                while more and free and not waiting:
                    job = next(jobs, StopIteration)
                    if job is StopIteration:
                        more = False
                    elif job is None:
                        waiting = True
                    else:
                        assert isinstance(job, Path)
                        slot = free.pop(0)
                        process = context.Process(target=_child, args=(job, slot, self._retry), name=job.name)
                        with _without_main():
                            process.start()
                        self._running[process] = job, slot, _kills_for_memory()
                if not self._running:
                    if waiting:
                        time.sleep(_POLL_SECONDS)
                    continue
                timeout = _POLL_SECONDS if waiting else None
                ended = set(wait([process.sentinel for process in self._running], timeout))
                for process in [process for process in self._running if process.sentinel in ended]:
                    process.join()
                    job, slot, kills = self._running.pop(process)
                    free.append(slot)
                    _record(process.exitcode or 0, job, kills)
                    finished(job)
        except BaseException:
            self._stop()
            raise

    def _stop(self) -> None:
        """Let what runs write a checkpoint and end; kill what has not after a while, or on a second signal."""
        try:
            if any(process.is_alive() for process in self._running):
                what = "the run at hand writes a checkpoint" if len(self._running) == 1 else "runs write a checkpoint"
                print(f"stopping: {what}; Ctrl-C does not wait for it", file=sys.stderr, flush=True)
            end = time.monotonic() + PATIENCE_SECONDS
            while (left := [p for p in self._running if p.is_alive()]) and time.monotonic() < end:
                for process in left:
                    process.terminate()  # again and again: one that has just started does not mind signals yet
                wait([process.sentinel for process in left], timeout=_POLL_SECONDS)
        finally:
            for process in self._running:
                process.kill()
                process.join()
            self._running.clear()


def slots(count: int, workers: int | str, gpus: int | str, gpus_per_run: int, per_gpu: int, devices: int) -> list[Slot]:
    """The slots of this machine for a sweep of `count` points.

    Args:
        count: of points; there are no more slots than these.
        workers: how many at once on CPUs; "auto" for as many as there are cores.
        gpus: how many GPUs to use, "auto" for all; without any, runs are on CPUs.
        gpus_per_run: of each slot.
        per_gpu: slots that share their GPUs.
        devices: processes that each run consists of.
    """
    visible = visible_gpus()
    if gpus != "auto":
        visible = visible[: int(gpus)]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    groups = [",".join(visible[i : i + gpus_per_run]) for i in range(0, len(visible) - gpus_per_run + 1, gpus_per_run)]
    if groups:
        shared = [group for _ in range(per_gpu) for group in groups][:count]
        threads = _threads(cores // (len(shared) * gpus_per_run))
        return [Slot(threads, group, gpus_per_run if gpus_per_run > 1 else None) for group in shared]
    at_once = max(1, min(count, cores // devices)) if workers == "auto" else min(count, int(workers))
    # without any, runs must not find the GPUs that there are
    return [Slot(_threads(cores // (at_once * devices)), "" if gpus == 0 else None)] * at_once


def _threads(share: int) -> int:
    """Of each process: what the user has said, or its share of the cores."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdigit() and int(said) else max(1, share)


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them. torch is not asked: it takes seconds."""
    import subprocess

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name.strip() and name.strip() != "-1"]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(i) for i, line in enumerate(x for x in listed.splitlines() if x.startswith("GPU "))]


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


def _template(threads: int) -> Any:
    """A multiprocessing context whose processes are forked off one that has imported what a run needs."""
    # read by the libraries when the template loads them; the GPUs must not be touched before the fork
    wanted = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    wanted["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
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


def _child(run_dir: Path, slot: Slot, retry: str | None) -> None:
    """What a process of the pool does; its exit code says how it went where status.json cannot."""
    import torch

    have_one_wish()  # a second one is the pool's, which then kills
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _depend_on_the_pool()
    with suppress(OSError):  # when memory runs out this process is to go, and not the pool
        Path("/proc/self/oom_score_adj").write_text("500")
    if slot.gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = slot.gpus
    os.environ["OMP_NUM_THREADS"] = str(slot.threads)  # for the ranks that it may start
    torch.set_num_threads(slot.threads)
    try:
        run_point(run_dir, retry, devices=slot.devices)
    except DiskFull:
        sys.exit(_NO_SPACE)
    except Interrupted as interruption:
        sys.exit(interruption.exit_code)


def _depend_on_the_pool() -> None:
    """Stop in order where the process that has started this one is gone, however that ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow_it() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE_SECONDS)
        os._exit(1)

    threading.Thread(target=follow_it, name="pool", daemon=True).start()


def _record(code: int, run_dir: Path, kills_before: int) -> None:
    """Write down how a process ended that could not do so itself.

    Raises:
        DiskFull: if that was it.
    """
    if code == _NO_SPACE:
        raise DiskFull(f"{run_dir}: there is no space left on the disk")
    if code in (0, TAKEN_OVER, *STOPPED):
        return
    if code == -signal.SIGKILL and _kills_for_memory() > kills_before:
        error = "out of memory: killed by the kernel"
    elif code < 0:
        error = f"killed by {signal.Signals(-code).name}"
        error += " (by the kernel, if nobody else did: is there enough memory?)" if code == -signal.SIGKILL else ""
    else:
        error = f"the process ended with exit code {code}; {LOG} in the run directory may say why"
    record_end(run_dir, error)


def _kills_for_memory() -> int:
    """How many processes the kernel has killed for want of memory since it started."""
    return next((int(count) for name, count in _counters() if name == "oom_kill"), 0)


def _counters() -> Iterator[list[str]]:
    with suppress(OSError):
        yield from (line.split() for line in Path("/proc/vmstat").read_text().splitlines())
