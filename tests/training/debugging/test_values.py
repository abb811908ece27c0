"""What `debug` makes of a configuration, before anything is built."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import pytest
import yaml

from lehr.compose.components import run_problems
from lehr.compose.composer import Command, composed
from lehr.config.registry import conf_dir
from lehr.run.identity import identity
from lehr.training.debugging.values import MODES, OVERFIT_STEPS, debug_directory, debugged


@cache
def default() -> dict[str, Any]:
    """What `lehr train` composes; not to be changed."""
    found, problems = composed(Command("train", None, []))
    assert found is not None
    assert problems == []
    return found.values


def configured(mode: bool | str = False, **sections: Any) -> dict[str, Any]:
    """The default with values of its sections on top."""
    config = copy.deepcopy(default()) | {"debug": mode}
    return config | {name: config[name] | values for name, values in sections.items()}


@pytest.mark.parametrize("mode", MODES)
def test_whatever_the_rate_term_is_it_gives_a_run_that_can_be_trained(mode):
    for file in (conf_dir() / "kl").glob("*.yaml"):
        kl = yaml.safe_load(file.read_text().replace("${seed}", "0"))
        config = configured(mode) | {"kl": kl}
        before = copy.deepcopy(config)
        changed = debugged(config)
        assert config == before  # a function of it, which changes nothing
        assert run_problems(changed) == []
        assert debugged(changed) == changed


@pytest.mark.parametrize(
    ("mode", "is_the_real_run"), [("anomaly", True), *((m, False) for m in MODES if m != "anomaly")]
)
def test_no_run_of_other_values_is_taken_for_the_real_one(mode, is_the_real_run):
    real, changed = configured(), debugged(configured(mode))
    assert (identity(changed) == identity(real)) == is_the_real_run


def test_without_a_mode_nothing_changes():
    for mode in (False, True):
        config = configured(mode)
        assert debugged(config) == config
        assert identity(config) == identity(configured())


def test_one_batch_is_as_large_as_it_was_and_so_are_those_of_a_profile():
    config = configured("overfit", data={"batch_size": 200}, trainer={"accumulate_grad_batches": 3})
    overfit = debugged(config)["trainer"]
    assert (overfit["limit_examples"], overfit["overfit_batches"], overfit["accumulate_grad_batches"]) == (200, 1, 1)
    assert overfit["max_steps"] == OVERFIT_STEPS
    assert debugged(config | {"trainer": config["trainer"] | {"max_steps": 7}})["trainer"]["max_steps"] == 7
    assert debugged(config)["kl"]["weight"] == 0
    profile = debugged(config | {"debug": "profile"})["trainer"]
    assert profile["limit_examples"] == profile["max_steps"] * 3 * 200
    assert debugged(config | {"debug": "fast"})["trainer"]["limit_examples"] == 600
    assert debugged(configured("fast", data={"batch_size": 8}))["trainer"]["limit_examples"] == 64


def test_runs_that_look_for_faults_lie_by_themselves():
    assert debug_directory("outputs/2026-01-02/a") == "outputs/debug/2026-01-02/a"
    assert debug_directory("elsewhere/a") == "elsewhere/a"
    assert debug_directory("/outputs/a") == "/outputs/a"


def test_a_sweep_and_a_run_that_is_gone_on_with_refuse_them(lehr, tmp_path, finished_run):
    said = "debug=overfit: is of a single run; leave out -m"
    assert lehr("train", "-m", "debug=overfit", "seed=1,2") == (2, "", f"lehr train: {said}\n")
    said = "debug=fast: is of a new run; leave out resume, or say debug=anomaly, which goes on as it was"
    assert lehr("train", f"resume={finished_run}", "debug=fast") == (2, "", f"lehr train: {said}\n")


def test_another_word_is_refused_with_those_there_are(lehr):
    there_are = " or ".join([", ".join(repr(mode) for mode in MODES[:-1]), repr(MODES[-1])])
    assert lehr("train", "debug=foo") == (2, "", f"lehr train: debug=foo: must be true or false or {there_are}\n")


def test_every_mode_is_in_the_help_and_completed(lehr):
    _, out, _ = lehr("train", "--help")
    assert all(f"  debug={mode} " in out for mode in (*MODES, "true"))
    _, out, _ = lehr("completion", "query", "lehr train debug=")
    assert out.split() == sorted(f"debug={mode}" for mode in (*MODES, "true", "false"))


def test_the_comment_on_the_key_names_every_mode():
    text = (conf_dir() / "train.yaml").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("debug:"))
    assert all(mode in line for mode in MODES)
    assert yaml.safe_load(text)["debug"] is False
