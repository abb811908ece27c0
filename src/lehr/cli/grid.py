"""`lehr train -m`: from the command line to the points of a sweep, all of them composed and checked before any runs."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import Override, OverrideType, RangeSweep, Transformer
from omegaconf import DictConfig, OmegaConf

from lehr.cli.components import component_problems, let_import
from lehr.cli.compose import NOT_OF_A_RUN, Command, Composer, plain, resolved, told_in_a_line
from lehr.cli.overrides import line, meant, parsed, to_write_out
from lehr.cli.structure import Structure
from lehr.config.problems import section_problems, train_problems
from lehr.config.schema import Pool, Sweep
from lehr.errors import ConfigError
from lehr.sweep import directory
from lehr.sweep.identity import flat, is_part, parts
from lehr.sweep.point import Point
from lehr.training.directory import RunDirectory
from lehr.training.preflight import combination_problems

SEARCH = "optuna"
"""The sweeper that is a search: it may be given intervals, and its points are found one by one."""
MOST_POINTS = 100_000
MOST_LINES = 20
_OF_ONE_RUN = {
    "dir": "dir: is of a single run; say hydra.sweep.dir=DIR, each run of a sweep has a folder in it",
    "resume": "resume: a run is resumed by itself, without -m",
}


@dataclass(frozen=True)
class Grid(directory.Grid):
    """What is to be trained, checked.

    Attributes:
        choices: group -> choice, of those that all points have in common.
        points: without repetitions, the last key changing fastest; none of a search.
        typed: the command line.
        sweep_dir: where.
        settings: the section `sweep`.
        pool: the section `pool`.
        launcher_name, launcher: the choice of `hydra/launcher`, and what it holds.
        sweeper_name, sweeper: of `hydra/sweeper`.
        space: swept key -> its values as they were typed, such as `0.1,1` or `interval(0.1,4)`.
    """

    choices: dict[str, str]
    points: list[Point]
    typed: list[str]
    sweep_dir: str
    settings: dict[str, Any]
    pool: dict[str, Any]
    launcher_name: str
    launcher: dict[str, Any]
    sweeper_name: str
    sweeper: dict[str, Any]
    space: dict[str, str]
    recipe: Recipe

    def compose_point(self, values: Mapping[str, str]) -> Point:
        """The point with these values of swept keys, as they would be typed; keys without one stay as configured.

        Raises:
            ConfigError: where it cannot be trained, with a line for each reason.
        """
        return self.recipe.point(self.recipe.chosen(values))


def grid(command: Command) -> tuple[Grid | None, list[str]]:
    """What `lehr train -m` was told; or None, and what is wrong with it or with any of its points, a line each."""
    problems: list[str] = []
    found = None
    try:
        found = _grid(command, problems)
    except ConfigError as error:
        problems += error.problems
    problems = list(dict.fromkeys(problems))
    if len(problems) > MOST_LINES:
        problems = [*problems[:MOST_LINES], f"and {len(problems) - MOST_LINES} more"]
    return (None if problems else found), problems


def run_problems(values: dict[str, Any]) -> list[str]:
    """What is wrong with the configuration of a run, as far as it is known without data; a line each."""
    if problems := train_problems(values):
        return problems
    let_import(values["trust"])
    return [*combination_problems(values), *component_problems(values, values["trust"])]


def _grid(command: Command, problems: list[str]) -> Grid:
    composer = Composer(command)
    typed, wrong = parsed(command.overrides, multirun=True, search=True)
    problems += wrong
    overrides = composer.fitting(_varied(typed, problems), problems)
    config = Recipe(composer, overrides).base()
    if texts := [f"{key}={'null' if value is None else value}" for key, value in _params(config).items()]:
        in_file, wrong = parsed(texts, multirun=True, search=True)
        problems += wrong
        both = {_place(o): o for o in in_file} | {_place(o): o for o in overrides}
        overrides = composer.fitting(_varied(list(both.values()), problems), problems)
    choices = config.hydra.runtime.choices
    is_search = choices["hydra/sweeper"] == SEARCH
    if not is_search:
        problems += [to_write_out(override) for override in overrides if override.is_interval_sweep()]
        overrides = [override for override in overrides if not override.is_interval_sweep()]
    recipe = Recipe(composer, overrides)
    config = recipe.base()
    with told_in_a_line():
        pool, settings = (plain(config.get(name) or {}) for name in ("pool", "sweep"))
        launcher, sweeper = plain(config.hydra.launcher), plain(config.hydra.sweeper)
        sweep_dir = str(config.hydra.sweep.dir)
    problems += [*section_problems(Pool, pool, "pool"), *section_problems(Sweep, settings, "sweep")]
    problems += _directory_problems(sweep_dir)
    points = _points(recipe, problems, is_search)
    configs = [point.config for point in points.values()]
    return Grid(
        keys=recipe.keys,
        choices=recipe.choices(),
        constant={key: value for key, value in _constant(configs).items() if key not in recipe.keys},
        points=[] if is_search else list(points.values()),
        typed=command.overrides,
        sweep_dir=sweep_dir,
        settings=settings,
        pool=pool,
        launcher_name=choices["hydra/launcher"],
        launcher=launcher,
        sweeper_name=choices["hydra/sweeper"],
        sweeper=sweeper,
        space={_place(o): o.get_value_string() for o in overrides if o.is_sweep_override()},
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
    for override in {_place(override): override for override in overrides}.values():
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
    options = [_options(override, recipe, is_search) for override in recipe.overrides]
    if is_search:
        # each value with the first ones of the other keys
        first = tuple(several[0] for several in options)
        lines = ((*first[:i], one, *first[i + 1 :]) for i, several in enumerate(options) for one in several[1:])
        combinations: Iterable[tuple[Option, ...]] = itertools.chain([first], lines)
    elif (number := math.prod(map(len, options))) > MOST_POINTS:
        raise ConfigError(f"-m: these are {number:,} runs; a sweep may have {MOST_POINTS:,}")
    else:
        combinations = itertools.product(*options)
    found: dict[str, Point] = {}
    refused = 0
    for chosen in combinations:
        try:
            point = recipe.point(chosen)
        except ConfigError as error:
            problems += error.problems
            refused += isinstance(error, _RefusedByHydra)
            if refused == MOST_LINES:
                break
        else:
            found.setdefault(point.id, point)
    return found


class _RefusedByHydra(ConfigError):
    """A point that had to be composed by itself, which takes tenths of a second, could not be."""


@dataclass(frozen=True)
class Option:
    """One value of an override: how it is typed, what Hydra reads in that, and whether it can simply be set."""

    override: Override
    text: str
    value: Any
    simple: bool


def _options(override: Override, recipe: Recipe, is_search: bool = False) -> list[Option]:
    """The values of an override; of an interval, or a range in a search, its ends."""
    if not override.is_sweep_override():
        return [recipe.option(override, line(override), override.value())]
    if override.is_interval_sweep():
        elements: list[Any] = [override.value().start, override.value().end]  # type: ignore[union-attr]
    elif is_search and isinstance(values := override.value(), RangeSweep):
        *_, last = values.range()
        elements = [values.start, last]
    else:
        elements = list(override.sweep_iterator())
    key = override.get_key_element()
    texts = [(f"{key}={Transformer.str(element)}", element) for element in elements]
    # numbers are what they look like; reading them again takes as long as everything else
    return [
        recipe.option(override, text, element if type(element) in (int, float) else _read(text))
        for text, element in texts
    ]


def _read(text: str) -> Any:
    """What Hydra reads in an override with one value.

    Raises:
        ConfigError: if it cannot be read.
    """
    overrides, problems = parsed([text], multirun=False)
    if problems:
        raise ConfigError(*problems)
    return overrides[0].value()


class Recipe:
    """How the configuration of a point is made: what Hydra has to compose, and what can be set in a composition.

    Args:
        composer: Hydra.
        overrides: those of all points, each key once; of a sweep they have several values.
    """

    def __init__(self, composer: Composer, overrides: list[Override]) -> None:
        self.overrides = overrides
        self.keys = [_place(override) for override in overrides if override.is_sweep_override()]
        self.composer = composer
        self._structures: dict[tuple[str, ...], Structure | ConfigError] = {}
        groups = [override for override in overrides if composer.is_group(override.key_or_group)]
        leaves = Structure.of(composer.compose(*map(line, groups))).leaves
        others = [override for override in overrides if override not in groups]
        in_place = {o.key_or_group for o in others if o.type == OverrideType.CHANGE} & leaves
        # what adds, removes or merges has to be done in order with what is said of keys below it or above it
        ordered = {o.key_or_group for o in others if o.type != OverrideType.CHANGE or o.key_or_group not in leaves}
        self._simple = {key for key in in_place if not any(_related(key, other) for other in ordered)}

    def option(self, override: Override, text: str, value: Any) -> Option:
        """An option of `override`."""
        return Option(override, text, value, override.key_or_group in self._simple and _is_simple(value))

    def chosen(self, values: Mapping[str, str]) -> list[Option]:
        """An option of each override: of those that are swept the one that `values` has, if it has any.

        Raises:
            ConfigError: if one cannot be read.
        """
        chosen = []
        for override in self.overrides:
            if not override.is_sweep_override():
                chosen += _options(override, self)
            elif (key := _place(override)) in values:
                text = f"{override.get_key_element()}={values[key]}"
                chosen.append(self.option(override, text, _read(text)))
        return chosen

    def base(self) -> DictConfig:
        """What Hydra composes with the first value of each key."""
        first = [self.option(override, text := line(override), _read(text)) for override in self.overrides]
        config = copy.deepcopy(self.composer.compose(*(option.text for option in first if not option.simple)))
        with told_in_a_line():
            for option in first:
                if option.simple:
                    OmegaConf.update(config, option.override.key_or_group, option.value)
        return config

    def point(self, chosen: Iterable[Option]) -> Point:
        """The point with these options, checked.

        Raises:
            ConfigError: where it cannot be trained.
        """
        chosen = tuple(chosen)
        values = self._values(chosen)
        if problems := run_problems(values):
            raise ConfigError(*problems)
        swept = {_place(o.override): self._said(o, values) for o in chosen if o.override.is_sweep_override()}
        return Point(values, swept, choices=self._choices(chosen))

    def _choices(self, chosen: tuple[Option, ...]) -> dict[str, str]:
        structure = self._structures[tuple(option.text for option in chosen if not option.simple)]
        assert isinstance(structure, Structure)
        return structure.of_a_run

    def choices(self) -> dict[str, str]:
        """group -> choice, of those that all points so far have in common."""
        all_of_them = [structure.choices for structure in self._structures.values() if isinstance(structure, Structure)]
        return {
            group: name
            for group, name in (all_of_them[0] if all_of_them else {}).items()
            if isinstance(name, str)
            and group.partition("/")[0] not in (*NOT_OF_A_RUN, *self.keys)
            and all(choices.get(group) == name for choices in all_of_them)
        }

    def _values(self, chosen: tuple[Option, ...]) -> dict[str, Any]:
        changes = {option.override.key_or_group: option.value for option in chosen if option.simple}
        structure = self._structure(tuple(option.text for option in chosen if not option.simple), changes)
        if structure.takes(changes):
            return structure.with_values(changes)
        try:
            return resolved(self.composer.compose(*(option.text for option in chosen))).values
        except ConfigError as error:
            raise _RefusedByHydra(*error.problems) from error

    def _structure(self, lines: tuple[str, ...], changes: Mapping[str, Any]) -> Structure:
        """What Hydra composes of `lines`, in which all keys of `changes` are."""
        if lines not in self._structures:
            self._structures[lines] = self._made(lines, changes)
        if isinstance(found := self._structures[lines], ConfigError):
            raise found
        return found

    def _made(self, lines: tuple[str, ...], changes: Mapping[str, Any]) -> Structure | ConfigError:
        try:
            structure = Structure.of(self.composer.compose(*lines))
        except ConfigError as error:
            # the same as lines that say what would be right, where they can
            problems: list[str] = []
            with suppress(ConfigError):
                self.composer.fitting(parsed(lines, multirun=False)[0], problems)
            return ConfigError(*(problems or error.problems))
        known = {*structure.keys, *(group for group in structure.choices if "/" not in group)}
        unknown = [f"{key}: unknown key{meant(key, known)}" for key in changes if key not in structure.keys]
        return ConfigError(*unknown) if unknown else structure

    def _said(self, option: Option, values: Mapping[str, Any]) -> Any:
        """What the option comes to: of a group the choice, of a key its value."""
        key = option.override.key_or_group
        if option.simple or self.composer.is_group(key):
            return option.value
        node: Any = values
        for name in key.split("."):
            node = node.get(name) if isinstance(node, Mapping) else None
        return node


def _is_simple(value: Any) -> bool:
    """Whether a value is itself, and nothing that OmegaConf has to work out."""
    if isinstance(value, list):
        return all(not isinstance(item, list | dict) and _is_simple(item) for item in value)
    return not isinstance(value, dict) and "${" not in str(value) and value != "???"


def _related(key: str, other: str) -> bool:
    return key == other or key.startswith(f"{other}.") or other.startswith(f"{key}.")


def _place(override: Override) -> str:
    """The key of an override, or the group: a later one of the same takes its place, with or without `+`."""
    return override.get_key_element().lstrip("+")


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
