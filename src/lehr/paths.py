"""Paths as they are typed: where they lead is decided in one place, and once."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lehr.errors import ConfigError


def cache_folder() -> Path:
    """The user's own cache: $XDG_CACHE_HOME/lehr, or ~/.cache/lehr."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if Path(root).is_absolute() else Path("~/.cache").expanduser()) / "lehr"


def expanded(text: str | os.PathLike[str]) -> Path:
    """The path that was typed, with `~` and `~name` at its start as homes; what is relative stays so.

    Raises:
        ConfigError: if there is no such user.
    """
    text = os.fspath(text)
    found = os.path.expanduser(text)
    if text.startswith("~") and found == text:
        user = text[1:].partition("/")[0]
        raise ConfigError(f"{text}: there is no user {user}; a folder of that name is ./{text}")
    return Path(found)


def absolute(text: str | os.PathLike[str]) -> str:
    """The same place wherever one is: what is relative is so to the working directory. Links stay as they are.

    Raises:
        ConfigError: as of `expanded`.
    """
    return str(expanded(text).absolute())


def may_be_on_hub(text: str) -> bool:
    """Whether text that is no path here can be a name on the Hugging Face hub: owner/name."""
    return (
        re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+(?<!\.safetensors)(?<!\.ckpt)(?<!\.pth)(?<!\.pt)(?<!\.bin)", text)
        is not None
    )
