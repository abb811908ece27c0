"""From command line to configuration: Hydra composes it, and every mistake is found and reported at once."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lehr.config.schema import did_you_mean

VERSION_BASE = "1.3"


def conf_dir() -> Path:
    """The shipped configuration: inside the package where it was installed, beside `src` in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


class ShippedConfiguration(SearchPathPlugin):
    """Puts the shipped configuration at the end of the search path, so that a user's own folder comes first."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("lehr", f"file://{conf_dir()}")


def register_conf_dir() -> None:
    """Let Hydra find the shipped configuration, whatever its main folder is."""
    Plugins.instance().register(ShippedConfiguration)


@dataclass(frozen=True)
class Composed:
    """A composed configuration.

    Attributes:
        values: every key but Hydra's own, resolved, plain containers.
        output_dir: `hydra.run.dir`, where a single run writes.
    """

    values: dict[str, Any]
    output_dir: str


@dataclass(frozen=True)
class Command:
    """What to compose.

    Attributes:
        name: the primary configuration.
        config_dir: a folder of the user's that comes before the shipped one.
        overrides: as they were typed.
        multirun: whether several values for a key are allowed.
    """

    name: str
    config_dir: Path | None
    overrides: list[str]
    multirun: bool = False


@contextmanager
def _composer(command: Command) -> Iterator[ConfigLoader]:
    register_conf_dir()
    first = command.config_dir or conf_dir()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(first.absolute()), job_name="lehr", version_base=VERSION_BASE):
        yield GlobalHydra.instance().config_loader()


def composed(command: Command) -> tuple[Composed | None, list[str]]:
    """The configuration without the overrides that are wrong in themselves, and one line for each of those.

    None where nothing could be composed. Types and limits of values are for the schema to check.
    """
    if command.config_dir and not command.config_dir.is_dir():
        return None, [f"--config-dir {command.config_dir}: there is no such folder"]
    with _composer(command) as loader:
        overrides, problems = _parsed(command)
        groups = {group: _options(loader, group) for group in _groups(loader)}
        good: list[Override] = []
        for override in overrides:
            if override.key_or_group in groups:
                wrong = _choice_problems(override, groups[override.key_or_group])
                problems += wrong
                good += [] if wrong else [override]
        try:
            known = {*_keys(_compose(command.name, good)), *groups}
            for override in overrides:
                key = override.key_or_group
                if key in groups:
                    continue
                if key in known or override.is_add() or key.startswith("hydra"):
                    good.append(override)
                else:
                    problems.append(f"{key}: unknown key{did_you_mean(key, known)}")
            return _resolved(_compose(command.name, good)), problems
        except (HydraException, OmegaConfBaseException) as error:
            return None, [*problems, _one_line(error)]


def typed_value(command: Command, key: str) -> Any:
    """The value that the command line gives to a top-level key, None where it gives none."""
    overrides, _ = _parsed(command)
    return next((o.value() for o in overrides if o.key_or_group == key and not o.is_sweep_override()), None)


def changed(values: dict[str, Any], command: Command) -> tuple[dict[str, Any], list[str]]:
    """A finished configuration with the overrides on top, and one line for each of them that does not fit.

    Only values of keys can be changed, not which component a group has.
    """
    overrides, problems = _parsed(command)
    config = OmegaConf.create(values)
    known = set(_keys(config))
    for override in overrides:
        key = override.key_or_group
        if key == "resume" or key.startswith("hydra"):
            continue
        if key not in known:
            problems.append(f"{key}: unknown key of the resumed run{did_you_mean(key, known)}")
        elif isinstance(values.get(key), dict) or key in ("seed", "dir"):
            problems.append(f"{override.input_line}: a resumed run keeps its own {key}")
        else:
            OmegaConf.update(config, key, override.value(), merge=False)
    result = OmegaConf.to_container(config, resolve=True)
    assert isinstance(result, dict)
    return {str(key): value for key, value in result.items()}, problems


def points(command: Command) -> Iterator[Command]:
    """Of a sweep, a command for each single value of each key, so that every value is looked at once."""
    overrides, _ = _parsed(command)
    for override in overrides:
        if override.is_sweep_override():
            for value in override.sweep_string_iterator():
                yield replace(command, overrides=[*command.overrides, f"{override.key_or_group}={value}"])


def _parsed(command: Command) -> tuple[list[Override], list[str]]:
    """Each override parsed by itself; of several values for one key only in a sweep, and then the first."""
    parser, overrides, problems = OverridesParser.create(), [], []
    for text in command.overrides:
        try:
            override = parser.parse_override(text)
        except HydraException as error:
            reason = str(error).splitlines()[0]
            problems.append(f"{text}: is not key=value ({reason})" if "=" in text else f"{text}: is not key=value")
            continue
        if override.is_sweep_override() and not command.multirun:
            problems.append(f"{text}: has several values; for one run each, add -m; for a list, write [a,b]")
            continue
        overrides.append(override)
    return overrides, problems


def _line(override: Override) -> str:
    """The override as text; of a sweep its first value."""
    text = override.input_line or ""
    if override.is_sweep_override():
        return f"{text.partition('=')[0]}={next(iter(override.sweep_string_iterator()))}"
    return text


def _choice_problems(override: Override, options: list[str]) -> list[str]:
    if override.is_delete():
        return []
    group = override.key_or_group
    values = list(override.sweep_string_iterator()) if override.is_sweep_override() else [override.value()]
    problems = []
    for value in values:
        if isinstance(value, str) and value not in options:
            problems.append(f"{group}={value}: there is no such choice{did_you_mean(value, options)}")
        elif value is None or isinstance(value, bool | int | float | dict):
            shown = "null" if value is None else value
            problems.append(f"{group}={shown}: must be one of {', '.join(options)}; its keys are set as {group}.KEY")
    return problems


def _options(loader: ConfigLoader, group: str) -> list[str]:
    return [name for name in loader.get_group_options(group, ObjectType.CONFIG) if not name.startswith("_")]


def _groups(loader: ConfigLoader, parent: str = "") -> Iterator[str]:
    for name in loader.list_groups(parent):
        path = f"{parent}/{name}" if parent else name
        yield path
        yield from _groups(loader, path)


def _keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    for name in map(str, config):
        key = f"{prefix}{name}"
        if key == "hydra":
            continue
        yield key
        if not OmegaConf.is_missing(config, name):
            node = config._get_node(name)
            if isinstance(node, DictConfig) and not node._is_none():
                yield from _keys(node, f"{key}.")


def _compose(name: str, overrides: list[Override]) -> DictConfig:
    return compose(name, overrides=[_line(override) for override in overrides], return_hydra_config=True)


def _resolved(config: DictConfig) -> Composed:
    HydraConfig.instance().set_config(config)  # for ${hydra:...}
    output_dir = str(config.hydra.run.dir)
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    values = OmegaConf.to_container(own, resolve=True)
    assert isinstance(values, dict)
    return Composed({str(key): value for key, value in values.items()}, output_dir)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def report(problems: Iterable[str], command: str) -> int:
    """Print each problem on a line of its own; the exit code of a mistake."""
    for problem in problems:
        print(f"lehr {command}: {problem}", file=sys.stderr)
    return 2
