"""What a sweep took, and what did not end well."""

from __future__ import annotations

import pytest
from planted import ELBO, results, run

from lehr.report.conclusions import say_cost, say_progress
from lehr.report.cost import cost, total_seconds
from lehr.report.document import Paragraph
from lehr.report.failures import failures, progress
from lehr.report.sweep_sections import cost_parts
from lehr.report.words import duration


def sweep():
    speed, memory = "time/images_per_second", "memory/peak_mib"
    at = "2026-01-01T00:0{}:00+00:00".format
    return results(
        ["a"],
        [
            run(
                {"a": 1}, {speed: 100, memory: 400.0}, seconds={"training": 50, "total": 60}, started=at(0),
                finished=at(1),
            ),
            run(
                {"a": 2}, {speed: 300, memory: 2000.0, "memory/gpu_peak_mib": 90.4},
                seconds={"training": 80, "test": 5, "total": 100}, started=at(2),
            ),
            run({"a": 3}, seconds={"training": 8}, host="there", finished=at(9)),
            run({"a": 4}, host=None, started="yesterday"),
        ],
    )  # fmt: skip


def test_times_are_added_up():
    found = cost(sweep())
    assert (found.runs, found.seconds, found.median, found.not_done) == (3, 168, 60, 8)
    assert [(part.name, part.seconds, part.median, part.runs) for part in found.parts] == [
        ("training", 138, 50, 3), ("test", 5, 5, 1),
    ]  # fmt: skip
    assert found.speed == (100, 200, 300)
    assert (found.memory, found.gpu_memory) == ((400, 1200, 2000), (90.4, 90.4, 90.4))
    assert found.hosts == {"here": 2, "there": 1}
    assert found.elapsed == 540
    assert say_cost(found) == (
        "3 runs took 2 min 48 s of machine time, 1 min each in the middle, on 2 machines; "
        "8.0 s of it went into runs that did not end well."
    )


def lane(second: float, total: float, pid: int, state: str = "done"):
    at = f"2026-01-01T00:{int(second) // 60:02}:{int(second) % 60:02}+00:00"  # whole seconds, as in status.json
    return run(
        {"a": second}, {"test/elbo": 1.0}, seconds={"training": total / 2, "total": total}, started=at, pid=pid,
        state=state,
    )  # fmt: skip


def test_time_of_runs_that_are_trained_side_by_side_in_a_process_counts_once():
    lanes = [lane(0, 60, 1), lane(0, 60, 1), lane(30, 50, 1), lane(90, 10, 1, "failed"), lane(0, 40, 2)]
    found = cost(results(["a"], lanes))
    assert found.seconds == pytest.approx(90 + 40)  # 0 to 80 and 90 to 100 in one process, 0 to 40 in the other
    assert found.median == pytest.approx(30)
    assert found.not_done == pytest.approx(10 * 90 / 180)
    assert [(part.name, part.seconds) for part in found.parts] == [("training", pytest.approx(65))]
    assert found.together == 4
    assert "4 of them were trained side by side" in say_cost(found)


def test_runs_that_follow_each_other_in_a_process_are_not_side_by_side():
    found = cost(results(["a"], [lane(0.9, 2.95, 1), lane(3.9, 2.0, 1), lane(5.95, 2.0, 1)]))
    assert (found.seconds, found.together) == (pytest.approx(6.95), 0)


def test_what_the_runs_took_is_told_in_words():
    texts = [part.text for part in cost_parts(sweep()) if isinstance(part, Paragraph)]
    assert texts[1] == (
        "From the first start to the last end it was 9 min, breaks included. The runs trained on 200 images per second "
        "in the middle, 100 to 300. While it trained, a process held at most 1.2 GiB (the median run; 0.4 to 2.0) of "
        "memory. On the GPU, tensors took at most 90 MiB. Machines: here (2 runs) and there (1 run)."
    )


def test_of_nothing_nothing_is_said():
    found = cost(results([], []))
    assert (found.seconds, found.median, found.speed, found.elapsed, found.parts) == (0, None, None, None, ())
    assert say_cost(found) == ""


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (12.3, "12 s"), (59.7, "1 min"), (60, "1 min"), (125, "2 min 5 s"),
     (3599.8, "1 h"), (3600, "1 h"), (3780, "1 h 3 min"), (360_000, "100 h")],
)  # fmt: skip
def test_durations(seconds, said):
    assert duration(seconds) == said


def test_failures_are_grouped_by_what_went_wrong():
    runs = [
        run({"a": 1}, {ELBO: 1.0}),
        run({"a": 2}, error="test/loss is NaN at step 12 of run a=2"),
        run({"a": 3}, error="the GPU has no memory left"),
        run({"a": 4}, error="test/loss is NaN at step 7,100 of run a=4"),
        run({"a": 5}, state="running"),
        run({"a": 6}, state="pruned"),
        run({"a": 7}, {ELBO: 1.0}, error="evaluation: <script>"),
        run({"a": 8}, error="test/loss is NaN at step 1.5e-3 of run a=8"),
        run({}, name="odd", state="damaged", error="status.json: cannot be read"),
    ]
    found = failures(results(["a"], runs))
    assert [(one.state, one.error, one.runs) for one in found] == [
        ("failed", "test/loss is NaN at step 12 of run a=2", ("a=2", "a=4", "a=8")),
        ("failed", "the GPU has no memory left", ("a=3",)),
        ("done", "evaluation: <script>", ("a=7",)),
        ("damaged", "status.json: cannot be read", ("odd",)),
    ]
    come = progress(results(["a"], runs))
    assert (come.done, come.total) == (2, 9)
    assert come.states == {"done": 2, "pruned": 1, "running": 1, "failed": 4, "damaged": 1}
    assert say_progress(come) == "2 of 9 runs are done; 1 pruned, 1 running, 4 failed and 1 damaged."


def test_what_is_done_is_not_mentioned():
    assert say_progress(progress(results(["a"], [run({"a": 1}, {ELBO: 1.0})]))) == ""
    assert say_progress(progress(results([], []))) == "There are no runs yet."


def test_runs_that_have_not_begun_are_of_the_total():
    come = progress(results(["a"], [run({"a": 1}, {ELBO: 1.0})]), not_begun=1200)
    assert (come.done, come.total, come.is_over) == (1, 1201, False)
    assert say_progress(come) == "1 of 1,201 runs is done; 1,200 not begun."
    assert say_progress(progress(results([], []), not_begun=2)) == "0 of 2 runs are done; 2 not begun."


@pytest.mark.parametrize(
    ("state", "is_over"),
    [("done", True), ("failed", True), ("pruned", True), ("damaged", True), ("running", False), ("waiting", False)],
)
def test_a_sweep_is_over_when_nothing_more_is_to_come_of_any_run(state, is_over):
    assert progress(results(["a"], [run({"a": 1}, state=state)])).is_over == is_over


def test_the_evaluation_comes_on_top_of_the_total():
    assert total_seconds({"training": 50, "total": 60, "evaluation": 30}) == 90
    assert total_seconds({"training": 50, "evaluation": 30, "odd": "x"}) == 80
    assert total_seconds({"total": 60}) == 60
    assert total_seconds({}) is None
