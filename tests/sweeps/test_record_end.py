"""What is recorded of a point whose process could not say how it ended."""

from __future__ import annotations

import threading

import pytest
from points import left, status

from lehr.run.claim import Claim
from lehr.run.directory import RunDirectory
from lehr.sweeps import launching
from lehr.sweeps.launching import record_end
from lehr.sweeps.runner import LOG


@pytest.fixture(autouse=True)
def files_are_seen_soon(monkeypatch):
    monkeypatch.setattr(launching, "FILE_SECONDS", 0.2)
    monkeypatch.setattr(launching, "_LOOK_SECONDS", 0.01)


WITHOUT_A_WORD = f"the process ended without a word; {LOG} in the run directory may say why"


@pytest.mark.parametrize(
    ("before", "problem", "state", "error"),
    [
        ("running", "killed by SIGABRT", "failed", "killed by SIGABRT"),
        ("running", None, "failed", WITHOUT_A_WORD),
        (None, "killed by SIGSEGV", "failed", "killed by SIGSEGV"),  # before it could say that it runs
        (None, None, None, None),
        ("interrupted", None, "interrupted", "then"),  # it has said so
        ("interrupted", "killed by SIGKILL", "failed", "killed by SIGKILL"),  # an earlier attempt had said so
        ("done", "killed by SIGSEGV", "done", "then"),  # at its very end
        ("failed", "killed by SIGABRT", "failed", "then"),
        ("pruned", None, "pruned", "then"),
    ],
)
def test_where_a_process_could_not_say_how_it_ended_it_is_said_for_it(run_dir, before, problem, state, error):
    if before:
        left(run_dir, before)
    record_end(run_dir, problem)
    assert RunDirectory(run_dir).state() == state
    if state:
        assert status(run_dir)["error"] == error


def test_nothing_is_said_of_a_point_that_another_process_has_taken_meanwhile(run_dir):
    left(run_dir, "running")
    with Claim.take(run_dir):
        record_end(run_dir, "killed by SIGKILL")
    assert status(run_dir)["state"] == "running"


def test_what_is_known_of_the_run_stays_where_its_end_is_recorded(run_dir):
    left(run_dir, "running")
    record_end(run_dir, "killed by SIGABRT")
    found = status(run_dir)
    assert found["started"] == "long ago"
    assert found["finished"]


@pytest.mark.parametrize("state", ["done", "failed", "interrupted", "pruned"])
def test_an_end_that_another_machine_has_written_is_waited_for(run_dir, monkeypatch, state):
    monkeypatch.setattr(launching, "FILE_SECONDS", 30)
    left(run_dir, "running")
    later = threading.Timer(0.1, left, (run_dir, state))
    later.start()
    record_end(run_dir)
    later.join()
    assert status(run_dir) | {"state": state, "error": "then"} == status(run_dir)
