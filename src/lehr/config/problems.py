"""What is wrong with a configuration: one line for each value, saying the key, the value, and what would be right."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from pydantic import ValidationError

from lehr.config.given import STAND_INS, nothing_given
from lehr.config.registry import ALLOWED_PACKAGES, GROUPS, components, targets
from lehr.config.schema import Section, TrainConfig, schema_of


def nearest(name: str, among: Iterable[str]) -> str | None:
    """The most similar of `among`, or None where nothing is similar."""
    found = difflib.get_close_matches(name, list(among), n=1, cutoff=0.6 if len(name) <= 5 else 0.7)
    return found[0] if found else None


def did_you_mean(name: str, among: Iterable[str]) -> str:
    """`; did you mean X?`, or where nothing is similar what there is, if that is little enough to read."""
    among = sorted(among)
    if match := nearest(name, among):
        return f"; did you mean {match}?"
    return f"; there are: {', '.join(among)}" if len(among) <= _READABLE else ""


_READABLE = 12


def train_problems(config: Mapping[str, Any]) -> list[str]:
    """One line for each value of a training configuration that is unknown, of the wrong type, or out of range."""
    return config_problems(TrainConfig, config)


def config_problems(schema: type[Section], config: Mapping[str, Any]) -> list[str]:
    """The same of a configuration whose own keys `schema` describes: of these, and of the components that it has."""
    unnamed = [name for name, group in GROUPS.items() if group.several and "_target_" in (config.get(name) or ())]
    if unnamed:
        return [
            f"{name}._target_={config[name]['_target_']}: there can be several; name it: {name}.NAME._target_=..."
            for name in unnamed
        ]
    problems = section_problems(schema, config)
    trust = config.get("trust")
    trust = trust if isinstance(trust, list) else []
    for group, path, node in components(config):
        # where there may be none an empty component is none; any other cannot be built
        if node or not GROUPS[group].optional:
            problems += _component_problems(group, path, node, trust)
    problems = list(dict.fromkeys(problems))
    # data.seed and kl.seed are seed, unless they were set by themselves
    return [p for p in problems if not (p.startswith(("data.seed=", "kl.seed=")) and p.partition(".")[2] in problems)]


def section_problems(schema: type[Section], values: Mapping[str, Any], path: str = "") -> list[str]:
    """One line for each value of `values` that `schema` does not allow; `path` is where they stand."""
    large = dict(_too_large(values, path))
    problems = [f"{key}={number}: must be between -2^63 and 2^63" for key, number in large.items()]
    try:
        schema.model_validate(dict(values))
    except ValidationError as error:
        problems += [line for line in _lines(error, schema, path) if line.partition("=")[0] not in large]
    return list(dict.fromkeys(problems))


_LARGE = 2**63
"""What is computed with is at most this large: no tensor, and no number of another library's, holds larger integers."""


