"""A configuration that Hydra has composed once, and in which values are then set without it, thousands in a second."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lehr.compose.composer import NOT_OF_A_RUN, Composed, plain, resolved
from lehr.compose.outline import keys
from lehr.errors import ConfigError
from lehr.run.identity import flat

_REFERENCE = re.compile(r"\$\{([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\}")
_OF_NO_KEY = re.compile(r"\$\{(?:oc\.env:|now:|hydra:runtime\.choices\.)[^${}]*\}")


@dataclass(frozen=True)
class Structure:
    """A composition, and which of its values depend on which.

    Attributes:
        composed: what it comes to as it stands; None where it comes to nothing without the values that are to be set.
        choices: group -> choice, of all that have one.
        keys: every key, sections included.
        leaves: keys of what is no section.
        links: key -> the key whose value it takes.
        simple: whether no value depends on others in any other way.
    """

    composed: Composed | None
    choices: dict[str, Any]
    keys: frozenset[str]
    leaves: frozenset[str]
    links: dict[str, str]
    simple: bool

    @classmethod
    def of(cls, config: DictConfig) -> Structure:
        """The structure of a composition."""
        raw = plain(OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"]), resolve=False)
        leaves = {key: value for key, value in flat(raw) if key not in ("dir", *_sections_of_many(raw))}
        texts = {key: str(value) for key, value in leaves.items() if "${" in str(value)}
        found = {key: match[1] for key, text in texts.items() if (match := _REFERENCE.fullmatch(text))}
        links = {key: other for key, other in found.items() if other in leaves and _leads_there(key, raw)}
        rest = (text for key, text in texts.items() if key not in links)
        try:
            composed = resolved(config)
        except ConfigError:
            composed = None
        return cls(
            composed,
            choices=dict(config.hydra.runtime.choices),
            keys=frozenset(keys(config)),
            leaves=frozenset(leaves),
            links=links,
            simple=composed is not None and all("${" not in _OF_NO_KEY.sub("", text) for text in rest),
        )

    @cached_property
    def of_a_run(self) -> dict[str, str]:
        """The choices that a run is made of."""
        return {
            group: name
            for group, name in self.choices.items()
            if isinstance(name, str) and group.partition("/")[0] not in NOT_OF_A_RUN
        }

    def takes(self, changes: Mapping[str, Any]) -> bool:
        """Whether `with_values` gives for these values what Hydra would."""
        return self.composed is not None and (
            not changes
            or (
                self.simple
                and self.leaves.issuperset(changes)
                # a list is merged into what stands there, which through a link is another key's
                and not any(isinstance(value, list) and key in self.links for key, value in changes.items())
            )
        )

    def with_values(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration with these values, and with those that follow from them.

        What is the same as without them is shared: no part of it is to be changed.
        """
        assert self.composed is not None
        followed = {key: changes[end] for key in self.links if (end := self._end(key, changes)) in changes}
        config = dict(self.composed.values)
        own: dict[tuple[str, ...], dict[str, Any]] = {(): config}
        for key, value in (followed | dict(changes)).items():
            *sections, name = key.split(".")
            node = config
            for depth, section in enumerate(sections, 1):
                if (path := tuple(sections[:depth])) not in own:
                    own[path] = node[section] = dict(node[section])
                node = own[path]
            node[name] = value
        return config

    def _end(self, key: str, changes: Mapping[str, Any]) -> str:
        while key not in changes and key in self.links:
            key = self.links[key]
        return key


def _sections_of_many(raw: Mapping[str, Any]) -> set[str]:
    return {key for name in NOT_OF_A_RUN if name in raw for key, _ in flat({name: raw[name]})}


def _leads_there(key: str, node: Any) -> bool:
    """Whether the parts of a dotted key are names of sections; a name can have dots in it."""
    for name in key.split("."):
        if not isinstance(node, dict) or name not in node:
            return False
        node = node[name]
    return True
