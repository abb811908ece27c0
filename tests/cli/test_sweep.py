"""`lehr train -m`: what is refused, and what is said and left of a sweep; nothing is trained."""

from __future__ import annotations

import errno
import json
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lehr.cli.ending import print_tensorboard
from lehr.errors import Interrupted
from lehr.files import write_json
from lehr.sweeps.runner import run_point


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (
            "seed=1,-2 kl.weight=0.1,abc model=mlp,mpl foo=1,2",
            [
                "seed=-2: must be greater than or equal to 0",
                "kl.weight=abc: must be a number",
                "model=mpl: there is no such choice; did you mean mlp?",
                "foo: unknown key",
            ],
        ),
        (
            "seed=range(0,0) kl.weight=interval(0,1) model=glob(*) dir=x",
            [
                "seed=range(0,0): has no values",
                "kl.weight=interval(0,1): write out the values, as in kl.weight=a,b or kl.weight=range(1,5)",
                "model=glob(*): write out the values, as in model=a,b or model=range(1,5)",
                "dir: is of a single run; say hydra.sweep.dir=DIR, each run of a sweep has a folder in it",
            ],
        ),
        ("seed=1,2 hydra.sweep.dir=file/x", ["hydra.sweep.dir=file/x: file is a file, not a directory"]),
    ],
)
def test_a_wrong_value_anywhere_in_a_sweep_stops_it_before_it_starts(refused, tmp_path, arguments, lines):
    (tmp_path / "here" / "file").write_text("x")
    assert sorted(refused("train", "-m", *arguments.split())) == sorted(lines)


def test_a_combination_that_cannot_work_is_found_where_one_value_makes_it(refused):
    (line,) = refused("train", "-m", "trainer.max_epochs=5,50", "kl.hold=0", "kl.warmup=2,10")
    assert line.startswith("kl.hold=0 + kl.warmup=10 must be shorter than a training of 5 epochs")


@pytest.fixture
def here(monkeypatch):
    """Points are trained in this process, by nothing; `fails` are the seeds that end in an error."""

    class Here:
        def __init__(self):
            self.configs, self.fails, self.retries = [], {}, []

        def launch(self, jobs, finished):
            for job in jobs:
                run_point(job, self.retries[-1], own_process=False)
                finished(job)

        def launcher(self, found, count, retry, given=None):
            assert retry is None or datetime.fromisoformat(retry) <= datetime.now(UTC)
            self.retries.append(retry and "9")  # within one second nothing is before now
            return self

        def train(self, config, directory, resume, extras):
            write_json(directory.status, {"state": "running"})
            if error := self.fails.get(config["seed"]):
                raise error
            self.configs.append(config)
            write_json(directory.metrics, {"test/elbo": -1.0 - config["seed"]})
            write_json(directory.status, {"state": "done", "evaluated": config["evaluate"]})
            return {}

        @property
        def seeds(self):
            return [config["seed"] for config in self.configs]

    fake = Here()
    monkeypatch.setattr("lehr.api.sweep.launcher", fake.launcher)
    monkeypatch.setattr("lehr.training.session.train", fake.train)
    return fake


def test_each_combination_is_one_run_in_a_directory_of_its_own(lehr, here):
    code, _, err = lehr("train", "-m", "kl.weight=0.5,2", "model.hidden=[8],[8,4]", "hydra.sweep.dir=grid")
    assert code == 0
    assert err.splitlines()[0] == "sweep in grid: 4 runs: 4 waiting"
    assert [(c["kl"]["weight"], c["model"]["hidden"]) for c in here.configs] == [
        (0.5, [8]),
        (0.5, [8, 4]),
        (2, [8]),
        (2, [8, 4]),
    ]
    paths = [Path(c["dir"]) for c in here.configs]
    assert len(set(paths)) == 4
    assert {path.name.rpartition("-")[0] for path in paths} == {
        "weight=0.5,hidden=8", "weight=0.5,hidden=8-4", "weight=2,hidden=8", "weight=2,hidden=8-4",
    }  # fmt: skip
    assert sorted(p.name for p in Path("grid").iterdir()) == sorted(
        [*(path.name for path in paths), "results.csv", "sweep.yaml"]
    )


