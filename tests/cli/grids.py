"""Grids from the command line, and what Hydra itself makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

import lehr.compose.composition
from lehr.compose.composer import Command, Composer, resolved
from lehr.compose.grid import Grid, grid
from lehr.config.places import located


def found(*typed: str, config_dir: Path | None = None) -> Grid:
    """The grid of a command line with nothing wrong in it."""
    result, problems = grid(Command("train", config_dir, list(typed), multirun=True))
    assert problems == []
    assert result is not None
    return result


def problems_of(*typed: str, config_dir: Path | None = None) -> list[str]:
    result, problems = grid(Command("train", config_dir, list(typed), multirun=True))
    assert (result is None) == bool(problems)
    return problems


def by_hydra(*typed: str, config_dir: Path | None = None) -> list[dict[str, Any]]:
    """The configurations that Hydra's own sweeper would train, each composed by Hydra alone; paths absolute."""
    overrides = OverridesParser.create().parse_overrides(list(typed))
    (lists,) = BasicSweeper.split_arguments(overrides, max_batch_size=None)
    composer = Composer(Command("train", config_dir, []))
    return [located(resolved(composer.compose(*lines)).values) for lines in lists]


def exact(config: dict[str, Any]) -> str:
    """As text, so that 1, 1.0 and true differ; `dir` is the sweep's."""
    return json.dumps({key: value for key, value in config.items() if key != "dir"}, sort_keys=True)


def slow(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


def compositions(monkeypatch) -> list[Any]:
    """What Hydra is asked to compose from now on."""
    lehr.compose.composition._shipped_composition.cache_clear()
    asked: list[Any] = []
    compose = lehr.compose.composition.compose

    def counted(*args: Any, **kwargs: Any) -> Any:
        asked.append(kwargs["overrides"])
        return compose(*args, **kwargs)

    monkeypatch.setattr(lehr.compose.composition, "compose", counted)
    return asked


SEARCH = ("hydra/sweeper=optuna", "hydra.sweep.dir=x")
