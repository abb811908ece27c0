"""Directories that say which point of a sweep lies in them: `weight=0.1,warmup=5,seed=0-3fa9c1d2e0`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

DIGITS = 10
"""Of the identity at the end of a name: enough for 10,000 points to differ, with a chance of 5e-5 that two do not."""
_VALUE_LENGTH = 40  # characters of one value
_NAME_BYTES = 180  # of a name; file systems allow 255, and files within are written under longer temporary names


def name_of(swept: Mapping[str, Any], identity: str) -> str:
    """The directory of the point with these values of the swept keys.

    Keys are shortened to their last word where that is clear. A value that is too long, or holds what a directory
    should not, is shown in part: it is the end of the identity that tells points apart.
    """
    words = [key.replace("/", ".").rpartition(".")[2] for key in swept]
    shown = [
        f"{_plain(key if words.count(word) > 1 else word)}={_plain(_text(value))[:_VALUE_LENGTH].strip('-')}"
        for (key, value), word in zip(swept.items(), words, strict=True)
    ]
    name = ",".join(shown).encode()[:_NAME_BYTES].decode(errors="ignore").rstrip(",=-.")
    return f"{name}-{identity[:DIGITS]}" if name else identity[:DIGITS]


def digits_of(name: str) -> str:
    """The digits of the identity that `name` ends in, or nothing if it is no name of a point."""
    found = re.search(rf"(?:^|-)([0-9a-f]{{{DIGITS}}})$", name)
    return found[1] if found else ""


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
    """Letters and digits of any script, and `. _ + -`; one dash for whatever else there is."""
    return re.sub(r"-{2,}", "-", re.sub(r"[^\w.+-]+", "-", unicodedata.normalize("NFC", text)))
