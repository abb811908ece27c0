"""Which choices and which keys a composition has: kept for as long as the shipped files are what they are.

To compose takes tenths of a second, and what can be set has to be known before what was typed is composed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lehr.compose.stamps import Stamps

_MOST = 256
_kept: dict[tuple[Stamps, str, tuple[str, ...]], Outline] = {}


@dataclass(frozen=True)
class Outline:
    """What a composition has, without its values.

    Attributes:
        choices: of the groups that have one.
        keys: every dotted key but Hydra's own, sections included.
    """

    choices: Mapping[str, Any]
    keys: frozenset[str]


def outline(name: str, lines: tuple[str, ...], compose: Callable[..., DictConfig], files: Stamps | None) -> Outline:
    """That of what `compose` makes of these lines.

    Args:
        name: of the primary configuration.
        lines: overrides as Hydra reads them.
        compose: of these, given one by one.
        files: of the shipped configuration, where there are no others, so that what was known of them holds.
    """
    found = _kept.get((files, name, lines)) if files else None
    if found is None:
        config = compose(*lines)
        found = Outline(dict(config.hydra.runtime.choices), frozenset(keys(config)))
        if files:
            if len(_kept) >= _MOST:
                _kept.clear()
            _kept[files, name, lines] = found
    return found


def keys(config: DictConfig, prefix: str = "") -> Iterator[str]:
    """Every dotted key but Hydra's own, sections included."""
    for name in config:  # which in a value of the user's need not be text
        key = prefix + str(name)
        if key == "hydra":
            continue
        yield key
        if not OmegaConf.is_missing(config, name):
            node = config._get_node(name)
            if isinstance(node, DictConfig) and not node._is_none():
                yield from keys(node, f"{key}.")
