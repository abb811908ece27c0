"""The words that keys may have as their values, where there are only so many: what a shell can complete.

Those of a list begin with a bracket.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, Literal, get_args, get_origin

from lehr.config.registry import components
from lehr.config.schema import Pool, Section, Sweep, TrainConfig, Trainer, schema_of


def words_of(schema: type[Section], path: str = "") -> dict[str, list[str]]:
    """Key -> words, of the keys of a section that stands at `path`."""
    found = {field.alias or name: _words(field.annotation) for name, field in schema.model_fields.items()}
    return {f"{path}.{name}" if path else name: words for name, words in found.items() if words}


def train_words(config: Mapping[str, Any]) -> dict[str, list[str]]:
    """The same of a training configuration with these components."""
    found = words_of(TrainConfig)
    found |= words_of(Trainer, "trainer") | words_of(Pool, "pool") | words_of(Sweep, "sweep")
    return found | component_words(config)


def component_words(config: Mapping[str, Any]) -> dict[str, list[str]]:
    """The same of the components that a configuration has."""
    found: dict[str, list[str]] = {}
    for group, path, node in components(config):
        if schema := schema_of(group, str(node.get("_target_"))):
            found |= words_of(schema, path)
    return found


def _words(annotation: Any) -> list[str]:
    if annotation is bool:
        return ["false", "true"]
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    words = [word for part in get_args(annotation) for word in _words(part)]
    return [f"[{word}" for word in words] if get_origin(annotation) is list else words


def plain_number(value: object) -> object:
    """A number of numpy's as one of Python's, which it is to whoever hands it over; anything else as it is."""
    if isinstance(value, bool | int | float) or not isinstance(value, Real):
        return value
    return int(value) if isinstance(value, Integral) else float(value)
