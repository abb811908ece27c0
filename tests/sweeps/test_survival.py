"""Sweeps that are killed, stopped, left by their coordinator, started twice, and full of points that fail.

Real commands in process groups of their own, on a few small trainings of the digits.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import torch

from lehr.sweeps.directory import SweepDirectory, state_of

pytestmark = pytest.mark.slow

SMALL = (
    "trainer.max_epochs=3", "kl.hold=0", "kl.warmup=1", "model.hidden=[8]", "evaluate=none", "callbacks.samples=null",
    "callbacks.checkpoints.every_seconds=0.3", "pool.workers=2",
)  # fmt: skip
# as a user's own component: notes each attempt and each end, takes as long as SLOW says, and fails as FAULTS says
MODULE = """
import json, os, signal, time
from pathlib import Path

import torch
from lightning.pytorch import Callback

from lehr.training import session


class Witness(Callback):
    def note(self, trainer, what):
        with open(Path(trainer.default_root_dir, "witness.txt"), "a") as file:
            file.write(f"{what} {trainer.global_step}\\n")

    def on_train_start(self, trainer, module):
        self.note(trainer, "attempt")

    def on_fit_end(self, trainer, module):
        self.note(trainer, "end")

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        time.sleep(float(os.environ.get("SLOW", "0")))

    def on_train_epoch_end(self, trainer, module):
        kind = json.loads(os.environ.get("FAULTS", "{}")).get(str(trainer.datamodule.batch_size))
        if kind == "raise":
            raise RuntimeError("this is the fault")
        if kind == "not_a_number":
            with torch.no_grad():
                next(module.parameters()).fill_(float("nan"))
        if kind == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "abort":
            os.abort()


class KilledInEvaluation(Callback):
    def setup(self, trainer, module, stage):
        evaluate = session.evaluate_trained

        def watched(*arguments):
            if os.environ.get("KILL"):
                os.kill(0, signal.SIGKILL)
            return evaluate(*arguments)

        session.evaluate_trained = watched
