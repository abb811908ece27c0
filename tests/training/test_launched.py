"""Ranks that torchrun or srun have started, and what only looks like it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from lehr.training.launched import rank_from_outside

SMALL = ("trainer.max_epochs=2", "kl.warmup=1", "model.hidden=[8]", "trainer.devices=2", "evaluate=none")


@pytest.mark.parametrize(
    ("environment", "devices", "rank"),
    [
        ({}, 2, None),
        ({"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "1"}, 2, 1),
        ({"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "0"}, "auto", 0),
        ({"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "1", "RANK": "0"}, 1, None),
        ({"SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_PROCID": "1"}, 2, 1),
        # the script of a job, before srun
        ({"SLURM_NTASKS": "2", "SLURM_PROCID": "0"}, 2, None),
        # a job of one task, which starts its second process itself
        ({"SLURM_STEP_ID": "0", "SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, 2, None),
        # one of eight sweeps that srun has started side by side
        ({"SLURM_STEP_ID": "0", "SLURM_NTASKS": "8", "SLURM_PROCID": "3"}, 1, None),
    ],
)
def test_a_rank_is_from_outside_where_as_many_processes_were_started_as_the_run_has(
    monkeypatch, environment, devices, rank
):
    for name in ("TORCHELASTIC_RUN_ID", "WORLD_SIZE", "RANK", "SLURM_STEP_ID", "SLURM_NTASKS", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert rank_from_outside({"trainer": {"devices": devices, "num_nodes": 1}}) == rank


@pytest.mark.slow
def test_under_torchrun_one_rank_writes_and_the_numbers_are_those_of_a_run_that_starts_its_ranks_itself(tmp_path):
    def run(name, *command):
        arguments = ["train", *SMALL, f"dir={name}"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run([*command, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        metrics = json.loads((tmp_path / name / "metrics.json").read_text())
        return done, {key: value for key, value in metrics.items() if not key.startswith("time/")}

    # --standalone finds a free port; --master-port=0 tells the ranks port 0, where they wait for each other for ever
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m", "lehr")
    outside, metrics = run("outside", *torchrun)
    assert outside.stdout.count("test ELBO") == 1
    assert metrics == run("inside", sys.executable, "-m", "lehr")[1]
