"""Ranks that torchrun or srun have started, and what only looks like it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from lightning.fabric.utilities.rank_zero import rank_zero_only

from lehr.evaluation.catalogue import without_execution
from lehr.surroundings import hidden, places
from lehr.training.launched import rank_from_outside

SMALL_RUN = (
    "trainer.max_epochs=4", "kl.hold=0", "kl.warmup=1", "trainer.check_val_every_n_epoch=2", "model.hidden=[32]"
)  # fmt: skip
"""As `finished_run`."""
SMALL = ("trainer.max_epochs=2", "kl.hold=0", "kl.warmup=1", "model.hidden=[8]", "trainer.devices=2", "evaluate=none")


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
        # what is no rank
        ({"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": ""}, 2, None),
        ({"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "x"}, 2, None),
        ({"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "2"}, 2, None),
        ({"TORCHELASTIC_RUN_ID": "x", "RANK": "1"}, 2, None),
        ({"SLURM_STEP_ID": "0", "SLURM_NTASKS": "2(x2)", "SLURM_PROCID": "1"}, 2, None),
    ],
)
def test_a_rank_is_from_outside_where_as_many_processes_were_started_as_the_run_has(
    monkeypatch, environment, devices, rank
):
    for name in ("TORCHELASTIC_RUN_ID", "WORLD_SIZE", "RANK", "SLURM_STEP_ID", "SLURM_NTASKS", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MASTER_PORT", "29500")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert rank_from_outside({"trainer": {"devices": devices, "num_nodes": 1}}) == rank


@pytest.mark.parametrize(
    ("nodes", "address"),
    [
        ("node7", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("a,b", "a"),
        ("node[07-09,12],login", "node07"),
        ("n[3,5]-ib", "n3-ib"),
    ],
)
def test_the_ranks_of_a_step_of_slurm_meet_at_its_first_machine(monkeypatch, nodes, address):
    step = {
        "SLURM_JOB_ID": "123456",
        "SLURM_STEP_ID": "2",
        "SLURM_NTASKS": "4",
        "SLURM_PROCID": "3",
        "MASTER_PORT": "1",
    }
    for name, value in {**step, "SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURM_STEP_NODELIST": nodes}.items():
        monkeypatch.setenv(name, value)
    (place,) = places()
    assert (place.address, place.port) == (address, 15_000 + 3_456 + 2_018)
    assert (place.rank, place.world, place.local_rank, place.node) == (3, 4, 1, 1)


LEFT_BEHIND = {
    "RANK": "", "LOCAL_RANK": "x", "NODE_RANK": "1", "GROUP_RANK": "1", "WORLD_SIZE": "3", "MASTER_PORT": "1",
    "MASTER_ADDR": "203.0.113.1", "STANDALONE_PORT": "1", "TORCHELASTIC_RUN_ID": "x",
    "TORCHELASTIC_USE_AGENT_STORE": "True", "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2",
    "SLURM_PROCID": "1", "JSM_NAMESPACE_RANK": "1", "JSM_NAMESPACE_SIZE": "2", "JSM_NAMESPACE_LOCAL_RANK": "1",
    "LSB_JOBID": "7", "LSB_DJOB_RANKFILE": "nowhere", "KUBERNETES_PORT": "1", "PL_GLOBAL_SEED": "x",
    "PL_SEED_WORKERS": "x", "LT_DEVICES": "3", "PL_TRAINER_LIMIT_TRAIN_BATCHES": "3", "PL_TRAINER_FAST_DEV_RUN": "1",
    "PL_TRAINER_OVERFIT_BATCHES": "2", "PL_TRAINER_MAX_TIME": "00:00:00:00", "PL_TRAINER_GRADIENT_CLIP_VAL": "1e-9",
    "PL_TRAINER_DETECT_ANOMALY": "True",
}  # fmt: skip
"""What other programs may have left in the environment, and what Lightning would heed."""


def test_what_other_programs_left_in_the_environment_changes_nothing(lehr, finished_run, tmp_path, monkeypatch):
    for name, value in LEFT_BEHIND.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rank_zero_only, "rank", 1)  # as if Lightning had been imported with them
    before = dict(os.environ)
    code, _, err = lehr("train", f"dir={tmp_path}", *SMALL_RUN)
    assert code == 0, err
    assert dict(os.environ) == before

    def of(run):
        metrics = json.loads((run / "metrics.json").read_text())
        return without_execution(metrics)

    assert of(tmp_path) == of(finished_run)
    assert any(tmp_path.glob("events.out.tfevents.*"))


def test_what_a_run_leaves_in_the_environment_is_taken_away_again(monkeypatch):
    monkeypatch.setenv("MASTER_PORT", "1")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with hidden():
        assert "MASTER_PORT" not in os.environ
        os.environ |= {"MASTER_PORT": "2", "WORLD_SIZE": "2"}
    assert os.environ["MASTER_PORT"] == "1"
    assert "WORLD_SIZE" not in os.environ


@pytest.mark.slow
def test_under_torchrun_one_rank_writes_and_the_numbers_are_those_of_a_run_that_starts_its_ranks_itself(tmp_path):
    def run(name, *command):
        arguments = ["train", *SMALL, f"dir={name}"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run([*command, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        metrics = json.loads((tmp_path / name / "metrics.json").read_text())
        return done, without_execution(metrics)

    # --standalone finds a free port; --master-port=0 tells the ranks port 0, where they wait for each other for ever
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m", "lehr")
    outside, metrics = run("outside", *torchrun)
    assert outside.stdout.count("test ELBO") == 1
    assert metrics == run("inside", sys.executable, "-m", "lehr")[1]
