"""Values given in Python as the words that are typed on the command line, so that both mean the same."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString

from lehr.errors import ConfigError


def words_of(words: str | Iterable[str], keys: Mapping[str, Any]) -> list[str]:
    """What was said: as on the command line, then by keys.

    Args:
        words: "key=value", one or several.
        keys: dotted key -> value; that of a group is the name of a choice.

    Raises:
        ConfigError: for words that are no text, and for values that no configuration can hold.
    """
    if not isinstance(words, Iterable) or isinstance(words, bytes | Mapping):
        given = "a mapping, which is given as **keys" if isinstance(words, Mapping) else f"{words!r}"
        raise ConfigError(f"words: got {given}, expected text, as in ['kl.weight=4']")
    said = [words] if isinstance(words, str) else list(words)
    problems = [f"{word!r}: must be text, as in 'kl.weight=4'" for word in said if not isinstance(word, str)]
    for key, value in keys.items():
        try:
            said.append(f"{key}={as_word(value)}")
        except TypeError as error:
            problems.append(f"{key}: {error}")
    if problems:
        raise ConfigError(*problems)
    return said


def grid_words(grid: Mapping[str, Any], keys: Iterable[str] = ()) -> list[str]:
    """The words of a grid: key -> its values. Text is taken as it would be typed, as in "interval(0.1, 10)".

    Args:
        grid: the values of each key.
        keys: those that all runs have in common.

    Raises:
        ConfigError: for values that no configuration can hold, for none, and for a key that is among `keys` too.
    """
    said = []
    problems = [
        f"{key}: is in the grid, and has one value for all runs as well; leave one out" for key in keys if key in grid
    ]
    for key, values in grid.items():
        if isinstance(values, str):
            said.append(f"{key}={values}")
            continue
        try:
            several = list(values) if isinstance(values, Iterable) and not isinstance(values, Mapping) else [values]
            said.append(f"{key}={','.join(map(as_word, several))}")
            if not several:
                problems.append(f"{key}: has no values")
        except TypeError as error:
            problems.append(f"{key}: {error}")
    if problems:
        raise ConfigError(*problems)
    return said


def as_word(value: Any) -> str:
    """A value as it is typed: text in quotes where it could be taken for something else.

    Raises:
        TypeError: if it is no value of a configuration.
    """
    if value is None:
        return "null"
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
        return "true" if value else "false"
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        return repr(float(value))
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str):
        return value if value.isidentifier() and not _is_a_word(value) else _quoted(value)
    if isinstance(value, Mapping):
        if odd := [key for key in value if not isinstance(key, str) or not key.isidentifier()]:
            raise TypeError(f"{odd[0]!r} is no name of a key")
        return "{" + ",".join(f"{key}:{as_word(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(as_word, value)) + "]"
    raise TypeError(f"a {type(value).__name__} is no value of a configuration; give a number, text, a list or None")


def _is_a_word(text: str) -> bool:
    """Whether the command line takes these letters for something else than text."""
    return text.lower() in ("null", "true", "false", "nan", "inf")


def _quoted(text: str) -> str:
    return QuotedString(text, Quote.single).with_quotes()
