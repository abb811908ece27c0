"""The words of `lehr train` that give a configuration: the choices of its groups, and what differs from them.

So advice about a run can be a command that is complete, whether the run was begun by words, in Python or in a sweep.
The shipped files are read as they are, without Hydra.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import yaml

from lehr.config.registry import GROUPS, conf_dir

_LEFT_OUT = ("dir", "resume", "resume_from", "overwrite", "debug", "hydra", "sweep", "pool", "defaults")
_REFERENCE = re.compile(r"\$\{([\w.]+)\}")
_PLAIN = re.compile(r"[A-Za-z_./-][\w./+%@:-]*(?<!:)")  # no number, and nothing that Hydra's grammar reads otherwise
_WORDS_OF_ITS_OWN = {"true", "false", "null", "nan", "inf", "on", "off", "yes", "no"}

Config = Mapping[str, Any]


def train_words(config: Config, changes: Iterable[str] = ()) -> list[str] | None:
    """The words of `lehr train` for a resolved configuration, with these `changes` in place of what it has there.

    None where a component is not of the shipped choices, as one of the user's own: its words only the user knows.
    """
    words: dict[str, str] = {}
    for section in (*GROUPS, "trainer"):
        found = _section_words(section, config)
        if found is None:
            return None
        words |= found
    others = {key: value for key, value in _main().items() if key not in (*_LEFT_OUT, *GROUPS, "trainer")}
    own = {key: config[key] for key in others if key in config}
    words |= {key: f"{key}={written(value)}" for key, value in _differing(own, others, config)}
    for change in changes:
        key = change.partition("=")[0]
        words = {name: word for name, word in words.items() if name != key and not name.startswith(f"{key}.")}
        words[key] = change
    return list(words.values())


def train_command(config: Config, changes: Iterable[str]) -> str:
    """The command that trains a new run with these changes; `...` in it stands for words that are not known."""
    words = train_words(config, changes)
    if words is None:
        return f"lehr train ... {shlex.join(changes)}"
    return f"lehr train {shlex.join(words)}"


def written(value: Any) -> str:
    """A value as it is typed on the command line, before the shell's own quotes."""
    if isinstance(value, str):
        if _PLAIN.fullmatch(value) and value.lower() not in _WORDS_OF_ITS_OWN:
            return value
        # a backslash counts only before a quote
        escaped = re.sub(r"(\\*)'", lambda match: f"{match[1] * 2}\\'", value)
        ending = re.search(r"\\*$", escaped)
        return f"'{escaped}{ending[0] if ending else ''}'"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(written, value))}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{written(item)}" for key, item in value.items()) + "}"
    return json.dumps(value) if value is None or isinstance(value, bool | int) else repr(value)


def choices(group: str) -> Mapping[str, Config]:
    """Name -> values of the shipped choices of a group."""
    return _choices(group)


def choice_of(group: str, node: Config) -> str | None:
    """The first of the shipped choices of a group that says all that `node` says; None where there is none."""
    for name, values in sorted(choices(group).items()):
        if all(key in values and values[key] == value for key, value in node.items()):
            return name
    return None


def _section_words(section: str, config: Config) -> dict[str, str] | None:
    """Key -> word of one section; None where no shipped choice is of its class."""
    if section not in config:
        return {}
    node = config[section]
    if not isinstance(node, Mapping) or (not node and section in GROUPS):
        # no logger, no average
        return {section: f"{section}=none"} if section == "logger" and "none" in _choices(section) else {}
    first = _first_choices().get(section, "default")
    if section in GROUPS and GROUPS[section].several and (named := _named_words(section, node, config)):
        return named
    best: dict[str, str] | None = None
    for name in sorted(_choices(section), key=lambda name: (name != first, name)):
        choice = _choices(section)[name]
        if choice.get("_target_") != node.get("_target_"):
            continue
        words = {} if name == first else {section: f"{section}={name}"}
        for key, value in _differing(node, choice, config, f"{section}."):
            words[key] = f"{key}={written(value)}"
        if best is None or len(words) < len(best):
            best = words
    return best


def _named_words(section: str, node: Config, config: Config) -> dict[str, str]:
    """Key -> word of a section of several components, each of the file of its name; nothing where one has none."""
    there = _choices(section)
    if any(name not in there or set(there[name]) != {name} for name in node):
        return {}
    if any(one.get("_target_") != there[name][name]["_target_"] for name, one in node.items()):
        return {}
    names = list(node)
    words = {} if names == [_first_choices().get(section)] else {section: f"{section}={written(names)}"}
    if len(names) == 1 and words:
        words = {section: f"{section}={names[0]}"}
    for name, one in node.items():
        for key, value in _differing(one, there[name][name], config, f"{section}.{name}."):
            words[key] = f"{key}={written(value)}"
    return words


def _differing(node: Config, choice: Config, config: Config, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of what `node` has otherwise than the shipped `choice`."""
    for name, value in node.items():
        key, there = f"{prefix}{name}", choice.get(name)
        if isinstance(value, Mapping) and isinstance(there, Mapping) and there:
            yield from _differing(value, there, config, f"{key}.")
        elif name not in choice:
            if value is not None:  # null is what a key that is not said has
                yield f"+{key}", value
        elif value != _resolved(there, config):
            yield key, value


def _resolved(value: Any, config: Config) -> Any:
    """A value of a shipped file, where it refers to another key that of the configuration."""
    if isinstance(value, str) and (match := _REFERENCE.fullmatch(value)):
        node: Any = config
        for name in match[1].split("."):
            node = node.get(name) if isinstance(node, Mapping) else None
        return node
    return value


@cache
def _choices(group: str) -> dict[str, Config]:
    """Name -> content of the shipped files of a group."""
    return {path.stem: _read(group, path.stem) for path in (conf_dir() / group).glob("[!_]*.yaml")}


def _read(group: str, name: str) -> dict[str, Any]:
    content = yaml.safe_load((conf_dir() / group / f"{name}.yaml").read_text(encoding="utf-8")) or {}
    found: dict[str, Any] = {}
    for word in content.pop("defaults", []):
        if word != "_self_":
            name, _, package = word.partition("@")
            found = _merged(found, {package: _read(group, name)} if package else _read(group, name))
    return _merged(found, content)


def _merged(below: Config, above: Config) -> dict[str, Any]:
    """`below` with what `above` says, section by section."""
    found = dict(below)
    for key, value in above.items():
        there = found.get(key)
        found[key] = _merged(there, value) if isinstance(there, Mapping) and isinstance(value, Mapping) else value
    return found


@cache
def _main() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((conf_dir() / "train.yaml").read_text(encoding="utf-8"))
    return found


@cache
def _first_choices() -> dict[str, str]:
    """Group -> what is chosen of it without a word."""
    pairs = [pair for word in _main()["defaults"] if isinstance(word, dict) for pair in word.items()]
    return {group: choice for group, choice in pairs if isinstance(choice, str)}