def _too_large(value: Any, key: str) -> Iterator[tuple[str, int]]:
    """Each integer in a value that is too large, with where it stands; of a list the first."""
    if isinstance(value, int) and not isinstance(value, bool) and not -_LARGE < value < _LARGE:
        yield key, value
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from _too_large(part, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        yield from islice((found for i, part in enumerate(value) for found in _too_large(part, f"{key}.{i}")), 1)


def _component_problems(group: str, path: str, node: Mapping[str, Any], trust: Iterable[str]) -> list[str]:
    target = node.get("_target_")
    if not isinstance(target, str) or not target.strip(" .\t\n") or target.startswith("."):
        return [f"{path}._target_={_shown(target)}: must name a class, such as {targets(group)[0]}"]
    if problem := nothing_given(group, node):
        return [problem]
    if schema := schema_of(group, target):
        return section_problems(schema, node, path)
    package = target.partition(".")[0]
    if package not in (*ALLOWED_PACKAGES, *trust):
        return [
            f"{path}._target_={target}: package {package!r} is not trusted; if you trust it, say 'trust=[{package}]'"
        ]
    modules = {known.rpartition(".")[0] for known in targets(group)}
    if package == "lehr" and target.rpartition(".")[0] in modules:
        own = set(targets(group)) - set(STAND_INS.get(group, ()))
        return [f"{path}._target_={target}: is not a class for {group}{did_you_mean(target, own)}"]
    return []


def _lines(error: ValidationError, schema: type[Section], path: str) -> Iterable[str]:
    # a union reports each of its branches: they are joined into one line for the key
    messages: dict[str, list[str]] = {}
    inputs: dict[str, Any] = {}
    for detail in error.errors(include_url=False):
        location = [part for part in detail["loc"] if not _is_branch(part)]
        key = ".".join(str(part) for part in ([path] if path else []) + location)
        if detail["type"] == "extra_forbidden":
            section = _section_at(schema, location[:-1])
            names = [field.alias or name for name, field in section.model_fields.items() if field.alias != "_target_"]
            prefix = ".".join(str(part) for part in ([path] if path else []) + location[:-1])
            known = [f"{prefix}.{name}" if prefix else name for name in names]
            # what a file without that first line says lands under the name of its group
            lost = key == "experiment"
            hint = "; a file in experiment/ begins with '# @package _global_'" if lost else did_you_mean(key, known)
            yield f"{key}: unknown key{schema.class_name and f' of {schema.class_name}'}{hint}"
        elif detail["type"] == "missing":
            yield f"{key}: is missing{schema.class_name and f'; {schema.class_name} needs it'}"
        elif detail["type"] == "string_type" and detail["input"] is None:
            yield f"{key}: is missing; say {key}=PATH"
        elif detail["type"] == "string_too_short":
            yield f"{key}=: must not be empty"
        elif detail["type"] == "value_error":
            yield f"{key}: {detail['ctx']['error']}"
        elif detail["type"] in ("too_short", "too_long"):
            yield f"{key}={detail['input']}: must have {_bounds(detail['ctx'])} values"
        else:
            messages.setdefault(key, []).append(_condition(detail, key))
            inputs[key] = detail["input"]
    for key, parts in _first_of_each_list(messages).items():
        yield f"{key}={_shown(inputs[key])}: must be {' or '.join(dict.fromkeys(parts))}"


def _first_of_each_list(messages: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """What is wrong with single values, and with the first of those in each list: the others are as wrong."""
    lists: dict[str, str] = {}
    for key in messages:
        section, _, name = key.rpartition(".")
        lists.setdefault(section if name.isdigit() else key, key)
    return {key: messages[key] for key in lists.values()}


def _condition(detail: Any, key: str) -> str:
    """What a value must be, in pydantic's words, fit to stand after "must be"."""
    if detail["type"] == "string_type" and isinstance(detail["input"], int | float):
        return f"a string; if it is meant to be one, quote it twice: {key}=\"'...'\""
    if detail["type"].startswith("bool_"):
        return "true or false"
    if detail["type"] == "string_unicode":
        return "UTF-8, of a path every part; rename what is not, or go there by a link with another name"
    message = detail["msg"].replace("Input should be ", "").replace("a valid ", "a ").replace("a integer", "an integer")
    return re.sub(r" or instance of \w+", "", message)


def _bounds(limits: Mapping[str, Any]) -> str:
    if "min_length" in limits:
        return f"at least {limits['min_length']}"
    return f"at most {limits['max_length']}"


def _shown(value: object) -> str:
    return "null" if value is None else str(value)


def _is_branch(part: object) -> bool:
    """Whether pydantic put this part into a location to name a branch of a union, not a key."""
    return isinstance(part, str) and (part.startswith(("literal[", "constrained-", "function-")) or part in _BRANCHES)


_BRANCHES = {"int", "float", "str", "bool", "none", "dict[str,any]", "list[str]"}


def _section_at(schema: type[Section], location: list[Any]) -> type[Section]:
    for part in location:
        field = schema.model_fields.get(str(part))
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, Section)):
            break
        schema = annotation
    return schema
