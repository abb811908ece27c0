"""One point in this process: what is done with what an earlier attempt left, and what is recorded of how it ends."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple

import pytest
from points import CONFIG, left, status

from lehr import files
from lehr.errors import CheckpointError, ConfigError, DiskFull, Interrupted
from lehr.files import write_json
from lehr.run.claim import Claim, is_claimed
from lehr.run.directory import RunDirectory
from lehr.sweeps.directory import state_of
from lehr.sweeps.point import Point
from lehr.sweeps.runner import LOG, run_point
from lehr.training import session

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def train(monkeypatch):
    """Trains in place of the real thing: notes what it was told, does what is set, and ends well."""

    def fake(config, directory, resume, extras):
        fake.calls.append({"config": config, "resume": resume, "extras": extras})
        assert extras.claim is not None
        assert is_claimed(directory.path)
        write_json(directory.status, {"state": "running"})
        if fake.does:
            fake.does.pop(0)()
        write_json(directory.status, {"state": "done"})
        return {}

    fake.calls, fake.does = [], []
    monkeypatch.setattr("lehr.training.session.train", fake)
    return fake


def fails(error):
    """What raises this error."""

    def do():
        raise error

    return do


def test_a_point_is_trained_from_its_directory_alone(run_dir, train):
    assert run_point(run_dir) == "done"
    (call,) = train.calls
    assert call["config"] == {**CONFIG, "dir": str(run_dir), "resume": None, "resume_from": "last"}
    assert (call["resume"], call["extras"].trust, dict(call["extras"].hyperparameters)) == (
        False,
        ("mine",),
        {"seed": 3},
    )
    assert not is_claimed(run_dir)


def test_the_devices_are_those_of_the_place_it_is_trained_at(run_dir, train):
    run_point(run_dir, devices=2)
    assert train.calls[0]["config"]["trainer"] == {"devices": 2}


@pytest.mark.parametrize(
    ("before", "checkpoint", "retry", "resumes"),
    [
        (None, False, False, False),
        ("interrupted", True, False, True),
        ("interrupted", False, False, False),  # it was ended before there was anything to go on from
        ("running", True, False, True),  # it was killed
        ("running", False, False, False),
        ("failed", True, True, True),
        ("failed", False, True, False),
        ("done", True, False, None),
        ("done", True, True, None),
        ("failed", True, False, None),
    ],
)
def test_what_is_done_is_left_and_what_was_interrupted_goes_on(run_dir, train, before, checkpoint, retry, resumes):
    if before:
        left(run_dir, before, checkpoint)
    state = run_point(run_dir, "9" if retry else None)
    assert [call["resume"] for call in train.calls] == ([] if resumes is None else [resumes])
    assert state == (before if resumes is None else "done") == state_of(run_dir)
    if resumes is None:
        assert status(run_dir)["started"] == "long ago"


def test_what_another_process_is_at_is_left_alone(run_dir, train):
    left(run_dir, "interrupted")
    before = sorted((path.name, path.stat().st_mtime_ns) for path in run_dir.iterdir())
    with Claim.take(run_dir):
        assert run_point(run_dir) == "running"
        assert sorted((p.name, p.stat().st_mtime_ns) for p in run_dir.iterdir() if "claim" not in p.name) == before
    assert train.calls == []


def test_where_a_checkpoint_cannot_be_gone_on_with_the_run_starts_again_and_says_so(run_dir, train):
    left(run_dir, "interrupted", checkpoint=True)
    train.does = [fails(CheckpointError("last.ckpt: is damaged"))]
    assert run_point(run_dir, own_process=False) == "done"
    assert [call["resume"] for call in train.calls] == [True, False]
    assert (run_dir / LOG).read_text() == "note: last.ckpt: is damaged; the run starts again\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RuntimeError("shapes\n  do not fit"), "RuntimeError: shapes do not fit"),
        (ConfigError("kl.warmup: too long"), "ConfigError: kl.warmup: too long"),
        (MemoryError(), "out of memory"),
        (MemoryError("for 7 TiB"), "MemoryError: for 7 TiB"),
        (CheckpointError("of something else"), "CheckpointError: of something else"),
    ],
)
def test_an_error_is_recorded_in_a_line(run_dir, train, error, line):
    train.does = [fails(error)]
    assert run_point(run_dir, own_process=False) == "failed"
    assert (status(run_dir)["state"], status(run_dir)["error"]) == ("failed", line)
    first, second, *_ = (run_dir / LOG).read_text().splitlines()
    assert (first, second) == (f"lehr train: {line}", "Traceback (most recent call last):")
    assert not is_claimed(run_dir)


def test_an_error_before_the_run_began_is_recorded_over_what_was_there_before(run_dir, monkeypatch):
    left(run_dir, "interrupted")
    monkeypatch.setattr("lehr.training.session.train", lambda *_, **__: fails(ConfigError("data: gone"))())
    assert run_point(run_dir) == "failed"
    assert status(run_dir)["error"] == "ConfigError: data: gone"


def test_what_a_second_attempt_died_of_replaces_what_the_first_did(run_dir, monkeypatch):
    left(run_dir, "failed")
    monkeypatch.setattr("lehr.training.session.train", lambda *_, **__: fails(ConfigError("data: gone"))())
    assert run_point(run_dir, retry="9") == "failed"
    assert status(run_dir)["error"] == "ConfigError: data: gone"


@pytest.mark.parametrize(
    ("finished", "again"),
    [("2026-01-01T11:00:00+00:00", True), ("2026-01-01T12:30:00+00:00", False), ("2026-01-01T14:00:00+00:00", True)],
)
def test_what_failed_before_a_clock_was_set_back_is_tried_again_and_what_failed_since_is_not(
    run_dir, train, monkeypatch, finished, again
):
    monkeypatch.setattr("lehr.sweeps.runner.now", lambda: "2026-01-01T13:00:00+00:00")
    write_json(run_dir / "status.json", {"state": "failed", "finished": finished})
    assert run_point(run_dir, retry="2026-01-01T12:00:00+00:00") == ("done" if again else "failed")


def test_a_signal_goes_on_to_the_caller_and_the_point_is_free(run_dir, train):
    train.does = [fails(Interrupted(signal.SIGTERM))]
    with pytest.raises(Interrupted):
        run_point(run_dir)
    assert state_of(run_dir) == "interrupted"
    assert not is_claimed(run_dir)


def as_a_process_of_its_own(run_dir, out):
    """What is printed goes to `out`; the point is trained, and something is said after it."""
    for descriptor in (1, 2):
        os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    sys.stdout, sys.stderr = (os.fdopen(descriptor, "w", closefd=False) for descriptor in (1, 2))
    run_point(run_dir)
    print("after it", flush=True)


def test_all_output_of_its_process_is_in_the_log_and_none_elsewhere(run_dir, train, tmp_path):
    def talk():
        print("from python")
        os.write(2, b"from a library\n")
        subprocess.run([sys.executable, "-c", "print('from another process')"], check=True)

    train.does = [talk]
    for times in (1, 2):
        process = FORK.Process(target=as_a_process_of_its_own, args=(run_dir, tmp_path / "out"))
        process.start()
        process.join(60)
        assert process.exitcode == 0
        assert (tmp_path / "out").read_text() == "after it\n" * times
        lines = (run_dir / LOG).read_text().splitlines()  # what was said in an earlier attempt is kept
        assert sorted(lines) == sorted(["from a library", "from another process", "from python"] * times)
        left(run_dir, "interrupted")


def test_in_a_process_that_has_other_things_to_do_only_what_python_prints_goes_to_the_log(run_dir, train, capfd):
    def talk():
        print("from python")
        print("a warning", file=sys.stderr)
        os.write(1, b"of the sweep\n")

    train.does = [talk]
    run_point(run_dir, own_process=False)
    assert (run_dir / LOG).read_text() == "from python\na warning\n"
    assert capfd.readouterr() == ("of the sweep\n", "")


def chained(cause):
    """What a library makes of an error, without a word of it."""
    error = RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")
    error.__cause__ = cause
    return error


def in_passing(context):
    error = RuntimeError("while it was handled")
    error.__context__ = context
    return error


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    "error", [FULL, OSError(errno.EDQUOT, "Disk quota exceeded"), chained(FULL), in_passing(chained(FULL))]
)
def test_a_full_disk_is_no_failure_of_the_point(run_dir, train, error):
    train.does = [fails(error)]
    with pytest.raises(DiskFull) as caught:
        run_point(run_dir)
    assert str(caught.value) == f"{run_dir}: there is no space left on the disk"
    assert state_of(run_dir) == "interrupted"
    assert not is_claimed(run_dir)
    assert run_point(run_dir) == "done"


@pytest.mark.parametrize(("free", "is_full"), [(files._LITTLE_SPACE - 1, True), (files._LITTLE_SPACE, False)])
def test_what_fails_where_there_is_hardly_any_space_fails_for_that(run_dir, train, monkeypatch, free, is_full):
    usage = namedtuple("usage", "total used free")(2**40, 2**40 - free, free)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: usage)
    train.does = [fails(RuntimeError("file write failed"))]
    if is_full:
        with pytest.raises(DiskFull):
            run_point(run_dir)
        assert state_of(run_dir) == "interrupted"
    else:
        assert run_point(run_dir) == "failed"


def test_what_says_itself_what_it_came_of_is_no_full_disk(run_dir, train, monkeypatch):
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: namedtuple("usage", "total used free")(2**40, 2**40, 0))
    train.does = [fails(ConfigError("no such thing"))]
    assert run_point(run_dir) == "failed"


def test_a_training_that_finds_the_disk_full_is_gone_on_with_by_the_next_start(finished_run, tmp_path, monkeypatch):
    config = RunDirectory(finished_run).read_config()
    run_dir = tmp_path / "seed=0-0123456789"
    Point({**config, "evaluate": "none"}, {"seed": 0}).write(run_dir)
    with monkeypatch.context() as patch:
        patch.setattr("lehr.training.checkpoint.torch.save", lambda *_: fails(FULL)())
        with pytest.raises(DiskFull, match="make room, and go on with lehr train resume="):
            session.train({**config, "dir": str(run_dir)}, RunDirectory(run_dir))
        with pytest.raises(DiskFull):
            run_point(run_dir)
    # there is room for so small a file as status.json even then; it must not say that the point has failed
    assert state_of(run_dir) != "failed"
    assert run_point(run_dir) == "done"


@pytest.fixture
def not_evaluated(finished_run, tmp_path):
    """A point that is done, but for its evaluation."""
    run_dir = tmp_path / "seed=0-0123456789"
    shutil.copytree(finished_run, run_dir)
    Point(RunDirectory(run_dir).read_config(), {"seed": 0}).write(run_dir)
    (run_dir / "evaluation.json").unlink()
    write_json(run_dir / "status.json", status(run_dir) | {"evaluated": "none"})
    return run_dir


def test_an_evaluation_that_is_missing_is_done_and_nothing_else(not_evaluated, finished_run, train):
    assert state_of(not_evaluated, "quick") == "interrupted"
    assert run_point(not_evaluated) == "done"
    assert train.calls == []
    assert state_of(not_evaluated, "quick") == "done"
    evaluations = [json.loads((folder / "evaluation.json").read_text()) for folder in (not_evaluated, finished_run)]
    ours, theirs = ({key: x for key, x in e.items() if "/" in key and "time" not in key} for e in evaluations)
    assert ours == theirs


def test_an_evaluation_that_cannot_be_done_leaves_the_point_done_and_is_not_tried_for_ever(not_evaluated, train):
    (not_evaluated / "model" / "model.safetensors").write_text("x")
    assert run_point(not_evaluated, own_process=False) == "done"
    assert "note: the run is finished, but its evaluation failed" in (not_evaluated / LOG).read_text()
    assert state_of(not_evaluated, "quick") == "done"


def test_an_evaluation_for_which_the_disk_has_no_room_is_done_by_the_next_start(not_evaluated, train, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("lehr.run.evaluate.write_json", lambda *_: fails(FULL)())
        with pytest.raises(DiskFull):
            run_point(not_evaluated, own_process=False)
    assert state_of(not_evaluated, "quick") == "interrupted"
    run_point(not_evaluated)
    assert (not_evaluated / "evaluation.json").exists()


@pytest.mark.parametrize("text", [None, "[]"])
def test_a_directory_without_a_point_is_refused(run_dir, text):
    (run_dir / "point.json").unlink()
    if text:
        (run_dir / "point.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"is not a point of a sweep"):
        run_point(run_dir)
    assert not (run_dir / "status.json").exists()
