"""A run that was interrupted and gone on with, as each logger shows it: read back by that logger's own library."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml
from harness import visible_events
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb_file import records, values

from lehr.cli.main import main
from lehr.evaluation.catalogue import is_of_execution
from lehr.run.contents import own_files
from lehr.run.directory import RunDirectory
from lehr.run.history import History, read_history

RUN = (
    "train", "logger=[tensorboard,csv,wandb,mlflow]", "trainer.max_epochs=4", "trainer.check_val_every_n_epoch=2",
    "kl.hold=0", "kl.warmup=1", "model.hidden=[16]", "trainer.log_every_n_steps=5",
    "callbacks.samples.every_n_validations=1",
    "callbacks.samples.n=4", "callbacks.samples.steps=2", "callbacks.samples.interpolations=1", "evaluate=none",
)  # fmt: skip
IMAGES = 4 * 1294
PICTURES = {f"samples/{name}" for name in ("aggregate", "prior", "interpolation", "reconstruction", "traversal",
                                           "extremes")}  # fmt: skip
Curves = dict[str, list[tuple[int, Any]]]


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """The directory of the run, and how MLflow had it after the interruption."""
    folder = tmp_path_factory.mktemp("loggers")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # the fastest store that there is; the one in a file of SQLite is in test_stores.py
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        patch.setenv("MLFLOW_TRACKING_URI", (folder / "store").as_uri())
        for name in ("CONFIG", "CACHE", "DATA"):
            patch.setenv(f"WANDB_{name}_DIR", str(folder / "of_wandb"))
        add = History.add

        def interrupt(history: History, images: int, *what: Any) -> None:
            add(history, images, *what)
            if history.lines == 9:  # the validation after two epochs has been logged, and some steps after it
                os.kill(os.getpid(), signal.SIGTERM)

        with patch.context() as interrupted:
            interrupted.setattr(History, "add", interrupt)
            assert main([*RUN, "dir=run"]) == 128 + signal.SIGTERM
        between = mlflow_run(folder / "run").info.status
        assert main([*RUN, "dir=run"]) == 0
        yield SimpleNamespace(run=folder / "run", between=between)


@pytest.fixture(scope="module")
def history(seen) -> Curves:
    found: Curves = {}
    for point in read_history(seen.run / "history.jsonl"):
        images = point.pop("images")
        point.pop("val/kl_per_dimension", None)  # of which loggers show how it is distributed
        for name, value in point.items():
            found.setdefault(name, []).append((images, pytest.approx(value, rel=1e-6)))
    return found


def mlflow_client(run: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient((run.parent / "store").as_uri())


def mlflow_run(run: Path) -> Any:
    client = mlflow_client(run)
    (found,) = client.search_runs([client.get_experiment_by_name("lehr").experiment_id])
    return found


def wandb_files(run: Path) -> list[Path]:
    """Of each attempt, in their order."""
    return sorted(path for path in run.glob("wandb/offline-run-*/*.wandb"))


def wandb_records(run: Path, kind: str) -> list[Any]:
    every = (record for path in wandb_files(run) for record in records(path))
    return [getattr(record, kind) for record in every if record.WhichOneof("record_type") == kind]


def test_tensorboard_shows_the_history(seen, history):
    events = visible_events(seen.run)
    assert {name: events[name] for name in history} == history


def test_the_table_of_csv_is_the_history(seen, history):
    table = pd.read_csv(seen.run / "history.csv")
    assert set(table.columns) == {"images", *history}
    for name, points in history.items():
        rows = table[["images", name]].dropna()
        assert [tuple(row) for row in rows.itertuples(index=False)] == points, name


def test_mlflow_shows_the_history_with_images_as_steps(seen, history):
    run, client = mlflow_run(seen.run), mlflow_client(seen.run)
    assert set(run.data.metrics) == set(history)
    for name, points in history.items():
        found = [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name)]
        assert sorted(found) == points, name


def test_wandb_shows_the_history_over_images(seen, history):
    found: Curves = {}
    for point in (values(record.item) for record in wandb_records(seen.run, "history")):
        for name, value in point.items():
            if name in history:
                found.setdefault(name, []).append((point["images"], value))
    assert found == history
    axes = {metric.glob_name or metric.name: metric.step_metric for metric in wandb_records(seen.run, "metric")}
    assert axes == {"images": "", "*": "images"}


def test_a_run_that_goes_on_is_one_run_everywhere(seen):
    assert seen.between == "KILLED"
    run = mlflow_run(seen.run)  # and there is no other
    assert run.info.status == "FINISHED"
    assert run.data.tags["lehr.state"] == "done"
    assert run.data.tags["lehr.dir"] == str(seen.run)
    first, second = wandb_files(seen.run)
    assert first.name == second.name
    recorded = json.loads((seen.run / "loggers.json").read_text())
    assert recorded == {"csv": {"first": 0}, "wandb": {"id": first.stem[4:]}, "mlflow": {"run": run.info.run_id}}
    assert [record.exit_code for record in wandb_records(seen.run, "exit")] == [130, 0]
    assert len(wandb_records(seen.run, "preempting")) == 1


def test_each_has_the_hyperparameters_in_its_own_place(seen):
    of_mlflow = mlflow_run(seen.run).data.params
    of_wandb: dict[str, Any] = {}
    for record in wandb_records(seen.run, "config"):
        of_wandb |= values(record.update)
    of_csv = pd.read_csv(seen.run / "hparams.csv").iloc[0]
    for name, value in {"kl.warmup": 1, "model.latent_dim": 20, "model": "MLP", "optimizer.lr": 1e-3}.items():
        assert of_mlflow[name] == str(value)
        assert of_wandb[name] == value
        assert of_csv[name] == value
    reader = EventAccumulator(str(seen.run)).Reload()
    assert b"kl.warmup" in reader.summary_metadata["_hparams_/session_start_info"].plugin_data.content


def test_each_has_the_final_metrics_beside_them(seen):
    metrics = json.loads((seen.run / "metrics.json").read_text())
    summary: dict[str, Any] = {}
    for record in wandb_records(seen.run, "summary"):
        summary |= values(record.update)
    of_mlflow, of_csv = mlflow_run(seen.run).data.metrics, pd.read_csv(seen.run / "hparams.csv").iloc[0]
    for name, value in metrics.items():
        assert summary[name] == value
        assert of_csv[name] == pytest.approx(value, rel=1e-12)
        if not is_of_execution(name):  # of times the curve has the last stretch, of memory nothing
            assert of_mlflow[name] == value


def test_pictures_and_the_configuration_are_shown(seen):
    run, client = mlflow_run(seen.run), mlflow_client(seen.run)
    config = yaml.safe_load((seen.run / "config.yaml").read_text())
    artifacts = Path(run.info.artifact_uri.removeprefix("file://"))
    assert {item.path for item in client.list_artifacts(run.info.run_id, "samples")} == PICTURES
    shown = artifacts / f"samples/prior/{IMAGES:010d}.png"
    assert client.list_artifacts(run.info.run_id, "samples/prior")[-1].path == shown.relative_to(artifacts).as_posix()
    assert pixels(shown) == pixels(seen.run / "samples" / "prior.png")
    assert yaml.safe_load((artifacts / "config.yaml").read_text()) == config
    (first, second) = (path.parent / "files" for path in wandb_files(seen.run))
    assert yaml.safe_load((first / "lehr-config.yaml").read_text()) == config
    (prior,) = (path for path in second.glob("media/images/samples/prior_*"))
    assert pixels(prior) == pixels(seen.run / "samples" / "prior.png")
    of_wandb = [values(record.item) for record in wandb_records(seen.run, "history")]
    assert [point["images"] for point in of_wandb if "val/kl_per_dimension._type" in point] == [IMAGES // 2, IMAGES]


def pixels(path: Path) -> list[int]:
    from PIL import Image

    with Image.open(path) as image:
        return list(image.convert("L").tobytes())


def test_what_the_loggers_write_is_known_for_the_run_s_own(seen, tmp_path):
    import shutil

    run = Path(shutil.copytree(seen.run, tmp_path / "run", symlinks=True))
    mine = [run / "wandb" / "run-20260101_000000-abc123" / "run-abc123.wandb", run / "wandb" / "settings"]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    files = {path for path in run.rglob("*") if path.is_file() or path.is_symlink()}
    assert set(own_files(run)) == files - set(mine)
    RunDirectory(run).clear()
    assert {path for path in run.rglob("*") if not path.is_dir()} == set(mine)
    # of a run that has never had these loggers they are somebody else's
    (run / "history.csv").write_text("mine")
    assert list(own_files(run)) == []


def test_the_table_has_a_header_and_a_row_a_point(seen):
    with (seen.run / "history.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) == 1 + len(read_history(seen.run / "history.jsonl"))
    assert {len(row) for row in rows} == {len(rows[0])}
