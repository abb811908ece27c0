"""What goes wrong in one lane is that lane's, whatever it is."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from alike import weights
from made_up import made_up

from lehr.data.loader import AwaitedLoader
from lehr.errors import TakenOver
from lehr.sweeps.directory import state_of
from lehr.training.fused.cohort import _fetched
from lehr.training.fused.conductor import Conductor


def test_a_lane_whose_run_another_process_took_over_leaves_without_a_word_and_the_others_go_on(taken):
    unwound, ended = [], []

    def lost(lane):
        try:
            lane.lose()  # as its claim does, in another thread
            made_up("lost", 5)(lane)
        except BaseException as error:
            unwound.append(error)

    def lost_later(lane):
        try:
            made_up("later", 2)(lane)
            lane.lose()
            lane.leave_if_lost()  # as at the end of a run
        finally:
            unwound.append("later")

    works = [lost, lost_later, made_up("a", 10)]
    Conductor(works, lambda number, problem: ended.append((number, type(problem)))).run()
    assert ended == [(0, TakenOver), (1, TakenOver), (2, type(None))]
    assert not unwound
    assert {name for step in taken for name, _ in step} == {"later", "a"}


def test_a_batch_that_cannot_be_had_is_the_error_of_the_lanes_that_want_it():
    def batch(key, counter, images):
        def fetch():
            if isinstance(images, Exception):
                raise images
            return SimpleNamespace(images=torch.full((2,), images))

        return SimpleNamespace(key=(key,), share=SimpleNamespace(counter=counter), fetch=fetch)

    broken = OSError("gone")
    batches = [batch("a", 0, broken), batch("b", 0, 1.0), batch("a", 1, 2.0), batch("a", 0, broken)]
    asked = [SimpleNamespace(error=None) for _ in batches]
    images = _fetched(asked, batches)
    assert [one.error for one in asked] == [broken, None, None, broken]
    assert images.tensor[1:3].tolist() == [[1.0, 1.0], [2.0, 2.0]]
    assert _fetched(asked[:1], batches[:1]) is None


@pytest.mark.slow
def test_of_sixteen_lanes_those_fail_that_something_is_wrong_with(trainings, monkeypatch):
    wrong = {
        3: ("seed=3", "optimizer.lr=1e12"),
        7: ("seed=7", "kl.warmup=30"),  # which only a run finds to be longer than its training
        11: ("seed=11",),  # whose images cannot be had from some step on
    }
    points = [wrong.get(i, (f"seed={i}", f"kl.weight={0.25 + i / 4}")) for i in range(16)]
    fetched = AwaitedLoader._fetched

    def damaged(loader, share, epoch):
        if loader._seed == 11 and epoch == 1:
            raise OSError("the images are gone")
        return fetched(loader, share, epoch)

    monkeypatch.setattr(AwaitedLoader, "_fetched", damaged)
    run_dirs = trainings.fused(points)
    assert [state_of(run_dir) for run_dir in run_dirs] == ["failed" if i in wrong else "done" for i in range(16)]
    said = [json.loads((run_dirs[i] / "status.json").read_text())["error"] for i in wrong]
    assert "NonFiniteLoss: step" in said[0]
    assert "kl.warmup=30" in said[1]
    assert said[2] == "OSError: the images are gone"
    right = [i for i in range(16) if i not in wrong]
    for i, without in zip(right, trainings.fused([points[i] for i in right]), strict=True):
        assert all(torch.equal(weight, weights(without)[name]) for name, weight in weights(run_dirs[i]).items()), i
