"""MLflow's store in a file, shared by the runs of a sweep; what a kill leaves in stores that take nothing back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from harness import kill
from wandb_file import records, values

from lehr.run.history import read_history

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*noload")]  # of SQLAlchemy, to MLflow
SMALL = (
    "trainer.max_epochs=2", "kl.hold=0", "kl.warmup=0", "model.hidden=[8]", "evaluate=none", "callbacks.samples=null",
    "trainer.log_every_n_steps=5",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mlflow_runs(folder: Path) -> tuple[Any, list[Any]]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/outputs/mlflow.db")
    return client, client.search_runs([client.get_experiment_by_name("lehr").experiment_id])


def test_runs_side_by_side_share_a_store_that_none_has_made_before(folder, lehr):
    words = ("logger=[mlflow,wandb]", "kl.weight=1,2", "pool.workers=2", "hydra.sweep.dir=grid", *SMALL)
    code, _, err = lehr("train", "-m", *words)
    assert code == 0, err
    _, runs = mlflow_runs(folder)
    assert sorted(run.data.params["kl.weight"] for run in runs) == ["1", "2"]
    assert {run.data.tags["lehr.sweep"] for run in runs} == {"grid"}
    assert {run.info.run_name for run in runs} == {path.parent.name for path in folder.glob("grid/*/config.yaml")}
    assert {run.info.status for run in runs} == {"FINISHED"}
    files = list(folder.glob("grid/*/wandb/offline-run-*/*.wandb"))
    assert len(files) == 2
    groups = [record.run.run_group for path in files for record in records(path) if record.HasField("run")]
    assert set(groups) == {"grid"}


def test_points_after_the_last_checkpoint_of_a_killed_run_are_shown_once(folder, process):
    words = ("logger=[csv,mlflow,wandb]", "dir=run", *SMALL, *kill("step", 30))
    assert process("train", *words).code == -9
    finished = process("train", "resume=run", *kill("step", 1000, again=True))
    assert finished.code == 0, finished.err
    points = read_history(folder / "run" / "history.jsonl")
    expected = [point["images"] for point in points if "train/loss" in point]
    client, (run,) = mlflow_runs(folder)
    assert run.info.status == "FINISHED"
    of_mlflow = client.get_metric_history(run.info.run_id, "train/loss")
    assert sorted(metric.step for metric in of_mlflow) == expected
    of_wandb = [
        values(record.history.item)
        for path in sorted(folder.glob("run/wandb/offline-run-*/*.wandb"))
        for record in records(path)
        if record.HasField("history")
    ]
    assert [point["images"] for point in of_wandb if "train/loss" in point] == expected
