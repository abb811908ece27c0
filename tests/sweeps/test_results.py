"""What a sweep came to, of directories made by hand: reading, results.csv and pandas."""

from __future__ import annotations

import csv
import json
import math
import shutil
from typing import Any

import pandas as pd
import pytest
import yaml
from handmade import STATUS, add, configuration, sweep_yaml

import lehr
from lehr.errors import CheckpointError, ConfigError
from lehr.run.identity import identity
from lehr.sweeps.groups import Query, answer
from lehr.sweeps.point import Point
from lehr.sweeps.results import natural, read_runs, write_results
from lehr.sweeps.tables import terminal_table

# ---- reading


def test_every_run_has_its_state_its_values_and_its_numbers(sweep):
    results = read_runs(sweep)
    assert results.keys == ["kl.weight", "seed"]
    assert [(run.swept["kl.weight"], run.swept["seed"], run.state) for run in results.runs] == [
        (0.5, 0, "done"), (0.5, 1, "done"), (0.5, 2, "done"),
        (1.0, 0, "done"), (1.0, 1, "failed"), (1.0, 2, "done"),
        (10.0, 0, "done"), (10.0, 1, "interrupted"),
    ]  # fmt: skip
    first, failed = results.runs[0], results.runs[4]
    assert first.name == f"weight=0.5,seed=0-{first.id[:10]}"
    assert first.id == identity(configuration(**{"kl.weight": 0.5, "seed": 0}))
    assert first.metrics == {
        "test/elbo": -90.5, "test/rate": 0.5, "time/step_ms": 0.0, "collapse/active_units": 1
    }  # fmt: skip
    assert (first.seconds, first.host, first.started) == (STATUS["seconds"], "here", STATUS["started"])
    assert (failed.error, failed.metrics) == ("NonFiniteLoss: the loss is NaN", {})


def test_what_is_not_a_number_is_no_metric_and_what_is_not_finite_is_missing(tmp_path):
    evaluation = {
        "seed": 0, "split": "test", "collapse/verdict": "well", "collapse/saturated": True, "likelihood/iwae": None,
        "collapse/curve": {"0.1": 3}, "collapse/kl": [1.0],
    }  # fmt: skip
    add(tmp_path, {"seed": 0}, {"test/elbo": math.nan, "test/rate": math.inf, "val/elbo": 1.5}, evaluation)
    sweep_yaml(tmp_path, "seed")
    results = read_runs(tmp_path)
    assert results.runs[0].metrics == {
        "test/elbo": None, "test/rate": None, "val/elbo": 1.5, "collapse/saturated": True, "likelihood/iwae": None
    }  # fmt: skip
    assert results.metrics == ["collapse/saturated", "val/elbo"]


@pytest.mark.parametrize("file", ["metrics.json", "evaluation.json", "status.json", "point.json"])
@pytest.mark.parametrize("content", [b'{"test/elbo": -1', b"[]", b"\xff\xfe\x00", b""])
def test_a_damaged_file_is_said_and_hides_no_other_run(sweep, file, content):
    name = read_runs(sweep).runs[0].name
    (sweep / name / file).write_bytes(content)
    results = read_runs(sweep)
    assert len(results.runs) == 8
    (damaged,) = [run for run in results.runs if run.state == "damaged"]
    assert damaged.name == name
    assert damaged.error.startswith(f"{file}: ")
    assert "\n" not in damaged.error
    assert damaged.metrics == {}
    row = answer(results, Query(["test/elbo"])).rows[0]
    assert (row.values, row.done, len(row.runs), row.cells[0].n) == ((0.5,), 2, 3, 2)


def test_a_run_that_says_it_is_done_without_its_metrics_is_damaged(sweep):
    run = read_runs(sweep).runs[0]
    (sweep / run.name / "metrics.json").unlink()
    assert (read_runs(sweep).runs[0].state, read_runs(sweep).runs[0].error) == ("damaged", "metrics.json: is missing")


def test_a_run_of_which_nothing_can_be_read_is_in_no_group_but_is_shown(sweep):
    run = read_runs(sweep).runs[0]
    (sweep / run.name / "config.yaml").unlink()
    (sweep / run.name / "point.json").write_text("{")
    results = read_runs(sweep)
    assert [run.name for run in results.runs if not run.swept] == [run.name]
    assert [len(row.runs) for row in answer(results).rows] == [2, 3, 2]
    assert f"    {run.name}  point.json: cannot be read" in terminal_table(answer(read_runs(sweep)))
    assert len(answer(results, Query(runs=True)).rows) == 8


