"""One point of a sweep: a configuration, and the values of the keys that the sweep varies."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lehr.errors import CheckpointError
from lehr.files import write_text
from lehr.reading import read_json
from lehr.run.identity import identity, with_named_loggers
from lehr.sweeps.names import name_of

FILE = "point.json"


def value_of(key: str, swept: Mapping[str, Any], choices: Mapping[str, str], config: Mapping[str, Any]) -> Any:
    """What a point has for a key, which may be swept elsewhere only; of a group its choice."""
    if key in swept or key in choices:
        return swept.get(key, choices.get(key))
    node: Any = config
    for name in key.split("."):
        node = node.get(name) if isinstance(node, Mapping) else None
    return node


@dataclass(frozen=True)
class Point:
    """What is to be trained.

    Attributes:
        config: the resolved configuration of the run, plain values, as `lehr train` has it; `dir` is of no account.
        swept: the values of the keys that the sweep varies, in its order; of a group the name of the choice.
        trial: of a search, which trial of which study this is.
        choices: group -> choice that the configuration was made of.
    """

    config: dict[str, Any]
    swept: dict[str, Any]
    trial: dict[str, Any] | None = field(default=None, compare=False)
    choices: dict[str, str] = field(default_factory=dict, compare=False)

    @cached_property
    def id(self) -> str:
        """The identity of the run."""
        return identity(self.config)

    @cached_property
    def name(self) -> str:
        """Of the directory in a sweep."""
        return name_of(self.swept, self.id)

    def write(self, directory: Path) -> None:
        """Keep it in `directory`, from which alone it is trained then."""
        kept = {
            "id": self.id,
            "swept": self.swept,
            "trial": self.trial,
            "choices": self.choices,
            "config": self.config,
        }
        # in ASCII, for paths that are no text; NaN stays NaN, for which JSON proper has no word
        write_text(directory / FILE, json.dumps(kept, indent=2) + "\n")

    def of(self, keys: Sequence[str]) -> Point:
        """This point in a sweep of these keys."""
        if list(self.swept) == list(keys):
            return self
        return replace(self, swept=dict(zip(keys, self.values(keys), strict=True)))

    def values(self, keys: Iterable[str]) -> list[Any]:
        """The values of these keys, of which some may be swept elsewhere only; of a group the choice."""
        return [value_of(key, self.swept, self.choices, self.config) for key in keys]

    @classmethod
    def read(cls, directory: Path) -> Point:
        """The point in `directory`.

        Raises:
            CheckpointError: if there is none.
        """
        try:
            found = read_json(directory / FILE)
            config = with_named_loggers(found["config"])
            return cls(config, found["swept"], found.get("trial"), found.get("choices", {}))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{directory}: is not a point of a sweep: {FILE} is missing or damaged") from error
