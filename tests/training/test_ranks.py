"""Two processes on one CPU: the number of devices changes no experiment, and none of them is left behind."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
import torch
from harness import differences, kill, next_second
from safetensors.torch import load_file

from lehr import randomness
from lehr.evaluation.catalogue import is_of_execution

# 1,287 training images in batches of 63, the last of 27: nothing can be divided by two
UNEVEN = (
    "data.val_fraction=0.105", "data.batch_size=63", "data.eval_batch_size=100", "trainer.max_epochs=3",
    "trainer.check_val_every_n_epoch=1", "kl.hold=0", "kl.warmup=1", "model.hidden=[32]", "trainer.log_every_n_steps=7",
    "callbacks.checkpoints.every_seconds=0", "trainer.accelerator=cpu",
)  # fmt: skip
TWO = ("trainer.devices=2",)


def witnessed(folder):
    return ("+callbacks.witness._target_=witness.Witness", f"+callbacks.witness.folder={folder}", "trust=[witness]")


@pytest.fixture(scope="module")
def alone(process, tmp_path_factory):
    path = tmp_path_factory.mktemp("alone") / "run"
    finished = process("train", *UNEVEN, f"dir={path}")
    assert finished.code == 0, finished.err
    return path


@pytest.fixture(scope="module")
def together(process, tmp_path_factory):
    path = tmp_path_factory.mktemp("together") / "run"
    started = process.start("train", *UNEVEN, *TWO, *witnessed(path.parent), f"dir={path}")
    finished = started.wait()
    assert finished.code == 0, finished.err
    assert started.left_behind() == []
    return path


def test_ranks_draw_different_rows_of_one_noise_and_keep_the_same_weights(together):
    first, second = (torch.load(together.parent / f"rank-{rank}.pt", weights_only=True) for rank in (0, 1))
    assert len(first["noise"]) == 3 * 21
    for step, rows in enumerate(zip(first["noise"], second["noise"], strict=True)):
        total = 27 if step % 21 == 20 else 63
        assert [len(part) for part in rows] == [total // 2, total - total // 2]
        assert torch.equal(torch.cat(rows), randomness.normal(0, "posterior", step, (total, 20)))
    for name, weight in first["weights"].items():
        assert torch.equal(weight, second["weights"][name]), name


@pytest.mark.slow
def test_two_processes_end_in_the_same_best_weights_and_go_on_from_them(process, tmp_path):
    stopped = (
        *UNEVEN[:3], *UNEVEN[4:], "trainer.max_epochs=40", "callbacks.early_stopping.patience=2", "optimizer.lr=0.02",
    )  # fmt: skip
    runs = {}
    for name, devices in (("alone", ()), ("together", TWO)):
        path = runs[name] = tmp_path / name
        assert process("train", *stopped, *devices, "evaluate=none", f"dir={path}").code == 0
        goes_on = ("resume_from=best", "callbacks.early_stopping.patience=3")
        next_second()
        finished = process("train", f"resume={path}", *goes_on)
        assert (finished.code, "goes on from the best checkpoint" in finished.err) == (0, True), finished.err
    exported = {name: json.loads((path / "status.json").read_text())["exported"] for name, path in runs.items()}
    assert exported["alone"]["weights"] == exported["together"]["weights"] == "best"
    assert exported["alone"]["step"] == exported["together"]["step"]
    one, two = (json.loads((path / "metrics.json").read_text()) for path in runs.values())
    for name in ("val/elbo", "test/elbo", "posterior/moment_kl_diag"):
        assert two[name] == pytest.approx(one[name], rel=1e-3)
    # of the second process's weights are half of the statistics and of the test
    weights = load_file(runs["together"] / "model" / "model.safetensors")
    best = torch.load(runs["together"] / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(weight, best[name]) for name, weight in weights.items())


def test_two_processes_train_what_one_does(alone, together):
    for name in ("model/model.safetensors", "posterior/statistics.safetensors", "posterior/latents.safetensors"):
        one, two = load_file(alone / name), load_file(together / name)
        for key in one:
            torch.testing.assert_close(two[key], one[key], rtol=1e-4, atol=1e-5, msg=lambda m, key=key: f"{key}: {m}")
    one, two = (json.loads((path / "metrics.json").read_text()) for path in (alone, together))
    assert one.keys() == two.keys()
    for name in (name for name in one if not is_of_execution(name)):
        assert two[name] == pytest.approx(one[name], rel=1e-5, abs=1e-6), name
    assert json.loads((together / "posterior" / "statistics.json").read_text())["n"] == 1287


@pytest.mark.slow
def test_parts_that_are_frozen_are_not_waited_for(process, tmp_path):
    frozen = (
        "optimizer.freeze=[model.encoder.*]",
        "ema.half_life=200",
        "trainer.max_epochs=1",
        "kl=constant",
        "kl.warmup=0",
    )
    weights = []
    for devices in (1, 2):
        path = tmp_path / str(devices)
        finished = process("train", *UNEVEN, *frozen, f"trainer.devices={devices}", f"dir={path}")
        assert finished.code == 0, finished.err
        weights.append(load_file(path / "model" / "model.safetensors"))
    torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_nan_on_one_rank_ends_both(process, tmp_path):
    path = tmp_path / "run"
    spoil = ("+callbacks.spoil._target_=witness.Spoil", "+callbacks.spoil.at=5", "+callbacks.spoil.rank=1")
    started = process.start("train", *UNEVEN, *TWO, *spoil, "trust=[witness]", f"dir={path}")
    finished = started.wait(60)
    assert finished.code == 1
    assert "step 5" in finished.err
    assert "the distortion is nan" in finished.err
    assert "Traceback" not in finished.err
    assert json.loads((path / "status.json").read_text())["state"] == "failed"
    assert started.left_behind() == []


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_on_one_rank_ends_both_and_is_said(process, tmp_path, rank):
    path = tmp_path / "run"
    fail = ("+callbacks.fail._target_=witness.Fail", "+callbacks.fail.at=5", f"+callbacks.fail.rank={rank}")
    started = process.start("train", *UNEVEN, *TWO, *fail, "trust=[witness]", f"dir={path}")
    finished = started.wait(40)
    assert finished.code == 1
    assert "there was no paper left" in finished.err
    assert "Traceback" not in finished.err
    assert json.loads((path / "status.json").read_text())["state"] == "failed"
    assert started.left_behind() == []


@pytest.mark.slow
def test_a_rank_that_is_killed_ends_both_and_it_is_said(process, tmp_path):
    path = tmp_path / "run"
    started = process.start("train", *UNEVEN, *TWO, "trainer.max_epochs=2000", f"dir={path}")
    end = time.monotonic() + 60
    while not (path / "history.jsonl").exists() and time.monotonic() < end:
        time.sleep(0.1)
    (other,) = (pid for pid in started.left_behind() if pid != started.pid)
    os.kill(other, signal.SIGKILL)
    finished = started.wait(60)
    assert finished.code == 1
    assert "lehr train: rank 1: killed by SIGKILL\n" in finished.err
    assert "Traceback" not in finished.err
    assert json.loads((path / "status.json").read_text())["error"] == "RuntimeError: rank 1: killed by SIGKILL"
    assert started.left_behind() == []


@pytest.mark.slow
def test_a_run_on_two_ranks_survives_signals_to_the_first_and_to_all(process, together, tmp_path):
    path = tmp_path / "run"
    command = [*UNEVEN, *TWO, f"dir={path}"]
    for i, (moment, code) in enumerate(
        [(("step", 9), -9), (("step", 5, "SIGTERM"), 143), (("validation", 1, "SIGINT", True), 130)]
    ):
        started = process.start("train", *command, *kill(*moment, again=i > 0))
        finished = started.wait(60)
        assert finished.code == code, finished
        assert "Traceback" not in finished.err or code == -9  # nobody is left to end the others in order then
        assert_gone(started)
        command = [f"resume={path}"]
        next_second()
    finished = process("train", f"resume={path}", "callbacks.kill=null")
    assert finished.code == 0, finished.err
    assert differences(together, path) == []


def assert_gone(started, seconds=10):
    """The other ranks notice within seconds that the first is gone."""
    end = time.monotonic() + seconds
    while left := started.left_behind():
        assert time.monotonic() < end, f"left behind: {left}"
        time.sleep(0.1)
