"""`lehr train -m`: from the command line to the points of a sweep, all of them composed and checked before any runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from lehr.compose.composer import NOT_OF_A_RUN, Command, Composer, at_home, plain
from lehr.compose.composition import told_in_a_line
from lehr.compose.overrides import parsed, to_write_out
from lehr.compose.recipe import Option, Recipe, RefusedByHydra, options, place
from lehr.config.problems import section_problems
from lehr.config.schema import Pool, Sweep
from lehr.errors import ConfigError
from lehr.run.directory import RunDirectory
from lehr.run.identity import flat, is_part, parts
from lehr.sweeps import directory
from lehr.sweeps.point import Point

SEARCH = "optuna"
"""The sweeper that is a search: it may be given intervals, and its points are found one by one."""
MOST_POINTS = 100_000
MOST_LINES = 20
_OF_ONE_RUN = {
    "dir": "dir: is of a single run; say hydra.sweep.dir=DIR, each run of a sweep has a folder in it",
    "resume": "resume: a run is resumed by itself, without -m",
    "overwrite": "overwrite: is of a single run; of a sweep remove the folders of the runs to be trained anew",
}


@dataclass(frozen=True)
class Grid(directory.Grid):
    """What is to be trained, checked.

    Attributes:
        choices: group -> choice, of those that all points have in common.
        points: without repetitions, the last key changing fastest; none of a search.
        sweep_dir: where.
        settings: the section `sweep`.
        report: whether it ends in one: `auto`, or True for one of each run too.
        pool: the section `pool`.
        launcher_name, launcher: the choice of `hydra/launcher`, and what it holds.
        sweeper_name, sweeper: of `hydra/sweeper`.
        space: swept key -> its values as they were typed, such as `0.1,1` or `interval(0.1,4)`.
        devices: of which each run consists, as processes; what a run finds for itself does not count.
        recipe: how its points are composed.
    """

    choices: dict[str, str]
    points: list[Point]
    sweep_dir: str
    settings: dict[str, Any]
    report: bool | str
    pool: dict[str, Any]
    launcher_name: str
    launcher: dict[str, Any]
    sweeper_name: str
    sweeper: dict[str, Any]
    space: dict[str, str]
    devices: int
    recipe: Recipe

    def compose_point(self, values: Mapping[str, str]) -> Point:
        """The point with these values of swept keys, as they would be typed; keys without one stay as configured.

        Raises:
            ConfigError: where it cannot be trained, with a line for each reason.
        """
        return self.recipe.point(self.recipe.chosen(values))


def grid(command: Command, as_typed: bool = False) -> tuple[Grid | None, list[str]]:
    """What `lehr train -m` was told; or None, and what is wrong with it or with any of its points, a line each.

    With `as_typed` its points keep relative paths, as those of earlier versions did.
    """
    problems: list[str] = []
    found = None
    try:
        found = _grid(command, problems, as_typed)
    except ConfigError as error:
        problems += error.problems
    problems = list(dict.fromkeys(problems))
    if len(problems) > MOST_LINES:
        problems = [*problems[:MOST_LINES], f"and {len(problems) - MOST_LINES} more"]
    return (None if problems else found), problems


def _grid(command: Command, problems: list[str], as_typed: bool) -> Grid:
    composer = Composer(command)
    typed, wrong = parsed(command.overrides, multirun=True, search=True)
    problems += wrong
    overrides = composer.fitting(_varied(typed, problems), problems)
    config = Recipe(composer, overrides).base()
    if texts := [f"{key}={'null' if value is None else value}" for key, value in _params(config).items()]:
        in_file, wrong = parsed(texts, multirun=True, search=True)
        problems += wrong
        both = {place(o): o for o in in_file} | {place(o): o for o in overrides}
        overrides = composer.fitting(_varied(list(both.values()), problems), problems)
    choices = config.hydra.runtime.choices
    is_search = choices["hydra/sweeper"] == SEARCH
    if not is_search:
        problems += [to_write_out(override) for override in overrides if override.is_interval_sweep()]
        overrides = [override for override in overrides if not override.is_interval_sweep()]
    recipe = Recipe(composer, overrides, as_typed, command.given)
    config = recipe.base()
    with told_in_a_line():
        pool, settings = (plain(config.get(name) or {}) for name in ("pool", "sweep"))
        launcher, sweeper = plain(config.hydra.launcher), plain(config.hydra.sweeper)
        sweep_dir = at_home("hydra.sweep.dir=", str(config.hydra.sweep.dir))
        devices, report = (OmegaConf.select(config, key) for key in ("trainer.devices", "report"))
    problems += [*section_problems(Pool, pool, "pool"), *section_problems(Sweep, settings, "sweep")]
    problems += _directory_problems(sweep_dir)
    points = _points(recipe, problems, is_search)
    configs = [point.config for point in points.values()]
    return Grid(
        keys=recipe.keys,
        choices=recipe.choices(),
        constant={key: value for key, value in _constant(configs).items() if key not in recipe.keys},
        points=[] if is_search else list(points.values()),
        sweep_dir=sweep_dir,
        settings=settings,
        report=report,
        pool=pool,
        launcher_name=choices["hydra/launcher"],
        launcher=launcher,
        sweeper_name=choices["hydra/sweeper"],
        sweeper=sweeper,
        space={place(o): o.get_value_string() for o in overrides if o.is_sweep_override()},
        devices=devices if isinstance(devices, int) else 1,
        recipe=recipe,
    )


def _params(config: DictConfig) -> dict[str, Any]:
    """The grid that the configuration holds, where Hydra has a place for it."""
    with told_in_a_line():
        params = config.hydra.sweeper.get("params")
        return plain(params) if params else {}


def _varied(overrides: Iterable[Override], problems: list[str]) -> list[Override]:
    """The overrides that a sweep may have, the last one of each key; one line for each other goes to `problems`."""
    good = []
    for override in {place(override): override for override in overrides}.values():
        key, section = override.key_or_group, override.key_or_group.replace("/", ".").partition(".")[0]
        if key in _OF_ONE_RUN and not override.is_delete():
            problems += [_OF_ONE_RUN[key]] if override.value() else []
        elif override.is_sweep_override() and section in NOT_OF_A_RUN:
            problems.append(f"{override.input_line}: is of the whole sweep; give one value")
        elif override.is_sweep_override() and not is_part(key):
            problems.append(f"{override.input_line}: no number of a run depends on {key}; give one value")
        else:
            good.append(override)
    return good


def _directory_problems(sweep_dir: str) -> list[str]:
    if not sweep_dir:
        return ["hydra.sweep.dir=: must not be empty"]
    return [f"hydra.sweep.{problem}" for problem in RunDirectory(sweep_dir).place_problems()]


def _points(recipe: Recipe, problems: list[str], is_search: bool) -> dict[str, Point]:
    """By identity, the points with which nothing is wrong: of a grid all, of a search some that show its values."""
    values = [options(override, recipe, is_search) for override in recipe.overrides]
    if is_search:
        # each value with the first ones of the other keys
        first = tuple(several[0] for several in values)
        lines = ((*first[:i], one, *first[i + 1 :]) for i, several in enumerate(values) for one in several[1:])
        combinations: Iterable[tuple[Option, ...]] = itertools.chain([first], lines)
    elif (number := math.prod(map(len, values))) > MOST_POINTS:
        raise ConfigError(f"-m: these are {number:,} runs; a sweep may have {MOST_POINTS:,}")
    else:
        combinations = itertools.product(*values)
    found: dict[str, Point] = {}
    wrong: dict[str, list[tuple[Option, ...]]] = {}  # problem -> the combinations that have it
    tried = refused = 0
    for chosen in combinations:
        tried += 1
        try:
            point = recipe.point(chosen)
        except ConfigError as error:
            for problem in error.problems:
                wrong.setdefault(problem, []).append(chosen)
            refused += isinstance(error, RefusedByHydra)
            if refused == MOST_LINES:
                break
        else:
            found.setdefault(point.id, point)
    problems += [problem if len(having) == tried else _located(problem, having) for problem, having in wrong.items()]
    return found


def _located(problem: str, having: list[tuple[Option, ...]]) -> str:
    """A problem that not all combinations have, and that names none of their values, with the first that has it."""
    swept = [option for option in having[0] if option.override.is_sweep_override()]
    if any(f"{place(option.override)}={option.value}" in problem for option in swept):
        return problem
    more = f" and {len(having) - 1:,} more" if len(having) > 1 else ""
    return f"{problem} (in {' '.join(option.text for option in swept)}{more})"


def _constant(configs: list[dict[str, Any]]) -> dict[str, Any]:
    """What makes up the identity of all these runs, and is the same in all."""
    if not configs:
        return {}
    same = parts(configs[0])
    for section, values in configs[0].items():
        # points share what they have in common
        others = {id(other): other for config in configs if (other := config.get(section)) is not values}
        for other in others.values():
            found = dict(flat({section: other}))
            for key in [key for key in same if key.partition(".")[0] == section]:
                if key not in found or not _equal(found[key], same[key]):
                    del same[key]
    return same


def _equal(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
