"""Sweeps in processes of their own, and directories made by hand."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lehr.evaluation.catalogue import without_execution
from lehr.sweeps.point import Point

sys.path.insert(0, str(Path(__file__).parent))  # for handmade, points and searches
sys.path.insert(0, str(Path(__file__).parents[1] / "training"))  # for harness

SMALL = ("trainer.max_epochs=3", "kl.hold=0", "kl.warmup=1", "model.hidden=[8]", "evaluate=none", "logger=none")
"""A training of the digits that takes half a second."""


@dataclass(frozen=True)
class Sweep:
    """A sweep over seeds that has ended, in whatever way: its exit code, and what it has printed."""

    path: Path
    code: int
    out: str
    err: str

    def points(self) -> dict[int, Path]:
        """seed -> directory; of each seed there is one."""
        found = [
            (json.loads(file.read_text())["config"]["seed"], file.parent) for file in self.path.glob("*/point.json")
        ]
        assert len(dict(found)) == len(found), found
        return dict(found)

    def states(self) -> dict[int, str]:
        return {seed: status(path)["state"] for seed, path in sorted(self.points().items())}

    def errors(self) -> dict[int, str]:
        """seed -> what is said of it, of those that failed."""
        found = {seed: status(path) for seed, path in sorted(self.points().items())}
        return {seed: its["error"] for seed, its in found.items() if its["state"] == "failed"}

    def metrics(self) -> dict[int, dict[str, float]]:
        """seed -> every metric but times, of those that are done."""
        done = [seed for seed, state in self.states().items() if state == "done"]
        return {seed: metrics(self.points()[seed]) for seed in done}

    def results(self) -> dict[int, str]:
        """seed -> state, in results.csv."""
        with (self.path / "results.csv").open(newline="") as file:
            return {int(row["seed"]): row["state"] for row in csv.DictReader(file)}


def status(run_dir: Path) -> dict[str, Any]:
    path = run_dir / "status.json"
    return json.loads(path.read_text()) if path.exists() else {"state": "waiting"}


def metrics(run_dir: Path) -> dict[str, float]:
    """The metrics of a run but for times."""
    return without_execution(json.loads((run_dir / "metrics.json").read_text()))


class Commands:
    """Runs `lehr ...` as a user does, in one directory; modules that lie there may be trusted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str, seconds: float = 250, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. No process that it started is there any more then."""
        values = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", **environment}
        out, err = self.folder / "out.txt", self.folder / "err.txt"
        command = [sys.executable, "-m", "lehr", *arguments]
        with out.open("w") as stdout, err.open("w") as stderr, _two_cores():
            process = subprocess.Popen(
                command, cwd=self.folder, env=values, stdout=stdout, stderr=stderr, start_new_session=True
            )
        try:
            code = process.wait(seconds)
            end = time.monotonic() + 10
            while (left := _group(process.pid)) and time.monotonic() < end:
                time.sleep(0.1)
            assert left == [], f"left behind: {left}"
        finally:
            if _group(process.pid):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return subprocess.CompletedProcess(command, code, out.read_text(), err.read_text())

    def sweep(self, launcher: str, *arguments: str, name: str = "sweep", **environment: str) -> Sweep:
        """Run `lehr train -m` to its end, into the directory `name`, or where it goes by itself if that is empty."""
        where = [f"hydra.sweep.dir={name}"] if name else []
        ended = self("train", "-m", f"hydra/launcher={launcher}", *where, *SMALL, *arguments, **environment)
        assert "Traceback" not in ended.stderr, ended.stderr
        path = self.folder / name if name else next((self.folder / "outputs" / "sweeps").iterdir())
        return Sweep(path, ended.returncode, ended.stdout, ended.stderr)


@contextmanager
def _two_cores() -> Iterator[None]:
    """Let a process that starts now have no more cores than two, which two runs at once share: one thread each."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[:2])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _group(group: int) -> list[str]:
    """The commands of the processes in a group."""
    table = subprocess.run(["ps", "-e", "-o", "pgid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    lines = [line.split(maxsplit=2) for line in table.splitlines()]
    return [line[2] for line in lines if len(line) == 3 and line[0] == str(group) and not line[1].startswith("Z")]


@pytest.fixture
def commands(tmp_path) -> Commands:
    """Commands in an empty directory: `commands("train").returncode`, `commands.sweep("pool", "seed=0,1").states()`."""
    return Commands(tmp_path)


@pytest.fixture(scope="session")
def alone(tmp_path_factory) -> dict[int, dict[str, float]]:
    """seed -> metrics of a single run with `SMALL` on two processes, of seed 1."""
    commands = Commands(tmp_path_factory.mktemp("alone"))
    ended = commands("train", *SMALL, "trainer.devices=2", "trainer.accelerator=cpu", "seed=1", "dir=run")
    assert ended.returncode == 0, ended.stderr
    return {1: metrics(commands.folder / "run")}


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> dict[int, dict[str, float]]:
    """seed -> metrics of a sweep of `SMALL` over seeds 0 and 1 by `pool`, one thread each."""
    folder = tmp_path_factory.mktemp("undisturbed")
    ended = Commands(folder).sweep("pool", "seed=0,1")
    assert (ended.code, set(ended.states().values())) == (0, {"done"}), ended.err
    return ended.metrics()


@pytest.fixture
def sweep(tmp_path) -> Path:
    """KL weights .5, 1 and 10 by three seeds; of 1 a seed failed, of 10 one was never begun, and one is interrupted."""
    from handmade import add, elbo, sweep_yaml

    folder = tmp_path / "sweep"
    for weight in (10.0, 0.5, 1.0):
        for seed in (2, 1, 0):
            swept = {"kl.weight": weight, "seed": seed}
            if (weight, seed) == (10.0, 2):
                continue
            if (weight, seed) == (1.0, 1):
                add(folder, swept, state="failed", error="NonFiniteLoss: the loss\nis NaN")
            elif (weight, seed) == (10.0, 1):
                add(folder, swept, state="interrupted", error="SIGTERM")
            else:
                metrics = {"test/elbo": elbo(weight, seed), "test/rate": weight, "time/step_ms": 0.1 * seed}
                add(folder, swept, metrics, {"level": "quick", "examples": 9, "collapse/active_units": seed + 1})
    sweep_yaml(folder, "kl.weight", "seed")
    return folder


@pytest.fixture
def run_dir(tmp_path) -> Path:
    """The directory of a point that nobody has begun."""
    from points import CONFIG

    folder = tmp_path / "sweep" / "seed=3-0123456789"
    Point(CONFIG, {"seed": 3}).write(folder)
    return folder
