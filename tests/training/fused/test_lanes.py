"""A lane of a program ends in what it would have ended in alone."""

from __future__ import annotations

import json
import os
import signal
import time
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from alike import assert_same, checkpoint, metrics, signalled, weights

from lehr.data import digits
from lehr.errors import Interrupted
from lehr.run.directory import RunDirectory
from lehr.sweeps.directory import state_of
from lehr.sweeps.in_step import as_lane
from lehr.sweeps.runner import run_point
from lehr.training.fused import cohort, loop
from lehr.training.fused.conductor import Conductor
from lehr.training.fused.lanes import Lane, Steps
from lehr.training.fused.program import Program


def test_lanes_end_in_what_they_end_in_alone(three):
    for alone, fused in zip(three.alone, three.fused, strict=True):
        assert_same(alone, fused)
    assert metrics(three.fused[0]) != metrics(three.fused[1])


def test_directories_hold_the_same_files(three):
    def files(run_dir):
        return {
            str(path.relative_to(run_dir))
            for path in run_dir.rglob("*")
            if path.is_file() and not path.name.startswith("events.")
        }

    for alone, fused in zip(three.alone, three.fused, strict=True):
        assert files(alone) == files(fused)
        assert state_of(fused) == "done"
        assert len(list(fused.glob("events.*"))) == len(list(alone.glob("events.*")))


def test_checkpoints_hold_what_is_the_lanes_own_and_no_more(three):
    alone, fused = checkpoint(three.alone[1]), checkpoint(three.fused[1])
    assert fused["loops"] == alone["loops"]
    states = fused["optimizer_states"][0]["autoencoder"]["state"]
    for name, state in alone["optimizer_states"][0]["autoencoder"]["state"].items():
        assert float(states[name]["step"]) == float(state["step"]) == fused["global_step"] == 20
        torch.testing.assert_close(states[name]["exp_avg_sq"], state["exp_avg_sq"], rtol=1e-9, atol=1e-15)
        assert states[name]["exp_avg"].untyped_storage().nbytes() == state["exp_avg"].nbytes
    sizes = [(run / "checkpoints" / "last.ckpt").stat().st_size for run in (three.alone[1], three.fused[1])]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.01)


def test_a_lane_that_becomes_nan_fails_and_the_others_do_not_notice(trainings):
    points = [("seed=0",), ("seed=0", "optimizer.lr=1e12"), ("seed=0", "kl.weight=3")]
    run_dirs = trainings.fused(points)
    assert [state_of(run_dir) for run_dir in run_dirs] == ["done", "failed", "done"]
    assert "NonFiniteLoss: step" in json.loads((run_dirs[1] / "status.json").read_text())["error"]
    for run_dir, without in zip(run_dirs[::2], trainings.fused(points[::2]), strict=True):
        assert all(torch.equal(weight, weights(without)[name]) for name, weight in weights(run_dir).items())


def test_a_signal_lets_each_lane_write_a_checkpoint_that_it_goes_on_from_alone_or_fused(trainings, three, monkeypatch):
    run_dirs = trainings.prepare("interrupted", three.points)
    with monkeypatch.context() as patched:
        patched.setattr(cohort, "step", signalled(cohort.step, call=7))
        with pytest.raises(Interrupted):
            trainings.go_on(run_dirs)
    assert [state_of(run_dir) for run_dir in run_dirs] == ["interrupted"] * 3
    assert {checkpoint(run_dir)["global_step"] for run_dir in run_dirs} == {9}  # the end of what was asked for
    run_point(run_dirs[0], own_process=False)
    trainings.go_on(run_dirs[1:])
    for alone, run_dir in zip(three.alone, run_dirs, strict=True):
        assert_same(alone, run_dir)


@pytest.mark.slow
def test_what_was_begun_alone_goes_on_fused(trainings, three, monkeypatch):
    from lehr.training.module import VAEModule

    run_dirs = trainings.prepare("begun", three.points)
    with monkeypatch.context() as patched:
        patched.setattr(VAEModule, "training_step", signalled(VAEModule.training_step, call=8))
        with pytest.raises(Interrupted):
            run_point(run_dirs[0], own_process=False)
    trainings.go_on(run_dirs)  # one of them at step 8, two at the start
    for alone, run_dir in zip(three.alone, run_dirs, strict=True):
        assert_same(alone, run_dir)


