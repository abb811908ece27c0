"""From words to a configuration: Hydra composes it, and every mistake is found and reported at once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException, ValidationError

from lehr.compose.composition import composition, hydra_of, in_one_line, of_the_program_kept, options_of, told_in_a_line
from lehr.compose.outline import Outline, keys, outline
from lehr.compose.overrides import choice_problems, left_out, line, meant, parsed
from lehr.compose.stamps import stamps
from lehr.config.given import NOTHING, Given, named, with_stubs
from lehr.config.problems import did_you_mean, section_problems
from lehr.config.registry import conf_dir
from lehr.config.schema import schema_of
from lehr.config.stages import with_last_stage
from lehr.errors import ConfigError, LehrError
from lehr.paths import expanded

NOT_OF_A_RUN = ("hydra", "pool", "sweep")
"""Sections that say how many runs are done, and are in no run's own configuration."""
_OF_MANY = ("hydra/launcher", "hydra/sweeper")


@dataclass(frozen=True)
class Composed:
    """A composed configuration.

    Attributes:
        values: of a run, every key, resolved, plain containers.
        output_dir: `hydra.run.dir`, where a single run writes.
        is_dated: whether that is named by the clock.
    """

    values: dict[str, Any]
    output_dir: str
    is_dated: bool


@dataclass(frozen=True)
class Command:
    """What to compose.

    Attributes:
        name: the primary configuration.
        config_dir: a folder of the user's that comes before the shipped one.
        overrides: as they were typed.
        multirun: whether several values for a key are allowed.
        given: what stands in place of names, see `lehr.run.objects`.
    """

    name: str
    config_dir: Path | None
    overrides: list[str]
    multirun: bool = False
    given: Given = field(default_factory=lambda: NOTHING)


class Composer:
    """Hydra, for one primary configuration. The last compositions are kept: each takes tenths of a second.

    Raises:
        ConfigError: if there is no such configuration; `compose` and `options`: for what Hydra finds wrong.
    """

    def __init__(self, command: Command) -> None:
        if command.config_dir and not command.config_dir.is_dir():
            raise ConfigError(f"--config-dir {command.config_dir}: there is no such folder")
        self._first = command.config_dir or conf_dir()
        self._files = stamps() if command.config_dir is None else None  # one look at them for a whole command
        self._name = command.name.removesuffix(".yaml")
        self.compose = lru_cache(maxsize=8)(self._compose)
        self.options = lru_cache(maxsize=None)(self._options)
        if self._name not in (names := self.options("")):
            hint = did_you_mean(self._name, names)
            raise ConfigError(f"--config-name {command.name}: there is no such configuration{hint}")

    def _options(self, group: str) -> list[str]:
        return options_of(self._first, group, self._files)

    def _compose(self, *lines: str) -> DictConfig:
        return composition(self._first, self._name, lines, self._files)

    def loader(self) -> ConfigLoader:
        """What Hydra composes with, for processes elsewhere."""
        with hydra_of(self._first) as loader:
            return loader

    def choices(self) -> dict[str, Any]:
        """The groups that have a choice, and which, with nothing overridden."""
        return dict(self._outline().choices)

    def _outline(self, *lines: str) -> Outline:
        return outline(self._name, lines, self.compose, self._files)

    def is_group(self, key: str) -> bool:
        return key != "hydra" and "." not in key and bool(self.options(key))

    def _is_section_of_hydra(self, key: str) -> bool:
        node: Any = self.compose() if key.partition(".")[0] == "hydra" else None
        for name in key.split("."):  # without resolving: some values of Hydra's are there only within a sweep
            node = node._get_node(name, validate_access=False) if isinstance(node, DictConfig) else None
        return isinstance(node, DictConfig)

    def fitting(self, overrides: list[Override], problems: list[str]) -> list[Override]:
        """The overrides that name a group or a key there is, in order; one line for each other goes to `problems`."""
        defaults = self.choices()
        good: list[Override] = []
        doubtful: set[str] = set()  # groups whose choice is wrong, so that their keys are not known
        for override in overrides:
            if self.is_group(group := override.key_or_group):
                wrong = choice_problems(override, self.options(group), defaults)
                problems += wrong
                if wrong:
                    doubtful.add(group)
                else:
                    good.append(override)
        known = {*self._outline(*map(line, good)).keys, *(name for name in defaults if "/" not in name)}
        for override in overrides:
            key = override.key_or_group
            if self.is_group(key):
                continue
            if self._is_section_of_hydra(key) and not (override.is_delete() or isinstance(override.value(), dict)):
                problems.append(f"{override.input_line}: is a section; its keys are set as {key}.KEY")
            elif isinstance(override.value(), dict) and isinstance(OmegaConf.select(self.compose(), key), ListConfig):
                problems.append(f"{override.input_line}: must be a list; write {key}=[...]")
            elif key in known or override.is_add() or key.startswith("hydra"):
                good.append(override)
            elif key.partition(".")[0] not in doubtful:
                problems.append(f"{key}: {left_out(key, known, self.options) or f'unknown key{meant(key, known)}'}")
        kept = {id(override) for override in good}
        return [override for override in overrides if id(override) in kept]


