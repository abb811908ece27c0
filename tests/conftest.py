"""What all tests share: commands run in this process, and small runs that are trained once."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
import torch

from lehr.cli.main import main

# tests start some two hundred processes, each of which would compile all of lehr again
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# no test talks to anyone: neither the loggers' services nor those who count how they are used
os.environ |= {"WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true",
               "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}  # fmt: skip

# garbage is looked for less often: what thousands of tests consist of is looked through each time
gc.set_threshold(20_000, 20, 20)

SMALL = ("trainer.max_epochs=4", "kl.hold=0", "kl.warmup=1", "trainer.check_val_every_n_epoch=2", "model.hidden=[32]")
"""A training of the digits that takes a second."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: a third of the time of slow tests is waiting for what other processes do."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device: there is none here"))


def pytest_collection_finish() -> None:
    gc.freeze()  # what is there now stays until the end


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Small tensors on two cores are slower with two threads, and sums then depend on how they are shared."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _without_reports(request, monkeypatch):
    """Sweeps end in reports, each of which takes seconds: only in tests that are of them."""
    if not request.node.get_closest_marker("reports"):
        monkeypatch.setattr("lehr.api.report._try", lambda path, runs: None)


@pytest.fixture
def lehr(capsys, monkeypatch):
    """Run a command in this process: `code, out, err = lehr("train", "key=value")`."""
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory) -> Path:
    """The directory of a small finished run. Not to be changed; copy it."""
    path = tmp_path_factory.mktemp("finished") / "run"
    assert main(["train", f"dir={path}", *SMALL]) == 0
    return path


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data sets that LEHR_DATA names."""
    if not os.environ.get("LEHR_DATA"):
        pytest.skip("LEHR_DATA is not set: it names the folder of real data sets")
    return Path(os.environ["LEHR_DATA"])
