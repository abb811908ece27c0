"""Which values of a configuration are paths, and the configuration with all of them absolute.

So that it means the same wherever one is when the run is gone on with, evaluated, or looked for in a sweep.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, get_args

from lehr.config.build import signature
from lehr.config.registry import components
from lehr.config.schema import schema_of
from lehr.config.signature import Signature
from lehr.config.stages import kept_again, stage_names, stage_of
from lehr.errors import ConfigError
from lehr.limits import IsPath, is_marked
from lehr.paths import absolute

_BY_NAME = ("path", "test_path", "root")
"""What paths are called in classes that do not say which of their values are."""


def located(config: Mapping[str, Any], but: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The configuration of a run with absolute paths. What has none is shared.

    Args:
        config: that has passed all checks.
        but: an earlier configuration of the run, whose paths stay as they are: where they were typed is not known.
    """
    found = dict(config)
    for key in _path_keys(config):
        *sections, name = key.split(".")
        node: Any = found
        before: Any = but or {}
        for section in sections:
            node[section] = dict(node[section])
            node, before = node[section], before.get(section) or {}
        if node[name] != before.get(name):
            node[name] = absolute(node[name])
    if len(stages := stage_names(config)) > 1:
        found["stages"] = kept_again(found, [located(stage_of(config, i)) for i in range(len(stages) - 1)])
    return found


def path_keys(config: Mapping[str, Any]) -> Iterator[str]:
    """The dotted keys of the paths that are not absolute; `stages` where one of a stage is not."""
    yield from _path_keys(config)
    if any(path for i in range(len(stage_names(config)) - 1) for path in _path_keys(stage_of(config, i))):
        yield "stages"


def _path_keys(config: Mapping[str, Any]) -> Iterator[str]:
    """The dotted keys of the paths that are not absolute: what it starts from, and those in its components."""
    if isinstance(start := config.get("start_from"), str) and start and not Path(start).is_absolute():
        yield "start_from"
    trust = config.get("trust")
    trusted = tuple(map(str, trust)) if isinstance(trust, list) else ()
    for group, key, node in components(config):
        target = node.get("_target_")
        if isinstance(target, str):
            for name in _names(group, target, trusted):
                if isinstance(value := node.get(name), str) and value and not Path(value).is_absolute():
                    yield f"{key}.{name}"


@cache
def _names(group: str, target: str, trust: tuple[str, ...]) -> tuple[str, ...]:
    """The arguments of a class that are paths. Of anyone's own it is imported, as it will be to train."""
    if schema_of(group, target) is None and target.partition(".")[0] not in trust:
        return ()
    with suppress(ConfigError):
        return tuple(name for name in _paths(signature(group, target, trust)))
    return ()


def _paths(of: Signature) -> Iterator[str]:
    for name, parameter in of.parameters.items():
        if _is_path(parameter.annotation) or (name in _BY_NAME and not _says(parameter.annotation)):
            yield name


def _says(annotation: Any) -> bool:
    """Whether an annotation says that a value is something else than a path."""
    return annotation is not Any and not any(one in (str, Path) for one in (annotation, *get_args(annotation)))


def _is_path(annotation: Any) -> bool:
    return Path in (annotation, *get_args(annotation)) or is_marked(annotation, IsPath)