def composed(command: Command) -> tuple[Composed | None, list[str]]:
    """The configuration without the overrides that are wrong in themselves, and one line for each of those.

    None where nothing could be composed. Types and limits of values are for the schema to check.
    """
    problems: list[str] = []
    try:
        composer = Composer(command)
        overrides, problems = parsed(command.overrides, command.multirun)
        config = composer.compose(*map(line, composer.fitting(overrides, problems)))
        if not command.multirun and (name := config.hydra.runtime.choices.get("sweep")) is not None:
            problems.append(f"sweep={name}: is for many runs; add -m")
        found = resolved(config)
        return replace(found, values=with_last_stage(with_given(found.values, command.given))), problems
    except ConfigError as error:
        return None, [*problems, *error.problems]


def vocabulary(command: Command) -> tuple[dict[str, list[str]], DictConfig]:
    """Of the configuration as chosen so far, mistakes left out: groups and their choices, and what is composed."""
    overrides, _ = parsed(command.overrides, multirun=True)
    composer = Composer(command)
    of_hydra = _OF_MANY if command.multirun else ()
    names = [name for name in composer.choices() if name in of_hydra or not name.startswith("hydra/")]
    groups = {name: named(name, composer.options(name)) for name in names}
    choices = [override for override in overrides if override.key_or_group in groups]
    good = [o for o in choices if not choice_problems(o, groups[o.key_or_group], composer.choices())]
    return groups, composer.compose(*map(line, good))


def typed_value(command: Command, key: str) -> Any:
    """The value that the command line gives to a top-level key, None where it gives none."""
    overrides, _ = parsed(command.overrides, command.multirun)
    return next((override.value() for override in reversed(overrides) if override.key_or_group == key), None)


def changed(values: dict[str, Any], command: Command, of: str = "the resumed run") -> tuple[dict[str, Any], list[str]]:
    """A finished configuration, `of` what, with the overrides on top, and one line for each that does not fit.

    Only values of keys can be changed, not which component a group has.
    """
    overrides, problems = parsed(command.overrides, command.multirun)
    config = OmegaConf.create(values)
    known = set(keys(config))
    for override in overrides:
        key = override.key_or_group
        if key in ("resume", "resume_from") or key.startswith(("hydra", "pool.", "sweep.")):
            continue
        if key not in known:
            problems.append(f"{key}: unknown key of {of}{meant(key, known)}")
        elif override.is_delete():
            problems.append(f"{override.input_line}: nothing can be removed from a resumed run")
        elif isinstance(values.get(key), dict) or key in ("seed", "dir"):
            problems.append(f"{override.input_line}: a resumed run keeps its own {key}")
        else:
            OmegaConf.update(config, key, override.value(), merge=False)
    try:
        result = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        return values, [*problems, in_one_line(error)]
    assert isinstance(result, dict)
    return {str(key): value for key, value in result.items()}, problems


def resolved(config: DictConfig) -> Composed:
    """What a composition comes to.

    Raises:
        ConfigError: if an interpolation leads nowhere.
    """
    with of_the_program_kept(), told_in_a_line():
        HydraConfig.instance().set_config(config)  # for ${hydra:...}
        try:
            output_dir = at_home("dir=", str(config.hydra.run.dir))
        except ValidationError:
            output_dir = ""  # `dir` is no string, which the schema will say
        values = plain(OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"]))
        words = plain(OmegaConf.masked_copy(config, ["dir"]), resolve=False), plain(config.hydra.run, resolve=False)
        is_dated = any("${now:" in str(word) for word in words)
        return Composed({key: value for key, value in values.items() if key not in NOT_OF_A_RUN}, output_dir, is_dated)


def with_given(values: dict[str, Any], given: Given) -> dict[str, Any]:
    """The values of a run with what they say of objects that are given in place of names.

    Raises:
        ConfigError: a line for each thing that is wrong with these.
    """
    if not given:
        return values
    from lehr.run.objects import with_sections

    # what they come to depends on values that have to be right for that; where not, whoever checks them says so
    stubs = with_stubs(values, given)
    nodes = {group: node for group in given if isinstance(node := stubs.get(group), dict)}
    for group, node in nodes.items():
        if (schema := schema_of(group, node["_target_"])) and section_problems(schema, node, group):
            return stubs
    try:
        return with_sections(values, given)
    except LehrError as error:
        raise ConfigError(*error.problems) from error


def at_home(key: str, text: str) -> str:
    """A path as it was typed, but for a home at its start; `key` is what was typed before it.

    Raises:
        ConfigError: if there is no such home.
    """
    try:
        return str(expanded(text)) if text.startswith("~") else text
    except ConfigError as error:
        raise ConfigError(*(f"{key}{problem}" for problem in error.problems)) from error


def plain(config: Any, resolve: bool = True) -> dict[str, Any]:
    """A node with keys as plain containers."""
    found = OmegaConf.to_container(config, resolve=resolve)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}
