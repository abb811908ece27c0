"""A folder of the user's own comes before the shipped configuration."""

from __future__ import annotations

import copy
import os
import shutil
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from lehr.compose import composition
from lehr.compose.composer import Command, composed
from lehr.compose.grid import grid
from lehr.config.registry import conf_dir


@pytest.fixture
def own() -> Path:
    """A folder with a model that replaces a shipped one, and with an experiment and a model that are new."""
    files = {
        "model/mlp.yaml": "defaults: [_common, _self_]\n_target_: lehr.models.MLP\nhidden: [7]\nactivation: tanh\n",
        "model/own.yaml": "defaults: [mlp, _self_]\nlatent_dim: 2\n",
        "experiment/mine.yaml": "# @package _global_\ndefaults:\n  - override /model: own\nkl:\n  weight: 3.5\n",
        "mytrain.yaml": "defaults: [train, _self_]\nseed: 5\n",
    }
    for name, text in files.items():
        path = Path("own") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Path("own")


def test_a_file_of_the_same_name_replaces_the_shipped_one(own, lehr):
    for flag in (["--config-dir", "own"], ["--config-dir=own"], ["-cd", "own"]):
        code, out, err = lehr("train", *flag, "--cfg", "job")
        assert (code, err) == (0, "")
        assert yaml.safe_load(out)["model"]["hidden"] == [7]
        assert yaml.safe_load(out)["kl"]["weight"] == 1.0
    assert yaml.safe_load(lehr("train", "--cfg", "job")[1])["model"]["hidden"] != [7]


def test_a_new_experiment_works_alone_and_in_a_sweep(own, lehr, trainings):
    assert lehr("train", "--config-dir", "own", "experiment=mine", "dir=run")[0] == 0
    sweep, problems = grid(Command("train", Path("own"), ["experiment=mine", "seed=1,2"], multirun=True))
    assert problems == []
    configs = [trainings[0].config, *(point.config for point in sweep.points)]
    assert [config["seed"] for config in configs] == [0, 1, 2]
    for config in configs:
        assert config["kl"]["weight"] == 3.5
        assert config["model"]["latent_dim"] == 2
        assert config["model"]["hidden"] == [7]


def test_a_main_file_of_the_user_s_own(own, lehr, trainings):
    assert lehr("train", "--config-dir", "own", "--config-name", "mytrain", "dir=run")[0] == 0
    assert trainings[0].config["seed"] == 5
    assert trainings[0].config["data"]["seed"] == 5


def test_the_help_shows_the_user_s_choices_and_mistakes_are_compared_with_them(own, lehr, refused):
    _, out, _ = lehr("train", "--config-dir", "own", "--help")
    assert "conv, flux[_small], " in out
    assert ", mlp, own, " in out
    assert refused("train", "--config-dir", "own", "experiment=minn") == [
        "experiment=minn: there is no such choice; did you mean mine?"
    ]


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("model/x.yaml", "a: [\n", "while parsing a flow node expected the node content, but found '<stream end>' in"),
        ("model/x.yaml", "a: 1\na: 2\n", "while constructing a mapping in"),
        ("model/x.yaml", "\x00", "unacceptable character"),
        ("model/x.yaml", "", "model._target_=null: must name a class, such as lehr.models.MLP"),
        ("model/x.yaml", "[1, 2]", "model=[1, 2]: must be a dictionary"),
        ("model/x.yaml", "defaults: 5\n", "Invalid defaults list in 'model/x', defaults must be a list (got int)"),
        ("model/x.yaml", "defaults: [nope]\n", "In 'model/x': Could not load 'model/nope'."),
        ("model/x.yaml", "defaults: [x]\n", "a configuration file includes itself"),
        ("model/x.yaml", "a: !!python/object/apply:os.system [touch hacked]\n", "could not determine a constructor"),
        (
            "model/x.yaml",
            "defaults: [mlp, _self_]\nhiden: [3]\n",
            "model.hiden: unknown key; did you mean model.hid",
        ),
        (
            "experiment/x.yaml",
            "kl:\n  weight: 2\n",
            "experiment: unknown key; a file in experiment/ begins with '# @",
        ),
        ("experiment/x.yaml", "# @package _global_\nkl:\n  wieght: 2\n", "kl.wieght: unknown key; did you mean kl.wei"),
        (
            "experiment/x.yaml",
            "# @package _global_\ndefaults:\n  - override /modle: mlp\n",
            "In 'experiment/x': Could",
        ),
    ],
)
def test_a_file_with_a_mistake_is_one_line(refused, name, text, line):
    path = Path("own") / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    (found,) = refused("train", "--config-dir", "own", f"{path.parent.name}=x")
    assert found.startswith(line)


def test_a_file_that_is_not_text_is_one_line(refused):
    Path("own/model").mkdir(parents=True)
    Path("own/model/x.yaml").write_bytes(b"\xff\xfe")
    (found,) = refused("train", "--config-dir", "own", "model=x")
    assert found.startswith("a configuration file is not text ('utf-8' codec can't decode byte 0xff")


def test_what_can_be_set_is_composed_once_and_again_when_a_shipped_file_has_changed(lehr, tmp_path, monkeypatch):
    shutil.copytree(conf_dir(), tmp_path / "conf")
    for module in ("composer", "composition", "stamps"):
        monkeypatch.setattr(f"lehr.compose.{module}.conf_dir", lambda: tmp_path / "conf")
    monkeypatch.setattr("lehr.compose.outline._kept", {})
    made, compose = [], composition._composition
    monkeypatch.setattr(composition, "_composition", lambda *what: made.append(what) or compose(*what))

    def composed_for(*words):
        made.clear()
        code, _, err = lehr("train", "foo=1", *words)
        assert code == 2
        return len(made), [line for line in err.splitlines() if "foo" not in line]

    words = ("model=mlp", "kl=constant", "kl.weight=2")
    assert composed_for(*words) == (3, [])
    assert composed_for(*words) == (0, [])
    path = tmp_path / "conf" / "kl" / "constant.yaml"
    path.write_text(path.read_text().replace("weight:", "wait:"))
    os.utime(path, ns=(1, 1))
    number, (problem, *_) = composed_for(*words)
    assert number == 2  # kl.weight is left out, and so the last is of the groups alone
    assert "kl.weight: unknown key" in problem


def test_of_what_is_kept_the_time_is_that_of_each_call_and_it_is_copied_by_one_thread_at_a_time(monkeypatch):
    clock, copied = (datetime(2026, 1, 1, minute=minute) for minute in range(60)), copy.deepcopy

    def deepcopy(config):
        assert composition._ALONE._is_owned()
        return copied(config)

    monkeypatch.setattr("hydra.core.utils.datetime", SimpleNamespace(now=lambda: next(clock)))
    monkeypatch.setattr(composition, "copy", SimpleNamespace(deepcopy=deepcopy))
    first, second = (composed(Command("train", None, ["seed=54321"]))[0] for _ in range(2))
    assert first.output_dir != second.output_dir


def test_what_is_kept_is_of_the_folder_that_one_works_in(tmp_path, monkeypatch):
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        made, problems = composed(Command("train", None, ["trust=['${hydra:runtime.cwd}']"]))
        assert not problems
        found += made.values["trust"]
    assert found == [str(tmp_path / "a"), str(tmp_path / "b")]
