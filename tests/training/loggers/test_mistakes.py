"""Loggers that cannot begin, or no longer write: said in a line, and nothing is lost by it."""

from __future__ import annotations

import importlib.util
import json
import shutil
from types import SimpleNamespace

import pandas as pd
import pytest

from lehr.errors import ConfigError, Interrupted
from lehr.run.identity import as_it_was, identity
from lehr.training.callbacks.pruning import Pruned
from lehr.training.loggers.all import ending_told, start
from lehr.training.loggers.csv_files import CSV
from lehr.training.loggers.mlflow_run import _quietly
from lehr.training.loggers.run_logger import Logged, LoggedRun, Outbox, RunLogger


def test_packages_that_are_missing_are_told_with_all_that_is_wrong(lehr, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    missing = ("wandb", "mlflow", "alembic")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in missing else find(name, *rest))
    words = (
        "logger=[csv,wandb,mlflow]",
        "trainer.precision=16-mixed",
        "trainer.accelerator=cpu",
        f"dir={tmp_path}/run",
    )
    code, out, err = lehr("train", *words)
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "lehr train: logger.wandb: needs wandb, not installed here; pip install 'lehr[wandb]'",
        "lehr train: logger.mlflow: needs mlflow and alembic, not installed here; pip install 'lehr[mlflow]'",
        "lehr train: trainer.precision=16-mixed: needs a GPU; a CPU has 32-true, bf16-mixed, bf16-true, 64-true",
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_mere_folder_of_its_name_is_no_package(lehr, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: SimpleNamespace(origin=None))  # a namespace
    code, _, err = lehr("train", "logger=wandb", f"dir={tmp_path}/run")
    assert (code, err.count("\n")) == (2, 1)


def test_a_logger_that_cannot_begin_leaves_an_earlier_run_as_it_was(lehr, finished_run, tmp_path):
    run = shutil.copytree(finished_run, tmp_path / "run")
    before = (run / "metrics.json").read_bytes()
    (tmp_path / "run" / "history.csv").write_text("mine")
    code, _, err = lehr("train", "logger=csv", f"dir={run}", "overwrite=true", "seed=1")
    assert code == 1
    line = f"logger.csv: {run}/history.csv is there already, and lehr has not written it; move it away"
    assert err == f"lehr train: {line}\n"
    assert (run / "metrics.json").read_bytes() == before
    assert (run / "history.csv").read_text() == "mine"


def test_a_logger_without_a_name_is_told_to_have_one(lehr, tmp_path):
    (tmp_path / "logger").mkdir()
    (tmp_path / "logger" / "mine.yaml").write_text("_target_: mine.Logger\nsave_dir: x\n")
    code, _, err = lehr("train", "--config-dir", str(tmp_path), "logger=mine", "trust=[mine]")
    assert code == 2
    assert err == ("lehr train: logger._target_=mine.Logger: there can be several; name it: logger.NAME._target_=...\n")


def test_the_one_logger_of_an_earlier_version_gets_a_name():
    before = {"logger": {"_target_": "lehr.training.TensorBoard"}, "seed": 0}
    assert as_it_was(before) == {"logger": {"tensorboard": {"_target_": "lehr.training.TensorBoard"}}, "seed": 0}
    assert as_it_was({"logger": {}}) == {"logger": {}}
    assert as_it_was({"logger": None}) == {"logger": None}
    assert identity(before) == identity(as_it_was(before))


class Noting(RunLogger):
    """Keeps what it is told."""

    name = version = "noting"

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.states: list[str] = []
        self.error = error

    def log_metrics(self, metrics, step=None):
        pass

    def end(self, state):
        self.states.append(state)
        if self.error:
            raise self.error


@pytest.mark.parametrize(
    ("error", "state"),
    [(None, "done"), (Interrupted(15), "interrupted"), (SystemExit(0), "interrupted"), (Pruned("x"), "pruned"),
     (RuntimeError("x"), "failed")],
    ids=lambda value: str(value),
)  # fmt: skip
def test_every_logger_is_told_how_the_run_has_ended(error, state, capsys):
    loggers = [Noting(), Noting(OSError("no network")), Noting()]
    trainer = SimpleNamespace(is_global_zero=True, loggers=loggers)
    caught: list[BaseException] = []
    try:
        with ending_told(trainer):
            if error:
                raise error
    except BaseException as found:
        caught.append(found)
    assert caught == ([error] if error else [])
    assert [logger.states for logger in loggers] == [[state]] * 3
    assert capsys.readouterr().err == f"note: Noting was not told that the run is {state} (OSError: no network)\n"


class Unable(Noting):
    def start(self):
        raise ConfigError(f"{self.name}: cannot begin")


