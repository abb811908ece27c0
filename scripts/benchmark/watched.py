"""Sweeps that are watched and can be killed: each point keeps a diary, and some fail as they are told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lehr.sweeps.directory import SweepDirectory, state_of

DIARY = "witness.txt"
WITNESS = f"""
import os, time
from pathlib import Path
from lightning.pytorch import Callback

class Witness(Callback):
    def note(self, trainer, what):
        with open(Path(trainer.default_root_dir, "{DIARY}"), "a") as file:
            file.write(f"{{what}} {{trainer.global_step}} {{os.getpid()}}\\n")

    def on_train_start(self, trainer, module):
        self.note(trainer, "attempt")

    def on_train_epoch_end(self, trainer, module):
        self.note(trainer, "epoch")

    def on_fit_end(self, trainer, module):
        self.note(trainer, "end")
"""
FAULTS = {33: "raise", 34: "not_a_number", 35: "memory", 36: "abort"}
ERRORS = {"raise": "this is the fault", "not_a_number": "NonFiniteLoss", "memory": "kill", "abort": "SIGABRT"}
"""What is to be read of each, among other words."""
IMPOSSIBLE = 1000
"""A size of batches with which an epoch has too few steps for the warm-up: only the data show that."""
FAULT = f"""
import os, signal
import torch
from lightning.pytorch import Callback

FAULTS = {FAULTS}

class Fault(Callback):
    def on_train_epoch_end(self, trainer, module):
        kind = FAULTS.get(trainer.datamodule.batch_size) if trainer.current_epoch == 1 else None
        if kind == "raise":
            raise RuntimeError("this is the fault")
        if kind == "not_a_number":
            with torch.no_grad():
                next(module.parameters()).fill_(float("nan"))
        if kind == "memory":
            taken = []
            while os.environ.get("FAULT_OOM"):
                taken.append(bytearray(os.urandom(2**20)) * 256)
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "abort":
            os.abort()
"""


class Sweep:
    """A sweep in its directory, started as often as is wanted, each time in a process group of its own."""

    def __init__(self, path: Path, arguments: list[str], modules: Path, **environment: str) -> None:
        self.path = path
        self._command = [sys.executable, "-m", "lehr", "train", "-m", *arguments, f"hydra.sweep.dir={path}"]
        self._environment = {**os.environ, "PYTHONPATH": str(modules), **environment}

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command, env=self._environment, start_new_session=True, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self) -> tuple[int, str]:
        """Its exit code, and what it said."""
        with group(self.start()) as process:
            said, _ = process.communicate()
        return process.returncode, said

    def run_dirs(self) -> list[Path]:
        return sorted(SweepDirectory(self.path).run_dirs().values())

    def states(self) -> Counter[str]:
        return Counter(state_of(run_dir) for run_dir in self.run_dirs())

    def diary(self, run_dir: Path) -> list[tuple[str, int, int]]:
        """What happened to a point: what, at which step, in which process."""
        try:
            lines = (run_dir / DIARY).read_text().splitlines()
        except FileNotFoundError:
            return []
        return [(what, int(step), int(pid)) for what, step, pid in map(str.split, lines)]

    def diaries(self) -> int:
        """How much there is to read in all of them."""
        return sum(len(self.diary(run_dir)) for run_dir in self.run_dirs())

    def epochs(self) -> int:
        """That were trained so far, those that were lost included."""
        return sum(what == "epoch" for run_dir in self.run_dirs() for what, _, _ in self.diary(run_dir))


@contextmanager
def group(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Nothing of the group of `process` is left after the block."""
    try:
        yield process
    finally:
        kill(process)


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL to the whole group; return when all of it is gone."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()
    while living(process.pid):
        time.sleep(0.02)


def living(pgid: int) -> bool:
    table = subprocess.run(["ps", "-e", "-o", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
    return any(int(number) == pgid and state[0] not in "ZX" for number, state in map(str.split, table.splitlines()))
