"""Values given in Python mean what Hydra reads in the words that they become."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from lehr.compose.words import as_word, grid_words, words_of
from lehr.errors import ConfigError


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (4, 4),
        (0.1, 0.1),
        (1e-300, 1e-300),
        (True, True),
        (None, None),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(False), False),
        ("mlp", "mlp"),
        ("null", "null"),
        ("True", "True"),
        ("1e3", "1e3"),
        ("0.1,1", "0.1,1"),
        ("range(1,3)", "range(1,3)"),
        ("it's", "it's"),
        ("a 'quoted\\' one", "a 'quoted\\' one"),
        ("", ""),
        ("{a:b}", "{a:b}"),
        (Path("/a b/c=d,e"), "/a b/c=d,e"),
        ([32, 16], [32, 16]),
        (("a", None, 1.5), ["a", None, 1.5]),
        ([], []),
        ({"a": [1], "c": "x,y"}, {"a": [1], "c": "x,y"}),
    ],
)
def test_hydra_reads_the_value_that_was_given(value, expected):
    override = OverridesParser.create().parse_override(f"key={as_word(value)}")
    assert not override.is_sweep_override()
    assert override.value() == expected
    assert type(override.value()) is type(expected) or expected in ("null", "True", "1e3")


def test_a_grid_has_the_values_of_each_key():
    words = grid_words({"kl.weight": [0.1, 1], "seed": range(3), "model.hidden": [[32], [16, 8]], "model": ["mlp"]})
    assert words == ["kl.weight=0.1,1", "seed=0,1,2", "model.hidden=[32],[16,8]", "model=mlp"]
    assert grid_words({"kl.weight": "tag(log, interval(0.1, 10))", "kl.hold": 5}) == [
        "kl.weight=tag(log, interval(0.1, 10))",
        "kl.hold=5",
    ]


def test_words_come_before_keys():
    assert words_of("kl.weight=1", {"kl.weight": 2}) == ["kl.weight=1", "kl.weight=2"]


def test_what_no_configuration_can_hold_is_one_error_with_all_of_it():
    with pytest.raises(ConfigError) as error:
        words_of(["seed=1", 5], {"kl.weight": np.zeros(3), "model": object(), "kl": {"a b": 1}})
    assert error.value.problems == (
        "5: must be text, as in 'kl.weight=4'",
        "kl.weight: a ndarray is no value of a configuration; give a number, text, a list or None",
        "model: a object is no value of a configuration; give a number, text, a list or None",
        "kl: 'a b' is no name of a key",
    )
    with pytest.raises(ConfigError, match=r"kl\.weight: a object is no value"):
        grid_words({"kl.weight": [object()]})
