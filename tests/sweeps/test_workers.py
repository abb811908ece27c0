"""How points are divided between processes that train them in step. The processes here are threads."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from itertools import islice
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace

import pytest

from lehr.errors import DiskFull, Interrupted, LehrError
from lehr.sweeps import processes, sizes, waiting, workers
from lehr.sweeps.sizes import Sizes
from lehr.sweeps.slots import Slot
from lehr.sweeps.waiting import Plan, Waiting
from lehr.sweeps.workers import Workers


class Crash(Exception):
    """The process is gone."""


class Thread:
    """What `processes.start` gives, in this process."""

    def __init__(self, work):
        link = Connection(os.dup(work.args[0].fileno()))  # the other one is closed by who has started this
        self.exitcode = None
        self._thread = threading.Thread(target=self._run, args=(work.func, link, *work.args[1:]), daemon=True)
        self._thread.start()
        self.join = self._thread.join

    def ended(self):
        self.join(10)
        assert not self._thread.is_alive(), "waits for ever"

    def _run(self, work, link, train):
        try:
            work(link, train)
            self.exitcode = 0
        except Crash:
            self.exitcode = 1
        link.close()


class Machine:
    """Notes what its processes train.

    Attributes:
        trained: of each process that was started, the names of its points.
        rooms: of each the number of its lanes.
    """

    def __init__(self, crash_at=""):
        self.trained: list[list[str]] = []
        self.rooms: list[int] = []
        self.ended: list[str] = []
        self.steps: list[tuple[int, int, int]] = []
        self._crash_at = crash_at

    def train(self, jobs, finished, stepped, room):
        mine: list[str] = []
        self.trained.append(mine)
        self.rooms.append(room)
        at: list[Path] = []
        for job in jobs:
            at += [] if job is None else [job]
            if job is not None and len(at) < room:
                continue
            if any(one.name == self._crash_at for one in at):
                raise Crash
            stepped(len(at), len(at), 10)
            for one in at:
                mine.append(one.name)
                finished(one)
            at = []

    def launch(self, names, slots, lanes=64, at_once=None):
        found = Waiting((Path(name) for name in names.split()), at_once, lambda plan: None)
        found.pull()

        def ended(run_dir):
            found.ended()
            self.ended.append(run_dir.name)

        places = [Slot(1)] * slots
        Workers(places, Sizes(lanes, places), self.train).launch(found, ended, lambda *steps: self.steps.append(steps))
        return self


@pytest.fixture(autouse=True)
def threads(monkeypatch):
    """The kind of a point is the first letter of its name; processes are threads."""

    def planned(run_dirs):
        plan = Plan({}, [], Counter())
        for run_dir in run_dirs:
            plan.groups.setdefault(run_dir.name[0], []).append(run_dir)
        return plan

    monkeypatch.setattr(waiting, "planned", planned)
    monkeypatch.setattr(sizes, "room", lambda run_dir, accelerator: None)
    monkeypatch.setattr(processes, "asked", lambda work, slot: work())
    monkeypatch.setattr(processes, "template", lambda threads: SimpleNamespace(Pipe=Pipe))
    monkeypatch.setattr(processes, "start", lambda context, work, slot, name: Thread(work))
    monkeypatch.setattr(processes, "stop", lambda running, what: [process.ended() for process in running])


def names(kind, number):
    return " ".join(f"{kind}{i}" for i in range(number))


def test_points_of_one_kind_are_divided_between_the_slots():
    machine = Machine().launch(names("a", 9), slots=2)
    assert machine.rooms == [5, 5]
    assert sorted(map(len, machine.trained)) == [4, 5]
    assert sorted(machine.ended) == names("a", 9).split()
    assert sum(taken for taken, _, _ in machine.steps) == 9


def test_few_points_have_one_process():
    machine = Machine().launch(names("a", 7), slots=2)
    assert machine.rooms == [7]


def test_kinds_are_trained_side_by_side_and_the_next_where_a_slot_comes_free():
    machine = Machine().launch(" ".join(names(kind, 8) for kind in "abc"), slots=2)
    assert machine.rooms == [8, 8, 4, 4] or machine.rooms == [8, 8, 8]
    assert sorted(machine.ended) == " ".join(names(kind, 8) for kind in "abc").split()
    assert all(len({name[0] for name in mine}) == 1 for mine in machine.trained)


def test_what_has_no_room_is_given_out_as_lanes_come_free():
    machine = Machine().launch(names("a", 20), slots=2, lanes=8)
    assert machine.rooms == [4, 4]
    assert sorted(machine.ended) == sorted(names("a", 20).split())


def test_of_a_search_no_more_are_asked_for_than_are_trained():
    machine = Machine().launch(names("a", 20), slots=1, lanes=4, at_once=4)
    assert machine.rooms[0] == 4
    assert sorted(machine.ended) == sorted(names("a", 20).split())


def test_of_a_search_a_process_has_lanes_for_what_comes_later():
    machine = Machine().launch("b0 b1 b2 a0 a1 a2 a3 a4", slots=1, lanes=4, at_once=4)
    assert machine.rooms == [4, 4]
    assert sorted(machine.ended) == ["a0", "a1", "a2", "a3", "a4", "b0", "b1", "b2"]


def test_no_more_lanes_are_trained_than_a_device_has_room_for():
    running, most = [0], [0]
    machine = Machine()
    train = machine.train

    def counted(jobs, *others, room):
        running[0] += room
        most[0] = max(most[0], running[0])
        train(jobs, *others, room)
        running[0] -= room

    machine.train = counted
    assert sorted(machine.launch(names("a", 32), slots=8, lanes=2).ended) == sorted(names("a", 32).split())
    assert most == [2]


def test_no_process_is_started_that_has_nothing_to_train():
    machine = Machine().launch(names("a", 29), slots=8)
    assert sorted(map(len, machine.trained)) == [4, 5, 5, 5, 5, 5]


def test_the_points_of_a_process_that_crashes_are_recorded_and_the_others_go_on(monkeypatch):
    recorded = []
    monkeypatch.setattr(processes, "record", lambda code, run_dir, kills: recorded.append((code, run_dir.name)))
    machine = Machine(crash_at="a1").launch(names("a", 8), slots=2)
    assert recorded == [(1, name) for name in ("a0", "a1", "a2", "a3")]
    assert sorted(machine.ended) == names("a", 8).split()
    assert sorted(machine.trained) == [[], ["a4", "a5", "a6", "a7"]]


def test_a_full_disk_ends_all(monkeypatch):
    def record(code, run_dir, kills):
        raise DiskFull(f"{run_dir}: there is no space left on the disk")

    monkeypatch.setattr(processes, "record", record)
    with pytest.raises(DiskFull):
        Machine(crash_at="a1").launch(names("a", 4), slots=2)


def test_processes_that_cannot_begin_are_an_error(monkeypatch):
    def train(*arguments, **options):
        raise Crash

    machine = Machine()
    machine.train = train
    with pytest.raises(LehrError, match="before it had any: exit code 1"):
        machine.launch(names("a", 4), slots=1)


def test_what_a_process_that_crashes_has_not_begun_is_trained_by_another(monkeypatch):
    recorded = []
    monkeypatch.setattr(processes, "record", lambda code, run_dir, kills: recorded.append(run_dir.name))
    machine, crashes = Machine(), iter([True])
    train = machine.train

    def crashing(jobs, *others, room):
        if next(crashes, False):
            next(jobs)
            raise Crash
        train(jobs, *others, room)

    machine.train = crashing
    machine.launch(names("a", 4), slots=1)
    assert recorded == ["a0"]
    assert machine.trained == [["a1", "a2", "a3"]]
    assert machine.ended == names("a", 4).split()


def test_a_process_that_crashes_once_all_its_points_have_ended_stops_nothing(monkeypatch):
    monkeypatch.setattr(processes, "record", lambda code, run_dir, kills: pytest.fail(f"{run_dir} has ended"))
    machine = Machine()
    train = machine.train

    def crashing(*arguments, room):
        train(*arguments, room)
        raise Crash

    machine.train = crashing
    assert sorted(machine.launch(names("a", 8), slots=2).ended) == names("a", 8).split()


def test_what_comes_while_others_take_steps_has_the_slot_that_is_free(monkeypatch):
    monkeypatch.setattr(workers, "WAIT_SECONDS", 0.05)
    begun, came, late = threading.Event(), threading.Event(), []

    def jobs():
        yield from map(Path, names("a", 4).split())
        while not begun.is_set():
            yield None
        yield Path("b0")  # as a point that has come back

    def train(jobs, finished, stepped, room):
        for job in jobs:
            if job is not None and job.name == "b0":
                came.set()
            elif job is not None and job.name == "a3":
                begun.set()
                for _ in range(300):
                    stepped(4, 4, 10)
                    if came.wait(0.01):
                        break
                else:
                    late.append(job)
            if job is not None:
                finished(job)

    places = [Slot(1)] * 2
    found = Waiting(jobs(), None, lambda plan: None)
    found.pull()
    Workers(places, Sizes(8, places), train).launch(found, lambda run_dir: found.ended(), lambda *steps: None)
    assert came.is_set()
    assert not late


def test_a_process_that_waits_for_an_answer_hears_that_there_will_be_none():
    def jobs():
        yield from map(Path, names("a", 4).split())
        yield None
        raise Interrupted(signal.SIGINT)  # while the next one is looked for

    heard = []

    def train(jobs, *others, room):
        heard.extend(islice(jobs, 5))

    places = [Slot(1)]
    found = Waiting(jobs(), 8, lambda plan: None)
    found.pull()
    with pytest.raises(Interrupted):
        Workers(places, Sizes(8, places), train).launch(found, print, print)
    assert heard == [*map(Path, names("a", 4).split()), None]
