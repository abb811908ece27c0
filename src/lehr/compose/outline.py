"""Which choices and which keys a composition has: kept for as long as the shipped files are what they are.

To compose takes tenths of a second, and what can be set has to be known before what was typed is composed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lehr.compose.stamps import Stamps, stamps

_MOST = 256
_kept: dict[tuple[str, tuple[str, ...]], Outline] = {}
_files: Stamps = ()


@dataclass(frozen=True)
class Outline:
    """What a composition has, without its values.

    Attributes:
        choices: of the groups that have one.
        keys: every dotted key but Hydra's own, sections included.
    """

    choices: Mapping[str, Any]
    keys: frozenset[str]


def outline(name: str, lines: tuple[str, ...], compose: Callable[..., DictConfig], shipped: bool) -> Outline:
    """That of what `compose` makes of these lines.

    Args:
        name: of the primary configuration.
        lines: overrides as Hydra reads them.
        compose: of these, given one by one.
        shipped: whether all files are lehr's own, so that what was known of them holds.
    """
    global _files
    if shipped and (files := stamps()) != _files:
        _kept.clear()
        _files = files
    if not shipped or (name, lines) not in _kept:
        config = compose(*lines)
        found = Outline(dict(config.hydra.runtime.choices), frozenset(keys(config)))
        if not shipped:
            return found
        if len(_kept) >= _MOST:
            _kept.clear()
        _kept[name, lines] = found
    return _kept[name, lines]


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
