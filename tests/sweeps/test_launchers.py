"""Every launcher as a user has it: the same runs, wherever they are trained, and whatever befalls one of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

NEEDS = {
    "pool": [],
    "basic": [],
    "joblib": ["hydra_plugins.hydra_joblib_launcher"],
    "submitit_local": ["hydra_plugins.hydra_submitit_launcher"],
    "submitit_slurm": ["hydra_plugins.hydra_submitit_launcher"],
    "ray": ["ray"],
}
FAULT = """
import os

from lightning.pytorch import Callback


class Fault(Callback):
    def __init__(self, raises: list[int], aborts: list[int]) -> None:
        self.raises, self.aborts = raises, aborts

    def on_train_batch_start(self, trainer, pl_module, *args) -> None:
        if trainer.global_step == 3 and pl_module.seed in self.raises:
            raise RuntimeError("there was no paper left")
        if trainer.global_step == 3 and pl_module.seed in self.aborts:
            os.abort()
"""
SIGNAL = """
import os
import signal
from pathlib import Path

from lightning.pytorch import Callback


class Signal(Callback):
    def __init__(self, name: str) -> None:
        self.signum = signal.Signals[name]

    def on_train_batch_end(self, trainer, pl_module, *args) -> None:
        marker = Path("signalled")
        if trainer.global_step == 40 and pl_module.seed == 1 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), self.signum)
"""


@pytest.fixture(params=["joblib", "submitit_local", "ray"])
def launcher(request) -> str:
    return needed(request.param)


def needed(launcher: str) -> str:
    for module in NEEDS[launcher]:
        pytest.importorskip(module, reason=f"hydra/launcher={launcher} is not installed")
    return launcher


def test_a_point_that_fails_is_recorded_and_no_other_is_lost(commands, launcher, undisturbed):
    (commands.folder / "fault.py").write_text(FAULT)
    fault = ("+callbacks.fault._target_=fault.Fault", "+callbacks.fault.raises=[1]", "+callbacks.fault.aborts=[2]")
    sweep = commands.sweep(launcher, "seed=1,2,0", *fault, "trust=[fault]")
    failed = {1, 2}
    assert sweep.code == 1
    assert sweep.states() == sweep.results() == {seed: "failed" if seed in failed else "done" for seed in range(3)}
    assert sweep.metrics() == {seed: undisturbed[seed] for seed in range(3) if seed not in failed}
    errors = sweep.errors()
    assert errors[1] == "RuntimeError: there was no paper left"
    assert all(error in sweep.out for error in errors.values())
    what = {"submitit_local": "has ended without a word", "ray": "worker died"}.get(launcher, "killed by SIGABRT")
    assert what in errors[2]
    assert len(errors[2]) < 300


def test_a_job_whose_time_is_up_for_good_saves_goes_on_in_another_and_ends_in_the_same_numbers(commands, undisturbed):
    launcher = needed("submitit_local")
    (commands.folder / "user.py").write_text(SIGNAL)
    signal = ("+callbacks.signal._target_=user.Signal", "+callbacks.signal.name=SIGUSR2", "trust=[user]")
    options = ("hydra.launcher.timeout_min=5", "+hydra.launcher.max_num_timeout=0")
    sweep = commands.sweep(launcher, "seed=0,1", *signal, *options)
    assert (commands.folder / "signalled").exists()
    assert sweep.code == 0, sweep.err
    assert sweep.metrics() == {seed: undisturbed[seed] for seed in (0, 1)}
    assert "timed-out too many times" in (sweep.points()[1] / "log.txt").read_text()  # as submitit says


def test_without_slurm_one_line_says_so_and_no_point_has_failed(commands):
    launcher = needed("submitit_slurm")
    (commands.folder / "empty").mkdir()
    sweep = commands.sweep(launcher, "seed=0,1", PATH=f"{commands.folder / 'empty'}:/usr/bin:/bin")
    assert sweep.code == 1
    (line,) = (line for line in sweep.err.splitlines() if line.startswith("lehr train: "))
    assert "hydra/launcher=submitit_slurm" in line
    assert "srun" in line
    assert sweep.states() == {0: "waiting", 1: "waiting"}


SBATCH = r"""
import os, re, shutil, subprocess, sys
from pathlib import Path

here = Path(__file__).parent
if "--run" not in sys.argv:
    number = 1 + len(list(here.glob("script-*")))
    shutil.copy(sys.argv[-1], here / f"script-{number}")
    nowhere = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.Popen([sys.executable, __file__, "--run", str(number)], **nowhere)
    print("Submitted batch job", number)
    sys.exit()
number = sys.argv[-1]
script = here / f"script-{number}"
array = re.search(r"--array=0-(\d+)%", script.read_text())
jobs = {f"{number}_{i}": {"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": str(i)}
        for i in range(int(array[1]) + 1)} if array else {number: {}}

def start(name):
    environment = {**os.environ, **jobs[name], "SLURM_JOB_ID": number, "SLURM_STEP_ID": "0",
                   "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    return subprocess.Popen(["bash", script], env=environment)

running = {name: start(name) for name in jobs}
while running:
    name, process = running.popitem()
    process.wait()
    if (here / f"requeued-{name}").exists():
        (here / f"requeued-{name}").rename(here / f"restarted-{name}")
        running[name] = start(name)
"""
SRUN = """
import os, sys

words = sys.argv[sys.argv.index(sys.executable):]
names = {"%j": os.environ["SLURM_JOB_ID"], "%A": os.environ["SLURM_JOB_ID"], "%t": "0",
         "%a": os.environ.get("SLURM_ARRAY_TASK_ID", "")}
for stream, option in ((1, "--output"), (2, "--error")):
    path = sys.argv[sys.argv.index(option) + 1]
    for name, value in names.items():
        path = path.replace(name, value)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
os.execv(words[0], words)
"""
SCONTROL = """
import sys
from pathlib import Path

(Path(__file__).parent / f"requeued-{sys.argv[-1]}").touch()
"""


@pytest.fixture
def slurm(tmp_path) -> Path:
    """A folder of programs that stand for Slurm's: jobs run here, and so they do again when they are requeued."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "scontrol": SCONTROL, "sacct": "", "scancel": ""}.items():
        (folder / f"{name}.py").write_text(text)
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" "{folder}/{name}.py" "$@"\n')
        (folder / name).chmod(0o755)
    return folder


def test_on_slurm_points_are_an_array_and_one_that_is_preempted_goes_on(commands, slurm, undisturbed):
    launcher = needed("submitit_slurm")
    (commands.folder / "user.py").write_text(SIGNAL)
    signal = ("+callbacks.signal._target_=user.Signal", "+callbacks.signal.name=SIGUSR2", "trust=[user]")
    options = ("hydra.launcher.partition=small", "hydra.launcher.mem_gb=2", "hydra.launcher.cpus_per_task=1")
    sweep = commands.sweep(launcher, "seed=0,1", *signal, *options, PATH=f"{slurm}:{os.environ['PATH']}")
    assert sweep.code == 0, sweep.err
    assert sweep.metrics() == {seed: undisturbed[seed] for seed in (0, 1)}
    script = (slurm / "script-1").read_text().splitlines()
    expected = {"array=0-1%2", "partition=small", "mem=2GB", "cpus-per-task=1", "time=60"}
    assert {f"#SBATCH --{option}" for option in expected} <= set(script)
    assert [path.name for path in slurm.glob("restarted-*")] == ["restarted-1_1"]