def test_the_same_command_again_does_what_is_left_to_do(lehr, here):
    assert lehr("train", "-m", "seed=1,2", "hydra.sweep.dir=grid")[0] == 0
    results = Path("grid/results.csv").read_bytes()
    code, out, err = lehr("train", "-m", "seed=2,1", "hydra.sweep.dir=grid")
    assert (code, err) == (0, "sweep in grid: 2 runs: 2 done\n")
    assert "grid: 2 runs: 2 done" in out
    assert Path("grid/results.csv").read_bytes() == results
    assert lehr("train", "-m", "seed=range(1,5)", "hydra.sweep.dir=grid")[0] == 0
    assert here.seeds == [1, 2, 3, 4]


def test_an_evaluation_that_failed_is_tried_again_when_that_is_said(lehr, here, monkeypatch):
    problems = ["there was no paper left"]
    evaluated = []

    def evaluate(config, directory, trust, given):
        evaluated.append(config["seed"])
        directory.record_evaluation(config["evaluate"], problems.pop() if problems else None)

    monkeypatch.setattr("lehr.run.evaluate.evaluate_finished", evaluate)
    assert lehr("train", "-m", "seed=1,2", "evaluate=none", "hydra.sweep.dir=grid")[0] == 0
    command = ("train", "-m", "seed=1,2", "evaluate=quick", "hydra.sweep.dir=grid")
    for more, seeds in (
        ((), [1, 2]),
        ((), [1, 2]),
        (("sweep.retry=failed", "evaluate=none"), [1, 2]),
        (("sweep.retry=failed",), [1, 2, 1]),
        (("sweep.retry=failed",), [1, 2, 1]),
    ):
        code, out, _ = lehr(*command, *more)
        assert (code, evaluated) == (0, seeds)
        assert ("sweep.retry=failed tries again" in out) == ("there was no paper left" in out) == (seeds == [1, 2])
    assert here.seeds == [1, 2]


def test_a_sweep_finds_its_directory_by_what_it_is_about(lehr, here):
    for typed in (["seed=1,2", "kl.weight=3"], ["kl.weight=3.0", "seed=2,3"], ["seed=1,2", "kl.weight=4"]):
        assert lehr("train", "-m", *typed)[0] == 0
    assert here.seeds == [1, 2, 3, 1, 2]
    folders = [path.name for path in Path("outputs/sweeps").iterdir()]
    assert len(folders) == 2
    assert all(name.startswith("digits-mlp-seed-") for name in folders)


def test_a_run_that_fails_is_shown_with_its_error_and_does_not_stop_the_sweep(lehr, here):
    here.fails = {1: RuntimeError("no")}
    code, out, err = lehr("train", "-m", "seed=1,2", "hydra.sweep.dir=grid")
    assert (code, here.seeds) == (1, [2])
    first, failed, done = err.splitlines()
    assert first == "sweep in grid: 2 runs: 2 waiting"
    assert failed.startswith("[1/2] failed seed=1-")
    assert failed.split("  ")[1] == "RuntimeError: no"
    assert done.startswith("[2/2] done   seed=2-")
    assert "2 runs: 1 done, 1 failed" in out
    assert "RuntimeError: no" in out
    assert lehr("train", "--cfg", "job")[0] == 0  # nothing of it is remembered by the next command


def test_what_failed_is_tried_again_when_that_is_said_and_the_exit_code_is_of_how_it_stands(lehr, here):
    here.fails = {1: RuntimeError("no"), 3: RuntimeError("no")}
    grid = ["seed=1,2,3", "hydra.sweep.dir=grid"]
    assert lehr("train", "-m", *grid)[0] == 1
    assert lehr("train", "-m", *grid)[0] == 1
    assert here.seeds == [2]
    here.fails = {3: RuntimeError("still")}
    code, out, _ = lehr("train", "-m", *grid, "sweep.retry=failed")
    assert (code, here.seeds) == (1, [2, 1])
    assert "RuntimeError: still" in out
    here.fails = {}
    assert lehr("train", "-m", *grid, "sweep.retry=failed")[0] == 0
    assert here.seeds == [2, 1, 3]