def test_all_loggers_that_cannot_begin_are_told_and_the_others_ended():
    able, unable = Noting(), Unable()
    with pytest.raises(ConfigError) as caught:
        start([unable, able, unable])
    assert caught.value.problems == ("noting: cannot begin",) * 2
    assert (able.states, unable.states) == (["failed"], [])


def test_what_could_not_be_sent_is_sent_with_the_next(capsys):
    sent, broken = [], True

    def send(points):
        if broken:
            raise ConnectionError("no route")
        sent.extend(points)

    outbox = Outbox("mlflow", send)
    for images in (1, 2):
        outbox.put(Logged(images, {"a": 0.5}, 0.0))
        outbox.flush()
    assert (sent, outbox.unsent) == ([], 2)
    broken = False
    outbox.call(lambda: sent.append("picture"))
    outbox.flush()
    assert [point if point == "picture" else point.images for point in sent] == [1, 2, "picture"]
    assert outbox.unsent == 0
    (note,) = capsys.readouterr().err.splitlines()
    assert note.startswith("note: logger.mlflow: cannot be written to (ConnectionError: no route)")


def log(logger: CSV, *points: tuple[int, dict[str, float]]) -> None:
    for images, metrics in points:
        logger.log_metrics(metrics, images)
    logger.save()


def test_rows_after_the_checkpoint_are_dropped_and_columns_come_as_they_are_measured(tmp_path):
    first = CSV(tmp_path)
    first.start()
    first.record()
    log(first, (10, {"train/loss": 1.5}), (20, {"train/loss": 1.25}))
    log(first, (20, {"val/elbo": -3.0}), (30, {"train/loss": float("nan")}))  # lost by a kill
    again = CSV(tmp_path, points=2)
    again.start()
    log(again, (30, {"train/loss": 1.0}))
    log(again, (30, {"val/elbo": float("inf")}))
    table = pd.read_csv(tmp_path / "history.csv")
    assert table["images"].tolist() == [10, 20, 30, 30]
    assert table["train/loss"].tolist()[:3] == [1.5, 1.25, 1.0]
    assert table["val/elbo"].tolist()[3] == float("inf")
    # a run that begins once more has none of it
    anew = CSV(tmp_path)
    log(anew, (5, {"a": 1.0}))
    assert (tmp_path / "history.csv").read_text() == "images,a\n5,1.0\n"


def test_a_table_that_begins_with_a_resumed_run_keeps_its_own_rows(tmp_path):
    late = CSV(tmp_path, points=7)
    late.record()
    log(late, (80, {"a": 1.0}), (90, {"a": 2.0}))
    again = CSV(tmp_path, points=8)
    assert not again.is_new
    log(again, (90, {"a": 3.0}))
    assert pd.read_csv(tmp_path / "history.csv").to_numpy().tolist() == [[80, 1.0], [90, 3.0]]


def test_a_point_of_a_sweep_knows_its_sweep(tmp_path):
    assert LoggedRun(tmp_path / "grid" / "kl.weight=4").sweep is None
    (tmp_path / "grid").mkdir()
    (tmp_path / "grid" / "sweep.yaml").write_text("")
    assert LoggedRun(tmp_path / "grid" / "kl.weight=4").sweep == "grid"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"wandb": 1, "csv": {"first": "x"}, "mlflow": {"run": ["a"]}}'])
def test_records_that_are_damaged_are_as_if_there_were_none(tmp_path, text):
    (tmp_path / "loggers.json").write_text(text)
    logger = CSV(tmp_path, points=3)
    log(logger, (10, {"a": 1.0}))
    assert pd.read_csv(tmp_path / "history.csv")["images"].tolist() == [10]
    logger.record()
    assert "csv" in json.loads((tmp_path / "loggers.json").read_text())


@pytest.mark.parametrize("word", ["logger=[]", "~logger"])
def test_no_logger_is_none(lehr, tmp_path, word):
    words = (word, "trainer.max_epochs=1", "kl.hold=0", "kl.warmup=0", "evaluate=none", f"dir={tmp_path}/run")
    code, out, _ = lehr("train", *words)
    assert code == 0
    assert "TensorBoard" not in out
    assert not list((tmp_path / "run").glob("events.*"))


def test_a_server_that_does_not_answer_is_not_waited_for_by_the_minute(monkeypatch):
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
    from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES, MLFLOW_HTTP_REQUEST_TIMEOUT

    before = MLFLOW_HTTP_REQUEST_MAX_RETRIES.get()
    with _quietly():
        assert MLFLOW_HTTP_REQUEST_MAX_RETRIES.get() == 2 < before
        assert MLFLOW_HTTP_REQUEST_TIMEOUT.get() == 7  # as the environment says
    assert MLFLOW_HTTP_REQUEST_MAX_RETRIES.get() == before