def test_a_point_that_nobody_has_begun_waits_and_what_nobody_works_on_is_interrupted(tmp_path):
    add(tmp_path, {"seed": 0})
    add(tmp_path, {"seed": 1}, state="running", finished=None)
    sweep_yaml(tmp_path, "seed")
    (tmp_path / "notes").mkdir()  # no run
    assert [run.state for run in read_runs(tmp_path).runs] == ["waiting", "interrupted"]


def test_a_key_that_was_swept_only_later_has_the_value_that_older_runs_had(tmp_path):
    add(tmp_path, {"kl.weight": 1.0}, {"test/elbo": -1.0})
    config = configuration(**{"kl.weight": 1.0, "trainer.precision": "bf16-mixed"})
    config["model"] = {"_target_": "lehr.models.Conv", "latent_dim": 20}
    new = {"kl.weight": 1.0, "trainer.precision": "bf16-mixed", "model": "conv"}
    add(tmp_path, new, {"test/elbo": -2.0}, config=config)
    sweep_yaml(tmp_path, *new)
    values = {run.metrics["test/elbo"]: list(run.swept.values()) for run in read_runs(tmp_path).runs}
    assert values == {-1.0: [1.0, "32-true", "mlp"], -2.0: [1.0, "bf16-mixed", "conv"]}


def test_without_point_json_the_configuration_says_it(sweep):
    before = read_runs(sweep)
    for path in sweep.glob("*/point.json"):
        path.unlink()
    assert read_runs(sweep) == before


def test_of_plain_runs_what_differs_was_swept(tmp_path):
    for i, (weight, seed) in enumerate([(1.0, 0), (1, 1), (2.0, 0), (2.0, 1)]):
        config = configuration(**{"kl.weight": weight, "seed": seed, "trainer.accelerator": "cpu" if i else "auto"})
        config["dir"] = f"run{i}"
        add(tmp_path, {}, {"test/elbo": -weight - seed}, point=False, name=f"run{i}", config=config)
    results = read_runs(tmp_path)
    assert results.keys == ["kl.weight", "seed"]  # data.seed is the seed; where and on what it ran is not part of it
    assert [(row.values, row.cells[0].mean) for row in answer(results, Query(["test/elbo"])).rows] == [
        ((1.0,), -1.5),
        ((2.0,), -2.5),
    ]


def test_of_plain_runs_with_other_components_the_component_stands_for_its_own_keys(tmp_path):
    add(tmp_path, {}, {"test/elbo": -1.0}, point=False, name="a", config=configuration())
    other = configuration(**{"model.latent_dim": 5})
    other["model"] = {"_target_": "lehr.models.Conv", "latent_dim": 5, "channels": [8, 16]}
    add(tmp_path, {}, {"test/elbo": -2.0}, point=False, name="b", config=other)
    results = read_runs(tmp_path)
    assert results.keys == ["model", "model.latent_dim"]
    assert [list(run.swept.values()) for run in results.runs] == [["lehr.models.Conv", 5], ["lehr.models.MLP", 20]]


def test_a_directory_without_runs_is_refused_in_a_line(tmp_path, finished_run):
    with pytest.raises(CheckpointError, match=r"nowhere: there is no such directory$"):
        read_runs(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"holds no runs$"):
        read_runs(tmp_path)
    with pytest.raises(CheckpointError, match=r"is a single run; say the directory that it lies in$"):
        read_runs(finished_run)
    (tmp_path / "sweep.yaml").write_text("keys: [")
    with pytest.raises(ConfigError, match=r"sweep\.yaml: cannot be read"):
        read_runs(tmp_path)


def test_numbers_sort_as_numbers_also_within_strings():
    values = [None, False, True, -1, 2, 10, 10.5, "", "a2", "a10", "b", [2, 10], [10], {"a": 1}]
    backwards = values[::-1]
    assert sorted(backwards, key=natural) == values
    assert natural(1) == natural(1.0) != natural(True)
    assert natural("a01") != natural("a1")


# ---- results.csv