@pytest.mark.parametrize(
    ("stop", "code", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 1, "{run_dir}: there is no space left on the disk"),
        (Interrupted(signal.SIGTERM), 143, "interrupted by SIGTERM"),
        (Interrupted(signal.SIGINT), 130, "interrupted by SIGINT"),
    ],
    ids=["a full disk", "SIGTERM", "Ctrl-C"],
)
def test_what_stops_a_sweep_is_a_line_and_nothing_has_failed_and_the_next_start_finishes_it(
    lehr, here, stop, code, said
):
    here.fails = {2: stop}
    ended, out, err = lehr("train", "-m", "seed=1,2,3", "hydra.sweep.dir=grid")
    assert (ended, here.seeds) == (code, [1])
    (run_dir,) = Path("grid").glob("seed=2-*")
    assert err.splitlines()[2:] == [
        f"lehr train: {said.format(run_dir=run_dir)}",
        "what is done is kept; the same command goes on with the rest",
        "3 runs: 1 done, 1 waiting, 1 interrupted",
    ]
    assert "2 runs: 1 done, 1 interrupted" in out
    here.fails = {}
    assert lehr("train", "-m", "seed=1,2,3", "hydra.sweep.dir=grid")[0] == 0
    assert here.seeds == [1, 2, 3]


def test_no_room_for_the_small_files_of_a_sweep_is_a_full_disk_too(lehr, here, monkeypatch):
    def write(self, directory):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("lehr.sweeps.point.Point.write", write)
    code, _, err = lehr("train", "-m", "seed=1,2", "hydra.sweep.dir=grid")
    assert code == 1
    assert "no space left" in err.lower()
    assert "Traceback" not in err


def test_another_grid_does_not_get_into_a_sweep_by_mistake(lehr, refused, here):
    assert lehr("train", "-m", "seed=1,2", "hydra.sweep.dir=grid")[0] == 0
    assert refused("train", "-m", "seed=3,4", "kl.warmup=7", "hydra.sweep.dir=grid") == [
        "kl.warmup=7: is 5 in this sweep; sweep it (kl.warmup=5,7) or choose another hydra.sweep.dir"
    ]


def test_a_directory_that_is_no_sweep_s_is_refused(refused):
    Path("run").mkdir()
    about = {"state": "done", "started": "2026-01-01T00:00:00+00:00", "pid": 1, "host": "here"}
    Path("run/status.json").write_text(json.dumps(about))
    assert refused("train", "-m", "seed=1,2", "hydra.sweep.dir=run") == [
        "hydra.sweep.dir=run: is the directory of a single run; choose another"
    ]
    Path("damaged").mkdir()
    Path("damaged/sweep.yaml").write_text("keys: [")
    (line,) = refused("train", "-m", "seed=1,2", "hydra.sweep.dir=damaged")
    assert line.startswith("damaged/sweep.yaml: cannot be read (")


def test_sampling_does_not_sweep(refused):
    assert refused("sample", "-m", "run=a,b") == ["-m: lehr sample takes one run at a time"]


def test_tensorboard_is_told_of_where_a_run_has_written_for_it(tmp_path, capsys):
    (run := tmp_path / "a sweep" / "seed=0").mkdir(parents=True)
    print_tensorboard(run.parent)
    assert capsys.readouterr().out == ""
    (run / "events.out.tfevents.1.host.2.0.lehr").touch()
    print_tensorboard(run)
    print_tensorboard(run.parent)
    of_run, of_sweep = capsys.readouterr().out.splitlines()
    assert (of_run, of_sweep) == tuple(f"  TensorBoard  tensorboard --logdir '{path}'" for path in (run, run.parent))
