"""What a search is for, and the study in the sweep directory that remembers it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from annotated_types import Ge, Lt
from pydantic import Field, model_validator

from lehr.config.schema import Component
from lehr.errors import ConfigError
from lehr.limits import PositiveInt, Text
from lehr.sweeps.space import load_optuna, range_shown

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

JOURNAL = "optuna.journal"
_ELBOS = ("val/elbo", "test/elbo", "likelihood/elbo", "likelihood/iwae")
"""What it makes sense to prune for on val/elbo."""

Direction = Literal["maximize", "minimize"]


class Settings(Component):
    """`hydra.sweeper` of a search; conf/hydra/sweeper/optuna.yaml says what is what."""

    params: dict[str, Any]
    metric: Text | Annotated[list[Text], Field(min_length=1)]
    direction: Direction | Annotated[list[Direction], Field(min_length=1)]
    n_trials: PositiveInt
    sampler: Literal["tpe", "random", "nsga2"]
    seed: Annotated[int, Ge(0), Lt(2**32)]
    pruner: Literal["median", "hyperband", "none"]
    study_name: Text

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


def open_study(directory: Path, settings: Settings, space: Mapping[str, BaseDistribution]) -> Study:
    """The study in `directory`, new or gone on with."""
    optuna = load_optuna()
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
            lines.append(f"searches over {name} too ({range_shown(old)})")
        elif old != new:
            lines.append(f"has {name} {range_shown(old)}, not {range_shown(new)}")
    return lines + [
        f"has {name} {', '.join(kept[name])}, not {', '.join(wanted[name])}"
        for name in ("metric", "direction")
        if kept[name] != wanted[name]
    ]


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


def pareto_front(trials: list[FrozenTrial], directions: list[Direction]) -> list[FrozenTrial]:
    """The trials that no other one is as good as in everything and better than in something; the best ones first.

    Of trials with equal values the first.
    """
    signs = [-1 if direction == "maximize" else 1 for direction in directions]
    costs = {tuple(s * value for s, value in zip(signs, t.values, strict=True)): t for t in reversed(trials)}
    front: list[tuple[float, ...]] = []
    for cost in sorted(costs):  # what is better than a cost in anything and worse in nothing comes before it
        if not any(all(a <= b for a, b in zip(other, cost, strict=True)) for other in reversed(front)):
            front.append(cost)
    return [costs[cost] for cost in front]
