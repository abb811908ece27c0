"""Directories that say which point of a sweep lies in them: `weight=0.1,warmup=5,seed=0-3fa9c1d2e0`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

DIGITS = 10
"""Of the identity at the end of a name: enough for 10,000 points to differ, with a chance of 5e-5 that two do not."""
_VALUE_LENGTH = 40  # characters of one value
_NAME_BYTES = 180  # of a name; file systems allow 255, and files within are written under longer temporary names


def name_of(swept: Mapping[str, Any], identity: str) -> str:
    """The directory of the point with these values of the swept keys.

    It is the end of the identity that tells points apart.
    """
    label = label_of(swept)
    return f"{label}-{identity[:DIGITS]}" if label else identity[:DIGITS]


def label_of(swept: Mapping[str, Any]) -> str:
    """These values as a directory may be called; a value that is too long, or holds what one should not, in part."""
    shown = [f"{word}={_short(value)}" for word, value in zip(words_of(swept), swept.values(), strict=True)]
    name = unicodedata.normalize("NFC", ",".join(shown))
    return name.encode()[:_NAME_BYTES].decode(errors="ignore").strip(",=-.")


def _short(value: Any) -> str:
    """The beginning of a value; of an absolute path that is too long its last part, which says more."""
    text = _plain(_text(value))
    if len(text) > _VALUE_LENGTH and isinstance(value, str) and value.startswith("/"):
        text = _plain(value.rstrip("/").rpartition("/")[2])
    return text[:_VALUE_LENGTH].rstrip("-")


def words_of(keys: Iterable[str]) -> list[str]:
    """The keys, shortened to their last word where that is clear."""
    keys = list(keys)
    words = [key.replace("/", ".").rpartition(".")[2] for key in keys]
    return [_plain(key if words.count(word) > 1 else word) for key, word in zip(keys, words, strict=True)]


def digits_of(name: str) -> str:
    """The digits of the identity that `name` ends in, or nothing if it is no name of a point."""
    found = re.fullmatch(rf"(?:.*-)?([0-9a-f]{{{DIGITS}}})", name)
    return found[1] if found else ""


def preference(name: str, swept: Mapping[str, Any], identity: str, done: bool) -> tuple[Any, ...]:
    """What to sort the directories of one run by, of which the first counts: a copy lacks the name it was made under.

    Args:
        name: of the directory.
        swept: the values of the swept keys, as point.json has them; empty where there is none.
        identity: of the run.
        done: whether the run there is done.
    """
    made_as = bool(swept) and name == name_of(swept, identity)
    return (not made_as, digits_of(name) != identity[:DIGITS], not done, len(name), name)


def _text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "-".join(map(_text, value))
    if isinstance(value, Mapping):
        return "-".join(f"{key}-{_text(item)}" for key, item in value.items())
    return str(value)


def _plain(text: str) -> str:
    """Letters, digits and signs of any script, and of ASCII's `. _ + -`; one dash for whatever is between them."""
    text = unicodedata.normalize("NFC", text)
    kept = (c if c.isalnum() or c in "._+-" or (not c.isascii() and c.isprintable()) else " " for c in text)
    return re.sub(r"-{2,}", "-", "-".join("".join(kept).split()))
