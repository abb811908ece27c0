"""Points of two processes each: both train the same, in one directory, and what befalls one ends its point alone."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

TWO = ("trainer.devices=2", "trainer.accelerator=cpu", "pool.workers=1")
USER = """
import hashlib
import json
import os
import signal
import sys
from pathlib import Path

from lightning.pytorch import Callback


class Witness(Callback):
    def on_train_end(self, trainer, pl_module) -> None:
        weights = hashlib.sha256(b"".join(w.numpy().tobytes() for w in pl_module.state_dict().values())).hexdigest()
        seen = {"seed": pl_module.seed, "weights": weights}
        Path(trainer.default_root_dir, f"rank-{trainer.global_rank}.json").write_text(json.dumps(seen))


class Fault(Callback):
    def __init__(self, raises: list[list[int]], kills: list[list[int]]) -> None:
        self.raises, self.kills = raises, kills  # [seed, rank]

    def on_train_batch_start(self, trainer, pl_module, *args) -> None:
        who = [pl_module.seed, trainer.global_rank]
        if trainer.global_step == 3 and who in self.raises:
            raise RuntimeError("there was no paper left")
        if trainer.global_step == 3 and who in self.kills:
            os.kill(os.getpid(), signal.SIGKILL)


class Tamper(Callback):
    def __init__(self, config: str) -> None:
        if not sys.argv[0].endswith("worker.py"):  # the first rank, which has started no other yet
            path = Path(config)
            path.write_text(path.read_text().replace("\\nseed: 0\\n", "\\nseed: 1\\n"))
"""
WITNESS = ("+callbacks.witness._target_=user.Witness", "trust=[user]")


@pytest.fixture
def commands(commands):
    (commands.folder / "user.py").write_text(USER)
    return commands


def require_same_ranks(commands, sweep, seeds):
    """The ranks of each run have trained the same, and in the directory that was chosen by itself is nothing else."""
    for seed in seeds:
        first, second = (json.loads((sweep.points()[seed] / f"rank-{rank}.json").read_text()) for rank in (0, 1))
        assert first == second
        assert first["seed"] == seed
    assert {path for path in sweep.path.iterdir() if path.is_dir()} == set(sweep.points().values())
    assert list((commands.folder / "outputs").iterdir()) == [sweep.path.parent]
    assert list(sweep.path.parent.iterdir()) == [sweep.path]


def test_a_rank_that_fails_ends_its_point_and_no_other(commands, alone):
    raises, kills = "+callbacks.fault.raises=[[2,1]]", "+callbacks.fault.kills=[[3,0],[4,1]]"
    fault = ("+callbacks.fault._target_=user.Fault", raises, kills)
    sweep = commands.sweep("pool", *TWO, *WITNESS, *fault, "seed=2,3,4,1", name="")
    assert sweep.code == 1
    assert sweep.states() == {1: "done", 2: "failed", 3: "failed", 4: "failed"}
    assert sweep.metrics() == alone
    require_same_ranks(commands, sweep, [1])
    assert sweep.errors()[2] == "RuntimeError: rank 1: RuntimeError: there was no paper left"
    assert sweep.errors()[3].startswith("killed by SIGKILL")
    assert sweep.errors()[4] == "RuntimeError: rank 1: killed by SIGKILL"


def test_what_other_programs_left_in_the_environment_reaches_no_rank(commands, alone):
    left = {
        "RANK": "", "LOCAL_RANK": "0", "NODE_RANK": "1", "GROUP_RANK": "1", "WORLD_SIZE": "3", "MASTER_PORT": "1",
        "MASTER_ADDR": "203.0.113.1", "TORCHELASTIC_USE_AGENT_STORE": "True", "PL_TRAINER_FAST_DEV_RUN": "1",
        # one of two tasks of a job that share a sweep
        "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_PROCID": "1",
    }  # fmt: skip
    sweep = commands.sweep("pool", "seed=1,2", *TWO, **left)
    assert sweep.code == 0, sweep.err
    assert sweep.metrics().items() >= alone.items()


def test_both_ranks_train_the_same_point_of_a_search_in_one_process_after_the_other(commands, alone):
    pytest.importorskip("optuna")
    search = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.sampler=random")
    sweep = commands.sweep("basic", *TWO, *WITNESS, *search, "seed=1,2", name="")
    assert sweep.code == 0, sweep.err
    assert sweep.states() == {1: "done", 2: "done"}
    assert sweep.metrics().items() >= alone.items()
    require_same_ranks(commands, sweep, [1, 2])


BREAK = """
import faulthandler
import multiprocessing
import os
import signal
import socket

import torch
from torch import distributed, nn

from lehr.training.ddp import leave_process_group


def train(rank: int, port: int) -> None:
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    model = nn.parallel.DistributedDataParallel(nn.Sequential(*[nn.Linear(64, 64) for _ in range(6)]))
    for step in range(4):
        if rank == 1 and step == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        model(torch.ones(8, 64)).sum().backward()


def break_off() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["breaking"])
    other = context.Process(target=train, args=(1, port), daemon=True)
    other.start()
    try:
        train(0, port)
    except RuntimeError:
        other.join()
        leave_process_group()


def main() -> None:
    for _ in range(40):
        faulthandler.dump_traceback_later(60, exit=True)
        break_off()
    print("through")
"""


def test_a_broken_connection_does_not_leave_a_process_waiting_for_itself(tmp_path):
    (tmp_path / "breaking.py").write_text(BREAK)
    command = [sys.executable, "-c", "import breaking; breaking.main()"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert ended.stdout == "through\n", ended.stderr


def test_ranks_that_were_given_different_configurations_do_not_start(commands):
    tamper = ("+callbacks.tamper._target_=user.Tamper", "+callbacks.tamper.config=run/config.yaml", "trust=[user]")
    ended = commands(
        "train", "trainer.max_epochs=3", "kl.hold=0", "kl.warmup=1", "seed=0", *TWO[:2], *tamper, "dir=run"
    )
    assert ended.returncode == 1
    assert ended.stderr == (
        "lehr train: rank 1: not the configuration of rank 0; start every rank with the same command line, "
        "and leave run/config.yaml alone until they have started\n"
    )
    assert json.loads((commands.folder / "run" / "status.json").read_text())["state"] == "failed"
