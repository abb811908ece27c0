"""A search instead of a grid: Optuna says which point to train next, from what came of those before.

The study lies in the sweep directory, and each of its trials is a point of the sweep. A trial whose process was killed
is gone on with by the next start, or by another process that searches in the same directory.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, ValueType
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field, model_validator

from lehr.config.problems import did_you_mean
from lehr.config.schema import Component, NonNegative, PathString, Positive
from lehr.errors import CheckpointError, ConfigError
from lehr.sweep.directory import ENDED, WAITING, state_of
from lehr.sweep.point import FILE, Point
from lehr.training.claim import is_claimed
from lehr.training.directory import DONE, FAILED, INTERRUPTED, PRUNED, RUNNING, RunDirectory

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

JOURNAL = "optuna.journal"
_MANY_REPEATS = 50
"""In a row, after which there is hardly anything new to be found."""
_ATTEMPTS = 2
"""At a trial that comes back unfinished although nobody has stopped the search; the next start has as many."""
_ELBOS = ("val/elbo", "test/elbo", "likelihood/elbo", "likelihood/iwae")
"""What it makes sense to prune for on val/elbo."""

Direction = Literal["maximize", "minimize"]


class Settings(Component):
    """`hydra.sweeper` of a search; conf/hydra/sweeper/optuna.yaml says what is what."""

    params: dict[str, Any]
    metric: PathString | Annotated[list[PathString], Field(min_length=1)]
    direction: Direction | Annotated[list[Direction], Field(min_length=1)]
    n_trials: Positive
    sampler: Literal["tpe", "random", "nsga2"]
    seed: NonNegative
    pruner: Literal["median", "hyperband", "none"]
    study_name: PathString

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        if len(self.metrics) != len(self.directions):
            raise ValueError(f"metric has {len(self.metrics)} and direction {len(self.directions)}; say one for each")
        return self

    @property
    def metrics(self) -> list[str]:
        return [self.metric] if isinstance(self.metric, str) else self.metric

    @property
    def directions(self) -> list[Direction]:
        return self.direction if isinstance(self.direction, list) else [self.direction]

    @property
    def why_not_to_prune(self) -> str | None:
        """Why `pruner` is passed over; None where it is not."""
        if self.pruner == "none":
            return None
        if len(self.metrics) > 1:
            return f"pruner={self.pruner} is passed over: with several objectives no run is behind in all of them"
        if self.metrics[0] not in _ELBOS or self.directions != ["maximize"]:
            return (
                f"pruner={self.pruner} is passed over: val/elbo does not say "
                f"which run is behind where {self.metrics[0]} is to {self.directions[0]}"
            )
        return None


def space(texts: Mapping[str, str]) -> dict[str, BaseDistribution]:
    """What to search over, from what was typed for each key.

    `a,b,c` and `choice(a,b,c)` are choices without an order, `range(1,10)` numbers with a step and without its end,
    `interval(0.1,4)` numbers between the two, `int(interval(2,64))` integers; `tag(log, interval(1e-4,1e-1))` on a
    logarithmic scale. The values of choices are texts, as they would be typed.

    Raises:
        ConfigError: one line for each that cannot be searched over, or none was given.
    """
    _optuna()
    found: dict[str, BaseDistribution] = {}
    problems = []
    for key, text in texts.items():
        try:
            found[key] = _distribution(OverridesParser.create().parse_override(f"{key}={text}"))
        except ConfigError as error:
            problems += [f"{key}={text}: {problem}" for problem in error.problems]
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            problems.append(f"{key}={text}: cannot be read ({str(error).splitlines()[0]})")
    if not texts:
        problems.append("there is nothing to search over; say for instance 'kl.weight=interval(0.1,4)'")
    if problems:
        raise ConfigError(*problems)
    return found


def _distribution(override: Override) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution

    value: Any = override.value()
    tags: set[str] = getattr(value, "tags", set())
    if unknown := sorted(tags - {"log"}):
        raise ConfigError(f"tag {unknown[0]} is not known; there is log")
    if isinstance(value, IntervalSweep):
        return _interval(value, "log" in tags)
    if isinstance(value, RangeSweep):
        return _range(value, "log" in tags)
    if override.value_type == ValueType.GLOB_CHOICE_SWEEP:
        raise ConfigError(f"write out the choices, as in {override.key_or_group}=a,b")
    if tags:
        raise ConfigError("log is for intervals; choices have no order")
    choices = override.sweep_string_iterator() if override.is_sweep_override() else [override.get_value_string()]
    return CategoricalDistribution(list(dict.fromkeys(choices)))


def _interval(value: IntervalSweep, log: bool) -> BaseDistribution:
    from optuna.distributions import FloatDistribution, IntDistribution

    low, high = value.start, value.end
    assert low is not None
    assert high is not None
    if not (math.isfinite(low) and math.isfinite(high)) or low > high:
        raise ConfigError("an interval has a lower bound, then an upper one")
    if log and low <= 0:
        raise ConfigError("on a logarithmic scale the bounds must be greater than 0")
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log)
    return FloatDistribution(low, high, log)


def _range(value: RangeSweep, log: bool) -> BaseDistribution:
    from optuna.distributions import FloatDistribution, IntDistribution

    # in decimals: in binary 0.1 + 0.2 is another number than 0.3, and what is behind the end would be in the range
    start, stop, step = (Decimal(str(number)) for number in (value.start, value.stop, value.step))
    steps = math.ceil((stop - start) / step) if step and start.is_finite() and stop.is_finite() else 0
    if steps < 1:
        raise ConfigError("has no values")
    low, high = sorted((start, start + (steps - 1) * step))
    if log:
        raise ConfigError("log is for intervals, as in tag(log, int(interval(1,64)))")
    if all(isinstance(number, int) for number in (value.start, value.stop, value.step)):
        return IntDistribution(int(low), int(high), step=int(abs(step)))
    return FloatDistribution(float(low), float(high), step=float(abs(step)))


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
        self._study = _study(directory, settings, self._space)
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
        return min(self._settings.n_trials, _size(self._space) or self._settings.n_trials)

    @property
    def ended(self) -> Counter[str]:
        """How many trials have ended in each state of a run; what was told at once without a run counts too."""
        names = {"COMPLETE": DONE, "PRUNED": PRUNED, "FAIL": FAILED}
        return Counter(names[trial.state.name] for trial in self._counted() if trial.state.is_finished())

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
        best = _front([trial for trial in trials if trial.state.name == "COMPLETE"], self._settings.directions)
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
            size = _size(self._space)
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
        texts = {name: _text(_suggest(trial, name, distribution)) for name, distribution in self._space.items()}
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
        found = _results(run_dir)
        missing = [name for name in self._settings.metrics if not _is_number(found.get(name))]
        if not missing:
            self._told(number, "COMPLETE", [float(found[name]) for name in self._settings.metrics])
        elif not is_evaluating:
            self._note_missing(missing[0], run_dir.name, found)
            self._told(number)

    def _told(self, trial: Trial | int, state: str = "FAIL", values: list[float] | None = None) -> None:
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        with suppress(UpdateFinishedTrialError):  # by another process that saw it end too
            self._study.tell(trial, values, TrialState[state], skip_if_finished=True)

    def _note_missing(self, metric: str, run: str, found: Mapping[str, Any]) -> None:
        if metric in found:
            self.notes.append(f"{run} counts as failed: its {metric} is {found[metric]}")
            return
        hint = did_you_mean(metric, [name for name, value in found.items() if _is_number(value)])
        note = f"{run} has no {metric} in metrics.json or evaluation.json{hint}"
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


def _optuna() -> Any:
    """Optuna, which says only what it cannot do.

    Raises:
        ConfigError: if it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(f"hydra/sweeper=optuna: needs Optuna ({error}); pip install 'lehr[optuna]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _study(directory: Path, settings: Settings, space: Mapping[str, BaseDistribution]) -> Study:
    """The study in `directory`, new or gone on with."""
    optuna = _optuna()
    from optuna.distributions import distribution_to_json
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    # A journal and not SQLite: lines are only ever appended, under a lock that holds on network file systems too, which
    # SQLite's may not; what a kill -9 or a full disk can leave is half a line at the end, and that is cut off here.
    directory.mkdir(parents=True, exist_ok=True)
    journal = directory / JOURNAL
    _mend(journal)
    study: Study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(journal))),
        sampler=_sampler(settings.sampler, settings.seed),
        pruner=optuna.pruners.NopPruner(),  # the runs ask the pruner
        study_name=settings.study_name,
        directions=settings.directions,
        load_if_exists=True,
    )
    wanted = {
        "space": {name: json.loads(distribution_to_json(distribution)) for name, distribution in space.items()},
        "metric": settings.metrics,
        "direction": settings.directions,
        "pruner": "none" if settings.why_not_to_prune else settings.pruner,
    }
    kept = study.user_attrs.get("search")
    if kept and (problems := _differences(kept, wanted)):
        advice = "choose another hydra.sweep.dir or hydra.sweeper.study_name"
        raise ConfigError(*(f"{directory}: the search there {problem}; {advice}" for problem in problems))
    if kept != wanted:
        study.set_user_attr("search", wanted)
    return study


