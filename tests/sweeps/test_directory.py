"""The directory of a sweep: states of points, where they lie, and what may lie together."""

from __future__ import annotations

import json
import os
from itertools import product

import pytest
import yaml

from lehr.errors import ConfigError
from lehr.files import write_json
from lehr.run import claim as claims
from lehr.run.claim import Claim
from lehr.run.directory import RunDirectory
from lehr.sweeps.directory import Grid, SweepDirectory, state_of
from lehr.sweeps.names import DIGITS
from lehr.sweeps.point import FILE, Point

BASE = {"seed": 0, "kl": {"weight": 1.0, "warmup": 5}, "data": {"_target_": "lehr.data.Digits"}, "evaluate": "none"}
CONSTANT = {"seed": 0, "kl.weight": 1.0, "kl.warmup": 5, "data._target_": "lehr.data.Digits"}


def point(**swept):
    """The point with these values, `kl__weight=2` for kl.weight."""
    config = json.loads(json.dumps(BASE))
    named = {key.replace("__", "."): value for key, value in swept.items()}
    for key, value in named.items():
        *sections, last = key.split(".")
        node = config
        for section in sections:
            node = node[section]
        node[last] = value
    return Point(config, named)


def grid(*keys, **changed):
    """The grid that sweeps these keys; `kl__weight=2` is what a constant key has instead."""
    constant = CONSTANT | {key.replace("__", "."): value for key, value in changed.items()}
    return Grid(list(keys), {key: value for key, value in constant.items() if key not in keys})


def recorded(path):
    return yaml.safe_load((path / "sweep.yaml").read_text())


def other_claim(folder, number=1):
    """A claim of a living process that is not this one."""
    pid = os.getppid()
    about = {"pid": pid, "host": claims.socket.gethostname(), "machine": claims._machine()}
    (folder / f".claim-{number}").write_text(json.dumps(about | {"started": claims._started(pid)}))


@pytest.mark.parametrize(
    ("written", "claimed", "state"),
    [
        (None, False, "waiting"),
        (None, True, "running"),  # taken, and about to say so
        ("running", True, "running"),
        ("running", False, "interrupted"),  # killed
        ("interrupted", False, "interrupted"),
        ("interrupted", True, "running"),  # being gone on with
        ("done", False, "done"),
        ("failed", False, "failed"),
        ("pruned", False, "pruned"),
        ("{", False, "waiting"),
        ("[]", False, "waiting"),
    ],
)
def test_the_state_of_a_point_is_what_it_says_and_whether_somebody_is_at_it(tmp_path, written, claimed, state):
    if written in ("{", "[]"):
        (tmp_path / "status.json").write_text(written)
    elif written:
        write_json(tmp_path / "status.json", {"state": written})
    if claimed:
        with Claim.take(tmp_path):
            assert state_of(tmp_path) == state
    else:
        assert state_of(tmp_path) == state


def test_a_point_without_a_directory_is_waiting(tmp_path):
    assert state_of(tmp_path / "nothing") == "waiting"


def test_a_point_is_written_before_it_is_handed_out_and_found_again(tmp_path):
    sweep = SweepDirectory(tmp_path / "sweep")
    assert sweep.run_dirs() == {}
    run_dir = sweep.prepare(point(seed=1))
    assert run_dir == sweep.run_dir(point(seed=1)) == tmp_path / "sweep" / point(seed=1).name
    assert Point.read(run_dir) == point(seed=1)
    (tmp_path / "sweep" / "notes").mkdir()
    (tmp_path / "sweep" / "results.csv").touch()
    assert SweepDirectory(tmp_path / "sweep").run_dirs() == {point(seed=1).id[:DIGITS]: run_dir}


def test_a_point_keeps_its_directory_when_the_sweep_varies_other_keys(tmp_path):
    before = SweepDirectory(tmp_path).prepare(point(kl__weight=2.0))
    more = point(kl__weight=2.0, seed=0)  # the same run: the seed was 0 all the time
    assert more.name != before.name
    sweep = SweepDirectory(tmp_path)
    assert sweep.run_dir(more) == before == sweep.prepare(more)
    assert sweep.prepare(point(kl__weight=2.0, seed=1)) == tmp_path / point(kl__weight=2.0, seed=1).name


