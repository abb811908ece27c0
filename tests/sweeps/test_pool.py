"""How a machine is divided among runs, and what a process of the pool is given."""

from __future__ import annotations

import json
import multiprocessing.process
import os
import tempfile
from multiprocessing.connection import Listener, arbitrary_address
from pathlib import Path

import pytest
from PIL import Image

from lehr.sweeps import processes
from lehr.sweeps import slots as module
from lehr.sweeps.slots import Slot, slots, visible_gpus

OPTIONS = {"count": 24, "workers": "auto", "gpus": "auto", "gpus_per_run": 1, "per_gpu": 1, "devices": 1}


@pytest.fixture
def machine(monkeypatch):
    """Pretend that there are so many cores, and these GPUs: `machine(8, "0,1")`."""

    def pretend(cores: int, gpus: str = "") -> None:
        monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    return pretend


@pytest.mark.parametrize(
    ("cores", "options", "expected"),
    [
        (8, {}, [Slot(1)] * 8),
        (8, {"count": 3}, [Slot(2)] * 3),
        (8, {"workers": 2}, [Slot(4)] * 2),
        (2, {"workers": 4}, [Slot(1)] * 4),
        (8, {"workers": 100}, [Slot(1)] * 24),
        (8, {"devices": 2}, [Slot(1)] * 4),
        (8, {"devices": 3}, [Slot(1)] * 2),
        (8, {"devices": 2, "count": 1}, [Slot(4)]),
        (1, {"devices": 2}, [Slot(1)]),
        (8, {"devices": 2, "workers": 1}, [Slot(4)]),
    ],
)
def test_runs_on_a_cpu_share_its_cores_and_no_core_is_asked_for_twice(machine, cores, options, expected):
    machine(cores)
    found = slots(**OPTIONS | options)
    assert found == expected
    if "workers" not in options and cores > 1:
        assert sum(slot.threads for slot in found) * options.get("devices", 1) <= cores


@pytest.mark.parametrize(
    ("gpus", "options", "expected"),
    [
        ("0,1", {}, [Slot(4, "0"), Slot(4, "1")]),
        ("2,5", {"count": 1}, [Slot(8, "2")]),
        ("0,1,2", {"gpus": 2}, [Slot(4, "0"), Slot(4, "1")]),
        ("0,1", {"per_gpu": 3}, [Slot(1, "0"), Slot(1, "1")] * 3),
        # the second GPU before the second run on the first
        ("0,1", {"per_gpu": 3, "count": 3}, [Slot(2, "0"), Slot(2, "1"), Slot(2, "0")]),
        ("0,1,2,3", {"gpus_per_run": 2}, [Slot(2, "0,1", 2), Slot(2, "2,3", 2)]),
        ("0,1,2", {"gpus_per_run": 2}, [Slot(4, "0,1", 2)]),
        ("GPU-1a,GPU-2b", {}, [Slot(4, "GPU-1a"), Slot(4, "GPU-2b")]),
        ("", {}, [Slot(1)] * 8),
        ("-1", {}, [Slot(1)] * 8),
    ],
)
def test_runs_on_gpus_each_have_their_own_or_share_it_where_that_was_asked_for(machine, gpus, options, expected):
    machine(8, gpus)
    assert slots(**OPTIONS | options) == expected


def test_a_number_of_threads_that_the_user_has_said_is_that_of_every_process(machine, monkeypatch):
    machine(8)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert slots(**OPTIONS | {"count": 2}) == [Slot(3)] * 2
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    assert slots(**OPTIONS | {"count": 2}) == [Slot(4)] * 2


LISTING = """\
GPU 0: Some Card (UUID: GPU-aaaa)
  MIG 1g.5gb Device 0: (UUID: MIG-bbbb)
GPU 1: Some Card (UUID: GPU-cccc)
"""


def fake_nvidia_smi(folder: Path, code: int = 0) -> str:
    """A PATH on which `nvidia-smi` lists two cards, or fails."""
    program = folder / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{LISTING}END\nexit {code}\n")
    program.chmod(0o755)
    return f"{program.parent}{os.pathsep}{os.environ['PATH']}"


def test_the_cards_that_nvidia_smi_lists_are_used_unless_the_environment_names_others(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", fake_nvidia_smi(tmp_path))
    assert visible_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert visible_gpus() == ["1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []


@pytest.mark.parametrize("there", [False, True], ids=["no driver", "a driver that fails"])
def test_without_a_card_that_works_there_is_none(monkeypatch, tmp_path, there):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", fake_nvidia_smi(tmp_path, code=9) if there else str(tmp_path))
    assert visible_gpus() == []


LOOK = """
import json
import os
from pathlib import Path

import torch
from lightning.pytorch import Callback


class Look(Callback):
    def on_train_start(self, trainer, *args) -> None:
        seen = {"gpus": os.environ.get("CUDA_VISIBLE_DEVICES"), "threads": torch.get_num_threads()}
        Path(trainer.default_root_dir, f"rank-{trainer.global_rank}.json").write_text(json.dumps(seen))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["seed=0,1"], [{"gpus": "0", "threads": 1}, {"gpus": "1", "threads": 1}]),
        (["seed=0", "pool.gpus_per_run=2"], [{"gpus": "0,1", "threads": 1}] * 2),
    ],
    ids=["a GPU each", "both GPUs each"],
)
def test_every_process_of_a_run_is_given_its_gpus_and_its_share_of_the_cores(
    commands, monkeypatch, tmp_path, options, expected
):
    """With two cards that nvidia-smi lists, on two cores. The training itself is on the CPU."""
    if len(getattr(os, "sched_getaffinity", lambda _: [])(0)) < 2:
        pytest.skip("needs two cores")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (commands.folder / "look.py").write_text(LOOK)
    look = ("+callbacks.look._target_=look.Look", "trust=[look]", "trainer.accelerator=cpu")
    environment = {"PATH": fake_nvidia_smi(tmp_path), "OMP_NUM_THREADS": ""}
    sweep = commands.sweep("pool", *look, *options, **environment)
    assert sweep.code == 0, sweep.err
    seen = [json.loads(path.read_text()) for run in sweep.points().values() for path in sorted(run.glob("rank-*.json"))]
    assert sorted(seen, key=json.dumps) == expected


def test_sockets_have_room_for_their_names_however_long_the_folder_for_temporary_files_is(tmp_path, monkeypatch):
    own = multiprocessing.process.current_process()._config
    monkeypatch.setitem(own, "tempdir", None)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path)[:1])
    processes._give_sockets_short_names()
    assert own["tempdir"] is None  # there is room
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with pytest.raises(OSError, match="AF_UNIX path too long"):
        Listener(tempfile.mktemp(prefix="listener-", dir=tempfile.mkdtemp(prefix="pymp-")), "AF_UNIX")
    processes._give_sockets_short_names()
    Listener(arbitrary_address("AF_UNIX"), "AF_UNIX").close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault", [[], ["trainer.precision=64-true", "kl.weight=1e300", "optimizer.lr=1e300"]], ids=["done", "failed"]
)
def test_a_process_ends_although_others_decode_for_it(commands, tmp_path, fault):
    """multiprocessing waits for the processes that its own have started, and these wait for pictures to decode."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(12):
        Image.new("L", (8, 8), i * 20).save(folder / f"{i}.png")
    images = ("data=images", f"data.path={folder}", "data.size=8", "data.workers=1", "data.batch_size=4")
    sweep = commands.sweep("pool", *images, "pool.workers=1", "seed=1,2", *fault)
    assert sweep.states() == dict.fromkeys((1, 2), "failed" if fault else "done"), sweep.err