@pytest.mark.parametrize(("seconds", "steps"), [(0.0, [1] * 10), (1e6, [1, 2, 2, 1, 3, 1])])
def test_of_slow_steps_fewer_are_taken_as_one_so_that_a_signal_is_soon_heard(trainings, monkeypatch, seconds, steps):
    monkeypatch.setattr(loop, "_MOST_SECONDS", seconds)
    asked, take = [], Lane.take
    monkeypatch.setattr(Lane, "take", lambda lane, steps: asked.append(len(steps.batches)) or take(lane, steps))
    trainings.fused([("seed=0", "trainer.max_epochs=2", "kl.warmup=0")])
    assert asked == steps


def test_a_mistake_in_one_lane_is_its_own(trainings):
    run_dirs = trainings.prepare("one", [("seed=0",), ("seed=1",)])
    RunDirectory(run_dirs[0]).last_checkpoint.parent.mkdir()
    (run_dirs[0] / "model").write_text("in the way of a folder")
    trainings.go_on(run_dirs)
    assert [state_of(run_dir) for run_dir in run_dirs] == ["failed", "done"]


def test_where_the_gpu_has_no_room_for_a_step_the_number_of_lanes_is_named(trainings, monkeypatch):
    def full(*arguments):
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of ..."
        )

    monkeypatch.setattr(cohort, "step", full)
    for run_dir in trainings.fused([("seed=0",), ("seed=1",)]):
        error = json.loads((run_dir / "status.json").read_text())["error"]
        assert "the GPU has no memory left (2.00 GiB more were asked for): lower hydra.launcher.lanes" in error


def test_whoever_watches_is_told_of_steps_and_of_what_is_left(trainings):
    told = []
    run = partial(run_point, own_process=False)
    run_dirs = trainings.prepare("told", [("seed=0",), ("seed=1", "optimizer.lr=1e12")])
    works = [partial(as_lane, run, run_dir) for run_dir in run_dirs]
    Conductor(works, lambda number, problem: None, stepped=lambda *words: told.append(words)).run()
    assert sum(taken for taken, _, _ in told) == 21  # the second fails within those that follow its first
    assert [left for _, _, left in told] == sorted((left for _, _, left in told), reverse=True)
    assert told[-1][1:] == (0, 0)


def test_where_an_end_cannot_be_told_no_lane_is_left_waiting():
    seen = []

    def waits(lane):
        try:
            lane.take(Steps(SimpleNamespace(), [SimpleNamespace()], 0, 0))
        except BaseException as error:
            seen.append(error)
            raise

    def told(number, problem):
        raise OSError("no space left on the disk")

    with pytest.raises(OSError, match="no space"):
        Conductor([waits, lambda lane: None], told).run()
    assert [type(error) for error in seen] == [Interrupted]  # which is gone on with from the last checkpoint


def test_a_lane_that_is_not_clipped_stays_as_it_is_beside_one_that_is():
    players = [SimpleNamespace(plan=SimpleNamespace(clip=clip), norm=None) for clip in (None, 1.0, 5.0)]
    grads = [torch.full((3, 2, 2), 1e30), torch.ones(3, 4)]  # whose squares have no room in float32
    grads[0][2] = 0.5
    before = [grad.clone() for grad in grads]
    Program._clip(SimpleNamespace(_players=players), grads)
    assert all(torch.equal(grad[0], was[0]) for grad, was in zip(grads, before, strict=True))
    assert all(grad[1].eq(0).all() for grad in grads)  # as `clip_grad_norm_` has it
    assert all(torch.equal(grad[2], was[2]) for grad, was in zip(grads, before, strict=True))
    assert [player.norm is None for player in players] == [True, False, False]


def test_what_is_read_is_read_once_whatever_the_seeds_and_each_lane_splits_it_itself(trainings, monkeypatch):
    reads = []
    monkeypatch.setattr(digits, "read_levels", lambda real=digits.read_levels: reads.append(0) or real())
    run_dirs = trainings.fused([("seed=0",), ("seed=1",), ("seed=1", "kl.weight=2")])
    held_out = [json.loads((run_dir / "data.json").read_text())["splits"]["val"] for run_dir in run_dirs]
    assert held_out[0] != held_out[1] == held_out[2]
    assert len(reads) == 1


def test_a_lane_that_is_at_its_end_hears_of_a_signal_at_once():
    heard = []

    def ends(lane):
        lane.interruption = SimpleNamespace(remember=heard.append)
        os.kill(os.getpid(), signal.SIGTERM)
        until = time.monotonic() + 60
        while not heard and time.monotonic() < until:
            time.sleep(0.01)

    with pytest.raises(Interrupted):
        Conductor([ends], lambda number, problem: None).run()
    assert heard == [signal.SIGTERM]
