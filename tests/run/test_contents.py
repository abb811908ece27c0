"""Whose files lie in a directory: a run's, which may be removed, or somebody else's, which are left alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lehr.run.contents import foreign_names, own_files, unfinished_files
from lehr.run.directory import RunDirectory

FIXTURES = Path(__file__).parents[1] / "fixtures"


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def test_all_that_commands_write_into_a_run_directory_is_known_for_its_own(finished_run, tmp_path, lehr):
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    assert list(run.glob("events.out.tfevents.*"))
    words = ("examples=20", "features=pca", "iwae_samples=2")
    assert lehr("evaluate", f"run={run}", "samplers=[mixture]", "level=full", *words)[0] == 0
    assert lehr("evaluate", f"run={run}", "split=val", "level=quick", *words)[0] == 0
    assert lehr("probe", f"run={run}", "examples=20")[0] == 0
    assert lehr("groups", f"run={run}", "examples=60")[0] == 0
    assert lehr("sample", f"run={run}", "n=4", "method=aggregate_full", "seed=3")[0] == 0
    assert lehr("sample", f"run={run}", "method=interpolate")[0] == 0
    assert set(own_files(run)) == files(run)
    assert list(own_files(run))[-1].name == "status.json"
    RunDirectory(run).clear()
    assert list(run.iterdir()) == []


def test_the_files_of_a_run_of_an_earlier_version_are_known_too(tmp_path):
    run = Path(shutil.copytree(FIXTURES / "old_run", tmp_path / "run"))
    (run / "events.out.tfevents.1700000000.host.12.0").write_text("curves")
    directory = RunDirectory(run)
    assert directory.is_run()
    assert directory.problems() == []
    directory.clear()
    assert list(run.iterdir()) == []


@pytest.mark.parametrize(
    ("names", "named"),
    [
        (["config.yaml", "model/net.py", "sub/.keep.tmp"], "config.yaml, model/net.py"),
        (["model/net.py"], "model/net.py"),
        (["metrics.json"], "metrics.json"),
        (["evaluation-val.json"], "evaluation-val.json"),
        (["samples/holiday.png", "samples/work.png"], "samples/holiday.png"),
        (["checkpoints"], "checkpoints"),  # a file
        (["events.out.tfevents.1700000000.host.12.0"], "events.out.tfevents.1700000000.host.12.0"),
        (["config.yaml", "data.json", "history.jsonl", "metrics.json"], "config.yaml, data.json, history.jsonl and 1 more"),  # noqa: E501
    ],
)  # fmt: skip
@pytest.mark.parametrize("words", [(), ("overwrite=true",)], ids=["", "overwrite"])
def test_a_folder_with_somebody_else_s_files_is_refused_and_left_alone(tmp_path, lehr, names, named, words):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    line = f"lehr train: dir={tmp_path}: holds {named}, which no run of lehr's has written; choose another directory\n"
    assert lehr("train", f"dir={tmp_path}", *words) == (2, "", line)
    assert {path.relative_to(tmp_path).as_posix() for path in files(tmp_path)} == set(names)
    assert {path.read_text() for path in files(tmp_path)} == {"mine"}


def test_a_link_in_the_place_of_a_folder_is_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "last.ckpt").write_text("mine")
    (elsewhere / ".last.ckpt.0123abcd.tmp").write_text("mine")
    run = tmp_path / "run"
    run.mkdir()
    (run / "checkpoints").symlink_to(elsewhere)
    assert foreign_names(run) == ["checkpoints/.last.ckpt.0123abcd.tmp", "checkpoints"]
    assert [*own_files(run), *unfinished_files(run)] == []


def test_what_says_nothing_of_a_run_is_no_obstacle(tmp_path):
    (tmp_path / "samples").mkdir()  # empty, such as one that was mounted
    for name in ("notes.txt", ".claim-1", ".status.json.0123abcd.tmp", "log.txt", "model.py"):
        (tmp_path / name).write_text("{}")
    assert foreign_names(tmp_path) == []


def test_what_a_killed_run_left_half_written_is_known_by_its_whole_name(tmp_path):
    mine = (".keep.tmp", "sub/.keep.tmp", ".config.yaml.tmp", "model/.net.py.0123abcd.tmp", ".point.json.0123abcd.tmp")
    runs = (".config.yaml.0123abcd.tmp", "model/.model.safetensors.89abcdef.tmp", ".claim-3.0.tmp", ".rank-1.tmp")
    for name in (*mine, *runs):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert {path.relative_to(tmp_path).as_posix() for path in unfinished_files(tmp_path)} == set(runs)


@pytest.mark.parametrize("words", [(), ("overwrite=true",)], ids=["", "overwrite"])
def test_no_run_is_written_to_the_directory_of_a_sweep(tmp_path, lehr, words):
    (tmp_path / "sweep.yaml").write_text("keys: []")
    line = f"lehr train: dir={tmp_path}: is the directory of a sweep; choose another\n"
    assert lehr("train", f"dir={tmp_path}", *words) == (2, "", line)


def test_no_sweep_is_written_over_a_run_or_over_somebody_else_s_results(finished_run, tmp_path, lehr):
    (tmp_path / "results.csv").write_text("mine")
    grid = ("train", "-m", "seed=0,1")
    line = f"hydra.sweep.dir={tmp_path}: holds results.csv, which no sweep has written; choose another"
    assert lehr(*grid, f"hydra.sweep.dir={tmp_path}") == (2, "", f"lehr train: {line}\n")
    assert (tmp_path / "results.csv").read_text() == "mine"
    line = f"hydra.sweep.dir={finished_run}: is the directory of a single run; choose another"
    assert lehr(*grid, f"hydra.sweep.dir={finished_run}") == (2, "", f"lehr train: {line}\n")


def test_an_evaluation_does_not_take_the_place_of_somebody_else_s_file(finished_run, tmp_path, lehr):
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    (run / "evaluation.json").write_text(json.dumps({"mine": 1}))
    code, _, err = lehr("evaluate", f"run={run}", "level=quick", "examples=20", "iwae_samples=2")
    assert (code, err.splitlines()[-1]) == (
        2,
        f"lehr evaluate: {run}/evaluation.json: was not written by lehr; move it away",
    )
    assert json.loads((run / "evaluation.json").read_text()) == {"mine": 1}
