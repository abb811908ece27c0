from __future__ import annotations

import copy
import math
import subprocess
import sys
from typing import Any

import pytest

from lehr.compose.composer import Command, composed
from lehr.config.registry import GROUPS, targets
from lehr.config.schema import TrainConfig, schema_of
from lehr.run.identity import LATER, completed, flat, identity, is_part, parts

NO_PART = {
    # where a run is written, and whether something may be there already
    "dir", "resume", "resume_from", "overwrite",
    # where the data lie, which are the same everywhere, or what they were given as
    "data.root", "data.source",
    # on what it is computed, and how fast
    "data.workers", "data.eval_batch_size", "trainer.accelerator", "trainer.devices", "trainer.num_nodes",
    "trainer.strategy",
    # what is shown of it, kept of it on the way, and measured when it is over
    "debug", "logger", "evaluate", "report", "trainer.log_every_n_steps", "callbacks.progress", "callbacks.samples.n",
    "callbacks.samples.interpolations", "callbacks.samples.steps", "callbacks.samples.every_n_validations",
    "callbacks.samples.latents",
    "callbacks.checkpoints.every_seconds",
    # whether what cannot be decoded is found before the training
    "data.verify",
    # what may be imported; what is, is said elsewhere
    "trust",
}  # fmt: skip


def every_key() -> set[str]:
    """Of the configuration of a run with any of the components there are."""
    keys = set(TrainConfig.model_fields) - set(GROUPS) - {"trainer"} | {"logger", "callbacks.progress"}
    keys |= {f"trainer.{name}" for name in TrainConfig.model_fields["trainer"].annotation.model_fields}
    named = {"Progress": "progress", "Checkpoints": "checkpoints", "EarlyStopping": "early_stopping"}
    named |= {"AggregateStatistics": "aggregate", "SampleGrids": "samples"}
    for group in GROUPS:
        for target in targets(group):
            section = f"callbacks.{named[target.rpartition('.')[2]]}" if group == "callbacks" else group
            if group != "logger":
                keys |= {f"{section}.{field}" for field in schema_of(group, target).model_fields if field != "target"}
    return keys


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    found, problems = composed(Command("train", None, ["kl=mmd", "model=conv"]))
    assert problems == []
    return found.values


def test_every_key_of_the_schema_is_part_of_it_but_for_those_that_change_no_number():
    assert {key for key in every_key() if not is_part(key)} == NO_PART


def test_each_value_that_is_part_of_it_changes_it_and_no_other_does(config):
    before = identity(config)
    changed = 0
    for key, _ in flat(config):
        other = copy.deepcopy(config)
        *sections, name = key.split(".")
        node = other
        for section in sections:
            node = node[section]
        node[name] = ["something else"]
        ignored = key in NO_PART or key.startswith(("logger.", "callbacks.progress.", "callbacks.samples."))
        assert (identity(other) == before) == ignored, key
        assert (key in parts(other)) == (not ignored)
        # a key that came later counts with another value than the one that changes nothing
        assert (key in parts(config)) == (not ignored and key not in LATER)
        changed += not ignored
    assert changed > 40


def test_a_section_is_no_part_of_it_only_if_all_of_it_is_not():
    for key in ("callbacks", "callbacks.checkpoints", "trainer", "data", "model", "seed"):
        assert is_part(key)
    for key in ("logger", "logger.save_dir", "callbacks.progress.x.y", "trust"):
        assert not is_part(key)
    for key in ("direction", "data.rooted", "loggers", "data.root_", "model.dir"):
        assert is_part(key)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, 1.0, True),
        (0.0, -0.0, True),
        (0.1, 0.1000000000000000055, True),
        (1e300, int(1e300), True),
        ([1, 2.0], [1.0, 2], True),
        ((1, 2), [1, 2], True),
        ({"a": 1, "b": 2.0}, {"b": 2, "a": 1}, True),
        ([{"a": 1, "b": 2.0}], [{"b": 2, "a": 1}], True),
        (math.inf, math.inf, True),
        (True, 1, False),
        (False, 0, False),
        (None, "null", False),
        (None, 0, False),
        (1, "1", False),
        (0.1, math.nextafter(0.1, 1), False),
        (2**53, 2**53 + 1, False),
        ([1, 2], [2, 1], False),
        ([12], [1, 2], False),
        (["1,2"], ["1", "2"], False),
        ("é", "e\u0301", False),
        ([], None, False),
        ({}, None, False),
        ([], {}, False),
        (math.inf, -math.inf, False),
        ("a", "\udcff", False),
    ],
)
def test_equal_numbers_are_the_same_and_nothing_else_is(one, other, same):
    assert (identity({"kl": {"x": one}, "seed": 0}) == identity({"kl": {"x": other}, "seed": 0})) == same


def test_the_order_of_keys_does_not_count_at_any_depth(config):
    def backwards(node: Any) -> Any:
        return {key: backwards(node[key]) for key in reversed(node)} if isinstance(node, dict) else node

    assert list(backwards(config)) != list(config)
    assert identity(backwards(config)) == identity(config)


def test_where_a_value_stands_counts():
    assert identity({"kl": {"a": 1}}) != identity({"kl": {"b": 1}})
    assert identity({"kl": {"a": 1}}) != identity({"model": {"a": 1}})
    assert identity({"kl": {"a": 1, "b": 2}}) != identity({"kl": {"a": 2, "b": 1}})


def test_it_is_the_same_in_every_process_and_forever():
    config = {"seed": 3, "kl": {"weight": 0.1, "unit": "epoch"}, "model": {"hidden": [400]}, "dir": "x"}
    program = f"from lehr.run.identity import identity; print(identity({config!r}))"
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": hash_seed},
            check=True,
        )
        assert done.stdout.strip() == identity(config) == "cea43b2e866aa44f765e5a14cd5311a453b5a1e5"


def test_flat_names_every_value_and_keeps_empty_sections():
    config = {"a": 1, "b": {"c": [1, {"d": 2}], "e": {}, "f": {"g": None}}}
    assert list(flat(config)) == [("a", 1), ("b.c", [1, {"d": 2}]), ("b.e", {}), ("b.f.g", None)]


def test_a_run_of_before_there_was_a_key_is_the_run_that_has_it_at_its_default(config):
    older = copy.deepcopy(config)
    del older["ema"], older["optimizer"]["freeze"]
    assert identity(older) == identity(config)


def test_the_configuration_of_an_earlier_version_gets_the_sections_that_came_later(config):
    earlier = {key: value for key, value in config.items() if key not in ("ema", "export")}
    earlier["trainer"] = {k: v for k, v in config["trainer"].items() if k != "check_val_every_n_steps"}
    assert completed(earlier) == config
    assert identity(earlier) == identity(completed(earlier)) == identity(config)
    assert completed({**config, "ema": None}) == {**config, "ema": None}
    of_anyone = {"_target_": "mine.Data"}
    assert completed({**config, "data": of_anyone})["data"] == of_anyone
