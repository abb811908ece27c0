"""The launcher `fused`: which points are lanes of which program, and what becomes of the others."""

from __future__ import annotations

import json
import re
from collections import Counter
from types import SimpleNamespace

import pytest

from lehr.api import launchers
from lehr.compose.composer import Command, composed
from lehr.errors import DiskFull
from lehr.run.claim import Claim
from lehr.sweeps import in_step, probe, runner, sizes
from lehr.sweeps.directory import state_of
from lehr.sweeps.fused import Fused
from lehr.sweeps.point import Point
from lehr.sweeps.pool import Pool
from lehr.sweeps.probe import Room
from lehr.sweeps.race import Race
from lehr.sweeps.sizes import Size, Sizes
from lehr.sweeps.slots import Slot
from lehr.sweeps.waiting import planned

TINY = ("trainer.limit_examples=100", "model.hidden=[8]", "kl.hold=0", "kl.warmup=1", "trainer.max_epochs=2",
        "evaluate=none", "callbacks.samples=null", "logger=none")  # fmt: skip


HERE = [Slot(1)]


class Others:
    """Trains what is not fused; here it notes what that is."""

    def __init__(self):
        self.jobs = []

    def launch(self, jobs, finished):
        for job in jobs:
            self.jobs.append(job)
            finished(job)


@pytest.fixture
def unmeasured(monkeypatch):
    """What lanes take is not known."""
    monkeypatch.setattr(sizes, "room", lambda run_dir, accelerator: None)


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
    first, second = plan.groups
    assert plan.told({first: Size(4, room=Room(8e6, 1e9)), second: Size(4)}).splitlines() == [
        "fused: 7 runs as 2 programs",
        "  6 runs such as 0: 4 lanes at a time of 8 MB",
        "  1 run, 6: 1 lane",
        "not fused: 2 runs with objective.gradient=dreg",
        "not fused: 1 run with compile=True",
    ]
    assert plan.told({first: Size(0, race=Race(61, 60)), second: Size(0, "too few")}).splitlines()[:2] == [
        "pool: 6 runs such as 0: about 1:01 fused, 1:00 by the pool",
        "pool: 1 run, 6: too few",
    ]


def test_points_whose_optimizers_are_told_the_same_follow_each_other(prepare):
    run_dirs = prepare(*(f"seed={seed} optimizer.lr={lr}" for seed in (0, 1) for lr in (2e-3, 1e-3)))
    (members,) = planned(run_dirs).groups.values()
    assert [run_dirs.index(run_dir) for run_dir in members] == [1, 3, 0, 2]


def test_lanes_are_trained_here_and_the_others_by_the_others(unmeasured, prepare, capsys):
    run_dirs = prepare("kl.weight=1", "compile=true", "kl.weight=1e39 optimizer.lr=1e30", "kl.weight=2 seed=3")
    others, ended = Others(), []
    Fused(others, HERE, Sizes(64, HERE)).launch(iter([*run_dirs, None]), ended.append)
    assert [state_of(run_dir) for run_dir in run_dirs] == ["done", "waiting", "failed", "done"]
    assert others.jobs == [run_dirs[1]]
    assert sorted(ended) == sorted(run_dirs)
    assert capsys.readouterr().err == "fused: 3 runs as 1 program: 3 lanes\nnot fused: 1 run with compile=True\n"
    assert "kl_weight" in (run_dirs[0] / "history.jsonl").read_text()


def launcher_of(name, sweeper="basic", lanes=None, count=9, **pool):
    """What trains so many points on a machine of two cores."""
    settings = {"workers": 2, "gpus": "auto", "gpus_per_run": 1, "per_gpu": 1, "fused": "none", **pool}
    found = SimpleNamespace(
        launcher_name=name, launcher={"_target_": "any", **({"lanes": lanes} if lanes else {})}, sweeper_name=sweeper,
        pool=settings, devices=1,
    )  # fmt: skip
    return launchers.launcher(found, count, retry=None)


