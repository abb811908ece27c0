"""A search over fake runs: what is asked for, what is told, and what a restart or a second process makes of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import pytest
from searches import DEFAULTS, WEIGHT, compose, end, quality, start, states, train, trials

from lehr.errors import ConfigError
from lehr.run.claim import Claim
from lehr.sweeps.point import Point
from lehr.sweeps.study import JOURNAL

pytest.importorskip("optuna")
from optuna.trial import TrialState

CHOICES = {"weight": "1,2,3", "model": "mlp,conv"}
INTERVAL = {"weight": "interval(0,4)", "dim": "int(interval(1,9))"}


def test_n_trials_are_done_in_all_starts_together_and_may_grow(tmp_path):
    assert len(train(start(tmp_path, WEIGHT, n_trials=7), 3)) == 3
    assert len(train(start(tmp_path, WEIGHT, n_trials=7))) == 4
    assert train(start(tmp_path, WEIGHT, n_trials=7)) == []
    assert len(train(start(tmp_path, WEIGHT, n_trials=9))) == 2
    assert states(tmp_path) == ["COMPLETE"] * 9
    for trial in trials(tmp_path):
        assert trial.value == pytest.approx(quality(trial.params), abs=1e-4)


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsga2"])
def test_a_restart_asks_for_what_an_undisturbed_search_does(sampler, tmp_path):
    undisturbed = train(start(tmp_path / "whole", INTERVAL, n_trials=16, sampler=sampler))
    for n in (2, 1, 7, 3):
        jobs = start(tmp_path / "parts", INTERVAL, n_trials=16, sampler=sampler)
        train(jobs, n)
        next(jobs.jobs())  # handed out, and never heard of again
    train(start(tmp_path / "parts", INTERVAL, n_trials=16, sampler=sampler))
    parts = [trial.params for trial in trials(tmp_path / "parts")]
    assert parts == [trial.params for trial in trials(tmp_path / "whole")]
    assert parts == [pytest.approx(values, rel=1e-5) for values in undisturbed]
    assert len({json.dumps(values) for values in undisturbed}) == 16
    other = train(start(tmp_path / "other", INTERVAL, n_trials=16, sampler=sampler, seed=1))
    assert not any(values in undisturbed for values in other)


def test_a_trial_that_was_under_way_is_gone_on_with_before_new_ones(tmp_path):
    search = start(tmp_path, WEIGHT, n_trials=5)
    left = list(islice(search.jobs(), 2))
    search.finished(left[1])  # by a process that was told to stop: nothing is known of it
    again = start(tmp_path, WEIGHT, n_trials=5)
    jobs = again.jobs()
    assert [next(jobs), next(jobs)] == left
    assert next(jobs) not in left
    assert len(trials(tmp_path)) == 3


def test_a_run_that_stops_twice_is_left_to_the_next_start(tmp_path):
    search = start(tmp_path, WEIGHT, n_trials=2)
    times: dict[Path, int] = {}
    for run_dir in search.jobs():
        times[run_dir] = times.get(run_dir, 0) + 1
        end(run_dir, **({"state": "interrupted"} if len(times) == 1 else {"val__elbo": -1.0}))
        search.finished(run_dir)
    assert list(times.values()) == [2, 1]
    assert search.summary().startswith("2 trials: 1 completed, 1 unfinished\n")
    assert next(start(tmp_path, WEIGHT, n_trials=2).jobs()) == next(iter(times))


def test_of_two_processes_that_ask_for_the_last_trial_one_gets_it(tmp_path):
    first, second = (start(tmp_path, WEIGHT, n_trials=1) for _ in range(2))
    early, late = first._study.ask(), second._study.ask()
    assert second._begin(late) is None
    assert first._begin(early) is not None
    assert states(tmp_path) == ["RUNNING", "FAIL"]
    assert second.summary() == "1 trial: 1 unfinished"


def test_a_run_that_ended_before_its_end_was_told_is_told_and_not_repeated(tmp_path):
    done, failed, *_ = islice(start(tmp_path, WEIGHT, n_trials=4).jobs(), 3)
    end(done, val__elbo=-1.5)
    end(failed, "failed")
    assert len(train(start(tmp_path, WEIGHT, n_trials=4))) == 2
    assert states(tmp_path) == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert trials(tmp_path)[0].value == -1.5


def test_a_search_that_was_killed_while_it_asked_gets_the_same_trial(tmp_path):
    undisturbed = train(start(tmp_path / "whole", INTERVAL, n_trials=13))
    search = start(tmp_path / "parts", INTERVAL, n_trials=13)
    train(search, 12)
    trial = search._study.ask()
    trial.suggest_float("weight", 0, 4)  # and not dim, and no run directory
    assert train(start(tmp_path / "parts", INTERVAL, n_trials=13)) == undisturbed[12:]


def test_half_a_line_at_the_end_of_the_journal_is_cut_off(tmp_path):
    train(start(tmp_path, WEIGHT, n_trials=2))
    with (tmp_path / JOURNAL).open("a") as file:
        file.write('{"op_code":6,"worker_id":"a')
    assert len(train(start(tmp_path, WEIGHT, n_trials=4))) == 2
    assert states(tmp_path) == ["COMPLETE"] * 4


def test_each_point_is_told_the_study_that_it_belongs_to(tmp_path):
    first, second = islice(start(tmp_path, WEIGHT).jobs(), 2)
    assert Point.read(second).trial == {"study": "search", "number": 1, "id": 1, "journal": "optuna.journal"}
    assert trials(tmp_path)[0].user_attrs["run"] == first.name


def test_failed_and_pruned_runs_are_told_as_such(tmp_path):
    search = start(tmp_path, WEIGHT, n_trials=4)
    for run_dir, state in zip(search.jobs(), ("done", "failed", "pruned", "done"), strict=True):
        end(run_dir, state, **({"val__elbo": -2.0} if state == "done" else {}))
        search.finished(run_dir)
    assert states(tmp_path) == ["COMPLETE", "FAIL", "PRUNED", "COMPLETE"]
    assert search.summary().splitlines()[0] == "4 trials: 2 completed, 1 pruned, 1 failed"
    assert (search.wanted, search.ended) == (4, {"done": 2, "pruned": 1, "failed": 1})


def test_an_impossible_combination_fails_with_its_reason_and_the_search_goes_on(tmp_path):
    def picky(typed):
        if float(typed["weight"]) > 2:
            raise ConfigError("kl.weight: too heavy")
        return compose(typed)

    search = start(tmp_path, WEIGHT, picky, n_trials=12)
    trained = train(search)
    assert all(swept["weight"] <= 2 for swept in trained)
    assert 0 < len(trained) < 12
    assert states(tmp_path).count("FAIL") == 12 - len(trained)
    assert "failed: kl.weight: too heavy" in search.summary()


def test_a_finite_space_is_searched_once_and_then_the_search_stops(tmp_path):
    search = start(tmp_path, CHOICES, n_trials=20)
    trained = train(search)
    assert sorted((swept["weight"], swept["model"]) for swept in trained) == [
        (weight, model) for weight in (1, 2, 3) for model in ("conv", "mlp")
    ]
    assert search.wanted == 6
    assert "all 6 combinations are done, fewer than n_trials=20" in search.notes[0]
    told = {}
    for trial in trials(tmp_path):
        assert told.setdefault(str(trial.params), trial.value) == trial.value  # repeats with the value of the first
    assert search.summary().startswith("6 trials: 6 completed\nbest: val/elbo 0, weight=1")


def test_a_search_that_finds_nothing_new_stops(tmp_path):
    search = start(tmp_path, {"weight": "1,1.0,1.00"}, n_trials=3)
    assert train(search) == [{"weight": 1}]  # three texts, one run
    assert "hardly anything new" in search.notes[0]


def test_a_repeat_of_a_pruned_trial_is_pruned_with_the_same_reports(tmp_path):
    search = start(tmp_path, {"dim": "range(1,6)"}, n_trials=9)
    for run_dir in search.jobs():
        search._handed[run_dir.name].report(-Point.read(run_dir).swept["dim"], 100)
        end(run_dir, "pruned")
        search.finished(run_dir)
    assert len(trials(tmp_path)) > 5
    for trial in trials(tmp_path):
        assert (trial.state, trial.intermediate_values) == (TrialState.PRUNED, {100: -trial.params["dim"]})


def test_a_point_that_was_done_before_the_search_is_not_trained_again(tmp_path):
    point = compose({"weight": "2"})
    point.write(tmp_path / point.name)
    end(tmp_path / point.name, val__elbo=-0.25)
    assert train(start(tmp_path, {"weight": "1,2"}, n_trials=2)) == [{"weight": 1}]
    assert {trial.params["weight"]: trial.value for trial in trials(tmp_path)} == {"1": 0, "2": -0.25}


def test_what_another_process_is_at_is_left_to_it_until_it_is_gone(tmp_path, monkeypatch):
    (held,) = islice(start(tmp_path, WEIGHT, n_trials=2).jobs(), 1)
    other = Claim.take(held)
    assert other is not None
    search = start(tmp_path, WEIGHT, n_trials=2)
    jobs = search.jobs()
    own = next(jobs)
    assert own not in (held, None)
    end(own, val__elbo=-1.0)
    search.finished(own)
    assert next(jobs) is None
    assert next(jobs) is None
    other.release()
    assert next(jobs) == held
    end(held, val__elbo=-2.0)
    search.finished(held)
    assert next(jobs, "over") == "over"
    assert states(tmp_path) == ["COMPLETE"] * 2


def test_a_run_that_is_still_being_evaluated_elsewhere_is_waited_for(tmp_path):
    goal = {"metric": "likelihood/elbo", "n_trials": 1}
    (held,) = islice(start(tmp_path, WEIGHT, **goal).jobs(), 1)
    with Claim.take(held):  # its training is done
        end(held, val__elbo=-3.0)
        search = start(tmp_path, WEIGHT, **goal)
        jobs = search.jobs()
        assert next(jobs) is None
        (held / "evaluation.json").write_text('{"likelihood/elbo": -2.5}')
        assert next(jobs, "over") == "over"
    assert (trials(tmp_path)[0].value, search.notes) == (-2.5, [])


def search_to_the_end(folder: Path, seconds: float) -> None:
    """As a process of its own does, whose runs take some time and are claimed."""
    search = start(folder, {"weight": "interval(0,4)"}, n_trials=16, sampler="random")
    for run_dir in search.jobs():
        if run_dir is None:
            time.sleep(0.02)
            continue
        if claim := Claim.take(run_dir):
            with claim:
                if not (run_dir / "status.json").exists():
                    with (run_dir / "trained").open("a") as file:
                        file.write("once\n")
                    time.sleep(seconds)
                    end(run_dir, val__elbo=quality(Point.read(run_dir).swept))
        search.finished(run_dir)


def test_two_processes_share_the_trials_of_one_search(tmp_path):
    processes = [subprocess.Popen([sys.executable, __file__, tmp_path, seconds]) for seconds in ("0.02", "0.03")]
    assert [process.wait(60) for process in processes] == [0, 0]
    counted = [trial for trial in trials(tmp_path) if "left_out" not in trial.user_attrs]
    assert [trial.state for trial in counted] == [TrialState.COMPLETE] * 16
    assert [path.read_text() for path in tmp_path.glob("*/trained")] == ["once\n"] * 16


COORDINATOR = """
import sys
from pathlib import Path
from lehr.sweeps.point import Point
from lehr.sweeps.search import Search
from lehr.sweeps.space import space
from lehr.sweeps.study import Settings

folder = Path(sys.argv[1])

def prepare(point):
    point.write(folder / point.name)
    return folder / point.name

def compose(typed):
    return Point({{**typed, "evaluate": "none"}}, dict(typed))

settings = Settings.model_validate({values})
search = Search(folder, settings, space({{"a": "interval(0,1)"}}), compose, prepare)
next(search.jobs())
search.summary()
print([name for name in ("torch", "lightning", "pandas") if name in sys.modules])
"""


def test_a_search_says_nothing_and_does_not_import_torch(tmp_path):
    command = [sys.executable, "-W", "error", "-c", COORDINATOR.format(values=repr(DEFAULTS)), tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")


if __name__ == "__main__":
    search_to_the_end(Path(sys.argv[1]), float(sys.argv[2]))
