"""What a search (Optuna) found: its history, what mattered, and with several objectives what no trial is better than.

The journal is read alone, never written, and half a line at its end (a killed process) is passed over. Optuna is an
extra: without it, or where it cannot read the journal, there is no summary.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

_STATES = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}
_LEAST = 4
"""Trials that are done from which importances are computed."""


@dataclass(frozen=True)
class Trial:
    """A trial of a search.

    Attributes:
        number: in the order in which they were asked for.
        state: done, pruned, failed, running or waiting.
        values: of the objectives; empty unless done.
        params: what it tried.
        best_so_far: the best value up to it, of one objective; None before the first, and with several.
        on_front: whether no other trial is better; of one objective, whether it is the best.
        run: name of its run directory; None where it has none.
    """

    number: int
    state: str
    values: tuple[float, ...]
    params: Mapping[str, Any]
    best_so_far: float | None
    on_front: bool
    run: str | None


@dataclass(frozen=True)
class SearchSummary:
    """A study.

    Attributes:
        name: of the study.
        metrics, directions: of the objectives; directions are maximize or minimize.
        trials: in their order, without those that repeat others.
        importances: of each objective: key -> share of the variance of good trials that it explains (PED-ANOVA,
            Watanabe et al. 2023), the largest first; empty where too few trials are done.
    """

    name: str
    metrics: tuple[str, ...]
    directions: tuple[str, ...]
    trials: tuple[Trial, ...]
    importances: tuple[Mapping[str, float], ...]

    @property
    def counts(self) -> dict[str, int]:
        """state -> trials in it."""
        states = [trial.state for trial in self.trials]
        return {state: states.count(state) for state in _STATES.values() if state in states}

    @property
    def front(self) -> tuple[Trial, ...]:
        """The Pareto front; of one objective the best trial."""
        return tuple(trial for trial in self.trials if trial.on_front)


def read_searches(directory: Path) -> list[SearchSummary]:
    """The studies in the journal of a sweep directory; none where it is no search, or Optuna is missing."""
    journal = _journal(directory)
    if journal is None:
        return []
    try:
        from optuna import logging
        from optuna.storages import JournalStorage
        from optuna.study import get_all_study_names, load_study
    except ImportError:
        return []
    logging.set_verbosity(logging.ERROR)
    try:
        storage = JournalStorage(_read_only(journal))
        studies = [load_study(study_name=name, storage=storage) for name in get_all_study_names(storage)]
    except (OSError, ValueError, KeyError, AssertionError):  # damaged beyond its last line
        return []
    return [_summary(study) for study in studies]


def _journal(directory: Path) -> Path | None:
    path = Path(directory) / "optuna.journal"
    return path if path.is_file() else None


def _read_only(journal: Path) -> Any:
    """The journal as Optuna reads it: Optuna's own file backend makes files beside it."""
    from optuna.storages.journal import BaseJournalBackend

    lines = journal.read_bytes().split(b"\n")[:-1]  # what follows the last newline is no whole line

    class ReadOnly(BaseJournalBackend):
        def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
            return [json.loads(line) for line in lines[log_number_from:]]

        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            raise OSError(f"{journal}: is read alone")

    return ReadOnly()


def _summary(study: Study) -> SearchSummary:
    from lehr.sweeps.study import pareto_front

    directions = tuple(direction.name.lower() for direction in study.directions)
    found = [trial for trial in study.get_trials(deepcopy=False) if "left_out" not in trial.user_attrs]
    done = [trial for trial in found if trial.state.name == "COMPLETE"]
    front = {trial.number for trial in pareto_front(done, list(directions))}  # type: ignore[arg-type]
    best = iter(_best_so_far(found, directions))
    trials = tuple(
        Trial(
            number=trial.number,
            state=_STATES[trial.state.name],
            values=tuple(trial.values) if trial.state.name == "COMPLETE" else (),
            params=dict(trial.params),
            best_so_far=next(best),
            on_front=trial.number in front,
            run=trial.user_attrs.get("run"),
        )
        for trial in found
    )
    metrics = study.user_attrs.get("search", {}).get("metric") or [f"objective {i}" for i in range(len(directions))]
    importances = tuple(_importances(study, done, place) for place in range(len(directions)))
    return SearchSummary(study.study_name, tuple(map(str, metrics)), directions, trials, importances)


def _best_so_far(trials: Sequence[FrozenTrial], directions: Sequence[str]) -> Iterable[float | None]:
    best: float | None = None
    for trial in trials:
        if len(directions) == 1 and trial.state.name == "COMPLETE":
            pick = max if directions[0] == "maximize" else min
            best = trial.values[0] if best is None else pick(best, trial.values[0])
        yield best


def _importances(study: Study, done: Sequence[FrozenTrial], place: int) -> dict[str, float]:
    """Shares that add up to 1; empty where they cannot be told."""
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    if len(done) < _LEAST or len({trial.values[place] for trial in done}) < 2:
        return {}
    sign = -1.0 if study.directions[place].name == "MAXIMIZE" else 1.0  # it is of what makes a target low
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is experimental, and about the sign
        try:
            found = get_param_importances(
                study, evaluator=PedAnovaImportanceEvaluator(), target=lambda trial: sign * float(trial.values[place])
            )
        except (ValueError, RuntimeError):  # of trials that have no key in common
            return {}
    return {} if any(map(math.isnan, found.values())) else dict(sorted(found.items(), key=lambda item: -item[1]))