"""
WITNESS = ("trust=[survivor]", "+callbacks.witness._target_=survivor.Witness")


class Sweep:
    """A sweep in a directory, and the processes that were started on it."""

    def __init__(self, path: Path, arguments: tuple[str, ...], modules: Path) -> None:
        self.path = path
        self.arguments = arguments
        self._modules = modules
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *more: str, **environment: str) -> subprocess.Popen[str]:
        values = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(self._modules), **environment}
        command = [sys.executable, "-m", "lehr", "train", "-m", *self.arguments, *more, f"hydra.sweep.dir={self.path}"]
        process = subprocess.Popen(
            command, env=values, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        self.processes.append(process)
        return process

    def run(self, *more: str, code: int = 0, **environment: str) -> str:
        """What a start that ends with this exit code says on standard error."""
        process = self.start(*more, **environment)
        _, said = process.communicate(timeout=200)
        assert process.returncode == code, said
        until(lambda: not living(process.pid), seconds=10)
        return said

    @property
    def run_dirs(self) -> list[Path]:
        return sorted(SweepDirectory(self.path).run_dirs().values())

    def states(self) -> Counter[str]:
        return Counter(map(state_of, self.run_dirs))

    def in_state(self, state: str) -> list[Path]:
        return [run_dir for run_dir in self.run_dirs if state_of(run_dir) == state]

    def results(self) -> bytes:
        return (self.path / "results.csv").read_bytes()

    def is_at_work(self, done: int = 0) -> bool:
        """Whether so many points are done, two more are begun, and the last of these is in the midst of training."""
        begun = [run_dir for run_dir in self.run_dirs if (run_dir / "witness.txt").exists()]
        if len(begun) < done + 2 or len(self.in_state("done")) < done:
            return False
        last = self.begun_last
        checkpoint = last / "checkpoints" / "last.ckpt"
        return state_of(last) == "running" and written(checkpoint) > written(last / "witness.txt") + 1

    @property
    def begun_last(self) -> Path:
        return max(self.run_dirs, key=lambda run_dir: written(run_dir / "witness.txt"))

    def attempts(self) -> int:
        """How often any point was begun or gone on with."""
        return sum(attempts(run_dir) for run_dir in self.run_dirs if (run_dir / "witness.txt").exists())

    def require_whole(self) -> None:
        """Every file can be read, whatever was going on when its process was killed."""
        for path in self.path.rglob("*.json"):
            if not path.name.startswith("."):
                json.loads(path.read_text())
        for path in self.path.rglob("*.ckpt"):
            torch.load(path, weights_only=True)

    def left_over(self) -> list[str]:
        """Files that are there only while something is being written or claimed."""
        return [path.name for path in self.path.rglob(".*")]


def written(path: Path) -> float:
    """When, in seconds; never is 0."""
    return path.stat().st_mtime if path.exists() else 0.0


def attempts(run_dir: Path) -> int:
    return (run_dir / "witness.txt").read_text().count("attempt")


def touched(run_dirs: list[Path]) -> dict[str, int]:
    """When the files of these runs were written."""
    return {
        str(path): path.stat().st_mtime_ns for d in run_dirs for path in d.rglob("*") if not path.name.startswith(".")
    }


def living(group: int) -> list[int]:
    """The processes of a group that are still there."""
    table = subprocess.run(["ps", "-e", "-o", "pid=,pgid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = map(str.split, table.splitlines())
    return [int(pid) for pid, pgid, state in rows if int(pgid) == group and state[0] not in "ZX"]


def until(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL to all of its group; return when they are gone."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    until(lambda: not living(process.pid))


@pytest.fixture
def sweep(tmp_path, modules):
    """Makes a sweep; its processes do not outlive the test."""
    made = []

    def make(*arguments: str, name: str = "sweep") -> Sweep:
        made.append(Sweep(tmp_path / name, (*arguments, *SMALL, *WITNESS), modules))
        return made[-1]

    yield make
    for process in (process for one in made for process in one.processes):
        if living(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    folder = tmp_path_factory.mktemp("modules")
    (folder / "survivor.py").write_text(MODULE)
    return folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, modules):
    """A sweep of four points that nothing happened to."""
    calm = Sweep(tmp_path_factory.mktemp("undisturbed") / "sweep", ("seed=0,1,2,3", *SMALL, *WITNESS), modules)
    calm.run()
    assert [attempts(run_dir) for run_dir in calm.run_dirs] == [1] * 4
    return calm


def test_a_sweep_that_is_killed_again_and_again_ends_in_the_same_results(sweep, undisturbed):
    killed = sweep("seed=0,1,2,3")
    done: dict[str, int] = {}
    for number in (1, 2):
        process = killed.start(SLOW="0.1")
        until(lambda number=number: killed.is_at_work(done=number))
        kill(process)
        killed.require_whole()
        assert touched([Path(name).parent for name in done]).items() >= done.items()
        done |= touched(killed.in_state("done"))
    assert killed.states()["interrupted"]
    killed.run()
    assert touched(killed.in_state("done")).items() >= done.items()  # what was done is as it was
    assert killed.states() == {"done": 4}
    assert killed.results() == undisturbed.results()
    starts = [
        [int(line.split()[1]) for line in (run_dir / "witness.txt").read_text().splitlines() if "attempt" in line]
        for run_dir in killed.run_dirs
    ]
    assert all(steps == sorted(steps) for steps in starts)
    assert any(steps[-1] > 0 for steps in starts)  # it went on, and did not start anew
    assert killed.left_over() == []


def _kill_twice(pid: int, signum: int) -> None:
    os.kill(pid, signum)
    os.killpg(pid, signum)


def test_a_signal_stops_the_whole_sweep_in_order_and_the_next_start_finishes_it(sweep, undisturbed):
    stopped = sweep("seed=0,1,2,3")
    done: dict[str, int] = {}
    # `timeout` signals the coordinator and then the group that it is in; Ctrl-C is to all processes of a command
    for signum, send in ((signal.SIGTERM, _kill_twice), (signal.SIGINT, os.killpg)):
        before = stopped.attempts()
        process = stopped.start(SLOW="0.1")
        until(lambda before=before: stopped.attempts() > before and stopped.is_at_work(done=1))
        at_work = stopped.begun_last
        send(process.pid, signum)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 128 + signum
        name = signal.Signals(signum).name
        assert said.splitlines()[-3:-1] == [
            f"lehr train: interrupted by {name}",
            "what is done is kept; the same command goes on with the rest",
        ]
        until(lambda process=process: not living(process.pid), seconds=10)
        stopped.require_whole()
        assert not stopped.states()["failed"]
        end = json.loads((at_work / "status.json").read_text())
        assert end["state"] == "interrupted"  # and not as if it had been killed
        # the coordinator tells its processes with a signal of its own
        assert end["error"] in (f"interrupted by {name}", "interrupted by SIGTERM")
        assert (stopped.path / "results.csv").exists()
        assert touched(stopped.run_dirs).items() >= done.items()
        done = touched(stopped.in_state("done"))
    stopped.run()
    assert touched(stopped.run_dirs).items() >= done.items()
    assert stopped.results() == undisturbed.results()
    assert stopped.left_over() == []


def test_the_runs_of_a_coordinator_that_was_killed_stop_in_order_by_themselves(sweep, undisturbed):
    orphaned = sweep("seed=0,1,2,3")
    process = orphaned.start(SLOW="0.2")
    until(orphaned.is_at_work)
    running = [run_dir for run_dir in orphaned.in_state("running") if (run_dir / "witness.txt").exists()]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    until(lambda: not living(process.pid), seconds=30)
    for run_dir in running:
        assert json.loads((run_dir / "status.json").read_text())["state"] == "interrupted"
        assert (run_dir / "checkpoints" / "last.ckpt").exists()
    orphaned.run()
    assert orphaned.results() == undisturbed.results()


def test_two_processes_share_the_work_and_do_nothing_twice(sweep, undisturbed):
    shared = sweep("seed=0,1,2,3")
    processes = [shared.start("pool.workers=1", SLOW="0.05") for _ in range(2)]
    said = [process.communicate(timeout=200)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert [attempts(run_dir) for run_dir in shared.run_dirs] == [1] * 4
    assert shared.results() == undisturbed.results()
    assert shared.left_over() == []


FAULTS = {"41": "raise", "42": "not_a_number", "43": "killed", "44": "abort"}


def test_each_point_that_fails_is_recorded_with_what_happened_and_tried_again_when_asked_for(sweep):
    # with batches of 1000 there are fewer steps than the warm-up has, which only the data show
    faulty = sweep("data.batch_size=40,41,42,43,44,1000,45", "kl.unit=step", "kl.warmup=20")
    faulty.arguments = tuple(word for word in faulty.arguments if word != "kl.warmup=1")
    said = faulty.run(code=1, FAULTS=json.dumps(FAULTS))
    assert faulty.states() == {"done": 2, "failed": 5}
    rows = list(csv.DictReader((faulty.path / "results.csv").read_text().splitlines()))
    assert {row["data.batch_size"]: row["state"] for row in rows} == {
        **dict.fromkeys([*FAULTS, "1000"], "failed"), "40": "done", "45": "done",
    }  # fmt: skip
    errors = {
        json.loads((d / "point.json").read_text())["swept"]["data.batch_size"]: json.loads(
            (d / "status.json").read_text()
        )["error"]
        for d in faulty.in_state("failed")
    }
    assert errors[41] == "RuntimeError: this is the fault"
    assert errors[42].startswith("NonFiniteLoss: step ")
    assert errors[43].startswith("killed by SIGKILL")
    assert errors[44] == "killed by SIGABRT"
    assert errors[1000].startswith("ConfigError: kl.hold=0 + kl.warmup=20 must be shorter than a training of 6 steps")
    assert sum("] failed " in line for line in said.splitlines()) == 5
    assert sum("] done " in line for line in said.splitlines()) == 2
    # nothing of it is tried again unasked
    before = touched(faulty.run_dirs)
    faulty.run(code=1)
    assert touched(faulty.run_dirs) == before
    # and when it is asked for, what failed and nothing else
    done = touched(faulty.in_state("done"))
    faulty.run("sweep.retry=failed", code=1)
    assert faulty.states() == {"done": 6, "failed": 1}
    assert touched(faulty.run_dirs).items() >= done.items()
