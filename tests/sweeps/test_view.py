"""What is seen of a sweep: a line for each end, or one live line that counts."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import time
from collections import Counter
from types import SimpleNamespace

import pytest

from lehr.files import write_json
from lehr.run import claim as claims
from lehr.sweeps import view as views
from lehr.sweeps.pace import Pace
from lehr.sweeps.view import View


class Terminal(io.StringIO):
    """Keeps what is written to it."""

    def isatty(self):
        return True

    def last(self):
        """The live line as it was drawn last."""
        return re.split(r"[\r\n]+", self.getvalue().rstrip())[-1]


@pytest.fixture(autouse=True)
def _no_time_passes(monkeypatch):
    """However busy the machine is."""
    monkeypatch.setattr(views, "time", SimpleNamespace(monotonic=lambda: 0.0))


@pytest.fixture
def show(capsys):
    """A view of four points where there is no terminal, and what it has said."""
    started = []

    def make(total=4, before=()):
        view = View(total, Counter(before))
        started.append(view)
        return view, lambda: capsys.readouterr().err.splitlines()

    yield make
    for view in started:
        view.close()


@pytest.fixture
def on_terminal(monkeypatch):
    """A view on a terminal, and that; it is drawn when it is closed, and not before."""

    def make(total, before=(), pace=None):
        stream = Terminal()
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr(views, "_REDRAW_SECONDS", 100.0)
        return View(total, Counter(before), pace), stream

    return make


def run_dir(tmp_path, name, state=None, error=None, began=None, finished=None, **metrics):
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    if metrics:
        write_json(folder / "metrics.json", {key.replace("__", "/"): value for key, value in metrics.items()})
    if state:
        write_json(folder / "status.json", {"state": state, "error": error, "started": began, "finished": finished})
        os.utime(folder / "status.json", (1e9 + len(name) + len(state),) * 2)  # files of one moment have one time
    return folder


def counted(view):
    """How many ends a view has seen, and said: it does both before it lets go of its lock."""
    with view._lock:
        return view._counts.total()


def claim(folder, fraction):
    pid = os.getpid()
    about = {"pid": pid, "host": "here", "machine": claims._machine(), "started": claims._started(pid)}
    (folder / ".claim-1").write_text(json.dumps(about | {"fraction": fraction}))


def test_each_end_is_a_line_with_what_it_came_to(tmp_path, show):
    view, said = show()
    ends = [
        ("a", "done", None, {"val__elbo": -2.0, "test__elbo": -1.234}),
        ("b", "failed", "RuntimeError: no", {}),
        ("c", "done", None, {"val__elbo": -2.0}),
        ("d", "pruned", "pruned after 3 epochs", {}),
    ]
    for name, *_ in ends:
        view.started(run_dir(tmp_path, name))
    for name, state, error, metrics in ends:
        view.ended(run_dir(tmp_path, name, state, error, **metrics))
    assert said() == [
        "[1/4] done   a  test ELBO -1.23  0:00",
        "[2/4] failed b  RuntimeError: no  0:00",
        "[3/4] done   c  val ELBO -2.00  0:00",
        "[4/4] pruned d  pruned after 3 epochs  0:00",
    ]


def test_what_has_waited_since_it_was_handed_out_took_as_long_as_it_was_trained(tmp_path, show, monkeypatch):
    view, said = show()
    view.started(run_dir(tmp_path, "a"))
    monkeypatch.setattr(views, "time", SimpleNamespace(monotonic=lambda: 5000.0))
    run_dir(tmp_path, "a", "failed", "no", began="2026-01-01T00:00:10+00:00", finished="2026-01-01T00:01:20+00:00")
    view.ended(tmp_path / "a")
    assert said() == ["[1/4] failed a  no  1:10"]


def test_an_end_is_announced_once_and_as_soon_as_it_is_written(tmp_path, show, monkeypatch):
    monkeypatch.setattr(views, "_REDRAW_SECONDS", 0.01)
    view, said = show()
    view.started(run_dir(tmp_path, "a"))
    run_dir(tmp_path, "a", "done", test__elbo=-1.0)
    end = time.monotonic() + 60
    while not counted(view):  # before it is handed back; pytest would lose what is written while it reads
        assert time.monotonic() < end
        time.sleep(0.01)
    assert said() == ["[1/4] done   a  test ELBO -1.00  0:00"]
    view.ended(tmp_path / "a")
    assert said() == []


def test_a_failure_of_an_earlier_attempt_is_not_one_of_this(tmp_path, show):
    view, said = show(before=["done", "done"])
    view.started(run_dir(tmp_path, "a", "failed", "then"))
    assert said() == []
    view.ended(run_dir(tmp_path, "a", "done", test__elbo=-1.0))
    assert said() == ["[3/4] done   a  test ELBO -1.00  0:00"]


def test_what_is_handed_back_unfinished_is_not_an_end(tmp_path, show):
    view, said = show()
    view.started(run_dir(tmp_path, "a"))
    view.ended(run_dir(tmp_path, "a", "interrupted"))
    view.started(tmp_path / "a")
    view.ended(run_dir(tmp_path, "a", "done"))
    assert said() == ["[1/4] done   a    0:00"]


def test_what_others_have_ended_is_counted_and_not_announced(tmp_path, show):
    view, said = show()
    view.ended_elsewhere("done")
    assert said() == []
    view.started(run_dir(tmp_path, "a"))
    view.ended(run_dir(tmp_path, "a", "done", test__elbo=-1.0))
    assert said() == ["[2/4] done   a  test ELBO -1.00  0:00"]


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'{"test/elbo": null}', b'{"test/elbo": "x"}', b"{}"])
def test_metrics_that_cannot_be_read_do_not_stop_the_view(tmp_path, show, content):
    view, said = show()
    view.started(run_dir(tmp_path, "a"))
    (tmp_path / "a" / "metrics.json").write_bytes(content)
    view.ended(run_dir(tmp_path, "a", "done"))
    assert said() == ["[1/4] done   a    0:00"]


def test_on_a_terminal_one_line_counts_and_only_failures_are_lines(tmp_path, on_terminal):
    view, terminal = on_terminal(8, ["done", "done"])
    for name in "abcd":
        view.started(run_dir(tmp_path, name))
    view.ended(run_dir(tmp_path, "a", "done", test__elbo=-1.0))
    view.ended(run_dir(tmp_path, "b", "failed", "RuntimeError: no"))
    claim(tmp_path / "c", fraction=0.5)
    view.close()
    assert "[4/8] failed b  RuntimeError: no  0:00" in terminal.getvalue()
    assert "[3/8]" not in terminal.getvalue()
    # of the six that were left when it started two have ended, and half of one; d is handed out and has not begun
    assert "sweep  42% |" in terminal.last()
    assert terminal.last().endswith("3 done, 1 failed, 1 running, 3 waiting")


def test_pruned_points_are_counted_where_there_are_some(on_terminal):
    view, terminal = on_terminal(2, ["pruned"])
    view.close()
    assert terminal.last().endswith("0 done, 1 pruned, 0 running, 1 waiting")


def test_a_claim_without_a_process_is_not_counted_as_running(tmp_path, on_terminal):
    view, terminal = on_terminal(2)
    view.started(run_dir(tmp_path, "a"))
    claim(tmp_path / "a", fraction=0.5)
    about = json.loads((tmp_path / "a" / ".claim-1").read_text())
    (tmp_path / "a" / ".claim-1").write_text(json.dumps(about | {"started": "never"}))
    view.close()
    assert terminal.last().endswith("0 done, 0 running, 2 waiting")


def test_lanes_are_part_of_the_live_line(on_terminal):
    pace = Pace()
    view, terminal = on_terminal(2, pace=pace)
    pace.told(0, 2, 100)
    view.close()
    assert terminal.last().endswith("0 running, 2 waiting, 2 lanes, 0 run-steps/s")


def test_without_a_terminal_there_is_a_line_about_lanes_now_and_then(capsys, monkeypatch):
    pace = Pace()
    monkeypatch.setattr(pace, "line", lambda ended, total: f"fused {ended} of {total}")
    monkeypatch.setattr(views, "_REDRAW_SECONDS", 100.0)
    view = View(5, Counter(["done", "done"]), pace)
    view.ended_elsewhere("failed")
    view._say_pace()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(views, "_SAY_SECONDS", 0.0)
    view._say_pace()
    view.close()
    assert capsys.readouterr().err == "fused 1 of 3\n"
