"""Who may write to a run directory: one process at a time, on one machine or several that share a file system.

A claim is a file `.claim-N`, made so that only one process can make it. Its holder writes it anew every few seconds; a
claim that is older than a minute, or whose process is gone, is dead, and whoever makes `.claim-(N+1)` takes over.
Numbers only grow as long as a claim is there, so that two processes that see the same dead claim cannot both succeed.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

BEAT_SECONDS = 5.0
_SECOND_LOOK_SECONDS = 1.0
DEAD_AFTER_SECONDS = 60.0
TAKEN_OVER = 75
"""Exit code of a process whose run another has taken over (EX_TEMPFAIL)."""
_NAME = re.compile(r"\.claim-(\d+)$")


@dataclass(frozen=True)
class Holder:
    """The process that holds a claim.

    Attributes:
        pid, host: of the process.
        fraction: how much of its run is done, None where it has not said.
        alive: whether it is known to be there, or has been heard of within the last minute.
    """

    pid: int
    host: str
    fraction: float | None
    alive: bool


class Claim:
    """The right of this process to write to a directory, until `release`. Made by `take`."""

    def __init__(self, directory: Path, number: int) -> None:
        self._directory, self._number = directory, number
        self._path = _path(directory, number)
        self._released = threading.Event()
        self.fraction: Callable[[], float] | None = None
        """How much of the run is done, for whoever looks; asked at every beat."""
        self.lost: Callable[[], None] | None = None
        """Called, in another thread, where another process has taken over; without it this process ends."""
        self._thread = threading.Thread(target=self._beat, name="claim", daemon=True)
        self._thread.start()

    @classmethod
    def take(cls, directory: Path) -> Claim | None:
        """The claim to `directory`, or None while another living process has it.

        Raises:
            OSError: if the directory cannot be written to.
        """
        directory.mkdir(parents=True, exist_ok=True)
        newest = _newest(directory)
        if newest and ((found := _read(directory, newest)) is None or found.alive):
            return None  # where it has just been released, another process may be making it anew
        number = newest + 1
        try:
            _make(_path(directory, number), json.dumps(_self(None)))
        except FileExistsError:
            return None
        for older in _numbers(directory):
            if older < number and (found := _read(directory, older)) and found.alive:
                _path(directory, number).unlink(missing_ok=True)  # made after the dead one was taken over and released
                return None
            if older < number:
                _path(directory, older).unlink(missing_ok=True)
        return cls(directory, number)

    def release(self) -> None:
        """Let others have the directory."""
        if not self._released.is_set():
            self._released.set()
            self._thread.join(BEAT_SECONDS)
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _beat(self) -> None:
        pid = os.getpid()
        while not self._released.wait(BEAT_SECONDS) and os.getpid() == pid:
            try:
                if _newest(self._directory) > self._number and not self._released.wait(_SECOND_LOOK_SECONDS):
                    if _newest(self._directory) <= self._number:
                        continue  # somebody was too late, and has seen so
                    # a process that was stopped for a minute may find that another has gone on with its run
                    if self.lost is not None:
                        self.lost()
                        return
                    print(f"lehr: {self._directory}: another process has taken this run over", file=sys.stderr)
                    os._exit(TAKEN_OVER)
                temporary = self._path.with_name(f"{self._path.name}.{pid}.tmp")
                temporary.write_text(json.dumps(_self(self.fraction() if self.fraction else None)), encoding="utf-8")
                os.replace(temporary, self._path)
            except OSError:  # a disk that is full or away for a moment: the next beat may succeed
                with suppress(OSError):
                    os.utime(self._path)


def holder(directory: Path) -> Holder | None:
    """The process that holds the newest claim to `directory`, dead or alive."""
    newest = _newest(directory)
    return _read(directory, newest) if newest else None


def is_claimed(directory: Path) -> bool:
    """Whether a living process holds `directory`."""
    found = holder(directory)
    return found is not None and found.alive


def _make(path: Path, text: str) -> None:
    """Make the file `path` with this content, or raise FileExistsError."""
    # linking fails where the name exists, on NFS too, and the content is there as soon as the name is
    own = path.with_name(f".claim.{os.urandom(6).hex()}.new")
    own.write_text(text, encoding="utf-8")
    try:
        os.link(own, path)
    except FileExistsError:
        if own.stat().st_nlink != 2:  # else it was made, and NFS has lost the answer
            raise
    except OSError:  # a file system without hard links
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    finally:
        own.unlink(missing_ok=True)


def _path(directory: Path, number: int) -> Path:
    return directory / f".claim-{number}"


def _newest(directory: Path) -> int:
    """The highest number of a claim, 0 if there is none."""
    return max(_numbers(directory), default=0)


def _numbers(directory: Path) -> list[int]:
    try:
        return [int(found[1]) for name in os.listdir(directory) if (found := _NAME.fullmatch(name))]
    except FileNotFoundError:
        return []


def _read(directory: Path, number: int) -> Holder | None:
    path = _path(directory, number)
    try:
        with path.open(encoding="utf-8") as file:  # opening asks the server of NFS: a stat() may be of a minute ago
            found: dict[str, Any] = json.load(file)
            touched = os.fstat(file.fileno()).st_mtime
        pid, host = int(found["pid"]), str(found["host"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):  # being written, or damaged
        return Holder(0, "", None, alive=_age(path) < DEAD_AFTER_SECONDS)
    is_there = found.get("machine") == _machine() and _is_there(pid, found.get("started"))
    if found.get("machine") == _machine() and is_there is not None:
        alive = bool(is_there)
    elif _is_of_an_earlier_start(found.get("job")):
        alive = False
    else:
        alive = _age(path, touched) < DEAD_AFTER_SECONDS
    return Holder(pid, host, found.get("fraction"), alive)


def _age(path: Path, touched: float | None = None) -> float:
    """Seconds since `path` was `touched`, by the clock of its file system, which may be another machine's."""
    probe = path.with_name(f".claim.{os.urandom(6).hex()}.now")
    try:
        since = path.stat().st_mtime if touched is None else touched
        try:
            probe.touch()
            return probe.stat().st_mtime - since
        finally:
            probe.unlink(missing_ok=True)
    except FileNotFoundError:
        return DEAD_AFTER_SECONDS
    except OSError:  # a directory that cannot be written to
        return time.time() - since