@pytest.mark.parametrize(("state", "written"), [("done", False), ("failed", True), ("interrupted", True)])
def test_what_a_point_was_trained_with_stays_with_it(tmp_path, state, written):
    run_dir = SweepDirectory(tmp_path).prepare(point(seed=1))
    write_json(run_dir / "status.json", {"state": state})
    again = Point({**point(seed=1).config, "trust": ["mine"]}, {"seed": 1})  # what is no part of its identity
    assert SweepDirectory(tmp_path).prepare(again) == run_dir
    assert ("trust" in Point.read(run_dir).config) == written


def test_what_another_process_is_at_is_not_written_to(tmp_path):
    run_dir = SweepDirectory(tmp_path).prepare(point(seed=1))
    before = (run_dir / FILE).stat().st_mtime_ns
    with Claim.take(run_dir):
        SweepDirectory(tmp_path).prepare(point(seed=1))
    assert (run_dir / FILE).stat().st_mtime_ns == before


def test_a_point_that_is_being_written_while_another_process_begins_it_is_whole(tmp_path, monkeypatch):
    """Two sweeps on one directory: this one writes point.json, the other has just begun the same run."""
    run_dir = SweepDirectory(tmp_path).prepare(point(seed=1))  # the other one's
    replace = os.replace

    def late(source, target):
        RunDirectory(target.parent).remove_unfinished()  # what a run does as it begins
        replace(source, target)

    monkeypatch.setattr("lehr.files.os.replace", late)
    assert SweepDirectory(tmp_path).prepare(point(seed=1)) == run_dir
    assert Point.read(run_dir) == point(seed=1)


def test_two_points_whose_names_end_alike_are_not_mixed_up(tmp_path):
    run_dir = SweepDirectory(tmp_path).prepare(point(seed=1))
    other = point(seed=2)
    run_dir.rename(tmp_path / f"seed=1-{other.id[:DIGITS]}")
    with pytest.raises(ConfigError) as caught:
        SweepDirectory(tmp_path).prepare(other)
    assert str(caught.value) == (
        f"{tmp_path / f'seed=1-{other.id[:DIGITS]}'}: is another point whose name ends alike; "
        "choose another hydra.sweep.dir"
    )


def test_sweep_yaml_says_what_is_swept_and_what_is_not(tmp_path):
    sweep = SweepDirectory(tmp_path / "sweep")
    sweep.record(grid("seed"), ["seed=1,2", "kl.weight=1"])
    found = recorded(tmp_path / "sweep")
    assert found["grids"] == [["seed=1,2", "kl.weight=1"]]
    assert found["keys"] == ["seed"]
    assert found["constant"] == {key: value for key, value in CONSTANT.items() if key != "seed"}
    assert {"python", "lehr", "torch"} <= found["versions"].keys()
    assert "git_commit" in found
    assert sweep.read() == found
    assert [path.name for path in (tmp_path / "sweep").iterdir()] == ["sweep.yaml"]


def test_the_same_start_adds_nothing_and_another_is_added(tmp_path):
    sweep = SweepDirectory(tmp_path)
    sweep.record(grid("seed"), ["seed=1,2"])
    before = (tmp_path / "sweep.yaml").read_text()
    sweep.record(grid("seed"), ["seed=1,2"])
    assert (tmp_path / "sweep.yaml").read_text() == before
    sweep.record(grid("seed"), ["seed=1,2,3"])
    assert recorded(tmp_path)["grids"] == [["seed=1,2"], ["seed=1,2,3"]]


def test_a_grid_with_more_keys_extends_the_sweep(tmp_path):
    sweep = SweepDirectory(tmp_path)
    sweep.record(grid("kl.weight"), ["kl.weight=1,2"])
    more = grid("seed", "kl.weight")
    assert sweep.problems(more) == []
    sweep.record(more, ["seed=0,1", "kl.weight=1,2"])
    assert recorded(tmp_path)["keys"] == ["kl.weight", "seed"]
    assert recorded(tmp_path)["constant"] == {"kl.warmup": 5, "data._target_": "lehr.data.Digits"}
    # and the grid of the first start still fits, and so does one that varies what was constant in both
    assert sweep.problems(grid("kl.weight")) == []
    assert sweep.problems(grid("kl.warmup")) == []


