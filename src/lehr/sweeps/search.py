"""A search instead of a grid: Optuna says which point to train next, from what came of those before.

The study lies in the sweep directory, and each of its trials is a point of the sweep. A trial whose process was killed
is gone on with by the next start, or by another process that searches in the same directory.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lehr.config.problems import did_you_mean
from lehr.errors import CheckpointError, ConfigError
from lehr.run.claim import is_claimed
from lehr.run.status import DONE, FAILED, INTERRUPTED, PRUNED, RUNNING
from lehr.sweeps.directory import ENDED, WAITING, state_of
from lehr.sweeps.missing import cause, results
from lehr.sweeps.point import FILE, Point
from lehr.sweeps.space import size_of, suggest
from lehr.sweeps.study import JOURNAL, Settings, open_study, pareto_front

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

_MANY_REPEATS = 50
"""In a row, after which there is hardly anything new to be found."""
_ATTEMPTS = 2
"""At a trial that comes back unfinished although nobody has stopped the search; the next start has as many."""


class Search:
    """A search of a space: hands out a trial whenever it is asked for one, and tells the study how each has ended.

    Args:
        directory: of the sweep.
        settings: what is searched for, and how.
        space: what is searched over.
        compose_point: the point with these values, as they would be typed; a ConfigError where they do not go together.
        prepare: writes a point to where it is to be trained, its run directory.

    Raises:
        ConfigError: if the study there searches for something else, or Optuna is missing.
    """

    def __init__(
        self,
        directory: Path,
        settings: Settings,
        space: Mapping[str, BaseDistribution],
        compose_point: Callable[[Mapping[str, str]], Point],
        prepare: Callable[[Point], Path],
    ) -> None:
        self._directory, self._settings, self._space = directory, settings, dict(space)
        self._compose_point, self._prepare = compose_point, prepare
        self._study = open_study(directory, settings, self._space)
        self._handed: dict[str, Trial] = {}  # run directory -> its trial, while it is out
        self._attempts: Counter[int] = Counter()  # at trials that came back unfinished
        self._repeats = 0  # in a row
        self.notes = [note] if (note := settings.why_not_to_prune) else []
        """What the user should know about how the search went, a line each."""
        self._is_over = False

    def jobs(self) -> Iterator[Path | None]:
        """Run directories to be trained, each asked for when it is pulled; first of all those left behind by others.

        Ends once `n_trials` are done, or nothing new is found. None while trials are under way, here or elsewhere:
        should a process be gone, its trial comes next.
        """
        yield from self._left_behind(WAITING, INTERRUPTED)
        while run_dir := self._next():
            yield run_dir
            yield from self._left_behind(INTERRUPTED)
        while self._handed or self._elsewhere():
            left = list(self._left_behind(WAITING, INTERRUPTED))
            yield from left
            if not left and (self._handed or self._elsewhere()):
                yield None

    def finished(self, run_dir: Path) -> None:
        """Tell the study what came of a run; of one that has not ended nothing, so that it can be gone on with."""
        trial = self._handed.pop(run_dir.name, None)
        if trial is None:
            return
        state = self._state(run_dir)
        if state in ENDED:
            self._tell(trial.number, run_dir, state)
        elif state != RUNNING:  # if it is, another process has it
            self._attempts[trial.number] += 1

    @property
    def wanted(self) -> int:
        """How many trials there are to be, of all starts together."""
        return min(self._settings.n_trials, size_of(self._space) or self._settings.n_trials)

    @property
    def ended(self) -> Counter[str]:
        """How many trials have ended in each state of a run; what was told at once without a run counts too."""
        names = {"COMPLETE": DONE, "PRUNED": PRUNED, "FAIL": FAILED}
        return Counter(names[trial.state.name] for trial in self._counted() if trial.state.is_finished())

    @property
    def given_up(self) -> int:
        """How many trials came back unfinished so often that they are left to the next start."""
        return sum(times >= _ATTEMPTS for times in self._attempts.values())

    def summary(self) -> str:
        """What was found: the best trial, or with several objectives those that no other one is better than."""
        trials, ended = self._counted(), self.ended
        counts = [
            f"{count} {word}"
            for word, count in (
                ("completed", ended[DONE]), ("pruned", ended[PRUNED]), ("failed", ended[FAILED]),
                ("unfinished", len(trials) - ended.total()),
            )
            if count
        ]  # fmt: skip
        lines = [f"{len(trials)} trial{'s'[: len(trials) != 1]}: {', '.join(counts) or 'none'}"]
        best = pareto_front([trial for trial in trials if trial.state.name == "COMPLETE"], self._settings.directions)
        if best and len(self._settings.metrics) == 1:
            lines.append(f"best: {self._settings.metrics[0]} {_number(best[0].values[0])}, {self._described(best[0])}")
        elif best:
            goals = zip(self._settings.metrics, self._settings.directions, strict=True)
            lines.append(f"Pareto front ({', '.join(f'{direction} {metric}' for metric, direction in goals)}):")
            lines += self._table(best)
        errors = [(trial.number, trial.user_attrs["error"]) for trial in trials if "error" in trial.user_attrs]
        lines += [f"trial {number} failed: {error}" for number, error in errors]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def _next(self) -> Path | None:
        """The run directory of a new trial, or None where no more are wanted."""
        while not self._is_over:
            trials = self._counted()
            if len(trials) >= self._settings.n_trials:
                return None
            size = size_of(self._space)
            if size is not None and len(trials) >= size:
                self._stop(f"all {size} combinations are done, fewer than n_trials={self._settings.n_trials}")
            elif self._repeats >= _MANY_REPEATS:
                self._stop(f"the last {self._repeats} trials repeated others: there is hardly anything new to be found")
            elif run_dir := self._begin(self._study.ask()):
                return run_dir
        return None

    def _stop(self, note: str) -> None:
        self._is_over = True
        self.notes.append(f"the search has stopped after {len(self._counted())} trials: {note}")

    def _begin(self, trial: Trial) -> Path | None:
        """The run directory of `trial`, or None where it is known already what comes of it, and told."""
        from optuna.exceptions import UpdateFinishedTrialError

        with suppress(UpdateFinishedTrialError):  # by another process that took it for left behind, and knew
            if point := self._point(trial):
                return self._hand_out(trial, point)
        return None

    def _point(self, trial: Trial) -> Point | None:
        """What to train for `trial`, if anything."""
        texts = {name: _text(suggest(trial, name, distribution)) for name, distribution in self._space.items()}
        before = [other for other in self._counted() if other.number < trial.number]
        if len(before) >= self._settings.n_trials:
            self._leave_out(trial, "another process asked for the last one at the same time")
            return None
        twin = next((other for other in before if other.params == trial.params), None)
        point = None
        if not twin:
            try:
                point = self._compose_point(texts)
            except ConfigError as error:
                trial.set_user_attr("error", "; ".join(error.problems))
                self._told(trial)
                return None
            # values that differ can make the same run: 1 and 1.0, or those of a key that another one turns off
            twin = next((other for other in before if other.user_attrs.get("point") == point.id), None)
        if twin:
            self._repeat(trial, twin)
            return None
        return point

    def _hand_out(self, trial: Trial, point: Point) -> Path | None:
        self._repeats = 0
        about = {"study": self._study.study_name, "number": trial.number, "id": trial._trial_id, "journal": JOURNAL}
        run_dir = self._prepare(replace(point, trial=about))
        trial.set_user_attr("point", point.id)
        trial.set_user_attr("run", run_dir.name)
        if (state := self._state(run_dir)) in (DONE, PRUNED):  # in this sweep before the search, or by another study
            self._tell(trial.number, run_dir, state)
            return None
        self._handed[run_dir.name] = trial
        return run_dir

    def _left_behind(self, *states: str) -> Iterator[Path]:
        """The run directories of trials that other processes have begun, where they are in one of `states`."""
        from optuna import Trial

        for found in self._elsewhere():
            run_dir = self._directory / found.user_attrs.get("run", "")
            state = self._state(run_dir) if "run" in found.user_attrs else WAITING
            if state in ENDED:
                self._tell(found.number, run_dir, state)
            elif state in states:
                trial = Trial(self._study, found._trial_id)
                if not (run_dir / FILE).exists():  # killed between the study's asking and our writing
                    if new := self._begin(trial):
                        yield new
                else:
                    self._handed[run_dir.name] = trial
                    yield run_dir

    @staticmethod
    def _state(run_dir: Path) -> str:
        """What has become of a trial, its evaluation included, of which the metric may be."""
        try:
            return state_of(run_dir, Point.read(run_dir).config["evaluate"])
        except CheckpointError:
            return WAITING

    def _elsewhere(self) -> list[FrozenTrial]:
        """The trials that are under way, but not handed out by this process, nor left to the next start."""
        from optuna.trial import TrialState

        given_up = {number for number, times in self._attempts.items() if times >= _ATTEMPTS}
        own = {trial.number for trial in self._handed.values()} | given_up
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return [trial for trial in running if trial.number not in own]

    def _counted(self) -> list[FrozenTrial]:
        """All trials but those that were left out: what they say is known from others."""
        return [trial for trial in self._study.get_trials(deepcopy=False) if "left_out" not in trial.user_attrs]

    def _tell(self, number: int, run_dir: Path, state: str) -> None:
        """Tell the study what came of a run that has ended."""
        if state != DONE:
            self._told(number, "PRUNED" if state == PRUNED else "FAIL")
            return
        is_evaluating = is_claimed(run_dir)  # asked first: what is measured then is there when it no longer is
        found = results(run_dir)
        missing = [name for name in self._settings.metrics if not _is_number(found.get(name))]
        if not missing:
            self._told(number, "COMPLETE", [float(found[name]) for name in self._settings.metrics])
        elif not is_evaluating:
            self._note_missing(missing[0], run_dir, found)
            self._told(number)

    def _told(self, trial: Trial | int, state: str = "FAIL", values: list[float] | None = None) -> None:
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        with suppress(UpdateFinishedTrialError):  # by another process that saw it end too
            self._study.tell(trial, values, TrialState[state], skip_if_finished=True)

    def _note_missing(self, metric: str, run_dir: Path, found: Mapping[str, Any]) -> None:
        run = run_dir.name
        if metric in found:
            self.notes.append(f"{run} counts as failed: its {metric} is {found[metric]}")
            return
        hint = did_you_mean(metric, [name for name, value in found.items() if _is_number(value)])
        why = cause(metric, run_dir, found)
        note = f"{run} has no {metric} in metrics.json or evaluation.json{f': {why}' if why else hint}"
        if any(trial.values for trial in self._counted()):
            self.notes.append(f"{note}; it counts as failed")
        else:  # nor will any other have it
            self._stop(note)

    def _repeat(self, trial: Trial, twin: FrozenTrial) -> None:
        """Tell of `trial` what is known from `twin`, an earlier one that is the same."""
        self._repeats += 1
        known = twin.state.name if twin.state.is_finished() else "FAIL"
        if known == "PRUNED":
            for step, value in twin.intermediate_values.items():
                trial.report(value, step)
        self._leave_out(trial, f"repeats trial {twin.number}", known, twin.values if known == "COMPLETE" else None)

    def _leave_out(self, trial: Trial, why: str, state: str = "FAIL", values: list[float] | None = None) -> None:
        trial.set_user_attr("left_out", why)
        self._told(trial, state, values)

    def _described(self, trial: FrozenTrial) -> str:
        values = ", ".join(f"{name}={_shown(trial.params[name])}" for name in self._space)
        return f"{values} (trial {trial.number}, {trial.user_attrs['run']})"

    def _table(self, trials: list[FrozenTrial]) -> list[str]:
        head = ["trial", *self._settings.metrics, *self._space]
        rows = [
            [str(t.number), *map(_number, t.values), *(_shown(t.params[name]) for name in self._space)] for t in trials
        ]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *rows]]


def _text(value: Any) -> str:
    """A value as it would be typed; that of a choice is a text already."""
    return value if isinstance(value, str) else repr(value)


def _shown(value: Any) -> str:
    return _number(value) if isinstance(value, float) else str(value)


def _number(value: float) -> str:
    return f"{value:.6g}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
