"""What to type to do something with a run: on the command line, or in Python where that has what the run was given."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from lehr.config.command import train_command, train_words
from lehr.config.given import STAND_INS, stands_in

_ARGUMENTS = {"data": "data=images", "model": "model=module"}
_FOR_THE_RECORD = ("source", "digest", "type", "values")


class Commands:
    """What to type about one run.

    Args:
        run: its directory.
        config: its resolved configuration.
    """

    def __init__(self, run: str, config: Mapping[str, Any]) -> None:
        self._run = run
        self._config = config
        self._given = [group for group in STAND_INS if stands_in(config, group)]

    def again(self, *changes: str) -> str:
        """Train a new run that differs in these words."""
        if not self._given:
            return train_command(self._config, changes)
        words = train_words(self._config, changes)
        left_out = {f"{group}.{name}" for group in self._given for name in _FOR_THE_RECORD} | set(self._given)
        own = None if words is None else [word for word in words if word.partition("=")[0] not in left_out]
        return self._train(["...", *changes] if own is None else own)

    def resume(self, *words: str) -> str:
        """Go on with the run, with these words on top."""
        if self._given:
            return self._train(list(words), f"resume={self._run!r}")
        return f"lehr train resume={shlex.quote(self._run)} {shlex.join(words)}".rstrip()

    def evaluate(self) -> str:
        """Evaluate it in full."""
        if self._given:
            return f"{self._loaded(self._given)}.evaluate()"
        return f"lehr evaluate run={shlex.quote(self._run)}"

    def sample(self, method: str) -> str:
        """Draw from a sampler."""
        if "model" in self._given:
            return f"{self._loaded(['model'])}.sample(method={method!r})"
        return f"lehr sample run={shlex.quote(self._run)} method={method}"

    def _train(self, words: list[str], *others: str) -> str:
        arguments = [*others, *(_ARGUMENTS[group] for group in self._given)]
        return f"lehr.train({', '.join([*([repr(words)] if words else []), *arguments])})"

    def _loaded(self, needed: list[str]) -> str:
        return f"lehr.load({', '.join([repr(self._run), *(_ARGUMENTS[group] for group in needed)])})"
