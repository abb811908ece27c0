"""How a point of a sweep is composed: by Hydra what it alone can, and once; plain values are set in that."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import Override, OverrideType, RangeSweep, Transformer
from omegaconf import DictConfig, OmegaConf

from lehr.compose.components import run_problems
from lehr.compose.composer import NOT_OF_A_RUN, Composer, resolved, with_given
from lehr.compose.composition import told_in_a_line
from lehr.compose.overrides import line, meant, parsed
from lehr.compose.structure import Structure
from lehr.config.given import NOTHING, Given
from lehr.config.places import located, path_keys
from lehr.config.stages import with_last_stage
from lehr.errors import ConfigError
from lehr.run.identity import is_part
from lehr.sweeps.point import Point
from lehr.training.beginning import start_problems
from lehr.training.debugging.values import several_problem


class RefusedByHydra(ConfigError):
    """A point that had to be composed by itself, which takes tenths of a second, could not be."""


@dataclass(frozen=True)
class Option:
    """One value of an override: how it is typed, what Hydra reads in that, and whether it can simply be set."""

    override: Override
    text: str
    value: Any
    simple: bool


def options(override: Override, recipe: Recipe, is_search: bool = False) -> list[Option]:
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
        as_typed: whether relative paths stay so.
        given: what stands in place of names in each point.
    """

    def __init__(
        self, composer: Composer, overrides: list[Override], as_typed: bool = False, given: Given = NOTHING
    ) -> None:
        self._as_typed, self._given = as_typed, given
        self.moved = False
        """Whether a path of some point was typed as a relative one."""
        self.overrides = overrides
        self.keys = [place(override) for override in overrides if override.is_sweep_override()]
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
                chosen += options(override, self)
            elif (key := place(override)) in values:
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
        values = with_last_stage(with_given(self._values(chosen), self._given))
        if problems := run_problems(values):
            raise ConfigError(*problems)
        if problem := several_problem(values):
            raise ConfigError(problem)
        if problems := start_problems(values):
            raise ConfigError(*problems)
        relative = set(path_keys(values))
        self.moved |= any(map(is_part, relative))
        if relative and not self._as_typed:
            values = located(values)
        swept = {
            place(o.override): self._said(o, values, place(o.override) in relative)
            for o in chosen
            if o.override.is_sweep_override()
        }
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
            raise RefusedByHydra(*error.problems) from error

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

    def _said(self, option: Option, values: Mapping[str, Any], is_path: bool) -> Any:
        """What the option comes to: of a group the choice, of a key its value."""
        key = option.override.key_or_group
        if (option.simple and not is_path) or self.composer.is_group(key):
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


def place(override: Override) -> str:
    """The key of an override, or the group: a later one of the same takes its place, with or without `+`."""
    return override.get_key_element().lstrip("+")
