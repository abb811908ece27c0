"""What is searched over and for: the space as it was typed, and the study with its objectives and its pruner."""

from __future__ import annotations

import json

import pytest
from searches import DEFAULTS, WEIGHT, end, start, states, train, values_of

from lehr.config.problems import section_problems
from lehr.errors import ConfigError
from lehr.sweeps.point import Point
from lehr.sweeps.space import space
from lehr.sweeps.study import Settings

pytest.importorskip("optuna")
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a,b,c", CategoricalDistribution(["a", "b", "c"])),
        ("choice(a,b)", CategoricalDistribution(["a", "b"])),
        ("0.1,1,null", CategoricalDistribution(["0.1", "1", "null"])),
        ("[32],[64,64]", CategoricalDistribution(["[32]", "[64,64]"])),
        ("'a b','c,d'", CategoricalDistribution(["'a b'", "'c,d'"])),
        ("1,1,2", CategoricalDistribution(["1", "2"])),
        ("5", CategoricalDistribution(["5"])),
        ("range(1,10)", IntDistribution(1, 9)),
        ("range(0,10,step=2)", IntDistribution(0, 8, step=2)),
        ("range(0,9,2)", IntDistribution(0, 8, step=2)),
        ("range(5,0,-2)", IntDistribution(1, 5, step=2)),
        ("range(0,1,0.1)", FloatDistribution(0, 0.9, step=0.1)),
        ("range(0.5,2)", FloatDistribution(0.5, 1.5, step=1)),
        ("range(0.1,0.4,0.1)", FloatDistribution(0.1, 0.3, step=0.1)),
        ("interval(0.1,4)", FloatDistribution(0.1, 4)),
        ("interval(1,4)", FloatDistribution(1, 4)),
        ("int(interval(2,64))", IntDistribution(2, 64)),
        ("tag(log, interval(1e-4,1e-1))", FloatDistribution(1e-4, 1e-1, log=True)),
        ("tag(log, int(interval(1,64)))", IntDistribution(1, 64, log=True)),
    ],
)
def test_what_was_typed_is_what_is_searched_over(text, wanted):
    assert space({"key": text}) == {"key": wanted}


def test_a_range_holds_what_it_holds_in_a_grid():
    from hydra.core.override_parser.overrides_parser import OverridesParser

    for text in ("range(1,10)", "range(0,10,step=3)", "range(5,0,-2)", "range(0,1,0.25)", "range(2)"):
        grid = list(OverridesParser.create().parse_override(f"key={text}").sweep_iterator())
        found = space({"key": text})["key"]
        assert (found.low, found.high, found.high - found.low) == (min(grid), max(grid), found.step * (len(grid) - 1))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tag(log, interval(0,1))", "on a logarithmic scale the bounds must be greater than 0"),
        ("tag(log, int(interval(0,8)))", "on a logarithmic scale the bounds must be greater than 0"),
        ("interval(4,1)", "an interval has a lower bound, then an upper one"),
        ("interval(0,inf)", "an interval has a lower bound, then an upper one"),
        ("range(5,1)", "has no values"),
        ("range(1,5,0)", "has no values"),
        ("glob(*)", "write out the choices, as in key=a,b"),
        ("tag(log, choice(1,2))", "log is for intervals; choices have no order"),
        ("tag(log, range(1,9))", "log is for intervals, as in tag(log, int(interval(1,64)))"),
        ("tag(log2, interval(1,9))", "tag log2 is not known; there is log"),
        ("interval(a,b)", "cannot be read ("),
        ("interval(0.1,4),3", "cannot be read ("),
        ("(", "cannot be read ("),
    ],
)
def test_what_cannot_be_searched_over_is_said_in_a_line(text, problem):
    with pytest.raises(ConfigError) as caught:
        space({"good": "1,2", "key": text})
    (line,) = caught.value.problems
    assert line.startswith(f"key={text}: {problem}")
    assert "\n" not in line