def _self(fraction: float | None) -> dict[str, Any]:
    pid = os.getpid()
    return {
        "pid": pid,
        "host": socket.gethostname(),
        "machine": _machine(),
        "started": _started(pid),
        "job": _job(),
        "fraction": fraction,
    }


def _job() -> list[Any] | None:
    """The job of a cluster that this process is part of, and how often it was put back into the queue."""
    job = os.environ.get("SLURM_JOB_ID")
    return [job, int(os.environ.get("SLURM_RESTART_COUNT", "0"))] if job else None


def _is_of_an_earlier_start(job: Any) -> bool:
    """Whether the claim of `job` is of this very job before it went back into the queue: none of that runs any more."""
    own = _job()
    return own is not None and isinstance(job, list) and job[0] == own[0] and job[1] < own[1]


@cache
def _machine() -> str:
    """What tells apart the machines, their boots and the containers in which a process number means something."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _is_there(pid: int, started: str | None) -> bool | None:
    """Whether the process with this number that started then still runs; None where the system does not let see."""
    if (since := _started(pid)) is not None:
        return since == started
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return None  # it may be another with the same number
    return None if Path("/proc/self/stat").exists() else True


def _started(pid: int) -> str | None:
    """When the process with this number started, so that another with the same number is not taken for it.

    "" if it has ended and nobody has asked how; None where there is none, or the system does not say.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return "" if fields[0] in "ZX" else fields[19]
