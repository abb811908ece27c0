"""The run directory: whose it is, what is removed from it, and what is said of a run that did not start."""

from __future__ import annotations

import json
import os
import socket

import pytest

from lehr.data import Digits
from lehr.run import claim as claims
from lehr.run.claim import Claim
from lehr.run.directory import RunDirectory
from lehr.run.status import Status
from lehr.training.module import VAEModule


def claim_of(pid, folder):
    """Claim `folder` as that process would have done."""
    about = {"pid": pid, "host": socket.gethostname(), "machine": claims._machine(), "started": claims._started(pid)}
    (folder / ".claim-1").write_text(json.dumps(about))


SHORT = ("trainer.max_epochs=2", "kl.hold=0", "kl.warmup=1", "model.hidden=[8]")


def status(folder, **fields):
    (folder / "status.json").write_text(
        json.dumps({"state": "running", "host": socket.gethostname(), "pid": 1} | fields)
    )


def test_a_directory_is_held_by_a_process_that_runs_there(tmp_path):
    directory = RunDirectory(tmp_path)
    with Claim.take(tmp_path):
        assert directory.holder() is None  # no other than this
        assert directory.problems() == []
    claim_of(os.getppid(), tmp_path)
    assert directory.problems() == [
        f"dir={tmp_path}: process {os.getppid()} is running there; choose another directory"
    ]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"state": 3}', '{"state": "done"}', "\xff"])
def test_a_status_that_is_not_of_lehr_s_makes_no_run(tmp_path, text):
    (tmp_path / "status.json").write_text(text, encoding="latin-1")
    directory = RunDirectory(tmp_path)
    assert not directory.is_run()
    assert directory.problems() == [
        f"dir={tmp_path}: holds status.json, which no run of lehr's has written; choose another directory"
    ]


def test_only_files_of_runs_are_cleared(tmp_path, lehr):
    run = tmp_path / "run"
    assert lehr("train", *SHORT, f"dir={run}")[0] == 0
    mine = {
        "notes.txt", "samples.txt", "plots/a.png", "metrics.json.bak", "model/net.py", "samples/mine.png", ".a.tmp",
        "sub/.keep.tmp", "sub/checkpoints/last.ckpt", "posterior/flow.json", "model/.net.py.0123abcd.tmp",
        "events.out.tfevents.1700000000.host.12.0", "linked/model.safetensors",
    }  # fmt: skip
    for name in mine:
        (run / name).parent.mkdir(exist_ok=True, parents=True)
        (run / name).write_text("mine")
    RunDirectory(run).remove_unfinished()
    RunDirectory(run).clear()
    assert {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()} == mine


def test_a_run_that_is_done_is_not_trained_over_unless_it_is_said(tmp_path, lehr):
    run = tmp_path / "run"
    assert lehr("train", *SHORT, f"dir={run}")[0] == 0
    before = (run / "model" / "model.safetensors").read_bytes()
    code, _, err = lehr("train", *SHORT, "seed=1", f"dir={run}")
    assert code == 2
    assert "overwrite=true" in err
    assert (run / "model" / "model.safetensors").read_bytes() == before
    assert lehr("train", *SHORT, "seed=1", f"dir={run}", "overwrite=true")[0] == 0
    assert (run / "model" / "model.safetensors").read_bytes() != before
    assert len(list(run.glob("events.out.tfevents.*"))) <= 2  # the earlier run's are gone


def test_ctrl_c_while_the_data_are_read_interrupts_the_run(tmp_path, lehr, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Digits, "read", interrupted)
    code, _, err = lehr("train", *SHORT, f"dir={tmp_path}/run")
    assert code == 130
    assert "Traceback" not in err
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "interrupted"


def test_ctrl_c_before_the_first_step_interrupts_the_run(tmp_path, lehr, monkeypatch):
    def interrupted(self, stage=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(VAEModule, "configure_optimizers", interrupted)
    code, _, err = lehr("train", *SHORT, f"dir={tmp_path}/run")
    assert code == 130
    assert "Traceback" not in err
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "interrupted"


def test_an_error_in_reading_leaves_an_earlier_run_as_it_was(tmp_path, lehr, monkeypatch):
    run = tmp_path / "run"
    assert lehr("train", *SHORT, f"dir={run}")[0] == 0
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}

    def broken(self):
        raise OSError("the disk is gone")

    monkeypatch.setattr(Digits, "read", broken)
    assert lehr("train", *SHORT, f"dir={run}", "overwrite=true")[0] == 1
    assert lehr("train", f"resume={run}", "trainer.max_epochs=5")[0] == 1
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_status_says_what_ran_where(tmp_path):
    record = Status(tmp_path / "status.json")
    record.finish("failed")  # never started: an earlier run's status stays
    assert not (tmp_path / "status.json").exists()
    record.start()
    found = json.loads((tmp_path / "status.json").read_text())
    assert (found["state"], found["pid"], found["host"]) == ("running", os.getpid(), socket.gethostname())
    assert {"python", "torch", "lightning", "lehr"} <= found["versions"].keys()
    record.finish("done", seconds={"training": 1.23456})
    found = json.loads((tmp_path / "status.json").read_text())
    assert (found["state"], found["error"], found["seconds"]) == ("done", None, {"training": 1.235})
    assert found["started"] <= found["finished"]