def test_there_must_be_something_to_search_over():
    with pytest.raises(ConfigError, match="nothing to search over"):
        space({})


def test_the_shipped_values_are_allowed_and_wrong_ones_are_said_in_a_line():
    assert section_problems(Settings, DEFAULTS, "hydra.sweeper") == []
    wrong = {"sampler": "grid", "n_trials": 0, "metrics": "val/elbo"}
    problems = section_problems(Settings, {**DEFAULTS, **wrong}, "hydra.sweeper")
    assert sorted(problem.partition(":")[0] for problem in problems) == [
        "hydra.sweeper.metrics", "hydra.sweeper.n_trials=0", "hydra.sweeper.sampler=grid",
    ]  # fmt: skip
    uneven = section_problems(Settings, {**DEFAULTS, "metric": ["val/rate", "val/distortion"]}, "hydra.sweeper")
    assert uneven == ["hydra.sweeper: metric has 2 and direction 1; say one for each"]


def test_several_objectives_give_the_pareto_front(tmp_path):
    results = {1: (5, 80), 2: (3, 90), 3: (5, 85), 4: (9, 70), 5: (3, 95), 6: (10, 70)}
    front = {1, 2, 4}
    goals = {"metric": ["test/rate", "test/distortion"], "direction": ["minimize", "minimize"]}
    search = start(tmp_path, {"dim": "range(1,7)"}, n_trials=20, **goals)
    for run_dir in search.jobs():
        rate, distortion = results[Point.read(run_dir).swept["dim"]]
        end(run_dir, test__rate=rate)
        (run_dir / "evaluation.json").write_text(
            json.dumps({"test/distortion": distortion, "collapse/verdict": "none"})
        )
        search.finished(run_dir)
    lines = search.summary().splitlines()
    assert lines[1] == "Pareto front (minimize test/rate, minimize test/distortion):"
    assert lines[2].split() == ["trial", "test/rate", "test/distortion", "dim"]
    rows = [tuple(map(int, line.split()[1:])) for line in lines[3:6]]
    assert rows == sorted((*results[dim], dim) for dim in front)
    assert [line.split()[0] for line in lines[6:]] == ["note:"] * 2  # no pruning, nothing left to try


@pytest.mark.parametrize(("direction", "best"), [("maximize", 3), ("minimize", 1)])
def test_the_best_trial_is_best_in_the_direction_that_is_wanted(tmp_path, direction, best):
    search = start(tmp_path, {"dim": "1,2,3"}, direction=direction, metric="val/rate", pruner="none")
    for run_dir in search.jobs():
        end(run_dir, val__rate=10 * Point.read(run_dir).swept["dim"])
        search.finished(run_dir)
    assert f"\nbest: val/rate {10 * best}, dim={best} (trial " in search.summary()


def test_a_metric_that_no_run_has_stops_the_search_at_the_first(tmp_path):
    search = start(tmp_path, WEIGHT, metric="val/ebo", pruner="none")
    assert len(train(search)) == 1
    assert "has no val/ebo in metrics.json or evaluation.json; did you mean val/elbo?" in search.notes[0]


NO_STATISTICS = {"callbacks": {"aggregate": None}}
WITHOUT_DENSITY = {"val/distortion": 3.0, "likelihood/note": "a point has no density, and so no likelihood"}


