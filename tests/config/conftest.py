"""The configuration that the tests of this folder change."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from lehr.compose.composer import Command, composed


@pytest.fixture(scope="session")
def _default() -> dict[str, Any]:
    config, problems = composed(Command("train", None, []))
    assert config is not None
    assert problems == []
    return config.values


@pytest.fixture
def values(_default) -> dict[str, Any]:
    """What `lehr train` composes, to be changed freely."""
    return copy.deepcopy(_default)