def test_results_csv_to_the_byte(tmp_path):
    folder = tmp_path / "sweep"
    add(folder, {"kl.weight": 10.0, "model": "größe", "seed": 0}, {"test/elbo": -0.1 - 0.2, "time/step_ms": 3.0})
    add(folder, {"kl.weight": 2, "model": "a,b", "seed": 10}, {"test/elbo": -1e-05, "a/n": 3})
    add(folder, {"kl.weight": 2, "model": "a,b", "seed": 9}, state="failed", error="out of memory")
    add(folder, {"kl.weight": 2, "model": None, "seed": 0}, {"test/elbo": math.nan}, {"collapse/saturated": False})
    sweep_yaml(folder, "kl.weight", "seed", "model")
    ids = {run.swept["seed"] + run.swept["kl.weight"]: (run.name, run.id) for run in read_runs(folder).runs}
    rows = [
        "run,id,state,kl.weight,model,seed,a/n,collapse/saturated,test/elbo",
        f'"{ids[2][0]}",{ids[2][1]},done,2,null,0,,false,',
        f'"{ids[11][0]}",{ids[11][1]},failed,2,"a,b",9,,,',
        f'"{ids[12][0]}",{ids[12][1]},done,2,"a,b",10,3,,-1e-05',
        f'"{ids[10][0]}",{ids[10][1]},done,10.0,größe,0,,,-0.30000000000000004',
    ]
    assert write_results(read_runs(folder)) == folder / "results.csv"
    assert (folder / "results.csv").read_bytes() == "".join(f"{row}\n" for row in rows).encode()


def test_results_csv_does_not_depend_on_when_where_and_how_often(sweep):
    before = write_results(read_runs(sweep)).read_bytes()
    for i, path in enumerate(sweep.glob("*/status.json")):
        status = json.loads(path.read_text())
        later = {"host": f"node{i}", "started": None, "finished": "2027-01-01T00:00:00", "seconds": {"total": float(i)}}
        path.write_text(json.dumps({**status, **later, "pid": i}))
    for i, path in enumerate(sweep.glob("*/metrics.json")):
        path.write_text(json.dumps({**json.loads(path.read_text()), "time/step_ms": float(i)}))
    (sweep / "results.csv").write_text("what an earlier one held\n" * 100)
    assert write_results(read_runs(sweep)).read_bytes() == before
    assert not list(sweep.glob(".*"))


# ---- pandas


def test_load_sweep_has_typed_columns(sweep):
    frame = lehr.load_sweep(sweep)
    assert list(frame.columns) == [
        "run", "id", "state", "kl.weight", "seed", "collapse/active_units", "test/elbo", "test/rate", "time/step_ms",
        "seconds/training", "seconds/total", "host", "started", "finished", "error",
    ]  # fmt: skip
    assert list(frame.index) == list(range(8))
    types = {name: str(frame[name].dtype) for name in frame}
    assert types["kl.weight"] == types["test/elbo"] == types["seconds/total"] == "float64"
    assert types["seed"] == "int64"
    assert types["collapse/active_units"] == "Int64"  # missing where a run is not done
    assert types["state"] == "category"
    assert types["error"] == types["run"] == "string"
    assert types["started"].startswith("datetime64[")
    assert types["started"].endswith(", UTC]")
    assert frame["started"][0] == pd.Timestamp("2026-01-01", tz="UTC")
    assert frame["error"].notna().sum() == 2
    group = frame[frame.state == "done"].groupby("kl.weight")["test/elbo"]
    for row in answer(read_runs(sweep), Query(["test/elbo"])).rows:
        (weight,), (cell,) = row.values, row.cells
        assert group.mean()[weight] == pytest.approx(cell.mean, rel=1e-15)
        std = math.nan if cell.std is None else cell.std
        assert group.std()[weight] == pytest.approx(std, rel=1e-13, nan_ok=True)


def test_values_of_all_kinds_have_a_column(tmp_path):
    kinds: dict[str, list[Any]] = {
        "trainer.gradient_clip_val": [None, 1.5, 2],
        "kl.warmup": [0, 5, None],
        "data.flip": [True, False, True],
        "model.hidden": [[16], [32, 32], []],
        "kl.weight": [0.1, "learned", 1],
    }
    for i in range(3):
        add(tmp_path, {"seed": i, **{key: values[i] for key, values in kinds.items()}}, {"test/elbo": -1.0})
    sweep_yaml(tmp_path, "seed", *kinds)
    frame = lehr.load_sweep(tmp_path).sort_values("seed")
    types = [str(frame[key].dtype) for key in kinds]
    assert types == ["float64", "Int64", "bool", "string", "string"]
    assert list(frame["model.hidden"]) == ["[16]", "[32, 32]", "[]"]
    assert list(frame["kl.weight"]) == ["0.1", "learned", "1"]
    assert list(frame["kl.warmup"])[:2] == [0, 5]
    assert frame["kl.warmup"].isna()[frame.seed == 2].all()


