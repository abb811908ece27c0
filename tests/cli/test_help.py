from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from lehr.cli.main import COMMANDS
from lehr.compose.composer import Command, composed
from lehr.compose.grid import grid
from lehr.config.registry import conf_dir
from lehr.config.schema import TrainConfig


def at(config: dict[str, Any], key: str) -> Any:
    for name in key.split("."):
        config = config[name]
    return config


def test_the_help_lists_every_command(lehr):
    for arguments in ([], ["--help"], ["-h"], ["help"]):
        code, out, err = lehr(*arguments)
        assert (code, err) == (0, "")
        for name, (_, text) in COMMANDS.items():
            assert re.search(rf"^  {name} +{re.escape(text)}$", out, re.MULTILINE)


THERE = "there are: train, data, evaluate, probe, groups, compare, sample, export, import, results, report, completion"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_that_needs_no_more_than_itself(lehr, command):
    code, out, err = lehr(command, "--help")
    assert lehr("help", command) == (code, out, err)
    assert (code, err) == (0, "")
    assert f"lehr {command}" in out


def test_the_help_of_train_shows_every_choice_of_every_group(lehr):
    _, out, _ = lehr("train", "--help")
    shown = dict(re.findall(r"^  (\S+) +(.+)$", out.partition("Groups and their choices:\n")[2], re.MULTILINE))
    for folder in filter(Path.is_dir, conf_dir().iterdir()):
        if folder.name == "hydra":
            continue  # most of these choices are Hydra's and its plugins'
        # but for those that are for programs alone
        names = sorted(path.stem for path in folder.glob("[!_]*.yaml") if not path.stem.startswith("given"))
        small = re.sub(r"(\w+)\[_small\]", r"\1, \1_small", shown[folder.name])  # two choices in one word
        assert sorted(small.split(", ")) == names


def test_the_values_in_the_help_of_train_are_those_of_the_configuration(lehr):
    _, out, _ = lehr("train", "--help")
    most = out.partition("What people change most:\n")[2].partition("\n\n")[0]
    config, _ = composed(Command("train", None, []))
    shown = dict(re.findall(r"^  ([\w.]+)=(\S+)", most, re.MULTILINE))
    assert shown.pop("dir") == "outputs/..."
    assert config.values["dir"].startswith("outputs/")
    assert shown.pop("resume") == "DIR"
    assert len(shown) >= 8
    assert {key: yaml.safe_load(value) for key, value in shown.items()} == {
        key: at(config.values, key) for key in shown
    }
    precisions = re.search(r"trainer.precision=(\S+)  or (.+)", most)
    trainer = TrainConfig.model_fields["trainer"].annotation
    assert {precisions[1], *precisions[2].split(", ")} == set(get_args(trainer.model_fields["precision"].annotation))


def test_the_examples_in_the_help_of_train_are_accepted(lehr, trainings):
    Path("photos").mkdir()
    _, out, _ = lehr("train", "--help")
    examples = re.findall(r"^  lehr train ?(.*)$", out.partition("Examples:\n")[2], re.MULTILINE)
    assert len(examples) == 4
    for i, example in enumerate(examples[:3]):
        assert lehr("train", *example.split(), f"dir=example{i}")[0] == 0
    assert [training.path for training in trainings] == [Path(f"example{i}") for i in range(3)]
    sweep, problems = grid(Command("train", None, examples[3].removeprefix("-m ").split(), multirun=True))
    assert problems == []
    assert len(sweep.points) == 27


def test_the_values_in_the_help_of_sample_are_those_of_the_configuration(lehr):
    _, out, _ = lehr("sample", "--help")
    keys = out.partition("Keys and their defaults:\n")[2].partition("\n\n")[0]
    config, _ = composed(Command("sample", None, ["run=DIR"]))
    shown = dict(re.findall(r"\b([a-z]\w*)=(\S+)", keys))
    assert (shown.pop("out"), shown.pop("path")) == ("FILE", "PLACE")
    assert config.values["out"] is config.values["data"]["path"] is None
    assert {key: yaml.safe_load(value) for key, value in shown.items()} == {key: config.values[key] for key in shown}
    assert config.values.keys() - shown.keys() == {"out", "debug", "trust", "data"}
    assert len(re.findall(r"^  lehr sample run=", out.partition("Examples:\n")[2], re.MULTILINE)) == 3


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("tarin", "did you mean lehr train?"),
        ("Train", "did you mean lehr train?"),
        ("smaple", "did you mean lehr sample?"),
        ("seed=1", THERE),
        ("--cfg", THERE),
    ],
)
def test_a_word_that_is_no_command_is_one_line(lehr, word, hint):
    assert lehr(word, "x=1") == (2, "", f"lehr: {word!r} is not a command; {hint}\n")


def test_the_version_is_lehr_s(lehr):
    from lehr import __version__

    for arguments in (["--version"], ["-V"], ["train", "--version"]):
        assert lehr(*arguments) == (0, f"lehr {__version__}\n", "")


def test_cfg_prints_the_configuration(lehr):
    code, out, err = lehr("train", "--cfg", "job", "--resolve", "kl.weight=3", "dir=x")
    config, _ = composed(Command("train", None, ["kl.weight=3", "dir=x"]))
    pool = {"workers": "auto", "gpus": "auto", "gpus_per_run": 1, "per_gpu": 1, "fused": "none"}
    many = {"pool": pool, "sweep": {"retry": "none"}}
    assert (code, err) == (0, "")
    assert yaml.safe_load(out) == {**config.values, **many}
    assert list(Path.cwd().iterdir()) == []