@pytest.mark.parametrize(
    ("metric", "config", "found", "status", "why"),
    [
        ("likelihood/iwae", {"evaluate": "none"}, {}, {}, "evaluate=none does not measure that, evaluate=quick does"),
        (
            "generation/prior/frechet",
            {"evaluate": "quick"},
            {},
            {},
            "evaluate=quick does not measure that, evaluate=full",
        ),
        ("likelihood/elbo", {}, {}, {"evaluation_error": "MemoryError"}, "its evaluation failed (MemoryError)"),
        ("likelihood/elbo", {}, WITHOUT_DENSITY, {}, "a point has no density, and so no likelihood"),
        ("collapse/mi_lower", NO_STATISTICS, {}, {}, "callbacks.aggregate=null measures no statistics of q(z), which"),
        ("posterior/active_units", NO_STATISTICS, {"val/elbo": 1.0}, {}, "callbacks.aggregate=null measures no"),
        ("test/elbo", {}, {"val/elbo": 1.0}, {}, "its data have no test split"),
        ("test/elbo", {}, {}, {}, "its metrics.json is missing or damaged"),
        ("val/elbo", {}, WITHOUT_DENSITY, {}, "its posterior has no density"),
        ("train/loss", {}, {"val/elbo": 1.0}, {}, "what the steps of training come to is in history.jsonl alone"),
    ],
)
def test_a_search_says_why_a_run_has_not_what_it_goes_by(tmp_path, metric, config, found, status, why):
    def compose_point(typed):
        return Point({**values_of(typed), "evaluate": "quick", **config}, values_of(typed))

    search = start(tmp_path, WEIGHT, compose_point, metric=metric, pruner="none")
    for run_dir in search.jobs():
        end(run_dir, **{name.replace("/", "__"): value for name, value in found.items()})
        (run_dir / "status.json").write_text(json.dumps({"state": "done", "evaluated": "full", **status}))
        search.finished(run_dir)
    assert f"has no {metric} in metrics.json or evaluation.json: {why}" in search.notes[0]


def test_a_run_whose_metric_is_not_a_number_counts_as_failed(tmp_path):
    search = start(tmp_path, WEIGHT, n_trials=2)
    for run_dir, value in zip(search.jobs(), (None, -1.0), strict=True):
        end(run_dir, val__elbo=value)
        search.finished(run_dir)
    assert states(tmp_path) == ["FAIL", "COMPLETE"]
    assert "counts as failed: its val/elbo is None" in search.notes[0]


@pytest.mark.parametrize(
    ("typed", "changed", "difference"),
    [
        ({"weight": "interval(0.1,8)"}, {}, "has weight 0.1 to 4, not 0.1 to 8"),
        ({"weight": "tag(log,interval(0.1,4))"}, {}, "has weight 0.1 to 4, not 0.1 to 4, logarithmic"),
        ({"weight": "range(1,4)"}, {}, "has weight 0.1 to 4, not integers 1 to 3"),
        ({**WEIGHT, "dim": "2,4"}, {}, "does not search over dim"),
        ({"dim": "2,4"}, {}, "searches over weight too (0.1 to 4)"),
        (WEIGHT, {"metric": "val/rate", "pruner": "none"}, "has metric val/elbo, not val/rate"),
        (WEIGHT, {"direction": "minimize"}, "has direction maximize, not minimize"),
    ],
)
def test_another_space_or_goal_is_refused_with_the_difference(tmp_path, typed, changed, difference):
    train(start(tmp_path, WEIGHT, n_trials=1))
    with pytest.raises(ConfigError) as caught:
        start(tmp_path, typed, **changed)
    assert caught.value.problems[0].startswith(f"{tmp_path}: the search there {difference}; choose another")
    start(tmp_path, typed, **changed, study_name="other")


@pytest.mark.parametrize(
    ("values", "kept", "reason"),
    [
        ({}, "median", None),
        ({"metric": "likelihood/elbo", "pruner": "hyperband"}, "hyperband", None),
        ({"pruner": "none", "metric": "val/rate"}, "none", None),
        ({"metric": "val/rate", "direction": "minimize"}, "none", "which run is behind where val/rate is to minimize"),
        ({"metric": ["val/elbo", "val/rate"], "direction": ["maximize", "minimize"]}, "none", "several objectives"),
    ],
)
def test_runs_are_pruned_only_where_val_elbo_says_which_are_behind(tmp_path, values, kept, reason):
    search = start(tmp_path, WEIGHT, **values)
    assert search._study.user_attrs["search"]["pruner"] == kept
    assert (reason in search.notes[0]) if reason else (search.notes == [])
