"""The stages of a training: a list of what each of them changes in the configuration that all have in common.

As it is typed, a stage is a name and values: `{name: low, data.size: 32, trainer.max_epochs: 10}`, dotted or nested.
As it is kept, the configuration of a run is that of its last stage, which is what its directory holds, and each other
stage says every value in which it differs.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any

from lehr.errors import ConfigError

NAME, STAGES = "name", "stages"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_OF_ALL = ("seed", "dir", "resume", "resume_from", "start_from", "overwrite", "debug", "trust", STAGES)


def stage_names(config: Mapping[str, Any]) -> list[str]:
    """The names of the stages in order; none of a training in one."""
    return [str(stage[NAME]) for stage in config.get(STAGES) or ()]


def with_last_stage(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as it is kept, of one as it was typed.

    Raises:
        ConfigError: with a line for each stage that is none.
    """
    stages = config.get(STAGES)
    if not isinstance(stages, list) or not stages:
        return dict(config)
    if problems := list(_problems(stages)):
        raise ConfigError(*problems)
    each = [_changed(config, dict(_flat(_without_name(stage)))) for stage in stages]
    return {**each[-1], STAGES: _kept([stage[NAME] for stage in stages], each)}


def stage_of(config: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The configuration of one stage (0 is the first) of a kept configuration, as that of a training in one."""
    return {**_changed(config, _without_name(config[STAGES][number])), STAGES: []}


def kept_again(config: Mapping[str, Any], stages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The list of stages for a changed configuration of the run, and of each stage but the last."""
    return _kept(stage_names(config), [*stages, dict(config)])


def _kept(names: list[str], each: list[dict[str, Any]]) -> list[dict[str, Any]]:
    last = {key: value for key, value in each[-1].items() if key != STAGES}
    return [{NAME: name, **dict(_differences(last, config))} for name, config in zip(names, each, strict=True)]


def _differences(own: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """What to set in `own` for it to become `other`, by dotted key; a section with other keys is set as a whole."""
    for name, value in other.items():
        key = f"{prefix}{name}"
        if key == STAGES or (
            name in own and own[name] == value and isinstance(own[name], bool) == isinstance(value, bool)
        ):
            continue
        before = own.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping) and value.keys() == before.keys():
            yield from _differences(before, value, f"{key}.")
        else:
            yield key, value


def _changed(config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with these values by dotted key."""
    found = copy.deepcopy(dict(config))
    for key, value in values.items():
        *sections, name = key.split(".")
        node = found
        for section in sections:
            if not isinstance(node.get(section), dict):
                node[section] = {}
            node = node[section]
        node[name] = copy.deepcopy(value)
    return found


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a stage as it was typed, by dotted key; what names a class is set as a whole."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value and "_target_" not in value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _without_name(stage: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in stage.items() if key != NAME}


def _problems(stages: list[Any]) -> Iterator[str]:
    names: list[str] = []
    for i, stage in enumerate(stages):
        if not isinstance(stage, dict) or not isinstance(name := stage.get(NAME), str) or not _NAME.fullmatch(name):
            yield f"stages.{i}: must be values and a name of letters, digits, - and _: {{name: low, data.size: 32}}"
            continue
        if name in names:
            yield f"stages.{name}: there are two of this name"
        names.append(name)
        for key in stage:
            if str(key).partition(".")[0] in _OF_ALL:
                yield f"stages.{name}: {key} is of the whole run; say it outside of the stages"
