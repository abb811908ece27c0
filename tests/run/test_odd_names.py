"""Names of files that are no UTF-8: errors are recorded and told with them, and files that hold them are read again."""

from __future__ import annotations

import csv
import json
import os

import numpy as np
import pytest

from lehr.errors import in_a_line, printable
from lehr.files import write_json
from lehr.run.directory import RunDirectory

ODD = os.fsdecode(b"caf\xe9")
SMALL = ("trainer.max_epochs=1", "kl=constant", "model.hidden=[4]", "evaluate=none", "trainer.accelerator=cpu")


@pytest.mark.parametrize("text", [ODD, "\ud800 \ud83d", "a\0b", "two\nlines"])
def test_an_error_is_one_line_that_can_be_written_anywhere(text):
    line = in_a_line(FileNotFoundError(2, "No such file", text))
    assert line.isascii()
    assert line.isprintable()
    assert printable(line) == line


def test_json_gives_back_what_was_written(tmp_path):
    value = {"path": f"{ODD}/x.png", "é": ["\ud800", "ü"]}
    write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert "é" in text


def test_a_run_directory_holds_a_configuration_with_such_a_name(tmp_path):
    directory = RunDirectory(tmp_path / ODD)
    directory.write_config({"data": {"path": f"/{ODD}/x"}})
    assert directory.read_config() == {"data": {"path": f"/{ODD}/x"}}
    directory.record_end("failed", in_a_line(ValueError(ODD)))
    assert directory.read_status()["state"] == "failed"


def test_the_real_error_ends_a_run_and_its_state_says_so(lehr, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError(f"nothing in {ODD}")

    monkeypatch.setattr("lehr.training.session.finish", fail)
    code, _, err = lehr("train", f"dir={tmp_path}", *SMALL)
    assert code == 1
    assert "lehr train: RuntimeError: nothing in caf" in err.splitlines()[-1]
    status = json.loads((tmp_path / "status.json").read_text())
    assert status["state"] == "failed"
    assert status["error"].startswith("RuntimeError: nothing in caf")


def test_a_run_and_a_sweep_may_lie_in_a_folder_of_such_a_name(lehr, tmp_path, monkeypatch):
    folder = tmp_path / ODD
    folder.mkdir()
    monkeypatch.chdir(folder)
    code, _, err = lehr("train", *SMALL, "dir=run")
    assert code == 0, err
    assert lehr("evaluate", "run=run", "level=quick")[0] == 0
    code, _, err = lehr("train", "-m", *SMALL, "hydra/launcher=basic", "seed=0,1", "hydra.sweep.dir=sweep")
    assert code == 0, err
    with (folder / "sweep" / "results.csv").open(newline="") as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["done", "done"]


def test_data_in_such_a_folder_are_trained_on_or_refused_in_a_line(lehr, tmp_path, monkeypatch):
    folder = tmp_path / ODD
    folder.mkdir()
    np.save(folder / "data.npy", np.random.default_rng(0).random((40, 6, 6)).astype("float32"))
    monkeypatch.chdir(folder)
    code, _, err = lehr("train", "data=arrays", "data.path=data.npy", "likelihood=gaussian", *SMALL, "dir=run")
    (line,) = (line for line in err.splitlines() if line.startswith("lehr train: "))
    assert code
    assert "caf" in line
    assert "must be UTF-8" in line
    (tmp_path / "link").symlink_to(folder)
    data = ("data=arrays", f"data.path={tmp_path}/link/data.npy", "likelihood=gaussian")
    code, _, err = lehr("train", *data, *SMALL, f"dir={tmp_path}/there")
    assert code == 0, err
