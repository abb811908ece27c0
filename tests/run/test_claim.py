"""Claims: one holder at a time, dead ones taken over by exactly one, on one machine and across machines."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time

import pytest

from lehr.run import claim as claims
from lehr.run.claim import TAKEN_OVER, Claim, holder, is_claimed

FORK = multiprocessing.get_context("fork")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def hold(folder, ready):
    claim = Claim.take(folder)
    ready.put(claim is not None)
    time.sleep(100)


@pytest.fixture
def another_holder(tmp_path):
    """Another process that has the claim to tmp_path."""
    ready = FORK.Queue()
    process = FORK.Process(target=hold, args=(tmp_path, ready))
    process.start()
    assert ready.get(timeout=10)
    yield process
    process.kill()
    process.join()


def write(folder, number=1, **fields):
    """A claim as another process would have left it."""
    (folder / f".claim-{number}").write_text(
        json.dumps({"pid": 1, "host": "elsewhere", "machine": "elsewhere", "started": "1", "job": None} | fields)
    )


def test_a_directory_has_one_holder_at_a_time(tmp_path):
    with Claim.take(tmp_path / "run"):
        assert Claim.take(tmp_path / "run") is None
        assert holder(tmp_path / "run").pid == os.getpid()
        assert is_claimed(tmp_path / "run")
    assert not is_claimed(tmp_path / "run")
    assert names(tmp_path / "run") == []
    with Claim.take(tmp_path / "run") as again:
        assert again is not None


def test_a_living_process_keeps_its_claim_and_a_killed_one_loses_it_at_once(tmp_path, another_holder):
    assert Claim.take(tmp_path) is None
    another_holder.kill()
    another_holder.join()
    assert not is_claimed(tmp_path)
    with Claim.take(tmp_path) as claim:
        assert claim is not None
        assert names(tmp_path) == [".claim-2"]
    assert names(tmp_path) == []


def test_a_process_that_has_the_number_of_a_dead_one_is_not_taken_for_it(tmp_path):
    write(tmp_path, pid=os.getpid(), machine=claims._machine(), started="1")
    assert not is_claimed(tmp_path)


@pytest.mark.parametrize(("age", "alive"), [(0, True), (50, True), (70, False)])
def test_a_process_of_another_machine_is_known_by_its_heartbeat_alone(tmp_path, age, alive):
    write(tmp_path)
    then = time.time() - age
    os.utime(tmp_path / ".claim-1", (then, then))
    assert is_claimed(tmp_path) == alive
    claim = Claim.take(tmp_path)
    assert (claim is None) == alive
    if claim:
        claim.release()


def test_a_job_of_a_cluster_that_is_started_again_takes_its_own_claim_over(tmp_path, monkeypatch):
    write(tmp_path, job=["17", 0])
    assert Claim.take(tmp_path) is None
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert Claim.take(tmp_path) is None  # another task of the same job
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    claim = Claim.take(tmp_path)
    assert claim is not None
    claim.release()


def test_a_process_that_the_system_hides_is_known_by_its_heartbeat(tmp_path, monkeypatch):
    write(tmp_path, pid=os.getppid(), machine=claims._machine(), started="1")
    monkeypatch.setattr(claims, "_started", lambda pid: None)
    assert is_claimed(tmp_path)
    os.utime(tmp_path / ".claim-1", (0, 0))
    assert not is_claimed(tmp_path)


def test_a_takeover_that_comes_after_another_one_has_been_released_gives_way(tmp_path, monkeypatch):
    write(tmp_path, machine=claims._machine(), started="1")
    dead = claims._read(tmp_path, 1)
    looked = []

    def slow(directory, number):
        if not looked:  # what it has read here is no longer so when it goes on
            looked.append(number)
            (tmp_path / ".claim-1").unlink()
            write(tmp_path)
            return dead
        return read(directory, number)

    read = claims._read
    monkeypatch.setattr(claims, "_read", slow)
    assert Claim.take(tmp_path) is None
    assert names(tmp_path) == [".claim-1"]


def test_a_damaged_claim_dies_of_age(tmp_path):
    (tmp_path / ".claim-3").write_text("{")
    assert Claim.take(tmp_path) is None
    os.utime(tmp_path / ".claim-3", (0, 0))
    with Claim.take(tmp_path):
        assert ".claim-4" in names(tmp_path)


def race(folder, start, wins):
    start.wait()
    claim = Claim.take(folder)
    wins.put(claim is not None)
    time.sleep(1)


def test_of_many_processes_that_see_a_dead_claim_one_takes_it_over(tmp_path):
    for number in range(5):
        folder = tmp_path / str(number)
        folder.mkdir()
        write(folder, machine=claims._machine(), started="1")
        start, wins = FORK.Event(), FORK.Queue()
        processes = [FORK.Process(target=race, args=(folder, start, wins)) for _ in range(8)]
        for process in processes:
            process.start()
        start.set()
        assert sum(wins.get(timeout=10) for _ in processes) == 1
        for process in processes:
            process.kill()
            process.join()


def test_the_heartbeat_keeps_a_claim_fresh_and_says_how_far_the_run_is(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.05)
    with Claim.take(tmp_path) as claim:
        os.utime(tmp_path / ".claim-1", (0, 0))
        claim.fraction = lambda: 0.25
        end = time.monotonic() + 10
        while holder(tmp_path).fraction is None:
            assert time.monotonic() < end
            time.sleep(0.02)
        assert holder(tmp_path).fraction == 0.25
        assert (tmp_path / ".claim-1").stat().st_mtime > time.time() - 10


def beat_fast(folder):
    claims.BEAT_SECONDS = 0.05
    Claim.take(folder)
    time.sleep(100)


def test_a_process_that_slept_while_another_took_its_run_over_ends(tmp_path):
    process = FORK.Process(target=beat_fast, args=(tmp_path,))
    process.start()
    end = time.monotonic() + 10
    while not is_claimed(tmp_path):
        assert time.monotonic() < end
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGSTOP)
    write(tmp_path, number=2)
    os.kill(process.pid, signal.SIGCONT)
    process.join(10)
    assert process.exitcode == TAKEN_OVER
    assert holder(tmp_path).host == "elsewhere"


def test_who_holds_several_claims_is_told_which_of_them_another_process_took_over(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(claims, "_SECOND_LOOK_SECONDS", 0.05)
    lost, kept = Claim.take(tmp_path / "lost"), Claim.take(tmp_path / "kept")
    told = threading.Event()
    lost.lost, kept.lost = told.set, lambda: pytest.fail("nobody has taken it")
    with kept:
        write(tmp_path / "lost", number=2)
        assert told.wait(10)
        lost.release()
        assert holder(tmp_path / "lost").host == "elsewhere"
        assert is_claimed(tmp_path / "kept")


def test_a_file_system_without_hard_links_will_do(tmp_path, monkeypatch):
    def no_links(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    with Claim.take(tmp_path) as claim:
        assert claim is not None
        assert Claim.take(tmp_path) is None
    assert names(tmp_path) == []