def test_without_gpus_lanes_are_kept_off_them():
    assert launcher_of("fused", lanes=4, gpus=0)._accelerator == "cpu"
    assert launcher_of("fused", lanes=4)._accelerator is None


@pytest.mark.parametrize(
    ("pool", "line"),
    [
        ({"gpus": 1}, "pool.gpus=1: this machine has 0 GPUs"),
        ({"gpus_per_run": 3}, "pool.gpus_per_run=3: this machine has 0 GPUs"),
        ({"gpus": 4, "gpus_per_run": 2}, "pool.gpus=4: this machine has 0 GPUs"),
    ],
)
def test_gpus_that_are_not_there_are_named_by_what_asks_for_them(monkeypatch, pool, line):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    settings = {"workers": 2, "gpus": "auto", "gpus_per_run": 1, "per_gpu": 1, "fused": "none", **pool}
    found = SimpleNamespace(launcher_name="pool", launcher={"_target_": "any"}, pool=settings, devices=1)
    assert launchers.launcher_problems(found) == [line]


def test_the_pool_leaves_points_to_lanes_where_it_is_told_to():
    assert isinstance(launcher_of("pool"), Pool)
    every, faster = launcher_of("pool", fused="all"), launcher_of("pool", fused="auto")
    assert (every._sizes._is_left, faster._sizes._is_left) == (False, True)
    assert every._at_once is faster._at_once is None
    assert launcher_of("fused", lanes="auto", fused="auto")._sizes._is_left
    # of what a search asks for it has learnt nothing: no more than a quarter of its trials
    assert [launcher_of("pool", "optuna", count=trials, fused="all")._at_once for trials in (9, 200)] == [3, 16]
    assert launcher_of("fused", "optuna", lanes=5)._at_once == 5
    # but for those that it may be left to the pool, which has so many slots
    assert launcher_of("pool", "optuna", workers=6, fused="auto")._at_once == 6


def test_what_the_pool_is_faster_with_is_left_to_it(prepare, monkeypatch):
    run_dirs = prepare("seed=0", "seed=1", "compile=true", "seed=2")
    monkeypatch.setattr(Sizes, "of", lambda self, kind, members: Size(0, race=Race(9, 5)))
    others, ended = Others(), []
    Fused(others, HERE, Sizes("auto", HERE)).launch(iter(run_dirs), ended.append)
    assert sorted(others.jobs) == sorted(ended) == run_dirs


def test_a_search_is_asked_for_so_many_points_at_once(prepare):
    run_dirs = prepare("compile=true", "compile=true seed=1", "compile=true seed=2")
    pulled, ended = [], []

    def jobs():
        for run_dir in run_dirs:
            pulled.append((run_dir, len(ended)))
            yield run_dir

    Fused(Others(), HERE, Sizes(2, HERE), at_once=2).launch(jobs(), ended.append)
    assert pulled == [(run_dirs[0], 0), (run_dirs[1], 0), (run_dirs[2], 2)]


def test_a_full_disk_stops_the_other_lanes_soon_and_each_has_a_checkpoint(unmeasured, prepare, monkeypatch):
    run_dirs, ended = prepare("seed=0", "seed=1", "seed=2"), []

    def run_point(run_dir, **options):
        if run_dir == run_dirs[1]:
            raise DiskFull(f"{run_dir}: there is no space left on the disk")
        return runner.run_point(run_dir, **options)

    monkeypatch.setattr(in_step, "run_point", run_point)
    with pytest.raises(DiskFull, match="no space left"):
        Fused(Others(), HERE, Sizes(2, HERE)).launch(iter(run_dirs), ended.append)
    assert [state_of(run_dir) for run_dir in run_dirs] == ["interrupted", "waiting", "waiting"]
    assert (run_dirs[0] / "checkpoints" / "last.ckpt").exists()
    assert ended == []


def test_nobody_waits_for_a_point_that_another_process_is_at(prepare, monkeypatch):
    def waited(*arguments):
        raise AssertionError("looks for the end of a run that goes on elsewhere")

    monkeypatch.setattr(in_step, "record_end", waited)
    (run_dir,), ended = prepare("seed=0"), []
    with Claim.take(run_dir):
        Fused(Others(), HERE, Sizes(2, HERE)).launch(iter([run_dir]), ended.append)
        assert ended == [run_dir]
        assert state_of(run_dir) == "running"