def _differences(kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Where a study is about something else than is wanted, a line each, to stand after "the search"."""
    lines = []
    for name in {**kept["space"], **wanted["space"]}:
        old, new = kept["space"].get(name), wanted["space"].get(name)
        if old is None:
            lines.append(f"does not search over {name}")
        elif new is None:
            lines.append(f"searches over {name} too ({_range_shown(old)})")
        elif old != new:
            lines.append(f"has {name} {_range_shown(old)}, not {_range_shown(new)}")
    return lines + [
        f"has {name} {', '.join(kept[name])}, not {', '.join(wanted[name])}"
        for name in ("metric", "direction")
        if kept[name] != wanted[name]
    ]


def _range_shown(distribution: Mapping[str, Any]) -> str:
    about = distribution["attributes"]
    if "choices" in about:
        return "|".join(about["choices"])
    kind = "integers " if distribution["name"].startswith("Int") else ""
    step = f" in steps of {about['step']:g}" if about.get("step") not in (None, 1) else ""
    return f"{kind}{about['low']:g} to {about['high']:g}{step}{', logarithmic' if about['log'] else ''}"


def _mend(journal: Path) -> None:
    """Cut off the end of the journal if it is no whole line: what wrote it was killed, or the disk was full."""
    from optuna.storages.journal import JournalFileSymlinkLock

    if _is_whole(journal):
        return
    lock = JournalFileSymlinkLock(str(journal))
    lock.acquire()
    try:
        if not _is_whole(journal):  # it may have been another process that was just writing
            os.truncate(journal, journal.read_bytes().rfind(b"\n") + 1)
    finally:
        lock.release()


def _is_whole(journal: Path) -> bool:
    try:
        with journal.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return True
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"
    except FileNotFoundError:
        return True


def _sampler(name: str, seed: int) -> BaseSampler:
    """The sampler of this name, whose trial N is a function of `seed`, N and the trials before, in whatever process."""
    from optuna.samplers import NSGAIISampler, RandomSampler, TPESampler

    kind: Any = {"tpe": TPESampler, "random": RandomSampler, "nsga2": NSGAIISampler}[name]

    class Seeded(kind):
        def before_trial(self, study: Study, trial: FrozenTrial) -> None:
            digest = hashlib.blake2b(f"{seed}/{trial.number}".encode(), digest_size=4).digest()
            self.__init__(seed=int.from_bytes(digest))  # type: ignore[misc]  # keeps nothing that is not in the study
            super().before_trial(study, trial)

    sampler: BaseSampler = Seeded(seed=seed)
    return sampler


def _suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    """The value of `name` in `trial`, which keeps what it has, in as many digits as it is to be trained with."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match distribution:
        case CategoricalDistribution():
            return trial.suggest_categorical(name, distribution.choices)
        case IntDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_int(name, low, high, step=step, log=log)
        case FloatDistribution(low=low, high=high, step=None, log=log):
            # in so many digits as people read, so that what the summary shows is what was trained
            return float(f"{trial.suggest_float(name, low, high, log=log):.6g}")
        case FloatDistribution(low=low, high=high, step=step):
            # 0.3 and not 0.1 + 0.2, so that it is the run that a grid would have
            return float(f"{trial.suggest_float(name, low, high, step=step):.12g}")
    raise TypeError(f"{name}: cannot be searched over as a {type(distribution).__name__}")


def _size(space: Mapping[str, BaseDistribution]) -> int | None:
    """How many combinations there are; None for no end of them."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    size = 1
    for distribution in space.values():
        match distribution:
            case CategoricalDistribution():
                size *= len(distribution.choices)
            case IntDistribution(low=low, high=high, step=step):
                size *= (high - low) // step + 1
            case FloatDistribution(low=low, high=high, step=step) if step or low == high:
                size *= round((high - low) / step) + 1 if step else 1
            case _:
                return None
    return size


def _results(run_dir: Path) -> dict[str, Any]:
    """What was measured of a run, metrics.json and evaluation.json together."""
    found: dict[str, Any] = {}
    for path in (RunDirectory(run_dir).metrics, RunDirectory(run_dir).evaluation()):
        with suppress(OSError, ValueError):
            found |= json.loads(path.read_text(encoding="utf-8"))
    return found


def _front(trials: list[FrozenTrial], directions: list[Direction]) -> list[FrozenTrial]:
    """The trials that no other one is as good as in everything and better than in something; the best ones first.

    Of trials with equal values the first.
    """
    signs = [-1 if direction == "maximize" else 1 for direction in directions]
    costs = {tuple(s * value for s, value in zip(signs, t.values, strict=True)): t for t in reversed(trials)}
    front = [
        cost
        for cost in costs
        if not any(all(a <= b for a, b in zip(other, cost, strict=True)) for other in costs if other != cost)
    ]
    return [costs[cost] for cost in sorted(front)]


def _text(value: Any) -> str:
    """A value as it would be typed; that of a choice is a text already."""
    return value if isinstance(value, str) else repr(value)


def _shown(value: Any) -> str:
    return _number(value) if isinstance(value, float) else str(value)


def _number(value: float) -> str:
    return f"{value:.6g}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
