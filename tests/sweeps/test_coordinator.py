"""A sweep that is started, and started again: what is handed out, to whom, and how often; with launchers of paper."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections import Counter
from itertools import pairwise

import pytest

from lehr.errors import DiskFull, Interrupted
from lehr.files import write_json
from lehr.run.claim import Claim
from lehr.run.directory import RunDirectory
from lehr.sweeps.coordinator import run_grid, run_search
from lehr.sweeps.directory import SweepDirectory, state_of
from lehr.sweeps.point import Point

FORK = multiprocessing.get_context("fork")


def point(seed):
    return Point({"seed": seed, "evaluate": "none"}, {"seed": seed})


POINTS = [point(seed) for seed in range(5)]


@pytest.fixture
def directory(tmp_path):
    return SweepDirectory(tmp_path / "sweep")


def mark(directory, seed, state):
    """As an earlier start, or another process, has left the point."""
    end(directory.prepare(point(seed)), state)


def end(run_dir, state):
    write_json(RunDirectory(run_dir).status, {"state": state, "error": "no" if state == "failed" else None})


def start(directory, points, launcher, retry=False):
    """As `lehr train -m` does."""
    run_grid(directory, points, [directory.state(one) for one in points], launcher, retry)


def seed_of(run_dir):
    return Point.read(run_dir).swept["seed"]


class Launcher:
    """Trains `width` points at once, which end in the order in which they were begun, as `outcome` says.

    Args:
        outcome: seed -> the state in which it ends, or what does with its directory what is to be done.
    """

    def __init__(self, width=1, **outcome):
        self.width, self.outcome = width, outcome
        self.begun, self.waited = [], 0
        self.while_waiting = None

    def launch(self, jobs, finished):
        running = []
        while True:
            job = next(jobs, "over") if len(running) < self.width else None
            if isinstance(job, str):
                break
            if job is not None:
                assert job not in running
                assert (job / "point.json").exists()
                self.begun.append(seed_of(job))
                running.append(job)
            elif running:
                self._end(running.pop(0), finished)
            else:
                self.waited += 1
                assert self.waited < 100, "it waits for ever"
                if self.while_waiting:
                    self.while_waiting()
        for job in running:
            self._end(job, finished)

    def _end(self, job, finished):
        outcome = self.outcome.get(f"seed{seed_of(job)}", "done")
        if callable(outcome):
            outcome(job)
        else:
            end(job, outcome)
        finished(job)


def states(directory):
    return [state_of(directory.run_dir(one)) for one in POINTS]


def test_what_is_left_to_do_is_handed_out_in_order_and_the_rest_is_skipped(directory):
    for seed, state in enumerate(["done", "failed", "interrupted", "running"]):  # the last one was killed
        mark(directory, seed, state)
    launcher = Launcher()
    start(directory, POINTS, launcher)
    assert launcher.begun == [2, 3, 4]
    assert states(directory) == ["done", "failed", "done", "done", "done"]


def test_what_failed_is_tried_again_where_that_was_asked_for(directory):
    for seed, state in enumerate(["done", "failed", "failed"]):
        mark(directory, seed, state)
    launcher = Launcher(seed2="failed")
    start(directory, POINTS, launcher, retry=True)
    assert launcher.begun == [1, 2, 3, 4]  # and what fails in this start is not tried once more in it
    assert states(directory) == ["done", "done", "failed", "done", "done"]


def test_a_sweep_with_nothing_left_to_do_starts_nothing(directory):
    for seed in range(5):
        mark(directory, seed, "done" if seed else "failed")
    launcher = Launcher()
    launcher.launch = None
    start(directory, POINTS, launcher)


def test_points_are_prepared_when_there_is_room_for_them_and_not_before(directory):
    prepared = []
    launcher = Launcher(width=2, **{f"seed{seed}": lambda job: look(job) for seed in range(5)})

    def look(job):
        prepared.append(len(directory.run_dirs()))
        end(job, "done")

    start(directory, POINTS, launcher)
    assert prepared == [2, 3, 4, 5, 5]


def test_a_point_that_is_interrupted_again_and_again_is_tried_twice_and_does_not_hold_up_the_rest(directory):
    launcher = Launcher(seed1="interrupted", seed3=lambda job: None)  # one that not even begins
    start(directory, POINTS, launcher)
    assert Counter(launcher.begun) == {0: 1, 1: 2, 2: 1, 3: 2, 4: 1}
    assert states(directory) == ["done", "interrupted", "done", "waiting", "done"]
    again = Launcher()
    start(directory, POINTS, again)
    assert again.begun == [1, 3]


def hold(run_dir, ready):
    claim = Claim.take(run_dir)
    ready.put(claim is not None)
    time.sleep(100)


@pytest.fixture
def another_process(directory):
    """Another process that has begun the point with seed 1."""
    run_dir = directory.prepare(point(1))
    ready = FORK.Queue()
    process = FORK.Process(target=hold, args=(run_dir, ready))
    process.start()
    assert ready.get(timeout=10)
    end(run_dir, "running")
    yield process
    process.kill()
    process.join()


def test_what_another_process_is_at_is_left_to_it(directory, another_process):
    launcher = Launcher()

    def the_other_one_ends():
        end(directory.run_dir(point(1)), "done")

    launcher.while_waiting = the_other_one_ends
    start(directory, POINTS, launcher)
    assert launcher.begun == [0, 2, 3, 4]
    assert launcher.waited <= 2


def test_what_another_process_was_at_when_it_was_killed_is_taken_over(directory, another_process):
    launcher = Launcher()

    def the_other_one_dies():
        another_process.kill()
        another_process.join()

    launcher.while_waiting = the_other_one_dies
    start(directory, POINTS, launcher)
    assert launcher.begun == [0, 2, 3, 4, 1]
    assert states(directory) == ["done"] * 5


def test_a_point_that_another_process_claims_first_comes_back_without_having_been_trained(directory):
    """It was free when it was handed out, and was not when its process got to it."""
    claims = []
    launcher = Launcher(seed2=lambda job: claims.append(Claim.take(job)))

    def the_other_one_ends():
        end(directory.run_dir(point(2)), "done")
        claims[0].release()

    launcher.while_waiting = the_other_one_ends
    start(directory, POINTS, launcher)
    assert launcher.begun == [0, 1, 2, 3, 4]
    assert states(directory) == ["done"] * 5


def test_what_another_process_has_done_meanwhile_is_not_done_again(directory):
    def the_other_one_does_two_more(job):
        end(job, "done")
        mark(directory, 3, "done")
        mark(directory, 4, "done")

    launcher = Launcher(seed0=the_other_one_does_two_more)
    start(directory, POINTS, launcher)
    assert launcher.begun == [0, 1, 2]


def test_a_full_disk_stops_the_sweep_and_nothing_is_said_to_have_failed(directory):
    def no_space(job):
        end(job, "interrupted")
        raise DiskFull(f"{job}: there is no space left on the disk")

    launcher = Launcher(seed2=no_space)
    with pytest.raises(DiskFull):
        start(directory, POINTS, launcher)
    assert states(directory) == ["done", "done", "interrupted", "waiting", "waiting"]
    again = Launcher()
    start(directory, POINTS, again)
    assert again.begun == [2, 3, 4]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_sweep_and_its_handlers_are_as_they_were(directory, signum):
    before = [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)]
    launcher = Launcher(seed2=lambda job: os.kill(os.getpid(), signum))
    with pytest.raises(Interrupted) as caught:
        start(directory, POINTS, launcher)
    assert caught.value.exit_code == 128 + signum
    assert launcher.begun == [0, 1, 2]
    assert [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)] == before


def test_ends_are_announced_as_they_come(directory, capfd):
    mark(directory, 0, "done")
    start(directory, POINTS, Launcher(seed2="failed", seed3="interrupted"))
    lines = capfd.readouterr().err.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["[2/5]", "done", point(1).name],
        ["[3/5]", "failed", point(2).name],
        ["[4/5]", "done", point(4).name],
    ]
    assert "  no  " in lines[1]


class Search:
    """Asks for the point with the next seed once the one before has ended."""

    def __init__(self, directory, wanted):
        self.wanted, self.ended = wanted, Counter()
        self._directory, self._told = directory, []

    def jobs(self):
        for seed in range(self.wanted):
            while len(self._told) < seed:
                yield None
            yield self._directory.prepare(point(seed))

    def finished(self, run_dir):
        self._told.append((seed_of(run_dir), state_of(run_dir)))


def test_a_search_is_told_of_each_end_before_it_is_asked_for_more(directory):
    search, launcher = Search(directory, 4), Launcher(width=2, seed1="failed", seed2="pruned")
    run_search(search, launcher)
    assert launcher.begun == [0, 1, 2, 3]
    assert search._told == [(0, "done"), (1, "failed"), (2, "pruned"), (3, "done")]


def test_a_large_sweep_is_gone_through_once(directory, monkeypatch):
    """Nothing that is done for each point looks at all the others."""
    listed = []
    monkeypatch.setattr(os, "listdir", _counted(os.listdir, listed))
    points = [point(seed) for seed in range(300)]
    seconds = []
    for n in (75, 300):
        listed.clear()
        start(directory, points[:n], Launcher())
        seconds.append(len(listed) / n)
    assert all(b < 2 * a + 5 for a, b in pairwise(seconds))


def _counted(function, calls):
    def counted(*args):
        calls.append(args)
        return function(*args)

    return counted


def test_the_record_of_what_was_wrong_is_kept_when_the_sweep_is_started_again(directory):
    start(directory, POINTS, Launcher(seed2="failed"))
    before = json.loads((directory.run_dir(point(2)) / "status.json").read_text())
    start(directory, POINTS, Launcher())
    assert json.loads((directory.run_dir(point(2)) / "status.json").read_text()) == before