def test_load_sweep_can_have_the_whole_configuration(sweep):
    frame = lehr.load_sweep(sweep, config=True)
    assert list(frame["config/kl.weight"]) == list(frame["kl.weight"])
    assert set(frame["config/model._target_"]) == {"lehr.models.MLP"}
    assert set(frame["config/trainer.gradient_clip_val"].isna()) == {True}
    assert not any(name.startswith("config/") for name in lehr.load_sweep(sweep))


# ---- a real run


def test_the_columns_of_a_finished_run(finished_run, tmp_path):
    folder = tmp_path / "sweep"
    shutil.copytree(finished_run, folder / "a")
    config = yaml.safe_load((folder / "a" / "config.yaml").read_text())
    Point(config, {"kl.warmup": 1, "seed": 0}).write(folder / "a")
    sweep_yaml(folder, "kl.warmup", "seed")
    metrics = json.loads((folder / "a" / "metrics.json").read_text())
    frame = lehr.load_sweep(folder)
    assert frame.loc[0, list(metrics)].to_dict() == metrics
    assert frame["test/elbo"].dtype == "float64"
    assert frame["collapse/mi_saturated"].dtype == "bool"
    assert frame["likelihood/iwae_samples"].dtype == "int64"
    assert frame["seconds/total"][0] > 0
    text = terminal_table(answer(read_runs(folder)))
    for name in ("elbo", "rate", "distortion", "active_units", "iwae"):
        assert f" {name}" in text
    assert f"{metrics['test/elbo']:.2f}" in text
    header, row = csv.reader(write_results(read_runs(folder)).read_text(encoding="utf-8").splitlines())
    assert not any(name.startswith(("time/", "memory/", "seconds/")) for name in header)
    assert float(row[header.index("test/elbo")]) == metrics["test/elbo"]


def test_an_evaluation_of_another_model_than_the_run_has_come_to_does_not_count(tmp_path):
    evaluation = {"likelihood/elbo": -2.0}
    for seed, model in enumerate(("ab", "cd", None)):
        add(tmp_path, {"seed": seed}, {"test/elbo": -1.0}, {**evaluation, "model": model}, model="ab")
    assert [run.metrics for run in read_runs(tmp_path).runs] == [
        {"test/elbo": -1.0, "likelihood/elbo": -2.0},
        {"test/elbo": -1.0},
        {"test/elbo": -1.0, "likelihood/elbo": -2.0},  # by an earlier version
    ]


def test_a_run_that_was_copied_or_renamed_counts_once(tmp_path):
    sweep_yaml(tmp_path, "kl.weight", "seed")
    runs = [add(tmp_path, {"kl.weight": 1.0, "seed": seed}, {"test/elbo": float(seed)}) for seed in range(3)]
    before = read_runs(tmp_path)
    shutil.copytree(runs[0], tmp_path / "backup")
    shutil.copytree(runs[1], tmp_path / f"a-{runs[1].name}")  # ends in the same digits
    found = read_runs(tmp_path)
    assert found.runs == before.runs
    assert found.copies == {"backup": runs[0].name, f"a-{runs[1].name}": runs[1].name}
    table = terminal_table(answer(found))
    assert "3 runs: 3 done" in table
    assert f"the same run once more, and in no number here: a-{runs[1].name} (of {runs[1].name}), backup (of" in table
    assert len(write_results(found).read_text().splitlines()) == 1 + 3
    runs[2].rename(tmp_path / "renamed")  # counts as long as it is the only one
    found = read_runs(tmp_path)
    assert [run.name for run in found.runs] == [runs[0].name, runs[1].name, "renamed"]


def test_two_trainings_of_one_configuration_are_one_run(tmp_path):
    add(tmp_path, {"seed": 0}, name="10-00-00", point=False, state="failed")
    for name, seed in (("10-05-00", 0), ("10-10-00", 0), ("10-15-00", 1)):
        add(tmp_path, {"seed": seed}, {"test/elbo": -1.0}, name=name, point=False)
    found = read_runs(tmp_path)
    assert [(run.name, run.state) for run in found.runs] == [("10-05-00", "done"), ("10-15-00", "done")]
    assert found.copies == {"10-00-00": "10-05-00", "10-10-00": "10-05-00"}


def test_runs_of_which_nothing_can_be_read_are_each_shown(tmp_path):
    for seed in range(2):
        path = add(tmp_path, {"seed": seed}, {"test/elbo": -1.0})
        for name in ("point.json", "config.yaml"):
            (path / name).write_text("{")
    assert [run.state for run in read_runs(tmp_path).runs] == ["damaged"] * 2
