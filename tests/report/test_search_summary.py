"""What a search found, read from its journal."""

from __future__ import annotations

import pytest

optuna = pytest.importorskip("optuna")

from optuna.distributions import FloatDistribution  # noqa: E402
from optuna.storages import JournalStorage  # noqa: E402
from optuna.storages.journal import JournalFileBackend  # noqa: E402
from optuna.trial import TrialState, create_trial  # noqa: E402

from lehr.report.search_summary import read_searches  # noqa: E402

SPACE = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}


def study(folder, directions, metrics, trials):
    """A study of (x, y, values or state)."""
    storage = JournalStorage(JournalFileBackend(str(folder / "optuna.journal")))
    made = optuna.create_study(storage=storage, study_name="search", directions=directions)
    made.set_user_attr("search", {"metric": metrics, "direction": directions})
    for i, (x, y, values) in enumerate(trials):
        state = values if isinstance(values, TrialState) else TrialState.COMPLETE
        made.add_trial(
            create_trial(
                params={"x": x, "y": y},
                distributions=SPACE,
                values=values if state == TrialState.COMPLETE else None,
                state=state,
                user_attrs={"run": f"run{i}"} | ({"left_out": "repeats"} if y == 0.123 else {}),
            )
        )


def test_the_history_of_one_objective(tmp_path):
    trials = [(0.1, 0, [3.0]), (0.2, 0, TrialState.FAIL), (0.3, 0, [1.0]), (0.4, 0.123, [9.0]),
              (0.5, 0, TrialState.PRUNED), (0.6, 0, [2.0])]  # fmt: skip
    study(tmp_path, ["minimize"], ["test/loss"], trials)
    before = sorted((path.name, path.read_bytes()) for path in tmp_path.iterdir())
    [found] = read_searches(tmp_path)
    assert (found.name, found.metrics, found.directions) == ("search", ("test/loss",), ("minimize",))
    assert [(trial.number, trial.state, trial.best_so_far) for trial in found.trials] == [
        (0, "done", 3.0), (1, "failed", 3.0), (2, "done", 1.0), (4, "pruned", 1.0), (5, "done", 1.0),
    ]  # fmt: skip
    assert found.counts == {"done": 3, "pruned": 1, "failed": 1}
    assert [(trial.run, dict(trial.params)) for trial in found.front] == [("run2", {"x": 0.3, "y": 0})]
    assert found.importances == ({},)
    assert sorted((path.name, path.read_bytes()) for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(("direction", "sign"), [("minimize", 1), ("maximize", -1)])
def test_what_matters_is_found(tmp_path, direction, sign):
    places = [(i % 7 / 7, i % 11 / 11) for i in range(60)]
    study(tmp_path, [direction], ["m"], [(x, y, [sign * ((x - 0.4) ** 2 + 1e-4 * y)]) for x, y in places])
    [found] = read_searches(tmp_path)
    [importances] = found.importances
    assert list(importances) == ["x", "y"]
    assert sum(importances.values()) == pytest.approx(1)
    assert importances["x"] > 0.8


def test_several_objectives_have_a_front(tmp_path):
    values = [[1, 1], [2, 2], [0, 0], [3, 3], [2, 0]]
    study(tmp_path, ["minimize", "maximize"], ["a", "b"], [(0.1 * i, 0, v) for i, v in enumerate(values)])
    [found] = read_searches(tmp_path)
    assert [trial.values for trial in found.front] == [(1, 1), (2, 2), (0, 0), (3, 3)]
    assert {trial.best_so_far for trial in found.trials} == {None}
    assert len(found.importances) == 2


def test_half_a_line_at_the_end_is_passed_over(tmp_path):
    study(tmp_path, ["minimize"], ["m"], [(0.1, 0, [3.0])])
    with (tmp_path / "optuna.journal").open("ab") as file:
        file.write(b'{"op_code": 4, "wor')
    assert len(read_searches(tmp_path)[0].trials) == 1


def test_what_is_no_search_has_no_summary(tmp_path):
    assert read_searches(tmp_path) == []
    (tmp_path / "optuna.journal").write_text("nonsense\n{}\n")
    assert read_searches(tmp_path) == []
