"""The launcher `fused`: which points are lanes of which program, and what becomes of the others."""

from __future__ import annotations

import json
from collections import Counter
from types import SimpleNamespace

import pytest

from lehr.api import launchers
from lehr.compose.composer import Command, composed
from lehr.errors import DiskFull
from lehr.run.claim import Claim
from lehr.sweeps import fused, runner
from lehr.sweeps.directory import state_of
from lehr.sweeps.fused import Fused
from lehr.sweeps.point import Point
from lehr.sweeps.waiting import planned

TINY = ("trainer.limit_examples=100", "model.hidden=[8]", "kl.hold=0", "kl.warmup=1", "trainer.max_epochs=2",
        "evaluate=none", "callbacks.samples=null", "logger=none")  # fmt: skip


class Others:
    """Trains what is not fused; here it notes what that is."""

    def __init__(self):
        self.jobs = []

    def launch(self, jobs, finished):
        for job in jobs:
            self.jobs.append(job)
            finished(job)


@pytest.fixture
def prepare(tmp_path):
    def of(*points):
        found = []
        for i, words in enumerate(points):
            made, problems = composed(Command("train", None, [*TINY, *words.split()]))
            assert made is not None, problems
            run_dir = tmp_path / str(i)
            run_dir.mkdir()
            Point(dict(made.values), {"point": i}).write(run_dir)
            found.append(run_dir)
        return found

    return of


def test_points_are_grouped_by_what_fixes_the_program(prepare):
    numbers = [f"kl.weight={weight} seed={seed}" for weight in (1, 2) for seed in (0, 1, 2)]
    run_dirs = prepare(*numbers, "model.hidden=[4]", "objective=iwae", "objective=iwae seed=1", "compile=true")
    plan = planned(run_dirs)
    groups = plan.groups.values()
    assert [[run_dirs.index(run_dir) for run_dir in members] for members in groups] == [[0, 1, 2, 3, 4, 5], [6]]
    assert [run_dirs.index(run_dir) for run_dir in plan.others] == [7, 8, 9]
    assert plan.reasons == Counter({"objective.gradient=dreg": 2, "compile=True": 1})
    assert plan.told(lanes=4).splitlines()[0] == "fused: 7 runs as 2 programs, 4 at a time"
    assert plan.told(lanes=6).splitlines()[0] == "fused: 7 runs as 2 programs"
    assert "not fused: 1 run with compile=True" in plan.told(lanes=6)


def test_lanes_are_trained_here_and_the_others_by_the_others(prepare, capsys):
    run_dirs = prepare("kl.weight=1", "compile=true", "kl.weight=1e39 optimizer.lr=1e30", "kl.weight=2 seed=3")
    others, ended = Others(), []
    Fused(others, lanes=64).launch(iter([*run_dirs, None]), ended.append)
    assert [state_of(run_dir) for run_dir in run_dirs] == ["done", "waiting", "failed", "done"]
    assert others.jobs == [run_dirs[1]]
    assert sorted(ended) == sorted(run_dirs)
    assert capsys.readouterr().err == "fused: 3 runs as 1 program\nnot fused: 1 run with compile=True\n"
    assert "kl_weight" in (run_dirs[0] / "history.jsonl").read_text()


@pytest.mark.parametrize(("gpus", "accelerator"), [(0, "cpu"), ("auto", None)])
def test_without_gpus_lanes_are_kept_off_them(monkeypatch, gpus, accelerator):
    found = SimpleNamespace(
        launcher_name="fused", launcher={"_target_": "lehr.sweeps.fused.Fused", "lanes": 4}, sweeper_name="basic",
        pool={"workers": 2, "gpus": gpus, "gpus_per_run": 1, "per_gpu": 1}, devices=1,
    )  # fmt: skip
    given = {}
    monkeypatch.setattr(launchers, "Fused", lambda *arguments, **options: given.update(options))
    launchers.launcher(found, count=2, retry=None)
    assert given["accelerator"] == accelerator


def test_a_search_is_asked_for_so_many_points_at_once(prepare):
    run_dirs = prepare("compile=true", "compile=true seed=1", "compile=true seed=2")
    pulled, ended = [], []

    def jobs():
        for run_dir in run_dirs:
            pulled.append((run_dir, len(ended)))
            yield run_dir

    Fused(Others(), lanes=2, at_once=2).launch(jobs(), ended.append)
    assert pulled == [(run_dirs[0], 0), (run_dirs[1], 0), (run_dirs[2], 2)]


def test_a_full_disk_stops_the_other_lanes_soon_and_each_has_a_checkpoint(prepare, monkeypatch):
    run_dirs, ended = prepare("seed=0", "seed=1", "seed=2"), []

    def run_point(run_dir, **options):
        if run_dir == run_dirs[1]:
            raise DiskFull(f"{run_dir}: there is no space left on the disk")
        return runner.run_point(run_dir, **options)

    monkeypatch.setattr(fused, "run_point", run_point)
    with pytest.raises(DiskFull, match="no space left"):
        Fused(Others(), lanes=2).launch(iter(run_dirs), ended.append)
    assert [state_of(run_dir) for run_dir in run_dirs] == ["interrupted", "waiting", "waiting"]
    assert (run_dirs[0] / "checkpoints" / "last.ckpt").exists()
    assert ended == []


def test_nobody_waits_for_a_point_that_another_process_is_at(prepare, monkeypatch):
    def waited(*arguments):
        raise AssertionError("looks for the end of a run that goes on elsewhere")

    monkeypatch.setattr(fused, "record_end", waited)
    (run_dir,), ended = prepare("seed=0"), []
    with Claim.take(run_dir):
        Fused(Others(), lanes=2).launch(iter([run_dir]), ended.append)
        assert ended == [run_dir]
        assert state_of(run_dir) == "running"


@pytest.mark.slow
def test_a_sweep_that_is_fused_goes_on_and_ends_in_the_table(lehr, tmp_path):
    words = ("train", "-m", "hydra/launcher=fused", f"hydra.sweep.dir={tmp_path / 'sweep'}", *TINY, "seed=0,1")
    code, out, err = lehr(*words, "kl.weight=1,2")
    assert code == 0, err
    assert "4 done" in out
    assert "fused: 4 runs as 1 program" in err
    code, out, err = lehr(*words, "kl.weight=1,2,3")
    assert code == 0, err
    assert "6 done" in out
    assert "fused: 2 runs as 1 program" in err
    seeds = [json.loads(path.read_text())["config"]["seed"] for path in (tmp_path / "sweep").glob("*/point.json")]
    assert sorted(seeds) == [0, 0, 0, 1, 1, 1]


def test_how_many_lanes_is_checked(lehr, tmp_path):
    where = f"hydra.sweep.dir={tmp_path / 'sweep'}"
    code, _, err = lehr("train", "-m", "hydra/launcher=fused", "hydra.launcher.lanes=0", "seed=0,1", where)
    assert code == 2
    assert "hydra.launcher.lanes" in err
    assert not (tmp_path / "sweep").exists()