def test_a_grid_with_another_constant_is_refused_with_the_difference(tmp_path):
    sweep = SweepDirectory(tmp_path)
    sweep.record(grid("seed"), ["seed=1,2"])
    assert sweep.problems(grid("seed", kl__warmup=10, data___target_="lehr.data.MNIST")) == [
        "kl.warmup=10: is 5 in this sweep; sweep it (kl.warmup=5,10) or choose another hydra.sweep.dir",
        "data._target_=lehr.data.MNIST: is lehr.data.Digits in this sweep; "
        "sweep it (data._target_=lehr.data.Digits,lehr.data.MNIST) or choose another hydra.sweep.dir",
    ]
    # doing what the line says works
    assert sweep.problems(grid("seed", "kl.warmup")) == []


def test_values_that_are_the_same_number_do_not_differ(tmp_path):
    sweep = SweepDirectory(tmp_path)
    sweep.record(grid("seed"), ["seed=1,2"])
    assert sweep.problems(grid("seed", kl__weight=1)) == []


def test_a_group_that_is_swept_may_change_what_is_in_it(tmp_path):
    sweep = SweepDirectory(tmp_path)
    sweep.record(grid("seed"), ["seed=1,2"])
    assert sweep.problems(grid("data", data___target_="lehr.data.MNIST")) == []


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("keys: [", "cannot be read"),
        ("- a", "is not the record of a sweep"),
        ("", "is not the record of a sweep"),
        ("keys: [seed]", "is not the record of a sweep"),
        ("\x00", "cannot be read"),
    ],
)
def test_a_damaged_record_stops_a_start_in_a_line(tmp_path, content, line):
    (tmp_path / "sweep.yaml").write_text(content)
    (problem,) = SweepDirectory(tmp_path).problems(grid("seed"))
    assert problem.startswith(f"{tmp_path / 'sweep.yaml'}: {line}")
    assert "\n" not in problem


@pytest.mark.parametrize("content", ["keys: 3\nconstant: {}", "keys: [seed]\nconstant: []"])
def test_a_record_with_something_else_in_its_places_stops_a_start_in_a_line(tmp_path, content):
    (tmp_path / "sweep.yaml").write_text(content)
    (problem,) = SweepDirectory(tmp_path).problems(grid("seed"))
    assert problem.startswith(f"{tmp_path / 'sweep.yaml'}: is not the record of a sweep")


@pytest.mark.parametrize("state", ["done", "interrupted", "failed"])
def test_the_directory_of_a_single_run_is_not_taken_for_a_sweep(tmp_path, state):
    about = {"started": "2026-01-01T00:00:00+00:00", "pid": 1, "host": "here"}
    write_json(tmp_path / "status.json", {"state": state, **about})
    assert SweepDirectory(tmp_path).problems(grid("seed")) == [
        f"hydra.sweep.dir={tmp_path}: is the directory of a single run; choose another"
    ]


def test_two_processes_that_start_at_the_same_moment_do_not_refuse_each_other(tmp_path):
    sweep = SweepDirectory(tmp_path)
    sweep.record(grid("seed"), ["seed=1,2"])
    other_claim(tmp_path)  # the other one is writing its record
    assert sweep.problems(grid("seed")) == []


def test_a_record_waits_for_one_that_is_being_written(tmp_path, monkeypatch):
    sweep = SweepDirectory(tmp_path)
    other_claim(tmp_path)
    waited = []

    def until_the_other_is_through(seconds):
        waited.append(seconds)
        (tmp_path / ".claim-1").unlink()

    monkeypatch.setattr("lehr.sweeps.directory.time.sleep", until_the_other_is_through)
    sweep.record(grid("seed"), ["seed=1,2"])
    assert len(waited) == 1
    assert recorded(tmp_path)["keys"] == ["seed"]


def test_what_a_killed_start_left_is_gone_after_the_next(tmp_path):
    (tmp_path / ".sweep.yaml.123.tmp").touch()
    write_json(tmp_path / ".claim-4", {"pid": 1, "host": "x", "machine": claims._machine(), "started": "never"})
    SweepDirectory(tmp_path).record(grid("seed"), ["seed=1,2"])
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.yaml"]


def test_every_point_of_a_large_grid_has_a_directory_of_its_own(tmp_path):
    points = [point(seed=seed, kl__weight=w) for seed, w in product(range(40), (0.5, 1.0, 2.0))]
    sweep = SweepDirectory(tmp_path)
    run_dirs = [sweep.prepare(one) for one in points]
    assert len(set(run_dirs)) == len(points) == len(SweepDirectory(tmp_path).run_dirs())