@pytest.mark.slow
def test_a_sweep_that_is_fused_goes_on_and_ends_in_the_table(lehr, tmp_path):
    words = ("train", "-m", "hydra/launcher=fused", f"hydra.sweep.dir={tmp_path / 'sweep'}", *TINY, "seed=0,1")
    code, out, err = lehr(*words, "kl.weight=1,2")
    assert code == 0, err
    assert "4 done" in out
    assert re.search(r"fused: 4 runs as 1 program: 4 lanes of \d+ MB\n", err)
    code, out, err = lehr(*words, "kl.weight=1,2,3")
    assert code == 0, err
    assert "6 done" in out
    assert "fused: 2 runs as 1 program" in err
    seeds = [json.loads(path.read_text())["config"]["seed"] for path in (tmp_path / "sweep").glob("*/point.json")]
    assert sorted(seeds) == [0, 0, 0, 1, 1, 1]


@pytest.mark.slow
def test_a_trial_that_is_pruned_leaves_its_lane_at_once_to_the_next(lehr, tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    from searches import trials

    from lehr.training.callbacks import pruning

    worse = SimpleNamespace(prune=lambda study, trial: trial.number in (1, 2))
    monkeypatch.setattr(pruning, "_pruner", lambda study, module: worse)
    monkeypatch.setattr(pruning, "_reason", lambda study, trial: "it is the worse one")
    code, out, err = lehr(
        "train", "-m", "hydra/sweeper=optuna", "hydra/launcher=fused", "hydra.launcher.lanes=2", *TINY,
        "pool.workers=1", "hydra.sweeper.n_trials=8", f"hydra.sweep.dir={tmp_path / 'sweep'}",
        "kl.weight=interval(0.1,4)", "trainer.max_epochs=6", "trainer.check_val_every_n_epoch=1",
    )  # fmt: skip
    assert code == 0, err
    assert "8 trials: 6 completed, 2 pruned" in out
    found = trials(tmp_path / "sweep")
    assert [trial.state.name for trial in found] == ["COMPLETE", "PRUNED", "PRUNED", *["COMPLETE"] * 5]
    first, second, third, fourth = found[:4]
    # one takes the place of the other while the first goes on
    assert second.datetime_complete <= third.datetime_start < third.datetime_complete <= fourth.datetime_start
    assert fourth.datetime_start < first.datetime_complete
    for trial in found:
        others = [other for other in found if other.datetime_start < trial.datetime_start < other.datetime_complete]
        assert len(others) < 2


@pytest.mark.slow
def test_where_no_lane_fits_the_sweep_ends_with_a_line(lehr, tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "free_memory", lambda: 5e6)
    where = f"hydra.sweep.dir={tmp_path / 'sweep'}"
    code, _, err = lehr("train", "-m", "hydra/launcher=fused", "pool.workers=1", *TINY, "seed=0,1", where)
    assert code == 1
    assert (
        "lehr train: hydra.launcher.lanes: there is no room for one lane (6 MB a lane, 5 MB free); lower "
        "data.batch_size or the size of the model\n"
    ) in err
    assert "Traceback" not in err


def test_how_many_lanes_is_checked(lehr, tmp_path):
    where = f"hydra.sweep.dir={tmp_path / 'sweep'}"
    code, _, err = lehr("train", "-m", "hydra/launcher=fused", "hydra.launcher.lanes=0", "seed=0,1", where)
    assert code == 2
    assert "hydra.launcher.lanes" in err
    assert not (tmp_path / "sweep").exists()
    code, _, err = lehr("train", "-m", "hydra/launcher=basic", "pool.fused=auto", "seed=0,1", where)
    assert (code, err) == (
        2, "lehr train: pool.fused=auto: hydra/launcher=basic trains each run by itself; leave one out\n"
    )  # fmt: skip
